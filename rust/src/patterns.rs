//! Residuals that are correlated within subjects and have no random effects beside them: subjects with the same visits
//! and the same covariance are one pattern.
//!
//! A pattern is kept as a matrix M with one row a subject and m (p + 1) columns, those of [q r] at each of its m visits, or
//! as fewer rows with the same M'M, which is all that the likelihood needs of it: a million subjects with six visits are
//! as quick as a hundred. The kernel gets Sigma of each group of subjects, (V, V), and nothing of its structure; it returns
//! the criterion and what its derivatives in Sigma need.
//!
//! Rows of equal design and weight (`cells.rs`) have their q once, and subjects of the same cells at all visits are summed
//! before anything is multiplied: M'M is made of the residuals' sums and products, and of a few rows of X.
//!
//! Columns `q` of X are in the basis of `basis.rs`, r is the least-squares residual over its root mean square, and
//! both are times the roots of the weights: Var(r) = Sigma. Values of matrices that are not symmetric are column-major.

use crate::basis::Basis;
use crate::block;
use crate::cells::Cells;
use crate::memory::{before_products, filled_for_visits, reserve, reserved, zeros};
use crate::products::{ModelRows, Products, ProductsError, Residual};
use crate::rows::Source;
use crate::threads;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use std::collections::HashMap;
use std::f64::consts::PI;

/// Pivot of M'M, as a share of its largest, below which what is left of M is rounding.
const ROUNDING: f64 = 1e-15;
/// Rows whose products are formed at once.
const ROWS_AT_ONCE: usize = 4096;

/// Subjects that share their visits, as the caller lists them.
pub struct PatternRows {
    pub group: usize,
    /// Visits, ascending.
    pub visits: Vec<usize>,
    pub n_subjects: usize,
}

/// The rows of one pattern.
pub(crate) struct Pattern {
    group: usize,
    pub visits: Vec<usize>,
    pub n_subjects: usize,
    /// Rows of M.
    pub n_rows: usize,
    /// M, n_rows x m (p + 1).
    rows: Vec<f64>,
}

/// All that the likelihood needs of the rows.
pub struct Patterns {
    pub n: usize,
    /// Columns of X kept.
    pub p: usize,
    pub n_visits: usize,
    pub n_groups: usize,
    pub x_basis: Basis,
    /// Least-squares coefficients in the basis of X.
    pub beta0: Vec<f64>,
    /// Root mean square of the least-squares residual.
    pub scale: f64,
    log_weights: f64,
    pub(crate) patterns: Vec<Pattern>,
}

/// The criterion and its derivatives in the Sigma of each group; p + 1 columns are those of q U^-T, Phi = U^-T U^-1, and
/// the residual of the estimate behind them.
pub struct Derivatives {
    pub value: f64,
    /// (G, V, V).
    pub gradient: Vec<f64>,
    /// Coefficients of dSigma[a, b] dSigma[c, d], (G, V, V, V, V) each: of the determinant, of the residual and of X.
    pub curvature: [Vec<f64>; 3],
    /// Sum over the subjects of [q r]'K at one visit and K [q r] at another, (G, V (p + 1), V (p + 1)).
    pub outer: Vec<f64>,
}

/// The fit at one Sigma.
pub(crate) struct Solved {
    pub value: f64,
    pub beta: Vec<f64>,
    /// U^-T, upper triangular.
    pub root: Vec<f64>,
}

/// One pattern at one Sigma.
pub(crate) struct Whitened {
    /// L^-1, m x m, of Sigma = L L'.
    pub inverse: Vec<f64>,
    /// Logs of the diagonal of L.
    pub log_diagonal: f64,
    /// L^-1 applied to the visits of each subject.
    pub rows: Vec<f64>,
}

