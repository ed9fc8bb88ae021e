//! Sums by pairs of levels of two factors: a grid of all pairs where that is no waste, else a table of those that occur.

use crate::bytes::{Reader, Writer};
use crate::memory::{filled, filled_for_visits};
use std::hint::black_box;

const EMPTY: u64 = u64::MAX;
/// Slots of a table without pairs.
const FEWEST: usize = 128;
/// Rows whose slots are looked at before any is written.
const TOGETHER: usize = 32;
/// Words that a grid may always have.
const SMALL: usize = 1 << 20;
/// Words of a grid for each of the table that it would take the place of, and for each of the one that takes its place.
const WASTE: [usize; 2] = [2, 4];
/// The same while pairs may still be few because rows are: of a grid of up to so many words, 268 MB.
const EARLY: [usize; 2] = [16, 32];
const MEDIUM: usize = 1 << 25;
/// Sums are held with the other sign: nothing was added to what is all zeros, since no sum that begins at -0 with 0 added
/// to each term is -0 again.
const SIGN: u64 = 1 << 63;

/// An open table, or a grid. Each slot of a table is a key, the two codes, and `width` values; a grid has no keys.
///
/// Values lie beside their key as bits, so that a row costs one visit to memory however many pairs there are.
#[derive(Clone)]
pub struct Pairs {
    pub width: usize,
    n: usize,
    /// Levels of both factors that a grid has room for; None for a table.
    grid: Option<[usize; 2]>,
    shift: u32,
    words: Vec<u64>,
}

impl Pairs {
    pub fn new(width: usize) -> Pairs {
        let words = filled(EMPTY, FEWEST * (1 + width));
        Pairs { width, n: 0, grid: None, shift: 64 - FEWEST.ilog2(), words }
    }

    /// Pairs that occur.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether they are visited in the order that is asked for.
    pub fn is_ordered(&self) -> bool {
        self.grid.is_some()
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
    ///
    /// There must be room for their levels.
    pub fn add(&mut self, codes: [&[i32]; 2], z: [&[f64]; 2], q: [usize; 2]) {
        let n = codes[0].len();
        if let (Some([_, stride]), 1) = (self.grid, self.width) {
            for ((&a, &b), (z, zo)) in codes[0].iter().zip(codes[1]).zip(z[0].iter().zip(z[1])) {
                add_to(&mut self.in_grid(a as usize * stride + b as usize)[0], z * zo);
            }
            return;
        }
        let mut places = [0; TOGETHER];
        for start in (0..n).step_by(TOGETHER) {
            let places = &mut places[..TOGETHER.min(n - start)];
            if self.grid.is_none() && 4 * (self.n + TOGETHER) > 3 * self.n_slots() {
                self.grow(self.n_slots());
            }
            // each slot is looked at first, so that memory brings many of them at a time
            let mut sum = 0;
            for (i, place) in places.iter_mut().enumerate() {
                let (a, b) = (codes[0][start + i], codes[1][start + i]);
                if let Some([_, stride]) = self.grid {
                    let at = (a as usize * stride + b as usize) * self.width;
                    *place = at as u64;
                    sum ^= self.words[at];
                } else {
                    *place = pair(a, b);
                    sum ^= self.words[self.slot(*place) * (1 + self.width)];
                }
            }
            black_box(sum);
            for (i, &place) in (start..).zip(places.iter()) {
                let (z, other) = (&z[0][i * q[0]..(i + 1) * q[0]], &z[1][i * q[1]..(i + 1) * q[1]]);
                let values = if self.grid.is_some() { self.in_grid(place as usize) } else { self.at(place) };
                if let ([value], [z], [zo]) = (&mut *values, z, other) {
                    add_to(value, z * zo);
                    continue;
                }
                for (column, zo) in values.chunks_exact_mut(q[0]).zip(other) {
                    column.iter_mut().zip(z).for_each(|(v, z)| add_to(v, z * zo));
                }
            }
        }
    }

    /// Adds another's sums, whose codes are `a` and `b` here, for whose levels there must be room.
    pub fn merge(&mut self, other: &Pairs, a: &[i32], b: &[i32]) {
        other.for_each(None, |slot, i, j| {
            let own = self.of_pair(a[i], b[j]);
            own.iter_mut().zip(other.values(slot)).for_each(|(v, of)| add_to(v, of));
        });
    }

    /// Calls with the slot and the codes of each pair: of a grid in these orders of the codes of both, as they are for None.
    pub fn for_each(&self, orders: Option<[&[u32]; 2]>, mut call: impl FnMut(usize, usize, usize)) {
        let Some([rows, stride]) = self.grid else {
            let slots = self.words.chunks_exact(1 + self.width).enumerate().filter(|(_, s)| s[0] != EMPTY);
            return slots.for_each(|(k, s)| call(k, (s[0] >> 32) as usize, (s[0] & 0xFFFF_FFFF) as usize));
        };
        let mut visit = |a: usize, b: usize| {
            let slot = a * stride + b;
            if self.words[slot * self.width] != 0 {
                call(slot, a, b);
            }
        };
        match orders {
            None => (0..rows).for_each(|a| (0..stride).for_each(|b| visit(a, b))),
            Some([first, second]) => {
                first.iter().for_each(|&a| second.iter().for_each(|&b| visit(a as usize, b as usize)));
            }
        }
    }

    pub fn values(&self, slot: usize) -> Values<'_> {
        let at = if self.grid.is_some() { slot * self.width } else { slot * (1 + self.width) + 1 };
        Values(self.words[at..at + self.width].iter())
    }

