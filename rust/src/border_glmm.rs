//! The border to Python for generalised models.

use crate::family::{Family, Located, MAX_PARAMETERS};
use crate::glmm::{GlmmMinimum, Observed};
use crate::memory::zeros;
use crate::modes::Glmm;
use crate::objective::Objective;
use crate::products::{Block, ModelRows};
use crate::{
    Arrays, MAX_THREADS, Shape, any_of, cannot_evaluate, contiguous, guarded, products_flops, threads, trace_of, width,
};
use faer::Par;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A generalised linear mixed model; keeps its rows.
#[pyclass(frozen, module = "mixedmodels._engine")]
pub struct GeneralizedModel {
    pub glmm: Glmm,
    n_threads: usize,
    shape: Vec<Shape>,
}

/// Evaluations of a walk, few of which are longer.
const USUAL_STEPS: usize = 20;
/// Nodes of a level that a quadrature may have.
const MAX_NODES: f64 = 1e5;

type Floats<'py> = Bound<'py, PyArray1<f64>>;

/// Where the optimiser stopped.
#[pyclass(frozen, module = "mixedmodels._engine")]
pub struct GeneralizedMinimum(GlmmMinimum);

#[pymethods]
impl GeneralizedMinimum {
    #[getter]
    fn psi<'py>(&self, py: Python<'py>) -> Floats<'py> {
        PyArray1::from_slice(py, &self.0.psi)
    }
    #[getter]
    fn deviance(&self) -> f64 {
        self.0.deviance
    }
    #[getter]
    fn status(&self) -> i32 {
        self.0.status as i32
    }
    #[getter]
    fn gradient_norm(&self) -> f64 {
        self.0.gradient_norm
    }
    #[getter]
    fn n_iterations(&self) -> usize {
        self.0.trace.len()
    }
    #[getter]
    fn n_evaluations(&self) -> usize {
        self.0.n_evaluations
    }
    #[getter]
    fn other_optima(&self) -> Vec<f64> {
        self.0.other_optima.clone()
    }
    #[getter]
    fn singular(&self) -> bool {
        self.0.singular
    }
    /// (n_psi, n_psi): model of the Hessian, with what steps showed to be missing.
    #[getter]
    fn curvature<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let k = self.0.psi.len();
        PyArray1::from_slice(py, &self.0.curvature).reshape([k, k])
    }
    /// (n_iterations, 6): deviance, gradient norm, predicted decrease, step norm, radius, ratio.
    #[getter]
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        trace_of(py, &self.0.trace)
    }
}

