//! What a profile minimises, in psi = (theta~, log sigma), and the surfaces it is held to.

use crate::constrained::{Evaluation, Function, Minimum, Surface, minimize};
use crate::deviance::Problem;
use crate::memory::{copied, zeros};
use crate::modes::Glmm;
use crate::objective::Objective;

/// What is held: the residual's log sigma, the log standard deviation of an effect, Fisher's z of a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Sigma,
    Sd { factor: usize, row: usize },
    Correlation { factor: usize, row: usize, column: usize },
}

impl Problem {
    /// The lowest criterion with a parameter held, from psi on.
    pub fn minimize_on(&self, psi: &[f64], held: Held, target: f64, reml: bool) -> Option<Minimum> {
        let mut surface = |psi: &[f64]| self.unbounded(psi, held);
        self.minimize_on_surface(psi, &mut surface, target, reml)
    }

    /// The same with any function of psi held.
    pub fn minimize_on_surface(&self, psi: &[f64], surface: Function, target: f64, reml: bool) -> Option<Minimum> {
        let surface = Surface { function: surface, target };
        minimize(&mut |psi| self.unprofiled(psi, reml), psi, Some(surface))
    }

    /// The lowest criterion of the model with one fixed effect moved to the response, from theta~ on. Under REML the
    /// determinant of the whole X'V^-1X stays: d(theta) + dof log(r2 moved / r2).
    pub fn minimize_beside(&self, moved: &Problem, theta: &[f64], reml: bool) -> Option<Minimum> {
        let mut function = |theta: &[f64]| {
            let (deviance, own, d) = moved.evaluate(theta, false)?;
            if !reml {
                return Some(Evaluation { value: deviance, gradient: d.gradient, hessian: d.curvature });
            }
            let (deviance, s2, whole) = self.evaluate(theta, true)?;
            let dof = self.dof(true);
            let value = deviance + dof * (own * moved.dof(false) / (s2 * dof)).ln();
            let new: Vec<f64> = d.s2_gradient.iter().map(|g| g / own).collect();
            let old: Vec<f64> = whole.s2_gradient.iter().map(|g| g / s2).collect();
            let k = theta.len();
            let gradient = (0..k).map(|i| whole.gradient[i] + dof * (new[i] - old[i])).collect();
            let bend = |e: usize| {
                let (i, j) = (e % k, e / k);
                d.s2_hessian[e] / own - new[i] * new[j] - whole.s2_hessian[e] / s2 + old[i] * old[j]
            };
            let hessian = (0..k * k).map(|e| whole.curvature[e] + dof * bend(e)).collect();
            Some(Evaluation { value, gradient, hessian })
        };
        minimize(&mut function, theta, None)
    }

    /// d(theta~, log sigma) = deviance + dof (rho - 1 - log rho) with rho = s2 / sigma^2.
    fn unprofiled(&self, psi: &[f64], reml: bool) -> Option<Evaluation> {
        let (log_sigma, theta) = psi.split_last()?;
        let (deviance, s2, d) = self.evaluate(theta, reml)?;
        let (k, m, dof) = (theta.len(), psi.len(), self.dof(reml));
        let rho = s2 / (2.0 * log_sigma).exp();
        let relative: Vec<f64> = d.s2_gradient.iter().map(|g| g / s2).collect();
        let mut gradient: Vec<f64> = (0..k).map(|i| d.gradient[i] + dof * (rho - 1.0) * relative[i]).collect();
        gradient.push(2.0 * dof * (1.0 - rho));
        let mut hessian = zeros(m * m);
        for j in 0..k {
            for i in 0..k {
                let bend = relative[i] * relative[j] + (rho - 1.0) * d.s2_hessian[j * k + i] / s2;
                hessian[j * m + i] = d.curvature[j * k + i] + dof * bend;
            }
            hessian[j * m + k] = -2.0 * dof * rho * relative[j];
            hessian[k * m + j] = hessian[j * m + k];
        }
        hessian[k * m + k] = 4.0 * dof * rho;
        let value = deviance + dof * (rho - 1.0 - rho.ln());
        value.is_finite().then_some(Evaluation { value, gradient, hessian })
    }

    /// What is held, on the scale without bounds; None on a bound.
    fn unbounded(&self, psi: &[f64], held: Held) -> Option<Evaluation> {
        let m = psi.len();
        match held {
            Held::Sigma => {
                let mut gradient = zeros(m);
                gradient[m - 1] = 1.0;
                Some(Evaluation { value: psi[m - 1], gradient, hessian: zeros(m * m) })
            }
            Held::Sd { factor, row } => self.log_sd(psi, factor, row),
            Held::Correlation { factor, row, column } => {
                let across = self.covariance(psi, factor, row, column);
                fishers_z(&across, &self.log_sd(psi, factor, row)?, &self.log_sd(psi, factor, column)?)
            }
        }
    }

    fn log_sd(&self, psi: &[f64], factor: usize, row: usize) -> Option<Evaluation> {
        let variance = self.covariance(psi, factor, row, row);
        if variance.value <= 0.0 {
            return None;
        }
        let m = psi.len();
        let relative: Vec<f64> = variance.gradient.iter().map(|g| g / variance.value).collect();
        let bend = |e: usize| 0.5 * (variance.hessian[e] / variance.value - relative[e % m] * relative[e / m]);
        Some(Evaluation {
            value: 0.5 * variance.value.ln(),
            gradient: relative.iter().map(|r| 0.5 * r).collect(),
            hessian: (0..m * m).map(bend).collect(),
        })
    }

