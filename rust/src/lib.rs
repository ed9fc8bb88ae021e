//! The border to Python and nothing else: arrays by position in, arrays out.

mod accumulator;
mod alike;
mod basis;
mod block;
mod blocks;
mod border_accumulator;
mod border_chains;
mod border_coupled;
mod border_crossing;
mod border_glmm;
mod border_inference;
mod border_objective;
mod border_patterns;
mod border_profile;
mod bytes;
mod cells;
mod chains;
mod cholesky;
mod complete;
mod constrained;
mod coupled;
mod deviance;
mod effects;
mod factor;
mod family;
mod glm;
mod glmm;
mod identification;
mod inference;
mod kept_rows;
mod krylov;
mod laplace;
mod level_sums;
mod meetings;
mod memory;
mod model;
mod modes;
mod objective;
mod patterns;
mod prediction;
mod products;
mod profile;
mod quadrature;
mod refit;
mod relation;
mod reserve;
mod rows;
mod schur;
mod selected_inverse;
mod special;
mod start;
mod threads;
mod trust_region;

use deviance::Problem;
use faer::Par;
use memory::NoMemory;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use products::{Block, FactorRows, ModelRows, Products, ProductsError};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use relation::Relation;
use rows::Source;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Shape = (usize, Vec<Block>);

/// Multiplications of a call that take less time than handing it over to a pool is worth.
const INLINE_FLOPS: f64 = 2e6;
/// More threads than that are a mistake.
const MAX_THREADS: usize = 256;

/// Runs `work` of that many multiplications without the interpreter's lock; a panic becomes an exception, want of memory
/// a MemoryError.
///
/// All but short work runs on a pool, while this thread handles signals: what a handler raises ends the work and is
/// raised. Short work must not be parallel. Work that calls Python, which calls again, stays on its thread.
fn guarded<T: Send>(py: Python<'_>, n_threads: usize, flops: f64, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    caught(memory::headroom)?;
    // the thread that works has a heap of its own: what this one still has free is no room for it
    let work = || {
        memory::headroom();
        work()
    };
    let mut signal: Option<PyErr> = None;
    let done = if flops < INLINE_FLOPS || rayon::current_thread_index().is_some() {
        py.detach(|| catch_unwind(AssertUnwindSafe(work)))
    } else {
        let pool =
            caught(|| threads::pool(n_threads))?.map_err(|e| PyRuntimeError::new_err(format!("no threads: {e}")))?;
        let shall_stop = || {
            signal = Python::attach(|py| py.check_signals()).err();
            signal.is_some()
        };
        py.detach(|| threads::run(pool, work, shall_stop))
    };
    match (signal, done) {
        (Some(signal), _) => Err(signal),
        (None, done) => done.map_err(failure),
    }
}

/// Runs short work that only wants memory.
fn caught<T>(work: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(failure)
}

/// The exception that a panic becomes.
fn failure(payload: Box<dyn Any + Send>) -> PyErr {
    let Some(NoMemory(bytes)) = payload.downcast_ref() else {
        return PyRuntimeError::new_err("the engine met an internal error; please report it with the data's shape");
    };
    let gigabytes = |bytes: usize| format!("{:.3} GB", bytes as f64 / 1e9);
    let available = memory::available().map(|bytes| format!("; {} are available", gigabytes(bytes)));
    PyMemoryError::new_err(format!("no room for {} at once{}", gigabytes(*bytes), available.unwrap_or_default()))
}

/// Cross-products of one model; keeps no rows.
#[pyclass(frozen, module = "mixedmodels._engine")]
struct Model {
    problem: Problem,
    n_threads: usize,
    /// n, the number of columns of X, levels and blocks of each factor: what `with_response` must match.
    shape: (usize, usize, Vec<Shape>),
    weighted: bool,
    /// Known covariances among the levels of each factor.
    relations: Vec<Option<Arc<Relation>>>,
}

/// Starts of columns, rows and values of the lower triangle of A^-1, and log |A|.
type RelationArrays<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, f64>, f64);