#[pymethods]
impl GeneralizedModel {
    #[new]
    #[pyo3(signature = (family_name, y, trials, weights, offset, X, codes, n_levels, Z, blocks, n_threads=0, dense=None, nodes=None, covariates=None))]
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    fn new<'py>(
        py: Python<'py>,
        family_name: &str,
        y: PyReadonlyArray1<'py, f64>,
        trials: Option<PyReadonlyArray1<'py, f64>>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        offset: Option<PyReadonlyArray1<'py, f64>>,
        X: PyReadonlyArray2<'py, f64>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        n_levels: Vec<usize>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        blocks: Vec<Vec<isize>>,
        n_threads: usize,
        dense: Option<bool>,
        nodes: Option<(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>)>,
        covariates: Option<Vec<(usize, PyReadonlyArray2<'py, f64>)>>,
    ) -> PyResult<GeneralizedModel> {
        let refuse = |message: String| Err(PyValueError::new_err(message));
        if n_levels.len() != blocks.len() {
            return refuse("n_levels and blocks must have one entry a factor".into());
        }
        if n_threads > MAX_THREADS {
            return refuse(format!("n_threads is {n_threads}; at most {MAX_THREADS} are allowed"));
        }
        let block = |size: isize| Block { size: size.unsigned_abs(), tied: size < 0 };
        let blocks = blocks.into_iter().map(|sizes| sizes.into_iter().map(block).collect());
        let shape: Vec<Shape> = n_levels.into_iter().zip(blocks).collect();
        let arrays = Arrays { y, x: X, weights, codes, z: Z };
        let checked = arrays.rows(&shape)?;
        let n = checked.y.len();
        let trials = trials.as_ref().map(|t| contiguous(t, "trials")).transpose()?;
        let offset = offset.as_ref().map(|o| contiguous(o, "offset")).transpose()?;
        if trials.is_some_and(|t| t.len() != n || any_of(t, |t| !(t.is_finite() && *t >= 0.0))) {
            return refuse(format!("trials must be {n} finite numbers of at least zero"));
        }
        if offset.is_some_and(|o| o.len() != n || any_of(o, |o| !o.is_finite())) {
            return refuse(format!("offset must be {n} finite numbers"));
        }
        let covariates = covariates.unwrap_or_default();
        let mut by_parameter = vec![];
        for (parameter, values) in &covariates {
            let columns = values.as_array().ncols();
            let rows = values.as_slice().map_err(|_| PyValueError::new_err("covariates must be in C order"))?;
            if values.as_array().nrows() != n || columns == 0 || any_of(rows, |x| !x.is_finite()) {
                return refuse(format!("covariates must be {n} rows of finite numbers"));
            }
            by_parameter.push((*parameter, columns, rows));
        }
        let observed = Observed { y: checked.y, trials, weights: checked.weights, offset, covariates: by_parameter };
        let Some(family) = Family::named(family_name, observed.y) else {
            return refuse(format!("the engine has no family {family_name}"));
        };
        let n_extra = family.n_extra();
        let mut parameters: Vec<usize> = observed.covariates.iter().map(|c| c.0).collect();
        parameters.sort_unstable();
        parameters.dedup();
        let has_them = n_extra <= MAX_PARAMETERS && parameters.iter().all(|p| *p < n_extra);
        if parameters.len() != covariates.len() || !(parameters.is_empty() || has_them) {
            return refuse("covariates are of parameters of the family, each once".into());
        }
        if (0..n).any(|i| !family.admits(observed.y[i], trials.map_or(1.0, |t| t[i]))) {
            return refuse("a response is outside of what the family allows".into());
        }
        let nodes = match &nodes {
            None => None,
            Some((z, w)) => Some((contiguous(z, "nodes")?, contiguous(w, "nodes")?)),
        };
        if let Some((z, w)) = nodes {
            if shape.len() != 1 {
                return refuse("quadrature takes one grouping factor".into());
            }
            if z.is_empty() || z.len() != w.len() || any_of(w, |w| *w <= 0.0 || !w.is_finite()) {
                return refuse("nodes must be two arrays of one length, the second one positive".into());
            }
            let count = (z.len() as f64).powi(width(&shape[0].1) as i32);
            if count > MAX_NODES {
                return refuse(format!("{count} nodes are more than {MAX_NODES}"));
            }
        }
        let rows = ModelRows { weights: None, ..checked.clone() };
        let par = match threads::number(n_threads) {
            1 => Par::Seq,
            number => Par::rayon(number),
        };
        let glmm =
            guarded(py, n_threads, products_flops(&rows), || Glmm::new(&rows, &observed, family, nodes, dense, par))?;
        Ok(GeneralizedModel { glmm, n_threads, shape })
    }

