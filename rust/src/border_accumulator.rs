//! Sums of rows that come in parts, for Python.

use crate::accumulator::{Accumulator as Sums, Finished};
use crate::deviance::Problem;
use crate::memory::copied;
use crate::products::{Block, ProductsError};
use crate::{Arrays, MAX_THREADS, Model, Shape, contiguous, engine_threads, guarded, perfect_fit, products_flops};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Cross-products of one model as its rows come by; keeps no rows.
#[pyclass(module = "mixedmodels._engine")]
pub struct Accumulator {
    /// None until there was a row.
    sums: Option<Sums>,
    blocks: Vec<Vec<Block>>,
}

fn refuse<T>(message: impl Into<String>) -> PyResult<T> {
    Err(PyValueError::new_err(message.into()))
}

impl Accumulator {
    fn known(&self) -> PyResult<&Sums> {
        self.sums.as_ref().ok_or_else(|| PyValueError::new_err("there was no row"))
    }

    /// Codes of every factor, each below a bound, for so many levels; all different if they are places.
    fn codes<'a>(
        &self,
        codes: &'a [PyReadonlyArray1<'_, i32>],
        sums: &Sums,
        are_places: bool,
    ) -> PyResult<Vec<&'a [i32]>> {
        if codes.len() != sums.factors.len() {
            return refuse("codes must have one entry a factor");
        }
        let mut out = vec![];
        for (codes, factor) in codes.iter().zip(&sums.factors) {
            let codes = contiguous(codes, "codes")?;
            if codes.len() < factor.n_levels || codes.iter().any(|c| *c < 0) {
                return refuse(format!("codes of a factor must be {} integers from 0", factor.n_levels));
            }
            if are_places {
                let mut seen = vec![false; codes.len()];
                if codes.iter().any(|&c| seen.get_mut(c as usize).is_none_or(|s| std::mem::replace(s, true))) {
                    return refuse("places of levels must be different, from 0 to their number - 1");
                }
            }
            out.push(codes);
        }
        Ok(out)
    }
}

#[pymethods]
impl Accumulator {
    /// Of factors with these blocks of columns.
    #[new]
    fn new(blocks: Vec<Vec<isize>>) -> Accumulator {
        let block = |size: isize| Block { size: size.unsigned_abs(), tied: size < 0 };
        Accumulator { sums: None, blocks: blocks.into_iter().map(|b| b.into_iter().map(block).collect()).collect() }
    }

    #[getter]
    fn n_obs(&self) -> usize {
        self.sums.as_ref().map_or(0, |s| s.n)
    }

