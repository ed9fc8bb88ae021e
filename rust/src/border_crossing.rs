//! The border to Python for crossed factors that nothing factors: products and Lanczos' method.

#![allow(non_snake_case)] // matrices are X, Y and Z in Python, where they are keywords

use crate::border_inference::by_rows;
use crate::krylov::{self, Crossing, TOGETHER};
use crate::meetings::{Columns, MOST_EFFECTS, Meetings, Side};
use crate::memory::{copied, reserved};
use crate::rows::Source;
use crate::{INLINE_FLOPS, Model, any_of, contiguous, guarded, matrix};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use numpy::{PyReadonlyArray3, PyReadonlyArray4};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;

type Matrix<'py> = Bound<'py, PyArray2<f64>>;
type Blocks<'py> = Bound<'py, PyArray3<f64>>;
type Numbers<'py> = Bound<'py, PyArray1<f64>>;

/// Where the levels of crossed factors meet; keeps no rows.
#[pyclass(frozen, name = "Crossing", module = "mixedmodels._engine")]
pub struct PyCrossing {
    crossing: Arc<Crossing>,
    n_threads: usize,
}

#[pymethods]
impl PyCrossing {
    #[new]
    #[pyo3(signature = (codes, Z, n_levels, n_threads=0))]
    fn new<'py>(
        py: Python<'py>,
        codes: Vec<PyReadonlyArray1<'py, i32>>,
        Z: Vec<Option<PyReadonlyArray2<'py, f64>>>,
        n_levels: Vec<usize>,
        n_threads: usize,
    ) -> PyResult<PyCrossing> {
        let refuse = |message: &str| Err(PyValueError::new_err(message.to_owned()));
        if codes.len() < 2 || codes.len() != Z.len() || codes.len() != n_levels.len() {
            return refuse("there must be two factors at least, each with codes, Z and n_levels");
        }
        let n = codes[0].as_array().len();
        let mut sides = vec![];
        for ((codes, z), &n_levels) in codes.iter().zip(&Z).zip(&n_levels) {
            let codes = contiguous(codes, "codes")?;
            let z = z.as_ref().map_or(Ok(Source::Ones(n)), |z| matrix(z, n, "Z"))?;
            if codes.len() != n || n > u32::MAX as usize || any_of(codes, |&c| c < 0 || c as usize >= n_levels) {
                return refuse("codes must be levels, one a row, and rows fewer than 2^32");
            }
            if !(1..=MOST_EFFECTS).contains(&z.n_cols()) {
                return refuse("a level must have one to four effects");
            }
            sides.push(Side { codes, z, n_levels });
        }
        if sides[1..].iter().map(|side| side.n_levels * side.z.n_cols()).sum::<usize>() > u32::MAX as usize {
            return refuse("effects must be fewer than 2^32");
        }
        let crossing = guarded(py, n_threads, INLINE_FLOPS, || Crossing {
            first: Meetings::new(&sides[0], &sides[1..]),
            among: (1..sides.len() - 1).map(|j| Meetings::new(&sides[j], &sides[j + 1..])).collect(),
        })?;
        Ok(PyCrossing { crossing: Arc::new(crossing), n_threads })
    }

    /// Bytes that it takes.
    #[getter]
    fn bytes(&self) -> usize {
        self.crossing.first.bytes() + self.crossing.among.iter().map(Meetings::bytes).sum::<usize>()
    }

    /// The same with another number of threads.
    fn with_threads(&self, n_threads: usize) -> PyCrossing {
        PyCrossing { crossing: self.crossing.clone(), n_threads }
    }

    /// The crossing scaled by S, (n_levels, q, q) a factor.
    fn scaled(&self, scales: Vec<PyReadonlyArray3<'_, f64>>) -> PyResult<PyScaled> {
        let shapes = self.shapes();
        let fit = scales.iter().zip(&shapes).all(|(s, &(n, q))| s.as_array().dim() == (n, q, q));
        if scales.len() != shapes.len() || !fit {
            return Err(PyValueError::new_err("scales must be (n_levels, q, q), one a factor"));
        }
        let values = |s: &PyReadonlyArray3<'_, f64>| {
            s.as_slice().map(<[f64]>::to_vec).map_err(|_| PyValueError::new_err("scales must be in C order"))
        };
        let scales = scales.iter().map(values).collect::<PyResult<_>>()?;
        let scaled = krylov::Scaled { crossing: self.crossing.clone(), scales };
        Ok(PyScaled { scaled: Arc::new(scaled), n_threads: self.n_threads })
    }
}

