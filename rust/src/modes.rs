//! Modes of the random effects: Newton's method on h(u) = -2 sum l + u'u with the observed weights W = -l''.

use crate::deviance::Problem;
use crate::effects::Effects;
use crate::factor::LowerFactor;
use crate::family::{Family, Located, Responses, Rows};
use crate::kept_rows::{Filled, KeptRows};
use crate::memory::{copied, zeros};
use crate::quadrature::Rule;

const MAX_STEPS: usize = 100;
/// Decrement g'H^-1 g below which the next step is the last: what that leaves is the square.
const NEARLY: f64 = 1e-7;
/// What the last step may have left of the decrement: the change of log|H| that another one would make is about this share,
/// which is its size where Newton's method converges as it should, and far larger where effects are huge.
const LEFT: f64 = 1e-7;
/// Decrement that no step improves.
const NOTHING: f64 = 1e-22;
/// Shortest share of a step.
const SHORTEST: f64 = 1e-12;
/// Rounding of h, relative.
const ROUNDING: f64 = 1e-12;
/// Weights are at least this share of their mean size in a step, where l is not concave.
const FLOOR: f64 = 1e-3;

/// A generalised linear mixed model: eta = offset + X beta + Z Lambda u.
pub struct Glmm {
    /// Bases, pattern and parameters; its products are those of unit weights.
    pub problem: Problem,
    pub rows: KeptRows,
    /// In the order of `rows`.
    pub responses: Responses,
    pub family: Family,
    /// Nodes of the quadrature; None for Laplace's approximation.
    pub rule: Option<Rule>,
}

/// The mode at one Lambda, beta and phi.
pub struct Mode<'a> {
    pub u: Effects,
    pub eta: Vec<f64>,
    pub rows: Rows,
    /// Of H = Lambda'Z'WZ Lambda + I there.
    pub factor: LowerFactor<'a>,
    /// h(u).
    pub h: f64,
    /// The smallest pivot of H, where it may be below one.
    pub least_pivot: f64,
}

/// Rows after a step, and Z'l' of them.
struct Moved {
    eta: Vec<f64>,
    rows: Rows,
    zs: Vec<f64>,
}

impl Glmm {
    /// Z Lambda u.
    pub fn times(&self, lambda: &[Vec<f64>], u: &Effects) -> Vec<f64> {
        let mut out = zeros(self.rows.n);
        let mut b = u.clone();
        b.map_levels(&self.problem, lambda, false);
        self.rows.add_times(&[b.first, b.rest].concat(), &mut out);
        out
    }

    /// Lambda' of one value an effect.
    pub fn spherical(&self, lambda: &[Vec<f64>], values: &[f64]) -> Effects {
        let mut out = Effects::zeros(&self.problem, 1);
        let n = out.first.len();
        out.first.copy_from_slice(&values[..n]);
        out.rest.copy_from_slice(&values[n..]);
        out.map_levels(&self.problem, lambda, true);
        out
    }

