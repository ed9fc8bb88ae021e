//! Counts with zeros of their own: in excess of those of a family (zero-inflated), or instead of them (hurdle models).
//!
//! The last parameter is the logit z of the chance p of such a zero; those before it are the family's. With b the
//! family's log density, a zero has log(p + (1 - p) exp b) or log p, and what is no zero log(1 - p) + b, less log(1 - f)
//! with f the family's chance of zero in hurdle models.

use crate::family::Responses;
use crate::family::density::{AtPhi, Density, Row, Sink};
use crate::family::links::shares;

/// z of a chance that is nearly none.
const NONE: f64 = -4.0;
/// Parameters of the family that is within.
const MOST: usize = 2;

/// More zeros than `D` has.
#[derive(Clone, Copy, Debug)]
pub struct ZeroInflated<D>(pub D);

/// Zeros apart from what is above zero, which is `D` given that.
#[derive(Clone, Copy, Debug)]
pub struct Hurdle<D>(pub D);

/// The family within, and z.
#[derive(Clone, Copy, Debug)]
pub struct ZeroInflatedAt<A> {
    base: A,
    logit: f64,
}

/// The same of a hurdle model.
#[derive(Clone, Copy, Debug)]
pub struct HurdleAt<A> {
    base: A,
    logit: f64,
}

/// log(1 + exp x).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// log of a number between 0 and 1 that is p / (1 - p) odds, kept off its ends.
fn logit(p: f64) -> f64 {
    let p = p.clamp(0.02, 0.95);
    (p / (1.0 - p)).ln()
}

fn share_of_zeros(seen: &Responses) -> f64 {
    seen.y.iter().filter(|y| **y == 0.0).count() as f64 / seen.y.len() as f64
}

/// A density that is the family's but for its last parameter, which starts at a share of the zeros seen.
macro_rules! density_with_zeros {
    ($kind:ident, $at:ident, $share:expr, $is_mixed:expr) => {
        impl<D: Density> Density for $kind<D> {
            type At = $at<D::At>;
            const MIXED: bool = $is_mixed;
            const TAKES_THE_REST: bool = true;

            fn n_extra(self) -> usize {
                self.0.n_extra() + 1
            }

            fn n_even(self) -> usize {
                self.0.n_even()
            }

            fn admits(self, y: f64, trials: f64) -> bool {
                self.0.admits(y, trials)
            }

            fn saturated(self, y: f64, trials: f64) -> f64 {
                self.0.saturated(y, trials)
            }

            fn start_eta(self, y: f64, trials: f64) -> f64 {
                self.0.start_eta(y, trials)
            }

            fn start_phi(self, seen: &Responses, spread: f64) -> Vec<f64> {
                let mut out = self.0.start_phi(seen, spread);
                out.push(logit($share * share_of_zeros(seen)));
                out
            }

            fn other_guesses(self, seen: &Responses) -> Vec<(Vec<f64>, Vec<f64>)> {
                if $is_mixed { all_or_none(self.0, seen) } else { vec![] }
            }

            fn at(self, phi: &[f64]) -> $at<D::At> {
                let (logit, base) = phi.split_last().expect("has the chance of a zero");
                $at { base: self.0.at(base), logit: *logit }
            }
        }
    };
}

density_with_zeros!(ZeroInflated, ZeroInflatedAt, 0.5, true);
density_with_zeros!(Hurdle, HurdleAt, 1.0, false);

/// All zeros are in excess, or none is.
fn all_or_none<D: Density>(family: D, seen: &Responses) -> Vec<(Vec<f64>, Vec<f64>)> {
    let eta = family.start(seen);
    let positive = || eta.iter().zip(&seen.y).filter(|(_, y)| **y > 0.0).map(|(eta, _)| *eta);
    let mean = positive().sum::<f64>() / positive().count().max(1) as f64;
    let raised = eta.iter().zip(&seen.y).map(|(eta, y)| if *y > 0.0 { *eta } else { mean }).collect();
    let phi = |z: f64| {
        let mut phi = family.start_phi(seen, 0.0);
        phi.push(z);
        phi
    };
    vec![(raised, phi(logit(share_of_zeros(seen)))), (eta, phi(NONE))]
}

/// A function of b, as its value and slopes in b: with those of b in eta it is one of eta.
struct Outer {
    value: f64,
    first: f64,
    /// Of the second, and of the third: what the function is b'^2 and b'^3 times of, where those are products that would
    /// overflow or vanish apart.
    second: f64,
    third: f64,
}

impl Outer {
    fn row(&self, b: &Row) -> Row {
        Row {
            l: self.value,
            d1: self.first * b.d1,
            d2: self.second * b.d1 * b.d1 + self.first * b.d2,
            d3: self.third * b.d1.powi(3) + 3.0 * self.second * b.d1 * b.d2 + self.first * b.d3,
        }
    }

    /// What a parameter of b with the slopes `g` in l, l' and l'' gives, at b.
    fn slopes(&self, b: &Row, g: [f64; 3]) -> [f64; 3] {
        [
            self.first * g[0],
            self.second * g[0] * b.d1 + self.first * g[1],
            self.third * g[0] * b.d1 * b.d1 + self.second * (2.0 * b.d1 * g[1] + g[0] * b.d2) + self.first * g[2],
        ]
    }
}