fn relation_of((starts, rows, values, log_det): &RelationArrays<'_>, n_levels: usize) -> PyResult<Arc<Relation>> {
    let places = |array: &PyReadonlyArray1<'_, i64>| -> PyResult<Vec<usize>> {
        Ok(contiguous(array, "places of a relation")?
            .iter()
            .map(|&v| usize::try_from(v).unwrap_or(usize::MAX))
            .collect())
    };
    let values = contiguous(values, "values of a relation")?.to_vec();
    let found = Relation::new(places(starts)?, places(rows)?, values, *log_det);
    let found = found.filter(|relation| relation.n_levels() == n_levels);
    found.map(Arc::new).ok_or_else(|| {
        PyValueError::new_err(format!("a relation must be the lower triangle of a matrix of {n_levels} levels"))
    })
}

/// The rows with the relations of their factors; where all are related, with a factor that can be eliminated first.
pub fn with_relations<'a>(mut rows: ModelRows<'a>, relations: &[Option<Arc<Relation>>]) -> ModelRows<'a> {
    rows.factors.iter_mut().zip(relations).for_each(|(factor, relation)| factor.relation = relation.clone());
    if !rows.factors.is_empty() && rows.factors.iter().all(|factor| factor.relation.is_some()) {
        rows.factors.push(FactorRows::none(rows.y.len()));
    }
    rows
}

/// Where the optimiser stopped.
#[pyclass(frozen, module = "mixedmodels._engine")]
struct Minimum(model::Minimum);

#[pymethods]
impl Minimum {
    #[getter]
    fn theta<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.theta)
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
    /// (n_iterations, 6): deviance, gradient norm, predicted decrease, step norm, radius, ratio.
    #[getter]
    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        trace_of(py, &self.0.trace)
    }
}

/// A walk as an array, a row an iteration.
fn trace_of<'py>(py: Python<'py>, trace: &[trust_region::Iteration]) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let rows = trace.iter();
    let flat: Vec<f64> =
        rows.flat_map(|i| [i.deviance, i.gradient_norm, i.predicted, i.step, i.radius, i.ratio]).collect();
    flat.into_pyarray(py).reshape([trace.len(), 6])
}

/// The caller's arrays, held while the engine reads them.
struct Arrays<'py> {
    y: PyReadonlyArray1<'py, f64>,
    x: PyReadonlyArray2<'py, f64>,
    weights: Option<PyReadonlyArray1<'py, f64>>,
    codes: Vec<PyReadonlyArray1<'py, i32>>,
    z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
}

impl<'py> Arrays<'py> {
    /// Checks every shape and value that the engine relies on, and views the arrays as rows.
    fn rows(&self, factors: &[Shape]) -> PyResult<ModelRows<'_>> {
        let refuse = |message: String| Err(PyValueError::new_err(message));
        let y = contiguous(&self.y, "y")?;
        let n = y.len();
        if n == 0 {
            return refuse("y is empty".into());
        }
        let x = matrix(&self.x, n, "X")?;
        if any_of(y, |v| !v.is_finite()) || has_bad_value(&x) {
            return refuse("y and X must be finite".into());
        }
        let weights = self.weights.as_ref().map(|w| contiguous(w, "weights")).transpose()?;
        if weights.is_some_and(|w| w.len() != n || any_of(w, |w| !(w.is_finite() && *w > 0.0))) {
            return refuse(format!("weights must be {n} positive finite numbers"));
        }
        if factors.iter().all(|(_, blocks)| blocks.is_empty()) {
            return refuse("a model needs at least one grouping factor of random effects".into());
        }
        if self.codes.len() != factors.len() || self.z.len() != factors.len() {
            return refuse("codes, n_levels, Z and blocks must have one entry a factor".into());
        }
        let mut out = Vec::with_capacity(factors.len());
        for (k, (n_levels, blocks)) in factors.iter().enumerate() {
            let codes = contiguous(&self.codes[k], "codes")?;
            if codes.len() != n || *n_levels == 0 || any_of(codes, |&c| c < 0 || c as usize >= *n_levels) {
                return refuse(format!("codes of factor {k} must be {n} integers from 0 to {n_levels} - 1"));
            }
            let z = match &self.z[k] {
                Some(z) => matrix(z, n, "Z")?,
                None => Source::Ones(n),
            };
            if !z.is_same(&x) && has_bad_value(&z) {
                return refuse(format!("Z of factor {k} must be finite"));
            }
            if width(blocks) != z.n_cols() || blocks.iter().any(|b| b.size == 0) {
                return refuse(format!("blocks of factor {k} must not be zero and cover its {} columns", z.n_cols()));
            }
            if blocks.is_empty() && factors[k..].iter().any(|(_, blocks)| !blocks.is_empty()) {
                return refuse("factors of fixed effects stand behind those of random effects".into());
            }
            out.push(FactorRows { codes, n_levels: *n_levels, z, blocks: blocks.clone(), relation: None });
        }
        Ok(ModelRows { y, x, weights, factors: out })
    }
}

