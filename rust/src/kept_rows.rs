//! Rows that are kept because their weights change: every product with them is one pass.
//!
//! They are in the bases of the problem and sorted by the levels of the first factor. What depends on where a row stands
//! among levels, strips and cells is found once.

use crate::block::with_size;
use crate::deviance::Problem;
use crate::memory::{copied, filled, reserved, zeros};
use crate::products::ModelRows;
use crate::rows::ByLevel;
use crate::schur::Values;
use crate::threads;

/// Rows of a piece of work.
const ROWS: usize = 4096;

/// Levels between two checks whether to go on.
const LEVELS: usize = 256;

/// One factor's part of the rows.
struct FactorPart {
    q: usize,
    /// n x q, by rows.
    z: Vec<f64>,
    level: Vec<u32>,
    /// Where the row's effects start among all effects: those of the first factor, then those of the rest.
    effect: Vec<usize>,
    /// Where its products with the first factor start in `Filled::cross`; empty for the first.
    cross: Vec<usize>,
}

/// Two factors of the rest, the earlier one first, and where products of a row start in `Filled::rest`.
struct Pair {
    earlier: usize,
    later: usize,
    at: Vec<usize>,
}

pub struct KeptRows {
    pub n: usize,
    pub p: usize,
    /// The caller's row of each.
    pub order: Vec<u32>,
    /// First row of each level of the first factor, and n.
    pub start: Vec<usize>,
    /// Boundaries of levels between which rows are one piece of work.
    pub pieces: Vec<usize>,
    /// n x p, by rows.
    x: Vec<f64>,
    parts: Vec<FactorPart>,
    pairs: Vec<Pair>,
    n_effects: usize,
}

/// Numbers on the pattern of Z'Z: products of rows, or entries of an inverse.
pub struct Filled {
    pub zz: Vec<Vec<f64>>,
    pub cross: Vec<f64>,
    pub rest: Vec<f64>,
}

impl Filled {
    pub fn zeros(problem: &Problem) -> Filled {
        let products = &problem.products;
        Filled {
            zz: products.factors.iter().map(|f| zeros(f.n_levels * f.q * f.q)).collect(),
            cross: zeros(products.cross.value.len()),
            rest: zeros(products.rest_values.len()),
        }
    }

    fn clear(&mut self) {
        self.zz.iter_mut().for_each(|z| z.fill(0.0));
        self.cross.fill(0.0);
        self.rest.fill(0.0);
    }

    /// Without right-hand columns.
    pub fn values(&self) -> Values<'_> {
        Values { zz: self.zz.iter().map(|z| &z[..]).collect(), cross: &self.cross, rest: &self.rest, zx: &[], m: 0 }
    }
}

impl KeptRows {
    pub fn new(problem: &Problem, rows: &ModelRows) -> KeptRows {
        let products = &problem.products;
        let n = products.n;
        let first = &rows.factors[products.factors[0].public];
        let ByLevel { start, order } = ByLevel::new(first.codes, first.n_levels);
        let mut x = zeros(n * products.p);
        for (out, &i) in x.chunks_exact_mut(products.p.max(1)).zip(&order) {
            products.x_basis.apply(rows.x.row(i as usize), out);
        }
        let n_first = products.factors[0].n_levels * products.factors[0].q;
        let mut parts: Vec<FactorPart> = reserved(products.factors.len());
        for (e, f) in products.factors.iter().enumerate() {
            let own = &rows.factors[f.public];
            let mut z = zeros(n * f.q);
            let mut level = reserved(n);
            let mut effect = reserved(n);
            for (out, &i) in z.chunks_exact_mut(f.q).zip(&order) {
                f.basis.apply(own.z.row(i as usize), out);
                let code = own.codes[i as usize] as usize;
                level.push(code as u32);
                effect.push(if e == 0 { code * f.q } else { n_first + products.offset[e] + code * f.q });
            }
            let cross = match parts.first() {
                None => vec![],
                Some(first) => {
                    let q = first.q;
                    let place = |r: usize| {
                        let l = first.level[r] as usize;
                        let (from, to) = (products.cross.start[l], products.cross.start[l + 1]);
                        let column = (effect[r] - n_first) as u32;
                        (from + products.cross.column[from..to].partition_point(|c| *c < column)) * q
                    };
                    (0..n).map(place).collect()
                }
            };
            parts.push(FactorPart { q: f.q, z, level, effect, cross });
        }
        let mut pairs = vec![];
        for later in 2..parts.len() {
            for earlier in 1..later {
                let cells = &products.rest_cells;
                let place = |r: usize| {
                    let (row, column) = (parts[later].effect[r] - n_first, parts[earlier].effect[r] - n_first);
                    cells[cells.partition_point(|c| (c.column, c.row) < (column, row))].value
                };
                pairs.push(Pair { earlier, later, at: (0..n).map(place).collect() });
            }
        }
        let pieces = level_pieces(&start);
        KeptRows { n, p: products.p, order, start, pieces, x, parts, pairs, n_effects: n_first + products.n_rest }
    }