    fn of_pair(&mut self, a: i32, b: i32) -> &mut [u64] {
        match self.grid {
            Some([_, stride]) => self.in_grid((a as usize * stride + b as usize) * self.width),
            None => self.at(pair(a, b)),
        }
    }

    #[inline]
    fn in_grid(&mut self, at: usize) -> &mut [u64] {
        self.n += usize::from(self.words[at] == 0);
        &mut self.words[at..at + self.width]
    }

    /// The values of a pair of a table, without any if it is new.
    #[inline]
    fn at(&mut self, key: u64) -> &mut [u64] {
        if 4 * (self.n + 1) > 3 * self.n_slots() {
            self.grow(self.n_slots());
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

    /// Makes room for levels of both factors, and for so many more pairs.
    pub fn make_room(&mut self, n_levels: [usize; 2], more: usize) {
        let words = |room: [usize; 2]| room[0].saturating_mul(room[1]).saturating_mul(self.width);
        let Some(room) = self.grid else {
            let n_slots = n_slots(self.n + more).max(self.n_slots());
            if words(n_levels) <= most_words(n_slots * (1 + self.width), 0) && words(n_levels) > 0 {
                self.moved(Some(n_levels));
            } else {
                self.grow(self.n + more);
            }
            return;
        };
        if n_levels[0] <= room[0] && n_levels[1] <= room[1] {
            return;
        }
        let room = [0, 1].map(|k| if n_levels[k] > room[k] { n_levels[k] + n_levels[k] / 8 } else { room[k] });
        let table = n_slots(self.n + more) * (1 + self.width);
        let stays = words(room) <= most_words(table, 1);
        self.moved(stays.then_some(room));
    }

    /// Moves all pairs into a grid with this room, or into a table.
    fn moved(&mut self, grid: Option<[usize; 2]>) {
        let mut out = Pairs::new(self.width);
        match grid {
            Some([rows, stride]) => {
                out.words = filled_for_visits(0, rows * stride * self.width);
                out.grid = grid;
            }
            None => out.grow(self.n),
        }
        self.for_each(None, |slot, a, b| {
            let values = out.of_pair(a as i32, b as i32);
            values.iter_mut().zip(self.values(slot)).for_each(|(v, of)| *v = of.to_bits() ^ SIGN);
        });
        *self = out;
    }

    /// Makes room for so many pairs in a table.
    fn grow(&mut self, n: usize) {
        let n_slots = n_slots(n);
        if n_slots <= self.n_slots() {
            return;
        }
        let stride = 1 + self.width;
        let old = std::mem::replace(&mut self.words, filled_for_visits(EMPTY, n_slots * stride));
        self.shift = 64 - n_slots.ilog2();
        self.n = 0;
        for slot in old.chunks_exact(stride).filter(|s| s[0] != EMPTY) {
            self.at(slot[0]).copy_from_slice(&slot[1..]);
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.size(self.n);
        self.for_each(None, |slot, a, b| {
            out.size(a << 32 | b);
            self.values(slot).for_each(|v| out.number(v));
        });
    }

    /// Reads what `write` wrote, of so many levels.
    pub fn read(&mut self, from: &mut Reader, n_first: usize, n_second: usize) -> Option<()> {
        let n = from.length()?;
        self.make_room([n_first, n_second], n);
        for _ in 0..n {
            let pair = from.size()? as u64;
            let (a, b) = (pair >> 32, pair & 0xFFFF_FFFF);
            if a as usize >= n_first || b as usize >= n_second {
                return None;
            }
            let values: Option<Vec<f64>> = (0..self.width).map(|_| from.number()).collect();
            let own = self.of_pair(a as i32, b as i32);
            own.iter_mut().zip(values?).for_each(|(v, of)| *v = (of + 0.0).to_bits() ^ SIGN);
        }
        Some(())
    }
}

/// Slots of a table that is less than three quarters full of so many pairs.
fn n_slots(n: usize) -> usize {
    (n + n / 2).next_power_of_two().max(FEWEST)
}

/// Words that a grid may have in place of a table of so many, when it would be made (0) and when it would go on (1).
fn most_words(table: usize, which: usize) -> usize {
    SMALL.max(WASTE[which] * table).max(MEDIUM.min(EARLY[which] * table))
}

#[inline(always)]
fn add_to(held: &mut u64, value: f64) {
    *held = (f64::from_bits(*held ^ SIGN) + (value + 0.0)).to_bits() ^ SIGN;
}

/// Values of one pair.
pub struct Values<'a>(std::slice::Iter<'a, u64>);

impl Iterator for Values<'_> {
    type Item = f64;

    #[inline]
    fn next(&mut self) -> Option<f64> {
        self.0.next().map(|&v| f64::from_bits(v ^ SIGN))
    }
}

impl Values<'_> {
    /// The next of those that are there.
    #[inline]
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