fn contiguous<'a, T: numpy::Element>(array: &'a PyReadonlyArray1<'_, T>, name: &str) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| PyValueError::new_err(format!("{name} must be contiguous")))
}

fn matrix<'a>(array: &'a PyReadonlyArray2<'_, f64>, n: usize, name: &str) -> PyResult<Source<'a>> {
    let view = array.as_array();
    let (n_rows, n_cols) = view.dim();
    if n_rows != n {
        return Err(PyValueError::new_err(format!("{name} has {n_rows} rows, y has {n}")));
    }
    if n_cols > 1 && !view.is_standard_layout() {
        return Err(PyValueError::new_err(format!("{name} must be in C order")));
    }
    let values = array.as_slice().map_err(|_| PyValueError::new_err(format!("{name} must be contiguous")))?;
    Ok(Source::Columns { values, n_rows, n_cols })
}

fn has_bad_value(source: &Source) -> bool {
    match source {
        Source::Ones(_) => false,
        Source::Columns { values, .. } => any_of(values, |v| !v.is_finite()),
    }
}

/// Whether something holds for any value; in pieces, within which there is no branch.
fn any_of<T>(values: &[T], holds: impl Fn(&T) -> bool) -> bool {
    values.chunks(1024).any(|piece| piece.iter().fold(false, |any, v| any | holds(v)))
}

/// What faer's functions are told; not 0 threads, which would ask rayon's own pool and so start its threads.
fn engine_threads(n_threads: usize) -> Par {
    match threads::number(n_threads) {
        1 => Par::Seq,
        number => Par::rayon(number),
    }
}

/// Columns of a factor; one of fixed effects has no blocks.
fn width(blocks: &[Block]) -> usize {
    if blocks.is_empty() { 1 } else { blocks.iter().map(|b| b.size).sum() }
}

/// Multiplications of all products of a model that are formed row by row; more than can be counted where pieces of
/// rows are summed side by side.
fn products_flops(rows: &ModelRows) -> f64 {
    let columns = rows.x.n_cols() + rows.factors.iter().map(|f| f.z.n_cols()).sum::<usize>() + 1;
    if rows.y.len() > rows::CHUNK { f64::INFINITY } else { rows.y.len() as f64 * (columns as f64).powi(2) }
}

fn perfect_fit(_: ProductsError) -> PyErr {
    PyValueError::new_err("the fixed effects fit the response perfectly, so there is nothing left to model")
}

