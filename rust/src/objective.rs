//! What a trust region walks on: a criterion of some parameters, with whatever makes it cheap to evaluate nearby.

/// Gradient and a model of the Hessian.
#[derive(Clone, Debug)]
pub struct Slopes {
    pub gradient: Vec<f64>,
    /// k x k, column-major, symmetric.
    pub curvature: Vec<f64>,
}

/// A smooth criterion.
pub trait Objective {
    /// One evaluation: what derivatives there, and evaluations nearby, start from.
    type At<'a>
    where
        Self: 'a;
    /// What a run keeps of the last one.
    type Kept: Clone;
    /// Newton steps in a row whose decrease is not the predicted one, after which the Hessian is taken from differences.
    const PATIENCE: usize;
    /// Whether what gradients show the model of the Hessian to lack is added to it.
    const SECANTS: bool = false;
    /// Steps of a walk from which on the Hessian is taken from differences: few walks are longer.
    const LONG_WALK: usize = usize::MAX;

    /// Evaluates at a point, given an evaluation nearby if there is one; None where the criterion is not defined.
    fn evaluate<'a>(&'a self, point: &[f64], near: Option<&Self::At<'a>>) -> Option<Self::At<'a>>;

    fn value(&self, at: &Self::At<'_>) -> f64;

    /// Whether the criterion says something there: not where it is about to fall without bound.
    fn is_regular(&self, _at: &Self::At<'_>) -> bool {
        true
    }

    fn derivatives<'a>(&'a self, point: &[f64], at: &mut Self::At<'a>) -> Option<Slopes>;

    /// The Hessian itself, from differences of the gradient.
    fn hessian<'a>(&'a self, point: &[f64], at: &Self::At<'a>) -> Option<Vec<f64>>;

    /// A point without what is nearly zero and costs at most `tolerance` to leave out, and the number of evaluations;
    /// None if there is nothing to leave out.
    fn reduce(&self, point: &[f64], at: &Self::At<'_>, tolerance: f64) -> (Option<Vec<f64>>, usize);

    /// Rounding of one evaluation.
    fn noise(&self, value: f64) -> f64;

    /// How far two points are apart, up to what changes nothing.
    fn distance(&self, a: &[f64], b: &[f64]) -> f64;

    fn keep(&self, at: Self::At<'_>) -> Self::Kept;
}