impl Patterns {
    /// Forms the patterns; `order` are the rows of the data by pattern, subject and visit.
    pub fn new(
        rows: &ModelRows,
        order: &[i64],
        patterns: Vec<PatternRows>,
        n_visits: usize,
        n_groups: usize,
    ) -> Result<Patterns, ProductsError> {
        let whole = match Cells::of(&rows.x, rows.weights) {
            Some(cells) => Whole::by_cells(rows, cells)?,
            None => Whole::by_rows(rows)?,
        };
        let mut first = 0;
        let one = |pattern: PatternRows| {
            threads::check();
            let size = pattern.n_subjects * pattern.visits.len();
            let rows = &order[first..first + size];
            first += size;
            Pattern::new(pattern, rows, &whole)
        };
        let patterns = patterns.into_iter().map(one).collect();
        Ok(Patterns {
            n: rows.y.len(),
            p: whole.basis.len(),
            n_visits,
            n_groups,
            beta0: whole.beta0,
            scale: whole.scale,
            log_weights: rows.weights.map_or(0.0, |w| w.iter().map(|w| w.ln()).sum()),
            patterns,
            x_basis: whole.basis,
        })
    }

    /// Sums of products of least-squares residuals by pairs of visits, and how many there are, (G, V, V) each.
    pub fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let (v, c) = (self.n_visits, self.p + 1);
        let (mut sums, mut counts) = (zeros(self.n_groups * v * v), zeros(self.n_groups * v * v));
        for pattern in &self.patterns {
            let k = pattern.n_rows;
            let column = |a: usize| &pattern.rows[(a * c + c - 1) * k..(a + 1) * c * k];
            for (a, &va) in pattern.visits.iter().enumerate() {
                for (b, &vb) in pattern.visits.iter().enumerate() {
                    let at = (pattern.group * v + va) * v + vb;
                    sums[at] += dot(column(a), column(b));
                    counts[at] += pattern.n_subjects as f64;
                }
            }
        }
        (sums, counts)
    }

    /// Multiplications of one evaluation with derivatives.
    pub fn flops(&self) -> f64 {
        let one = |p: &Pattern| p.n_rows as f64 * ((self.p + 1 + p.visits.len()) * p.visits.len()) as f64;
        self.patterns.iter().map(|p| one(p) * (self.p + 1) as f64 * p.visits.len() as f64).sum()
    }

    /// What the criterion of the scaled problem lacks.
    pub fn constant(&self, reml: bool) -> f64 {
        let dof = self.dof(reml);
        dof * (2.0 * self.scale.ln() + (2.0 * PI).ln())
            - self.log_weights
            - if reml { 2.0 * self.x_basis.log_det() } else { 0.0 }
    }

    fn dof(&self, reml: bool) -> f64 {
        (self.n - if reml { self.p } else { 0 }) as f64
    }

    /// The criterion without its constant at Sigma (G, V, V); None where a Sigma is not positive definite.
    pub fn value(&self, sigma: &[f64], reml: bool) -> Option<f64> {
        let mut sums = zeros((self.p + 1) * (self.p + 1));
        let mut log_det = 0.0;
        for pattern in &self.patterns {
            let white = pattern.whiten(sigma, self.n_visits, self.p + 1)?;
            log_det += 2.0 * pattern.n_subjects as f64 * white.log_diagonal;
            pattern.add_products(&white.rows, self.p + 1, &mut sums);
        }
        Some(self.solve(&sums, log_det, reml)?.value)
    }

    pub(crate) fn solve(&self, sums: &[f64], log_det: f64, reml: bool) -> Option<Solved> {
        solve(self.p, sums, log_det, reml)
    }

    /// Coefficients of the fixed effects less beta0, over scale, and U^-T, p x p; None where a Sigma is not positive
    /// definite.
    pub fn fixed_root(&self, sigma: &[f64], reml: bool) -> Option<(Vec<f64>, Vec<f64>)> {
        let (_, at) = self.whiten(sigma, reml)?;
        Some((at.beta, at.root))
    }

    /// The criterion without its constant, with its derivatives; None where a Sigma is not positive definite.
    pub fn derivatives(&self, sigma: &[f64], reml: bool) -> Option<Derivatives> {
        let (p, c, v) = (self.p, self.p + 1, self.n_visits);
        let (white, at) = self.whiten(sigma, reml)?;
        let (pairs, size) = (v * v, v * c);
        let mut out = Derivatives {
            value: at.value,
            gradient: zeros(self.n_groups * pairs),
            curvature: [0; 3].map(|_| zeros(self.n_groups * pairs * pairs)),
            outer: zeros(self.n_groups * size * size),
        };
        for (pattern, white) in self.patterns.iter().zip(&white) {
            threads::check();
            let m = pattern.visits.len();
            let inverse = precision(&white.inverse, m);
            let rows = pattern.turned(white, p, &at.beta, &at.root);
            let gram = pattern.gram(&rows, m * c);
            let sums = |columns: std::ops::Range<usize>| {
                let mut sums = zeros(m * m);
                for b in 0..m {
                    for a in 0..m {
                        sums[b * m + a] = columns.clone().map(|j| lower(&gram, m * c, a * c + j, b * c + j)).sum();
                    }
                }
                sums
            };
            let (of_rest, of_fixed) = (sums(p..c), sums(0..p));
            let count = pattern.n_subjects as f64;
            let g = pattern.group;
            for b in 0..m {
                for a in 0..m {
                    let at = (g * v + pattern.visits[a]) * v + pattern.visits[b];
                    let explained = of_rest[b * m + a] + if reml { of_fixed[b * m + a] } else { 0.0 };
                    out.gradient[at] += count * inverse[b * m + a] - explained;
                }
            }
            let half: Vec<f64> = inverse.iter().map(|k| 0.5 * count * k).collect();
            for (target, by) in out.curvature.iter_mut().zip([&half, &of_rest, &of_fixed]) {
                add_curvature(&mut target[g * pairs * pairs..], v, &pattern.visits, &inverse, by);
            }
            let outer = &mut out.outer[g * size * size..(g + 1) * size * size];
            for (b, &vb) in pattern.visits.iter().enumerate() {
                for (a, &va) in pattern.visits.iter().enumerate() {
                    for j in 0..c {
                        for i in 0..c {
                            outer[(va * c + i) * size + vb * c + j] += lower(&gram, m * c, a * c + i, b * c + j);
                        }
                    }
                }
            }
        }
        Some(out)
    }

    /// What Kenward and Roger's covariance needs beside the derivatives, at Sigma, for B[a, b, c, d], the sum over i and j
    /// of W_ij dSigma_i[a, b] dSigma_j[c, d], (G, V, V, V, V), and D = sum W_ij d2Sigma_ij, (G, V, V):
    /// sum W_ij Q_ij and q'K D K q, p x p each, in the columns q U^-T, and the coefficients (G, V, V) of dSigma_j in tr(K dSigma_j K D) less
    /// twice tr(C K dSigma_j K D K) with C = q Phi q'.
    pub fn kenward_roger(&self, sigma: &[f64], b: &[f64], d: &[f64]) -> Option<[Vec<f64>; 3]> {
        let (p, c, v) = (self.p, self.p + 1, self.n_visits);
        let (white, at) = self.whiten(sigma, true)?;
        let (mut q, mut r, mut t) = (zeros(p * p), zeros(p * p), zeros(self.n_groups * v * v));
        for (pattern, white) in self.patterns.iter().zip(&white) {
            threads::check();
            let (m, g) = (pattern.visits.len(), pattern.group);
            let inverse = precision(&white.inverse, m);
            let gram = pattern.gram(&pattern.turned(white, p, &at.beta, &at.root), m * c);
            let visit = |a: usize| pattern.visits[a];
            let (mut own, mut fixed) = (zeros(m * m), zeros(m * m));
            for e in 0..m {
                for a in 0..m {
                    own[e * m + a] = d[(g * v + visit(a)) * v + visit(e)];
                    fixed[e * m + a] = (0..p).map(|j| lower(&gram, m * c, a * c + j, e * c + j)).sum();
                    let at = |x: usize, y: usize| (((g * v + visit(a)) * v + visit(x)) * v + visit(y)) * v + visit(e);
                    let weight: f64 =
                        (0..m).map(|y| (0..m).map(|x| b[at(x, y)] * inverse[y * m + x]).sum::<f64>()).sum();
                    for j in 0..p {
                        for i in 0..p {
                            let product = lower(&gram, m * c, a * c + i, e * c + j);
                            q[j * p + i] += weight * product;
                            r[j * p + i] += own[e * m + a] * product;
                        }
                    }
                }
            }
            let product = |x: &[f64], y: &[f64]| {
                let mut out = zeros(m * m);
                block::times(x, y, m, m, m, &mut out);
                out
            };
            let half = product(&inverse, &own);
            let (whole, crossed) = (product(&half, &inverse), product(&half, &fixed));
            for e in 0..m {
                for a in 0..m {
                    t[(g * v + visit(a)) * v + visit(e)] +=
                        pattern.n_subjects as f64 * whole[e * m + a] - crossed[e * m + a] - crossed[a * m + e];
                }
            }
        }
        Some([q, r, t])
    }

    fn whiten(&self, sigma: &[f64], reml: bool) -> Option<(Vec<Whitened>, Solved)> {
        let c = self.p + 1;
        let mut sums = zeros(c * c);
        let mut log_det = 0.0;
        let mut all = reserved(self.patterns.len());
        for pattern in &self.patterns {
            let white = pattern.whiten(sigma, self.n_visits, c)?;
            log_det += 2.0 * pattern.n_subjects as f64 * white.log_diagonal;
            pattern.add_products(&white.rows, c, &mut sums);
            all.push(white);
        }
        let at = self.solve(&sums, log_det, reml)?;
        Some((all, at))
    }
}

