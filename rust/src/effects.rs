//! Columns over all random effects, solved with the factor of M.

use crate::block::{self, with_size};
use crate::deviance::Problem;
use crate::factor::LowerFactor;
use crate::memory::{copied, zeros};
use crate::schur;
use crate::threads;

/// `m` columns over all random effects, in elimination order.
pub struct Effects {
    pub m: usize,
    /// q x m a level of the first factor.
    pub first: Vec<f64>,
    /// n_rest x m, column-major.
    pub rest: Vec<f64>,
}

impl Clone for Effects {
    fn clone(&self) -> Effects {
        Effects { m: self.m, first: copied(&self.first), rest: copied(&self.rest) }
    }
}

impl Effects {
    pub fn zeros(problem: &Problem, m: usize) -> Effects {
        let products = &problem.products;
        let first = products.factors[0].n_levels * products.factors[0].q;
        Effects { m, first: zeros(first * m), rest: zeros(products.n_rest * m) }
    }

    /// The q values of column c at a level of factor e.
    #[inline]
    pub fn at(&self, problem: &Problem, e: usize, level: usize, c: usize) -> &[f64] {
        let products = &problem.products;
        let q = products.factors[e].q;
        if e == 0 {
            let at = (level * self.m + c) * q;
            return &self.first[at..at + q];
        }
        let at = c * products.n_rest + products.offset[e] + level * q;
        &self.rest[at..at + q]
    }

    #[inline]
    pub fn at_mut(&mut self, problem: &Problem, e: usize, level: usize, c: usize) -> &mut [f64] {
        let products = &problem.products;
        let q = products.factors[e].q;
        if e == 0 {
            let at = (level * self.m + c) * q;
            return &mut self.first[at..at + q];
        }
        let at = c * products.n_rest + products.offset[e] + level * q;
        &mut self.rest[at..at + q]
    }

    /// self += scale times a column of others.
    pub fn add_column(&mut self, problem: &Problem, scale: f64, other: &Effects, c: usize) {
        for (e, f) in problem.products.factors.iter().enumerate() {
            for level in 0..f.n_levels {
                let from = other.at(problem, e, level, c);
                let to = self.at_mut(problem, e, level, 0);
                to.iter_mut().zip(from).for_each(|(t, v)| *t += scale * v);
            }
        }
    }

    /// The sum of products of two single columns.
    pub fn dot(&self, other: &Effects) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        dot(&self.first, &other.first) + dot(&self.rest, &other.rest)
    }

    /// Products of all pairs of columns, m x other.m.
    pub fn products(&self, problem: &Problem, other: &Effects) -> Vec<f64> {
        let (m, n, q) = (self.m, problem.products.n_rest, problem.products.factors[0].q);
        let mut out = zeros(m * other.m);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        if m * other.m == 0 {
            return out;
        }
        for (a, b) in self.first.chunks_exact(q * m).zip(other.first.chunks_exact(q * other.m)) {
            for (j, b) in b.chunks_exact(q).enumerate() {
                for (i, a) in a.chunks_exact(q).enumerate() {
                    out[j * m + i] += dot(a, b);
                }
            }
        }
        for j in 0..other.m {
            for i in 0..m {
                out[j * m + i] += dot(&self.rest[i * n..(i + 1) * n], &other.rest[j * n..(j + 1) * n]);
            }
        }
        out
    }

    /// Each level times A' or A of its factor, all columns.
    pub fn map_levels(&mut self, problem: &Problem, maps: &[Vec<f64>], transposed: bool) {
        for (e, f) in problem.products.factors.iter().enumerate() {
            let q = f.q;
            let mut out = zeros(q);
            for level in 0..f.n_levels {
                for c in 0..self.m {
                    let values = self.at_mut(problem, e, level, c);
                    if transposed {
                        block::transpose_times(&maps[e], values, q, q, 1, &mut out);
                    } else {
                        block::times(&maps[e], values, q, q, 1, &mut out);
                    }
                    values.copy_from_slice(&out);
                }
            }
        }
    }
}

impl LowerFactor<'_> {
    /// B <- M^-1 B.
    pub fn solve(&self, b: &mut Effects) {
        let problem = self.problem;
        let products = &problem.products;
        let (q, m, n) = (products.factors[0].q, b.m, products.n_rest);
        if m == 0 {
            return;
        }
        with_size!(q, {
            for (level, b) in b.first.chunks_exact_mut(q * m).enumerate() {
                block::forward(self.level_factor(level), q, b);
            }
        });
        if n > 0 {
            let done = schur::strips_transpose_times(products, &self.eliminated.w, &b.first, m, problem.par);
            for c in 0..m {
                for j in 0..n {
                    b.rest[c * n + j] -= done[j * m + c];
                }
            }
            self.rest.forward(&mut b.rest, m);
            self.rest.backward(&mut b.rest, m);
        }
        let rows = block::transpose(&b.rest, n, m);
        with_size!(q, {
            for (level, b) in b.first.chunks_exact_mut(q * m).enumerate() {
                if level % schur::LEVELS == 0 {
                    threads::check();
                }
                schur::subtract_strip_times(&products.cross, &self.eliminated.w, level, &rows, q, m, b);
                block::backward(self.level_factor(level), q, b);
            }
        });
    }
}
