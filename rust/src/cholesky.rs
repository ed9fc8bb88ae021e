//! Cholesky factors of the rest: what remains of M after the first factor is eliminated, dense or sparse by fill.

use crate::memory::{before_products, filled, refuse, reserve, reserved, scratch, zeros};
use crate::products::Products;
use crate::threads;
use faer::dyn_stack::MemStack;
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::sparse::FaerError;
use faer::sparse::linalg::SupernodalThreshold;
use faer::sparse::linalg::cholesky::supernodal::SymbolicSupernodalCholesky;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, SymbolicCholesky, SymbolicCholeskyRaw, SymmetricOrdering, factorize_symbolic_cholesky,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Accum, MatMut, MatRef, Par, Side};
use std::cell::Cell;

/// A rest of at most this many columns is dense whatever its pattern.
const SMALL: usize = 48;
/// Share of the lower triangle, and entries, above which no order is looked for: the search takes some 24 bytes an entry.
const FULL: f64 = 0.4;
const MOST_ENTRIES: f64 = 1.5e8;
/// Dense flops run this many times faster than sparse ones.
const DENSE_ADVANTAGE: f64 = 4.0;
/// Dense matrices with more columns are handled by tiles of so many, for some tenths of a second each at most.
pub const LONG: usize = 2048;
pub const TILE: usize = 256;

/// Where the entries of the rest (lower triangle) are kept.
pub enum Pattern {
    /// n x n, column-major, lower triangle used.
    Dense {
        n: usize,
    },
    Sparse(Box<SparsePattern>),
}

/// Lower triangle by columns, and the symbolic factor with its fill-reducing order.
pub struct SparsePattern {
    pub n: usize,
    pub column_start: Vec<usize>,
    pub row: Vec<usize>,
    symbolic: SymbolicCholesky<usize>,
    /// For every entry of the pattern, its place among the values of the factor.
    pub place: Vec<usize>,
}

impl SparsePattern {
    pub fn factor(&self) -> &SymbolicSupernodalCholesky<usize> {
        match self.symbolic.raw() {
            SymbolicCholeskyRaw::Supernodal(s) => s,
            SymbolicCholeskyRaw::Simplicial(_) => unreachable!("supernodes are forced"),
        }
    }

    /// New place of each column: the inverse of the fill-reducing permutation.
    fn new_place(&self) -> &[usize] {
        self.symbolic.perm().expect("a fill-reducing order was computed").arrays().1
    }
}

impl Pattern {
    /// Chooses by fill; `dense` forces a kind.
    pub fn new(products: &Products, dense: Option<bool>) -> Pattern {
        let n = products.n_rest;
        let all_dense = Pattern::Dense { n };
        match dense {
            Some(true) => return all_dense,
            None if n <= SMALL || is_too_full(products) => return all_dense,
            _ if n == 0 => return all_dense,
            _ => {}
        }
        let (column_start, row) = lower_pattern(products);
        Pattern::by_fill(column_start, row, dense)
    }

    /// The pattern of a lower triangle by columns of ascending rows, the diagonal among them, by fill.
    pub fn of_columns(column_start: Vec<usize>, row: Vec<usize>) -> Pattern {
        let n = column_start.len() - 1;
        if n <= SMALL || row.len() as f64 > 0.2 * (n as f64) * (n as f64 + 1.0) {
            return Pattern::Dense { n };
        }
        Pattern::by_fill(column_start, row, None)
    }