/// What the family within says of its parameters in a row.
#[derive(Default)]
struct Within {
    first: [[f64; 3]; MOST],
    second: [[f64; MOST]; MOST],
    n: usize,
}

impl Within {
    fn of(at: &impl AtPhi, y: f64, trials: f64, eta: f64) -> Within {
        let mut out = Within::default();
        at.extra(y, trials, eta, &mut out);
        out
    }
}

impl Sink for Within {
    fn first(&mut self, j: usize, l: f64, d1: f64, d2: f64) {
        self.first[j] = [l, d1, d2];
        self.n = self.n.max(j + 1);
    }

    fn second(&mut self, i: usize, j: usize, ll: f64) {
        (self.second[i][j], self.second[j][i]) = (ll, ll);
    }
}

impl<A: AtPhi> ZeroInflatedAt<A> {
    /// Of a zero: log(exp z + exp b) - log(1 + exp z), a function of b.
    fn zero(&self, b: f64) -> Outer {
        let [mixed, _] = shares(b - self.logit);
        let second = mixed * (1.0 - mixed);
        let value = self.logit + softplus(b - self.logit) - softplus(self.logit);
        Outer { value, first: mixed, second, third: second * (1.0 - 2.0 * mixed) }
    }
}

impl<A: AtPhi> AtPhi for ZeroInflatedAt<A> {
    fn row(&self, y: f64, trials: f64, eta: f64) -> Row {
        let base = self.base.row(y, trials, eta);
        if y > 0.0 { Row { l: base.l - softplus(self.logit), ..base } } else { self.zero(base.l).row(&base) }
    }

    fn extra(&self, y: f64, trials: f64, eta: f64, out: &mut dyn Sink) {
        let [p, c] = shares(self.logit);
        let within = Within::of(&self.base, y, trials, eta);
        let z = within.n;
        if y > 0.0 {
            self.base.extra(y, trials, eta, out);
            out.first(z, -p, 0.0, 0.0);
            out.second(z, z, -p * c);
            return;
        }
        let base = self.base.row(y, trials, eta);
        let outer = self.zero(base.l);
        for j in 0..z {
            let [l, d1, d2] = outer.slopes(&base, within.first[j]);
            out.first(j, l, d1, d2);
            for i in 0..=j {
                let both = within.first[i][0] * within.first[j][0];
                out.second(i, j, outer.second * both + outer.first * within.second[i][j]);
            }
            out.second(j, z, -outer.second * within.first[j][0]);
        }
        let d2 = -outer.third * base.d1 * base.d1 - outer.second * base.d2;
        out.first(z, c - outer.first, -outer.second * base.d1, d2);
        out.second(z, z, outer.second - p * c);
    }
}

/// -log(1 - exp b) and three derivatives in eta, b below 0 with slopes that vanish with it.
fn given_positive(b: &Row) -> Row {
    let q = 1.0 / (-b.l).exp_m1();
    let [one, two, three] = [q * b.d1, q * b.d2, q * b.d3];
    let l = if b.l > -1e-2 { -(-b.l.exp_m1()).ln() } else { -(-b.l.exp()).ln_1p() };
    Row {
        l,
        d1: one,
        d2: one * one + one * b.d1 + two,
        d3: one * b.d1 * b.d1 + 3.0 * one * one * b.d1 + 2.0 * one * one * one + 3.0 * one * (b.d2 + two) + three,
    }
}

impl<A: AtPhi> AtPhi for HurdleAt<A> {
    fn row(&self, y: f64, trials: f64, eta: f64) -> Row {
        if y == 0.0 {
            return Row { l: -softplus(-self.logit), ..Row::default() };
        }
        let (base, rest) = (self.base.row(y, trials, eta), given_positive(&self.base.row(0.0, trials, eta)));
        Row {
            l: base.l + rest.l - softplus(self.logit),
            d1: base.d1 + rest.d1,
            d2: base.d2 + rest.d2,
            d3: base.d3 + rest.d3,
        }
    }

    fn extra(&self, y: f64, trials: f64, eta: f64, out: &mut dyn Sink) {
        let [p, c] = shares(self.logit);
        let within = Within::of(&self.base, y, trials, eta);
        let z = within.n;
        if y == 0.0 {
            (0..z).for_each(|j| out.first(j, 0.0, 0.0, 0.0));
            out.first(z, c, 0.0, 0.0);
        } else {
            let (b, none) = (self.base.row(0.0, trials, eta), Within::of(&self.base, 0.0, trials, eta));
            let q = 1.0 / (-b.l).exp_m1();
            let second = q * (1.0 + q);
            let outer = Outer { value: 0.0, first: q, second, third: second * (1.0 + 2.0 * q) };
            for j in 0..z {
                let (own, rest) = (within.first[j], outer.slopes(&b, none.first[j]));
                out.first(j, own[0] + rest[0], own[1] + rest[1], own[2] + rest[2]);
                for i in 0..=j {
                    let both = none.first[i][0] * none.first[j][0];
                    let rest = second * both + q * none.second[i][j];
                    out.second(i, j, within.second[i][j] + rest);
                }
            }
            out.first(z, -p, 0.0, 0.0);
        }
        out.second(z, z, -p * c);
    }
}