    /// The mode from `u` on; None where it cannot be found.
    pub fn mode(&self, lambda: Vec<Vec<f64>>, beta: &[f64], phi: &[f64], u: Option<Effects>) -> Option<Mode<'_>> {
        if let Some(u) = u
            && let Some(mode) = self.mode_from(&lambda, beta, phi, u)
        {
            return Some(mode);
        }
        self.mode_from(&lambda, beta, phi, Effects::zeros(&self.problem, 1))
    }

    fn mode_from(&self, lambda: &[Vec<f64>], beta: &[f64], phi: &[f64], mut u: Effects) -> Option<Mode<'_>> {
        let at = Located::new(self.family, &self.responses, phi);
        let mut filled = Filled::zeros(&self.problem);
        let fixed = self.rows.fixed(&self.responses.offset, beta);
        let Moved { mut eta, mut rows, mut zs } = self.moved(&at, lambda, &fixed, &u, 1.0, &mut filled)?;
        let mut h = -2.0 * rows.l + u.dot(&u);
        let (mut last, mut before) = (false, f64::INFINITY);
        for _ in 0..MAX_STEPS {
            let mut is_floored = false;
            let factor = match LowerFactor::new(&self.problem, &filled.values(), lambda.to_vec()) {
                Some(factor) => factor,
                // h is not convex here: with weights that are, the step still leads down
                None if rows.d2.iter().any(|d| *d > 0.0) => {
                    is_floored = true;
                    zs = self.rows.weigh(&floored(&rows.d2), &rows.d1, &mut filled);
                    LowerFactor::new(&self.problem, &filled.values(), lambda.to_vec())?
                }
                None => return None,
            };
            let mut g = self.spherical(lambda, &zs);
            g.add_column(&self.problem, -1.0, &u, 0);
            let mut du = g.clone();
            factor.solve(&mut du);
            let decrement = g.dot(&du);
            if !decrement.is_finite() {
                return None;
            }
            let is_settled = || decrement <= LEFT * before || decrement <= of_rounding(&rows, &eta);
            if (last && is_settled()) || decrement < NOTHING {
                // where h is not convex there is no minimum
                if is_floored {
                    return None;
                }
                let is_concave = rows.d2.iter().all(|d| *d <= 0.0);
                let least_pivot = if is_concave { 1.0 } else { factor.least_pivot() };
                return Some(Mode { u, eta, rows, factor, h, least_pivot });
            }
            let noise = ROUNDING * (h.abs() + self.rows.n as f64);
            let mut length = 1.0;
            let (new_u, new, new_h) = loop {
                let mut new_u = u.clone();
                new_u.add_column(&self.problem, length, &du, 0);
                if let Some(new) = self.moved(&at, lambda, &eta, &du, length, &mut filled) {
                    let new_h = -2.0 * new.rows.l + new_u.dot(&new_u);
                    if new_h <= h + noise || length < SHORTEST {
                        break (new_u, new, new_h);
                    }
                }
                length *= 0.5;
                if length < SHORTEST * 1e-3 {
                    return None;
                }
            };
            (last, before) = (decrement < NEARLY && length == 1.0, decrement);
            (u, h) = (new_u, new_h);
            Moved { eta, rows, zs } = new;
        }
        None
    }

    /// The rows at eta + length Z Lambda du, and in `filled` their products; None where the density is not defined.
    fn moved(
        &self,
        at: &Located,
        lambda: &[Vec<f64>],
        eta: &[f64],
        du: &Effects,
        length: f64,
        filled: &mut Filled,
    ) -> Option<Moved> {
        let (n, responses) = (self.rows.n, &self.responses);
        let mut b = du.clone();
        b.map_levels(&self.problem, lambda, false);
        let mut b = [b.first, b.rest].concat();
        b.iter_mut().for_each(|b| *b *= length);
        let mut eta = copied(eta);
        let mut rows = Rows { l: 0.0, d1: zeros(n), d2: zeros(n), d3: zeros(n) };
        let zs = self.rows.step(Some(&b), &mut eta, filled, |i, eta| {
            let row = at.row(i, eta);
            let w = responses.weight(i);
            rows.l += w * row.l;
            (rows.d1[i], rows.d2[i], rows.d3[i]) = (w * row.d1, w * row.d2, w * row.d3);
            (-rows.d2[i], rows.d1[i])
        });
        rows.l.is_finite().then_some(Moved { eta, rows, zs })
    }
}

/// What rounding of eta and of the mean leaves of a decrement, however many steps there are.
fn of_rounding(rows: &Rows, eta: &[f64]) -> f64 {
    let one = |(d2, eta): (&f64, &f64)| d2.abs() * (16.0 * f64::EPSILON * eta.abs().max(1.0)).powi(2);
    rows.d2.iter().zip(eta).map(one).sum()
}

/// Weights from l'', none of them too small.
fn floored(d2: &[f64]) -> Vec<f64> {
    let floor = FLOOR * d2.iter().map(|d| d.abs()).sum::<f64>() / d2.len() as f64;
    let mut out = copied(d2);
    out.iter_mut().for_each(|d| *d = (-*d).max(floor));
    out
}
