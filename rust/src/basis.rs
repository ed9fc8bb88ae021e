//! Orthonormal bases of column spaces: what makes a fit independent of units and origins.
//!
//! Columns x become q = (x - mean) T with q'Wq/n = I. When the first column is constant the others are centred on it
//! before any product is formed, so that a calendar year loses no digits; a second pass over the rows then repairs
//! what squaring the condition number cost (CholeskyQR2, Yamamoto et al. 2015).
//!
//! Which columns depend on those before them is read off the cross-products where it is plain. Where a pivot may be
//! rounding, the column's residual is formed on the rows and its length compared with what rounding leaves.

use crate::block::{self, MAX_SIZE, with_size};
use crate::bytes::{Reader, Writer};
use crate::memory::{copied, headroom, reserved, zeros};
use crate::rows::{Source, sum_over_rows};
use std::ops::Range;

/// A pivot below this share of the squares that it is the difference of is a close call: sums over 1e7 rows are
/// right to 1e-12 of those.
const CLOSE_SQUARED: f64 = 1e-9;
/// A column depends on those before it if its residual is below this share of the terms that it is the difference of.
/// That has no units and hardly an origin. It is rounding and two digits for what was rounded before it came here.
const ROUNDING: f64 = 256.0 * f64::EPSILON;
/// A column whose residual is below this share of its spread is nearly dependent; R takes such columns for dependent.
const NEARLY: f64 = 1e-7;

/// Share of the terms that a pivot is the difference of, below which sums of provisional columns have lost digits that
/// another pass over the rows can keep.
const LOST_SQUARED: f64 = 1e-4;

/// What sums over all rows say of the columns of a provisional basis.
pub struct ColumnSums<'a> {
    /// Cross-products, p x p, weights included.
    pub gram: &'a [f64],
    /// Squares without weights, p.
    pub plain: &'a [f64],
    /// Root sums of squares of the raw columns, with and without weights.
    pub length: &'a [f64],
    pub plain_length: &'a [f64],
}

/// A provisional basis after all rows were seen.
pub struct Settled {
    /// Orthonormal over all rows.
    pub basis: Basis,
    /// From provisional columns to those of `basis`, p rows, column-major; zero for columns that are zero in every row.
    pub turn: Vec<f64>,
    /// Every provisional column orthogonal to those before it, for another pass; p x p.
    pub next: Vec<f64>,
    /// Whether another pass is wanted: digits are lost, or it cannot be told which columns depend on others.
    pub again: bool,
}

/// A map from raw columns to an orthonormal basis of their span.
#[derive(Debug)]
pub struct Basis {
    /// Raw columns that are kept, in order.
    pub kept: Vec<usize>,
    /// Columns that are combinations of columns before them, in order: left out of `kept`, or in `zero`.
    pub dependent: Vec<usize>,
    /// Columns that are kept and nearly are such combinations, in order.
    pub nearly_dependent: Vec<usize>,
    /// Columns of the basis that are zero in every row, the residuals of dependent ones that stay.
    zero: Vec<usize>,
    /// Subtracted from each kept column (times the first one); all zero without a constant column.
    mean: Vec<f64>,
    /// Upper triangular, n_kept x n_kept, column-major.
    t: Vec<f64>,
}

impl Clone for Basis {
    fn clone(&self) -> Basis {
        Basis {
            kept: self.kept.clone(),
            dependent: self.dependent.clone(),
            nearly_dependent: self.nearly_dependent.clone(),
            zero: self.zero.clone(),
            mean: self.mean.clone(),
            t: copied(&self.t),
        }
    }
}

impl Basis {
    /// Orthonormalises the columns of `source` over all rows, weights included; dependent ones are left out.
    pub fn of(source: &Source, n_cols: usize, weights: Option<&[f64]>, passes: usize) -> Basis {
        Basis::by_passes(source, n_cols, weights, passes).1
    }

