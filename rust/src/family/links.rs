//! Distribution functions F that links to a chance are the inverses of.

use crate::family::density::LARGEST;
use crate::special::log_normal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Logit,
    Probit,
    Cloglog,
}

/// log F and log (1 - F), each with three derivatives.
pub fn tails(link: Link, eta: f64) -> [[f64; 4]; 2] {
    match link {
        Link::Logit => {
            let [p, c] = shares(eta);
            let log = (-eta.abs()).exp().ln_1p();
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

/// Two derivatives of log F'.
pub fn log_slope(link: Link, x: f64) -> [f64; 2] {
    match link {
        Link::Logit => {
            let [p, c] = shares(x);
            [c - p, -2.0 * p * c]
        }
        Link::Probit => [-x, -1.0],
        Link::Cloglog => {
            let e = x.min(LARGEST).exp();
            [1.0 - e, -e]
        }
    }
}

/// F^-1 of a chance, roughly for the probit.
pub fn quantile(link: Link, p: f64) -> f64 {
    match link {
        Link::Logit => (p / (1.0 - p)).ln(),
        Link::Probit => (p / (1.0 - p)).ln() / 1.7,
        Link::Cloglog => (-(-p).ln_1p()).ln(),
    }
}

/// 1 / (1 + exp(-x)) and 1 / (1 + exp(x)).
#[inline]
pub fn shares(x: f64) -> [f64; 2] {
    let e = (-x.abs()).exp();
    let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
    if x > 0.0 { [large, small] } else { [small, large] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_keep_their_digits() {
        // mpmath: log Phi(-30) and the slope there, phi(30) / Phi(-30)
        let f = tails(Link::Probit, -30.0)[0];
        assert!((f[0] - -454.321_243_956_343_2).abs() < 1e-11 && (f[1] - 30.033_259_667_433_676).abs() < 1e-12);
        assert_eq!(tails(Link::Logit, -1000.0)[0][0], -1000.0);
        assert!((tails(Link::Cloglog, -50.0)[0][0] - -50.0).abs() < 1e-13);
    }

    #[test]
    fn slopes_are_those_of_both_tails() {
        for link in [Link::Logit, Link::Probit, Link::Cloglog] {
            for x in [-3.0, -0.2, 0.0, 1.3] {
                let ([below, above], slope) = (tails(link, x), log_slope(link, x));
                // (log F')' = r + r' / r with r = (log F)'
                assert!((below[1] + below[2] / below[1] - slope[0]).abs() < 1e-11, "{link:?}");
                assert!((above[0].exp() + below[0].exp() - 1.0).abs() < 1e-14, "{link:?}");
            }
        }
    }
}
