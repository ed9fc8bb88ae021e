//! Residuals in chains: rows of a subject in the order of time, correlated through neighbours alone, as those of a
//! first-order autoregression in steps or in continuous time.
//!
//! With a the correlation of two neighbours y and z, w = (1 - a) / (1 + a) and Q the inverse of the correlations,
//!
//! ```text
//! x'Q x = (first first' + last last') / 2 + sum over neighbours of w ss' + dd' / w,  s = (y + z) / 2, d = (z - y) / 2,
//! ```
//!
//! where nothing cancels, however strong the correlation. Neighbours of the same correlation are one class, of which
//! sums of products are all that is needed: few rows with the same sums stand for a class of many. So an evaluation costs
//! as many rows as there are classes times columns, and one pass over the rows where every class has one pair. Correlations
//! of the classes with their derivatives are what is told here; the caller knows what parameter they depend on.
//!
//! Columns are those of `patterns.rs`: q in the basis of X, r the least-squares residual over its root mean square, times
//! the roots of the weights.

use crate::accumulator::piece::{Column, Piece, ROWS, dot};
use crate::basis::Basis;
use crate::block;
use crate::memory::{copied, filled, gathered, reserve, reserved, zeros};
use crate::patterns::{Solved, rows_of, solve};
use crate::products::{ModelRows, ProductsError, Residual};
use crate::rows::{ByLevel, sum_over_rows};
use crate::threads;
use std::f64::consts::PI;

/// Of anything its value and two derivatives.
const SETS: usize = 3;

/// Chains and their neighbours, as the caller lists them.
pub struct ChainRows {
    /// Rows of each chain.
    pub lengths: Vec<usize>,
    /// Group of each chain.
    pub groups: Vec<usize>,
    /// Class of each pair of neighbours, chain by chain.
    pub links: Vec<i32>,
    /// Group that each class is of.
    pub class_groups: Vec<usize>,
    pub n_groups: usize,
}

/// All that the likelihood needs of the rows.
pub struct Chains {
    pub n: usize,
    /// Columns of X kept.
    pub p: usize,
    pub x_basis: Basis,
    /// Least-squares coefficients in the basis of X.
    pub beta0: Vec<f64>,
    /// Root mean square of the least-squares residual.
    pub scale: f64,
    pub listed: ChainRows,
    log_weights: f64,
    /// Neighbours of each class.
    counts: Vec<f64>,
    /// [q r] by chain and time, n x (p + 1).
    rows: Vec<f64>,
    /// Of each group.
    strands: Vec<Strand>,
}

/// Sums and differences of neighbours of one group, or fewer rows with the same products.
struct Strand {
    /// 64 rows after 64 rows, column by column.
    pieces: Vec<Column>,
    /// Where each row finds its weight: its class for a sum, and behind all classes for a difference.
    places: Vec<u32>,
    /// Products of first and last rows, halved, (p + 1) x (p + 1).
    ends: Vec<f64>,
}

impl Chains {
    /// Forms the sums; `order` are the rows of the data by chain and time.
    pub fn new(model: &ModelRows, order: &[usize], listed: ChainRows) -> Result<Chains, ProductsError> {
        let x_basis = Basis::of(&model.x, model.x.n_cols(), model.weights, 2);
        let Residual { beta0, scale, xr, .. } = Residual::of(model, &x_basis)?;
        let (n, p, c) = (model.y.len(), x_basis.len(), x_basis.len() + 1);
        let mut rows = zeros(n * c);
        for (row, &i) in rows.chunks_exact_mut(c).zip(order) {
            row.copy_from_slice(&xr[i * c..(i + 1) * c]);
            row[p] /= scale;
        }
        drop(xr);
        let strands = strands(&rows, c, &listed);
        let log_weights = model.weights.map_or(0.0, |w| w.iter().map(|w| w.ln()).sum());
        let mut counts = zeros(listed.class_groups.len());
        listed.links.iter().for_each(|&class| counts[class as usize] += 1.0);
        Ok(Chains { n, p, x_basis, beta0, scale, listed, log_weights, counts, rows, strands })
    }

    pub fn n_classes(&self) -> usize {
        self.listed.class_groups.len()
    }