impl Pattern {
    /// Gathers the rows of the pattern and replaces them by fewer where that is possible.
    fn new(listed: PatternRows, order: &[i64], whole: &Whole) -> Pattern {
        let PatternRows { group, visits, n_subjects } = listed;
        let (m, c) = (visits.len(), whole.basis.len() + 1);
        let columns = m * c;
        if n_subjects <= columns {
            let rows = whole.gathered(order.chunks_exact(m));
            return Pattern { group, visits, n_subjects, n_rows: n_subjects, rows };
        }
        let mut sums = zeros(columns * columns);
        match &whole.cells {
            Some(cells) => add_classes(whole, cells, order, m, &mut sums),
            None => {
                for some in order.chunks(ROWS_AT_ONCE * m) {
                    threads::check();
                    add_gram(&whole.gathered(some.chunks_exact(m)), some.len() / m, columns, &mut sums);
                }
            }
        }
        let (n_rows, rows) = rows_of(&sums, columns);
        Pattern { group, visits, n_subjects, n_rows, rows }
    }

    /// L^-1 of the pattern's Sigma, and its rows times that; None where Sigma is not positive definite.
    fn whiten(&self, sigma: &[f64], v: usize, c: usize) -> Option<Whitened> {
        let m = self.visits.len();
        let mut l = zeros(m * m);
        for (b, &vb) in self.visits.iter().enumerate() {
            for (a, &va) in self.visits.iter().enumerate().skip(b) {
                l[b * m + a] = sigma[(self.group * v + va) * v + vb];
            }
        }
        self.whiten_by(l, c)
    }

