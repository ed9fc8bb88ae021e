//! Starts of generalised models: the fit without random effects, and standard deviations from its score.

use crate::deviance::Parameter;
use crate::family::Rows;
use crate::memory::{copied, zeros};
use crate::modes::Glmm;
use crate::objective::{Objective, Slopes};
use crate::trust_region;

const MAX_STEPS: usize = 50;
/// Bounds of a start, as a standard deviation in eta.
const BOUNDS: (f64, f64) = (0.2, 2.0);
/// Standard deviation from which on effects are large.
const LARGE: f64 = 1.0;
/// What is left of an effect beside the one that it is like.
const NEARLY_ALIKE: f64 = 0.2;

/// -2 log-likelihood in (beta, phi) without random effects.
struct WithoutEffects<'g>(&'g Glmm);

struct GlmAt {
    rows: Rows,
    eta: Vec<f64>,
    value: f64,
}

/// Where it is lowest.
struct WithoutEffectsFit {
    /// (beta, phi).
    fixed: Vec<f64>,
    rows: Rows,
    /// The first guess of phi.
    first_phi: Vec<f64>,
}

impl Objective for WithoutEffects<'_> {
    type At<'a>
        = GlmAt
    where
        Self: 'a;
    type Kept = Rows;
    const PATIENCE: usize = usize::MAX;

    fn evaluate(&self, point: &[f64], _: Option<&GlmAt>) -> Option<GlmAt> {
        let (beta, phi) = point.split_at(self.0.rows.p);
        let eta = self.0.rows.fixed(&self.0.responses.offset, beta);
        let rows = self.0.responses.rows(self.0.family, &eta, phi)?;
        Some(GlmAt { value: -2.0 * rows.l, rows, eta })
    }

    fn value(&self, at: &GlmAt) -> f64 {
        at.value
    }

    fn derivatives(&self, point: &[f64], at: &mut GlmAt) -> Option<Slopes> {
        let (n, p, m) = (self.0.rows.n, self.0.rows.p, self.0.responses.n_phi());
        let extra = self.0.responses.extra(self.0.family, &at.eta, &point[p..]);
        let score = self.0.rows.fixed_transposed(&at.rows.d1);
        let gradient = score.iter().chain(&extra.l).map(|g| -2.0 * g).collect();
        let weights: Vec<f64> = at.rows.d2.iter().map(|d| -d).collect();
        let square = self.0.rows.fixed_square(&weights);
        let k = p + m;
        let mut curvature = zeros(k * k);
        for j in 0..p {
            (0..p).for_each(|i| curvature[j * k + i] = 2.0 * square[j * p + i]);
        }
        for j in 0..m {
            for (i, d) in self.0.rows.fixed_transposed(&extra.d1[j * n..(j + 1) * n]).into_iter().enumerate() {
                curvature[(p + j) * k + i] = -2.0 * d;
                curvature[i * k + p + j] = -2.0 * d;
            }
            (0..m).for_each(|i| curvature[(p + j) * k + p + i] = -2.0 * extra.ll[j * m + i]);
        }
        curvature.iter().all(|v| v.is_finite()).then_some(Slopes { gradient, curvature })
    }

    fn hessian(&self, _: &[f64], _: &GlmAt) -> Option<Vec<f64>> {
        None
    }

    fn reduce(&self, _: &[f64], _: &GlmAt, _: f64) -> (Option<Vec<f64>>, usize) {
        (None, 0)
    }

    fn noise(&self, value: f64) -> f64 {
        self.0.noise(value)
    }

    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    fn keep(&self, at: GlmAt) -> Rows {
        at.rows
    }
}

impl Glmm {
    /// psi with a standard deviation for each effect, and (beta, phi).
    fn uncorrelated(&self, sd: &dyn Fn(usize, usize) -> f64, fixed: &[f64]) -> Vec<f64> {
        let one = |p: &Parameter| if p.row == p.column { sd(p.factor, p.column) } else { 0.0 };
        self.problem.parameters.iter().map(one).chain(copied(fixed)).collect()
    }

    /// beta of a guess of eta, and the variance about it.
    fn projected(&self, eta: &[f64]) -> (Vec<f64>, f64) {
        let n = self.rows.n as f64;
        let target: Vec<f64> = eta.iter().zip(&self.responses.offset).map(|(eta, o)| eta - o).collect();
        let mut beta = self.rows.fixed_transposed(&target);
        beta.iter_mut().for_each(|b| *b /= n);
        let fitted = self.rows.fixed(&zeros(self.rows.n), &beta);
        let spread = target.iter().zip(fitted).map(|(t, f)| (t - f).powi(2)).sum::<f64>() / n;
        (beta, spread)
    }