    fn by_fill(column_start: Vec<usize>, row: Vec<usize>, dense: Option<bool>) -> Pattern {
        let n = column_start.len() - 1;
        let all_dense = Pattern::Dense { n };
        let symbolic_matrix = SymbolicSparseColMatRef::new_checked(n, n, &column_start, None, &row);
        let params = CholeskySymbolicParams {
            // below zero: faer compares strictly, and a diagonal pattern has a ratio of zero
            supernodal_flop_ratio_threshold: SupernodalThreshold(-1.0),
            ..Default::default()
        };
        let symbolic = match factorize_symbolic_cholesky(symbolic_matrix, Side::Lower, SymmetricOrdering::Amd, params) {
            Ok(symbolic) => symbolic,
            Err(FaerError::OutOfMemory) => refuse(row.len() * size_of::<usize>()),
            Err(_) => return all_dense,
        };
        let mut pattern = SparsePattern { n, column_start, row, symbolic, place: vec![] };
        if dense.is_none() && sparse_flops(pattern.factor()) * DENSE_ADVANTAGE > (n as f64).powi(3) / 3.0 {
            return all_dense;
        }
        pattern.place = places(&pattern);
        Pattern::Sparse(Box::new(pattern))
    }

    pub fn n(&self) -> usize {
        match self {
            Pattern::Dense { n } => *n,
            Pattern::Sparse(s) => s.n,
        }
    }

    /// Number of values kept.
    pub fn len(&self) -> usize {
        match self {
            Pattern::Dense { n } => n * n,
            Pattern::Sparse(s) => s.row.len(),
        }
    }

    /// Number of values of a factor.
    pub fn factor_len(&self) -> usize {
        match self {
            Pattern::Dense { n } => n * n,
            Pattern::Sparse(s) => s.symbolic.len_val(),
        }
    }

    /// Multiplications of one factorisation.
    pub fn flops(&self) -> f64 {
        match self {
            Pattern::Dense { n } => (*n as f64).powi(3) / 3.0 / DENSE_ADVANTAGE,
            Pattern::Sparse(s) => sparse_flops(s.factor()),
        }
    }

    /// Place of entry (row, column), row >= column, among the values.
    pub fn index(&self, row: usize, column: usize) -> usize {
        self.find(row, column).expect("the entry is in the pattern")
    }

    /// As `index`, or None if the entry is not kept.
    pub fn find(&self, row: usize, column: usize) -> Option<usize> {
        match self {
            Pattern::Dense { n } => Some(column * n + row),
            Pattern::Sparse(s) => {
                let range = s.column_start[column]..s.column_start[column + 1];
                Some(range.start + s.row[range].binary_search(&row).ok()?)
            }
        }
    }
}

fn sparse_flops(symbolic: &SymbolicSupernodalCholesky<usize>) -> f64 {
    let (begin, end) = (symbolic.supernode_begin(), symbolic.supernode_end());
    (0..symbolic.n_supernodes())
        .map(|s| {
            let size = end[s] - begin[s];
            let below = symbolic.supernode(s).pattern().len();
            (0..size).map(|c| ((size - c + below) as f64).powi(2)).sum::<f64>()
        })
        .sum()
}

/// Marks the rows of column j (at or below the diagonal) in `row`, unsorted.
fn column_rows(products: &Products, j: usize, stamp: &mut [u32], mark: u32, row: &mut Vec<usize>) {
    let left = Cell::new(products.n_rest - j);
    let mut add = |i: usize| {
        if i >= j && stamp[i] != mark {
            stamp[i] = mark;
            row.push(i);
            left.set(left.get() - 1);
        }
    };
    let cross = &products.cross;
    for &(level, t) in &cross.by_column[cross.column_start[j]..cross.column_start[j + 1]] {
        if left.get() == 0 {
            return; // of a full column most levels say nothing new
        }
        for &i in &cross.column[cross.start[level as usize] + t as usize..cross.start[level as usize + 1]] {
            add(i as usize);
        }
    }
    let e = products.offset.iter().skip(1).take_while(|&&o| o <= j).count();
    let q = products.factors[e].q;
    let first = products.offset[e] + (j - products.offset[e]) / q * q;
    (j..first + q).for_each(&mut add);
    if let Some(relation) = &products.factors[e].relation {
        for (level, _) in relation.column((j - products.offset[e]) / q) {
            (products.offset[e] + level * q..products.offset[e] + (level + 1) * q).for_each(&mut add);
        }
    }
    let cells = &products.rest_cells;
    let from = cells.partition_point(|c| c.column < first);
    for cell in cells[from..].iter().take_while(|c| c.column == first) {
        (cell.row..cell.row + products.factors[cell.row_factor].q).for_each(&mut add);
    }
}

