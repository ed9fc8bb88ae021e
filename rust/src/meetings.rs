//! Where the levels of one factor meet those of others: C = Z_1'W Z_2, kept by levels of the first, and products with
//! its scaled form R = S_1'C S_2, where S are blocks on the diagonal.
//!
//! A product with R'R is one pass over C, several columns at a time: what a level meets is fetched, scaled and given back.

use crate::memory::{copied, filled, filled_for_visits, reserve, reserved, zeros};
use crate::products::{Products, RestCell};
use crate::rows::Source;
use crate::threads::Stop;
use rayon::prelude::*;
use std::ops::Range;

/// Effects a level that products are written for.
pub const MOST_EFFECTS: usize = 4;

/// Levels after which work asks whether it shall stop.
const ASK: usize = 1024;

/// A factor's rows; columns times the roots of the weights.
pub struct Side<'a> {
    pub codes: &'a [i32],
    pub z: Source<'a>,
    pub n_levels: usize,
}

/// Columns of a vector block, side by side.
pub type Columns<const K: usize> = Vec<[f64; K]>;

/// C by levels of the first factor.
pub struct Meetings {
    pub n_levels: usize,
    /// Effects of a level.
    pub q: usize,
    /// Levels and effects of each factor that it meets.
    pub others: Vec<(usize, usize)>,
    /// Where the places of a level begin.
    starts: Vec<usize>,
    /// Effects of the others, all factors in a row.
    places: Vec<u32>,
    /// q values a place; None where all are one.
    values: Option<Vec<f64>>,
}

/// Part of the levels while they are put together.
struct Part {
    lengths: Vec<usize>,
    places: Vec<u32>,
    values: Vec<f64>,
    all_ones: bool,
}

impl Part {
    fn push(&mut self, place: usize, values: &[f64]) {
        if self.all_ones && values != [1.0] {
            reserve(&mut self.values, self.places.len() * values.len());
            self.values.resize(self.places.len() * values.len(), 1.0);
            self.all_ones = false;
        }
        reserve(&mut self.places, 1);
        self.places.push(place as u32);
        if !self.all_ones {
            reserve(&mut self.values, values.len());
            self.values.extend_from_slice(values);
        }
    }
}