    /// The same for a matrix whose lower triangle is given.
    pub(crate) fn whiten_by(&self, mut l: Vec<f64>, c: usize) -> Option<Whitened> {
        let m = self.visits.len();
        let log_diagonal = block::cholesky(&mut l, m)?;
        let inverse = block::inverse_lower(&l, m);
        let rows = self.mixed(&self.rows, c, |a, b| if b <= a { inverse[b * m + a] } else { 0.0 });
        Some(Whitened { inverse, log_diagonal, rows })
    }

    /// The values at visit a as sum_b of weight(a, b) times those at visit b.
    fn mixed(&self, rows: &[f64], c: usize, weight: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let (m, size) = (self.visits.len(), self.n_rows * c);
        let mut out = zeros(m * size);
        for (a, target) in out.chunks_exact_mut(size.max(1)).enumerate() {
            for b in 0..m {
                let w = weight(a, b);
                if w != 0.0 {
                    target.iter_mut().zip(&rows[b * size..(b + 1) * size]).for_each(|(t, r)| *t += w * r);
                }
            }
        }
        out
    }

    /// Adds sum_v W_v'W_v, c x c, of whitened rows.
    pub(crate) fn add_products(&self, rows: &[f64], c: usize, sums: &mut [f64]) {
        for at_visit in rows.chunks_exact((self.n_rows * c).max(1)) {
            add_gram(at_visit, self.n_rows, c, sums);
        }
    }

