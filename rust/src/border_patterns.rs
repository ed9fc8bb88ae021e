//! The border to Python for residuals that are correlated within subjects.

#![allow(non_snake_case)] // matrices are X, Y and W in Python, where they are keywords

use crate::basis::Basis;
use crate::border_inference::by_rows;
use crate::patterns::{PatternRows, Patterns};
use crate::products::ModelRows;
use crate::{any_of, contiguous, guarded, has_bad_value, matrix, perfect_fit, products_flops};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArray5, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use numpy::{PyReadonlyArray3, PyReadonlyArray5};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Means, map, beta and root in the fixed basis.
pub type FixedRoot<'py> =
    (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// Sums and counts by pairs of visits.
type Moments<'py> = (Bound<'py, PyArray3<f64>>, Bound<'py, PyArray3<f64>>);

/// What second derivatives of V add to Kenward and Roger's method.
type SecondOrder<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray3<f64>>);

/// Value, gradient, three parts of the curvature, products.
type Slopes<'py> = (f64, Bound<'py, PyArray3<f64>>, Vec<Bound<'py, PyArray5<f64>>>, Bound<'py, PyArray5<f64>>);

/// Value, gradient, three parts of the Hessian, products.
type BlockSlopes<'py> = (f64, Bound<'py, PyArray1<f64>>, Vec<Bound<'py, PyArray2<f64>>>, Bound<'py, PyArray3<f64>>);

/// What second derivatives of V add to Kenward and Roger's method, along the parameters.
type BlockSecondOrder<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>);

/// Subjects by patterns of visits; keeps no rows of the data.
#[pyclass(frozen, module = "mixedmodels._engine")]
pub struct PatternModel {
    patterns: Patterns,
    n_threads: usize,
}

