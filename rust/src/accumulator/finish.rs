//! Sums become products: turned into the basis of all rows, levels at their places.

use super::factor_sums::{FactorSums, SettledFactor};
use super::fixed_sums::FixedSums;
use super::pairs::Pairs;
use super::{Accumulator, LOST, pairs_of};
use crate::basis::Settled;
use crate::block;
use crate::memory::{filled, reserved, zeros};
use crate::model::inverse_upper;
use crate::products::{Factor, Layout, PERFECT, Products, Strips, cross_products, rest_products};
use crate::rows::CHUNK;
use crate::threads::Stop;
use std::sync::Arc;

/// What the sums came to.
pub enum Finished {
    Products(Box<Products>),
    /// Without sums, for another pass over the same rows.
    Again(Box<Accumulator>),
    PerfectFit,
}

impl Accumulator {
    /// The products of all rows; `places[k]` are where the levels of factor k go, which is the `ranks[k]`-th of the model.
    pub fn finish(&self, places: &[&[i32]], ranks: &[usize]) -> Finished {
        let n = self.n;
        let (p, m) = (self.fixed.p(), self.fixed.p() + 1);
        let settled = self.fixed.settle(n);
        let factors: Vec<SettledFactor> = self.factors.iter().map(|f| f.settle(n)).collect();
        let kept = settled.basis.len();
        let (gram, with_r, r_square) = self.fixed.products();
        // coefficients of r in the basis of all rows, and in the provisional one
        let mut own = zeros(kept);
        block::transpose_times(&settled.turn, &with_r, p, kept, 1, &mut own);
        own.iter_mut().for_each(|v| *v /= n as f64);
        let mut moved = zeros(p);
        block::times(&settled.turn, &own, p, kept, 1, &mut moved);
        let square = r_square - n as f64 * own.iter().map(|v| v * v).sum::<f64>();
        let rounding = PERFECT * PERFECT * self.fixed.y_square;
        if r_square <= rounding {
            return Finished::PerfectFit;
        }
        let fit: Vec<f64> = self.fixed.first.iter().zip(&moved).map(|(b, c)| b + c).collect();
        if settled.again || square.is_nan() || square < LOST * r_square || factors.iter().any(|f| f.again) {
            return Finished::Again(Box::new(self.again(&settled, factors, &fit)));
        }
        if square <= rounding {
            return Finished::PerfectFit;
        }
        let scale = (square / n as f64).sqrt();
        let mut beta0 = zeros(kept);
        block::times(&inverse_within(&settled, p), &self.fixed.first, kept, p, 1, &mut beta0);
        beta0.iter_mut().zip(&own).for_each(|(b, c)| *b += c);

        let shapes: Vec<(usize, usize)> = places.iter().zip(&factors).map(|(o, f)| (o.len(), f.basis.q)).collect();
        let layout = Layout::new(&shapes, |_| false);
        // [q, r] of the provisional basis to that of all rows and the scaled residual, m x (kept + 1)
        let mut to_final = zeros(m * (kept + 1));
        for j in 0..kept {
            to_final[j * m..j * m + p].copy_from_slice(&settled.turn[j * p..(j + 1) * p]);
        }
        (0..p).for_each(|a| to_final[kept * m + a] = -moved[a] / scale);
        to_final[kept * m + p] = 1.0 / scale;
        let mut xx = zeros((kept + 1) * (kept + 1));
        let mut half = zeros(p * kept);
        block::times(&gram, &settled.turn, p, p, kept, &mut half);
        let mut inner = zeros(kept * kept);
        block::transpose_times(&settled.turn, &half, p, kept, kept, &mut inner);
        for b in 0..kept {
            xx[b * (kept + 1)..b * (kept + 1) + kept].copy_from_slice(&inner[b * kept..(b + 1) * kept]);
        }
        xx[(kept + 1) * (kept + 1) - 1] = n as f64;

        let strips = |e: usize| self.strips(&layout, places, &factors, e);
        let cross = cross_products(&layout, strips);
        let (rest_cells, rest_values) = rest_products(&layout, strips);
        let turned = layout.order.iter().map(|&k| {
            let (zz, zx) = turn_levels(&self.factors[k], &factors[k], places[k], &to_final, m);
            Factor {
                n_levels: places[k].len(),
                q: factors[k].basis.q,
                blocks: self.factors[k].blocks.clone(),
                public: ranks[k],
                basis: factors[k].basis.clone(),
                dependent: factors[k].dependent.clone(),
                zz: Arc::new(zz),
                zx,
                idle: Arc::default(),
                relation: None,
            }
        });
        let turned: Vec<Factor> = turned.collect();
        Finished::Products(Box::new(Products {
            n,
            p: kept,
            log_weights: self.log_weights,
            weight_ratio: if self.is_weighted { self.weights.1 / self.weights.0 } else { 1.0 },
            x_basis: Arc::new(settled.basis),
            beta0,
            scale,
            factors: turned,
            offset: layout.offset,
            n_rest: layout.n_rest,
            cross: Arc::new(cross),
            rest_cells: Arc::new(rest_cells),
            rest_values: Arc::new(rest_values),
            xx,
        }))
    }