    /// Counts of pairs, of `spread` levels for each that occurs.
    fn check(spread: i32) {
        let codes: Vec<(i32, i32)> = (0..5000).map(|i| (spread * (i * 7 % 101), spread * (i * i % 37))).collect();
        let (a, b): (Vec<i32>, Vec<i32>) = codes.iter().copied().unzip();
        let n_levels = [101 * spread as usize, 37 * spread as usize];
        let values: Vec<f64> = (0..5000).map(|i| if i % 3 == 0 { -0.0 } else { f64::from(i) }).collect();
        let ones = vec![1.0; codes.len()];
        let count = |range: std::ops::Range<usize>| {
            let mut out = Pairs::new(2);
            for piece in [range.start..range.start + 500, range.start + 500..range.end] {
                // levels grow
                let most = |codes: &[i32]| codes[range.start..piece.end].iter().max().map_or(0, |m| *m as usize + 1);
                out.make_room([most(&a), most(&b)], 0);
                let z: Vec<f64> = piece.clone().flat_map(|i| [values[i], 1.0]).collect();
                out.add([&a[piece.clone()], &b[piece.clone()]], [&z, &ones], [2, 1]);
            }
            out
        };
        let same: Vec<i32> = (0..101 * spread).collect();
        let mut halves = count(2000..5000);
        halves.make_room(n_levels, 2000);
        halves.merge(&count(0..2000), &same, &same);
        let mut bytes = Writer::default();
        halves.write(&mut bytes);
        let mut read = Pairs::new(2);
        read.read(&mut Reader(&bytes.0), n_levels[0], n_levels[1]).expect("what was written");
        assert!(Pairs::new(2).read(&mut Reader(&bytes.0), 100 * spread as usize, n_levels[1]).is_none(), "no level");
        for pairs in [count(0..5000), halves, read] {
            assert_eq!(pairs.is_ordered(), spread == 1);
            let mut n = 0;
            pairs.for_each(None, |slot, i, j| {
                let met: Vec<usize> = (0..5000).filter(|k| codes[*k] == (i as i32, j as i32)).collect();
                let sum: f64 = met.iter().map(|k| values[*k]).sum();
                assert_eq!(pairs.values(slot).collect::<Vec<f64>>(), [sum, met.len() as f64]);
                n += 1;
            });
            assert_eq!(n, codes.iter().collect::<std::collections::HashSet<_>>().len());
            assert_eq!(n, pairs.len());
        }
    }

    #[test]
    fn pairs_are_counted_in_any_order_and_through_bytes() {
        check(1);
        check(500);
    }

    #[test]
    fn a_grid_is_visited_in_the_order_that_is_asked_for() {
        let mut pairs = Pairs::new(1);
        pairs.make_room([3, 2], 0);
        pairs.add([&[0, 2, 1], &[1, 0, 1]], [&[1.0; 3], &[0.0; 3]], [1, 1]);
        let mut met = vec![];
        pairs.for_each(Some([&[2, 1, 0], &[1, 0]]), |_, a, b| met.push((a, b)));
        assert_eq!(met, [(2, 0), (1, 1), (0, 1)]);
    }
}