    /// The same, behind what the first pass alone makes, if it is another.
    pub fn by_passes(source: &Source, n_cols: usize, weights: Option<&[f64]>, passes: usize) -> (Option<Basis>, Basis) {
        if let (Source::Ones(_), None) = (source, weights) {
            let ones = Basis {
                kept: vec![0],
                dependent: vec![],
                nearly_dependent: vec![],
                zero: vec![],
                mean: vec![0.0],
                t: vec![1.0],
            };
            return (None, ones);
        }
        let mean = centre(source, n_cols, weights);
        let (mut first, mut basis) = (None, Basis { mean, ..Basis::unmapped(n_cols) });
        if n_cols > source.n_rows() {
            basis.leave_out_plainly_dependent(source);
        }
        let (mut sizes, mut good_passes) = (None, 0);
        // Found to be more than rounding once. Nothing is made orthogonal to such a column before it is found so again,
        // from a residual of its residual ("twice is enough", Parlett 1980, section 6-9).
        let mut once: Vec<usize> = vec![];
        // a pass that is not good settles a column, or finds it more than rounding once
        for _ in 0..passes + 3 * n_cols {
            let held: Vec<bool> = basis.kept.iter().map(|k| once.contains(k)).collect();
            let step = Step::of(&basis.gram(source, weights), &held);
            basis.multiply(&step.inverse, source.n_rows());
            let close: Vec<usize> = step.close.iter().map(|&j| basis.kept[j]).collect();
            let is_good = close.is_empty() || {
                let sizes = sizes.get_or_insert_with(|| Sizes::of(source, n_cols, weights));
                basis.decide(source, weights, &step.close, sizes)
            };
            once = close.into_iter().filter(|k| basis.kept.contains(k) && !once.contains(k)).collect();
            good_passes += usize::from(is_good);
            if good_passes == passes {
                break;
            }
            if good_passes == 1 && first.is_none() {
                first = Some(basis.clone());
            }
        }
        (first, basis)
    }

    /// Leaves out columns that depend on those before them, so that no more stay than there are rows: where columns are
    /// many and rows few, products of all columns would take long. Gram and Schmidt's way, twice for each column.
    fn leave_out_plainly_dependent(&mut self, source: &Source) {
        let n = source.n_rows();
        let mut directions: Vec<Vec<f64>> = vec![];
        let mut stays = vec![];
        for (j, &mean) in self.mean.iter().enumerate() {
            if directions.len() == n {
                break;
            }
            let raw: f64 = (0..n).map(|i| source.row(i)[j].powi(2)).sum::<f64>().sqrt();
            let mut x: Vec<f64> = (0..n).map(|i| source.row(i)[j] - mean * source.row(i)[0]).collect();
            for _ in 0..2 {
                for q in &directions {
                    let share: f64 = q.iter().zip(&x).map(|(q, x)| q * x).sum();
                    x.iter_mut().zip(q).for_each(|(x, q)| *x -= share * q);
                }
            }
            let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length > ROUNDING * raw {
                headroom();
                x.iter_mut().for_each(|x| *x /= length);
                directions.push(x);
                stays.push(j);
            }
        }
        self.dependent = (0..self.mean.len()).filter(|j| !stays.contains(j)).collect();
        self.mean = stays.iter().map(|&j| self.mean[j]).collect();
        self.t = block::identity(stays.len());
        self.kept = stays;
    }

    /// The same with every column: a dependent one stays in its place as its residual, which is zero in every row.
    pub fn with_dependent(source: &Source, n_cols: usize, weights: Option<&[f64]>, passes: usize) -> Basis {
        let basis = Basis::of(source, n_cols, weights, passes);
        if basis.dependent.is_empty() {
            return basis;
        }
        let (n, p, d) = (source.n_rows(), basis.len(), basis.dependent.len());
        let mean = centre(source, n_cols, weights);
        let mut out = Basis { dependent: basis.dependent.clone(), mean, ..Basis::unmapped(n_cols) };
        for (b, &j) in basis.kept.iter().enumerate() {
            for (a, &i) in basis.kept.iter().enumerate() {
                out.t[j * n_cols + i] = basis.t[b * p + a];
            }
        }
        let sums = sum_over_rows(n, d * (p + 1), |rows, acc| {
            let mut q = zeros(p);
            for i in rows {
                let raw = source.row(i);
                basis.apply(raw, &mut q);
                let w = weights.map_or(1.0, |w| w[i]);
                for (acc, &j) in acc.chunks_exact_mut(p + 1).zip(&basis.dependent) {
                    let x = raw[j] - out.mean[j] * raw[0];
                    acc.iter_mut().zip(&q).for_each(|(a, q)| *a += w * q * x);
                    acc[p] += w * raw[j] * raw[j];
                }
            }
        });
        for (sums, &j) in sums.chunks_exact(p + 1).zip(&basis.dependent) {
            let scale = if sums[p] > 0.0 { (n as f64 / sums[p]).sqrt() } else { 1.0 };
            out.t[j * n_cols + j] = scale;
            for (b, &k) in basis.kept.iter().enumerate().filter(|(_, k)| **k < j) {
                for &i in basis.kept[..=b].iter() {
                    out.t[j * n_cols + i] -= scale * sums[b] / n as f64 * out.t[k * n_cols + i];
                }
            }
        }
        out.zero = out.dependent.clone();
        out
    }