fn cannot_evaluate() -> PyErr {
    PyValueError::new_err("the likelihood cannot be evaluated at this theta: the fit there is perfect or overflows")
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (y, X, weights, codes, n_levels, Z, blocks, n_threads=0, dense=None, relations=None))]
    #[allow(non_snake_case, clippy::too_many_arguments)] // matrices are X, Y and Z, by keyword in Python
    fn new<'py>(
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        n_levels: Vec<usize>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        blocks: Vec<Vec<isize>>,
        n_threads: usize,
        dense: Option<bool>,
        relations: Option<Vec<Option<RelationArrays<'py>>>>,
    ) -> PyResult<Model> {
        if n_levels.len() != blocks.len() {
            return Err(PyValueError::new_err("n_levels and blocks must have one entry a factor"));
        }
        let block = |size: isize| Block { size: size.unsigned_abs(), tied: size < 0 };
        let blocks = blocks.into_iter().map(|sizes| sizes.into_iter().map(block).collect());
        let factors: Vec<Shape> = n_levels.into_iter().zip(blocks).collect();
        let given = relations.unwrap_or_default();
        if !given.is_empty() && given.len() != factors.len() {
            return Err(PyValueError::new_err("relations must have one entry a factor"));
        }
        let one =
            |(r, (n, _)): (&Option<RelationArrays<'_>>, &Shape)| r.as_ref().map(|r| relation_of(r, *n)).transpose();
        let relations: Vec<Option<Arc<Relation>>> = given.iter().zip(&factors).map(one).collect::<PyResult<_>>()?;
        let arrays = Arrays { y, x: X, weights, codes, z: Z };
        let rows = with_relations(arrays.rows(&factors)?, &relations);
        if n_threads > MAX_THREADS {
            return Err(PyValueError::new_err(format!("n_threads is {n_threads}; at most {MAX_THREADS} are allowed")));
        }
        let shape = (rows.y.len(), rows.x.n_cols(), factors);
        let weighted = rows.weights.is_some();
        let par = engine_threads(n_threads);
        let problem = guarded(py, n_threads, products_flops(&rows), || {
            Products::new(&rows).map(|products| Problem::new(products, dense, par))
        })?;
        Ok(Model { problem: problem.map_err(perfect_fit)?, n_threads, shape, weighted, relations })
    }

    /// Columns of X that are not aliased.
    #[getter]
    fn kept(&self) -> Vec<usize> {
        self.problem.products.x_basis.kept.clone()
    }
    /// Columns of X that are kept and nearly are combinations of columns before them.
    #[getter]
    fn nearly_dependent(&self) -> Vec<usize> {
        self.problem.products.x_basis.nearly_dependent.clone()
    }
    /// Columns of each factor that are combinations of columns before them.
    fn dependent_columns(&self) -> Vec<Vec<usize>> {
        let mut factors: Vec<_> = self.problem.products.factors.iter().collect();
        factors.sort_by_key(|f| f.public);
        factors.into_iter().take(self.shape.2.len()).map(|f| f.dependent.clone()).collect()
    }
    #[getter]
    fn n_theta(&self) -> usize {
        self.problem.n_theta()
    }
    /// Whether what remains after eliminating the first factor is held as a dense matrix.
    #[getter]
    fn dense(&self) -> bool {
        matches!(*self.problem.pattern, cholesky::Pattern::Dense { .. })
    }
    /// Bytes that a fit takes besides the products.
    #[getter]
    fn bytes_of_a_fit(&self) -> f64 {
        self.problem.bytes_of_a_fit()
    }
    #[getter]
    fn residual_scale(&self) -> f64 {
        self.problem.products.scale
    }
    /// Root mean square of the response about fixed effects, (p,).
    fn spread(&self, beta: PyReadonlyArray1<'_, f64>) -> PyResult<f64> {
        let beta = contiguous(&beta, "beta")?;
        if beta.len() != self.problem.products.p {
            return Err(PyValueError::new_err(format!("beta must be {} numbers", self.problem.products.p)));
        }
        Ok(self.problem.spread(beta))
    }

    fn deviance(&self, py: Python<'_>, theta: PyReadonlyArray1<'_, f64>, reml: bool) -> PyResult<f64> {
        let theta = self.theta(&theta)?;
        self.run(py, 1, || self.problem.user_deviance(theta, reml))?.ok_or_else(cannot_evaluate)
    }

    fn gradient<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let theta = self.theta(&theta)?;
        let gradient = self.run(py, 4, || self.problem.user_gradient(theta, reml))?;
        Ok(gradient.ok_or_else(cannot_evaluate)?.into_pyarray(py))
    }

    fn minimize(
        &self,
        py: Python<'_>,
        reml: bool,
        start: Option<PyReadonlyArray1<'_, f64>>,
        max_iterations: usize,
        n_starts: usize,
    ) -> PyResult<Minimum> {
        let start = start.as_ref().map(|s| self.theta(s)).transpose()?;
        let found = self.run(py, max_iterations.saturating_mul(n_starts.max(4)), || {
            self.problem.find_minimum(reml, start, max_iterations, n_starts)
        })?;
        found.map(Minimum).map_err(|e| match e {
            model::MinimumError::CannotEvaluate => cannot_evaluate(),
            model::MinimumError::PerfectFit => PyValueError::new_err(
                "the random effects fit the response perfectly, so no residual variance is left to estimate",
            ),
        })
    }

    /// beta (p,), (X'V^-1X)^-1 (p, p), sigma, conditional modes (n_levels, q) a factor.
    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn solve<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        reml: bool,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>, f64, Vec<Bound<'py, PyArray2<f64>>>)> {
        let theta = self.theta(&theta)?;
        let estimates = self.run(py, 4, || self.problem.estimates(theta, reml))?;
        let estimates = estimates.ok_or_else(cannot_evaluate)?;
        let p = estimates.beta.len();
        let modes = estimates.b.into_iter().zip(&self.shape.2);
        let modes = modes.map(|(b, (levels, blocks))| b.into_pyarray(py).reshape([*levels, width(blocks)]));
        Ok((
            estimates.beta.into_pyarray(py),
            estimates.cov.into_pyarray(py).reshape([p, p])?,
            estimates.sigma,
            modes.collect::<PyResult<_>>()?,
        ))
    }

    /// Lambda M^-1 Lambda' of each level, (n_levels, q, q) a factor.
    fn conditional_covariance<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Vec<Bound<'py, PyArray3<f64>>>> {
        let theta = self.theta(&theta)?;
        let blocks = self.run(py, 4, || self.problem.conditional_covariances(theta))?;
        let shaped = blocks.ok_or_else(cannot_evaluate)?.into_iter().zip(&self.shape.2);
        shaped
            .map(|(values, (levels, blocks))| {
                let q = width(blocks);
                values.into_pyarray(py).reshape([*levels, q, q])
            })
            .collect()
    }

    /// The same model on another number of threads.
    fn with_threads(&self, py: Python<'_>, n_threads: usize) -> PyResult<Model> {
        if n_threads > MAX_THREADS {
            return Err(PyValueError::new_err(format!("n_threads is {n_threads}; at most {MAX_THREADS} are allowed")));
        }
        let par = engine_threads(n_threads);
        let problem = self
            .run(py, 1, || Problem::with_pattern(self.problem.products.clone(), self.problem.pattern.clone(), par))?;
        Ok(self.of(problem, n_threads))
    }

    /// The same model with another response; the other arrays must be the ones it was built from.
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    fn with_response<'py>(
        &self,
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
    ) -> PyResult<Model> {
        let arrays = Arrays { y, x: X, weights, codes, z: Z };
        let rows = with_relations(arrays.rows(&self.shape.2)?, &self.relations);
        self.check_same_shape(&rows)?;
        let products =
            guarded(py, self.n_threads, products_flops(&rows), || self.problem.products.with_response(&rows))?;
        let products = products.map_err(perfect_fit)?;
        let problem = Problem::with_pattern(products, self.problem.pattern.clone(), self.problem.par);
        Ok(self.of(problem, self.n_threads))
    }
}