impl PyCrossing {
    fn shapes(&self) -> Vec<(usize, usize)> {
        let first = &self.crossing.first;
        std::iter::once((first.n_levels, first.q)).chain(first.others.iter().copied()).collect()
    }
}

/// Z_l'WZ_l, (n_levels, q, q), and Z_l'W[Q r], (n_levels, p + 1, q), of a factor.
type LevelSums<'py> = (Blocks<'py>, Blocks<'py>);

/// Mean (p,) and map (p, p) of Q, coefficients of least squares there (p,), [Q r]'W[Q r] (p + 1, p + 1), and sum log w.
type FixedSums<'py> = (Numbers<'py>, Matrix<'py>, Numbers<'py>, Matrix<'py>, f64);

#[pymethods]
impl Model {
    /// Where the levels of its factors meet, and the positions of these in the caller's list; up to four effects a level.
    #[pyo3(signature = (n_threads=0))]
    fn crossing(&self, py: Python<'_>, n_threads: usize) -> PyResult<(PyCrossing, Vec<usize>)> {
        let products = &self.problem.products;
        if products.factors.len() < 2 || products.factors.iter().any(|f| !(1..=MOST_EFFECTS).contains(&f.q)) {
            return Err(PyValueError::new_err("there must be two factors at least, with one to four effects a level"));
        }
        let crossing = guarded(py, n_threads, INLINE_FLOPS, || Crossing::of_products(products))?;
        let order = products.factors.iter().map(|f| f.public).collect();
        Ok((PyCrossing { crossing: Arc::new(crossing), n_threads }, order))
    }

    /// Products of the levels of each factor, in the caller's order.
    fn level_sums<'py>(&self, py: Python<'py>) -> PyResult<Vec<LevelSums<'py>>> {
        let m = self.problem.products.p + 1;
        let mut factors: Vec<_> = self.problem.products.factors.iter().collect();
        factors.sort_by_key(|f| f.public);
        let one = |f: &crate::products::Factor| {
            let own = copied(&f.zz).into_pyarray(py).reshape([f.n_levels, f.q, f.q])?;
            Ok((own, copied(&f.zx).into_pyarray(py).reshape([f.n_levels, m, f.q])?))
        };
        factors.into_iter().map(one).collect()
    }

    /// The basis Q of the fixed columns and the residual r of least squares on them, over its root mean square.
    fn fixed_sums<'py>(&self, py: Python<'py>) -> PyResult<FixedSums<'py>> {
        let products = &self.problem.products;
        let p = products.p;
        let (mean, map) = products.x_basis.centred();
        let square = |values: Vec<f64>, size: usize| by_rows(values, size)?.into_pyarray(py).reshape([size, size]);
        Ok((
            copied(mean).into_pyarray(py),
            square(copied(map), p)?,
            copied(&products.beta0).into_pyarray(py),
            square(copied(&products.xx), p + 1)?,
            products.log_weights,
        ))
    }
}

/// R and X at one theta.
#[pyclass(frozen, name = "ScaledCrossing", module = "mixedmodels._engine")]
pub struct PyScaled {
    scaled: Arc<krylov::Scaled>,
    n_threads: usize,
}

