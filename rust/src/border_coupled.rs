//! The border to Python for random effects beside correlated residuals that no small blocks of rows are independent for.

#![allow(non_snake_case)] // matrices are Q, Lambda, X and Z in Python, where they are keywords

use crate::border_inference::by_rows;
use crate::coupled::{Coupled, CoupledEffect};
use crate::products::ModelRows;
use crate::{any_of, contiguous, engine_threads, guarded, has_bad_value, matrix, perfect_fit, products_flops};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Means, map, beta and root in the fixed basis.
type FixedRoot<'py> =
    (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// Value, derivatives in Q and in Lambda, V^-1 [X K, r].
type Slopes<'py> = (f64, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

/// Henderson's equations with a precision of the rows on pairs of them.
#[pyclass(frozen, module = "mixedmodels._engine")]
pub struct CoupledModel {
    coupled: Coupled,
    n_threads: usize,
}

#[pymethods]
impl CoupledModel {
    #[new]
    #[pyo3(signature = (y, X, weights, codes, n_levels, Z, pairs, n_threads=0))]
    #[allow(clippy::too_many_arguments)] // Python passes them by keyword
    fn new<'py>(
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        n_levels: Vec<usize>,
        Z: Vec<PyReadonlyArray2<'py, f64>>,
        pairs: PyReadonlyArray2<'py, i64>,
        n_threads: usize,
    ) -> PyResult<CoupledModel> {
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
        if codes.len() != n_levels.len() || codes.len() != Z.len() {
            return refuse("codes, n_levels and Z must have one entry a block of effects".into());
        }
        let mut effects = Vec::new();
        for ((codes, &n_levels), z) in codes.iter().zip(&n_levels).zip(&Z) {
            let codes = contiguous(codes, "codes")?;
            let mut met = vec![false; n_levels];
            let outside = codes.iter().any(|&c| c < 0 || c as usize >= n_levels);
            if codes.len() != n || outside {
                return refuse(format!("codes must be {n} levels"));
            }
            codes.iter().for_each(|&c| met[c as usize] = true);
            let z_rows = matrix(z, n, "Z")?;
            if has_bad_value(&z_rows) || !met.into_iter().all(|m| m) {
                return refuse("Z must be finite, and every level must have rows".into());
            }
            let values = z.as_slice().map_err(|_| PyValueError::new_err("Z must be contiguous"))?;
            effects.push(CoupledEffect { codes, n_levels, q: z_rows.n_cols(), z: values });
        }
        let listed = pairs.as_slice().map_err(|_| PyValueError::new_err("pairs must be contiguous"))?;
        let is_pair = |pair: &[i64]| pair.len() == 2 && pair[0] >= pair[1] && pair[1] >= 0 && (pair[0] as usize) < n;
        if pairs.as_array().ncols() != 2 || !listed.chunks(2).all(is_pair) {
            return refuse("pairs must be rows (a, b) with a >= b".into());
        }
        let mut itself = vec![false; n];
        listed.chunks(2).filter(|pair| pair[0] == pair[1]).for_each(|pair| itself[pair[0] as usize] = true);
        if !itself.into_iter().all(|found| found) {
            return refuse("pairs must have every row with itself".into());
        }
        let listed = listed.chunks(2).map(|pair| (pair[0] as u32, pair[1] as u32)).collect();
        let rows = ModelRows { y, x, weights, factors: vec![] };
        let made = guarded(py, n_threads, products_flops(&rows), || {
            Coupled::new(&rows, &effects, listed, engine_threads(n_threads))
        })?;
        Ok(CoupledModel { coupled: made.map_err(perfect_fit)?, n_threads })
    }

    /// Columns of X that are not aliased.
    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.coupled.x_basis.kept.clone()
    }
    /// Columns of X that are kept and nearly are combinations of columns before them.
    #[getter]
    fn nearly_dependent(&self) -> Vec<usize> {
        self.coupled.x_basis.nearly_dependent.clone()
    }
    #[getter]
    fn scale(&self) -> f64 {
        self.coupled.scale
    }
    fn constant(&self, reml: bool) -> f64 {
        self.coupled.constant(reml)
    }

    /// The criterion less log|Q^-1| and its constant, at Q of the pairs and Lambda of all blocks by columns.
    fn value(
        &self,
        py: Python<'_>,
        Q: PyReadonlyArray1<'_, f64>,
        Lambda: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<Option<f64>> {
        let (q, lambda) = self.point(&Q, &Lambda)?;
        self.run(py, || self.coupled.value(q, lambda, reml))
    }

    /// Value, its derivatives in Q, as if both elements of a pair were one, and in Lambda, or those of log|V| + log|Q|
    /// alone, and V^-1 [X K, r].
    fn derivatives<'py>(
        &self,
        py: Python<'py>,
        Q: PyReadonlyArray1<'py, f64>,
        Lambda: PyReadonlyArray1<'py, f64>,
        reml: bool,
        of_determinant: bool,
    ) -> PyResult<Option<Slopes<'py>>> {
        let (q, lambda) = self.point(&Q, &Lambda)?;
        let Some(found) = self.run(py, || self.coupled.derivatives(q, lambda, reml, of_determinant))? else {
            return Ok(None);
        };
        Ok(Some((
            found.value,
            found.pairs.into_pyarray(py),
            found.lambda.into_pyarray(py),
            found.rows.into_pyarray(py).reshape([self.coupled.n, self.coupled.p + 1])?,
        )))
    }

    /// Means m (p,) and map T (p, p) of the basis (x - m x_1) T, beta (p,) in it, and U^-T (p, p) over the scale.
    fn fixed_root<'py>(
        &self,
        py: Python<'py>,
        Q: PyReadonlyArray1<'py, f64>,
        Lambda: PyReadonlyArray1<'py, f64>,
        reml: bool,
    ) -> PyResult<Option<FixedRoot<'py>>> {
        let (q, lambda) = self.point(&Q, &Lambda)?;
        let Some((beta, root)) = self.run(py, || self.coupled.root(q, lambda, reml))? else {
            return Ok(None);
        };
        let p = self.coupled.p;
        let (mean, map) = self.coupled.x_basis.centred();
        let beta: Vec<f64> = self.coupled.beta0.iter().zip(&beta).map(|(b0, b)| b0 + self.coupled.scale * b).collect();
        Ok(Some((
            mean.to_vec().into_pyarray(py),
            by_rows(map.to_vec(), p)?.into_pyarray(py).reshape([p, p])?,
            beta.into_pyarray(py),
            by_rows(root, p)?.into_pyarray(py).reshape([p, p])?,
        )))
    }

    /// V^-1 B, (n, c).
    fn solve<'py>(
        &self,
        py: Python<'py>,
        Q: PyReadonlyArray1<'py, f64>,
        Lambda: PyReadonlyArray1<'py, f64>,
        B: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        let (q, lambda) = self.point(&Q, &Lambda)?;
        let (n, c) = B.as_array().dim();
        let b = B.as_slice().map_err(|_| PyValueError::new_err("B must be contiguous"))?;
        if n != self.coupled.n || any_of(b, |v| !v.is_finite()) {
            return Err(PyValueError::new_err(format!("B must have {} finite rows", self.coupled.n)));
        }
        let found = self.run(py, || self.coupled.solved(q, lambda, b, c))?;
        found.map(|values| values.into_pyarray(py).reshape([n, c])).transpose()
    }

    /// Lambda M^-1 Lambda' of each level, q x q by columns, the blocks of effects one after the other.
    fn conditional<'py>(
        &self,
        py: Python<'py>,
        Q: PyReadonlyArray1<'py, f64>,
        Lambda: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        let (q, lambda) = self.point(&Q, &Lambda)?;
        Ok(self.run(py, || self.coupled.conditional(q, lambda))?.map(|values| values.into_pyarray(py)))
    }
}

impl CoupledModel {
    fn point<'a>(
        &self,
        q: &'a PyReadonlyArray1<'_, f64>,
        lambda: &'a PyReadonlyArray1<'_, f64>,
    ) -> PyResult<(&'a [f64], &'a [f64])> {
        let (q, lambda) = (contiguous(q, "Q")?, contiguous(lambda, "Lambda")?);
        let wanted = (self.coupled.n_pairs(), self.coupled.n_lambda());
        let bad = any_of(q, |v| !v.is_finite()) || any_of(lambda, |v| !v.is_finite());
        if (q.len(), lambda.len()) != wanted || bad {
            return Err(PyValueError::new_err(format!(
                "Q must be {} finite numbers and Lambda {}",
                wanted.0, wanted.1
            )));
        }
        Ok((q, lambda))
    }

    fn run<T: Send>(&self, py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
        guarded(py, self.n_threads, self.coupled.flops(), work)
    }
}
