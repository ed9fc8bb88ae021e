//! The trust region's walk over a criterion that Python evaluates.

use crate::objective::{Objective, Slopes};
use crate::trust_region::minimize;
use crate::{caught, contiguous};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::cell::RefCell;

/// Last evaluation, status, gradient norm, trace, number of evaluations.
type Walk<'py> = (Bound<'py, PyAny>, i32, f64, Bound<'py, PyArray2<f64>>, usize);

/// A criterion of Python's. What it raises ends the walk.
struct Called<'py> {
    py: Python<'py>,
    evaluate: Bound<'py, PyAny>,
    /// Terms that the criterion is a sum of.
    n: usize,
    raised: RefCell<Option<PyErr>>,
}

/// What Python made of a point.
#[derive(Clone)]
struct Evaluated<'py> {
    made: Bound<'py, PyAny>,
    value: f64,
}

impl<'py> Called<'py> {
    fn call(&self, point: &[f64], near: Option<&Evaluated<'py>>) -> PyResult<Option<Evaluated<'py>>> {
        self.py.check_signals()?;
        let point = PyArray1::from_slice(self.py, point);
        let made = self.evaluate.call1((point, near.map(|at| &at.made)))?;
        if made.is_none() {
            return Ok(None);
        }
        let value: f64 = made.getattr("value")?.extract()?;
        Ok(value.is_finite().then_some(Evaluated { made, value }))
    }

    fn slopes(&self, at: &Evaluated<'py>, k: usize) -> PyResult<Slopes> {
        let (gradient, curvature): (PyReadonlyArray1<'_, f64>, PyReadonlyArray2<'_, f64>) =
            at.made.call_method0("walked")?.extract()?;
        let gradient = contiguous(&gradient, "the gradient")?.to_vec();
        let curvature = curvature.as_slice().map_err(|_| PyValueError::new_err("the curvature must be in C order"))?;
        if gradient.len() != k || curvature.len() != k * k {
            return Err(PyValueError::new_err(format!("{k} parameters have other derivatives")));
        }
        Ok(Slopes { gradient, curvature: curvature.to_vec() })
    }

    /// What was made of something, or None once Python has raised.
    fn kept<T>(&self, work: impl FnOnce() -> PyResult<Option<T>>) -> Option<T> {
        if self.raised.borrow().is_some() {
            return None;
        }
        work().unwrap_or_else(|error| {
            *self.raised.borrow_mut() = Some(error);
            None
        })
    }
}

impl<'py> Objective for Called<'py> {
    type At<'a>
        = Evaluated<'py>
    where
        Self: 'a;
    type Kept = Evaluated<'py>;
    /// The curvature is the Hessian wherever it can be.
    const PATIENCE: usize = usize::MAX;

    fn evaluate<'a>(&'a self, point: &[f64], near: Option<&Evaluated<'py>>) -> Option<Evaluated<'py>> {
        self.kept(|| self.call(point, near))
    }

    fn value(&self, at: &Evaluated<'py>) -> f64 {
        at.value
    }

    fn derivatives<'a>(&'a self, point: &[f64], at: &mut Evaluated<'py>) -> Option<Slopes> {
        self.kept(|| self.slopes(at, point.len()).map(Some))
    }

    fn hessian<'a>(&'a self, _: &[f64], _: &Evaluated<'py>) -> Option<Vec<f64>> {
        None
    }

    fn reduce(&self, _: &[f64], _: &Evaluated<'py>, _: f64) -> (Option<Vec<f64>>, usize) {
        (None, 0)
    }

    fn noise(&self, value: f64) -> f64 {
        4.0 * f64::EPSILON * (value.abs() + self.n as f64)
    }

    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    fn keep(&self, at: Evaluated<'py>) -> Evaluated<'py> {
        at
    }
}

/// Minimises what `evaluate(point, near)` makes: None, or an object with `value` and `walked()`, gradient and curvature;
/// `near` is None or what was made of the point before. `n`: terms that the value is a sum of.
#[pyfunction]
pub fn minimize_called<'py>(
    py: Python<'py>,
    evaluate: Bound<'py, PyAny>,
    start: PyReadonlyArray1<'py, f64>,
    max_iterations: usize,
    n: usize,
) -> PyResult<Option<Walk<'py>>> {
    let start = contiguous(&start, "start")?.to_vec();
    let called = Called { py, evaluate, n, raised: RefCell::new(None) };
    let run = caught(|| minimize(&called, start, &[], max_iterations))?;
    if let Some(error) = called.raised.into_inner() {
        return Err(error);
    }
    let Some(run) = run else {
        return Ok(None);
    };
    let flat: Vec<f64> =
        run.trace.iter().flat_map(|i| [i.deviance, i.gradient_norm, i.predicted, i.step, i.radius, i.ratio]).collect();
    let trace = flat.into_pyarray(py).reshape([run.trace.len(), 6])?;
    Ok(Some((run.kept.made, run.status as i32, run.gradient_norm, trace, run.n_evaluations)))
}