#[pymethods]
impl PatternModel {
    #[new]
    #[pyo3(signature = (y, X, weights, order, groups, visits, n_subjects, n_visits, n_groups, n_threads=0))]
    fn new<'py>(
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        order: PyReadonlyArray1<'py, i64>,
        groups: Vec<usize>,
        visits: Vec<Vec<usize>>,
        n_subjects: Vec<usize>,
        n_visits: usize,
        n_groups: usize,
        n_threads: usize,
    ) -> PyResult<PatternModel> {
        let refuse = |message: String| Err(PyValueError::new_err(message));
        let y = contiguous(&y, "y")?;
        let n = y.len();
        let x = matrix(&X, n, "X")?;
        if n == 0 || any_of(y, |v| !v.is_finite()) || has_bad_value(&x) {
            return refuse("y and X must be finite and not empty".into());
        }
        let weights = weights.as_ref().map(|w| contiguous(w, "weights")).transpose()?;
        if weights.is_some_and(|w| w.len() != n || any_of(w, |w| !(w.is_finite() && *w > 0.0))) {
            return refuse(format!("weights must be {n} positive finite numbers"));
        }
        let order = contiguous(&order, "order")?;
        if order.len() != n || any_of(order, |&i| i < 0 || i as usize >= n) {
            return refuse(format!("order must be {n} rows"));
        }
        if groups.len() != visits.len() || groups.len() != n_subjects.len() {
            return refuse("groups, visits and n_subjects must have one entry a pattern".into());
        }
        let covered: usize = visits.iter().zip(&n_subjects).map(|(v, k)| v.len() * k).sum();
        let ascending =
            |v: &[usize]| v.windows(2).all(|pair| pair[0] < pair[1]) && v.last().is_some_and(|&l| l < n_visits);
        if covered != n || groups.iter().any(|&g| g >= n_groups) || !visits.iter().all(|v| ascending(v)) {
            return refuse("patterns must cover the rows, with ascending visits".into());
        }
        let rows = ModelRows { y, x, weights, factors: vec![] };
        let listed = groups.into_iter().zip(visits).zip(n_subjects);
        let listed = listed.map(|((group, visits), n_subjects)| PatternRows { group, visits, n_subjects }).collect();
        let flops = products_flops(&rows) * n_visits as f64;
        let patterns = guarded(py, n_threads, flops, || Patterns::new(&rows, order, listed, n_visits, n_groups))?;
        Ok(PatternModel { patterns: patterns.map_err(perfect_fit)?, n_threads })
    }

    /// Columns of X that are not aliased.
    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.patterns.x_basis.kept.clone()
    }
    /// Columns of X that are kept and nearly are combinations of columns before them.
    #[getter]
    fn nearly_dependent(&self) -> Vec<usize> {
        self.patterns.x_basis.nearly_dependent.clone()
    }
    #[getter]
    fn scale(&self) -> f64 {
        self.patterns.scale
    }
    fn constant(&self, reml: bool) -> f64 {
        self.patterns.constant(reml)
    }

    /// Sums and counts of products of residuals by pairs of visits, (G, V, V) each.
    fn moments<'py>(&self, py: Python<'py>) -> PyResult<Moments<'py>> {
        let (sums, counts) = self.run(py, || self.patterns.moments())?;
        Ok((self.by_pairs(py, sums)?, self.by_pairs(py, counts)?))
    }

    /// The criterion without its constant at Sigma (G, V, V), over scale^2; None where it is not positive definite.
    fn value(&self, py: Python<'_>, sigma: PyReadonlyArray3<'_, f64>, reml: bool) -> PyResult<Option<f64>> {
        let sigma = self.sigma(&sigma)?;
        self.run(py, || self.patterns.value(sigma, reml))
    }

    /// Value, gradient (G, V, V), parts of the curvature (G, V, V, V, V) and products (G, V, p + 1, V, p + 1).
    fn derivatives<'py>(
        &self,
        py: Python<'py>,
        sigma: PyReadonlyArray3<'py, f64>,
        reml: bool,
    ) -> PyResult<Option<Slopes<'py>>> {
        let sigma = self.sigma(&sigma)?;
        let Some(found) = self.run(py, || self.patterns.derivatives(sigma, reml))? else {
            return Ok(None);
        };
        let (g, v, c) = (self.patterns.n_groups, self.patterns.n_visits, self.patterns.p + 1);
        let curvature = found.curvature.into_iter().map(|part| part.into_pyarray(py).reshape([g, v, v, v, v]));
        Ok(Some((
            found.value,
            self.by_pairs(py, found.gradient)?,
            curvature.collect::<PyResult<_>>()?,
            found.outer.into_pyarray(py).reshape([g, v, c, v, c])?,
        )))
    }

    /// Means m (p,) and map T (p, p) of the basis (x - m x_1) T, beta (p,) in it, and U^-T (p, p) over the scale.
    fn fixed_root<'py>(
        &self,
        py: Python<'py>,
        sigma: PyReadonlyArray3<'py, f64>,
        reml: bool,
    ) -> PyResult<Option<FixedRoot<'py>>> {
        let sigma = self.sigma(&sigma)?;
        let found = self.run(py, || self.patterns.fixed_root(sigma, reml))?;
        self.root(py, found)
    }

    /// sum W_ij Q_ij and X'V^-1 V_W V^-1 X, (p, p) each, in the columns of the root, and the coefficients of dSigma_j in tr(P dSigma_j P D) without
    /// its part of second order in X, (G, V, V).
    fn kenward_roger<'py>(
        &self,
        py: Python<'py>,
        sigma: PyReadonlyArray3<'py, f64>,
        b: PyReadonlyArray5<'py, f64>,
        d: PyReadonlyArray3<'py, f64>,
    ) -> PyResult<Option<SecondOrder<'py>>> {
        let (sigma, d) = (self.sigma(&sigma)?, self.sigma(&d)?);
        let b = b.as_slice().map_err(|_| PyValueError::new_err("B must be contiguous"))?;
        let v = self.patterns.n_visits;
        if b.len() != self.patterns.n_groups * v.pow(4) {
            return Err(PyValueError::new_err("B must be (G, V, V, V, V)"));
        }
        let Some([q, r, t]) = self.run(py, || self.patterns.kenward_roger(sigma, b, d))? else {
            return Ok(None);
        };
        let p = self.patterns.p;
        let square = |values: Vec<f64>| by_rows(values, p)?.into_pyarray(py).reshape([p, p]);
        Ok(Some((square(q)?, square(r)?, self.by_pairs(py, t)?)))
    }

    /// The criterion without its constant where each pattern has a covariance V of its own: their values one after the
    /// other; None where one is not positive definite.
    fn block_value(&self, py: Python<'_>, V: PyReadonlyArray1<'_, f64>, reml: bool) -> PyResult<Option<f64>> {
        let v = self.blocks(&V, 1, "V")?;
        self.run(py, || self.patterns.block_value(v, reml))
    }

    /// What `fixed_root` returns, for blocks.
    fn block_root<'py>(
        &self,
        py: Python<'py>,
        V: PyReadonlyArray1<'py, f64>,
        reml: bool,
    ) -> PyResult<Option<FixedRoot<'py>>> {
        let v = self.blocks(&V, 1, "V")?;
        let found = self.run(py, || self.patterns.block_root(v, reml))?;
        self.root(py, found)
    }

    /// Value, gradient in V, three parts of the Hessian (k, k) and products (k, p + 1, p + 1) along k matrices dV a block.
    fn block_derivatives<'py>(
        &self,
        py: Python<'py>,
        V: PyReadonlyArray1<'py, f64>,
        dV: PyReadonlyArray1<'py, f64>,
        k: usize,
        reml: bool,
    ) -> PyResult<Option<BlockSlopes<'py>>> {
        let (v, d) = (self.blocks(&V, 1, "V")?, self.blocks(&dV, k, "dV")?);
        let Some(found) = self.run(py, || self.patterns.block_derivatives(v, d, k, reml))? else {
            return Ok(None);
        };
        let c = self.patterns.p + 1;
        let parts = found.parts.into_iter().map(|part| part.into_pyarray(py).reshape([k, k]));
        Ok(Some((
            found.value,
            found.gradient.into_pyarray(py),
            parts.collect::<PyResult<_>>()?,
            found.products.into_pyarray(py).reshape([k, c, c])?,
        )))
    }

    /// sum W_ij Q_ij and X'V^-1 V_W V^-1 X, (p, p) each, in the columns of the root, and tr(P dV_j P V_W) without its part
    /// of second order in X, (k,), for W (k, k) and V_W a block.
    fn block_kenward_roger<'py>(
        &self,
        py: Python<'py>,
        V: PyReadonlyArray1<'py, f64>,
        dV: PyReadonlyArray1<'py, f64>,
        W: PyReadonlyArray2<'py, f64>,
        bend: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Option<BlockSecondOrder<'py>>> {
        let k = W.as_array().nrows();
        let (v, d) = (self.blocks(&V, 1, "V")?, self.blocks(&dV, k, "dV")?);
        let bend = self.blocks(&bend, 1, "V_W")?;
        let w = W.as_slice().map_err(|_| PyValueError::new_err("W must be contiguous"))?;
        if w.len() != k * k {
            return Err(PyValueError::new_err("W must be square"));
        }
        let Some([q, r, t]) = self.run(py, || self.patterns.block_kenward_roger(v, d, k, w, bend))? else {
            return Ok(None);
        };
        let p = self.patterns.p;
        let square = |values: Vec<f64>| by_rows(values, p)?.into_pyarray(py).reshape([p, p]);
        Ok(Some((square(q)?, square(r)?, t.into_pyarray(py))))
    }
}

