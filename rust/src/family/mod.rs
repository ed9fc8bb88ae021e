//! Families: the log density l of a row and its derivatives in eta and in the extra parameters phi.
//!
//! Each is formed where it keeps its digits: tails from log F and log (1 - F), never 1 - p; counts as unit deviances
//! (Loader 2000), whose saturated part is added once, so that a mean of 1e8 costs nothing. A family is a file here and a
//! line in `families!` and `named`.

mod beta;
mod binomial;
mod counts;
mod density;
mod gamma;
mod links;
mod located;
mod ordinal;
mod overdispersed;
mod poisson;
mod zeros;

use crate::memory::zeros;
use beta::Beta;
use binomial::Binomial;
use density::{AtPhi, Density};
use gamma::Gamma;
use links::Link;
use ordinal::Ordinal;
use overdispersed::{BetaBinomial, NegativeBinomial1};
use poisson::{NegativeBinomial, Poisson};
use zeros::{Hurdle, ZeroInflated};

pub use density::{Row, Scores, Sink};
pub use located::{Covariates, Located, MAX_PARAMETERS};

/// Of an ordinal response; others are none.
const MAX_CATEGORIES: usize = 1000;

macro_rules! families {
    ($($name:ident),*) => {
        /// A closed set, so that what is done by rows is compiled for each.
        #[derive(Clone, Copy, Debug)]
        pub enum Family {
            $($name($name)),*
        }

        /// A family at one phi.
        pub enum At {
            $($name(<$name as Density>::At)),*
        }

        impl Family {
            /// How many parameters it has beside the mean.
            pub fn n_extra(self) -> usize {
                match self { $(Family::$name(one) => one.n_extra()),* }
            }

            /// How many of phi, from the first on, l depends on the squares of alone.
            pub fn n_even(self) -> usize {
                match self { $(Family::$name(one) => one.n_even()),* }
            }

            /// Whether zeros are of two kinds, so that l is not concave.
            pub fn is_mixed(self) -> bool {
                fn of<D: Density>(_: D) -> bool {
                    D::MIXED
                }
                match self { $(Family::$name(one) => of(one)),* }
            }

            /// Whether phi takes what the random effects leave over.
            pub fn takes_the_rest(self) -> bool {
                fn of<D: Density>(_: D) -> bool {
                    D::TAKES_THE_REST
                }
                match self { $(Family::$name(one) => of(one)),* }
            }

            /// Whether a response can be.
            pub fn admits(self, y: f64, trials: f64) -> bool {
                match self { $(Family::$name(one) => one.admits(y, trials)),* }
            }

            /// What `Row::l` leaves out of the log density.
            pub fn saturated(self, y: f64, trials: f64) -> f64 {
                match self { $(Family::$name(one) => one.saturated(y, trials)),* }
            }

            /// A first guess of eta.
            pub fn start(self, seen: &Responses) -> Vec<f64> {
                match self { $(Family::$name(one) => one.start(seen)),* }
            }

            /// A first guess of phi, given the variance of `start` about the fixed effects.
            pub fn start_phi(self, seen: &Responses, spread: f64) -> Vec<f64> {
                match self { $(Family::$name(one) => one.start_phi(seen, spread)),* }
            }

            /// Other guesses of eta and phi.
            pub fn other_guesses(self, seen: &Responses) -> Vec<(Vec<f64>, Vec<f64>)> {
                match self { $(Family::$name(one) => one.other_guesses(seen)),* }
            }

            pub fn at(self, phi: &[f64]) -> At {
                match self { $(Family::$name(one) => At::$name(one.at(phi))),* }
            }
        }

        impl At {
            /// One row.
            #[inline]
            pub fn row(&self, y: f64, trials: f64, eta: f64) -> Row {
                match self { $(At::$name(at) => at.row(y, trials, eta)),* }
            }

            /// Puts the derivatives of one row in phi.
            pub fn extra(&self, y: f64, trials: f64, eta: f64, out: &mut dyn Sink) {
                match self { $(At::$name(at) => at.extra(y, trials, eta, out)),* }
            }
        }
    };
}

type ZeroInflatedPoisson = ZeroInflated<Poisson>;
type ZeroInflatedNegativeBinomial = ZeroInflated<NegativeBinomial>;
type HurdlePoisson = Hurdle<Poisson>;
type HurdleNegativeBinomial = Hurdle<NegativeBinomial>;