    /// Columns of X that are not aliased.
    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.glmm.problem.products.x_basis.kept.clone()
    }
    #[getter]
    fn nearly_dependent(&self) -> Vec<usize> {
        self.glmm.problem.products.x_basis.nearly_dependent.clone()
    }
    #[getter]
    fn n_theta(&self) -> usize {
        self.glmm.problem.n_theta()
    }
    #[getter]
    fn n_extra(&self) -> usize {
        self.glmm.responses.n_phi()
    }

    /// psi of a user's theta, beta (kept columns) and phi.
    fn psi<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        beta: PyReadonlyArray1<'_, f64>,
        phi: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Floats<'py>> {
        let sizes = [self.glmm.problem.n_theta(), self.glmm.rows.p, self.glmm.responses.n_phi()];
        let parts = [contiguous(&theta, "theta")?, contiguous(&beta, "beta")?, contiguous(&phi, "phi")?];
        if parts.iter().zip(sizes).any(|(part, size)| part.len() != size) {
            return Err(PyValueError::new_err(format!("theta, beta and phi must have {sizes:?} values")));
        }
        Ok(self.glmm.to_psi(parts[0], parts[1], parts[2]).into_pyarray(py))
    }

    /// The criterion.
    fn deviance(&self, py: Python<'_>, psi: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
        let psi = self.checked(&psi)?;
        self.run(py, 1, || self.glmm.evaluate(psi, None).map(|at| at.value))?.ok_or_else(cannot_evaluate)
    }

    /// Its gradient in psi.
    fn gradient<'py>(&self, py: Python<'py>, psi: PyReadonlyArray1<'_, f64>) -> PyResult<Floats<'py>> {
        let psi = self.checked(&psi)?;
        let gradient = self.run(py, 2, || self.glmm.gradient(psi, None))?;
        Ok(gradient.ok_or_else(cannot_evaluate)?.into_pyarray(py))
    }

    /// Its Hessian.
    fn hessian<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        let psi = self.checked(&psi)?;
        let k = psi.len();
        let found = self.run(py, 4 * k, || self.glmm.hessian_at(psi))?;
        found.map(|h| h.into_pyarray(py).reshape([k, k])).transpose()
    }

    /// Means m (p,) and map T (p, p) of the basis (x - m x_1) T of the fixed columns that are kept.
    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn fixed_basis<'py>(&self, py: Python<'py>) -> PyResult<(Floats<'py>, Bound<'py, PyArray2<f64>>)> {
        let p = self.glmm.rows.p;
        let (mean, map) = self.glmm.problem.products.x_basis.centred();
        let map = crate::block::transpose(map, p, p).into_pyarray(py).reshape([p, p])?;
        Ok((PyArray1::from_slice(py, mean), map))
    }

    /// From the basis of X to the kept columns, (p, p): beta = K times that of psi.
    fn fixed_map<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let p = self.glmm.rows.p;
        let matrix = self.glmm.problem.products.x_basis.matrix();
        crate::block::transpose(&matrix, p, p).into_pyarray(py).reshape([p, p])
    }

    fn minimize(
        &self,
        py: Python<'_>,
        start: Option<PyReadonlyArray1<'_, f64>>,
        max_iterations: usize,
        n_starts: usize,
    ) -> PyResult<GeneralizedMinimum> {
        let start = start.as_ref().map(|s| self.checked(s)).transpose()?;
        let found = self.run(py, max_iterations.min(USUAL_STEPS) * n_starts.max(4), || {
            self.glmm.find_minimum(start.map(<[f64]>::to_vec), max_iterations, n_starts)
        })?;
        found.map(GeneralizedMinimum).map_err(|_| cannot_evaluate())
    }

    /// theta, beta (kept columns), phi, conditional modes (n_levels, q) and covariances (n_levels, q, q) a factor, eta.
    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    #[pyo3(signature = (psi, minimum=None))]
    fn estimates<'py>(
        &self,
        py: Python<'py>,
        psi: PyReadonlyArray1<'_, f64>,
        minimum: Option<&GeneralizedMinimum>,
    ) -> PyResult<(
        Floats<'py>,
        Floats<'py>,
        Floats<'py>,
        Vec<Bound<'py, PyArray2<f64>>>,
        Vec<Bound<'py, PyArray3<f64>>>,
        Floats<'py>,
    )> {
        let psi = self.checked(&psi)?;
        let modes = minimum.map(|minimum| &minimum.0.modes);
        let found = self.run(py, 2, || self.glmm.estimates(psi, modes))?.ok_or_else(cannot_evaluate)?;
        let modes = found.b.into_iter().zip(&self.shape);
        let modes = modes.map(|(b, (levels, blocks))| b.into_pyarray(py).reshape([*levels, width(blocks)]));
        let blocks = found.conditional.into_iter().zip(&self.shape).map(|(values, (levels, blocks))| {
            let q = width(blocks);
            values.into_pyarray(py).reshape([*levels, q, q])
        });
        Ok((
            found.theta.into_pyarray(py),
            found.beta.into_pyarray(py),
            found.phi.into_pyarray(py),
            modes.collect::<PyResult<_>>()?,
            blocks.collect::<PyResult<_>>()?,
            found.eta.into_pyarray(py),
        ))
    }

    /// Log density of each row at eta, all constants in, and two derivatives in eta: (3, n).
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        eta: PyReadonlyArray1<'_, f64>,
        phi: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (eta, phi) = (contiguous(&eta, "eta")?, contiguous(&phi, "phi")?);
        let n = self.glmm.rows.n;
        if eta.len() != n || phi.len() != self.glmm.responses.n_phi() {
            return Err(PyValueError::new_err(format!("eta must have {n} values and phi those of the family")));
        }
        let responses = &self.glmm.responses;
        let family = self.glmm.family;
        let at = Located::new(family, responses, phi);
        let mut out = zeros(3 * n);
        for (r, &i) in self.glmm.rows.order.iter().enumerate() {
            let i = i as usize;
            let (y, m) = (responses.y[r], responses.trials[r]);
            let w = responses.weight(r);
            let row = at.row(r, eta[i]);
            out[i] = w * (row.l + family.saturated(y, m));
            (out[n + i], out[2 * n + i]) = (w * row.d1, w * row.d2);
        }
        out.into_pyarray(py).reshape([3, n])
    }
}

impl GeneralizedModel {
    pub fn run<T: Send>(&self, py: Python<'_>, n_evaluations: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
        guarded(py, self.n_threads, self.glmm.flops() * n_evaluations as f64, work)
    }

    pub fn checked<'a>(&self, psi: &'a PyReadonlyArray1<'_, f64>) -> PyResult<&'a [f64]> {
        let values = contiguous(psi, "psi")?;
        let n = self.glmm.n_psi();
        if values.len() != n || values.iter().any(|t| !t.is_finite()) {
            return Err(PyValueError::new_err(format!("psi must be {n} finite numbers, got {}", values.len())));
        }
        Ok(values)
    }
}
