//! Complete designs: those whose criterion is known to have one optimum, which one start finds.
//!
//! One factor whose levels all have the same Z_l'WZ_l = R R', with one covariance S of all its columns. Turn the
//! coordinates of each level such that the first q are along W^1/2 Z_l: their covariance is T = sigma^2 (I + R'SR), that of
//! the others sigma^2 I. Let X in the first coordinates be R^-1 Z_l'WX =: A_l. If the columns of X there are all q-vectors
//! of some covariates of the levels, and other columns of X live in the other coordinates alone, then no estimate of beta
//! depends on S, and the criterion is -a log |P| + tr(P B) - b log t + t E in P = T^-1 and t = 1/sigma^2, by ML and by
//! REML: convex, and so is the set P <= t I of all S >= 0. (For such designs Lange and Laird 1989 have the estimates in
//! closed form.)

use crate::block;
use crate::deviance::Problem;
use crate::memory::{copied, zeros};

/// Share of the whole that counts as rounding.
const ROUNDING: f64 = 1e-9;

impl Problem {
    /// Whether the design is complete, by ML and by REML; the response plays no part.
    pub fn is_complete(&self) -> bool {
        let products = &self.products;
        let [factor] = &products.factors[..] else { return false };
        let (q, p) = (factor.q, products.p);
        if factor.blocks.len() > 1 || (factor.blocks[0].tied && q > 1) {
            return false;
        }
        let mut root = copied(&factor.zz[..q * q]);
        let largest = root.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let is_same = |(a, b): (&f64, &f64)| (a - b).abs() <= ROUNDING * largest;
        if !factor.zz.chunks_exact(q * q).all(|zz| zz.iter().zip(&factor.zz[..q * q]).all(is_same)) {
            return false;
        }
        if block::cholesky(&mut root, q).is_none() {
            return false;
        }
        // products[b * q + a] = sum_l a'b of the rows a and b of A_l in an orthonormal basis of X, p x p
        let fixed = self.fixed_products(0);
        let mut sums = zeros(q * q * p * p);
        let mut rows = zeros(q * p);
        for level in 0..factor.n_levels {
            for c in 0..p {
                let column = &mut rows[c * q..(c + 1) * q];
                (0..q).for_each(|a| column[a] = fixed[(a * factor.n_levels + level) * p + c]);
            }
            block::forward(&root, q, &mut rows);
            for (at, sum) in sums.chunks_exact_mut((p * p).max(1)).enumerate() {
                let (a, b) = (at % q, at / q);
                for d in 0..p {
                    (0..p).for_each(|c| sum[d * p + c] += rows[c * q + a] * rows[d * q + b]);
                }
            }
        }
        let product = |a: usize, b: usize| &sums[(b * q + a) * p * p..(b * q + a + 1) * p * p];
        let trace = |s: &[f64]| (0..p).map(|c| s[c * p + c]).sum::<f64>();
        let tolerance = ROUNDING * (1.0 + p as f64);
        // columns of X lie in the first coordinates or in the others: what is left in the first is a projection
        let mut both = zeros(p * p);
        (0..q).for_each(|a| both.iter_mut().zip(product(a, a)).for_each(|(s, v)| *s += v));
        let mut square = zeros(p * p);
        block::times(&both, &both, p, p, p, &mut square);
        if square.iter().zip(&both).any(|(s, b)| (s - b).abs() > tolerance) {
            return false;
        }
        // with any column there, the same values stand in any other of the q places
        let length = |s: &[f64]| s.iter().map(|v| v * v).sum::<f64>();
        (0..q * q).all(|at| (length(product(at % q, at / q)) - trace(product(at / q, at / q))).abs() <= tolerance)
    }
}