    /// Without sums, in the bases and about the fit that these sums have found.
    fn again(&self, settled: &Settled, factors: Vec<SettledFactor>, fit: &[f64]) -> Accumulator {
        let p = self.fixed.p();
        let mut first = zeros(p);
        block::times(&inverse_upper(&settled.next, p), fit, p, p, 1, &mut first);
        let fixed = FixedSums::empty(self.fixed.basis.turned(&settled.next), first, self.is_weighted);
        let sums = self.factors.iter().zip(factors);
        let one = |(f, s): (&FactorSums, SettledFactor)| {
            FactorSums::empty(0, s.next, f.blocks.clone(), s.joint, self.is_weighted, p)
        };
        Accumulator::empty(fixed, sums.map(one).collect(), self.is_weighted)
    }

    /// Products of the factor at `e` in the order of elimination with those behind it.
    fn strips(&self, layout: &Layout, places: &[&[i32]], settled: &[SettledFactor], e: usize) -> Strips {
        let own = layout.order[e];
        let n_levels = places[own].len();
        let mut first = 0;
        let mut tables = vec![];
        for (o, &other) in layout.order.iter().enumerate().skip(e + 1) {
            let (j, k) = (own.min(other), own.max(other));
            let at = pairs_of(layout.order.len()).position(|pair| pair == (j, k)).expect("all pairs are there");
            tables.push((&self.pairs[at], own > other, other, first));
            first += layout.shape[o].0;
        }
        let known = places.iter().zip(&self.factors);
        let orders: Vec<Vec<u32>> = known.map(|(places, f)| in_order(places, f.n_levels)).collect();
        let orders_of = |other: usize| [&orders[own.min(other)][..], &orders[own.max(other)][..]];
        let mut turned = Turned::new(&settled[own], tables.iter().map(|(pairs, ..)| *pairs));
        let mut count = filled(0usize, n_levels);
        if let [(pairs, false, other, _)] = tables[..] {
            if pairs.is_ordered() {
                pairs.for_each(Some(orders_of(other)), |slot, a, b| {
                    count[places[own][a] as usize] += 1;
                    turned.push(places[other][b] as u32, pairs, slot, false, &settled[other]);
                });
                return Strips { count, block: turned.block, value: turned.value };
            }
        }
        for &(pairs, swapped, ..) in &tables {
            pairs.for_each(None, |_, a, b| count[places[own][if swapped { b } else { a }] as usize] += 1);
        }
        let mut next = reserved(n_levels);
        let mut total = 0;
        for c in &count {
            next.push(total);
            total += c;
        }
        let mut met = filled((0u32, 0u32, 0u32), total); // block, table, slot
        for (t, &(pairs, swapped, other, first)) in tables.iter().enumerate() {
            pairs.for_each(Some(orders_of(other)), |slot, a, b| {
                let (a, b) = if swapped { (b, a) } else { (a, b) };
                let at = &mut next[places[own][a] as usize];
                met[*at] = ((first + places[other][b] as usize) as u32, t as u32, slot as u32);
                *at += 1;
            });
        }
        if tables.iter().any(|(pairs, ..)| !pairs.is_ordered()) {
            let mut start = 0;
            for c in &count {
                met[start..start + c].sort_unstable();
                start += c;
            }
        }
        for &(b, t, slot) in &met {
            let (pairs, swapped, other, _) = tables[t as usize];
            turned.push(b, pairs, slot as usize, swapped, &settled[other]);
        }
        Strips { count, block: turned.block, value: turned.value }
    }
}

