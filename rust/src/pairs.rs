//! Sums by pairs of levels of two factors: a table that grows with the pairs that occur.

use crate::bytes::{Reader, Writer};
use crate::memory::filled;
use std::hint::black_box;

const EMPTY: u64 = u64::MAX;
/// Slots of a table without pairs.
const FEWEST: usize = 128;
/// Rows whose slots are looked at before any is written.
const TOGETHER: usize = 32;

/// An open table: each slot is a key, the two codes, and `width` values.
///
/// Values lie beside their key as bits, so that a row costs one visit to memory however many pairs there are.
#[derive(Clone)]
pub struct Pairs {
    pub width: usize,
    n: usize,
    shift: u32,
    words: Vec<u64>,
}

impl Pairs {
    pub fn new(width: usize) -> Pairs {
        Pairs { width, n: 0, shift: 64 - FEWEST.ilog2(), words: filled(EMPTY, FEWEST * (1 + width)) }
    }

    /// Pairs that occur.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Where a pair is looked for first (multiplicative hashing, Knuth 1973, section 6.4).
    #[inline]
    fn slot(&self, pair: u64) -> usize {
        (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    fn n_slots(&self) -> usize {
        self.words.len() / (1 + self.width)
    }

    /// Adds z z'_other of some rows, `q` columns each; a pair's values are a column of the second factor after the other.
    pub fn add(&mut self, codes: [&[i32]; 2], z: [&[f64]; 2], q: [usize; 2]) {
        let n = codes[0].len();
        let mut keys = [0; TOGETHER];
        for start in (0..n).step_by(TOGETHER) {
            let keys = &mut keys[..TOGETHER.min(n - start)];
            if 4 * (self.n + TOGETHER) > 3 * self.n_slots() {
                self.make_room(self.n_slots());
            }
            // each slot is looked at first, so that memory brings many of them at a time
            let mut sum = 0;
            for (i, key) in keys.iter_mut().enumerate() {
                *key = pair(codes[0][start + i], codes[1][start + i]);
                sum ^= self.words[self.slot(*key) * (1 + self.width)];
            }
            black_box(sum);
            for (i, &key) in (start..).zip(keys.iter()) {
                let (z, other) = (&z[0][i * q[0]..(i + 1) * q[0]], &z[1][i * q[1]..(i + 1) * q[1]]);
                let values = self.at(key);
                if let ([value], [z], [zo]) = (&mut *values, z, other) {
                    *value = (f64::from_bits(*value) + z * zo).to_bits();
                    continue;
                }
                for (column, zo) in values.chunks_exact_mut(q[0]).zip(other) {
                    column.iter_mut().zip(z).for_each(|(v, z)| *v = (f64::from_bits(*v) + z * zo).to_bits());
                }
            }
        }
    }

    /// Adds another's sums, whose codes are `a` and `b` here.
    pub fn merge(&mut self, other: &Pairs, a: &[i32], b: &[i32]) {
        self.make_room(self.n + other.n);
        for (slot, i, j) in other.keys() {
            let own = self.at(pair(a[i], b[j]));
            own.iter_mut().zip(other.values(slot)).for_each(|(v, of)| *v = (f64::from_bits(*v) + of).to_bits());
        }
    }

    /// Slot and codes of each pair, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let slots = self.words.chunks_exact(1 + self.width).enumerate();
        slots.filter(|(_, s)| s[0] != EMPTY).map(|(k, s)| (k, (s[0] >> 32) as usize, (s[0] & 0xFFFF_FFFF) as usize))
    }

    pub fn values(&self, slot: usize) -> Values<'_> {
        let at = slot * (1 + self.width) + 1;
        Values(self.words[at..at + self.width].iter())
    }

    /// The values of a pair, zeros if it is new.
    #[inline]
    fn at(&mut self, key: u64) -> &mut [u64] {
        if 4 * (self.n + 1) > 3 * self.n_slots() {
            self.make_room(self.n_slots());
        }
        let (stride, last) = (1 + self.width, self.n_slots() - 1);
        let mut slot = self.slot(key);
        loop {
            let at = slot * stride;
            let found = self.words[at];
            if found == key {
                return &mut self.words[at + 1..at + stride];
            }
            if found == EMPTY {
                self.n += 1;
                self.words[at] = key;
                self.words[at + 1..at + stride].fill(0);
                return &mut self.words[at + 1..at + stride];
            }
            slot = (slot + 1) & last;
        }
    }

    /// Makes room for so many pairs.
    fn make_room(&mut self, n: usize) {
        let n_slots = (n + n / 2).next_power_of_two().max(FEWEST);
        if n_slots <= self.n_slots() {
            return;
        }
        let stride = 1 + self.width;
        let old = std::mem::replace(&mut self.words, filled(EMPTY, n_slots * stride));
        self.shift = 64 - n_slots.ilog2();
        self.n = 0;
        for slot in old.chunks_exact(stride).filter(|s| s[0] != EMPTY) {
            self.at(slot[0]).copy_from_slice(&slot[1..]);
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.size(self.n);
        for (slot, a, b) in self.keys() {
            out.size(a << 32 | b);
            self.values(slot).for_each(|v| out.number(v));
        }
    }

    /// Reads what `write` wrote, of so many levels.
    pub fn read(&mut self, from: &mut Reader, n_first: usize, n_second: usize) -> Option<()> {
        let n = from.length()?;
        self.make_room(n);
        for _ in 0..n {
            let pair = from.size()? as u64;
            if (pair >> 32) as usize >= n_first || (pair & 0xFFFF_FFFF) as usize >= n_second {
                return None;
            }
            let values: Option<Vec<f64>> = (0..self.width).map(|_| from.number()).collect();
            self.at(pair).iter_mut().zip(values?).for_each(|(v, of)| *v = of.to_bits());
        }
        Some(())
    }
}

/// Values of one pair.
pub struct Values<'a>(std::slice::Iter<'a, u64>);

impl Iterator for Values<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0.next().map(|&v| f64::from_bits(v))
    }
}

impl Values<'_> {
    /// The next of those that are there.
    pub fn next_value(mut self) -> f64 {
        self.next().expect("a pair has values")
    }
}

#[inline]
fn pair(a: i32, b: i32) -> u64 {
    (a as u64) << 32 | b as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_in_any_order_and_through_bytes() {
        let codes: Vec<(i32, i32)> = (0..5000).map(|i| (i * 7 % 101, i * i % 37)).collect();
        let (a, b): (Vec<i32>, Vec<i32>) = codes.iter().copied().unzip();
        let ones = vec![1.0; codes.len()];
        let count = |range: std::ops::Range<usize>| {
            let mut out = Pairs::new(1);
            out.add([&a[range.clone()], &b[range]], [&ones, &ones], [1, 1]);
            out
        };
        let same: Vec<i32> = (0..101).collect();
        let mut halves = count(2000..5000);
        halves.merge(&count(0..2000), &same, &same);
        let mut bytes = Writer::default();
        halves.write(&mut bytes);
        let mut read = Pairs::new(1);
        read.read(&mut Reader(&bytes.0), 101, 37).expect("what was written");
        assert!(Pairs::new(1).read(&mut Reader(&bytes.0), 100, 37).is_none(), "a code that is no level");
        for pairs in [count(0..5000), halves, read] {
            for (slot, i, j) in pairs.keys() {
                let n = codes.iter().filter(|c| **c == (i as i32, j as i32)).count();
                assert_eq!(pairs.values(slot).next_value(), n as f64);
            }
            assert_eq!(pairs.keys().count(), codes.iter().collect::<std::collections::HashSet<_>>().len());
        }
    }
}