    /// The basis of some rows for all rows: every column stays, in its place, and none is zero for sure.
    pub fn provisional(source: &Source, n_cols: usize, weights: Option<&[f64]>) -> Basis {
        let mut out = Basis::with_dependent(source, n_cols, weights, 2);
        out.keep_all();
        out
    }

    /// Columns that were found to be zero in every row of some are computed for other rows.
    pub fn keep_all(&mut self) {
        self.zero.clear();
    }

    /// The basis that the cross-products of all `n` rows make of this provisional one.
    ///
    /// A provisional column whose length is that of rounding depends on those before it. Such columns are left out, or
    /// with `keep` stay as their residual. It is the rule of `decide`, with the length of residuals on the rows as sums.
    pub fn settle(&self, sums: &ColumnSums, n: usize, keep: bool) -> Settled {
        let p = self.len();
        let rounding = |j: usize, length: &[f64]| {
            let terms = self.t[j * p..j * p + j + 1].iter().zip(&self.kept);
            ROUNDING * terms.map(|(t, &k)| t.abs() * length[k]).sum::<f64>()
        };
        let is_zero = |j: usize| {
            !(sums.plain[j].sqrt() > rounding(j, sums.plain_length)
                && sums.gram[j * p + j].sqrt() > rounding(j, sums.length))
        };
        let (gone, stays): (Vec<usize>, Vec<usize>) = (0..p).partition(|&j| is_zero(j));
        let m = stays.len();
        let among: Vec<f64> = stays.iter().flat_map(|&b| stays.iter().map(move |&a| sums.gram[b * p + a])).collect();
        let step = Step::of(&among, &vec![false; m]);
        let mut next = block::identity(p);
        for (b, &j) in stays.iter().enumerate() {
            next[j * p + j] = 0.0;
            for (a, &i) in stays.iter().enumerate().take(b + 1) {
                next[j * p + i] = step.inverse[b * m + a] * (n as f64).sqrt();
            }
        }
        let mut t = zeros(p * p);
        block::times(&self.t, &next, p, p, p, &mut t);
        let is_used = |k: &usize| stays.iter().any(|&j| t[j * p + k] != 0.0);
        let again = !step.close.is_empty() || step.least < LOST_SQUARED || (!keep && gone.iter().any(is_used));
        let mut turn = reserved(p * p);
        for j in (0..p).filter(|&j| keep || stays.contains(&j)) {
            turn.extend(next[j * p..(j + 1) * p].iter().map(|v| if gone.contains(&j) { 0.0 } else { *v }));
        }
        let dependent: Vec<usize> = gone.iter().map(|&j| self.kept[j]).collect();
        let mut basis = Basis { dependent, nearly_dependent: vec![], zero: vec![], t, ..self.clone() };
        if keep {
            basis.zero = gone;
        } else {
            basis.t = stays
                .iter()
                .flat_map(|&b| stays.iter().map(move |&a| (a, b)))
                .map(|(a, b)| basis.t[b * p + a])
                .collect();
            basis.mean = stays.iter().map(|&j| self.mean[j]).collect();
            basis.kept = stays.iter().map(|&j| self.kept[j]).collect();
            basis.nearly_dependent = basis.nearly();
        }
        Settled { basis, turn, next, again }
    }