/// Blocks of pairs of levels, turned into the bases of all rows.
struct Turned<'a> {
    own: &'a SettledFactor,
    half: Vec<f64>,
    block: Vec<u32>,
    value: Vec<f64>,
    stop: Stop,
}

impl<'a> Turned<'a> {
    /// With room for all of these pairs.
    fn new<'p>(own: &'a SettledFactor, tables: impl Iterator<Item = &'p Pairs> + Clone) -> Turned<'a> {
        let n_pairs = tables.clone().map(Pairs::len).sum();
        let value = reserved(tables.map(|pairs| pairs.len() * pairs.width).sum());
        Turned { own, half: vec![], block: reserved(n_pairs), value, stop: Stop::current() }
    }

    /// Takes the pair in a slot, of its own level and the `block`-th one behind it.
    fn push(&mut self, block: u32, pairs: &Pairs, slot: usize, swapped: bool, other: &SettledFactor) {
        if self.block.len() % CHUNK == 0 {
            self.stop.check();
        }
        self.block.push(block);
        let (q, q_other) = (self.own.basis.q, other.basis.q);
        let stored = pairs.values(slot);
        if q * q_other == 1 {
            self.value.push(self.own.turn[0] * stored.next_value() * other.turn[0]);
            return;
        }
        let stored: Vec<f64> = stored.collect();
        let raw = if swapped { block::transpose(&stored, q_other, q) } else { stored };
        self.half.resize(q * q_other, 0.0);
        block::transpose_times(&self.own.turn, &raw, q, q, q_other, &mut self.half);
        let from = self.value.len();
        self.value.resize(from + q * q_other, 0.0);
        block::times(&self.half, &other.turn, q, q_other, q_other, &mut self.value[from..]);
    }
}

/// The codes below `n_levels` in the order of their places.
fn in_order(places: &[i32], n_levels: usize) -> Vec<u32> {
    let mut out = filled(0, places.len());
    places.iter().enumerate().for_each(|(code, &place)| out[place as usize] = code as u32);
    out.retain(|&code| (code as usize) < n_levels);
    out
}

/// Sums by levels in the basis of all rows, the levels at their places.
fn turn_levels(
    sums: &FactorSums,
    settled: &SettledFactor,
    places: &[i32],
    to_final: &[f64],
    m: usize,
) -> (Vec<f64>, Vec<f64>) {
    let q = sums.basis.q;
    let m_final = to_final.len() / m;
    let mut zz = zeros(places.len() * q * q);
    let mut zx = zeros(places.len() * q * m_final);
    let (mut half, mut half_x) = (zeros(q * q), zeros(q * m));
    let (mut own, mut own_x) = (zeros(q * q), zeros(q * m));
    for (level, &place) in places.iter().enumerate().take(sums.n_levels) {
        let place = place as usize;
        sums.level(level, &mut own, &mut own_x);
        block::transpose_times(&settled.turn, &own, q, q, q, &mut half);
        block::times(&half, &settled.turn, q, q, q, &mut zz[place * q * q..(place + 1) * q * q]);
        block::transpose_times(&settled.turn, &own_x, q, q, m, &mut half_x);
        block::times(&half_x, to_final, q, m, m_final, &mut zx[place * q * m_final..(place + 1) * q * m_final]);
    }
    (zz, zx)
}

/// The rows of the inverse of `next` that belong to columns kept, kept x p: coefficients into the basis of all rows.
fn inverse_within(settled: &Settled, p: usize) -> Vec<f64> {
    let kept = settled.basis.len();
    let inverse = inverse_upper(&settled.next, p);
    let stays: Vec<usize> = (0..p).filter(|j| !settled.basis.dependent.contains(j)).collect();
    let mut out = zeros(kept * p);
    for j in 0..p {
        stays.iter().enumerate().for_each(|(a, &i)| out[j * kept + a] = inverse[j * p + i]);
    }
    out
}