    /// K [q U^-T, r] by visits, r the residual of the estimate.
    pub(crate) fn turned(&self, white: &Whitened, p: usize, beta: &[f64], root: &[f64]) -> Vec<f64> {
        let (m, c, k) = (self.visits.len(), p + 1, self.n_rows);
        let mut rows = self.mixed(&white.rows, c, |a, b| if b >= a { white.inverse[a * m + b] } else { 0.0 });
        let mut turned = zeros(k * p);
        for at_visit in rows.chunks_exact_mut((k * c).max(1)) {
            let (q, rest) = at_visit.split_at_mut(k * p);
            for (j, b) in beta.iter().enumerate() {
                rest.iter_mut().zip(&q[j * k..(j + 1) * k]).for_each(|(r, q)| *r -= b * q);
            }
            if p > 0 {
                before_products(Par::Seq);
                triangular::matmul(
                    MatMut::from_column_major_slice_mut(&mut turned, k, p),
                    BlockStructure::Rectangular,
                    Accum::Replace,
                    MatRef::from_column_major_slice(q, k, p),
                    BlockStructure::Rectangular,
                    MatRef::from_column_major_slice(root, p, p),
                    BlockStructure::TriangularUpper,
                    1.0,
                    Par::Seq,
                );
                q.copy_from_slice(&turned);
            }
        }
        rows
    }

    fn gram(&self, rows: &[f64], columns: usize) -> Vec<f64> {
        let mut out = zeros(columns * columns);
        add_gram(rows, self.n_rows, columns, &mut out);
        out
    }
}

/// sqrt(w) [q, r] of all rows.
struct Whole {
    basis: Basis,
    beta0: Vec<f64>,
    scale: f64,
    /// sqrt(w) q in the first columns of rows of this length.
    q: Vec<f64>,
    length: usize,
    /// The row of q that a row has, unless it is its own.
    cells: Option<Vec<u32>>,
    /// sqrt(w) times the least-squares residual, before it is over its root mean square.
    residual: Vec<f64>,
}

impl Whole {
    fn by_rows(rows: &ModelRows) -> Result<Whole, ProductsError> {
        let basis = Basis::of(&rows.x, rows.x.n_cols(), rows.weights, 2);
        let Residual { beta0, scale, xr, .. } = Residual::of(rows, &basis)?;
        let length = basis.len() + 1;
        let mut residual = reserved(rows.y.len());
        residual.extend(xr.chunks_exact(length).map(|row| row[length - 1]));
        Ok(Whole { basis, beta0, scale, q: xr, length, cells: None, residual })
    }

    /// A cell counts as its rows in the basis, whose columns have the mean square one over all rows.
    fn by_cells(rows: &ModelRows, cells: Cells) -> Result<Whole, ProductsError> {
        let Cells { of_row, first, n_rows } = cells;
        let (n, k, n_cols) = (rows.y.len(), first.len(), rows.x.n_cols());
        let weight: Vec<f64> = first.iter().map(|&i| rows.weights.map_or(1.0, |w| w[i])).collect();
        let values: Vec<f64> = first.iter().flat_map(|&i| rows.x.row(i)).copied().collect();
        let source = Source::Columns { values: &values, n_rows: k, n_cols };
        let share = k as f64 / n as f64;
        let together: Vec<f64> = weight.iter().zip(&n_rows).map(|(w, n)| w * n * share).collect();
        let basis = Basis::of(&source, n_cols, Some(&together), 2);
        let p = basis.len();
        let mut q = zeros(k * p);
        (0..k).for_each(|cell| basis.apply(source.row(cell), &mut q[cell * p..(cell + 1) * p]));
        let (mut sums, mut square) = (zeros(k), zeros(k));
        for (y, &cell) in rows.y.iter().zip(&of_row) {
            sums[cell as usize] += y;
            square[cell as usize] += y * y;
        }
        let total: f64 = square.iter().zip(&weight).map(|(s, w)| s * w).sum();
        let mut beta0 = zeros(p);
        for cell in 0..k {
            let by = weight[cell] * sums[cell] / n as f64;
            beta0.iter_mut().zip(&q[cell * p..]).for_each(|(b, q)| *b += by * q);
        }
        let root: Vec<f64> = weight.iter().map(|w| w.sqrt()).collect();
        let fitted: Vec<f64> = (0..k).map(|cell| q[cell * p..].iter().zip(&beta0).map(|(q, b)| q * b).sum()).collect();
        let mut residual = filled_for_visits(0.0, n);
        square.fill(0.0);
        for ((r, y), &cell) in residual.iter_mut().zip(rows.y).zip(&of_row) {
            let cell = cell as usize;
            *r = root[cell] * (y - fitted[cell]);
            square[cell] += *r * *r;
        }
        let scale = Products::residual_scale(square.iter().sum(), total, n).ok_or(ProductsError::PerfectFit)?;
        q.iter_mut().enumerate().for_each(|(at, q)| *q *= root[at / p]);
        Ok(Whole { basis, beta0, scale, q, length: p, cells: Some(of_row), residual })
    }