    /// The fit without random effects; None where the likelihood has no value at a first guess.
    fn without_effects(&self) -> Option<WithoutEffectsFit> {
        let responses = &self.responses;
        let (beta, spread) = self.projected(&self.family.start(responses));
        let first_phi = responses.start_phi(self.family, spread);
        let start = [&beta, &first_phi[..]].concat();
        let run = trust_region::minimize(&WithoutEffects(self), start, &[], MAX_STEPS)?;
        Some(WithoutEffectsFit { fixed: run.point, rows: run.kept, first_phi })
    }
}

/// Where walks begin: from the fit without random effects.
pub struct Starts<'g> {
    glmm: &'g Glmm,
    /// (beta, phi) of that fit.
    fixed: Vec<f64>,
    /// The same with the first guess of phi, where phi takes what effects leave over: without effects it is too large a
    /// dispersion, beside which they are not missed, or a chance of zeros that is none, where the criterion is flat.
    anew: Vec<f64>,
    rows: Rows,
}

impl<'g> Starts<'g> {
    /// None where the likelihood has no value at a first guess.
    pub fn new(glmm: &'g Glmm) -> Option<Starts<'g>> {
        let WithoutEffectsFit { fixed, rows, first_phi } = glmm.without_effects()?;
        let mut anew = copied(&fixed);
        if glmm.family.takes_the_rest() {
            anew[glmm.rows.p..].copy_from_slice(&first_phi);
        }
        Some(Starts { glmm, fixed, anew, rows })
    }

    /// With standard deviations from moments. The `only` start of a density that is not concave has phi anew.
    ///
    /// E (z's)^2 = m + m^2 sd^2 to first order, with s = l' and m = sum z^2 W at the fit without random effects: the
    /// score of a variance.
    pub fn by_moments(&self, only: bool) -> Vec<f64> {
        let weights: Vec<f64> = self.rows.d2.iter().map(|d| -d).collect();
        let moments = self.glmm.rows.moments(&self.glmm.problem, &weights, &self.rows.d1);
        let sd = |e: usize, j: usize| {
            let [information, squares, both] = moments[e][j];
            let variance = (squares - information) / both;
            let sd = variance.clamp(BOUNDS.0 * BOUNDS.0, BOUNDS.1 * BOUNDS.1).sqrt();
            if sd.is_finite() { sd } else { 1.0 }
        };
        self.glmm.uncorrelated(&sd, if only && self.glmm.family.is_mixed() { &self.anew } else { &self.fixed })
    }

    /// With one standard deviation for all effects; large ones leave little to phi.
    pub fn of_size(&self, sd: f64) -> Vec<f64> {
        let is_anew = sd > LARGE || self.glmm.family.is_mixed();
        self.glmm.uncorrelated(&|_, _| sd, if is_anew { &self.anew } else { &self.fixed })
    }

    /// For densities that are not concave, whose criterion has several optima more often: from other guesses of the family,
    /// and with effects of a level that are nearly alike or nearly opposite.
    pub fn further(&self) -> Vec<Vec<f64>> {
        let glmm = self.glmm;
        let of_guess = |(eta, phi): (Vec<f64>, Vec<f64>)| {
            let fixed = [glmm.projected(&eta).0, glmm.responses.by_covariates(phi)].concat();
            glmm.uncorrelated(&|_, _| 1.0, &fixed)
        };
        let guesses = glmm.family.other_guesses(&glmm.responses).into_iter().map(of_guess);
        let has_correlations = glmm.problem.parameters.iter().any(|p| p.row != p.column);
        let signs: &[f64] = if has_correlations { &[1.0, -1.0] } else { &[] };
        guesses.chain(signs.iter().map(|sign| self.correlated(*sign))).collect()
    }

    fn correlated(&self, sign: f64) -> Vec<f64> {
        let element = |p: &Parameter| match (p.row == p.column, p.column) {
            (true, 0) => 1.0,
            (true, _) => NEARLY_ALIKE,
            (false, 0) => sign,
            (false, _) => 0.0,
        };
        self.glmm.problem.parameters.iter().map(element).chain(copied(&self.anew)).collect()
    }
}