/// A fixed part, as coefficients and U^-T, in its basis and in units of the response.
pub fn fixed_root<'py>(
    py: Python<'py>,
    basis: &Basis,
    beta0: &[f64],
    scale: f64,
    (beta, root): (Vec<f64>, Vec<f64>),
) -> PyResult<FixedRoot<'py>> {
    let p = beta.len();
    let (mean, map) = basis.centred();
    let beta: Vec<f64> = beta0.iter().zip(&beta).map(|(b0, b)| b0 + scale * b).collect();
    Ok((
        mean.to_vec().into_pyarray(py),
        by_rows(map.to_vec(), p)?.into_pyarray(py).reshape([p, p])?,
        beta.into_pyarray(py),
        by_rows(root, p)?.into_pyarray(py).reshape([p, p])?,
    ))
}

impl PatternModel {
    fn root<'py>(&self, py: Python<'py>, found: Option<(Vec<f64>, Vec<f64>)>) -> PyResult<Option<FixedRoot<'py>>> {
        let Patterns { x_basis, beta0, scale, .. } = &self.patterns;
        found.map(|found| fixed_root(py, x_basis, beta0, *scale, found)).transpose()
    }

    fn blocks<'a>(&self, values: &'a PyReadonlyArray1<'_, f64>, times: usize, name: &str) -> PyResult<&'a [f64]> {
        let found = contiguous(values, name)?;
        let wanted = times * self.patterns.block_values();
        if found.len() != wanted || any_of(found, |s| !s.is_finite()) {
            return Err(PyValueError::new_err(format!("{name} must be {wanted} finite numbers")));
        }
        Ok(found)
    }

    fn run<T: Send>(&self, py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
        guarded(py, self.n_threads, self.patterns.flops(), work)
    }

    fn sigma<'a>(&self, sigma: &'a PyReadonlyArray3<'_, f64>) -> PyResult<&'a [f64]> {
        let values = sigma.as_slice().map_err(|_| PyValueError::new_err("Sigma must be contiguous"))?;
        let (g, v) = (self.patterns.n_groups, self.patterns.n_visits);
        if sigma.as_array().dim() != (g, v, v) || any_of(values, |s| !s.is_finite()) {
            return Err(PyValueError::new_err(format!("Sigma must be ({g}, {v}, {v}) finite numbers")));
        }
        Ok(values)
    }

    fn by_pairs<'py>(&self, py: Python<'py>, values: Vec<f64>) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let v = self.patterns.n_visits;
        values.into_pyarray(py).reshape([self.patterns.n_groups, v, v])
    }
}
