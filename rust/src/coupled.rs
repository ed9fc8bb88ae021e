//! Random effects of any kind beside residuals that are correlated within subjects: Henderson's equations with Q, the
//! precision of the rows, in the place of their weights.
//!
//! Q is told on pairs of rows: all pairs of a subject, or neighbours alone where a structure is Markov's. With v spherical
//! and u = Lambda v, M = Lambda'Z'Q Z Lambda + I is sparse where few levels meet in a subject, and
//!
//!   d = -log|Q| + log|M| + min (y - X b - Z u)'Q(y - X b - Z u) + v'v (+ log|X'V^-1 X|).
//!
//! What a derivative needs of M^-1 lies on the pattern of M: in Q it is Z Lambda M^-1 Lambda'Z' at the pairs, and products of
//! what is left of y and X (both are minima, so that v may be held); in Lambda, sums of A Lambda M^-1 over levels, A = Z'Q Z.
//! Nothing is divided by Lambda, which may be singular.

use crate::basis::Basis;
use crate::block;
use crate::cholesky::{Factored, Pattern};
use crate::memory::{copied, filled, reserved, zeros};
use crate::patterns::solve;
use crate::products::{ModelRows, ProductsError, Residual};
use crate::selected_inverse::selected_inverse;
use crate::threads;
use faer::Par;

/// One block of random effects; rows of Z are times the roots of the weights.
pub struct CoupledEffect<'a> {
    pub codes: &'a [i32],
    pub n_levels: usize,
    pub q: usize,
    /// n x q, row-major.
    pub z: &'a [f64],
}

/// Where the levels and columns of a block of effects are, among those of all.
struct Place {
    q: usize,
    n_levels: usize,
    first_level: usize,
    first_column: usize,
    /// Its columns among those of one row.
    in_row: usize,
}

/// The products of two levels that meet, of which the one of the row is the later.
struct Meeting {
    row: usize,
    column: usize,
    /// Where its values begin, column-major.
    first: usize,
}

/// All that the likelihood needs of the rows.
pub struct Coupled {
    pub n: usize,
    pub p: usize,
    pub x_basis: Basis,
    pub beta0: Vec<f64>,
    pub scale: f64,
    pub log_weights: f64,
    /// [q r], n x (p + 1), row-major.
    rows: Vec<f64>,
    effects: Vec<Place>,
    /// Level of each row in each block of effects, counted through all of them.
    level: Vec<u32>,
    /// Effect of each level.
    effect_of: Vec<u32>,
    z: Vec<f64>,
    pairs: Vec<(u32, u32)>,
    /// Meeting of the levels of each pair of rows, for any two blocks of effects.
    meeting_of: Vec<u32>,
    meetings: Vec<Meeting>,
    n_values: usize,
    pattern: Pattern,
    /// Place of each value of the meetings among those of the pattern; none above the diagonal.
    place: Vec<usize>,
    par: Par,
}

/// The criterion less log|Q^-1|, with what its derivatives need.
pub struct CoupledDerivatives {
    pub value: f64,
    /// In Q at each pair, as if its two elements were one.
    pub pairs: Vec<f64>,
    /// In Lambda of each block of effects, q x q, one after the other.
    pub lambda: Vec<f64>,
    /// V^-1 [X K, y - X beta], n x (p + 1), row-major.
    pub rows: Vec<f64>,
}

/// Everything at one Q and Lambda.
struct Solved<'a> {
    /// Z'Q Z, by meetings.
    a: Vec<f64>,
    /// Z'Q [q r], n_columns x c.
    zx: Vec<f64>,
    factor: Factored<'a>,
    value: f64,
    beta: Vec<f64>,
    root: Vec<f64>,
}

const NONE: usize = usize::MAX;

