//! Ordered categories 0, ..., K - 1: P(y <= k) = F(tau_k - eta) (McCullagh 1980).
//!
//! tau_0 = 0, which the intercept moves, and phi are the other thresholds, in order: with two categories there is no phi.
//! Where they are out of order l is no number, so that a step which crosses them is refused. l is concave in eta and phi
//! together for all three links (Burridge 1981; Pratt 1981).

use crate::family::Responses;
use crate::family::density::{AtPhi, Density, Row, Sink};
use crate::family::links::{Link, log_slope, quantile, tails};

#[derive(Clone, Copy, Debug)]
pub struct Ordinal {
    pub link: Link,
    pub n_categories: usize,
}

#[derive(Clone, Debug)]
pub struct OrdinalAt {
    link: Link,
    /// All, the one at zero included.
    thresholds: Vec<f64>,
}

/// Derivatives of a row in the thresholds above (a) and below (b) it, and in eta; `row` has those in eta alone.
struct Ends {
    row: Row,
    /// Of l, l' and l'' in each.
    above: [f64; 3],
    below: [f64; 3],
    /// Of l twice: in a, in both, in b.
    twice: [f64; 3],
}

impl Density for Ordinal {
    type At = OrdinalAt;

    fn n_extra(self) -> usize {
        self.n_categories.saturating_sub(2)
    }

    fn admits(self, y: f64, _: f64) -> bool {
        y >= 0.0 && y < self.n_categories as f64 && y.fract() == 0.0
    }

    fn start_eta(self, _: f64, _: f64) -> f64 {
        0.0
    }

    fn start(self, seen: &Responses) -> Vec<f64> {
        vec![-self.cut(seen, 0); seen.y.len()]
    }

    fn start_phi(self, seen: &Responses, _: f64) -> Vec<f64> {
        let first = self.cut(seen, 0);
        (1..self.n_categories - 1).map(|k| self.cut(seen, k) - first).collect()
    }

    fn at(self, phi: &[f64]) -> OrdinalAt {
        OrdinalAt { link: self.link, thresholds: [&[0.0], phi].concat() }
    }
}

impl Ordinal {
    /// The threshold above k of all rows together.
    fn cut(self, seen: &Responses, k: usize) -> f64 {
        let (mut below, mut all) = (0.0, 0.0);
        for (i, y) in seen.y.iter().enumerate() {
            let w = seen.weight(i);
            all += w;
            below += if *y <= k as f64 { w } else { 0.0 };
        }
        quantile(self.link, below / all)
    }
}

impl OrdinalAt {
    /// Thresholds above and below a category less eta; None at the ends.
    fn ends(&self, y: f64, eta: f64) -> (usize, Option<f64>, Option<f64>) {
        let k = y as usize;
        let at = |j: usize| self.thresholds.get(j).map(|t| t - eta);
        (k, at(k), k.checked_sub(1).and_then(at))
    }

    fn is_ordered(&self) -> bool {
        self.thresholds.windows(2).all(|t| t[0] < t[1])
    }

    fn of(&self, a: Option<f64>, b: Option<f64>) -> Ends {
        match (a, b) {
            (Some(a), None) => first(tails(self.link, a)[0]),
            (None, Some(b)) => last(tails(self.link, b)[1]),
            (Some(a), Some(b)) if self.link == Link::Logit => logistic(a, b),
            (Some(a), Some(b)) => between(self.link, a, b),
            (None, None) => Ends { row: Row::default(), above: [0.0; 3], below: [0.0; 3], twice: [0.0; 3] },
        }
    }
}

/// The first category: log F(a).
fn first(f: [f64; 4]) -> Ends {
    let row = Row { l: f[0], d1: -f[1], d2: f[2], d3: -f[3] };
    Ends { row, above: [f[1], -f[2], f[3]], below: [0.0; 3], twice: [f[2], 0.0, 0.0] }
}

