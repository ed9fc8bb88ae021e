//! Families: the log density l of a row and its derivatives in eta and in the extra parameters phi.
//!
//! Each is formed where it keeps its digits: tails from log F and log (1 - F), never 1 - p; counts as unit deviances
//! (Loader 2000), whose saturated part is added once, so that a mean of 1e8 costs nothing.

use crate::memory::zeros;
use crate::special::{digamma, log_normal, tetragamma, trigamma};
use libm::lgamma;

/// Trials above which a binomial row is formed as a deviance.
const FEW_TRIALS: f64 = 20.0;
/// Largest exponent that is taken.
const LARGEST: f64 = 700.0;
/// A product alpha mu below which series stand for differences of logarithms.
const NEARLY_POISSON: f64 = 1e-4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Logit,
    Probit,
    Cloglog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `trials` a row, any link.
    Binomial(Link),
    /// Log link.
    Poisson,
    /// Log link, shape nu = exp(phi): Var = mu^2 / nu.
    Gamma,
    /// Log link, Var = mu + alpha mu^2 with alpha = phi^2: even in phi, and zero is an ordinary point.
    NegativeBinomial,
    /// Logit link, precision nu = exp(phi): Beta(mu nu, (1 - mu) nu).
    Beta,
}

/// l and its derivatives in eta.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub l: f64,
    pub d1: f64,
    pub d2: f64,
    pub d3: f64,
}

/// Derivatives of l, l' and l'' in phi, and the second one of l.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtraRow {
    pub l: f64,
    pub d1: f64,
    pub d2: f64,
    pub ll: f64,
}

/// The family at one phi.
#[derive(Clone, Copy, Debug)]
pub struct At {
    family: Family,
    phi: f64,
    /// exp(phi), or phi^2 of the negative binomial.
    scale: f64,
    /// What every row has, and its slope and curvature in phi.
    constant: [f64; 3],
}

impl Family {
    /// How many parameters it has beside the mean.
    pub fn n_extra(self) -> usize {
        match self {
            Family::Binomial(_) | Family::Poisson => 0,
            Family::Gamma | Family::NegativeBinomial | Family::Beta => 1,
        }
    }

    pub fn at(self, phi: &[f64]) -> At {
        let phi = phi.first().copied().unwrap_or(0.0);
        let (scale, constant) = match self {
            Family::NegativeBinomial => (phi * phi, [0.0; 3]),
            Family::Gamma | Family::Beta => {
                let nu = phi.exp();
                let constant = match self {
                    Family::Gamma => {
                        [nu * phi - lgamma(nu), nu * (phi + 1.0 - digamma(nu)), nu * (1.0 - nu * trigamma(nu))]
                    }
                    _ => [lgamma(nu), digamma(nu), trigamma(nu)],
                };
                (nu, constant)
            }
            _ => (1.0, [0.0; 3]),
        };
        At { family: self, phi, scale, constant }
    }

    /// What `Row::l` leaves out of the log density.
    pub fn saturated(self, y: f64, trials: f64) -> f64 {
        match self {
            Family::Binomial(_) => lgamma(trials + 1.0) - lgamma(y + 1.0) - lgamma(trials - y + 1.0) + share(y, trials),
            Family::Poisson => log_term(y, y) - y - lgamma(y + 1.0),
            Family::NegativeBinomial => -lgamma(y + 1.0),
            Family::Gamma | Family::Beta => 0.0,
        }
    }

    /// A first guess of eta.
    pub fn start_eta(self, y: f64, trials: f64) -> f64 {
        match self {
            Family::Binomial(link) => {
                let p = (y + 0.5) / (trials + 1.0);
                match link {
                    Link::Logit => (p / (1.0 - p)).ln(),
                    Link::Probit => (p - 0.5) * 2.5,
                    Link::Cloglog => (-(-p).ln_1p()).ln(),
                }
            }
            Family::Poisson | Family::NegativeBinomial => (y + 0.1).ln(),
            Family::Gamma => y.ln(),
            Family::Beta => y.ln() - (-y).ln_1p(),
        }
    }