    /// Rows of M of subjects, each given by its rows at the visits.
    fn gathered<'a>(&self, subjects: impl ExactSizeIterator<Item = &'a [i64]>) -> Vec<f64> {
        let (k, p) = (subjects.len(), self.basis.len());
        let mut out = vec![];
        for (s, subject) in subjects.enumerate() {
            if s == 0 {
                out = zeros(k * subject.len() * (p + 1));
            }
            for (a, &i) in subject.iter().enumerate() {
                let i = i as usize;
                let q = self.cells.as_ref().map_or(i, |cells| cells[i] as usize) * self.length;
                let at = a * (p + 1) * k + s;
                self.q[q..q + p].iter().enumerate().for_each(|(j, value)| out[at + j * k] = *value);
                out[at + p * k] = self.residual[i] / self.scale;
            }
        }
        out
    }
}

/// Subjects of the same cells at all visits, and the sums of their residuals.
struct Class<'a> {
    /// Rows of one of them.
    rows: &'a [i64],
    n_subjects: f64,
    residual: Vec<f64>,
}

/// Adds the lower triangle of M'M, M the rows of subjects given by their rows at m visits: where x is that of n subjects,
/// theirs is n xx', and x times the sum of their residuals.
fn add_classes(whole: &Whole, cells: &[u32], order: &[i64], m: usize, sums: &mut [f64]) {
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut classes: Vec<Class> = vec![];
    let (mut key, mut products) = (vec![0; m], zeros(m * m));
    for (s, rows) in order.chunks_exact(m).enumerate() {
        if s % ROWS_AT_ONCE == 0 {
            threads::check();
        }
        key.iter_mut().zip(rows).for_each(|(key, &i)| *key = cells[i as usize]);
        let class = known.get(&key).copied().unwrap_or_else(|| {
            known.insert(key.clone(), classes.len());
            reserve(&mut classes, 1);
            classes.push(Class { rows, n_subjects: 0.0, residual: zeros(m) });
            classes.len() - 1
        });
        let class = &mut classes[class];
        class.n_subjects += 1.0;
        for (b, &row) in rows.iter().enumerate() {
            let r = whole.residual[row as usize];
            class.residual[b] += r;
            for (a, &other) in rows.iter().enumerate().skip(b) {
                products[b * m + a] += r * whole.residual[other as usize];
            }
        }
    }
    let c = whole.basis.len() + 1;
    let (columns, last) = (m * c, c - 1);
    for some in classes.chunks(ROWS_AT_ONCE) {
        threads::check();
        let k = some.len();
        let mut rows = whole.gathered(some.iter().map(|class| class.rows));
        for (s, class) in some.iter().enumerate() {
            let root = class.n_subjects.sqrt();
            for (j, column) in rows.chunks_exact_mut(k).enumerate() {
                column[s] = if j % c == last { class.residual[j / c] / (root * whole.scale) } else { column[s] * root };
            }
        }
        add_gram(&rows, k, columns, sums);
    }
    for b in 0..m {
        for a in b..m {
            sums[(b * c + last) * columns + a * c + last] = products[b * m + a] / whole.scale.powi(2);
        }
    }
}