impl Coupled {
    /// Forms what does not depend on Q; `pairs` are rows (a, b) with a >= b, each once.
    pub fn new(
        rows: &ModelRows,
        effects: &[CoupledEffect],
        pairs: Vec<(u32, u32)>,
        par: Par,
    ) -> Result<Coupled, ProductsError> {
        let n = rows.y.len();
        let x_basis = Basis::of(&rows.x, rows.x.n_cols(), rows.weights, 2);
        let Residual { beta0, scale, mut xr, .. } = Residual::of(rows, &x_basis)?;
        let p = x_basis.len();
        xr.chunks_exact_mut(p + 1).for_each(|row| row[p] /= scale);
        let mut places: Vec<Place> = Vec::new();
        let (mut first_level, mut first_column, mut in_row) = (0, 0, 0);
        for e in effects {
            places.push(Place { q: e.q, n_levels: e.n_levels, first_level, first_column, in_row });
            first_level += e.n_levels;
            first_column += e.n_levels * e.q;
            in_row += e.q;
        }
        let mut level = reserved(n * effects.len());
        let mut z = reserved(n * in_row);
        for i in 0..n {
            for (e, place) in effects.iter().zip(&places) {
                level.push(place.first_level as u32 + e.codes[i] as u32);
                z.extend_from_slice(&e.z[i * e.q..(i + 1) * e.q]);
            }
        }
        let mut effect_of = filled(0u32, first_level);
        for (k, place) in places.iter().enumerate() {
            effect_of[place.first_level..place.first_level + place.n_levels].fill(k as u32);
        }
        let mut out = Coupled {
            n,
            p,
            x_basis,
            beta0,
            scale,
            log_weights: rows.weights.map_or(0.0, |w| w.iter().map(|w| w.ln()).sum()),
            rows: xr,
            effects: places,
            level,
            effect_of,
            z,
            pairs,
            meeting_of: vec![],
            meetings: vec![],
            n_values: 0,
            pattern: Pattern::of_columns(vec![0], vec![]),
            place: vec![],
            par,
        };
        out.find_meetings(first_level);
        out.form_pattern(first_column);
        Ok(out)
    }

    pub fn n_pairs(&self) -> usize {
        self.pairs.len()
    }

    pub fn n_columns(&self) -> usize {
        self.pattern.n()
    }

    /// Values of Lambda of all blocks.
    pub fn n_lambda(&self) -> usize {
        self.effects.iter().map(|e| e.q * e.q).sum()
    }

    /// Multiplications of one evaluation.
    pub fn flops(&self) -> f64 {
        let row = self.effects.iter().map(|e| e.q).sum::<usize>();
        self.pairs.len() as f64 * (row * row + 2 * (self.p + 1)) as f64 + self.pattern.flops()
    }

    /// Finds the levels that meet in pairs of rows, by the earlier of both, and those of each pair.
    fn find_meetings(&mut self, n_levels: usize) {
        let k = self.effects.len();
        let both = |a: u32, b: u32| (a.max(b), a.min(b));
        let mut start = filled(0usize, n_levels + 1);
        let each = |f: &mut dyn FnMut(usize, u32, u32)| {
            for (at, &(a, b)) in self.pairs.iter().enumerate() {
                for e in 0..k {
                    for g in 0..k {
                        let (row, column) = both(self.level[a as usize * k + e], self.level[b as usize * k + g]);
                        f((at * k + e) * k + g, row, column);
                    }
                }
            }
        };
        each(&mut |_, _, column| start[column as usize + 1] += 1);
        (0..n_levels).for_each(|l| start[l + 1] += start[l]);
        let mut next: Vec<usize> = start[..n_levels].to_vec();
        let mut sorted = filled(0u64, start[n_levels]);
        let mut owner = filled(0u32, start[n_levels]);
        each(&mut |which, row, column| {
            let at = &mut next[column as usize];
            sorted[*at] = (row as u64) << 32 | (*at - start[column as usize]) as u64;
            owner[*at] = which as u32;
            *at += 1;
        });
        let mut meeting_of = filled(0u32, self.pairs.len() * k * k);
        let mut meetings: Vec<Meeting> = Vec::new();
        let mut n_values = 0;
        for column in 0..n_levels {
            threads::check();
            let some = &mut sorted[start[column]..start[column + 1]];
            some.sort_unstable();
            let mut last = NONE;
            for &key in some.iter() {
                let row = (key >> 32) as usize;
                if row != last {
                    meetings.push(Meeting { row, column, first: n_values });
                    n_values += self.size_of(row) * self.size_of(column);
                    last = row;
                }
                let which = owner[start[column] + (key & 0xffff_ffff) as usize];
                meeting_of[which as usize] = meetings.len() as u32 - 1;
            }
        }
        (self.meeting_of, self.meetings, self.n_values) = (meeting_of, meetings, n_values);
    }