/// Whether so much of the lower triangle is filled that no order would keep its factor sparse, or could be found.
fn is_too_full(products: &Products) -> bool {
    let (share, n) = (sampled_density(products), products.n_rest as f64);
    share > FULL || share * n * n / 2.0 > MOST_ENTRIES
}

/// Share of the lower triangle that is filled, from some columns.
fn sampled_density(products: &Products) -> f64 {
    let n = products.n_rest;
    let mut stamp = filled(0, n);
    let mut rows = reserved(n);
    let (mut met, mut possible) = (0, 0);
    for k in 0..64 {
        let j = k * n / 64;
        rows.clear();
        column_rows(products, j, &mut stamp, k as u32 + 1, &mut rows);
        met += rows.len();
        possible += n - j;
    }
    met as f64 / possible as f64
}

fn lower_pattern(products: &Products) -> (Vec<usize>, Vec<usize>) {
    let n = products.n_rest;
    let mut stamp = filled(0, n);
    let mut column_start = reserved(n + 1);
    column_start.push(0);
    let mut row = Vec::new();
    for j in 0..n {
        threads::check();
        let start = row.len();
        reserve(&mut row, n - j);
        column_rows(products, j, &mut stamp, j as u32 + 1, &mut row);
        row[start..].sort_unstable();
        column_start.push(row.len());
    }
    (column_start, row)
}

/// For every entry of the pattern, its place among the values of the factor.
fn places(pattern: &SparsePattern) -> Vec<usize> {
    let symbolic = pattern.factor();
    let new_place = pattern.new_place();
    let supernode = supernode_of(symbolic);
    let mut out = reserved(pattern.row.len());
    for j in 0..pattern.n {
        for &i in &pattern.row[pattern.column_start[j]..pattern.column_start[j + 1]] {
            let (a, b) = (new_place[i].max(new_place[j]), new_place[i].min(new_place[j]));
            let s = supernode[b];
            let (begin, end) = (symbolic.supernode_begin()[s], symbolic.supernode_end()[s]);
            let below = symbolic.supernode(s).pattern();
            let local = if a < end {
                a - begin
            } else {
                end - begin + below.binary_search(&a).expect("the pattern is inside its factor's")
            };
            let n_rows = end - begin + below.len();
            out.push(symbolic.col_ptr_for_val()[s] + (b - begin) * n_rows + local);
        }
    }
    out
}

/// Supernode of each column.
pub fn supernode_of(symbolic: &SymbolicSupernodalCholesky<usize>) -> Vec<usize> {
    let mut out = filled(0, symbolic.nrows());
    for s in 0..symbolic.n_supernodes() {
        out[symbolic.supernode_begin()[s]..symbolic.supernode_end()[s]].fill(s);
    }
    out
}

/// Replaces the lower triangle of `a` (n x n, column-major) by its Cholesky factor; None if not positive definite.
pub fn dense_cholesky(a: &mut [f64], n: usize, par: Par) -> Option<()> {
    if n == 0 {
        return Some(());
    }
    before_products(par);
    let size = if n > LONG { TILE } else { n };
    let mut memory = scratch(llt::factor::cholesky_in_place_scratch::<f64>(size, par, Default::default()));
    let mut a = MatMut::from_column_major_slice_mut(a, n, n);
    for k in (0..n).step_by(size) {
        let rest = a.rb_mut().submatrix_mut(k, k, n - k, n - k);
        let size = size.min(n - k);
        let (mut diagonal, _, mut below, behind) = rest.split_at_mut(size, size);
        let stack = MemStack::new(&mut memory);
        llt::factor::cholesky_in_place(diagonal.rb_mut(), Default::default(), par, stack, Default::default()).ok()?;
        solve_lower_triangular_in_place(diagonal.rb(), below.rb_mut().transpose_mut(), par);
        subtract_square(behind, below.rb(), par);
    }
    Some(())
}

