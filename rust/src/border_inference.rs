//! The border to Python for what comes after a fit: inference, refits of many responses, prediction variances.

use crate::inference::Information;
use crate::memory::{reserved, zeros};
use crate::model::Starts;
use crate::prediction::NewRows;
use crate::refit::{Asked, MAX_ITERATIONS, Refit};
use crate::rows::Source;
use crate::{Arrays, Model, block, cannot_evaluate, caught, contiguous, matrix, width, with_relations};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Deviance, s2, gradient, curvature, gradient and Hessian of s2.
type Evaluation<'py> = (
    f64,
    f64,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray2<f64>>,
);

/// Flat directions by V and by A'VA, and what the fixed part leaves of each factor.
type Directions<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, Vec<Bound<'py, PyArray2<f64>>>);

/// Means, map, beta and root in the fixed basis.
type FixedRoot<'py> =
    (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// First columns, means and map of one factor's basis.
type EffectBasis<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// Beta, roots K, sigma, theta, deviance, status, singular, the engine's theta, Hessian, sensitivity.
type ManyFits<'py> = (
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray3<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<bool>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray3<f64>>,
    Bound<'py, PyArray4<f64>>,
);

/// Beta and conditional modes.
type Solution<'py> = (Bound<'py, PyArray1<f64>>, Vec<Bound<'py, PyArray2<f64>>>);

