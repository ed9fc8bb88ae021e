//! Trust-region Newton on the deviance, which is even in every column of Lambda: no bounds, zero is an ordinary point.

use crate::deviance::Problem;
use crate::memory::{before_products, scratch, zeros};
use faer::Par;
use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef};
use std::mem::MaybeUninit;

/// Predicted decrease (in -2 log-likelihood) at which the optimum is reached.
const DECREASE_TOL: f64 = 1e-10;
/// Newton steps in a row whose decrease is not the predicted one, after which the Hessian is taken from differences.
const UNLIKE_STEPS: usize = 2;
/// Every so many iterations components of Lambda that are nearly zero are taken out, so that the valley of a singular
/// block (a rotation that changes nothing) is left.
const REDUCE_EVERY: usize = 8;
/// Sizes up to which faer finds eigenvalues without products of matrices.
const WITHOUT_PRODUCTS: usize = 16;
/// What taking one out may cost.
const REDUCE_TOL: f64 = 1e-8;
/// Predicted decrease below which it is asked whether a step leads to an optimum that is known.
const NEAR: f64 = 1.0;
/// What step and decrease may be off by, relative to their own sizes, to lead there.
const NEAR_SHARE: f64 = 0.2;
/// Bytes of scratch memory that are taken from the stack.
const SMALL_SCRATCH: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Converged = 0,
    IterationLimit = 1,
    NoFurtherDecrease = 2,
    Interrupted = 3,
    /// On its way to an optimum that is known.
    Known = 4,
}

/// One row of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Iteration {
    pub deviance: f64,
    pub gradient_norm: f64,
    pub predicted: f64,
    pub step: f64,
    pub radius: f64,
    pub ratio: f64,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub theta: Vec<f64>,
    pub deviance: f64,
    /// Residual variance of the scaled problem.
    pub s2: f64,
    pub gradient_norm: f64,
    pub status: Status,
    pub trace: Vec<Iteration>,
    pub n_evaluations: usize,
}

/// Rounding of one evaluation of the deviance.
pub fn noise(problem: &Problem, deviance: f64) -> f64 {
    4.0 * f64::EPSILON * (deviance.abs() + problem.products.n as f64)
}

/// Minimises the scaled deviance from `theta`, or until it is plain that it will end where one of the runs `known` did;
/// None if it cannot be evaluated there.
pub fn minimize(
    problem: &Problem,
    reml: bool,
    mut theta: Vec<f64>,
    known: &[Run],
    max_iterations: usize,
    interrupted: &mut dyn FnMut() -> bool,
) -> Option<Run> {
    let mut at = problem.factorize(&theta, reml)?;
    let mut n_evaluations = 1;
    let mut derivatives = problem.derivatives(&theta, &at, true)?;
    let mut trace: Vec<Iteration> = Vec::new();
    let mut radius = first_radius(&theta);
    let mut unlike = 0;
    let mut status = Status::IterationLimit;
    while trace.len() < max_iterations {
        if interrupted() {
            status = Status::Interrupted;
            break;
        }
        if trace.len() % REDUCE_EVERY == REDUCE_EVERY - 1 {
            let (mut reduced, mut deviance) = (theta.clone(), at.deviance);
            n_evaluations += problem.reduce(&mut reduced, &mut deviance, reml, REDUCE_TOL);
            if reduced != theta
                && let Some(new) = problem.factorize(&reduced, reml)
                && let Some(next) = problem.derivatives(&reduced, &new, true)
            {
                (theta, at, derivatives) = (reduced, new, next);
                radius = first_radius(&theta);
            }
        }
        let gradient_norm = largest(&derivatives.gradient);
        let mut step = Step::new(&derivatives.gradient, &derivatives.curvature, radius);
        if known.iter().any(|run| step.leads_to(run, problem, &theta, at.deviance)) {
            status = Status::Known;
            break;
        }
        if unlike >= UNLIKE_STEPS
            && let Some(exact) = problem.hessian(&theta, reml)
        {
            n_evaluations += 2 * theta.len();
            derivatives.curvature = exact;
            step = Step::new(&derivatives.gradient, &derivatives.curvature, radius);
        }
        let mut row = Iteration {
            deviance: at.deviance,
            gradient_norm,
            predicted: step.predicted,
            step: step.length,
            radius,
            ratio: f64::NAN,
        };
        let noise = noise(problem, at.deviance);
        let tol = DECREASE_TOL.max(noise);
        let trial = step.from(&theta);
        // negative curvature that nothing shows within a whole step is rounding: following it would only gather more
        let flat = step.predicted <= noise && step.length >= 0.5 * first_radius(&theta).max(largest(&theta));
        if step.predicted <= tol && (!step.saddle || flat) {
            // the last step is taken if it does no harm: its decrease is below what can be seen
            if let Some(new) = problem.factorize(&trial, reml).filter(|new| new.deviance <= at.deviance + noise) {
                row.ratio = (at.deviance - new.deviance) / step.predicted;
                theta = trial;
                at = new;
            }
            n_evaluations += 1;
            trace.push(row);
            status = Status::Converged;
            break;
        }
        let new = problem.factorize(&trial, reml);
        n_evaluations += 1;
        let decrease = new.as_ref().map_or(f64::NEG_INFINITY, |new| at.deviance - new.deviance);
        row.ratio = decrease / step.predicted;
        trace.push(row);
        let small = step.predicted < 100.0 * noise;
        let accepted = if small { decrease >= -noise } else { row.ratio > 0.05 };
        match new {
            Some(new) if accepted => {
                let Some(next) = problem.derivatives(&trial, &new, true) else {
                    radius = 0.25 * step.length;
                    continue;
                };
                if row.ratio > 0.75 {
                    radius = radius.max(2.0 * step.length);
                } else if row.ratio < 0.25 {
                    radius = 0.5 * step.length;
                }
                let newton = step.length < 0.99 * row.radius;
                if newton && !(0.5..1.5).contains(&row.ratio) {
                    unlike += 1;
                } else if unlike < UNLIKE_STEPS {
                    unlike = 0;
                }
                theta = trial;
                at = new;
                derivatives = next;
            }
            _ => {
                radius = 0.25 * step.length;
                if radius < 1e-11 * (1.0 + largest(&theta)) || small {
                    status = if small { Status::Converged } else { Status::NoFurtherDecrease };
                    break;
                }
            }
        }
    }
    let gradient_norm = largest(&derivatives.gradient);
    Some(Run { deviance: at.deviance, s2: at.s2, theta, gradient_norm, status, trace, n_evaluations })
}

