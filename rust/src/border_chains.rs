//! The border to Python for residuals in chains.

#![allow(non_snake_case)] // matrices are X and Y in Python, where they are keywords

use crate::border_patterns::{FixedRoot, fixed_root};
use crate::chains::{ChainRows, Chains};
use crate::products::ModelRows;
use crate::{any_of, contiguous, guarded, has_bad_value, matrix, perfect_fit, products_flops};
use numpy::{IntoPyArray, PyArray2, PyArray3, PyArray4, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Products of each group, and what their determinants are.
type Products<'py> = (Bound<'py, PyArray4<f64>>, Bound<'py, PyArray2<f64>>);

/// Subjects as chains of rows, correlated through neighbours.
#[pyclass(frozen, module = "mixedmodels._engine")]
pub struct ChainModel {
    chains: Chains,
    n_threads: usize,
}

#[pymethods]
impl ChainModel {
    #[new]
    #[pyo3(signature = (y, X, weights, order, lengths, groups, links, class_groups, n_groups, n_threads=0))]
    fn new<'py>(
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        order: PyReadonlyArray1<'py, i64>,
        lengths: PyReadonlyArray1<'py, i64>,
        groups: PyReadonlyArray1<'py, i64>,
        links: PyReadonlyArray1<'py, i32>,
        class_groups: PyReadonlyArray1<'py, i64>,
        n_groups: usize,
        n_threads: usize,
    ) -> PyResult<ChainModel> {
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
        let order = indices(&order, "order", n)?;
        let lengths = indices(&lengths, "lengths", n + 1)?;
        let groups = indices(&groups, "groups", n_groups)?;
        let class_groups = indices(&class_groups, "class_groups", n_groups)?;
        let links = contiguous(&links, "links")?;
        if order.len() != n
            || lengths.contains(&0)
            || lengths.iter().sum::<usize>() != n
            || groups.len() != lengths.len()
        {
            return refuse("chains must cover the rows, each of one group".into());
        }
        if links.len() != n - lengths.len() || any_of(links, |&l| l < 0 || l as usize >= class_groups.len()) {
            return refuse("links must have the class of each pair of neighbours".into());
        }
        let mut of_chains = groups.iter().zip(&lengths).flat_map(|(g, length)| std::iter::repeat_n(g, length - 1));
        if !links.iter().all(|&l| of_chains.next() == Some(&class_groups[l as usize])) {
            return refuse("a class must be of one group".into());
        }
        let rows = ModelRows { y, x, weights, factors: vec![] };
        let listed = ChainRows { lengths, groups, links: links.to_vec(), class_groups, n_groups };
        let flops = 4.0 * products_flops(&rows);
        let chains = guarded(py, n_threads, flops, || Chains::new(&rows, &order, listed))?;
        Ok(ChainModel { chains: chains.map_err(perfect_fit)?, n_threads })
    }

    /// Columns of X that are not aliased.
    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.chains.x_basis.kept.clone()
    }
    /// Columns of X that are kept and nearly are combinations of columns before them.
    #[getter]
    fn nearly_dependent(&self) -> Vec<usize> {
        self.chains.x_basis.nearly_dependent.clone()
    }
    #[getter]
    fn scale(&self) -> f64 {
        self.chains.scale
    }
    fn constant(&self, reml: bool) -> f64 {
        self.chains.constant(reml)
    }

    /// For the correlations a of the classes and their derivatives, (3, C): [q r]'Q [q r] of each group with its derivatives,
    /// (3, G, p + 1, p + 1), and log|C|, its derivatives and tr(Q C' Q C'), (4, G).
    fn products<'py>(&self, py: Python<'py>, correlations: PyReadonlyArray2<'py, f64>) -> PyResult<Products<'py>> {
        let a = self.classes(&correlations)?;
        let (c, g) = (self.chains.p + 1, self.chains.listed.n_groups);
        let (products, logs) = guarded(py, self.n_threads, self.chains.flops(), || self.chains.products(a))?;
        Ok((products.into_pyarray(py).reshape([3, g, c, c])?, logs.into_pyarray(py).reshape([4, g])?))
    }

    /// [q r]'D C D [q r] of each group, (G, p + 1, p + 1), with D the derivative of Q.
    fn squares<'py>(
        &self,
        py: Python<'py>,
        correlations: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let a = self.classes(&correlations)?;
        let c = self.chains.p + 1;
        let found = guarded(py, self.n_threads, (self.chains.n * c * c) as f64, || self.chains.squares(a))?;
        found.into_pyarray(py).reshape([self.chains.listed.n_groups, c, c])
    }

    /// What `PatternModel.fixed_root` returns, for [q r]'V^-1 [q r], (p + 1, p + 1).
    fn fixed_root<'py>(
        &self,
        py: Python<'py>,
        products: PyReadonlyArray2<'py, f64>,
    ) -> PyResult<Option<FixedRoot<'py>>> {
        let c = self.chains.p + 1;
        let values = products.as_slice().map_err(|_| PyValueError::new_err("products must be contiguous"))?;
        if values.len() != c * c {
            return Err(PyValueError::new_err(format!("products must be ({c}, {c})")));
        }
        let Chains { x_basis, beta0, scale, .. } = &self.chains;
        let found = self.chains.fixed_root(values);
        found.map(|found| fixed_root(py, x_basis, beta0, *scale, found)).transpose()
    }
}

impl ChainModel {
    fn classes<'a>(&self, correlations: &'a PyReadonlyArray2<'_, f64>) -> PyResult<&'a [f64]> {
        let size = self.chains.n_classes();
        let values = correlations.as_slice().map_err(|_| PyValueError::new_err("correlations must be contiguous"))?;
        let are_inside = values.len() == 3 * size && values[..size].iter().all(|a| a.abs() < 1.0);
        if !are_inside || any_of(values, |v| !v.is_finite()) {
            return Err(PyValueError::new_err(format!(
                "correlations must be (3, {size}) finite numbers, the first between -1 and 1"
            )));
        }
        Ok(values)
    }
}

/// Whole numbers from 0 to one less than a limit.
fn indices(values: &PyReadonlyArray1<'_, i64>, name: &str, limit: usize) -> PyResult<Vec<usize>> {
    let values = contiguous(values, name)?;
    if any_of(values, |&v| v < 0 || v as usize >= limit) {
        return Err(PyValueError::new_err(format!("{name} must be whole numbers below {limit}")));
    }
    Ok(values.iter().map(|&v| v as usize).collect())
}
