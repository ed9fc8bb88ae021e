//! The border to Python for profiles.

use crate::border_glmm::GeneralizedModel;
use crate::border_inference::by_rows;
use crate::constrained::{Evaluation, Minimum};
use crate::deviance::Problem;
use crate::profile::Held;
use crate::{Model, cannot_evaluate, contiguous};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Evaluations that a minimisation does not exceed.
const MANY_EVALUATIONS: usize = 400;

/// Point, criterion, its slope in what is held, whether it converged.
type Found<'py> = (Bound<'py, PyArray1<f64>>, f64, f64, bool);

#[pymethods]
impl Model {
    /// The lowest criterion with a parameter held at `target` on its scale without bounds: `held` is factor, row and
    /// column, negative for sigma.
    fn minimize_on<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        held: (isize, usize, usize),
        target: f64,
        reml: bool,
    ) -> PyResult<Found<'py>> {
        let (psi, held) = (self.psi(&psi)?, place(&self.problem, held)?);
        self.found(py, || self.problem.minimize_on(psi, held, target, reml))
    }

    /// The same with a function of psi held, which returns its value, gradient and Hessian.
    fn minimize_on_function<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        function: Py<PyAny>,
        target: f64,
        reml: bool,
    ) -> PyResult<Found<'py>> {
        let psi = self.psi(&psi)?;
        let called = Called::new(function);
        let found = self.found(py, || self.problem.minimize_on_surface(psi, &mut |psi| called.at(psi), target, reml));
        called.or_raise(found)
    }

    /// The lowest criterion with a fixed effect held, which `moved` has in its response, from theta~ on.
    fn minimize_beside<'py>(
        &self,
        py: Python<'py>,
        moved: &Model,
        theta: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<Found<'py>> {
        let theta = self.theta(&theta)?;
        if moved.problem.n_theta() != theta.len() {
            return Err(PyValueError::new_err("both models must have the same random effects"));
        }
        self.found(py, || self.problem.minimize_beside(&moved.problem, theta, reml))
    }
}

impl Model {
    fn psi<'a>(&self, psi: &'a PyReadonlyArray1<'_, f64>) -> PyResult<&'a [f64]> {
        let values = contiguous(psi, "psi")?;
        if values.len() != self.problem.n_theta() + 1 || values.iter().any(|v| !v.is_finite()) {
            let n = self.problem.n_theta() + 1;
            return Err(PyValueError::new_err(format!("psi must be {n} finite numbers, got {}", values.len())));
        }
        Ok(values)
    }

    fn found<'py>(&self, py: Python<'py>, minimize: impl FnOnce() -> Option<Minimum> + Send) -> PyResult<Found<'py>> {
        plain(py, self.run(py, MANY_EVALUATIONS, minimize)?)
    }
}

#[pymethods]
impl GeneralizedModel {
    /// What the random effects are in the engine's units: (q, q) a factor.
    fn basis<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<f64>>>> {
        let mut factors: Vec<_> = self.glmm.problem.products.factors.iter().collect();
        factors.sort_by_key(|f| f.public);
        factors.iter().map(|f| by_rows(f.basis.matrix(), f.q)?.into_pyarray(py).reshape([f.q, f.q])).collect()
    }

    /// The lowest criterion with a standard deviation or correlation held at `target` on its scale without bounds.
    fn minimize_on<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        held: (isize, usize, usize),
        target: f64,
    ) -> PyResult<Found<'py>> {
        let (psi, held) = (self.checked(&psi)?, place(&self.glmm.problem, held)?);
        plain(py, self.run(py, MANY_EVALUATIONS, || self.glmm.minimize_on(psi, held, target))?)
    }

    /// The lowest criterion with a function of psi held, which returns its value, gradient and Hessian.
    fn minimize_on_function<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        function: Py<PyAny>,
        target: f64,
    ) -> PyResult<Found<'py>> {
        let psi = self.checked(&psi)?;
        let called = Called::new(function);
        let minimize = || self.glmm.minimize_on_surface(psi, &mut |psi| called.at(psi), target);
        let found = self.run(py, MANY_EVALUATIONS, minimize);
        called.or_raise(found.and_then(|found| plain(py, found)))
    }

    /// The lowest criterion with all elements of psi but some held where they are.
    fn minimize_free<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        free: Vec<usize>,
    ) -> PyResult<Found<'py>> {
        let psi = self.checked(&psi)?;
        if free.iter().any(|&j| j >= psi.len()) {
            return Err(PyValueError::new_err(format!("psi has {} elements", psi.len())));
        }
        let found = self.run(py, MANY_EVALUATIONS, || self.glmm.minimize_free(psi, &free))?;
        plain(py, found)
    }
}

/// What is held, by the caller's factors.
fn place(problem: &Problem, (factor, row, column): (isize, usize, usize)) -> PyResult<Held> {
    let Ok(public) = usize::try_from(factor) else { return Ok(Held::Sigma) };
    let mut factors = problem.products.factors.iter();
    match factors.position(|f| f.public == public && row.max(column) < f.q) {
        Some(factor) if row == column => Ok(Held::Sd { factor, row }),
        Some(factor) => Ok(Held::Correlation { factor, row, column }),
        None => Err(PyValueError::new_err("there is no such random effect")),
    }
}

fn plain(py: Python<'_>, found: Option<Minimum>) -> PyResult<Found<'_>> {
    let found = found.ok_or_else(cannot_evaluate)?;
    Ok((found.point.into_pyarray(py), found.value, found.slope, found.converged))
}

/// A function of Python's that is held. After an exception it is defined nowhere, which ends the minimisation.
struct Called {
    function: Py<PyAny>,
    raised: Mutex<Option<PyErr>>,
}

impl Called {
    fn new(function: Py<PyAny>) -> Called {
        Called { function, raised: Mutex::new(None) }
    }

    fn at(&self, psi: &[f64]) -> Option<Evaluation> {
        if self.raised.lock().is_ok_and(|raised| raised.is_some()) {
            return None;
        }
        let call = |py: Python<'_>| evaluation(&self.function.bind(py).call1((PyArray1::from_slice(py, psi),))?);
        match Python::attach(call) {
            Ok(found) => Some(found),
            Err(error) => {
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }

    fn or_raise<T>(self, found: PyResult<T>) -> PyResult<T> {
        match self.raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => found,
        }
    }
}

/// What a function held returned.
fn evaluation(returned: &Bound<'_, PyAny>) -> PyResult<Evaluation> {
    let (value, gradient, hessian): (f64, PyReadonlyArray1<f64>, PyReadonlyArray2<f64>) = returned.extract()?;
    let hessian = hessian.as_array().iter().copied().collect();
    Ok(Evaluation { value, gradient: gradient.as_array().to_vec(), hessian })
}