fn first_radius(theta: &[f64]) -> f64 {
    (theta.len() as f64).sqrt()
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// A minimiser of the quadratic model within the radius.
struct Step {
    direction: Vec<f64>,
    length: f64,
    predicted: f64,
    /// The curvature is negative somewhere.
    saddle: bool,
    /// A step of Newton's to a minimum inside of the radius.
    whole: bool,
}

impl Step {
    fn new(gradient: &[f64], curvature: &[f64], radius: f64) -> Step {
        let (values, vectors) = eigen(curvature, gradient.len());
        let k = gradient.len();
        let largest_value = values.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
        let along: Vec<f64> = (0..k).map(|e| (0..k).map(|i| vectors[e * k + i] * gradient[i]).sum()).collect();
        let lowest = values.first().copied().unwrap_or(0.0);
        let saddle = lowest < -1e-6 * largest_value;
        let shift = if lowest > 1e-12 * largest_value { 0.0 } else { -lowest + 1e-8 * largest_value.max(1e-300) };
        let newton = |shift: f64| -> Vec<f64> { along.iter().zip(&values).map(|(g, w)| -g / (w + shift)).collect() };
        let norm = |s: &[f64]| s.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut s = newton(shift);
        if norm(&s) > radius {
            let (mut low, mut high) = (shift, shift + norm(gradient) / radius + largest_value);
            for _ in 0..80 {
                let middle = 0.5 * (low + high);
                if norm(&newton(middle)) > radius {
                    low = middle
                } else {
                    high = middle
                }
                if high - low <= 1e-3 * high {
                    break;
                }
            }
            s = newton(high);
        } else if saddle {
            // along the most negative curvature to the edge
            let sign = if along[0] > 0.0 { -1.0 } else { 1.0 };
            let here = s[0] * sign;
            let room = (here * here + radius * radius - norm(&s).powi(2)).max(0.0);
            s[0] += sign * (room.sqrt() - here);
        }
        let predicted = -(0..k).map(|e| along[e] * s[e] + 0.5 * values[e] * s[e] * s[e]).sum::<f64>();
        let direction = (0..k).map(|i| (0..k).map(|e| vectors[e * k + i] * s[e]).sum()).collect();
        Step { direction, length: norm(&s), predicted, saddle, whole: shift == 0.0 && norm(&s) < radius }
    }

    fn from(&self, theta: &[f64]) -> Vec<f64> {
        theta.iter().zip(&self.direction).map(|(t, s)| t + s).collect()
    }

    /// Whether the step is one of Newton's last to the optimum of a run.
    fn leads_to(&self, run: &Run, problem: &Problem, theta: &[f64], deviance: f64) -> bool {
        let missed = (deviance - self.predicted - run.deviance).abs();
        self.whole
            && self.predicted < NEAR
            && run.status == Status::Converged
            && missed <= NEAR_SHARE * self.predicted + noise(problem, deviance)
            && problem.distance(&self.from(theta), &run.theta) <= NEAR_SHARE * self.length
    }
}

/// Eigenvalues in ascending order and eigenvectors (columns) of a symmetric matrix.
pub fn eigen(a: &[f64], k: usize) -> (Vec<f64>, Vec<f64>) {
    if k <= 1 {
        return (a.to_vec(), vec![1.0; k]);
    }
    if k > WITHOUT_PRODUCTS {
        before_products(Par::Seq);
    }
    let mut values = faer::Col::<f64>::zeros(k);
    let mut vectors = zeros(k * k);
    let size = self_adjoint_evd_scratch::<f64>(k, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut small = [MaybeUninit::uninit(); SMALL_SCRATCH];
    let is_small = size.unaligned_bytes_required() <= SMALL_SCRATCH;
    let mut large = scratch(if is_small { StackReq::EMPTY } else { size });
    let done = self_adjoint_evd(
        MatRef::from_column_major_slice(a, k, k),
        values.as_diagonal_mut(),
        Some(MatMut::from_column_major_slice_mut(&mut vectors, k, k)),
        Par::Seq,
        MemStack::new(if is_small { &mut small } else { &mut large }),
        Default::default(),
    );
    if done.is_err() {
        // steepest descent on a unit curvature
        let mut identity = zeros(k * k);
        (0..k).for_each(|i| identity[i * k + i] = 1.0);
        return (vec![1.0; k], identity);
    }
    ((0..k).map(|i| values[i]).collect(), vectors)
}
