//! Trust-region Newton on criteria that are even in every column of Lambda: no bounds, zero is an ordinary point.

use crate::memory::{before_products, scratch, zeros};
use crate::objective::{Objective, Slopes};
use crate::threads;
use faer::Par;
use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef};
use std::mem::MaybeUninit;

/// Predicted decrease (in -2 log-likelihood) at which the optimum is reached.
const DECREASE_TOL: f64 = 1e-10;
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
/// Optima that differ by less than this are one.
const SAME_OPTIMUM: f64 = 1e-5;
/// Excess over the lowest at which an earlier start is preferred.
const SAME_LOWEST: f64 = 1e-8;
/// Cosine between a step and what the gradient shows to be missing along it, below which that is not used.
const LEAST_ALONG: f64 = 0.3;
/// Steps over the edge after which a walk ends there.
const EDGE_PATIENCE: usize = 8;
/// Bytes of scratch memory that are taken from the stack.
const SMALL_SCRATCH: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Converged = 0,
    IterationLimit = 1,
    NoFurtherDecrease = 2,
    /// At the edge of where the criterion says something, downhill of which it falls without bound.
    Edge = 3,
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

/// Where a walk ended, and what is kept of the evaluation there.
#[derive(Clone, Debug)]
pub struct Run<K> {
    pub point: Vec<f64>,
    pub value: f64,
    pub kept: K,
    /// Model of the Hessian at the last point whose derivatives were formed, k x k.
    pub curvature: Vec<f64>,
    pub gradient_norm: f64,
    pub status: Status,
    pub trace: Vec<Iteration>,
    pub n_evaluations: usize,
}

/// Minimises from `point`, or until it is plain that it will end where one of the runs `known` did; None if the criterion
/// cannot be evaluated there.
pub fn minimize<O: Objective>(
    objective: &O,
    mut point: Vec<f64>,
    known: &[Run<O::Kept>],
    mut max_iterations: usize,
) -> Option<Run<O::Kept>> {
    let mut at = objective.evaluate(&point, None)?;
    let mut n_evaluations = 1;
    let mut slopes = objective.derivatives(&point, &mut at)?;
    let mut trace: Vec<Iteration> = Vec::new();
    let mut radius = first_radius(&point);
    let (mut unlike, mut edges, mut long_walk) = (0, 0, O::LONG_WALK);
    let mut missing = zeros(if O::SECANTS { point.len() * point.len() } else { 0 });
    let mut status = Status::IterationLimit;
    if !objective.is_regular(&at) {
        (status, max_iterations) = (Status::Edge, 0);
    }
    while trace.len() < max_iterations {
        threads::check();
        if trace.len() % REDUCE_EVERY == REDUCE_EVERY - 1 {
            let (reduced, cost) = objective.reduce(&point, &at, REDUCE_TOL);
            n_evaluations += cost;
            if let Some(reduced) = reduced
                && let Some(mut new) = objective.evaluate(&reduced, Some(&at)).filter(|new| objective.is_regular(new))
                && let Some(next) = objective.derivatives(&reduced, &mut new)
            {
                (point, at, slopes) = (reduced, new, next);
                add(&mut slopes.curvature, &missing);
                radius = first_radius(&point);
            }
        }
        let value = objective.value(&at);
        let gradient_norm = largest(&slopes.gradient);
        let mut step = Step::new(&slopes.gradient, &slopes.curvature, radius);
        if known.iter().any(|run| step.leads_to(run, objective, &point, value)) {
            status = Status::Known;
            break;
        }
        let mut by_model = None;
        if (unlike >= O::PATIENCE || trace.len() >= long_walk)
            && let Some(exact) = objective.hessian(&point, &at)
        {
            n_evaluations += 2 * point.len();
            if O::SECANTS {
                let model: Vec<f64> = slopes.curvature.iter().zip(&missing).map(|(all, more)| all - more).collect();
                by_model = Some(Step::new(&slopes.gradient, &model, radius));
            }
            for (missing, (exact, model)) in missing.iter_mut().zip(exact.iter().zip(&slopes.curvature)) {
                *missing += exact - model;
            }
            slopes.curvature = exact;
            step = Step::new(&slopes.gradient, &slopes.curvature, radius);
        }
        let mut row = Iteration {
            deviance: value,
            gradient_norm,
            predicted: step.predicted,
            step: step.length,
            radius,
            ratio: f64::NAN,
        };
        let noise = objective.noise(value);
        let tol = DECREASE_TOL.max(noise);
        let trial = step.from(&point);
        let evaluated = objective.evaluate(&trial, Some(&at));
        n_evaluations += 1;
        let over_edge = evaluated.as_ref().is_some_and(|new| !objective.is_regular(new));
        edges += usize::from(over_edge);
        if edges == EDGE_PATIENCE {
            status = Status::Edge;
            break;
        }
        let new = evaluated.filter(|_| !over_edge);
        let decrease = new.as_ref().map_or(f64::NEG_INFINITY, |new| value - objective.value(new));
        // negative curvature that nothing shows within a whole step is rounding: following it would only gather more
        let flat = step.predicted <= noise && step.length >= 0.5 * first_radius(&point).max(largest(&point));
        if step.predicted <= tol && (!step.saddle || flat) {
            // differences are rounding where the criterion is nearly flat, as far out along a shape; the model is not
            if let Some(other) = by_model.filter(|other| other.predicted > tol)
                && let further = other.from(&point)
                && let Some(mut new) = objective.evaluate(&further, Some(&at)).filter(|new| objective.is_regular(new))
                && value - objective.value(&new) > tol
                && let Some(next) = objective.derivatives(&further, &mut new)
            {
                n_evaluations += 1;
                (point, at, slopes) = (further, new, next);
                missing.fill(0.0);
                (unlike, long_walk) = (0, trace.len() + O::LONG_WALK);
                trace.push(row);
                continue;
            }
            // the last step is taken if it does no harm: its decrease is below what can be seen
            if let Some(new) = new.filter(|_| decrease >= -noise) {
                row.ratio = decrease / step.predicted;
                point = trial;
                at = new;
            }
            trace.push(row);
            status = Status::Converged;
            break;
        }
        row.ratio = decrease / step.predicted;
        trace.push(row);
        let small = step.predicted < 100.0 * noise;
        let accepted = if small { decrease >= -noise } else { row.ratio > 0.05 };
        match new {
            Some(mut new) if accepted => {
                let Some(mut next) = objective.derivatives(&trial, &mut new) else {
                    radius = 0.25 * step.length;
                    continue;
                };
                if O::SECANTS {
                    add(&mut next.curvature, &missing);
                    let lacking = lacking(&slopes, &next, &step);
                    add(&mut next.curvature, &lacking);
                    add(&mut missing, &lacking);
                }
                if row.ratio > 0.75 {
                    radius = radius.max(2.0 * step.length);
                } else if row.ratio < 0.25 {
                    radius = 0.5 * step.length;
                }
                let newton = step.length < 0.99 * row.radius;
                if newton && !(0.5..1.5).contains(&row.ratio) {
                    unlike += 1;
                } else if unlike < O::PATIENCE {
                    unlike = 0;
                }
                point = trial;
                at = new;
                slopes = next;
            }
            _ => {
                radius = 0.25 * step.length;
                if radius < 1e-11 * (1.0 + largest(&point)) || small {
                    status = if small { Status::Converged } else { Status::NoFurtherDecrease };
                    break;
                }
            }
        }
    }
    let (value, gradient_norm) = (objective.value(&at), largest(&slopes.gradient));
    let (kept, curvature) = (objective.keep(at), slopes.curvature);
    Some(Run { point, value, kept, curvature, gradient_norm, status, trace, n_evaluations })
}