#[pymethods]
impl PyScaled {
    /// X x and R x of columns.
    fn product<'py>(&self, py: Python<'py>, x: PyReadonlyArray2<'py, f64>) -> PyResult<(Matrix<'py>, Matrix<'py>)> {
        let (n, k) = self.checked(&x, self.scaled.crossing.first.n_columns())?;
        let n_first = self.scaled.crossing.first.n_rows();
        let (mut image, mut there) = (reserved(n * k), reserved(n_first * k));
        image.resize(n * k, 0.0);
        there.resize(n_first * k, 0.0);
        let x = x.as_slice().expect("it was checked");
        guarded(py, self.n_threads, INLINE_FLOPS, || {
            in_blocks(k, |from, width| match width {
                1 => self.product_of::<1>(x, k, from, width, &mut image, &mut there),
                2 => self.product_of::<2>(x, k, from, width, &mut image, &mut there),
                3 | 4 => self.product_of::<4>(x, k, from, width, &mut image, &mut there),
                _ => self.product_of::<8>(x, k, from, width, &mut image, &mut there),
            });
        })?;
        Ok((shaped(py, image, n, k)?, shaped(py, there, n_first, k)?))
    }

    /// R'y of columns.
    fn back<'py>(&self, py: Python<'py>, y: PyReadonlyArray2<'py, f64>) -> PyResult<Matrix<'py>> {
        let (_, k) = self.checked(&y, self.scaled.crossing.first.n_rows())?;
        let n = self.scaled.crossing.first.n_columns();
        let mut out = reserved(n * k);
        out.resize(n * k, 0.0);
        let y = y.as_slice().expect("it was checked");
        guarded(py, self.n_threads, INLINE_FLOPS, || {
            in_blocks(k, |from, width| match width {
                1 | 2 => put(&self.scaled.back(&taken::<2>(y, k, from, width)), k, from, width, &mut out),
                _ => put(&self.scaled.back(&taken::<8>(y, k, from, width)), k, from, width, &mut out),
            });
        })?;
        shaped(py, out, n, k)
    }

    /// Blocks on the diagonals of R R' and R'R: those of the first factor with all others, (n_levels, q, q) a factor, and
    /// those of each other with the ones behind it.
    fn squares<'py>(&self, py: Python<'py>) -> PyResult<Vec<Vec<Blocks<'py>>>> {
        let sums = guarded(py, self.n_threads, INLINE_FLOPS, || self.scaled.squares())?;
        let crossing = &self.scaled.crossing;
        let all = std::iter::once(&crossing.first).chain(&crossing.among);
        let mut out = vec![];
        for (meetings, (own, others)) in all.zip(sums) {
            let mut blocks = vec![own.into_pyarray(py).reshape([meetings.n_levels, meetings.q, meetings.q])?];
            let mut at = 0;
            for &(levels, q) in &meetings.others {
                let part = others[at..at + levels * q * q].to_vec();
                blocks.push(part.into_pyarray(py).reshape([levels, q, q])?);
                at += levels * q * q;
            }
            out.push(blocks);
        }
        Ok(out)
    }

    /// Lanczos' method from columns of length one, at most eight.
    fn lanczos(&self, start: PyReadonlyArray2<'_, f64>) -> PyResult<PyLanczos> {
        let (_, k) = self.checked(&start, self.scaled.crossing.first.n_columns())?;
        if !(1..=TOGETHER).contains(&k) {
            return Err(PyValueError::new_err(format!("start must have one to {TOGETHER} columns")));
        }
        let start = taken::<TOGETHER>(start.as_slice().expect("it was checked"), k, 0, k);
        let shapes = std::iter::once((self.scaled.crossing.first.n_levels, self.scaled.crossing.first.q));
        let shapes = shapes.chain(self.scaled.crossing.first.others.iter().copied()).collect();
        let lanczos = krylov::Lanczos::new(self.scaled.clone(), start);
        Ok(PyLanczos { lanczos, k, shapes, n_threads: self.n_threads })
    }
}

impl PyScaled {
    fn checked(&self, x: &PyReadonlyArray2<'_, f64>, n: usize) -> PyResult<(usize, usize)> {
        let (rows, k) = x.as_array().dim();
        if rows != n || x.as_slice().is_err() || !x.as_array().is_standard_layout() {
            return Err(PyValueError::new_err(format!("columns must have {n} rows, in C order")));
        }
        Ok((rows, k))
    }