families!(
    Beta,
    BetaBinomial,
    Binomial,
    Gamma,
    HurdleNegativeBinomial,
    HurdlePoisson,
    NegativeBinomial,
    NegativeBinomial1,
    Ordinal,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson
);

impl Family {
    /// The family of a name and its responses: how many categories there are is theirs.
    pub fn named(name: &str, y: &[f64]) -> Option<Family> {
        let n_categories = y.iter().fold(0.0, |a: f64, b| a.max(*b)) as usize;
        let n_categories = n_categories.min(MAX_CATEGORIES - 1) + 1;
        let ordinal = |link| Family::Ordinal(Ordinal { link, n_categories });
        Some(match name {
            "beta-logit" => Family::Beta(Beta),
            "betabinomial-logit" => Family::BetaBinomial(BetaBinomial),
            "binomial-cloglog" => Family::Binomial(Binomial(Link::Cloglog)),
            "binomial-logit" => Family::Binomial(Binomial(Link::Logit)),
            "binomial-probit" => Family::Binomial(Binomial(Link::Probit)),
            "hurdle_negative_binomial-log" => Family::HurdleNegativeBinomial(Hurdle(NegativeBinomial)),
            "hurdle_poisson-log" => Family::HurdlePoisson(Hurdle(Poisson)),
            "zero_inflated_negative_binomial-log" => {
                Family::ZeroInflatedNegativeBinomial(ZeroInflated(NegativeBinomial))
            }
            "zero_inflated_poisson-log" => Family::ZeroInflatedPoisson(ZeroInflated(Poisson)),
            "gamma-log" => Family::Gamma(Gamma),
            "negative_binomial-log" => Family::NegativeBinomial(NegativeBinomial),
            "negative_binomial_1-log" => Family::NegativeBinomial1(NegativeBinomial1),
            "ordinal-cloglog" => ordinal(Link::Cloglog),
            "ordinal-logit" => ordinal(Link::Logit),
            "ordinal-probit" => ordinal(Link::Probit),
            "poisson-log" => Family::Poisson(Poisson),
            _ => return None,
        })
    }
}

/// Rows of a family, by columns.
#[derive(Clone, Default)]
pub struct Rows {
    pub l: f64,
    pub d1: Vec<f64>,
    pub d2: Vec<f64>,
    pub d3: Vec<f64>,
}

/// The derivatives in phi: of l and of l twice as sums over rows, of l' and l'' n values a parameter.
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
    /// Of parameters of the family; others are one number.
    pub covariates: Vec<Covariates>,
    /// Where each parameter's part of phi starts, and the length of phi.
    layout: Vec<usize>,
    pub saturated: f64,
}

impl Responses {
    pub fn new(
        family: Family,
        y: Vec<f64>,
        trials: Vec<f64>,
        weights: Option<Vec<f64>>,
        offset: Vec<f64>,
        covariates: Vec<Covariates>,
    ) -> Responses {
        let layout = located::layout(family.n_extra(), &covariates);
        let mut out = Responses { y, trials, weights, offset, covariates, layout, saturated: 0.0 };
        out.saturated = (0..out.y.len()).map(|i| out.weight(i) * family.saturated(out.y[i], out.trials[i])).sum();
        out
    }