    /// Values by the caller's rows in the order kept.
    pub fn sorted(&self, values: &[f64]) -> Vec<f64> {
        self.order.iter().map(|&i| values[i as usize]).collect()
    }

    /// And back.
    pub fn unsorted(&self, values: &[f64]) -> Vec<f64> {
        let mut out = zeros(self.n);
        self.order.iter().zip(values).for_each(|(&i, v)| out[i as usize] = *v);
        out
    }

    #[inline]
    fn x(&self, i: usize) -> &[f64] {
        &self.x[i * self.p..(i + 1) * self.p]
    }

    /// Row i of Z of the first factor.
    #[inline]
    pub fn first(&self, i: usize) -> &[f64] {
        let first = &self.parts[0];
        &first.z[i * first.q..(i + 1) * first.q]
    }

    /// z_i' V z_i of row i of the first factor.
    #[inline]
    pub fn form(&self, v: &[f64], i: usize) -> f64 {
        form(v, self.first(i), self.first(i))
    }

    /// Z'WZ in `out` and Z's, one value an effect, in one pass.
    pub fn weigh(&self, w: &[f64], s: &[f64], out: &mut Filled) -> Vec<f64> {
        self.step(None, &mut zeros(self.n), out, |i, _| (w[i], s[i]))
    }

    /// eta += Z b, and with the weight and the score that `row` gives at each: Z'WZ in `out` and Z's, in one pass.
    pub fn step(
        &self,
        b: Option<&[f64]>,
        eta: &mut [f64],
        out: &mut Filled,
        row: impl FnMut(usize, f64) -> (f64, f64),
    ) -> Vec<f64> {
        out.clear();
        let q = self.parts[0].q;
        with_size!(q, self.step_sized(q, b, eta, out, row))
    }

