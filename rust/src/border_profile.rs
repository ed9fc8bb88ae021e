//! The border to Python for profiles.

use crate::constrained::{Evaluation, Minimum};
use crate::profile::Held;
use crate::{Model, cannot_evaluate, contiguous};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
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
        let (psi, held) = (self.psi(&psi)?, self.held(held)?);
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
        let raised: Mutex<Option<PyErr>> = Mutex::new(None);
        // after an exception it is defined nowhere, which ends the minimisation
        let mut held = |psi: &[f64]| {
            if raised.lock().is_ok_and(|raised| raised.is_some()) {
                return None;
            }
            let call = |py: Python<'_>| evaluation(&function.bind(py).call1((PyArray1::from_slice(py, psi),))?);
            match Python::attach(call) {
                Ok(found) => Some(found),
                Err(error) => {
                    *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            }
        };
        let found = self.found(py, || self.problem.minimize_on_surface(psi, &mut held, target, reml));
        match raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => found,
        }
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

    fn held(&self, (factor, row, column): (isize, usize, usize)) -> PyResult<Held> {
        let Ok(public) = usize::try_from(factor) else { return Ok(Held::Sigma) };
        let mut factors = self.problem.products.factors.iter();
        match factors.position(|f| f.public == public && row.max(column) < f.q) {
            Some(factor) if row == column => Ok(Held::Sd { factor, row }),
            Some(factor) => Ok(Held::Correlation { factor, row, column }),
            None => Err(PyValueError::new_err("there is no such random effect")),
        }
    }

    fn found<'py>(&self, py: Python<'py>, minimize: impl FnOnce() -> Option<Minimum> + Send) -> PyResult<Found<'py>> {
        let found = self.run(py, MANY_EVALUATIONS, minimize)?.ok_or_else(cannot_evaluate)?;
        Ok((found.point.into_pyarray(py), found.value, found.slope, found.converged))
    }
}

/// What a function held returned.
fn evaluation(returned: &Bound<'_, PyAny>) -> PyResult<Evaluation> {
    let (value, gradient, hessian): (f64, PyReadonlyArray1<f64>, PyReadonlyArray2<f64>) = returned.extract()?;
    let hessian = hessian.as_array().iter().copied().collect();
    Ok(Evaluation { value, gradient: gradient.as_array().to_vec(), hessian })
}
