//! What densities of counts have in common: deviances that keep their digits, and products that tend to powers.

use crate::special::{digamma, trigamma};
use libm::lgamma;

/// A product alpha mu below which series stand for differences of logarithms.
const NEARLY_POISSON: f64 = 1e-4;

/// a log b, zero where a is.
pub fn log_term(a: f64, b: f64) -> f64 {
    if a > 0.0 { a * b.ln() } else { 0.0 }
}

/// y log(y / mu) - (y - mu), without cancellation where y is near mu (Loader 2000).
pub fn half_deviance(y: f64, mu: f64) -> f64 {
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

/// sum_{j < y} log(1 + a j), which is log of Gamma(y + 1/a) a^y / Gamma(1/a), and its two derivatives in a.
pub fn rising(y: f64, a: f64) -> [f64; 3] {
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
pub fn log_share(mu: f64, a: f64) -> [f64; 3] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_rising_factorials_agree() {
        for a in [0.01, 0.3, 5.0] {
            let (y, size) = (150.0, 1.0 / a);
            let sums = rising(y, a);
            let closed = lgamma(y + size) - lgamma(size) + y * f64::ln(a);
            assert!((sums[0] - closed).abs() < 1e-9 * closed.abs());
            let (many, step) = (rising(300.0, a), 1e-5 * a);
            let near = |got: f64, up: f64, down: f64| {
                let expected = (up - down) / (2.0 * step);
                (got - expected).abs() < 1e-6 * (1.0 + expected.abs())
            };
            assert!(near(many[1], rising(300.0, a + step)[0], rising(300.0, a - step)[0]));
            assert!(near(many[2], rising(300.0, a + step)[1], rising(300.0, a - step)[1]));
        }
    }
}