impl Model {
    /// Another problem of the same shape.
    fn of(&self, problem: Problem, n_threads: usize) -> Model {
        let (shape, relations) = (self.shape.clone(), self.relations.clone());
        Model { problem, n_threads, shape, weighted: self.weighted, relations }
    }

    /// Runs `work` of that many evaluations as `guarded` does.
    fn run<T: Send>(&self, py: Python<'_>, n_evaluations: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
        guarded(py, self.n_threads, self.problem.flops() * n_evaluations as f64, work)
    }

    fn check_same_shape(&self, rows: &ModelRows) -> PyResult<()> {
        let same_size = (rows.y.len(), rows.x.n_cols()) == (self.shape.0, self.shape.1);
        if !same_size || rows.weights.is_some() != self.weighted {
            return Err(PyValueError::new_err(
                "the arrays have other shapes than those of the model, or weights where it has none",
            ));
        }
        Ok(())
    }

    fn theta<'a>(&self, theta: &'a PyReadonlyArray1<'_, f64>) -> PyResult<&'a [f64]> {
        let values = contiguous(theta, "theta")?;
        if values.len() != self.problem.n_theta() || values.iter().any(|t| !t.is_finite()) {
            let n = self.problem.n_theta();
            return Err(PyValueError::new_err(format!("theta must be {n} finite numbers, got {}", values.len())));
        }
        Ok(values)
    }
}

/// Bytes that this process may still take; None where the system does not tell.
#[pyfunction]
fn available_memory() -> Option<usize> {
    memory::available()
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(available_memory, module)?)?;
    module.add_function(wrap_pyfunction!(border_objective::minimize_called, module)?)?;
    module.add_class::<Model>()?;
    module.add_class::<border_accumulator::Accumulator>()?;
    module.add_class::<Minimum>()?;
    module.add_class::<border_crossing::PyCrossing>()?;
    module.add_class::<border_crossing::PyScaled>()?;
    module.add_class::<border_crossing::PyLanczos>()?;
    module.add_class::<border_patterns::PatternModel>()?;
    module.add_class::<border_chains::ChainModel>()?;
    module.add_class::<border_coupled::CoupledModel>()?;
    module.add_class::<border_glmm::GeneralizedModel>()?;
    module.add_class::<border_glmm::GeneralizedMinimum>()
}