    /// A first guess of phi, given the variance of `start_eta` about the fixed effects.
    pub fn start_phi(self, spread: f64) -> Vec<f64> {
        match self {
            Family::Binomial(_) | Family::Poisson => vec![],
            Family::Gamma => vec![-spread.max(1e-3).ln()],
            Family::NegativeBinomial => vec![0.5],
            Family::Beta => vec![1.0],
        }
    }
}

/// a log b, zero where a is.
fn log_term(a: f64, b: f64) -> f64 {
    if a > 0.0 { a * b.ln() } else { 0.0 }
}

/// Log density of the share y / m at its own mean, but for the binomial coefficient.
fn share(y: f64, m: f64) -> f64 {
    log_term(y, y / m) + log_term(m - y, (m - y) / m)
}

/// y log(y / mu) - (y - mu), without cancellation where y is near mu.
fn half_deviance(y: f64, mu: f64) -> f64 {
    let v = (y - mu) / (y + mu);
    if v.abs() >= 0.1 {
        return log_term(y, y / mu) - (y - mu);
    }
    let (mut sum, mut term) = ((y - mu) * v, 2.0 * y * v);
    for j in 1..12 {
        term *= v * v;
        sum += term / (2 * j + 1) as f64;
    }
    sum
}

/// log F and log (1 - F), each with three derivatives in eta.
fn tails(link: Link, eta: f64) -> [[f64; 4]; 2] {
    match link {
        Link::Logit => {
            let e = (-eta.abs()).exp();
            let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
            let (p, c) = if eta > 0.0 { (large, small) } else { (small, large) };
            let log = e.ln_1p();
            let (w, skew) = (-p * c, -p * c * (c - p));
            [[eta.min(0.0) - log, c, w, skew], [-eta.max(0.0) - log, -p, w, skew]]
        }
        Link::Probit => {
            let (f, c) = (log_normal(eta), log_normal(-eta));
            [[f[0], f[1], f[2], f[3]], [c[0], -c[1], c[2], -c[3]]]
        }
        Link::Cloglog => {
            let e = eta.min(LARGEST).exp();
            let (q, log) =
                if e < 1e-8 { (1.0 - e / 2.0, eta - e / 2.0) } else { (e / e.exp_m1(), (-(-e).exp_m1()).ln()) };
            let q1 = q * (1.0 - e - q);
            [[log, q, q1, q1 * (1.0 - e - q) - q * (e + q1)], [-e; 4]]
        }
    }
}

impl At {
    /// One row.
    #[inline]
    pub fn row(&self, y: f64, trials: f64, eta: f64) -> Row {
        match self.family {
            Family::Binomial(link) => binomial(link, y, trials, eta),
            Family::Poisson => {
                let mu = eta.min(LARGEST).exp();
                Row { l: -half_deviance(y, mu), d1: y - mu, d2: -mu, d3: -mu }
            }
            Family::Gamma => {
                let nu = self.scale;
                let e = y * (-eta).exp();
                let log_y = y.ln();
                Row {
                    l: self.constant[0] - log_y + nu * (log_y - eta - e),
                    d1: nu * (e - 1.0),
                    d2: -nu * e,
                    d3: nu * e,
                }
            }
            Family::NegativeBinomial => {
                let (a, mu) = (self.scale, eta.min(LARGEST).exp());
                let am = a * mu;
                let d2 = -mu * (1.0 + a * y) / ((1.0 + am) * (1.0 + am));
                Row {
                    l: rising(y, a)[0] + y * eta - y * am.ln_1p() - log_share(mu, a)[0],
                    d1: (y - mu) / (1.0 + am),
                    d2,
                    d3: d2 * (1.0 - am) / (1.0 + am),
                }
            }
            Family::Beta => self.beta(y, eta).0,
        }
    }

