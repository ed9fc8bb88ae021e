//! Fits of many responses to one model, side by side: of a bootstrap, a simulation, or as they were measured.
//!
//! Of a response are only its products; the rows of X and Z in their bases are formed once, and levels that are alike are
//! turned into few. Products are summed in the order in which those of one response are, and walks begin and go on as
//! its walk does, so that the numbers are those of a fit by itself.

use crate::alike::Turned;
use crate::deviance::Problem;
use crate::inference::Information;
use crate::memory::{copied, reserved, zeros};
use crate::model::{FixedEffects, Starts};
use crate::products::{Factor, ModelRows, Products};
use crate::rows::{ByLevel, CHUNK};
use crate::threads::Stop;
use faer::Par;
use rayon::prelude::*;

/// Of a refit.
pub const MAX_ITERATIONS: usize = 200;

/// One fit.
pub struct Refit {
    pub fixed: FixedEffects,
    pub theta: Vec<f64>,
    pub deviance: f64,
    /// As `Status`; -1: cannot be fitted.
    pub status: i32,
    pub singular: bool,
    /// If it was asked for and the fit allows it.
    pub information: Option<Information>,
}

/// What is wanted of fits.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub reml: bool,
    pub starts: Starts<'a>,
    pub max_iterations: usize,
    /// What tests of the fixed effects need.
    pub inference: bool,
}

impl Problem {
    /// The fit of each response (rows of `responses`, n values each).
    pub fn refit_many(&self, rows: &ModelRows, responses: &[f64], asked: Asked) -> Vec<Refit> {
        let n = rows.y.len();
        let stop = Stop::current();
        let asked = Asked { starts: self.settled(asked.starts), ..asked };
        let turned = Turned::of(&self.products);
        let fit = |products: Option<Products>, par: Par| self.refit(products?, turned.as_ref(), asked, par);
        let or_failed = |y: &[f64], fit: &dyn Fn(&[f64]) -> Option<Refit>| {
            y.iter().all(|y| y.is_finite()).then(|| fit(y)).flatten().unwrap_or_else(|| self.failed())
        };
        if responses.len() <= n {
            let one = |y: &[f64]| fit(self.products.with_response(&ModelRows { y, ..rows.clone() }).ok(), self.par);
            return responses.chunks_exact(n).map(|y| or_failed(y, &one)).collect();
        }
        let prepared = Prepared::of(&self.products, rows);
        let one = |y: &[f64]| fit(prepared.products(y), Par::Seq);
        responses.par_chunks_exact(n).map(|y| stop.about(|| or_failed(y, &one))).collect()
    }

    fn refit(&self, products: Products, turned: Option<&Turned>, asked: Asked, par: Par) -> Option<Refit> {
        let Asked { reml, starts, max_iterations, inference } = asked;
        let problem = Problem::with_pattern(products, self.pattern.clone(), par);
        let starts = problem.starts(reml, starts);
        let long = problem.is_long();
        let problem = match turned {
            Some(turned) => Problem::with_pattern(turned.products(&problem.products), self.pattern.clone(), par),
            None => problem,
        };
        let minimum = problem.minimum_from(reml, starts, max_iterations).ok()?;
        Some(Refit {
            fixed: problem.fixed_effects(&minimum.theta, reml)?,
            deviance: minimum.deviance,
            status: minimum.status as i32,
            singular: minimum.singular,
            information: inference.then(|| problem.information(&minimum.theta, reml, long)).flatten(),
            theta: minimum.theta,
        })
    }

    fn failed(&self) -> Refit {
        let missing = |size: usize| vec![f64::NAN; size];
        let p = self.products.p;
        Refit {
            fixed: FixedEffects { beta: missing(p), root: missing(p * p), sigma: f64::NAN },
            theta: missing(self.n_theta()),
            deviance: f64::NAN,
            status: -1,
            singular: false,
            information: None,
        }
    }
}