    fn form_pattern(&mut self, n_columns: usize) {
        let mut column_start = reserved(n_columns + 1);
        column_start.push(0);
        let mut row = Vec::new();
        let mut at = 0;
        while at < self.meetings.len() {
            let level = self.meetings[at].column;
            let end = at + self.meetings[at..].partition_point(|m| m.column == level);
            for j in 0..self.size_of(level) {
                for m in &self.meetings[at..end] {
                    let (first, size) = (self.column_of(m.row), self.size_of(m.row));
                    row.extend((first + if m.row == level { j } else { 0 })..first + size);
                }
                column_start.push(row.len());
            }
            at = end;
        }
        self.pattern = Pattern::of_columns(column_start, row);
        let mut place = reserved(self.n_values);
        for m in &self.meetings {
            for j in 0..self.size_of(m.column) {
                for i in 0..self.size_of(m.row) {
                    let (r, c) = (self.column_of(m.row) + i, self.column_of(m.column) + j);
                    place.push(if r >= c { self.pattern.index(r, c) } else { NONE });
                }
            }
        }
        self.place = place;
    }

    fn size_of(&self, level: usize) -> usize {
        self.effects[self.effect_of[level] as usize].q
    }

    /// First column of a level.
    fn column_of(&self, level: usize) -> usize {
        let e = &self.effects[self.effect_of[level] as usize];
        e.first_column + (level - e.first_level) * e.q
    }