    /// Derivatives of one row in phi.
    pub fn extra(&self, y: f64, eta: f64) -> ExtraRow {
        match self.family {
            Family::Binomial(_) | Family::Poisson => ExtraRow::default(),
            Family::Gamma => {
                let nu = self.scale;
                let e = y * (-eta).exp();
                let l = self.constant[1] + nu * (y.ln() - eta - e);
                ExtraRow { l, d1: nu * (e - 1.0), d2: -nu * e, ll: l + self.constant[2] }
            }
            Family::NegativeBinomial => {
                let (a, mu, r) = (self.scale, eta.min(LARGEST).exp(), self.phi);
                let one = 1.0 + a * mu;
                let (sums, share) = (rising(y, a), log_share(mu, a));
                let l = sums[1] - y * mu / one - share[1];
                let ll = sums[2] + y * mu * mu / (one * one) - share[2];
                ExtraRow {
                    l: 2.0 * r * l,
                    d1: -2.0 * r * (y - mu) * mu / (one * one),
                    d2: 2.0 * r * (2.0 * mu * mu * (1.0 + a * y) / one - mu * y) / (one * one),
                    ll: 4.0 * r * r * ll + 2.0 * l,
                }
            }
            Family::Beta => self.beta(y, eta).1,
        }
    }

    fn beta(&self, y: f64, eta: f64) -> (Row, ExtraRow) {
        let nu = self.scale;
        let e = (-eta.abs()).exp();
        let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
        let (m, c) = if eta > 0.0 { (large, small) } else { (small, large) };
        let (a, b) = (m * nu, c * nu);
        let (f1, f2, f3) = (m * c, m * c * (c - m), m * c * (1.0 - 6.0 * m * c));
        let (log_y, log_c) = (y.ln(), (-y).ln_1p());
        let (psi_a, psi_b, tri_a, tri_b) = (digamma(a), digamma(b), trigamma(a), trigamma(b));
        let (tetra_a, tetra_b) = (tetragamma(a), tetragamma(b));
        let l = self.constant[0] - lgamma(a) - lgamma(b) + (a - 1.0) * log_y + (b - 1.0) * log_c;
        let lm = nu * (log_y - log_c - psi_a + psi_b);
        let (lmm, lmmm) = (-nu * nu * (tri_a + tri_b), -nu.powi(3) * (tetra_a - tetra_b));
        let row =
            Row { l, d1: lm * f1, d2: lmm * f1 * f1 + lm * f2, d3: lmmm * f1.powi(3) + 3.0 * lmm * f1 * f2 + lm * f3 };
        let l_p = nu * (self.constant[1] - m * psi_a - c * psi_b + m * log_y + c * log_c);
        let lm_p = lm + nu * nu * (c * tri_b - m * tri_a);
        let lmm_p = 2.0 * lmm - nu.powi(3) * (m * tetra_a + c * tetra_b);
        let extra = ExtraRow {
            l: l_p,
            d1: lm_p * f1,
            d2: lmm_p * f1 * f1 + lm_p * f2,
            ll: l_p + nu * nu * (self.constant[2] - m * m * tri_a - c * c * tri_b),
        };
        (row, extra)
    }
}

fn binomial(link: Link, y: f64, m: f64, eta: f64) -> Row {
    let [f, c] = tails(link, eta);
    let (a, b) = (y, m - y);
    let sum = |j: usize| {
        let one = |n: f64, v: f64| if n > 0.0 { n * v } else { 0.0 };
        one(a, f[j]) + one(b, c[j])
    };
    let l = if m > FEW_TRIALS {
        -half_deviance(a, m * f[0].exp()) - half_deviance(b, m * c[0].exp())
    } else {
        sum(0) - share(y, m)
    };
    Row { l, d1: sum(1), d2: sum(2), d3: sum(3) }
}