    /// The provisional basis for another pass, by the map that `settle` found.
    pub fn turned(&self, next: &[f64]) -> Basis {
        let p = self.len();
        let mut t = zeros(p * p);
        block::times(&self.t, next, p, p, p, &mut t);
        Basis { t, ..self.clone() }
    }

    /// Columns of an orthonormal basis that nearly are combinations of those before them: whose own part is that small
    /// a share of their spread.
    fn nearly(&self) -> Vec<usize> {
        let p = self.len();
        let rows = block::transpose(&self.t, p, p);
        let inverse = block::transpose(&block::inverse_lower(&rows, p), p, p);
        let spread = |j: usize| inverse[j * p + 1..j * p + j + 1].iter().map(|v| v * v).sum::<f64>().sqrt();
        (1..p).filter(|&j| inverse[j * p + j].abs() <= NEARLY * spread(j)).map(|j| self.kept[j]).collect()
    }

    pub fn write(&self, out: &mut Writer) {
        [&self.kept, &self.dependent].into_iter().for_each(|v| out.sizes(v));
        [&self.mean, &self.t].into_iter().for_each(|v| out.numbers(v));
    }

    /// A provisional basis.
    pub fn read(from: &mut Reader) -> Option<Basis> {
        let (kept, dependent, mean, t) = (from.sizes()?, from.sizes()?, from.numbers()?, from.numbers()?);
        Some(Basis { kept, dependent, nearly_dependent: vec![], zero: vec![], mean, t })
    }

    /// The columns as they are.
    pub fn unmapped(n_cols: usize) -> Basis {
        Basis {
            kept: (0..n_cols).collect(),
            dependent: vec![],
            nearly_dependent: vec![],
            zero: vec![],
            mean: zeros(n_cols),
            t: block::identity(n_cols),
        }
    }

    /// Which of `n_cols` columns depend on those before them, given the cross-products of a basis of each block.
    pub fn dependent_across(gram: &[f64], source: &Source, n_cols: usize, weights: Option<&[f64]>) -> Vec<usize> {
        if Step::of(gram, &vec![false; n_cols]).close.is_empty() {
            return vec![];
        }
        Basis::of(source, n_cols, weights, 1).dependent
    }

    /// Divides some columns by their common root mean square; nothing is centred or rotated.
    pub fn scaling(source: &Source, columns: Range<usize>, weights: Option<&[f64]>) -> Basis {
        let size = columns.len();
        let squares = sum_over_rows(source.n_rows(), 1, |rows, acc| {
            for i in rows {
                let w = weights.map_or(1.0, |w| w[i]);
                acc[0] += w * source.row(i)[columns.clone()].iter().map(|z| z * z).sum::<f64>();
            }
        });
        let scale = (squares[0] / (source.n_rows() * size) as f64).sqrt();
        let t = block::identity(size).into_iter().map(|v| if scale > 0.0 { v / scale } else { v }).collect();
        Basis {
            kept: (0..size).collect(),
            dependent: vec![],
            nearly_dependent: vec![],
            zero: vec![],
            mean: zeros(size),
            t,
        }
    }

    /// The same map for rows that hold the kept columns only.
    pub fn on_kept(&self) -> Basis {
        Basis { kept: (0..self.kept.len()).collect(), ..self.clone() }
    }

    /// Cross-products of the columns as they are mapped now, lower triangle.
    fn gram(&self, source: &Source, weights: Option<&[f64]>) -> Vec<f64> {
        let p = self.len();
        sum_over_rows(source.n_rows(), p * p, |rows, acc| {
            with_size!(p, self.add_products(source, weights, rows, p, acc));
        })
    }