/// The last: log (1 - F(b)).
fn last(c: [f64; 4]) -> Ends {
    let row = Row { l: c[0], d1: -c[1], d2: c[2], d3: -c[3] };
    Ends { row, above: [0.0; 3], below: [c[1], -c[2], c[3]], twice: [0.0, 0.0, c[2]] }
}

/// log (F(a) - F(b)) of the logistic distribution, which is log F(a) + log (1 - F(b)) + log (1 - exp(b - a)).
fn logistic(a: f64, b: f64) -> Ends {
    let (f, c, gap) = (tails(Link::Logit, a)[0], tails(Link::Logit, b)[1], a - b);
    let row = Row { l: f[0] + c[0] + (-(-gap).exp_m1()).ln(), d1: -f[1] - c[1], d2: f[2] + c[2], d3: -f[3] - c[3] };
    // slope and curvature of the last part in a: 1 / (exp(gap) - 1), and less its square and itself
    let slope = 1.0 / gap.exp_m1();
    let curve = slope + slope * slope;
    let above = [f[1] + slope, -f[2], f[3]];
    Ends { row, above, below: [c[1] - slope, -c[2], c[3]], twice: [f[2] - curve, curve, c[2] - curve] }
}

/// log (F(a) - F(b)) of any distribution.
fn between(link: Link, a: f64, b: f64) -> Ends {
    let ([fa, ca], [fb, cb]) = (tails(link, a), tails(link, b));
    // l and F' over the difference, from the smaller tails: the other end's is a share of the nearer one's
    let lower = fa[0] < ca[0];
    let (log, share, here, there) = if lower {
        (fa[0], (fb[0] - fa[0]).exp_m1(), fa[1], fb[1])
    } else {
        (cb[0], (ca[0] - cb[0]).exp_m1(), -cb[1], -ca[1])
    };
    let (l, near, far) = (log + (-share).ln(), here / -share, there * (1.0 + share) / -share);
    let (at_a, at_b) = if lower { (near, far) } else { (far, near) };
    // F', F'' and F''' over the difference
    let over = |one: f64, x: f64| {
        let [slope, curve] = log_slope(link, x);
        [one, one * slope, one * (slope * slope + curve)]
    };
    let (p, q) = (over(at_a, a), over(at_b, b));
    let (e1, e2, e3) = (q[0] - p[0], p[1] - q[1], q[2] - p[2]);
    let row = Row { l, d1: e1, d2: e2 - e1 * e1, d3: e3 - 3.0 * e1 * e2 + 2.0 * e1 * e1 * e1 };
    let (a1, b1) = (-p[1] - e1 * p[0], q[1] + e1 * q[0]);
    Ends {
        row,
        above: [p[0], a1, p[2] - e2 * p[0] - 2.0 * e1 * a1],
        below: [-q[0], b1, -q[2] + e2 * q[0] - 2.0 * e1 * b1],
        twice: [p[1] - p[0] * p[0], p[0] * q[0], -q[1] - q[0] * q[0]],
    }
}

impl AtPhi for OrdinalAt {
    fn row(&self, y: f64, _: f64, eta: f64) -> Row {
        if !self.is_ordered() {
            return Row { l: f64::NAN, ..Row::default() };
        }
        let (_, a, b) = self.ends(y, eta);
        self.of(a, b).row
    }

    fn extra(&self, y: f64, _: f64, eta: f64, out: &mut dyn Sink) {
        let (k, a, b) = self.ends(y, eta);
        let ends = self.of(a, b);
        // phi_j is the threshold above the category j + 1
        let above = a.and(k.checked_sub(1));
        let below = b.and(k.checked_sub(2));
        if let Some(j) = above {
            out.first(j, ends.above[0], ends.above[1], ends.above[2]);
            out.second(j, j, ends.twice[0]);
        }
        if let Some(j) = below {
            out.first(j, ends.below[0], ends.below[1], ends.below[2]);
            out.second(j, j, ends.twice[2]);
            if above.is_some() {
                out.second(j, j + 1, ends.twice[1]);
            }
        }
    }
}