    /// Multiplications of one evaluation.
    pub fn flops(&self) -> f64 {
        let rows: usize = self.strands.iter().map(|s| s.places.len()).sum();
        3.0 * rows as f64 * ((self.p + 1) as f64).powi(2)
    }

    /// What the criterion of the scaled problem lacks.
    pub fn constant(&self, reml: bool) -> f64 {
        let dof = (self.n - if reml { self.p } else { 0 }) as f64;
        dof * (2.0 * self.scale.ln() + (2.0 * PI).ln())
            - self.log_weights
            - if reml { 2.0 * self.x_basis.log_det() } else { 0.0 }
    }

    /// [q r]'Q [q r] of each group with its first and second derivative in a parameter of the group, (3, G, c, c), and what
    /// `Class::logs` are in sum, (4, G), for the correlations of the classes and their derivatives, C each.
    pub fn products(&self, correlations: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (c, n_groups, n_classes) = (self.p + 1, self.strands.len(), self.n_classes());
        let each = c * c;
        let (mut weights, mut logs) = (filled([0.0; SETS], 2 * n_classes), zeros(4 * n_groups));
        for (j, &g) in self.listed.class_groups.iter().enumerate() {
            let class = Class::new(correlations, j);
            [weights[j], weights[n_classes + j]] = class.weights();
            for (log, one) in logs.chunks_exact_mut(n_groups).zip(class.logs()) {
                log[g] += self.counts[j] * one;
            }
        }
        let mut out = zeros(SETS * n_groups * each);
        for (g, strand) in self.strands.iter().enumerate() {
            let sums = sum_over_rows(strand.places.len(), SETS * each, |range, acc| {
                let (mut by, mut weighted) = ([[0.0; ROWS]; SETS], [[0.0; ROWS]; SETS]);
                for first in range.step_by(ROWS) {
                    let columns = &strand.pieces[first / ROWS * c..(first / ROWS + 1) * c];
                    for (i, place) in strand.places[first..first + ROWS].iter().enumerate() {
                        let weight = weights[*place as usize];
                        (0..SETS).for_each(|s| by[s][i] = weight[s]);
                    }
                    for b in 0..c {
                        for s in 0..SETS {
                            (0..ROWS).for_each(|i| weighted[s][i] = columns[b][i] * by[s][i]);
                        }
                        for a in b..c {
                            (0..SETS).for_each(|s| acc[s * each + b * c + a] += dot(&columns[a], &weighted[s]));
                        }
                    }
                }
            });
            for s in 0..SETS {
                mirrored(&sums[s * each..(s + 1) * each], c, &mut out[(s * n_groups + g) * each..][..each]);
            }
            out[g * each..(g + 1) * each].iter_mut().zip(&strand.ends).for_each(|(o, e)| *o += e);
        }
        (out, logs)
    }