    /// Lambda of each block, of all one after the other.
    fn lambdas<'a>(&self, all: &'a [f64]) -> Vec<&'a [f64]> {
        let mut rest = all;
        let mut out = Vec::new();
        for e in &self.effects {
            let (own, others) = rest.split_at(e.q * e.q);
            out.push(own);
            rest = others;
        }
        out
    }

    /// Q B, for B of `c` values a row.
    fn by_precision(&self, q: &[f64], b: &[f64], c: usize) -> Vec<f64> {
        let mut out = zeros(b.len());
        for (&(i, j), &w) in self.pairs.iter().zip(q) {
            let (i, j) = (i as usize * c, j as usize * c);
            for k in 0..c {
                out[i + k] += w * b[j + k];
            }
            if i != j {
                for k in 0..c {
                    out[j + k] += w * b[i + k];
                }
            }
        }
        out
    }

    /// Z'B, n_columns x c, for B of `c` values a row.
    fn by_effects(&self, b: &[f64], c: usize) -> Vec<f64> {
        let (k, size, m) = (self.effects.len(), self.row_size(), self.n_columns());
        let mut out = zeros(m * c);
        for i in 0..self.n {
            for (e, place) in self.effects.iter().enumerate() {
                let first = self.column_of(self.level[i * k + e] as usize);
                for j in 0..place.q {
                    let z = self.z[i * size + place.in_row + j];
                    for (column, b) in b[i * c..(i + 1) * c].iter().enumerate() {
                        out[column * m + first + j] += z * b;
                    }
                }
            }
        }
        out
    }

    /// B less Z U, for U (n_columns, c) and B of `c` values a row.
    fn without_effects(&self, u: &[f64], b: &mut [f64], c: usize) {
        let (k, size, m) = (self.effects.len(), self.row_size(), self.n_columns());
        for (i, row) in b.chunks_exact_mut(c).enumerate() {
            for (e, place) in self.effects.iter().enumerate() {
                let first = self.column_of(self.level[i * k + e] as usize);
                for j in 0..place.q {
                    let z = self.z[i * size + place.in_row + j];
                    row.iter_mut().enumerate().for_each(|(column, b)| *b -= z * u[column * m + first + j]);
                }
            }
        }
    }

    fn row_size(&self) -> usize {
        self.effects.iter().map(|e| e.q).sum()
    }

    /// Z'Q Z by meetings.
    fn among_effects(&self, q: &[f64]) -> Vec<f64> {
        let (k, size) = (self.effects.len(), self.row_size());
        let mut out = zeros(self.n_values);
        for (at, (&(a, b), &w)) in self.pairs.iter().zip(q).enumerate() {
            let (a, b) = (a as usize, b as usize);
            for (e, one) in self.effects.iter().enumerate() {
                let left = &self.z[a * size + one.in_row..][..one.q];
                for (g, other) in self.effects.iter().enumerate() {
                    let (of_a, of_b) = (self.level[a * k + e], self.level[b * k + g]);
                    if a == b && of_a < of_b {
                        continue;
                    }
                    let right = &self.z[b * size + other.in_row..][..other.q];
                    let target = &mut out[self.meetings[self.meeting_of[(at * k + e) * k + g] as usize].first..];
                    for (j, y) in right.iter().enumerate() {
                        for (i, x) in left.iter().enumerate() {
                            let value = w * x * y;
                            if of_a >= of_b {
                                target[j * one.q + i] += value;
                            }
                            if of_a < of_b || (of_a == of_b && a != b) {
                                target[i * other.q + j] += value;
                            }
                        }
                    }
                }
            }
        }
        out
    }

    /// Lambda' B of each level, in place, for B (n_columns, c); or Lambda B.
    fn by_lambda(&self, lambdas: &[&[f64]], b: &mut [f64], transposed: bool) {
        let m = self.n_columns();
        for column in b.chunks_exact_mut(m.max(1)) {
            for (place, lambda) in self.effects.iter().zip(lambdas) {
                let q = place.q;
                let mut new = zeros(q);
                let all = &mut column[place.first_column..place.first_column + place.n_levels * q];
                for own in all.chunks_exact_mut(q) {
                    if transposed {
                        block::transpose_times(lambda, own, q, q, 1, &mut new);
                    } else {
                        block::times(lambda, own, q, q, 1, &mut new);
                    }
                    own.copy_from_slice(&new);
                }
            }
        }
    }

    /// L of M; None where it is not positive definite.
    fn factor<'a>(&'a self, a: &[f64], lambdas: &[&[f64]]) -> Option<Factored<'a>> {
        let mut values = zeros(self.pattern.len());
        for m in &self.meetings {
            let (left, right) = (lambdas[self.effect_of[m.row] as usize], lambdas[self.effect_of[m.column] as usize]);
            let (r, c) = (self.size_of(m.row), self.size_of(m.column));
            let (mut half, mut whole) = (zeros(r * c), zeros(r * c));
            block::transpose_times(left, &a[m.first..m.first + r * c], r, r, c, &mut half);
            block::times(&half, right, r, c, c, &mut whole);
            for (value, &at) in whole.iter().zip(&self.place[m.first..]) {
                if at != NONE {
                    values[at] += value;
                }
            }
            if m.row == m.column {
                for i in 0..r {
                    values[self.place[m.first + i * r + i]] += 1.0;
                }
            }
        }
        Factored::new(&self.pattern, values, self.par)
    }

    fn solve<'a>(&'a self, q: &[f64], all: &[f64], reml: bool) -> Option<Solved<'a>> {
        let c = self.p + 1;
        let lambdas = self.lambdas(all);
        threads::check();
        let a = self.among_effects(q);
        let qx = self.by_precision(q, &self.rows, c);
        let zx = self.by_effects(&qx, c);
        threads::check();
        let factor = self.factor(&a, &lambdas)?;
        let mut sums = zeros(c * c);
        for (x, t) in self.rows.chunks_exact(c).zip(qx.chunks_exact(c)) {
            for j in 0..c {
                for i in 0..c {
                    sums[j * c + i] += x[i] * t[j];
                }
            }
        }
        let mut white = copied(&zx);
        self.by_lambda(&lambdas, &mut white, true);
        factor.forward(&mut white, c);
        let m = self.n_columns();
        for j in 0..c {
            for i in 0..c {
                let pairs = white[i * m..(i + 1) * m].iter().zip(&white[j * m..(j + 1) * m]);
                sums[j * c + i] -= pairs.map(|(x, y)| x * y).sum::<f64>();
            }
        }
        let at = solve(self.p, &sums, factor.log_det(), reml)?;
        Some(Solved { a, zx, factor, value: at.value, beta: at.beta, root: at.root })
    }

    /// The criterion less log|Q^-1| and its constant; None where it is not defined.
    pub fn value(&self, q: &[f64], lambda: &[f64], reml: bool) -> Option<f64> {
        Some(self.solve(q, lambda, reml)?.value)
    }

    /// Coefficients of the fixed effects less beta0, over scale, and U^-T, p x p.
    pub fn root(&self, q: &[f64], lambda: &[f64], reml: bool) -> Option<(Vec<f64>, Vec<f64>)> {
        let at = self.solve(q, lambda, reml)?;
        Some((at.beta, at.root))
    }

    /// V^-1 B for B of `c` values a row.
    pub fn solved(&self, q: &[f64], lambda: &[f64], b: &[f64], c: usize) -> Option<Vec<f64>> {
        let lambdas = self.lambdas(lambda);
        let a = self.among_effects(q);
        let factor = self.factor(&a, &lambdas)?;
        let mut u = self.by_effects(&self.by_precision(q, b, c), c);
        self.back(&factor, &lambdas, &mut u, c);
        let mut left = copied(b);
        self.without_effects(&u, &mut left, c);
        Some(self.by_precision(q, &left, c))
    }

    /// U <- Lambda M^-1 Lambda'U.
    fn back(&self, factor: &Factored, lambdas: &[&[f64]], u: &mut [f64], c: usize) {
        self.by_lambda(lambdas, u, true);
        factor.forward(u, c);
        factor.backward(u, c);
        self.by_lambda(lambdas, u, false);
    }

    /// M^-1 by meetings; blocks of one level are full.
    fn inverse(&self, factor: &Factored) -> Vec<f64> {
        let found = selected_inverse(factor, self.par);
        let mut out = zeros(self.n_values);
        for m in &self.meetings {
            let r = self.size_of(m.row);
            let size = r * self.size_of(m.column);
            for (i, &at) in self.place[m.first..m.first + size].iter().enumerate() {
                let at = if at == NONE { self.place[m.first + (i % r) * r + i / r] } else { at };
                out[m.first + i] = found[at];
            }
        }
        out
    }

    /// Lambda M^-1 Lambda' by meetings.
    fn spread(&self, inverse: &[f64], lambdas: &[&[f64]]) -> Vec<f64> {
        let mut out = zeros(self.n_values);
        for m in &self.meetings {
            let (left, right) = (lambdas[self.effect_of[m.row] as usize], lambdas[self.effect_of[m.column] as usize]);
            let (r, c) = (self.size_of(m.row), self.size_of(m.column));
            let mut half = zeros(r * c);
            block::times(left, &inverse[m.first..m.first + r * c], r, r, c, &mut half);
            block::times_transpose(&half, right, r, c, c, &mut out[m.first..m.first + r * c]);
        }
        out
    }

    /// Lambda M^-1 Lambda' of each level, q x q, the blocks of effects one after the other.
    pub fn conditional(&self, q: &[f64], lambda: &[f64]) -> Option<Vec<f64>> {
        let lambdas = self.lambdas(lambda);
        let a = self.among_effects(q);
        let factor = self.factor(&a, &lambdas)?;
        let spread = self.spread(&self.inverse(&factor), &lambdas);
        let mut out = Vec::new();
        for m in self.meetings.iter().filter(|m| m.row == m.column) {
            out.extend_from_slice(&spread[m.first..m.first + self.size_of(m.row).pow(2)]);
        }
        Some(out)
    }

    /// The criterion with its derivatives in Q and Lambda, or those of log|M| alone.
    pub fn derivatives(
        &self,
        q: &[f64],
        lambda: &[f64],
        reml: bool,
        of_determinant: bool,
    ) -> Option<CoupledDerivatives> {
        let (p, c) = (self.p, self.p + 1);
        let first = if of_determinant {
            c
        } else if reml {
            0
        } else {
            p
        };
        let lambdas = self.lambdas(lambda);
        let at = self.solve(q, lambda, reml)?;
        // U = Lambda M^-1 Lambda'Z'Q [q r], and what it leaves of the rows
        let mut u = copied(&at.zx);
        self.by_lambda(&lambdas, &mut u, true);
        at.factor.forward(&mut u, c);
        at.factor.backward(&mut u, c);
        let mut spherical = copied(&u);
        self.by_lambda(&lambdas, &mut u, false);
        let mut left = copied(&self.rows);
        self.without_effects(&u, &mut left, c);
        turn(&mut left, &at.beta, &at.root, p);
        turn_columns(&mut spherical, &at.beta, &at.root, p, self.n_columns());
        threads::check();
        let weighted = self.by_precision(q, &left, c);
        let inverse = self.inverse(&at.factor);
        threads::check();
        Some(CoupledDerivatives {
            value: at.value,
            pairs: self.in_precision(&self.spread(&inverse, &lambdas), &left, first),
            lambda: self.in_lambda(&at.a, &inverse, &lambdas, &weighted, &spherical, first),
            rows: weighted,
        })
    }

    /// The derivative in Q at each pair; of the columns of what is left, those from `first` on count.
    fn in_precision(&self, spread: &[f64], left: &[f64], first: usize) -> Vec<f64> {
        let (k, size, c) = (self.effects.len(), self.row_size(), self.p + 1);
        let mut out = reserved(self.pairs.len());
        for (at, &(a, b)) in self.pairs.iter().enumerate() {
            let (a, b) = (a as usize, b as usize);
            let mut value: f64 = (first..c).map(|j| left[a * c + j] * left[b * c + j]).sum();
            for (e, one) in self.effects.iter().enumerate() {
                let x = &self.z[a * size + one.in_row..][..one.q];
                for (g, other) in self.effects.iter().enumerate() {
                    let y = &self.z[b * size + other.in_row..][..other.q];
                    let own = &spread[self.meetings[self.meeting_of[(at * k + e) * k + g] as usize].first..];
                    let is_lower = self.level[a * k + e] >= self.level[b * k + g];
                    for (j, y) in y.iter().enumerate() {
                        for (i, x) in x.iter().enumerate() {
                            value += x * y * if is_lower { own[j * one.q + i] } else { own[i * other.q + j] };
                        }
                    }
                }
            }
            out.push(value);
        }
        out
    }

    /// The derivative in Lambda: 2 sum_l [A Lambda M^-1]_ll - (Z'Q E)_l V_l', V what is spherical.
    fn in_lambda(
        &self,
        a: &[f64],
        inverse: &[f64],
        lambdas: &[&[f64]],
        weighted: &[f64],
        spherical: &[f64],
        first: usize,
    ) -> Vec<f64> {
        let (c, n_columns) = (self.p + 1, self.n_columns());
        let mut starts = vec![0];
        self.effects.iter().for_each(|e| starts.push(starts[starts.len() - 1] + e.q * e.q));
        let mut out = zeros(self.n_lambda());
        for m in &self.meetings {
            let (f, g) = (self.effect_of[m.row] as usize, self.effect_of[m.column] as usize);
            let (r, s) = (self.size_of(m.row), self.size_of(m.column));
            let (own, other) = (&a[m.first..m.first + r * s], &inverse[m.first..m.first + r * s]);
            let (mut half, mut whole) = (zeros(r * s), zeros(r * r));
            block::times(own, lambdas[g], r, s, s, &mut half);
            block::times_transpose(&half, other, r, s, r, &mut whole);
            out[starts[f]..].iter_mut().zip(&whole).for_each(|(t, v)| *t += 2.0 * v);
            if m.row != m.column {
                let (mut half, mut whole) = (zeros(s * r), zeros(s * s));
                let turned = block::transpose(own, r, s);
                block::times(&turned, lambdas[f], s, r, r, &mut half);
                block::times(&half, other, s, r, s, &mut whole);
                out[starts[g]..].iter_mut().zip(&whole).for_each(|(t, v)| *t += 2.0 * v);
            }
        }
        let effects = self.by_effects(weighted, c);
        for (place, start) in self.effects.iter().zip(&starts) {
            let q = place.q;
            for l in 0..place.n_levels {
                let at = place.first_column + l * q;
                for column in first..c {
                    let (x, v) = (&effects[column * n_columns + at..][..q], &spherical[column * n_columns + at..][..q]);
                    for j in 0..q {
                        for i in 0..q {
                            out[start + j * q + i] -= 2.0 * x[i] * v[j];
                        }
                    }
                }
            }
        }
        out
    }

    /// What the criterion of the scaled problem lacks.
    pub fn constant(&self, reml: bool) -> f64 {
        let dof = (self.n - if reml { self.p } else { 0 }) as f64;
        dof * (2.0 * self.scale.ln() + (2.0 * std::f64::consts::PI).ln())
            - self.log_weights
            - if reml { 2.0 * self.x_basis.log_det() } else { 0.0 }
    }
}

/// [q r] -> [q U^-T, r - q beta] of each row.
fn turn(rows: &mut [f64], beta: &[f64], root: &[f64], p: usize) {
    let mut new = zeros(p);
    for row in rows.chunks_exact_mut(p + 1) {
        let fit: f64 = row.iter().zip(beta).map(|(q, b)| q * b).sum();
        row[p] -= fit;
        block::transpose_times(root, &row[..p], p, p, 1, &mut new);
        row[..p].copy_from_slice(&new);
    }
}

/// The same of columns (m, p + 1).
fn turn_columns(columns: &mut [f64], beta: &[f64], root: &[f64], p: usize, m: usize) {
    let mut row = zeros(p + 1);
    for i in 0..m {
        row.iter_mut().enumerate().for_each(|(j, v)| *v = columns[j * m + i]);
        turn(&mut row, beta, root, p);
        row.iter().enumerate().for_each(|(j, v)| columns[j * m + i] = *v);
    }
}