/// Parameters in the engine's coordinates, and what inference needs there.
#[pymethods]
impl Model {
    /// (n_theta, 3): the caller's factor, row, column.
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let factors = &self.problem.products.factors;
        let rows = self.problem.parameters.iter();
        let flat: Vec<i64> = rows.flat_map(|p| [factors[p.factor].public, p.row, p.column].map(|v| v as i64)).collect();
        flat.into_pyarray(py).reshape([self.problem.n_theta(), 3])
    }

    /// T_k (q, q) of each factor.
    fn basis<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArray2<f64>>>> {
        let mut factors: Vec<_> = self.problem.products.factors.iter().collect();
        factors.sort_by_key(|f| f.public);
        factors.truncate(self.shape.2.len());
        factors.iter().map(|f| by_rows(f.basis.matrix(), f.q)?.into_pyarray(py).reshape([f.q, f.q])).collect()
    }

    /// Directions of (sigma^2, sigma^2 S~) that change neither V (m, k + 1) nor, by REML, A'VA (m', k + 1), and what the
    /// fixed part leaves of Z'WZ, summed over the levels (q, q) of each factor.
    fn identification<'py>(&self, py: Python<'py>) -> PyResult<Directions<'py>> {
        let found =
            self.run(py, (self.problem.n_theta() + 1).pow(2), || self.problem.of_random_effects().identification())?;
        let m = self.problem.n_theta() + 1;
        let rows = |flat: Vec<f64>| {
            let n = flat.len() / m;
            flat.into_pyarray(py).reshape([n, m])
        };
        let square = |flat: Vec<f64>| {
            let q = flat.len().isqrt();
            flat.into_pyarray(py).reshape([q, q])
        };
        let visible = found.visible.into_iter().map(square).collect::<PyResult<_>>()?;
        Ok((rows(found.covariance)?, rows(found.contrasts)?, visible))
    }

    fn to_engine<'py>(&self, py: Python<'py>, theta: PyReadonlyArray1<'_, f64>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(self.problem.to_engine(self.theta(&theta)?).into_pyarray(py))
    }

    fn to_user<'py>(&self, py: Python<'py>, theta: PyReadonlyArray1<'_, f64>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(self.problem.to_user(self.theta(&theta)?).into_pyarray(py))
    }

    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<Evaluation<'py>> {
        let theta = self.theta(&theta)?;
        let at = self.run(py, 4, || self.problem.evaluate(theta, reml))?;
        let (deviance, s2, derivatives) = at.ok_or_else(cannot_evaluate)?;
        let k = theta.len();
        Ok((
            deviance,
            s2,
            derivatives.gradient.into_pyarray(py),
            derivatives.curvature.into_pyarray(py).reshape([k, k])?,
            derivatives.s2_gradient.into_pyarray(py),
            derivatives.s2_hessian.into_pyarray(py).reshape([k, k])?,
        ))
    }

    /// Means m (p,) and map T (p, p) of the fixed basis (x - m x_1) T; in it beta (p,) and K (p, p).
    #[pyo3(signature = (theta, in_engine = false))]
    fn fixed_root<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        in_engine: bool,
    ) -> PyResult<FixedRoot<'py>> {
        let theta = self.engine_theta(&theta, in_engine)?;
        let found = self.run(py, 1, || self.problem.fixed_in_basis(&theta))?;
        let (beta, root) = found.ok_or_else(cannot_evaluate)?;
        let p = self.problem.products.p;
        let (mean, map) = self.problem.products.x_basis.centred();
        Ok((
            mean.to_vec().into_pyarray(py),
            by_rows(map.to_vec(), p)?.into_pyarray(py).reshape([p, p])?,
            beta.into_pyarray(py),
            by_rows(root, p)?.into_pyarray(py).reshape([p, p])?,
        ))
    }

    /// First columns of blocks f (q,), means m (q,) and map T (q, q) of each factor's basis (z - m z_f) T.
    fn effect_bases<'py>(&self, py: Python<'py>) -> PyResult<Vec<EffectBasis<'py>>> {
        let mut factors: Vec<_> = self.problem.products.factors.iter().collect();
        factors.sort_by_key(|f| f.public);
        factors.truncate(self.shape.2.len());
        let one = |f: &&crate::products::Factor| {
            let (first, mean, map) = f.basis.centred();
            let first: Vec<i64> = first.into_iter().map(|j| j as i64).collect();
            let map = by_rows(map, f.q)?.into_pyarray(py).reshape([f.q, f.q])?;
            Ok((first.into_pyarray(py), mean.into_pyarray(py), map))
        };
        factors.iter().map(one).collect()
    }

    /// At the engine's theta: beta (p,) and conditional modes (n_levels, q) a factor, in the bases of their columns.
    fn solve_in_bases<'py>(&self, py: Python<'py>, theta: PyReadonlyArray1<'_, f64>) -> PyResult<Solution<'py>> {
        let theta = self.theta(&theta)?;
        let found = self.run(py, 4, || self.problem.estimates_in_bases(theta))?;
        let (beta, b) = found.ok_or_else(cannot_evaluate)?;
        let modes = b.into_iter().zip(&self.shape.2);
        let modes = modes.map(|(b, (levels, blocks))| b.into_pyarray(py).reshape([*levels, width(blocks)]));
        Ok((beta.into_pyarray(py), modes.collect::<PyResult<_>>()?))
    }

    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn information<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray3<f64>>)> {
        let theta = self.theta(&theta)?;
        let found = self.run(py, 8 * (self.problem.n_theta() + 1), || {
            self.problem.information(theta, reml, self.problem.is_long())
        })?;
        let found = found.ok_or_else(cannot_evaluate)?;
        let (k, p) = (theta.len(), self.problem.products.p);
        Ok((
            found.theta.into_pyarray(py),
            found.hessian.into_pyarray(py).reshape([k + 1, k + 1])?,
            found.sensitivity.into_pyarray(py).reshape([k, p, p])?,
        ))
    }

    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn kenward_roger<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<(
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray3<f64>>,
        Bound<'py, PyArray4<f64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray2<f64>>,
    )> {
        let theta = self.theta(&theta)?;
        let found = self.run(py, 64 * (self.problem.n_theta() + 1), || self.problem.kenward_roger(theta))?;
        let found = found.ok_or_else(cannot_evaluate)?;
        let (k, p) = (theta.len(), self.problem.products.p);
        Ok((
            found.covariances.into_pyarray(py),
            found.p_hat.into_pyarray(py).reshape([k, p, p])?,
            found.q_hat.into_pyarray(py).reshape([k, k, p, p])?,
            found.trace_1.into_pyarray(py),
            found.trace_2.into_pyarray(py).reshape([k, k])?,
        ))
    }

    /// Var(x'(beta^ - beta) + z'(b^ - b)) / sigma^2 of each row (m,); code -1: no such level.
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    #[pyo3(signature = (theta, x, codes, Z, in_engine = false))]
    fn quadratic_forms<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        x: PyReadonlyArray2<'_, f64>,
        codes: Vec<PyReadonlyArray1<'_, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'_, f64>>>,
        in_engine: bool,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let theta = self.engine_theta(&theta, in_engine)?;
        let m = x.as_array().nrows();
        let x = matrix(&x, m, "x")?;
        let shapes = &self.shape.2;
        if x.n_cols() != self.problem.products.p || codes.len() != shapes.len() || Z.len() != shapes.len() {
            return Err(PyValueError::new_err("x, codes and Z must have the columns and factors of the model"));
        }
        let levels = codes.iter().map(|c| contiguous(c, "codes")).collect::<PyResult<Vec<_>>>()?;
        let mut columns = Vec::new();
        for z in &Z {
            columns.push(match z {
                Some(z) => matrix(z, m, "Z")?,
                None => Source::Ones(m),
            });
        }
        for (k, ((codes, z), (n_levels, blocks))) in levels.iter().zip(&columns).zip(shapes).enumerate() {
            if codes.len() != m || codes.iter().any(|&c| c < -1 || c >= *n_levels as i32) {
                return Err(PyValueError::new_err(format!(
                    "codes of factor {k} must be {m} integers below {n_levels}"
                )));
            }
            if z.n_cols() != width(blocks) {
                return Err(PyValueError::new_err(format!("Z of factor {k} must have {} columns", width(blocks))));
            }
        }
        let rows = NewRows { x, codes: levels, z: columns };
        let found = self.run(py, usize::MAX, || self.problem.quadratic_forms(&theta, &rows))?;
        Ok(found.ok_or_else(cannot_evaluate)?.into_pyarray(py))
    }

    /// Fits of m responses (m, n), offset taken off; the other arrays must be the ones the model was built from.
    #[allow(non_snake_case, clippy::type_complexity)] // matrices by keyword in, a tuple of arrays out
    fn refit_many<'py>(
        &self,
        py: Python<'py>,
        Y: PyReadonlyArray2<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        reml: bool,
        start: Option<PyReadonlyArray1<'py, f64>>,
    ) -> PyResult<(
        Bound<'py, PyArray2<f64>>,
        Bound<'py, PyArray2<f64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray2<f64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray1<i32>>,
        Bound<'py, PyArray1<bool>>,
    )> {
        let first = start.as_ref().map(|s| self.theta(s)).transpose()?;
        let starts = Starts { first, number: usize::from(first.is_some()), of_light_rows: first.is_none() };
        let asked = Asked { reml, starts, max_iterations: MAX_ITERATIONS, inference: false };
        let fits = self.fits_of(py, &Y, X, weights, codes, Z, asked)?;
        let (p, k) = (self.problem.products.p, self.problem.n_theta());
        let (m, of) = (fits.len(), |size: usize, add: fn(&Refit, &mut Vec<f64>)| flat(&fits, size, add));
        Ok((
            of(p, |r, out| out.extend_from_slice(&r.fixed.beta))?.into_pyarray(py).reshape([m, p])?,
            of(p, |r, out| out.extend(r.fixed.std_errors()))?.into_pyarray(py).reshape([m, p])?,
            column(py, &fits, |r| r.fixed.sigma),
            of(k, |r, out| out.extend_from_slice(&r.theta))?.into_pyarray(py).reshape([m, k])?,
            column(py, &fits, |r| r.deviance),
            column(py, &fits, |r| r.status),
            column(py, &fits, |r| r.singular),
        ))
    }

    /// The same from the engine's own starts, with what tests of the fixed effects need.
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    fn fit_many<'py>(
        &self,
        py: Python<'py>,
        Y: PyReadonlyArray2<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        reml: bool,
        max_iterations: usize,
        n_starts: usize,
    ) -> PyResult<ManyFits<'py>> {
        let starts = Starts { first: None, number: n_starts, of_light_rows: n_starts == 0 };
        let asked = Asked { reml, starts, max_iterations, inference: true };
        let fits = self.fits_of(py, &Y, X, weights, codes, Z, asked)?;
        let (p, k) = (self.problem.products.p, self.problem.n_theta());
        let (m, of) = (fits.len(), |size: usize, add: fn(&Refit, &mut Vec<f64>)| flat(&fits, size, add));
        let known = |size: usize, values: fn(&Information) -> &[f64]| {
            flat(&fits, size, |r, out| match &r.information {
                Some(found) => out.extend_from_slice(values(found)),
                None => out.extend(std::iter::repeat_n(f64::NAN, size)),
            })
        };
        Ok((
            of(p, |r, out| out.extend_from_slice(&r.fixed.beta))?.into_pyarray(py).reshape([m, p])?,
            flat(&fits, p * p, |r, out| out.extend(block::transpose(&r.fixed.root, p, p)))?
                .into_pyarray(py)
                .reshape([m, p, p])?,
            column(py, &fits, |r| r.fixed.sigma),
            of(k, |r, out| out.extend_from_slice(&r.theta))?.into_pyarray(py).reshape([m, k])?,
            column(py, &fits, |r| r.deviance),
            column(py, &fits, |r| r.status),
            column(py, &fits, |r| r.singular),
            flat(&fits, k, |r, out| out.extend(self.problem.to_engine(&r.theta)))?.into_pyarray(py).reshape([m, k])?,
            known((k + 1) * (k + 1), |i| &i.hessian)?.into_pyarray(py).reshape([m, k + 1, k + 1])?,
            known(k * p * p, |i| &i.sensitivity)?.into_pyarray(py).reshape([m, k, p, p])?,
        ))
    }
}