/// target -= A A', lower triangle; large ones by tiles, between which it can be stopped.
pub fn subtract_square(mut target: MatMut<'_, f64>, a: MatRef<'_, f64>, par: Par) {
    before_products(par);
    let n = target.nrows();
    let size = if n > LONG { TILE } else { n.max(1) };
    let (full, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
    for j in (0..n).step_by(size) {
        threads::check();
        let columns = target.rb_mut().submatrix_mut(j, j, n - j, size.min(n - j));
        let size = columns.ncols();
        let (diagonal, below) = columns.split_at_row_mut(size);
        let own = a.subrows(j, size);
        triangular::matmul(diagonal, lower, Accum::Add, own, full, own.transpose(), full, -1.0, par);
        matmul(below, Accum::Add, a.subrows(j + size, n - j - size), own.transpose(), -1.0, par);
    }
}

/// A Cholesky factor L of the rest, in the order of `pattern`.
pub struct Factored<'a> {
    pub pattern: &'a Pattern,
    /// Dense: n x n with L in the lower triangle. Sparse: supernodes of the permuted factor.
    pub values: Vec<f64>,
    par: Par,
}

impl<'a> Factored<'a> {
    /// Factors the matrix whose lower triangle is `values`; None if it is not positive definite.
    pub fn new(pattern: &'a Pattern, values: Vec<f64>, par: Par) -> Option<Factored<'a>> {
        let values = match pattern {
            Pattern::Dense { n } => {
                let mut values = values;
                dense_cholesky(&mut values, *n, par)?;
                values
            }
            Pattern::Sparse(s) => {
                let mut factor = zeros(s.symbolic.len_val());
                before_products(par);
                let mut memory = scratch(s.symbolic.factorize_numeric_llt_scratch::<f64>(par, Default::default()));
                let symbolic = SymbolicSparseColMatRef::new_checked(s.n, s.n, &s.column_start, None, &s.row);
                s.symbolic
                    .factorize_numeric_llt(
                        &mut factor,
                        SparseColMatRef::new(symbolic, &values),
                        Side::Lower,
                        Default::default(),
                        par,
                        MemStack::new(&mut memory),
                        Default::default(),
                    )
                    .ok()?;
                factor
            }
        };
        let out = Factored { pattern, values, par };
        let positive = out.diagonal().all(|d| d > 0.0 && d.is_finite());
        positive.then_some(out)
    }

    fn diagonal(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self.pattern {
            Pattern::Dense { n } => Box::new((0..*n).map(move |j| self.values[j * n + j])),
            Pattern::Sparse(s) => {
                let symbolic = s.factor();
                Box::new((0..symbolic.n_supernodes()).flat_map(move |k| {
                    let size = symbolic.supernode_end()[k] - symbolic.supernode_begin()[k];
                    let n_rows = size + symbolic.supernode(k).pattern().len();
                    let first = symbolic.col_ptr_for_val()[k];
                    (0..size).map(move |c| self.values[first + c * n_rows + c])
                }))
            }
        }
    }

    /// log |L L'|.
    pub fn log_det(&self) -> f64 {
        2.0 * self.diagonal().map(f64::ln).sum::<f64>()
    }

    /// The smallest pivot: a diagonal element of L, squared.
    pub fn least_pivot(&self) -> f64 {
        self.diagonal().map(|d| d * d).fold(f64::INFINITY, f64::min)
    }

    /// B <- L^-1 B for n x m `b`, column-major. Sparse factors leave B in their own order: pair with `backward`.
    pub fn forward(&self, b: &mut [f64], m: usize) {
        let n = self.pattern.n();
        if n == 0 || m == 0 {
            return;
        }
        before_products(self.par);
        match self.pattern {
            Pattern::Dense { .. } => {
                let l = MatRef::from_column_major_slice(&self.values, n, n);
                solve_lower_triangular_in_place(l, MatMut::from_column_major_slice_mut(b, n, m), self.par);
            }
            Pattern::Sparse(s) => {
                permute(b, n, s.new_place());
                let mut x = MatMut::from_column_major_slice_mut(b, n, m);
                self.each_supernode(s, false, |start, diagonal, below, rows| {
                    let size = diagonal.ncols();
                    let mut top = x.rb_mut().subrows_mut(start, size);
                    solve_lower_triangular_in_place(diagonal, top.rb_mut(), Par::Seq);
                    let mut change = zeros(rows.len() * m);
                    let mut change = MatMut::from_column_major_slice_mut(&mut change, rows.len(), m);
                    matmul(change.rb_mut(), Accum::Replace, below, top.rb(), 1.0, self.par);
                    for c in 0..m {
                        for (k, &i) in rows.iter().enumerate() {
                            x[(i, c)] -= change[(k, c)];
                        }
                    }
                });
            }
        }
    }

    /// B <- L'^-1 B, the second half of a solve.
    pub fn backward(&self, b: &mut [f64], m: usize) {
        let n = self.pattern.n();
        if n == 0 || m == 0 {
            return;
        }
        before_products(self.par);
        match self.pattern {
            Pattern::Dense { .. } => {
                let l = MatRef::from_column_major_slice(&self.values, n, n);
                let b = MatMut::from_column_major_slice_mut(b, n, m);
                solve_upper_triangular_in_place(l.transpose(), b, self.par);
            }
            Pattern::Sparse(s) => {
                let mut x = MatMut::from_column_major_slice_mut(b, n, m);
                self.each_supernode(s, true, |start, diagonal, below, rows| {
                    let mut gathered = reserved(rows.len() * m);
                    (0..m).for_each(|c| gathered.extend(rows.iter().map(|&row| x[(row, c)])));
                    let gathered = MatRef::from_column_major_slice(&gathered, rows.len(), m);
                    let mut top = x.rb_mut().subrows_mut(start, diagonal.ncols());
                    matmul(top.rb_mut(), Accum::Add, below.transpose(), gathered, -1.0, Par::Seq);
                    solve_upper_triangular_in_place(diagonal.transpose(), top, Par::Seq);
                });
                unpermute(b, n, s.new_place());
            }
        }
    }

    fn each_supernode(
        &self,
        s: &SparsePattern,
        reverse: bool,
        mut f: impl FnMut(usize, MatRef<'_, f64>, MatRef<'_, f64>, &[usize]),
    ) {
        let symbolic = s.factor();
        let count = symbolic.n_supernodes();
        for k in 0..count {
            let k = if reverse { count - 1 - k } else { k };
            threads::check();
            let (start, end) = (symbolic.supernode_begin()[k], symbolic.supernode_end()[k]);
            let rows = symbolic.supernode(k).pattern();
            let range = symbolic.col_ptr_for_val()[k]..symbolic.col_ptr_for_val()[k + 1];
            let l = MatRef::from_column_major_slice(&self.values[range], end - start + rows.len(), end - start);
            let (diagonal, below) = l.split_at_row(end - start);
            f(start, diagonal, below, rows);
        }
    }
}

/// Moves row i of each column to `new_place[i]`.
fn permute(b: &mut [f64], n: usize, new_place: &[usize]) {
    let mut old = zeros(n);
    for column in b.chunks_exact_mut(n) {
        old.copy_from_slice(column);
        for i in 0..n {
            column[new_place[i]] = old[i];
        }
    }
}

/// Undoes `permute`.
fn unpermute(b: &mut [f64], n: usize, new_place: &[usize]) {
    let mut old = zeros(n);
    for column in b.chunks_exact_mut(n) {
        old.copy_from_slice(column);
        for i in 0..n {
            column[i] = old[new_place[i]];
        }
    }
}