/// The fit where [q r]'V^-1 [q r] is `sums`, (p + 1) x (p + 1), and log|V| is `log_det`.
pub(crate) fn solve(p: usize, sums: &[f64], log_det: f64, reml: bool) -> Option<Solved> {
    let c = p + 1;
    let mut u = zeros(p * p);
    for j in 0..p {
        u[j * p..(j + 1) * p].copy_from_slice(&sums[j * c..j * c + p]);
    }
    let log_u = if p == 0 { 0.0 } else { block::cholesky(&mut u, p)? };
    let right: Vec<f64> = (0..p).map(|j| sums[j * c + p]).collect();
    let mut beta = right.clone();
    block::forward(&u, p, &mut beta);
    let fitted: f64 = beta.iter().map(|v| v * v).sum();
    block::backward(&u, p, &mut beta);
    let rest = sums[p * c + p] - fitted;
    let value = log_det + rest + if reml { 2.0 * log_u } else { 0.0 };
    let root = block::transpose(&block::inverse_lower(&u, p), p, p);
    value.is_finite().then_some(Solved { value, beta, root })
}

/// Adds the lower triangle of M'M, and what faer makes of the upper one.
fn add_gram(rows: &[f64], n_rows: usize, columns: usize, sums: &mut [f64]) {
    if n_rows == 0 {
        return;
    }
    before_products(Par::Seq);
    let m = MatRef::from_column_major_slice(rows, n_rows, columns);
    let target = MatMut::from_column_major_slice_mut(sums, columns, columns);
    if n_rows < 4 {
        let mut target = target;
        for j in 0..columns {
            for i in j..columns {
                target[(i, j)] += (0..n_rows).map(|s| m[(s, i)] * m[(s, j)]).sum::<f64>();
            }
        }
        return;
    }
    if columns < 8 {
        matmul(target, Accum::Add, m.transpose(), m, 1.0, Par::Seq);
        return;
    }
    let (full, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
    triangular::matmul(target, lower, Accum::Add, m.transpose(), full, m, full, 1.0, Par::Seq);
}

/// Few rows R with R'R the matrix whose lower triangle is given, by a Cholesky factor with pivots.
pub(crate) fn rows_of(sums: &[f64], columns: usize) -> (usize, Vec<f64>) {
    let mut left: Vec<f64> = (0..columns).map(|j| sums[j * columns + j]).collect();
    let largest = left.iter().fold(0.0, |a: f64, b| a.max(*b));
    let mut found: Vec<Vec<f64>> = Vec::new();
    while found.len() < columns {
        let pivot = (0..columns).fold(0, |best, j| if left[j] > left[best] { j } else { best });
        if left[pivot] <= ROUNDING * largest || left[pivot] <= 0.0 {
            break;
        }
        let mut row = zeros(columns);
        let length = left[pivot].sqrt();
        for j in 0..columns {
            let before: f64 = found.iter().map(|f| f[pivot] * f[j]).sum();
            row[j] = (lower(sums, columns, j, pivot) - before) / length;
            left[j] -= row[j] * row[j];
        }
        left[pivot] = 0.0;
        found.push(row);
    }
    let n_rows = found.len();
    let mut rows = zeros(n_rows * columns);
    for (s, row) in found.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            rows[j * n_rows + s] = *value;
        }
    }
    (n_rows, rows)
}

/// K = L^-T L^-1.
pub(crate) fn precision(inverse: &[f64], m: usize) -> Vec<f64> {
    let mut out = zeros(m * m);
    block::transpose_times(inverse, inverse, m, m, m, &mut out);
    out
}

/// An element of a symmetric matrix whose lower triangle is known.
fn lower(matrix: &[f64], size: usize, i: usize, j: usize) -> f64 {
    if i >= j { matrix[j * size + i] } else { matrix[i * size + j] }
}

/// Adds K[b, c] W[d, a] + W[b, c] K[d, a] to the coefficients of dSigma[a, b] dSigma[c, d], K and W symmetric, (m, m).
fn add_curvature(target: &mut [f64], v: usize, visits: &[usize], k: &[f64], w: &[f64]) {
    let m = visits.len();
    for (a, &va) in visits.iter().enumerate() {
        for (b, &vb) in visits.iter().enumerate() {
            for (c, &vc) in visits.iter().enumerate() {
                let row = &mut target[((va * v + vb) * v + vc) * v..][..v];
                let (kbc, wbc) = (k[b * m + c], w[b * m + c]);
                for (d, &vd) in visits.iter().enumerate() {
                    row[vd] += kbc * w[d * m + a] + wbc * k[d * m + a];
                }
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