    fn product_of<const K: usize>(
        &self,
        x: &[f64],
        k: usize,
        from: usize,
        width: usize,
        image: &mut [f64],
        there: &mut [f64],
    ) {
        let (made, first) = self.scaled.product(&taken::<K>(x, k, from, width));
        put(&made, k, from, width, image);
        put(&first, k, from, width, there);
    }
}

/// Lanczos' method on X.
#[pyclass(name = "Lanczos", module = "mixedmodels._engine")]
pub struct PyLanczos {
    lanczos: krylov::Lanczos,
    k: usize,
    shapes: Vec<(usize, usize)>,
    n_threads: usize,
}

#[pymethods]
impl PyLanczos {
    /// One more step: elements of the tridiagonal matrices on the diagonal and beside it, (k,).
    fn step<'py>(&mut self, py: Python<'py>) -> PyResult<(Numbers<'py>, Numbers<'py>)> {
        let (n_threads, k, lanczos) = (self.n_threads, self.k, &mut self.lanczos);
        let (diagonal, beside) = guarded(py, n_threads, INLINE_FLOPS, || lanczos.step())?;
        Ok((diagonal[..k].to_vec().into_pyarray(py), beside[..k].to_vec().into_pyarray(py)))
    }

    /// tr(K Q'R'N R Q) for matrices N of the first factor's levels, tr(K Q'N'X Q) for the others'.
    fn slopes<'py>(
        &self,
        py: Python<'py>,
        weights: PyReadonlyArray3<'py, f64>,
        turns: Vec<PyReadonlyArray4<'py, f64>>,
    ) -> PyResult<Vec<Matrix<'py>>> {
        let m = self.lanczos.len();
        if weights.as_array().dim() != (self.k, m, m) {
            return Err(PyValueError::new_err("weights must be (k, m, m), m steps"));
        }
        let fit = |(t, &(n, q)): (&PyReadonlyArray4<'_, f64>, &(usize, usize))| {
            let dim = t.as_array().dim();
            (dim.1, dim.2, dim.3) == (n, q, q)
        };
        if turns.len() != self.shapes.len() || !turns.iter().zip(&self.shapes).all(fit) {
            return Err(PyValueError::new_err("turns must be (n, n_levels, q, q), one a factor"));
        }
        let view = weights.as_array();
        let mut by_place = vec![[0.0; TOGETHER]; m * m];
        for ((k, i, j), &v) in view.indexed_iter() {
            by_place[i * m + j][k] = v;
        }
        let wrong = |_| PyValueError::new_err("turns must be in C order");
        let turns: Vec<&[f64]> = turns.iter().map(|t| t.as_slice().map_err(wrong)).collect::<PyResult<_>>()?;
        let made = guarded(py, self.n_threads, INLINE_FLOPS, || self.lanczos.slopes(&by_place, &turns))?;
        let flat = |rows: Vec<[f64; TOGETHER]>| {
            let n = rows.len();
            shaped(py, rows.iter().flat_map(|row| row[..self.k].to_vec()).collect(), n, self.k)
        };
        made.into_iter().map(flat).collect()
    }
}

/// Calls `work` with the first column and the number of columns of one block after the other.
fn in_blocks(k: usize, mut work: impl FnMut(usize, usize)) {
    (0..k).step_by(TOGETHER).for_each(|from| work(from, TOGETHER.min(k - from)));
}

/// Some columns of a matrix in C order.
fn taken<const K: usize>(x: &[f64], k: usize, from: usize, width: usize) -> Columns<K> {
    let mut out = reserved(x.len() / k.max(1));
    out.extend(x.chunks_exact(k).map(|row| {
        let mut block = [0.0; K];
        block[..width].copy_from_slice(&row[from..from + width]);
        block
    }));
    out
}

fn put<const K: usize>(block: &[[f64; K]], k: usize, from: usize, width: usize, out: &mut [f64]) {
    for (row, values) in out.chunks_exact_mut(k).zip(block) {
        row[from..from + width].copy_from_slice(&values[..width]);
    }
}

fn shaped<'py>(py: Python<'py>, values: Vec<f64>, n: usize, k: usize) -> PyResult<Matrix<'py>> {
    values.into_pyarray(py).reshape([n, k])
}
