//! Starts of generalised models: the fit without random effects, and standard deviations from its score.

use crate::family::Rows;
use crate::memory::{copied, zeros};
use crate::modes::Glmm;
use crate::objective::{Objective, Slopes};
use crate::trust_region;

const MAX_STEPS: usize = 50;
/// Bounds of a start, as a standard deviation in eta.
const BOUNDS: (f64, f64) = (0.2, 2.0);

/// -2 log-likelihood in (beta, phi) without random effects.
struct WithoutEffects<'g>(&'g Glmm);

struct GlmAt {
    rows: Rows,
    eta: Vec<f64>,
    value: f64,
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
    /// (beta, phi) without random effects, and the rows there; None where the likelihood has no value at a first guess.
    fn without_effects(&self) -> Option<(Vec<f64>, Rows)> {
        let n = self.rows.n as f64;
        let responses = &self.responses;
        let first = self.family.start(responses);
        let target: Vec<f64> = first.iter().zip(&responses.offset).map(|(eta, o)| eta - o).collect();
        let mut beta = self.rows.fixed_transposed(&target);
        beta.iter_mut().for_each(|b| *b /= n);
        let fitted = self.rows.fixed(&zeros(self.rows.n), &beta);
        let spread = target.iter().zip(fitted).map(|(t, f)| (t - f).powi(2)).sum::<f64>() / n;
        let start = [beta, responses.start_phi(self.family, spread)].concat();
        let run = trust_region::minimize(&WithoutEffects(self), start, &[], MAX_STEPS)?;
        Some((run.point, run.kept))
    }

    /// psi to start from: with moments' standard deviations first, then with each of `others`.
    ///
    /// E (z's)^2 = m + m^2 sd^2 to first order, with s = l' and m = sum z^2 W at the fit without random effects: the
    /// score of a variance.
    pub fn starts(&self, others: &[f64]) -> Option<Vec<Vec<f64>>> {
        let (fixed, rows) = self.without_effects()?;
        let weights: Vec<f64> = rows.d2.iter().map(|d| -d).collect();
        let moments = self.rows.moments(&self.problem, &weights, &rows.d1);
        let psi = |sd: &dyn Fn(usize, usize) -> f64| {
            let one = |p: &crate::deviance::Parameter| if p.row == p.column { sd(p.factor, p.column) } else { 0.0 };
            self.problem.parameters.iter().map(one).chain(copied(&fixed)).collect()
        };
        let from_moments = |e: usize, j: usize| {
            let [information, squares, both] = moments[e][j];
            let variance = (squares - information) / both;
            variance.clamp(BOUNDS.0 * BOUNDS.0, BOUNDS.1 * BOUNDS.1).sqrt()
        };
        let mut out = vec![psi(&|e, j| {
            let sd = from_moments(e, j);
            if sd.is_finite() { sd } else { 1.0 }
        })];
        out.extend(others.iter().map(|sd| psi(&|_, _| *sd)));
        Some(out)
    }
}