    /// Adds rows, the arguments as for `Model`; the first rows that come fix the bases of all sums.
    ///
    /// `counts` are for how many rows each stands, in place of weights.
    #[allow(non_snake_case)] // matrices are X, Y and Z, by keyword in Python
    #[pyo3(signature = (y, X, weights, codes, n_levels, Z, counts=None))]
    fn add<'py>(
        &mut self,
        py: Python<'py>,
        y: PyReadonlyArray1<'py, f64>,
        X: PyReadonlyArray2<'py, f64>,
        weights: Option<PyReadonlyArray1<'py, f64>>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        n_levels: Vec<usize>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        counts: Option<PyReadonlyArray1<'py, f64>>,
    ) -> PyResult<()> {
        let counts = counts.as_ref().map(|c| contiguous(c, "counts")).transpose()?;
        if let Some(counts) = counts {
            let positive = counts.iter().all(|c| *c > 0.0 && *c < f64::INFINITY);
            if counts.len() != y.len()? || weights.is_some() || !positive {
                return refuse("counts must be positive numbers, one a row, of rows without weights");
            }
        }
        if contiguous(&y, "y")?.is_empty() {
            return Ok(());
        }
        if n_levels.len() != self.blocks.len() {
            return refuse("n_levels must have one entry a factor");
        }
        let shapes: Vec<Shape> = n_levels.into_iter().zip(self.blocks.iter().cloned()).collect();
        let arrays = Arrays { y, x: X, weights, codes, z: Z };
        let rows = arrays.rows(&shapes)?;
        if let Some(sums) = &self.sums {
            if rows.x.n_cols() != sums.fixed.p() || rows.weights.is_some() != sums.is_weighted {
                return refuse("X has another number of columns than before, or weights where there were none");
            }
        }
        let sums = &mut self.sums;
        guarded(py, 1, products_flops(&rows), || sums.get_or_insert_with(|| Sums::like(&rows)).add(&rows, counts))
    }

    /// The same bases without sums, for rows that another process has.
    fn fork(&self) -> PyResult<Accumulator> {
        Ok(Accumulator { sums: Some(self.known()?.fork()), blocks: self.blocks.clone() })
    }

    /// Adds the sums of another; `codes` are this one's codes of the other's levels, an array a factor.
    fn merge(&mut self, py: Python<'_>, other: &Accumulator, codes: Vec<PyReadonlyArray1<'_, i32>>) -> PyResult<()> {
        let Some(of) = other.sums.as_ref() else { return Ok(()) };
        let codes = self.codes(&codes, of, false)?;
        let Some(own) = self.sums.as_mut() else {
            return refuse("sums can be merged into those of the same bases only: fork the first, and keep it");
        };
        if !own.is_like(of) {
            return refuse("sums in other bases cannot be added: fork one accumulator for all");
        }
        guarded(py, 1, f64::INFINITY, || own.merge(of, &codes))
    }

    /// Pairs of levels that occur, of factors (0, 1), (0, 2), (1, 2), ...
    fn n_pairs(&self) -> PyResult<Vec<usize>> {
        Ok(self.known()?.n_pairs())
    }

    /// The model of all rows, the level of each code at its place; or an accumulator for another pass over the same rows,
    /// where the sums have too few digits.
    ///
    /// `ranks` are the positions of the factors in the model, as they are if it is None.
    #[pyo3(signature = (places, ranks=None, n_threads=0, dense=None))]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        places: Vec<PyReadonlyArray1<'py, i32>>,
        ranks: Option<Vec<usize>>,
        n_threads: usize,
        dense: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let sums = self.known()?;
        let places = self.codes(&places, sums, true)?;
        if n_threads > MAX_THREADS {
            return refuse(format!("n_threads is {n_threads}; at most {MAX_THREADS} are allowed"));
        }
        let n_factors = places.len();
        let ranks = ranks.unwrap_or_else(|| (0..n_factors).collect());
        if ranks.len() != n_factors || (0..n_factors).any(|k| !ranks.contains(&k)) {
            return refuse("ranks must be the positions of the factors in another order");
        }
        let par = engine_threads(n_threads);
        let finished = guarded(py, n_threads, f64::INFINITY, || match sums.finish(&places, &ranks) {
            Finished::Products(products) => Ok(Ok(Problem::new(*products, dense, par))),
            Finished::Again(again) => Ok(Err(*again)),
            Finished::PerfectFit => Err(ProductsError::PerfectFit),
        })?;
        match finished.map_err(perfect_fit)? {
            Ok(problem) => {
                let mut factors: Vec<Shape> = vec![(0, vec![]); n_factors];
                for ((places, blocks), rank) in places.iter().zip(&self.blocks).zip(&ranks) {
                    factors[*rank] = (places.len(), blocks.clone());
                }
                let shape = (sums.n, sums.fixed.p(), factors);
                Bound::new(py, Model { problem, n_threads, shape, weighted: sums.is_weighted, relations: vec![] })
                    .map(Bound::into_any)
            }
            Err(again) => {
                Bound::new(py, Accumulator { sums: Some(again), blocks: self.blocks.clone() }).map(Bound::into_any)
            }
        }
    }

    /// Means m (p,), map T (p, p) and first fit b (p,) of provisional fixed columns q = (x - m x_1) T, and the products
    /// of [1, q, y - q b] without weights, (p + 2, p + 2), lower triangle.
    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn fixed_sums<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray2<f64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray2<f64>>,
    )> {
        let fixed = &self.known()?.fixed;
        let p = fixed.p();
        let (mean, map) = fixed.basis.centred();
        let square = |values: &[f64], size: usize| copied(values).into_pyarray(py).reshape([size, size]);
        Ok((
            copied(mean).into_pyarray(py),
            square(&crate::block::transpose(map, p, p), p)?,
            copied(&fixed.first).into_pyarray(py),
            square(&crate::block::transpose(&fixed.plain, p + 2, p + 2), p + 2)?,
        ))
    }

    /// Map (q, q) from the raw columns of factor k to provisional ones, and the products of these without weights.
    #[allow(clippy::type_complexity)] // Python gets a tuple of arrays
    fn effect_sums<'py>(
        &self,
        py: Python<'py>,
        k: usize,
    ) -> PyResult<(Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>)> {
        let Some(factor) = self.known()?.factors.get(k) else { return refuse("there is no such factor") };
        let q = factor.basis.q;
        let [_, plain] = factor.grams();
        let map = crate::block::transpose(&factor.basis.matrix(), q, q);
        let lower: Vec<f64> = (0..q * q).map(|k| plain[(k % q).min(k / q) * q + (k % q).max(k / q)]).collect();
        Ok((map.into_pyarray(py).reshape([q, q])?, lower.into_pyarray(py).reshape([q, q])?))
    }

    /// All of it as bytes, which an accumulator of the same blocks and version reads.
    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = guarded(py, 1, f64::INFINITY, || self.sums.as_ref().map_or(vec![], Sums::to_bytes))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __setstate__(&mut self, py: Python<'_>, state: &Bound<'_, PyBytes>) -> PyResult<()> {
        let bytes = state.as_bytes();
        if bytes.is_empty() {
            self.sums = None;
            return Ok(());
        }
        let read = guarded(py, 1, f64::INFINITY, || Sums::from_bytes(bytes))?;
        self.sums = Some(read.ok_or_else(|| PyValueError::new_err("these bytes are no sums of this version"))?);
        Ok(())
    }

    fn __getnewargs__(&self) -> (Vec<Vec<isize>>,) {
        let size = |b: &Block| if b.tied { -(b.size as isize) } else { b.size as isize };
        (self.blocks.iter().map(|blocks| blocks.iter().map(size).collect()).collect(),)
    }
}