    #[inline(always)]
    fn step_sized(
        &self,
        q: usize,
        b: Option<&[f64]>,
        eta: &mut [f64],
        out: &mut Filled,
        mut row: impl FnMut(usize, f64) -> (f64, f64),
    ) -> Vec<f64> {
        let mut zs = zeros(self.n_effects);
        let (first, others) = self.parts.split_first().expect("has a factor");
        let (squares, other_squares) = out.zz.split_first_mut().expect("has a factor");
        for level in 0..self.start.len() - 1 {
            if level % LEVELS == 0 {
                threads::check();
            }
            let square = &mut squares[level * q * q..(level + 1) * q * q];
            let own_b = b.map(|b| &b[level * q..(level + 1) * q]);
            let own_zs = level * q..(level + 1) * q;
            for i in self.start[level]..self.start[level + 1] {
                let z = &first.z[i * q..(i + 1) * q];
                if let (Some(b), Some(own_b)) = (b, own_b) {
                    let mut sum = dot(z, own_b);
                    for part in others {
                        sum += dot(&part.z[i * part.q..(i + 1) * part.q], &b[part.effect[i]..part.effect[i] + part.q]);
                    }
                    eta[i] += sum;
                }
                let (w, s) = row(i, eta[i]);
                add_outer(square, z, z, w);
                add_scaled(&mut zs[own_zs.clone()], z, s);
                for (e, part) in others.iter().enumerate() {
                    let (p, level, effect) = (part.q, part.level[i] as usize, part.effect[i]);
                    if p == 1 {
                        let own = part.z[i];
                        other_squares[e][level] += w * own * own;
                        zs[effect] += s * own;
                        add_scaled(&mut out.cross[part.cross[i]..part.cross[i] + q], z, w * own);
                        continue;
                    }
                    let own = &part.z[i * p..(i + 1) * p];
                    add_outer(&mut other_squares[e][level * p * p..(level + 1) * p * p], own, own, w);
                    add_scaled(&mut zs[effect..effect + p], own, s);
                    add_outer(&mut out.cross[part.cross[i]..part.cross[i] + p * q], z, own, w);
                }
                for pair in &self.pairs {
                    let (a, b) = (&self.parts[pair.later], &self.parts[pair.earlier]);
                    let (a, b) = (&a.z[i * a.q..(i + 1) * a.q], &b.z[i * b.q..(i + 1) * b.q]);
                    add_outer(&mut out.rest[pair.at[i]..pair.at[i] + a.len() * b.len()], a, b, w);
                }
            }
        }
        zs
    }

    /// Z's, one value an effect.
    pub fn transposed(&self, s: &[f64]) -> Vec<f64> {
        let mut zs = zeros(self.n_effects);
        for part in &self.parts {
            let q = part.q;
            with_size!(q, {
                for (i, z) in part.z.chunks_exact(q).enumerate() {
                    add_scaled(&mut zs[part.effect[i]..part.effect[i] + q], z, s[i]);
                }
            });
        }
        zs
    }

    /// out += Z b for one value an effect.
    pub fn add_times(&self, b: &[f64], out: &mut [f64]) {
        for part in &self.parts {
            let q = part.q;
            with_size!(q, {
                for ((z, out), &at) in part.z.chunks_exact(q).zip(out.iter_mut()).zip(&part.effect) {
                    *out += dot(z, &b[at..at + q]);
                }
            });
        }
    }

    /// z_i' V z_i of every row, V on the pattern of Z'Z.
    pub fn squares(&self, v: &Filled) -> Vec<f64> {
        let mut out = zeros(self.n);
        for (e, part) in self.parts.iter().enumerate() {
            let q = part.q;
            with_size!(q, {
                for ((own, out), &level) in part.z.chunks_exact(q).zip(out.iter_mut()).zip(&part.level) {
                    let level = level as usize;
                    *out += form(&v.zz[e][level * q * q..(level + 1) * q * q], own, own);
                }
            });
        }
        if self.parts.len() == 1 {
            return out;
        }
        for (i, out) in out.iter_mut().enumerate() {
            let z = self.first(i);
            for part in &self.parts[1..] {
                let own = &part.z[i * part.q..(i + 1) * part.q];
                *out += 2.0 * form(&v.cross[part.cross[i]..], z, own);
            }
            for pair in &self.pairs {
                let (a, b) = (&self.parts[pair.later], &self.parts[pair.earlier]);
                let (a, b) = (&a.z[i * a.q..(i + 1) * a.q], &b.z[i * b.q..(i + 1) * b.q]);
                *out += 2.0 * form(&v.rest[pair.at[i]..], a, b);
            }
        }
        out
    }