    /// What multiplies the log density of a row.
    #[inline]
    pub fn weight(&self, i: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[i])
    }

    /// Length of phi.
    pub fn n_phi(&self) -> usize {
        self.layout[self.layout.len() - 1]
    }

    /// How many of phi, from the first on, the likelihood depends on the squares of alone: those of one number.
    pub fn n_even(&self, family: Family) -> usize {
        let first = self.covariates.iter().map(|c| c.parameter).min();
        first.map_or(family.n_even(), |first| family.n_even().min(first))
    }

    /// A first guess of phi, given the variance of `Family::start` about the fixed effects.
    pub fn start_phi(&self, family: Family, spread: f64) -> Vec<f64> {
        self.by_covariates(family.start_phi(self, spread))
    }

    /// phi of parameters that are the same in all rows.
    pub fn by_covariates(&self, own: Vec<f64>) -> Vec<f64> {
        let n = self.y.len() as f64;
        let mut out = vec![];
        for (parameter, value) in own.into_iter().enumerate() {
            match self.covariates.iter().find(|c| c.parameter == parameter) {
                None => out.push(value),
                // columns are orthonormal but for n
                Some(c) => out.extend(
                    (0..c.n_columns).map(|j| value * c.values.iter().skip(j).step_by(c.n_columns).sum::<f64>() / n),
                ),
            }
        }
        out
    }

    /// Row i of the covariates of a parameter.
    #[inline]
    fn covariates_of(&self, parameter: usize, i: usize) -> Option<&[f64]> {
        let own = self.covariates.iter().find(|c| c.parameter == parameter)?;
        Some(&own.values[i * own.n_columns..(i + 1) * own.n_columns])
    }

    /// All rows at eta; None where the density is not defined.
    pub fn rows(&self, family: Family, eta: &[f64], phi: &[f64]) -> Option<Rows> {
        let at = Located::new(family, self, phi);
        let n = self.y.len();
        let mut out = Rows { l: 0.0, d1: zeros(n), d2: zeros(n), d3: zeros(n) };
        for i in 0..n {
            let row = at.row(i, eta[i]);
            let w = self.weight(i);
            out.l += w * row.l;
            (out.d1[i], out.d2[i], out.d3[i]) = (w * row.d1, w * row.d2, w * row.d3);
        }
        out.l.is_finite().then_some(out)
    }

    pub fn extra(&self, family: Family, eta: &[f64], phi: &[f64]) -> ExtraRows {
        let m = self.n_phi();
        if m == 0 {
            return ExtraRows::default();
        }
        let at = Located::new(family, self, phi);
        let n = self.y.len();
        let mut out = ExtraRows { l: zeros(m), d1: zeros(m * n), d2: zeros(m * n), ll: zeros(m * m) };
        for i in 0..n {
            let mut row = ExtraRow { place: i, n, weight: self.weight(i), rows: &mut out };
            at.extra(i, eta[i], &mut row);
        }
        out
    }
}

/// Where derivatives of one row go.
struct ExtraRow<'r> {
    place: usize,
    n: usize,
    weight: f64,
    rows: &'r mut ExtraRows,
}