impl Meetings {
    pub fn new(first: &Side, others: &[Side]) -> Meetings {
        let (n_levels, q) = (first.n_levels, first.z.n_cols());
        let (row_starts, order) = by_level(first.codes, n_levels);
        let stop = Stop::current();
        let part = |levels: Range<usize>| {
            let mut part = Part { lengths: reserved(levels.len()), places: vec![], values: vec![], all_ones: true };
            let (mut keys, mut sums): (Vec<u64>, Vec<f64>) = (vec![], vec![]);
            for level in levels {
                if level % ASK == 0 {
                    stop.check();
                }
                let (before, mut at) = (part.places.len(), 0);
                for other in others {
                    let width = other.z.n_cols();
                    keys.clear();
                    keys.extend(
                        order[row_starts[level]..row_starts[level + 1]]
                            .iter()
                            .map(|&i| (other.codes[i as usize] as u64) << 32 | u64::from(i)),
                    );
                    keys.sort_unstable();
                    for run in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
                        sums.clear();
                        sums.resize(width * q, 0.0);
                        for &key in run {
                            let i = (key & u64::from(u32::MAX)) as usize;
                            for c in 0..width {
                                for r in 0..q {
                                    sums[c * q + r] += first.z.row(i)[r] * other.z.row(i)[c];
                                }
                            }
                        }
                        let code = (run[0] >> 32) as usize;
                        for c in 0..width {
                            part.push(at + code * width + c, &sums[c * q..(c + 1) * q]);
                        }
                    }
                    at += other.n_levels * width;
                }
                part.lengths.push(part.places.len() - before);
            }
            part
        };
        let pieces = pieces(&row_starts, rayon::current_num_threads());
        let parts: Vec<Part> = pieces.into_par_iter().map(part).collect();
        drop(order);
        Meetings::joined(n_levels, q, others.iter().map(|o| (o.n_levels, o.z.n_cols())).collect(), parts)
    }

    /// Those of the factor at place `e` of a model's products with the ones behind it.
    pub fn of_products(products: &Products, e: usize) -> Meetings {
        let (factor, behind) = (&products.factors[e], &products.factors[e + 1..]);
        let (n_levels, q) = (factor.n_levels, factor.q);
        let others = behind.iter().map(|f| (f.n_levels, f.q)).collect();
        let (starts, places, values) = if e == 0 {
            let cross = &products.cross;
            (copied(&cross.start), copied(&cross.column), copied(&cross.value))
        } else {
            rest_by_levels(products, e)
        };
        let values = (q > 1 || values.iter().any(|v| *v != 1.0)).then_some(values);
        Meetings { n_levels, q, others, starts, places, values }
    }

    fn joined(n_levels: usize, q: usize, others: Vec<(usize, usize)>, parts: Vec<Part>) -> Meetings {
        let total: usize = parts.iter().map(|part| part.places.len()).sum();
        let (mut starts, mut places) = (reserved(n_levels + 1), reserved(total));
        let mut values = (!parts.iter().all(|part| part.all_ones)).then(|| reserved(total * q));
        starts.push(0);
        for part in parts {
            for length in part.lengths {
                starts.push(starts[starts.len() - 1] + length);
            }
            if let Some(values) = &mut values {
                match part.all_ones {
                    true => values.resize(values.len() + part.places.len(), 1.0),
                    false => values.extend_from_slice(&part.values),
                }
            }
            places.extend_from_slice(&part.places);
        }
        Meetings { n_levels, q, others, starts, places, values }
    }

    /// Effects of the first factor.
    pub fn n_rows(&self) -> usize {
        self.n_levels * self.q
    }

    /// Effects of the others.
    pub fn n_columns(&self) -> usize {
        self.others.iter().map(|(levels, q)| levels * q).sum()
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.places.len() * 4 + self.starts.len() * 8 + self.values.as_ref().map_or(0, |v| v.len() * 8)
    }

    /// R x and R'R x; x (`n_columns`) is scaled by S_2 already, and R'R x is short of S_2'. S is (n_levels, q, q).
    pub fn product<const K: usize>(&self, scale: &[f64], x: &[[f64; K]]) -> (Columns<K>, Columns<K>) {
        self.there_and_back(Some(x), |level, met, made, back| {
            let s = block(scale, level, self.q);
            apply::<K>(s, self.q, true, met, made);
            apply::<K>(s, self.q, false, made, back);
        })
    }

    /// C'y.
    pub fn back<const K: usize>(&self, y: &[[f64; K]]) -> Columns<K> {
        let given = |level: usize, _: &[[f64; K]], _: &mut [[f64; K]], back: &mut [[f64; K]]| {
            back.copy_from_slice(&y[level * self.q..(level + 1) * self.q]);
        };
        self.there_and_back(None, given).1
    }

    /// C x and C'y.
    pub fn both_ways<const K: usize>(&self, x: &[[f64; K]], y: &[[f64; K]]) -> (Columns<K>, Columns<K>) {
        self.there_and_back(Some(x), |level, met, made, back| {
            made.copy_from_slice(met);
            back.copy_from_slice(&y[level * self.q..(level + 1) * self.q]);
        })
    }

    /// What `at` makes of C x level by level, and C' times what it gives back; x is zero where it is not there.
    fn there_and_back<const K: usize>(
        &self,
        x: Option<&[[f64; K]]>,
        at: impl Fn(usize, &[[f64; K]], &mut [[f64; K]], &mut [[f64; K]]) + Sync,
    ) -> (Columns<K>, Columns<K>) {
        match (self.q, &self.values) {
            (1, None) => self.visit::<1, K>(x, |_, _| 1.0, at),
            (1, Some(values)) => self.visit::<1, K>(x, |i, _| values[i], at),
            (2, Some(values)) => self.visit::<2, K>(x, |i, r| values[2 * i + r], at),
            (3, Some(values)) => self.visit::<3, K>(x, |i, r| values[3 * i + r], at),
            (4, Some(values)) => self.visit::<4, K>(x, |i, r| values[4 * i + r], at),
            _ => unreachable!("the border refuses more effects, and several are not all ones"),
        }
    }

    #[inline(always)]
    fn visit<const Q: usize, const K: usize>(
        &self,
        x: Option<&[[f64; K]]>,
        value: impl Fn(usize, usize) -> f64 + Sync,
        at: impl Fn(usize, &[[f64; K]], &mut [[f64; K]], &mut [[f64; K]]) + Sync,
    ) -> (Columns<K>, Columns<K>) {
        let n_columns = self.n_columns();
        assert!(x.is_none_or(|x| x.len() == n_columns));
        let stop = Stop::current();
        let mut made = filled([0.0; K], self.n_rows());
        let pieces = pieces(&self.starts, rayon::current_num_threads());
        let mut targets = Vec::new();
        let mut left = made.as_mut_slice();
        for piece in &pieces {
            let (own, rest) = left.split_at_mut(piece.len() * Q);
            targets.push(own);
            left = rest;
        }
        let work = |(levels, made): (Range<usize>, &mut [[f64; K]])| {
            let mut out = filled_for_visits([0.0; K], n_columns);
            let first = levels.start;
            for level in levels {
                if level % ASK == 0 {
                    stop.check();
                }
                let entries = self.starts[level]..self.starts[level + 1];
                let (mut met, mut back) = ([[0.0; K]; Q], [[0.0; K]; Q]);
                if let Some(x) = x {
                    for i in entries.clone() {
                        let source = &x[self.places[i] as usize];
                        for r in 0..Q {
                            let v = value(i, r);
                            for k in 0..K {
                                met[r][k] += v * source[k];
                            }
                        }
                    }
                }
                at(level, &met, &mut made[(level - first) * Q..(level - first + 1) * Q], &mut back);
                for i in entries {
                    let target = &mut out[self.places[i] as usize];
                    for r in 0..Q {
                        let v = value(i, r);
                        for k in 0..K {
                            target[k] += v * back[r][k];
                        }
                    }
                }
            }
            out
        };
        let outs: Vec<Columns<K>> = pieces.into_par_iter().zip(targets).map(work).collect();
        (made, summed(outs))
    }

    /// Sums over what a level meets of R R' (n_levels, q, q), and over the levels that meet it of R'R, (n_levels, q, q)
    /// of each other factor one after the other.
    pub fn squares(&self, scale: &[f64], other_scales: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
        let (q, stop) = (self.q, Stop::current());
        let layout = self.layout();
        let n_out = self.others.iter().map(|(levels, w)| levels * w * w).sum();
        let work = |levels: Range<usize>| {
            let (mut own, mut out) = (zeros(levels.len() * q * q), zeros(n_out));
            let (first, mut half, mut r) = (levels.start, [0.0; MOST_EFFECTS * MOST_EFFECTS], [0.0; 16]);
            for level in levels {
                if level % ASK == 0 {
                    stop.check();
                }
                let s = block(scale, level, q);
                let own = &mut own[(level - first) * q * q..(level - first + 1) * q * q];
                let mut i = self.starts[level];
                if let ([(_, 1)], 1) = (self.others.as_slice(), q) {
                    let (mut sum, square) = (0.0, s[0] * s[0]);
                    for i in i..self.starts[level + 1] {
                        let (v, place) = (self.value(i, 0), self.places[i] as usize);
                        let both = v * v * square * other_scales[0][place] * other_scales[0][place];
                        sum += both;
                        out[place] += both;
                    }
                    own[0] = sum;
                    continue;
                }
                while i < self.starts[level + 1] {
                    let place = self.places[i] as usize;
                    let j = layout.partition_point(|other| other.begin <= place) - 1;
                    let (w, other) = (layout[j].width, (place - layout[j].begin) / layout[j].width);
                    let t = block(&other_scales[j], other, w);
                    // half = C S_2 (q, w), r = S_1' half
                    for a in 0..q {
                        for b in 0..w {
                            half[a * w + b] = (0..w).map(|c| self.value(i + c, a) * t[c * w + b]).sum();
                        }
                    }
                    for a in 0..q {
                        for b in 0..w {
                            r[a * w + b] = (0..q).map(|c| s[c * q + a] * half[c * w + b]).sum();
                        }
                    }
                    for a in 0..q {
                        for b in 0..q {
                            own[a * q + b] += (0..w).map(|c| r[a * w + c] * r[b * w + c]).sum::<f64>();
                        }
                    }
                    let target = &mut out[layout[j].squares + other * w * w..][..w * w];
                    for a in 0..w {
                        for b in 0..w {
                            target[a * w + b] += (0..q).map(|c| r[c * w + a] * r[c * w + b]).sum::<f64>();
                        }
                    }
                    i += w;
                }
            }
            (own, out)
        };
        let pieces = pieces(&self.starts, rayon::current_num_threads());
        let parts: Vec<(Vec<f64>, Vec<f64>)> = pieces.into_par_iter().map(work).collect();
        let (mut own, mut sum) = (reserved(self.n_levels * q * q), zeros(n_out));
        for (part, out) in parts {
            own.extend_from_slice(&part);
            sum.iter_mut().zip(out).for_each(|(sum, v)| *sum += v);
        }
        (own, sum)
    }

    fn value(&self, i: usize, r: usize) -> f64 {
        self.values.as_ref().map_or(1.0, |values| values[i * self.q + r])
    }

    fn layout(&self) -> Vec<Other> {
        let (mut begin, mut squares) = (0, 0);
        let place = |&(levels, width): &(usize, usize)| {
            let at = Other { begin, width, squares };
            begin += levels * width;
            squares += levels * width * width;
            at
        };
        self.others.iter().map(place).collect()
    }
}