/// Values of each fit below one another.
fn flat(fits: &[Refit], size: usize, add: impl Fn(&Refit, &mut Vec<f64>)) -> PyResult<Vec<f64>> {
    caught(|| {
        let mut out = reserved(fits.len() * size);
        fits.iter().for_each(|fit| add(fit, &mut out));
        out
    })
}

fn column<'py, T: numpy::Element>(py: Python<'py>, fits: &[Refit], f: impl Fn(&Refit) -> T) -> Bound<'py, PyArray1<T>> {
    fits.iter().map(f).collect::<Vec<T>>().into_pyarray(py)
}

impl Model {
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    fn fits_of<'py>(
        &self,
        py: Python<'py>,
        Y: &PyReadonlyArray2<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        asked: Asked,
    ) -> PyResult<Vec<Refit>> {
        let responses = Y.as_slice().map_err(|_| PyValueError::new_err("Y must be in C order"))?;
        if Y.as_array().ncols() != self.shape.0 {
            return Err(PyValueError::new_err(format!("each response must have {} values", self.shape.0)));
        }
        // the arrays are checked with an innocent response; those that are not finite fail one by one
        let zeros = caught(|| zeros(self.shape.0))?.into_pyarray(py).readonly();
        let arrays = Arrays { y: zeros, x: X, weights, codes, z: Z };
        let rows = with_relations(arrays.rows(&self.shape.2)?, &self.relations);
        self.check_same_shape(&rows)?;
        self.run(py, usize::MAX, || self.problem.refit_many(&rows, responses, asked))
    }

    fn engine_theta(&self, theta: &PyReadonlyArray1<'_, f64>, in_engine: bool) -> PyResult<Vec<f64>> {
        let theta = self.theta(theta)?;
        Ok(if in_engine { theta.to_vec() } else { self.problem.to_engine(theta) })
    }
}

/// A square column-major block, row-major.
pub fn by_rows(values: Vec<f64>, q: usize) -> PyResult<Vec<f64>> {
    caught(|| block::transpose(&values, q, q))
}