    /// An element of Sigma_k, the user's covariance of the effects of a factor (elimination order).
    fn covariance(&self, psi: &[f64], factor: usize, row: usize, column: usize) -> Evaluation {
        let m = psi.len();
        let variance = (2.0 * psi[m - 1]).exp();
        let (a, b) = (self.row_map(factor, row), self.row_map(factor, column));
        let along = |map: &[Vec<f64>]| -> Vec<f64> {
            let mut sum = zeros(self.products.factors[factor].q);
            for (t, image) in psi.iter().zip(map) {
                sum.iter_mut().zip(image).for_each(|(s, v)| *s += t * v);
            }
            sum
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (u, v) = (along(&a), along(&b));
        let value = variance * dot(&u, &v);
        let mut gradient: Vec<f64> = (0..m - 1).map(|i| variance * (dot(&a[i], &v) + dot(&b[i], &u))).collect();
        gradient.push(2.0 * value);
        let mut hessian = zeros(m * m);
        for j in 0..m {
            for i in 0..m {
                hessian[j * m + i] = match (i == m - 1, j == m - 1) {
                    (false, false) => variance * (dot(&a[i], &b[j]) + dot(&a[j], &b[i])),
                    (true, _) => 2.0 * gradient[j],
                    (_, true) => 2.0 * gradient[i],
                };
            }
        }
        Evaluation { value, gradient, hessian }
    }

    /// For each theta~ what it adds, once, to a row of T Lambda~, q values.
    fn row_map(&self, factor: usize, row: usize) -> Vec<Vec<f64>> {
        let f = &self.products.factors[factor];
        let basis = f.basis.matrix();
        let image = |p: &crate::deviance::Parameter| {
            let mut image = zeros(f.q);
            if p.factor == factor {
                p.elements().for_each(|(a, c)| image[c] += basis[a * f.q + row]);
            }
            image
        };
        self.parameters.iter().map(image).collect()
    }
}

impl Glmm {
    /// The lowest criterion with a standard deviation or correlation held, from psi = (theta~, beta~, phi) on.
    pub fn minimize_on(&self, psi: &[f64], held: Held, target: f64) -> Option<Minimum> {
        let (k, m) = (self.problem.n_theta(), psi.len());
        let mut surface = |psi: &[f64]| {
            let found = self.problem.unbounded(&[&psi[..k], &[0.0]].concat(), held)?; // Lambda is absolute: log sigma is 0
            let (mut gradient, mut hessian) = (zeros(m), zeros(m * m));
            for j in 0..k {
                gradient[j] = found.gradient[j];
                hessian[j * m..j * m + k].copy_from_slice(&found.hessian[j * (k + 1)..j * (k + 1) + k]);
            }
            Some(Evaluation { value: found.value, gradient, hessian })
        };
        self.minimize_on_surface(psi, &mut surface, target)
    }

    /// The same with any function of psi held.
    pub fn minimize_on_surface(&self, psi: &[f64], surface: Function, target: f64) -> Option<Minimum> {
        let mut last = None;
        let mut function = |psi: &[f64]| {
            let mut at = self.evaluate(psi, last.as_ref())?;
            let slopes = self.derivatives(psi, &mut at)?;
            let value = self.value(&at);
            last = Some(at);
            Some(Evaluation { value, gradient: slopes.gradient, hessian: slopes.curvature })
        };
        minimize(&mut function, psi, Some(Surface { function: surface, target }))
    }

    /// The lowest criterion with all elements of psi but `free` held where they are.
    pub fn minimize_free(&self, psi: &[f64], free: &[usize]) -> Option<Minimum> {
        let whole = |own: &[f64]| {
            let mut whole = copied(psi);
            free.iter().zip(own).for_each(|(&j, value)| whole[j] = *value);
            whole
        };
        let m = psi.len();
        let mut function = |own: &[f64]| {
            let psi = whole(own);
            let mut at = self.evaluate(&psi, None)?;
            let slopes = self.derivatives(&psi, &mut at)?;
            let gradient = free.iter().map(|&j| slopes.gradient[j]).collect();
            let hessian = free.iter().flat_map(|&j| free.iter().map(move |&i| (i, j)));
            let hessian = hessian.map(|(i, j)| slopes.curvature[j * m + i]).collect();
            Some(Evaluation { value: self.value(&at), gradient, hessian })
        };
        let start: Vec<f64> = free.iter().map(|&j| psi[j]).collect();
        let found = minimize(&mut function, &start, None)?;
        Some(Minimum { point: whole(&found.point), ..found })
    }
}

/// Fisher's z of N exp(-L), N a covariance and L the sum of both log standard deviations; None for plus or minus one.
fn fishers_z(covariance: &Evaluation, one: &Evaluation, other: &Evaluation) -> Option<Evaluation> {
    let m = covariance.gradient.len();
    let log_slope: Vec<f64> = one.gradient.iter().zip(&other.gradient).map(|(a, b)| a + b).collect();
    let (n, scale) = (covariance.value, (-one.value - other.value).exp());
    let rho = n * scale;
    let room = 1.0 - rho * rho;
    if room <= 0.0 {
        return None;
    }
    let slope: Vec<f64> = (0..m).map(|i| scale * (covariance.gradient[i] - n * log_slope[i])).collect();
    let bend = |e: usize| {
        let (i, j) = (e % m, e / m);
        let across = covariance.gradient[i] * log_slope[j] + covariance.gradient[j] * log_slope[i];
        let curved = log_slope[i] * log_slope[j] - one.hessian[e] - other.hessian[e];
        let own = scale * (covariance.hessian[e] - across + n * curved);
        own / room + 2.0 * rho * slope[i] * slope[j] / (room * room)
    };
    Some(Evaluation {
        value: rho.atanh(),
        gradient: slope.iter().map(|s| s / room).collect(),
        hessian: (0..m * m).map(bend).collect(),
    })
}