/// Where another factor's effects begin, how many a level has, and where its blocks of squares begin.
struct Other {
    begin: usize,
    width: usize,
    squares: usize,
}

/// S x or S'x of every level, in place.
pub fn scale_by<const K: usize>(scale: &[f64], q: usize, transposed: bool, x: &mut [[f64; K]]) {
    let work = |(c, piece): (usize, &mut [[f64; K]])| {
        let mut before = [[0.0; K]; MOST_EFFECTS];
        for (l, values) in piece.chunks_exact_mut(q).enumerate() {
            before[..q].copy_from_slice(values);
            apply::<K>(block(scale, c * ASK + l, q), q, transposed, &before[..q], values);
        }
    };
    x.par_chunks_mut(ASK * q).enumerate().for_each(work);
}

/// out = S x, or S'x.
#[inline(always)]
fn apply<const K: usize>(s: &[f64], q: usize, transposed: bool, x: &[[f64; K]], out: &mut [[f64; K]]) {
    for a in 0..q {
        let mut sum = [0.0; K];
        for b in 0..q {
            let v = if transposed { s[b * q + a] } else { s[a * q + b] };
            for k in 0..K {
                sum[k] += v * x[b][k];
            }
        }
        out[a] = sum;
    }
}

#[inline(always)]
fn block(values: &[f64], level: usize, q: usize) -> &[f64] {
    &values[level * q * q..(level + 1) * q * q]
}

