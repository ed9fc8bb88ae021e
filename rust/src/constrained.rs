//! Newton's method for a smooth function, free or on the surface of one constraint.
//!
//! Each step minimises the quadratic model of the Lagrangian on the tangent space and returns to the surface along the
//! constraint's gradient, which costs little beside the function (sequential quadratic programming with every point
//! feasible: Nocedal and Wright 2006, chapter 18). The Hessian given may be a model of the true one; what gradients
//! show it to lack is added by secants (Dennis, Gay and Welsch 1981; symmetric rank one).

use crate::memory::zeros;
use crate::threads;
use crate::trust_region::eigen;

const MAX_STEPS: usize = 60;
const MAX_RETURNS: usize = 20;
/// Predicted decrease from which on the last step is taken without looking: what it leaves is far smaller.
const DECREASE_TOL: f64 = 1e-6;
/// Predicted decrease that is good enough where no better point is found, or only slowly along a valley.
const NEARLY_TOL: f64 = 1e-5;
const CONSTRAINT_TOL: f64 = 1e-9;
/// Relative to Newton's.
const SHORTEST_STEP: f64 = 1e-8;
/// Relative error of the curvature along a step from which on it is corrected.
const WRONG_CURVATURE: f64 = 0.1;
/// Length of a step, in parameters whose natural size is one or, far out, what they are.
const LONGEST_STEP: f64 = 1.0;
/// Share of their size that they may move by in one step.
const LONGEST_SHARE: f64 = 0.5;
/// Curvature, absolute and relative to the largest, that is taken for the smallest.
const FLATTEST: f64 = 1e-8;
/// Length of a step that leads nowhere.
const FARTHEST: f64 = 1e6;

/// Value, gradient (k) and (approximate) Hessian, k x k symmetric.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub value: f64,
    pub gradient: Vec<f64>,
    pub hessian: Vec<f64>,
}

/// None where it is not defined.
pub type Function<'a> = &'a mut dyn FnMut(&[f64]) -> Option<Evaluation>;

/// The surface on which a function has some value.
pub struct Surface<'a> {
    pub function: Function<'a>,
    pub target: f64,
}

/// Where a minimisation ended.
#[derive(Clone, Debug)]
pub struct Minimum {
    pub point: Vec<f64>,
    pub value: f64,
    /// Derivative of the minimum in the surface's target; nan without a surface.
    pub slope: f64,
    /// False if the steps ran out, or the surface could not be reached.
    pub converged: bool,
}

/// A point, on the surface if there is one, with the surface's evaluation there.
struct Place {
    point: Vec<f64>,
    surface: Option<Evaluation>,
}

/// Newton's step, the decrease it predicts, and the multiplier: the slope of the minimum in the target.
struct Step {
    direction: Vec<f64>,
    predicted: f64,
    multiplier: f64,
}

/// Minimises from `start`, which need not be on the surface; None if the function is not defined where it starts.
pub fn minimize(function: Function, start: &[f64], mut surface: Option<Surface>) -> Option<Minimum> {
    let Some(mut here) = reach(&mut surface, start.to_vec()) else {
        return Some(Minimum { point: start.to_vec(), value: f64::NAN, slope: f64::NAN, converged: false });
    };
    let mut at = function(&here.point)?;
    let mut correction = zeros(at.hessian.len());
    let mut step = Step { direction: vec![], predicted: f64::INFINITY, multiplier: f64::NAN };
    for _ in 0..MAX_STEPS {
        threads::check();
        step = Step::new(&at, &correction, here.surface.as_ref());
        if step.predicted <= DECREASE_TOL {
            let last = reach(&mut surface, moved(&here.point, 1.0, &step.direction));
            let point = last.map_or(here.point, |last| last.point);
            let value = at.value - step.predicted;
            return Some(Minimum { point, value, slope: step.multiplier, converged: true });
        }
        let noise = 1e-13 * (at.value.abs() + 1.0);
        let longest = longest(&here.point, here.surface.is_some());
        let mut length = (longest / norm(&step.direction).max(1e-300)).min(1.0);
        let (trial, new) = loop {
            if let Some(trial) = reach(&mut surface, moved(&here.point, length, &step.direction))
                && let Some(new) = function(&trial.point).filter(|new| new.value <= at.value + noise)
            {
                break (trial, new);
            }
            length /= 4.0;
            if length < SHORTEST_STEP {
                return Some(stopped(here.point, &at, &step));
            }
        };
        add_missing_curvature(&mut correction, (&here, &at), (&trial, &new));
        (here, at) = (trial, new);
    }
    Some(stopped(here.point, &at, &step))
}

