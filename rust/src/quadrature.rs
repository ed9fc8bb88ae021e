//! Adaptive Gauss-Hermite quadrature of one grouping factor: every level's integral over nodes u^_l + L_l^-T z_j.
//!
//! d = h(u^) + log|H| - 2 sum_l log sum_j w_j exp((h_l(u^) - h_l(u_lj) + z_j'z_j) / 2), whose last term is zero for one
//! node. With p_j the nodes' shares of a level's integral and t_j = A'l' there, its gradient has the terms of Laplace's with
//! other parts: rows say -2 sum p_j l', u^ has the adjoint -2 sum p_j (t_j - u_j) more, and P_l, the adjoint of H_l by the
//! reverse of Cholesky's factorisation (Smith 1995), is in the place of H_l^-1.

use crate::block;
use crate::effects::Effects;
use crate::family::{Located, Scores};
use crate::laplace::Parts;
use crate::memory::{copied, reserved, zeros};
use crate::modes::{Glmm, Mode};
use crate::schur;
use crate::threads;
use std::ops::Range;

/// Nodes of a level's integral.
pub struct Rule {
    /// q a node.
    z: Vec<f64>,
    /// log w_j + z_j'z_j / 2.
    log_weights: Vec<f64>,
    q: usize,
}

/// The nodes of one level.
struct LevelNodes {
    /// u_j - u^, q a node.
    steps: Vec<f64>,
    /// Their shares of the integral.
    share: Vec<f64>,
    /// -2 log of the integral over its approximation by one node.
    beyond: f64,
}

/// What the levels of one piece add up to, and what each row and level says.
struct Piece {
    kernel: Vec<f64>,
    phi: Vec<f64>,
    direct: Vec<f64>,
    leverages: Vec<f64>,
    /// sum p_j (t_j - u_j), q a level.
    pull: Vec<f64>,
}

impl Rule {
    /// The product over q effects of nodes and weights (of the standard normal density) of one.
    pub fn product(nodes: &[f64], weights: &[f64], q: usize) -> Rule {
        let n = nodes.len();
        let count = n.pow(q as u32);
        let (mut z, mut log_weights) = (zeros(count * q), zeros(count));
        for (j, (z, log)) in z.chunks_exact_mut(q).zip(&mut log_weights).enumerate() {
            let mut at = j;
            for z in z {
                *z = nodes[at % n];
                *log += weights[at % n].ln() + 0.5 * *z * *z;
                at /= n;
            }
        }
        Rule { z, log_weights, q }
    }

    pub fn n_nodes(&self) -> usize {
        self.log_weights.len()
    }
}

impl Glmm {
    /// What the quadrature adds to Laplace's approximation.
    pub fn beyond_laplace(&self, rule: &Rule, mode: &Mode, phi: &[f64]) -> f64 {
        let at = Located::new(self.family, &self.responses, phi);
        let one = |level: usize| self.level_nodes(rule, mode, &at, level, |_, _, _| ()).beyond;
        schur::over_pieces(self.level_ranges(), |_, levels| levels.map(one).sum::<f64>()).iter().sum()
    }

    /// The same parts of the gradient as Laplace's.
    pub fn quadrature_parts(&self, rule: &Rule, mode: &Mode, phi: &[f64]) -> Parts {
        let at = Located::new(self.family, &self.responses, phi);
        let q = rule.q;
        let (mut kernel, mut in_phi) = (zeros(q * q), zeros(self.responses.n_phi()));
        let (mut direct, mut leverages) = (reserved(self.rows.n), reserved(self.rows.n));
        let mut pull = Effects::zeros(&self.problem, 1);
        let mut first = 0;
        for part in schur::over_pieces(self.level_ranges(), |_, levels| self.piece(rule, mode, &at, levels)) {
            kernel.iter_mut().zip(&part.kernel).for_each(|(a, b)| *a += b);
            in_phi.iter_mut().zip(&part.phi).for_each(|(a, b)| *a += b);
            direct.extend_from_slice(&part.direct);
            leverages.extend_from_slice(&part.leverages);
            pull.first[first..first + part.pull.len()].copy_from_slice(&part.pull);
            first += part.pull.len();
        }
        let mut parts = self.parts(mode, leverages, direct, in_phi, vec![kernel]);
        parts.adjoint.add_column(&self.problem, -2.0, &pull, 0);
        pull.first.iter_mut().for_each(|v| *v *= 2.0);
        parts.unlike = Some(pull);
        parts
    }

    fn level_ranges(&self) -> Vec<Range<usize>> {
        self.rows.pieces.windows(2).map(|w| w[0]..w[1]).collect()
    }