    /// [q r]'D C D [q r] of each group, (G, c, c), for the correlations of the classes and their derivatives, C each: D is the
    /// first derivative of Q, and C = Q^-1.
    pub fn squares(&self, correlations: &[f64]) -> Vec<f64> {
        let (c, n_groups) = (self.p + 1, self.strands.len());
        let n_classes = self.n_classes();
        // of each class half the derivatives of w and of 1 / w, the correlation, and the sd of an innovation
        let classes = gathered((0..n_classes).map(|j| {
            let class = Class::new(correlations, j);
            let [of_sum, of_difference] = class.weights().map(|of| 0.25 * of[1]);
            [of_sum, of_difference, class.a, ((1.0 - class.a) * (1.0 + class.a)).sqrt()]
        }));
        let (rows_of_chain, links_of_chain) = self.starts();
        let each = c * c;
        let sums = sum_over_rows(self.listed.lengths.len(), n_groups * each, |chains, acc| {
            let mut buffer: Vec<Buffer> = (0..n_groups).map(|_| Buffer::new(c)).collect();
            let (mut own, mut next, mut carried) = (zeros(c), zeros(c), zeros(c));
            for chain in chains {
                let (first, link, length) = (rows_of_chain[chain], links_of_chain[chain], self.listed.lengths[chain]);
                let group = self.listed.groups[chain];
                own.fill(0.0);
                carried.fill(0.0);
                for i in 0..length {
                    next.fill(0.0);
                    let (mut a, mut root) = (0.0, 1.0);
                    if i + 1 < length {
                        let [of_sum, of_difference, correlation, sd] = classes[self.listed.links[link + i] as usize];
                        (a, root) = (correlation, sd);
                        let (y, z) = self.rows[(first + i) * c..(first + i + 2) * c].split_at(c);
                        for j in 0..c {
                            let (s, d) = (of_sum * (y[j] + z[j]), of_difference * (z[j] - y[j]));
                            own[j] += s - d;
                            next[j] = s + d;
                        }
                    }
                    for j in 0..c {
                        let reached = own[j] + carried[j];
                        own[j] = root * reached;
                        carried[j] = a * reached;
                    }
                    buffer[group].push(&own, &mut acc[group * each..(group + 1) * each]);
                    std::mem::swap(&mut own, &mut next);
                }
            }
            buffer.iter_mut().zip(acc.chunks_exact_mut(each)).for_each(|(b, acc)| b.flush(acc));
        });
        let mut out = zeros(n_groups * each);
        out.chunks_exact_mut(each).zip(sums.chunks_exact(each)).for_each(|(out, sums)| mirrored(sums, c, out));
        out
    }

    /// Coefficients of the fixed effects less beta0, over scale, and U^-T, p x p, for [q r]'V^-1 [q r], c x c; None where it
    /// is not positive definite.
    pub fn fixed_root(&self, products: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        let Solved { beta, root, .. } = solve(self.p, products, 0.0, false)?;
        Some((beta, root))
    }

    /// Where the rows and the neighbours of each chain begin.
    fn starts(&self) -> (Vec<usize>, Vec<usize>) {
        let n = self.listed.lengths.len();
        let (mut rows, mut links) = (reserved(n), reserved(n));
        let (mut row, mut link) = (0, 0);
        for length in &self.listed.lengths {
            rows.push(row);
            links.push(link);
            row += length;
            link += length - 1;
        }
        (rows, links)
    }
}

/// The correlation a of the neighbours of one class, with its derivatives in the parameter of their group.
struct Class {
    a: f64,
    slope: f64,
    bend: f64,
}

impl Class {
    /// The j-th of correlations, slopes and bends one after the other.
    fn new(correlations: &[f64], j: usize) -> Class {
        let n = correlations.len() / SETS;
        Class { a: correlations[j], slope: correlations[n + j], bend: correlations[2 * n + j] }
    }

    /// w and 1 / w, each with two derivatives.
    fn weights(&self) -> [[f64; SETS]; 2] {
        let of = |a: f64, sign: f64| {
            let (below, above) = (1.0 - a, 1.0 / (1.0 + a));
            let first = -2.0 * sign * above * above;
            let second = -2.0 * sign * first * above;
            [below * above, first * self.slope, first * self.bend + second * self.slope * self.slope]
        };
        [of(self.a, 1.0), of(-self.a, -1.0)]
    }

    /// log(1 - a^2) with two derivatives, and tr(K C' K C') for the correlations C of two neighbours, K = C^-1.
    fn logs(&self) -> [f64; 4] {
        let Class { a, slope, bend } = self;
        let rest = 1.0 / ((1.0 - a) * (1.0 + a));
        let trace = 2.0 * (1.0 + a * a) * (rest * slope).powi(2);
        [-rest.ln(), -2.0 * a * rest * slope, -2.0 * a * rest * bend - trace, trace]
    }
}

/// Rows that wait for their products until there are 64.
struct Buffer {
    piece: Piece,
    c: usize,
    held: usize,
}

impl Buffer {
    fn new(c: usize) -> Buffer {
        Buffer { piece: Piece::new(0, c), c, held: 0 }
    }

    fn push(&mut self, row: &[f64], sums: &mut [f64]) {
        self.piece.columns.iter_mut().zip(row).for_each(|(column, v)| column[self.held] = *v);
        self.held += 1;
        if self.held == ROWS {
            self.flush(sums);
        }
    }