/// sum_{j < y} log(1 + a j), which is log of Gamma(y + 1/a) a^y / Gamma(1/a), and its two derivatives in a.
fn rising(y: f64, a: f64) -> [f64; 3] {
    const FEW: f64 = 200.0;
    if y > FEW && a * y < 1e-3 {
        // sums of the first powers of 0, ..., y - 1
        let s1 = y * (y - 1.0) / 2.0;
        let (s2, s3) = (s1 * (2.0 * y - 1.0) / 3.0, s1 * s1);
        let s4 = s2 * (3.0 * y * y - 3.0 * y - 1.0) / 5.0;
        return [
            a * (s1 - a * (s2 / 2.0 - a * (s3 / 3.0 - a * s4 / 4.0))),
            s1 - a * (s2 - a * (s3 - a * s4)),
            -s2 + a * (2.0 * s3 - 3.0 * a * s4),
        ];
    }
    if y <= FEW {
        let mut out = [0.0; 3];
        let mut j = 0.0;
        while j < y {
            let r = j / (1.0 + a * j);
            out[0] += (a * j).ln_1p();
            out[1] += r;
            out[2] -= r * r;
            j += 1.0;
        }
        return out;
    }
    let size = 1.0 / a;
    let (psi, tri) = (digamma(y + size) - digamma(size), trigamma(y + size) - trigamma(size));
    let first = y / a - psi * size * size;
    let second = -y / (a * a) + 2.0 * psi * size.powi(3) + tri * size.powi(4);
    [lgamma(y + size) - lgamma(size) + y * a.ln(), first, second]
}

/// log(1 + a mu) / a and its two derivatives in a.
fn log_share(mu: f64, a: f64) -> [f64; 3] {
    let am = a * mu;
    if am < NEARLY_POISSON {
        return [
            mu * (1.0 - am / 2.0 + am * am / 3.0),
            mu * mu * (-0.5 + 2.0 * am / 3.0 - 0.75 * am * am),
            mu.powi(3) * (2.0 / 3.0 - 1.5 * am),
        ];
    }
    let (log, one) = (am.ln_1p(), 1.0 + am);
    let first = (am / one - log) / (a * a);
    [log / a, first, (-mu * mu / (one * one) - 2.0 * first) / a]
}

/// Rows of a family, by columns.
#[derive(Clone, Default)]
pub struct Rows {
    pub l: f64,
    pub d1: Vec<f64>,
    pub d2: Vec<f64>,
    pub d3: Vec<f64>,
}

/// The derivatives in phi, n values each, and sums of those of l.
#[derive(Clone, Default)]
pub struct ExtraRows {
    pub l: Vec<f64>,
    pub d1: Vec<f64>,
    pub d2: Vec<f64>,
    /// n_extra x n_extra.
    pub ll: Vec<f64>,
}

/// What the rows were observed to be.
pub struct Responses {
    pub y: Vec<f64>,
    /// One where the family has none.
    pub trials: Vec<f64>,
    /// Multiply the log density.
    pub weights: Option<Vec<f64>>,
    pub offset: Vec<f64>,
    pub saturated: f64,
}

impl Responses {
    pub fn new(
        family: Family,
        y: Vec<f64>,
        trials: Vec<f64>,
        weights: Option<Vec<f64>>,
        offset: Vec<f64>,
    ) -> Responses {
        let weight = |i: usize| weights.as_ref().map_or(1.0, |w| w[i]);
        let saturated = (0..y.len()).map(|i| weight(i) * family.saturated(y[i], trials[i])).sum();
        Responses { y, trials, weights, offset, saturated }
    }