    /// Adds the cross-products of some rows.
    #[inline(always)]
    fn add_products(&self, source: &Source, weights: Option<&[f64]>, rows: Range<usize>, p: usize, acc: &mut [f64]) {
        let (mut small, mut large) = ([0.0; MAX_SIZE], if p > MAX_SIZE { zeros(p) } else { vec![] });
        let q = if p > MAX_SIZE { &mut large[..] } else { &mut small[..p] };
        // sums of few columns stay in registers
        let (mut few, many) = ([0.0; MAX_SIZE * MAX_SIZE], p > MAX_SIZE);
        for i in rows {
            for b in (0..p).rev() {
                q[b] = self.element(source.row(i), p, b);
            }
            self.zero.iter().for_each(|&j| q[j] = 0.0);
            let w = weights.map_or(1.0, |w| w[i]);
            for b in 0..p {
                let wq = w * q[b];
                for a in b..p {
                    let sum = if many { &mut acc[b * p + a] } else { &mut few[b * p + a] };
                    *sum += wq * q[a];
                }
            }
        }
        if !many {
            acc.copy_from_slice(&few[..p * p]);
        }
    }

    /// T <- T `by` sqrt(n) for an upper triangular `by`.
    fn multiply(&mut self, by: &[f64], n: usize) {
        let p = self.len();
        let mut t = zeros(p * p);
        block::times(&self.t, by, p, p, p, &mut t);
        t.iter_mut().for_each(|v| *v *= (n as f64).sqrt());
        self.t = t;
    }

    /// Takes the dependent ones out of the columns `close`, whose residuals they are, and scales the others.
    ///
    /// Returns whether none of them stays and no other column was made orthogonal to one that does not.
    fn decide(&mut self, source: &Source, weights: Option<&[f64]>, close: &[usize], sizes: &Sizes) -> bool {
        let p = self.len();
        let plain = self.squares(source, None, close);
        let weighted = weights.map(|_| self.squares(source, weights, close));
        let n = source.n_rows() as f64;
        let mut dependent = vec![false; p];
        self.nearly_dependent.retain(|k| !close.iter().any(|&j| self.kept[j] == *k));
        for (c, &j) in close.iter().enumerate() {
            let column = &self.t[j * p..(j + 1) * p];
            let rounding = |length: &[f64]| {
                ROUNDING * column.iter().zip(&self.kept).map(|(t, &k)| t.abs() * length[k]).sum::<f64>()
            };
            let square = weighted.as_ref().map_or(plain[c], |w| w[c]);
            // weights do not decide, unless they leave nothing of the column but rounding
            dependent[j] =
                !(plain[c].sqrt() > rounding(&sizes.length) && square.sqrt() > rounding(&sizes.weighted_length));
            if dependent[j] {
                continue;
            }
            if plain[c].sqrt() <= NEARLY * column[j].abs() * sizes.spread[self.kept[j]] {
                self.nearly_dependent.push(self.kept[j]);
            }
            self.t[j * p..(j + 1) * p].iter_mut().for_each(|v| *v *= (n / square).sqrt());
        }
        self.nearly_dependent.sort_unstable();
        let stays: Vec<usize> = (0..p).filter(|&j| !dependent[j]).collect();
        let gone: Vec<usize> = (0..p).filter(|&j| dependent[j]).collect();
        let unused = gone.iter().all(|&k| stays.iter().all(|&j| self.t[j * p + k] == 0.0));
        self.dependent.extend(gone.iter().map(|&j| self.kept[j]));
        self.dependent.sort_unstable();
        let mut t = reserved(stays.len() * stays.len());
        stays.iter().for_each(|&b| t.extend(stays.iter().map(|&a| self.t[b * p + a])));
        self.t = t;
        self.mean = stays.iter().map(|&j| self.mean[j]).collect();
        self.kept = stays.iter().map(|&j| self.kept[j]).collect();
        unused && gone.len() == close.len()
    }