    /// Adds the products, the lower triangle.
    fn flush(&mut self, sums: &mut [f64]) {
        if self.held > 0 {
            self.piece.add_products(self.c, sums);
            self.piece.columns.iter_mut().for_each(|column| column.fill(0.0));
            self.held = 0;
        }
    }
}

impl Strand {
    fn new(c: usize) -> Strand {
        Strand { pieces: vec![], places: vec![], ends: zeros(c * c) }
    }

    fn push(&mut self, row: &[f64], place: usize, held: &mut usize) {
        if *held == self.places.len() {
            reserve(&mut self.pieces, row.len());
            self.pieces.extend((0..row.len()).map(|_| [0.0; ROWS]));
            reserve(&mut self.places, ROWS);
            self.places.extend([0; ROWS]);
        }
        let first = *held / ROWS * row.len();
        self.pieces[first..].iter_mut().zip(row).for_each(|(column, v)| column[*held % ROWS] = *v);
        self.places[*held] = place as u32;
        *held += 1;
    }
}

/// Sums and differences of all neighbours by group.
fn strands(rows: &[f64], c: usize, listed: &ChainRows) -> Vec<Strand> {
    let n_classes = listed.class_groups.len();
    let mut out: Vec<Strand> = (0..listed.n_groups).map(|_| Strand::new(c)).collect();
    let mut held = filled(0, listed.n_groups);
    // the first row of each pair of neighbours
    let mut firsts = reserved(listed.links.len());
    let mut ends: Vec<Buffer> = (0..listed.n_groups).map(|_| Buffer::new(c)).collect();
    let mut row = 0;
    for (&length, &g) in listed.lengths.iter().zip(&listed.groups) {
        for at in [row, row + length - 1] {
            ends[g].push(&rows[at * c..(at + 1) * c], &mut out[g].ends);
        }
        firsts.extend(row..row + length - 1);
        row += length;
    }
    for (strand, end) in out.iter_mut().zip(&mut ends) {
        end.flush(&mut strand.ends);
        let whole = copied(&strand.ends);
        mirrored(&whole, c, &mut strand.ends);
        strand.ends.iter_mut().for_each(|v| *v *= 0.5);
    }
    let by_class = ByLevel::new(&listed.links, n_classes);
    let mut both = [zeros(c), zeros(c)];
    for class in 0..n_classes {
        threads::check();
        let g = listed.class_groups[class];
        let links = by_class.rows(class);
        if links.len() <= c {
            for &link in links {
                halve(&rows[firsts[link as usize] * c..][..2 * c], &mut both);
                for (kind, row) in both.iter().enumerate() {
                    out[g].push(row, kind * n_classes + class, &mut held[g]);
                }
            }
            continue;
        }
        let mut sums = [zeros(c * c), zeros(c * c)];
        let mut buffers = [Buffer::new(c), Buffer::new(c)];
        for &link in links {
            halve(&rows[firsts[link as usize] * c..][..2 * c], &mut both);
            for ((row, buffer), sums) in both.iter().zip(&mut buffers).zip(&mut sums) {
                buffer.push(row, sums);
            }
        }
        for (kind, (buffer, sums)) in buffers.iter_mut().zip(&mut sums).enumerate() {
            buffer.flush(sums);
            let (n_rows, few) = rows_of(sums, c);
            let few = block::transpose(&few, n_rows, c);
            few.chunks_exact(c).for_each(|row| out[g].push(row, kind * n_classes + class, &mut held[g]));
        }
    }
    out
}

/// Half the sum of two rows, one behind the other, and half their difference.
fn halve(rows: &[f64], out: &mut [Vec<f64>; 2]) {
    let (y, z) = rows.split_at(rows.len() / 2);
    for j in 0..y.len() {
        out[0][j] = 0.5 * (y[j] + z[j]);
        out[1][j] = 0.5 * (z[j] - y[j]);
    }
}

/// A symmetric matrix whose lower triangle is known.
fn mirrored(lower: &[f64], c: usize, out: &mut [f64]) {
    for b in 0..c {
        for a in b..c {
            out[b * c + a] = lower[b * c + a];
            out[a * c + b] = lower[b * c + a];
        }
    }
}