    /// Sums over levels of z_j^2 w and of (sum z_j s)^2, and of squares of the former, by columns of each factor.
    pub fn moments(&self, problem: &Problem, w: &[f64], s: &[f64]) -> Vec<Vec<[f64; 3]>> {
        let zs = self.transposed(s);
        let mut out = vec![];
        for (part, f) in self.parts.iter().zip(&problem.products.factors) {
            let q = part.q;
            let mut information = zeros(f.n_levels * q);
            let mut start = filled(usize::MAX, f.n_levels);
            for i in 0..self.n {
                let level = part.level[i] as usize;
                start[level] = part.effect[i];
                for (j, z) in part.z[i * q..(i + 1) * q].iter().enumerate() {
                    information[level * q + j] += z * z * w[i];
                }
            }
            let mut sums = vec![[0.0; 3]; q];
            for (level, &at) in start.iter().enumerate().filter(|(_, at)| **at != usize::MAX) {
                for (j, sum) in sums.iter_mut().enumerate() {
                    let m = information[level * q + j];
                    sum[0] += m;
                    sum[1] += zs[at + j] * zs[at + j];
                    sum[2] += m * m;
                }
            }
            out.push(sums);
        }
        out
    }

    /// offset + X beta.
    pub fn fixed(&self, offset: &[f64], beta: &[f64]) -> Vec<f64> {
        let mut out = copied(offset);
        let p = self.p;
        if p > 0 {
            with_size!(p, {
                out.iter_mut().zip(self.x.chunks_exact(p)).for_each(|(out, x)| *out += dot(x, &beta[..p]));
            });
        }
        out
    }

    /// X's.
    pub fn fixed_transposed(&self, s: &[f64]) -> Vec<f64> {
        let mut out = zeros(self.p);
        let p = self.p;
        if p > 0 {
            with_size!(p, {
                s.iter().zip(self.x.chunks_exact(p)).for_each(|(s, x)| add_scaled(&mut out[..p], x, *s));
            });
        }
        out
    }

    /// X'WX, p x p.
    pub fn fixed_square(&self, w: &[f64]) -> Vec<f64> {
        let mut out = zeros(self.p * self.p);
        let p = self.p;
        if p > 0 {
            with_size!(p, {
                w.iter().zip(self.x.chunks_exact(p)).for_each(|(w, x)| add_outer(&mut out[..p * p], x, x, *w));
            });
        }
        out
    }

    /// Z'WX, one column of all effects for each column of X.
    pub fn across(&self, w: &[f64]) -> Vec<Vec<f64>> {
        let mut out: Vec<Vec<f64>> = (0..self.p).map(|_| zeros(self.n_effects)).collect();
        for part in &self.parts {
            let q = part.q;
            with_size!(q, {
                for (i, z) in part.z.chunks_exact(q).enumerate() {
                    let at = part.effect[i]..part.effect[i] + q;
                    for (column, x) in out.iter_mut().zip(self.x(i)) {
                        add_scaled(&mut column[at.clone()], z, w[i] * x);
                    }
                }
            });
        }
        out
    }
}

/// Levels whose rows are together some thousands, as boundaries: first 0, last the number of levels.
fn level_pieces(start: &[usize]) -> Vec<usize> {
    let mut out = vec![0];
    for level in 1..start.len() {
        let first = start[*out.last().expect("starts with 0")];
        if start[level] - first >= ROWS || level + 1 == start.len() {
            out.push(level);
        }
    }
    out
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[inline(always)]
fn add_scaled(out: &mut [f64], z: &[f64], s: f64) {
    out.iter_mut().zip(z).for_each(|(o, z)| *o += s * z);
}

/// out += w a b', column-major.
#[inline(always)]
fn add_outer(out: &mut [f64], a: &[f64], b: &[f64], w: f64) {
    for (column, b) in out.chunks_exact_mut(a.len()).zip(b) {
        add_scaled(column, a, w * b);
    }
}

/// a' V b, V column-major.
#[inline(always)]
fn form(v: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let one = |(column, b): (&[f64], &f64)| b * column.iter().zip(a).map(|(v, a)| v * a).sum::<f64>();
    v.chunks_exact(a.len()).zip(b).map(one).sum()
}