fn stopped(point: Vec<f64>, at: &Evaluation, step: &Step) -> Minimum {
    Minimum { point, value: at.value, slope: step.multiplier, converged: step.predicted < NEARLY_TOL }
}

/// The longest step from a point: of psi on a surface, where the last is a logarithm, or of theta~.
fn longest(point: &[f64], is_psi: bool) -> f64 {
    LONGEST_STEP.max(LONGEST_SHARE * norm(&point[..point.len() - usize::from(is_psi)]))
}

/// The point moved to the surface along the constraint's gradient; None if that does not lead there.
fn reach(surface: &mut Option<Surface>, mut point: Vec<f64>) -> Option<Place> {
    let Some(Surface { function, target }) = surface else { return Some(Place { point, surface: None }) };
    let mut at = function(&point)?;
    for _ in 0..MAX_RETURNS {
        let missing = *target - at.value;
        if missing.abs() <= CONSTRAINT_TOL {
            return Some(Place { point, surface: Some(at) });
        }
        let steepness = norm(&at.gradient);
        if !(missing.abs() / FARTHEST < steepness && steepness < f64::INFINITY) {
            return None;
        }
        let longest = longest(&point, true);
        let mut length = (missing / steepness).clamp(-longest, longest);
        (point, at) = loop {
            let next = moved(&point, length / steepness, &at.gradient);
            if let Some(new) = function(&next).filter(|new| (*target - new.value).abs() < missing.abs()) {
                break (next, new);
            }
            length /= 4.0;
            if length.abs() < SHORTEST_STEP {
                return None;
            }
        };
    }
    None
}

impl Step {
    /// The step on the tangent space; directions of negative curvature are followed downhill.
    fn new(at: &Evaluation, correction: &[f64], surface: Option<&Evaluation>) -> Step {
        let k = at.gradient.len();
        let mut hessian = plus(&at.hessian, 1.0, correction);
        let (tangent, multiplier) = match surface {
            None => (identity_columns(k, 0), f64::NAN),
            Some(surface) => {
                let multiplier = multiplier(at, surface);
                hessian = plus(&hessian, -multiplier, &surface.hessian);
                (tangent_space(&surface.gradient), multiplier)
            }
        };
        let m = tangent.len();
        let mut reduced = zeros(m * m);
        for (j, t) in tangent.iter().enumerate() {
            let image = times(&hessian, t);
            (0..m).for_each(|i| reduced[j * m + i] = dot(&tangent[i], &image));
        }
        let mean: Vec<f64> = (0..m * m).map(|e| 0.5 * (reduced[e] + reduced[e % m * m + e / m])).collect();
        let (values, vectors) = eigen(&mean, m);
        let floor = (FLATTEST * values.iter().fold(0.0, |m: f64, v| m.max(v.abs()))).max(FLATTEST);
        let slopes: Vec<f64> = tangent.iter().map(|t| dot(t, &at.gradient)).collect();
        let (mut direction, mut predicted) = (zeros(k), 0.0);
        for (value, vector) in values.iter().zip(vectors.chunks_exact(m.max(1))) {
            let (along, curvature) = (dot(vector, &slopes), value.abs().max(floor));
            predicted += 0.5 * along * along / curvature;
            for (weight, t) in vector.iter().zip(&tangent) {
                direction = plus(&direction, -weight * along / curvature, t);
            }
        }
        Step { direction, predicted, multiplier }
    }
}

/// How steeply the function rises along the constraint's gradient, per unit of the constraint.
fn multiplier(at: &Evaluation, surface: &Evaluation) -> f64 {
    dot(&surface.gradient, &at.gradient) / dot(&surface.gradient, &surface.gradient)
}

/// An orthonormal basis of the plane across a vector: Householder's reflection but its first column.
fn tangent_space(normal: &[f64]) -> Vec<Vec<f64>> {
    let mut v: Vec<f64> = normal.iter().map(|n| n / norm(normal)).collect();
    v[0] += 1f64.copysign(v[0]);
    let mut columns = identity_columns(v.len(), 1);
    for (j, column) in columns.iter_mut().enumerate() {
        *column = plus(column, -v[j + 1] / v[0].abs(), &v);
    }
    columns
}