/// Products of the factor of the rest at place `e` with those behind it, by its levels: where the places of a level begin,
/// the places, and q values each.
fn rest_by_levels(products: &Products, e: usize) -> (Vec<usize>, Vec<u32>, Vec<f64>) {
    let (n_levels, q) = (products.factors[e].n_levels, products.factors[e].q);
    let own = || products.rest_cells.iter().filter(|cell| cell.column_factor == e);
    let level = |cell: &RestCell| (cell.column - products.offset[e]) / q;
    let width = |cell: &RestCell| products.factors[cell.row_factor].q;
    let mut starts = filled(0, n_levels + 1);
    own().for_each(|cell| starts[level(cell) + 1] += width(cell));
    (0..n_levels).for_each(|l| starts[l + 1] += starts[l]);
    let begin = products.offset[e] + n_levels * q; // the first column behind
    let (mut next, mut places, mut values) = (starts.clone(), filled(0, starts[n_levels]), zeros(starts[n_levels] * q));
    for cell in own() {
        let (at, rows) = (next[level(cell)], width(cell));
        next[level(cell)] += rows;
        for r in 0..rows {
            places[at + r] = (cell.row - begin + r) as u32;
            for c in 0..q {
                values[(at + r) * q + c] = products.rest_values[cell.value + c * rows + r];
            }
        }
    }
    (starts, places, values)
}

/// Where the rows of each level begin in an order by levels, and that order.
fn by_level(codes: &[i32], n_levels: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = filled(0, n_levels + 1);
    codes.iter().for_each(|&code| starts[code as usize + 1] += 1);
    (0..n_levels).for_each(|l| starts[l + 1] += starts[l]);
    let (mut next, mut order) = (starts.clone(), filled(0, codes.len()));
    for (i, &code) in codes.iter().enumerate() {
        order[next[code as usize]] = i as u32;
        next[code as usize] += 1;
    }
    (starts, order)
}

/// Levels in as many pieces, of about as many entries each.
fn pieces(starts: &[usize], n: usize) -> Vec<Range<usize>> {
    let (n_levels, total) = (starts.len() - 1, starts[starts.len() - 1]);
    let cut = |k: usize| match k {
        0 => 0,
        k if k == n => n_levels,
        k => starts.partition_point(|&start| start < total / n * k).min(n_levels),
    };
    (0..n).map(|k| cut(k)..cut(k + 1)).collect()
}

/// The sum of all, in their order.
fn summed<const K: usize>(parts: Vec<Columns<K>>) -> Columns<K> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        sum.par_chunks_mut(ASK).zip(part.par_chunks(ASK)).for_each(|(sum, part)| {
            for (sum, values) in sum.iter_mut().zip(part) {
                for k in 0..K {
                    sum[k] += values[k];
                }
            }
        });
    }
    sum
}