/// What the gradients at both ends of a step show the second Hessian to lack: a structured correction of symmetric rank
/// one (Dennis, Gay and Welsch 1981); empty where that would be mostly noise.
fn lacking(before: &Slopes, after: &Slopes, step: &Step) -> Vec<f64> {
    let (s, k) = (&step.direction, step.direction.len());
    let residual: Vec<f64> = (0..k)
        .map(|i| {
            let predicted: f64 = (0..k).map(|j| after.curvature[j * k + i] * s[j]).sum();
            after.gradient[i] - before.gradient[i] - predicted
        })
        .collect();
    let along: f64 = residual.iter().zip(s).map(|(r, s)| r * s).sum();
    let size = residual.iter().map(|r| r * r).sum::<f64>().sqrt();
    if along.abs() <= LEAST_ALONG * size * step.length {
        return vec![];
    }
    (0..k * k).map(|e| residual[e % k] * residual[e / k] / along).collect()
}

fn add(to: &mut [f64], matrix: &[f64]) {
    to.iter_mut().zip(matrix).for_each(|(t, m)| *t += m);
}

/// The first of the runs that are as low as the lowest, converged if one of them is: which one that is must not hang on
/// rounding. Runs that ended at an edge are taken where there are no others.
pub fn best<K>(runs: &[Run<K>]) -> Option<usize> {
    let is_inside = |run: &&Run<K>| run.status != Status::Edge;
    let all_edges = !runs.iter().any(|run| is_inside(&run));
    let usable = |run: &&Run<K>| all_edges || is_inside(run);
    let lowest = runs.iter().filter(usable).map(|run| run.value).min_by(f64::total_cmp)?;
    let low = |run: &Run<K>| usable(&run) && run.value <= lowest + SAME_LOWEST;
    let converged = runs.iter().position(|run| low(run) && run.status == Status::Converged);
    converged.or_else(|| runs.iter().position(low))
}

/// Values of optima above that of a run, each once.
pub fn other_optima<K>(runs: &[Run<K>], best: usize) -> Vec<f64> {
    let mut out: Vec<f64> = Vec::new();
    for run in runs {
        let known = out.iter().any(|o| (o - run.value).abs() < SAME_OPTIMUM);
        if run.status == Status::Converged && run.value - runs[best].value > SAME_OPTIMUM && !known {
            out.push(run.value);
        }
    }
    out
}

fn first_radius(point: &[f64]) -> f64 {
    (point.len() as f64).sqrt()
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

    fn from(&self, point: &[f64]) -> Vec<f64> {
        point.iter().zip(&self.direction).map(|(t, s)| t + s).collect()
    }

    /// Whether the step is one of Newton's last to the optimum of a run.
    fn leads_to<O: Objective>(&self, run: &Run<O::Kept>, objective: &O, point: &[f64], value: f64) -> bool {
        let missed = (value - self.predicted - run.value).abs();
        self.whole
            && self.predicted < NEAR
            && run.status == Status::Converged
            && missed <= NEAR_SHARE * self.predicted + objective.noise(value)
            && objective.distance(&self.from(point), &run.point) <= NEAR_SHARE * self.length
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