    /// The nodes of a level; `keep` is told node, row, and the linear predictor with l' there.
    fn level_nodes(
        &self,
        rule: &Rule,
        mode: &Mode,
        at: &Located,
        level: usize,
        mut keep: impl FnMut(usize, usize, [f64; 2]),
    ) -> LevelNodes {
        threads::check();
        let (q, responses) = (rule.q, &self.responses);
        let rows = self.rows.start[level]..self.rows.start[level + 1];
        let row = |i: usize, eta: f64| at.row(i, eta);
        let here: f64 = rows.clone().map(|i| responses.weight(i) * row(i, mode.eta[i]).l).sum();
        let u = mode.u.at(&self.problem, 0, level, 0);
        let mut steps = copied(&rule.z);
        block::backward(mode.factor.level_factor(level), q, &mut steps);
        let (mut share, mut moved) = (zeros(rule.n_nodes()), zeros(q));
        for (j, log) in share.iter_mut().enumerate() {
            let step = &steps[j * q..(j + 1) * q];
            block::times(&mode.factor.lambda[0], step, q, q, 1, &mut moved);
            let mut sum = -here;
            for i in rows.clone() {
                let eta = mode.eta[i] + self.rows.first(i).iter().zip(&moved).map(|(z, m)| z * m).sum::<f64>();
                let (row, w) = (row(i, eta), responses.weight(i));
                sum += w * row.l;
                keep(j, i, [eta, w * row.d1]);
            }
            let longer: f64 = step.iter().zip(u).map(|(s, u)| s * (u + 0.5 * s)).sum();
            *log = sum - longer + rule.log_weights[j];
        }
        let top = share.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        share.iter_mut().for_each(|s| *s = (*s - top).exp());
        let sum: f64 = share.iter().sum();
        share.iter_mut().for_each(|s| *s /= sum);
        LevelNodes { steps, share, beyond: -2.0 * (top + sum.ln()) }
    }

    fn piece(&self, rule: &Rule, mode: &Mode, at: &Located, levels: Range<usize>) -> Piece {
        let (q, responses) = (rule.q, &self.responses);
        let first = self.rows.start[levels.start];
        let n = self.rows.start[levels.end] - first;
        let mut out = Piece {
            kernel: zeros(q * q),
            phi: zeros(self.responses.n_phi()),
            direct: zeros(n),
            leverages: zeros(n),
            pull: zeros(levels.len() * q),
        };
        let lambda = &mode.factor.lambda[0];
        let mut kept = vec![];
        for (pull, level) in out.pull.chunks_exact_mut(q).zip(levels) {
            let rows = self.rows.start[level]..self.rows.start[level + 1];
            kept.resize(rows.len() * rule.n_nodes(), [0.0; 2]);
            let nodes = self.level_nodes(rule, mode, at, level, |j, i, values| {
                kept[j * rows.len() + i - rows.start] = values;
            });
            let u = mode.u.at(&self.problem, 0, level, 0);
            // sum p_j z_j (t_j - u_j)'
            let mut tilt = zeros(q * q);
            let (mut score, mut t) = (zeros(q), zeros(q));
            for (j, p) in nodes.share.iter().enumerate() {
                score.fill(0.0);
                for (i, [eta, d1]) in rows.clone().zip(&kept[j * rows.len()..]) {
                    out.direct[i - first] -= 2.0 * p * d1;
                    score.iter_mut().zip(self.rows.first(i)).for_each(|(s, z)| *s += z * d1);
                    if !out.phi.is_empty() {
                        let mut sums = Scores { weight: -2.0 * p * responses.weight(i), sums: &mut out.phi };
                        at.extra(i, *eta, &mut sums);
                    }
                }
                block::transpose_times(lambda, &score, q, q, 1, &mut t);
                let (z, step) = (&rule.z[j * q..(j + 1) * q], &nodes.steps[j * q..(j + 1) * q]);
                for b in 0..q {
                    let node = u[b] + step[b];
                    let rest = p * (t[b] - node);
                    pull[b] += rest;
                    (0..q).for_each(|a| out.kernel[b * q + a] -= p * t[a] * node);
                    (0..q).for_each(|a| tilt[b * q + a] += z[a] * rest);
                }
            }
            let l = &mode.factor.level_lower(level)[..];
            let adjoint = adjoint_of_square(l, &tilt, q);
            // (H - I) P, and Lambda P Lambda'
            let (mut left, mut square) = (zeros(q * q), zeros(q * q));
            block::times_transpose(l, l, q, q, q, &mut square);
            (0..q).for_each(|i| square[i * q + i] -= 1.0);
            block::times(&square, &adjoint, q, q, q, &mut left);
            out.kernel.iter_mut().zip(&left).for_each(|(k, v)| *k += v);
            block::times(lambda, &adjoint, q, q, q, &mut left);
            block::times_transpose(&left, lambda, q, q, q, &mut square);
            for i in rows {
                out.leverages[i - first] = self.rows.form(&square, i);
            }
        }
        out
    }
}

/// The adjoint of H = L L' in log|H| and in the nodes u^ + L^-T z_j, with `tilt` = sum p_j z_j (t_j - u_j)': that of L is
/// 2 tril(L^-T tilt L^-T) + 2 diag(1 / L_ii), and that of H has the lower triangle of L' times half of it between L^-T and L^-1.
fn adjoint_of_square(l: &[f64], tilt: &[f64], q: usize) -> Vec<f64> {
    let inverse = block::inverse_lower(l, q);
    let (mut half, mut of_factor) = (zeros(q * q), zeros(q * q));
    block::times(tilt, &block::transpose(&inverse, q, q), q, q, q, &mut half);
    block::transpose_times(&inverse, &half, q, q, q, &mut of_factor);
    for b in 0..q {
        for a in 0..q {
            of_factor[b * q + a] = if a < b { 0.0 } else { of_factor[b * q + a] };
        }
        of_factor[b * q + b] += 1.0 / l[b * q + b];
    }
    let mut inner = zeros(q * q);
    block::transpose_times(l, &of_factor, q, q, q, &mut inner);
    for b in 0..q {
        (0..b).for_each(|a| inner[b * q + a] = inner[a * q + b]);
    }
    block::sandwich(&inverse, &inner, q)
}