/// Adds what the Lagrangian's gradients at two points show its Hessian to lack.
fn add_missing_curvature(correction: &mut [f64], before: (&Place, &Evaluation), after: (&Place, &Evaluation)) {
    let ((old_place, old), (place, new)) = (before, after);
    let step = plus(&place.point, -1.0, &old_place.point);
    let mut change = plus(&new.gradient, -1.0, &old.gradient);
    let mut hessian = plus(&new.hessian, 1.0, correction);
    if let (Some(old_surface), Some(surface)) = (&old_place.surface, &place.surface) {
        let multiplier = multiplier(new, surface);
        change = plus(&change, -multiplier, &plus(&surface.gradient, -1.0, &old_surface.gradient));
        hessian = plus(&hessian, -multiplier, &surface.hessian);
    }
    let lacking = plus(&change, -1.0, &times(&hessian, &step));
    let along = dot(&lacking, &step);
    if along.abs() <= WRONG_CURVATURE * dot(&change, &step).abs() {
        return;
    }
    let k = step.len();
    for (e, c) in correction.iter_mut().enumerate() {
        *c += lacking[e % k] * lacking[e / k] / along;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// a + scale b.
fn plus(a: &[f64], scale: f64, b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + scale * b).collect()
}

fn moved(point: &[f64], length: f64, direction: &[f64]) -> Vec<f64> {
    plus(point, length, direction)
}

/// A symmetric matrix times a vector.
fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(v.len()).map(|column| dot(column, v)).collect()
}

/// The columns of the identity from one on.
fn identity_columns(k: usize, first: usize) -> Vec<Vec<f64>> {
    (first..k).map(|j| (0..k).map(|i| if i == j { 1.0 } else { 0.0 }).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 9] = [3.0, 1.0, 0.5, 1.0, 2.0, -0.5, 0.5, -0.5, 1.5];
    const B: [f64; 3] = [1.0, -2.0, 0.5];

    #[test]
    fn a_quadratic_on_a_plane() {
        // x'Ax/2 - b'x on c'x = t: A x - b = lambda c, also where the Hessian given is wrong
        let (c, target) = ([1.0, 2.0, -1.0], 0.7);
        for factor in [1.0, 0.4, 2.5] {
            let mut calls = 0;
            let mut function = |x: &[f64]| {
                calls += 1;
                let gradient = plus(&times(&A, x), -1.0, &B);
                let value = 0.5 * dot(&times(&A, x), x) - dot(&B, x);
                Some(Evaluation { value, gradient, hessian: A.map(|a| factor * a).to_vec() })
            };
            let mut plane =
                |x: &[f64]| Some(Evaluation { value: dot(&c, x), gradient: c.to_vec(), hessian: vec![0.0; 9] });
            let surface = Surface { function: &mut plane, target };
            let found = minimize(&mut function, &[0.0; 3], Some(surface)).unwrap();
            assert!(found.converged && calls < 15);
            assert!((dot(&c, &found.point) - target).abs() < 1e-8);
            let rest = plus(&plus(&times(&A, &found.point), -1.0, &B), -found.slope, &c);
            assert!(norm(&rest) < 5e-3, "{rest:?}");
        }
    }

    #[test]
    fn a_curved_constraint() {
        // the point of the unit sphere nearest to b is b over its length, at the distance |b| - 1
        let twice_identity: Vec<f64> = identity_columns(3, 0).concat().iter().map(|v| 2.0 * v).collect();
        let quadratic = |x: &[f64], centre: &[f64]| {
            let rest = plus(x, -1.0, centre);
            let gradient = rest.iter().map(|r| 2.0 * r).collect();
            Some(Evaluation { value: dot(&rest, &rest), gradient, hessian: twice_identity.clone() })
        };
        let mut sphere = |x: &[f64]| quadratic(x, &[0.0; 3]);
        let surface = Surface { function: &mut sphere, target: 1.0 };
        let found = minimize(&mut |x| quadratic(x, &B), &[0.5, -0.1, 0.3], Some(surface)).unwrap();
        assert!(found.converged);
        assert!((found.value - (norm(&B) - 1.0).powi(2)).abs() < 1e-7);
        found.point.iter().zip(B).for_each(|(x, b)| assert!((x - b / norm(&B)).abs() < 1e-4));
    }

    #[test]
    fn what_has_no_minimum_does_not_converge() {
        let mut line = |x: &[f64]| Some(Evaluation { value: x[0], gradient: vec![1.0], hessian: vec![1.0] });
        assert!(!minimize(&mut line, &[0.0], None).unwrap().converged);
    }
}