impl Sink for ExtraRow<'_> {
    fn first(&mut self, j: usize, l: f64, d1: f64, d2: f64) {
        self.rows.l[j] += self.weight * l;
        self.rows.d1[j * self.n + self.place] = self.weight * d1;
        self.rows.d2[j * self.n + self.place] = self.weight * d2;
    }

    fn second(&mut self, i: usize, j: usize, ll: f64) {
        let m = self.rows.l.len();
        self.rows.ll[j * m + i] += self.weight * ll;
        if i != j {
            self.rows.ll[i * m + j] += self.weight * ll;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, responses with trials, and phi to differ about.
    type Case = (&'static str, &'static [(f64, f64)], &'static [f64]);
    const CASES: [Case; 16] = [
        ("binomial-logit", &[(2.0, 5.0), (17.0, 40.0), (20.0, 60.0)], &[]),
        ("binomial-probit", &[(2.0, 5.0), (0.0, 1.0)], &[]),
        ("binomial-cloglog", &[(2.0, 5.0), (1.0, 1.0)], &[]),
        ("poisson-log", &[(3.0, 1.0), (0.0, 1.0)], &[]),
        ("gamma-log", &[(3.0, 1.0)], &[0.4]),
        ("negative_binomial-log", &[(3.0, 1.0), (0.0, 1.0)], &[0.4]),
        ("zero_inflated_poisson-log", &[(3.0, 1.0), (0.0, 1.0)], &[-0.7]),
        ("zero_inflated_negative_binomial-log", &[(3.0, 1.0), (0.0, 1.0)], &[0.4, -0.7]),
        ("hurdle_poisson-log", &[(3.0, 1.0), (1.0, 1.0), (0.0, 1.0)], &[-0.7]),
        ("hurdle_negative_binomial-log", &[(3.0, 1.0), (1.0, 1.0), (0.0, 1.0)], &[0.4, -0.7]),
        ("beta-logit", &[(0.3, 1.0)], &[0.4]),
        ("negative_binomial_1-log", &[(3.0, 1.0), (0.0, 1.0)], &[0.4]),
        ("betabinomial-logit", &[(2.0, 5.0), (0.0, 3.0), (4.0, 4.0)], &[0.4]),
        ("ordinal-logit", &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)], &[0.4, 1.1, 2.5]),
        ("ordinal-probit", &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)], &[0.4, 1.1, 2.5]),
        ("ordinal-cloglog", &[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)], &[0.4, 1.1, 2.5]),
    ];

    /// The rows at eta, and their derivatives in phi.
    struct Rest {
        row: Row,
        extra: ExtraRows,
    }

    fn rest(family: Family, (y, m): (f64, f64), eta: f64, phi: &[f64]) -> Rest {
        let seen = Responses::new(family, vec![y], vec![m], None, vec![0.0], vec![]);
        Rest { row: family.at(phi).row(y, m, eta), extra: seen.extra(family, &[eta], phi) }
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        let h = 1e-5;
        for (name, seen, phi) in CASES {
            let all: Vec<f64> = seen.iter().map(|(y, _)| *y).collect();
            let family = Family::named(name, &all).unwrap();
            assert_eq!(family.n_extra(), phi.len(), "{name}");
            for &one in seen {
                for eta in [-8.0, -2.5, -0.3, 0.0, 0.7, 2.2] {
                    let near = |got: f64, up: f64, down: f64, what: &str| {
                        let expected = (up - down) / (2.0 * h);
                        let off = (got - expected).abs();
                        assert!(off < 2e-6 * (1.0 + expected.abs()), "{name} {one:?} {eta} {what}: {got} {expected}");
                    };
                    let at = rest(family, one, eta, phi);
                    let (up, down) = (rest(family, one, eta + h, phi).row, rest(family, one, eta - h, phi).row);
                    near(at.row.d1, up.l, down.l, "first");
                    near(at.row.d2, up.d1, down.d1, "second");
                    near(at.row.d3, up.d2, down.d2, "third");
                    for j in 0..phi.len() {
                        let moved = |by: f64| {
                            let mut phi = phi.to_vec();
                            phi[j] += by;
                            rest(family, one, eta, &phi)
                        };
                        let (up, down) = (moved(h), moved(-h));
                        near(at.extra.l[j], up.row.l, down.row.l, "phi");
                        near(at.extra.d1[j], up.row.d1, down.row.d1, "first in phi");
                        near(at.extra.d2[j], up.row.d2, down.row.d2, "second in phi");
                        for i in 0..phi.len() {
                            let got = at.extra.ll[j * phi.len() + i];
                            near(got, up.extra.l[i], down.extra.l[i], "phi twice");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn categories_have_chances_that_add_up_to_one() {
        for link in ["logit", "probit", "cloglog"] {
            let family = Family::named(&format!("ordinal-{link}"), &[3.0]).unwrap();
            for eta in [-9.0, -1.0, 0.5, 4.0] {
                let at = family.at(&[0.3, 2.0]);
                let sum: f64 = (0..4).map(|k| at.row(f64::from(k), 1.0, eta).l.exp()).sum();
                assert!((sum - 1.0).abs() < 1e-13, "{link} {eta}");
            }
            assert!(family.at(&[2.0, 0.3]).row(1.0, 1.0, 0.0).l.is_nan());
        }
    }

    #[test]
    fn two_categories_are_a_binomial() {
        for (link, sign) in [("logit", 1.0), ("probit", 1.0), ("cloglog", -1.0)] {
            let two = Family::named(&format!("ordinal-{link}"), &[1.0]).unwrap().at(&[]);
            let binomial = Family::named(&format!("binomial-{link}"), &[]).unwrap().at(&[]);
            for eta in [-3.0, 0.2, 1.7] {
                // P(y <= 0) = F(-eta); F of the first two is even
                let (got, y) = (two.row(1.0, 1.0, eta), if sign > 0.0 { 1.0 } else { 0.0 });
                let expected = binomial.row(y, 1.0, sign * eta);
                assert!((got.l - expected.l).abs() < 1e-14 && (got.d1 - sign * expected.d1).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn large_counts_keep_their_digits() {
        let row = Family::named("poisson-log", &[]).unwrap().at(&[]).row(1e8, 1.0, 1e8f64.ln());
        assert!(row.l.abs() < 1e-9);
    }
}