/// All that products with a response are formed from.
struct Prepared<'a> {
    products: &'a Products,
    weights: Option<&'a [f64]>,
    /// Rows of X in its basis, n x p.
    x: Vec<f64>,
    /// Roots of the weights; empty without.
    roots: Vec<f64>,
    /// Rows of Z in its basis, times those roots, n x q a factor; and the rows of its levels.
    factors: Vec<(Vec<f64>, ByLevel)>,
}

impl<'a> Prepared<'a> {
    fn of(products: &'a Products, rows: &ModelRows<'a>) -> Prepared<'a> {
        let (n, p) = (rows.y.len(), products.p);
        let roots: Vec<f64> = rows.weights.map_or(vec![], |w| w.iter().map(|w| w.sqrt()).collect());
        let mut x = zeros(n * p);
        for (i, out) in x.chunks_exact_mut(p.max(1)).enumerate() {
            products.x_basis.apply(rows.x.row(i), out);
        }
        let factor = |factor: &Factor| {
            let given = &rows.factors[factor.public];
            let mut z = zeros(n * factor.q);
            for (i, out) in z.chunks_exact_mut(factor.q).enumerate() {
                factor.basis.apply(given.z.row(i), out);
                if let Some(root) = roots.get(i) {
                    out.iter_mut().for_each(|v| *v *= root);
                }
            }
            (z, ByLevel::new(given.codes, given.n_levels))
        };
        let factors = products.factors.iter().map(factor).collect();
        Prepared { products, weights: rows.weights, x, roots, factors }
    }

    /// The products with a response; None where the fixed effects fit it perfectly. As `Products::with_response`.
    fn products(&self, y: &[f64]) -> Option<Products> {
        let (n, p) = (y.len(), self.products.p);
        let m = p + 1;
        let x = |i: usize| &self.x[i * p..(i + 1) * p];
        let mut sums = zeros(m);
        for first in (0..n).step_by(CHUNK) {
            let mut part = zeros(m);
            for i in first..n.min(first + CHUNK) {
                let wy = self.weights.map_or(y[i], |w| w[i] * y[i]);
                part.iter_mut().zip(x(i)).for_each(|(sum, x)| *sum += x * wy);
                part[p] += wy * y[i];
            }
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let beta0: Vec<f64> = sums[..p].iter().map(|s| s / n as f64).collect();
        let mut residual = reserved(n);
        let mut column = zeros(m);
        for first in (0..n).step_by(CHUNK) {
            let mut part = zeros(m);
            for i in first..n.min(first + CHUNK) {
                let fit: f64 = x(i).iter().zip(&beta0).map(|(q, b)| q * b).sum();
                let root = self.roots.get(i).copied();
                let r = root.map_or(y[i] - fit, |root| (y[i] - fit) * root);
                residual.push(r);
                part.iter_mut().zip(x(i)).for_each(|(sum, x)| *sum += root.map_or(*x, |root| x * root) * r);
                part[p] += r * r;
            }
            column.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let scale = Products::residual_scale(column[p], sums[p], n)?;
        let mut xx = copied(&self.products.xx);
        for (a, sum) in column.iter().enumerate() {
            let value = if a == p { sum / scale / scale } else { sum / scale };
            xx[p * m + a] = value;
            xx[a * m + p] = value;
        }
        let with_its_products = |(factor, (z, by_level)): (&Factor, &(Vec<f64>, ByLevel))| {
            let (q, mut factor) = (factor.q, factor.clone());
            for (level, zx) in factor.zx.chunks_exact_mut(q * m).enumerate() {
                let out = &mut zx[q * p..];
                out.fill(0.0);
                for &i in by_level.rows(level) {
                    let i = i as usize;
                    out.iter_mut().zip(&z[i * q..(i + 1) * q]).for_each(|(sum, z)| *sum += z * residual[i]);
                }
                out.iter_mut().for_each(|v| *v /= scale);
            }
            factor
        };
        let factors = self.products.factors.iter().zip(&self.factors).map(with_its_products).collect();
        Some(Products { beta0, scale, xx, factors, ..self.products.clone() })
    }
}