    /// Sums of squares over the rows of some of the columns as they are mapped now.
    fn squares(&self, source: &Source, weights: Option<&[f64]>, columns: &[usize]) -> Vec<f64> {
        let p = self.len();
        sum_over_rows(source.n_rows(), columns.len(), |rows, acc| {
            for i in rows {
                let w = weights.map_or(1.0, |w| w[i]);
                for (sum, &b) in acc.iter_mut().zip(columns) {
                    let q = self.element(source.row(i), p, b);
                    *sum += w * q * q;
                }
            }
        })
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// One row of raw columns in the basis.
    #[inline]
    pub fn apply(&self, raw: &[f64], out: &mut [f64]) {
        let p = self.kept.len();
        with_size!(p, {
            for b in (0..p).rev() {
                out[b] = self.element(raw, p, b);
            }
        });
        self.zero.iter().for_each(|&j| out[j] = 0.0);
    }

    #[inline(always)]
    fn element(&self, raw: &[f64], p: usize, b: usize) -> f64 {
        let first = raw[self.kept[0]];
        let (kept, mean, column) = (&self.kept[..b + 1], &self.mean[..b + 1], &self.t[b * p..b * p + b + 1]);
        let mut s = column[0] * (first - mean[0] * first);
        for a in 1..=b {
            s += column[a] * (raw[kept[a]] - mean[a] * first);
        }
        s
    }

    /// The whole map as a matrix on the kept raw columns: basis = raw * map, p x p column-major.
    pub fn matrix(&self) -> Vec<f64> {
        let p = self.kept.len();
        let mut out = copied(&self.t);
        for b in 0..p {
            let shift: f64 = (1..p).map(|a| self.mean[a] * self.t[b * p + a]).sum();
            out[b * p] -= shift;
        }
        out
    }

    /// What is subtracted from each kept column (times the first one), and the map behind it, column-major.
    pub fn centred(&self) -> (&[f64], &[f64]) {
        (&self.mean, &self.t)
    }

    /// log |det| of the map.
    pub fn log_det(&self) -> f64 {
        let p = self.kept.len();
        (0..p).map(|j| self.t[j * p + j].abs().ln()).sum()
    }
}

/// One Cholesky factorisation of cross-products, left to right.
struct Step {
    /// Upper triangular, column-major: what makes each column orthogonal to those before it that are no close calls.
    inverse: Vec<f64>,
    /// Columns whose pivot may be rounding, and those held.
    close: Vec<usize>,
    /// Least share of a pivot, of the others, in what it is the difference of.
    least: f64,
}

impl Step {
    /// Factors a p x p `gram` (lower triangle); columns `held` are close calls whatever their pivot.
    fn of(gram: &[f64], held: &[bool]) -> Step {
        let p = held.len();
        let mut r = zeros(p * p); // r[k * p + j]: share of column j in direction k
        let mut inverse = block::identity(p);
        let (mut sure, mut close, mut least) = (Vec::<usize>::with_capacity(p), vec![], 1.0_f64);
        for j in 0..p {
            let mut pivot = gram[j * p + j];
            let (before, column) = inverse.split_at_mut(j * p);
            for (at, &k) in sure.iter().enumerate() {
                let s: f64 = sure[..at].iter().map(|&m| r[m * p + j] * r[m * p + k]).sum();
                let share = (gram[k * p + j] - s) / r[k * p + k];
                r[k * p + j] = share;
                pivot -= share * share;
                (0..=k).for_each(|a| column[a] -= share * before[k * p + a]);
            }
            let size: f64 = (0..=j).map(|a| column[a].abs() * gram[a * p + a].sqrt()).sum();
            let is_plain = pivot > CLOSE_SQUARED * size * size;
            let length = if is_plain { pivot } else { gram[j * p + j] }.sqrt();
            if is_plain && !held[j] {
                r[j * p + j] = length;
                least = least.min(pivot / (size * size));
                sure.push(j);
            } else {
                close.push(j);
            }
            if length > 0.0 {
                (0..=j).for_each(|a| column[a] /= length);
            }
        }
        Step { inverse, close, least }
    }
}

/// Root sums of squares of raw columns.
struct Sizes {
    length: Vec<f64>,
    weighted_length: Vec<f64>,
    /// About the mean.
    spread: Vec<f64>,
}

impl Sizes {
    fn of(source: &Source, n_cols: usize, weights: Option<&[f64]>) -> Sizes {
        let n = source.n_rows();
        let origin = if n > 0 { source.row(0) } else { &[] };
        let sums = sum_over_rows(n, n_cols, |rows, acc| {
            for i in rows {
                acc.iter_mut().zip(source.row(i)).zip(origin).for_each(|((a, x), o)| *a += x - o);
            }
        });
        let mean: Vec<f64> = sums.iter().zip(origin).map(|(s, o)| o + s / n as f64).collect();
        let squares = sum_over_rows(n, 3 * n_cols, |rows, acc| {
            for i in rows {
                let w = weights.map_or(1.0, |w| w[i]);
                for (j, x) in source.row(i)[..n_cols].iter().enumerate() {
                    acc[3 * j] += x * x;
                    acc[3 * j + 1] += w * x * x;
                    acc[3 * j + 2] += (x - mean[j]) * (x - mean[j]);
                }
            }
        });
        let every = |k: usize| squares.iter().skip(k).step_by(3).map(|s| s.sqrt()).collect();
        Sizes { length: every(0), weighted_length: every(1), spread: every(2) }
    }
}

/// Weighted means of the columns in units of the first one, if that is a nonzero constant; otherwise zeros.
fn centre(source: &Source, n_cols: usize, weights: Option<&[f64]>) -> Vec<f64> {
    let n = source.n_rows();
    let mut mean = zeros(n_cols);
    if n == 0 || n_cols < 2 {
        return mean;
    }
    let constant = source.row(0)[0];
    if constant == 0.0 || (0..n).any(|i| source.row(i)[0] != constant) {
        return mean;
    }
    let sums = sum_over_rows(n, n_cols, |rows, acc| {
        for i in rows {
            let w = weights.map_or(1.0, |w| w[i]);
            acc[0] += w;
            for (a, x) in acc.iter_mut().zip(source.row(i)).skip(1) {
                *a += w * x;
            }
        }
    });
    for j in 1..n_cols {
        mean[j] = sums[j] / sums[0] / constant;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(source: &Source, basis: &Basis) -> Vec<f64> {
        let (n, p) = (source.n_rows(), basis.len());
        let (mut out, mut q) = (vec![0.0; p * p], vec![0.0; p]);
        for i in 0..n {
            basis.apply(source.row(i), &mut q);
            for b in 0..p {
                (0..p).for_each(|a| out[b * p + a] += q[a] * q[b] / n as f64);
            }
        }
        out
    }

    #[test]
    fn a_calendar_year_is_orthonormalised_and_an_alias_dropped() {
        let n = 40;
        let values: Vec<f64> = (0..n)
            .flat_map(|i| {
                let year = 1990.0 + i as f64;
                [1.0, year, 2.0 * year + 5.0, (i * i % 7) as f64 * 1e6]
            })
            .collect();
        let source = Source::Columns { values: &values, n_rows: n, n_cols: 4 };
        let basis = Basis::of(&source, 4, None, 2);
        assert_eq!(basis.kept, [0, 1, 3]);
        for (k, g) in gram(&source, &basis).iter().enumerate() {
            assert!((g - f64::from(k % 4 == 0)).abs() < 1e-12);
        }
    }

    /// A 3 x 5 design with an empty cell, three rows a cell, in Helmert's coding: 1, A, B, A:B.
    fn helmert_with_an_empty_cell() -> Vec<f64> {
        let coded = |level: usize, n_levels: usize| -> Vec<f64> {
            (1..n_levels).map(|j| if level < j { -1.0 } else { [0.0, j as f64][usize::from(level == j)] }).collect()
        };
        let mut values = vec![];
        for (i, j) in (0..3).flat_map(|i| (0..5).map(move |j| (i, j))).filter(|&cell| cell != (0, 1)) {
            let (a, b) = (coded(i, 3), coded(j, 5));
            let both: Vec<f64> = b.iter().flat_map(|b| a.iter().map(move |a| a * b)).collect();
            (0..3).for_each(|_| values.extend([&[1.0], &a[..], &b[..], &both[..]].concat()));
        }
        values
    }

    #[test]
    fn an_empty_cell_leaves_one_column_dependent() {
        let values = helmert_with_an_empty_cell();
        let source = Source::Columns { values: &values, n_rows: 42, n_cols: 15 };
        let weights: Vec<f64> = (0..42).map(|i| 10f64.powi(i % 9 - 4)).collect();
        for weights in [None, Some(&weights[..])] {
            let basis = Basis::of(&source, 15, weights, 2);
            assert_eq!((basis.dependent, basis.nearly_dependent), (vec![14], vec![]));
        }
    }

    /// x from 0 to 59 in an order without structure, and a column in -4..=4.
    fn covariates() -> Vec<(f64, f64)> {
        (0..60).map(|i| ((7 * i % 60) as f64, (i * i % 9) as f64 - 4.0)).collect()
    }

    #[test]
    fn a_column_of_its_own_stays_however_small_its_own_part() {
        for (origin, share) in [(0.0, 1e-6), (0.0, 1e-9), (2000.0, 1e-6), (1e6, 1e-5)] {
            let row = |(x, w): (f64, f64)| [1.0, origin + x, origin + x + share * w, w, 0.3 * x - w];
            let values: Vec<f64> = covariates().into_iter().flat_map(row).collect();
            let source = Source::Columns { values: &values, n_rows: 60, n_cols: 5 };
            let basis = Basis::of(&source, 5, None, 2);
            assert_eq!((&basis.kept[..], &basis.dependent[..]), (&[0, 1, 2][..], &[3, 4][..]), "{origin} {share}");
            assert_eq!(basis.nearly_dependent, if share < 1e-8 { vec![2] } else { vec![] });
            // rows of the mapped column have lost the digits that the raw ones share
            let lost = 1e-15 * (origin + 60.0) / share;
            for (k, g) in gram(&source, &basis).iter().enumerate() {
                assert!((g - f64::from(k % 4 == 0)).abs() < 10.0 * lost, "{origin} {share}: {g}");
            }
        }
    }

    #[test]
    fn powers_and_products_far_from_zero_stay() {
        for (origin, unit) in [(2000.0, 1.0), (1e6, 1.0), (1.6e9, 3600.0), (0.0, 1e-6), (0.0, 1e6)] {
            let row = |(x, w): (f64, f64)| {
                let (x, arm) = (origin + unit * x, f64::from(w > 0.0));
                [1.0, arm, x, arm * x, x * x, arm * x * x, 2.0 * x, 1.0 - arm]
            };
            let values: Vec<f64> = covariates().into_iter().flat_map(row).collect();
            let source = Source::Columns { values: &values, n_rows: 60, n_cols: 8 };
            assert_eq!(Basis::of(&source, 8, None, 2).dependent, [6, 7], "{origin} {unit}");
        }
    }

    #[test]
    fn a_dependent_column_that_must_stay_is_its_residual() {
        let row = |(x, w): (f64, f64)| [1.0, 0.1, x, 2.0 * x - 3.0, 0.0, w];
        let values: Vec<f64> = covariates().into_iter().flat_map(row).collect();
        let source = Source::Columns { values: &values, n_rows: 60, n_cols: 6 };
        let basis = Basis::with_dependent(&source, 6, None, 1);
        assert_eq!((&basis.kept[..], &basis.dependent[..]), (&[0, 1, 2, 3, 4, 5][..], &[1, 3, 4][..]));
        for (k, g) in gram(&source, &basis).iter().enumerate() {
            let expected = f64::from(k % 7 == 0 && !basis.dependent.contains(&(k / 7)));
            assert!((g - expected).abs() < 1e-12, "{k}: {g}");
        }
        // the map itself: 0.1 is a tenth of 1, and 2 x - 3 is made of x and 1
        let map = basis.matrix();
        let column = |j: usize| map[j * 6..(j + 1) * 6].iter().map(|v| v / map[j * 7]).collect::<Vec<_>>();
        let expected = [(1, [-0.1, 1.0, 0.0, 0.0, 0.0, 0.0]), (3, [3.0, 0.0, -2.0, 1.0, 0.0, 0.0])];
        for (j, expected) in expected {
            column(j).iter().zip(expected).for_each(|(m, e)| assert!((m - e).abs() < 1e-11, "{:?}", column(j)));
        }
        assert_eq!(column(4), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn scaling_keeps_columns_apart() {
        let values = [3.0, 4.0, 0.0, 5.0];
        let source = Source::Columns { values: &values, n_rows: 2, n_cols: 2 };
        let basis = Basis::scaling(&source, 0..2, None);
        let scale = (50.0_f64 / 4.0).sqrt();
        let mut out = [0.0; 2];
        basis.apply(source.row(0), &mut out);
        assert!((out[0] - 3.0 / scale).abs() < 1e-15 && (out[1] - 4.0 / scale).abs() < 1e-15);
    }
}