    /// What multiplies the log density of a row.
    #[inline]
    pub fn weight(&self, i: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[i])
    }

    /// All rows at eta; None where the density is not defined.
    pub fn rows(&self, family: Family, eta: &[f64], phi: &[f64]) -> Option<Rows> {
        let at = family.at(phi);
        let n = self.y.len();
        let mut out = Rows { l: 0.0, d1: zeros(n), d2: zeros(n), d3: zeros(n) };
        for i in 0..n {
            let row = at.row(self.y[i], self.trials[i], eta[i]);
            let w = self.weights.as_ref().map_or(1.0, |w| w[i]);
            out.l += w * row.l;
            (out.d1[i], out.d2[i], out.d3[i]) = (w * row.d1, w * row.d2, w * row.d3);
        }
        out.l.is_finite().then_some(out)
    }

    pub fn extra(&self, family: Family, eta: &[f64], phi: &[f64]) -> ExtraRows {
        let m = family.n_extra();
        if m == 0 {
            return ExtraRows::default();
        }
        let at = family.at(phi);
        let n = self.y.len();
        let mut out = ExtraRows { l: vec![0.0], d1: zeros(n), d2: zeros(n), ll: vec![0.0] };
        for i in 0..n {
            let row = at.extra(self.y[i], eta[i]);
            let w = self.weights.as_ref().map_or(1.0, |w| w[i]);
            out.l[0] += w * row.l;
            out.ll[0] += w * row.ll;
            (out.d1[i], out.d2[i]) = (w * row.d1, w * row.d2);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family; 7] = [
        Family::Binomial(Link::Logit),
        Family::Binomial(Link::Probit),
        Family::Binomial(Link::Cloglog),
        Family::Poisson,
        Family::Gamma,
        Family::NegativeBinomial,
        Family::Beta,
    ];

    fn example(family: Family) -> (f64, f64) {
        match family {
            Family::Binomial(_) => (2.0, 5.0),
            Family::Beta => (0.3, 1.0),
            _ => (3.0, 1.0),
        }
    }

    fn differs(got: f64, up: f64, down: f64, h: f64) -> bool {
        let expected = (up - down) / (2.0 * h);
        (got - expected).abs() > 1e-6 * (1.0 + expected.abs())
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        let h = 1e-5;
        for family in FAMILIES {
            let (y, m) = example(family);
            for eta in [-8.0, -2.5, -0.3, 0.0, 0.7, 2.2] {
                let at = family.at(&[0.4]);
                let (row, extra) = (at.row(y, m, eta), at.extra(y, eta));
                let (up, down) = (at.row(y, m, eta + h), at.row(y, m, eta - h));
                assert!(!differs(row.d1, up.l, down.l, h), "{family:?} {eta} first");
                assert!(!differs(row.d2, up.d1, down.d1, h), "{family:?} {eta} second");
                assert!(!differs(row.d3, up.d2, down.d2, h), "{family:?} {eta} third");
                if family.n_extra() == 1 {
                    let (high, low) = (family.at(&[0.4 + h]), family.at(&[0.4 - h]));
                    let (up, down) = (high.row(y, m, eta), low.row(y, m, eta));
                    assert!(!differs(extra.l, up.l, down.l, h), "{family:?} {eta} phi");
                    assert!(!differs(extra.d1, up.d1, down.d1, h), "{family:?} {eta} first in phi");
                    assert!(!differs(extra.d2, up.d2, down.d2, h), "{family:?} {eta} second in phi");
                    let (up, down) = (high.extra(y, eta), low.extra(y, eta));
                    assert!(!differs(extra.ll, up.l, down.l, h), "{family:?} {eta} phi twice");
                }
            }
        }
    }

    #[test]
    fn both_forms_of_rising_factorials_agree() {
        for a in [0.01, 0.3, 5.0] {
            let (y, size) = (150.0, 1.0 / a);
            let sums = rising(y, a);
            let closed = lgamma(y + size) - lgamma(size) + y * f64::ln(a);
            assert!((sums[0] - closed).abs() < 1e-9 * closed.abs());
            let (many, step) = (rising(300.0, a), 1e-5 * a);
            assert!(!differs(many[1], rising(300.0, a + step)[0], rising(300.0, a - step)[0], step));
            assert!(!differs(many[2], rising(300.0, a + step)[1], rising(300.0, a - step)[1], step));
        }
    }

    #[test]
    fn tails_keep_their_digits() {
        // mpmath: log Phi(-30) and the slope there, phi(30) / Phi(-30)
        let f = tails(Link::Probit, -30.0)[0];
        assert!((f[0] - -454.321_243_956_343_2).abs() < 1e-11 && (f[1] - 30.033_259_667_433_676).abs() < 1e-12);
        assert_eq!(tails(Link::Logit, -1000.0)[0][0], -1000.0);
        assert!((tails(Link::Cloglog, -50.0)[0][0] - -50.0).abs() < 1e-13);
        let row = Family::Poisson.at(&[]).row(1e8, 1.0, 1e8f64.ln());
        assert!(row.l.abs() < 1e-9);
    }
}
