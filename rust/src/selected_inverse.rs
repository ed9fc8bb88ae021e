//! S^-1 on the pattern of S from its Cholesky factor (Takahashi, Fagan and Chen 1973), by supernodes.

use crate::block;
use crate::cholesky::{Factored, LONG, Pattern, SparsePattern, TILE, supernode_of};
use crate::memory::{before_products, filled, gathered, scratch, zeros};
use crate::threads;
use faer::dyn_stack::MemStack;
use faer::linalg::cholesky::llt::inverse;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, MatMut, MatRef, Par};

/// Values of S^-1 at the entries of the pattern of S (dense: the lower triangle, n x n).
pub fn selected_inverse(factored: &Factored, par: Par) -> Vec<f64> {
    if factored.pattern.n() > 0 {
        before_products(par);
    }
    match factored.pattern {
        Pattern::Dense { n } => {
            let mut out = zeros(n * n);
            if *n > LONG {
                tiled(&mut out, &factored.values, *n, par);
            } else if *n > 0 {
                let l = MatRef::from_column_major_slice(&factored.values, *n, *n);
                let mut memory = scratch(inverse::inverse_scratch::<f64>(*n, par));
                let target = MatMut::from_column_major_slice_mut(&mut out, *n, *n);
                inverse::inverse(target, l, par, MemStack::new(&mut memory));
            }
            out
        }
        Pattern::Sparse(s) => {
            let all = supernodal(s, &factored.values, par);
            gathered(s.place.iter().map(|&k| all[k]))
        }
    }
}

/// The lower triangle of S^-1 = X'X with X = L^-1 by columns of tiles, so that it can be stopped between them.
fn tiled(out: &mut [f64], l: &[f64], n: usize, par: Par) {
    let mut target = MatMut::from_column_major_slice_mut(out, n, n);
    let l = MatRef::from_column_major_slice(l, n, n);
    let mut x = block::identity(n);
    let mut x = MatMut::from_column_major_slice_mut(&mut x, n, n);
    for j in (0..n).step_by(TILE) {
        threads::check();
        let columns = x.rb_mut().submatrix_mut(j, j, n - j, TILE.min(n - j));
        solve_lower_triangular_in_place(l.submatrix(j, j, n - j, n - j), columns, par);
    }
    let (full, upper) = (BlockStructure::Rectangular, BlockStructure::TriangularUpper);
    for j in (0..n).step_by(TILE) {
        threads::check();
        let size = TILE.min(n - j);
        let rows = x.rb().submatrix(j, j, n - j, n - j);
        let columns = target.rb_mut().submatrix_mut(j, j, n - j, size);
        let own = rows.subcols(0, size);
        triangular::matmul(columns, full, Accum::Replace, rows.transpose(), upper, own, full, 1.0, par);
    }
}

/// S^-1 on the pattern of L + L', in the layout of the factor.
///
/// With L_JJ, L_IJ the blocks of supernode J and I its rows below: K = L_IJ L_JJ^-1,
/// Q_IJ = -Q_II K and Q_JJ = (L_JJ L_JJ')^-1 - K' Q_IJ, from the last supernode to the first.
fn supernodal(pattern: &SparsePattern, l: &[f64], par: Par) -> Vec<f64> {
    let symbolic = pattern.factor();
    let supernode = supernode_of(symbolic);
    let mut q = zeros(l.len());
    for s in (0..symbolic.n_supernodes()).rev() {
        threads::check();
        let (begin, end) = (symbolic.supernode_begin()[s], symbolic.supernode_end()[s]);
        let size = end - begin;
        let rows = symbolic.supernode(s).pattern();
        let below = rows.len();
        let range = symbolic.col_ptr_for_val()[s]..symbolic.col_ptr_for_val()[s + 1];
        let block = MatRef::from_column_major_slice(&l[range.clone()], size + below, size);
        let (l_jj, l_ij) = block.split_at_row(size);

        let mut inverse = zeros(size * size);
        let mut inverse = MatMut::from_column_major_slice_mut(&mut inverse, size, size);
        invert_lower_triangular(inverse.rb_mut(), l_jj, Par::Seq);
        let mut q_jj = zeros(size * size);
        let mut q_jj = MatMut::from_column_major_slice_mut(&mut q_jj, size, size);
        matmul(q_jj.rb_mut(), Accum::Replace, inverse.rb().transpose(), inverse.rb(), 1.0, par);
        if below > 0 {
            let q_ii = gather(pattern, &supernode, &q, rows);
            let q_ii = MatRef::from_column_major_slice(&q_ii, below, below);
            let mut k = zeros(below * size);
            let mut k = MatMut::from_column_major_slice_mut(&mut k, below, size);
            k.copy_from(l_ij);
            // K = L_IJ L_JJ^-1, that is L_JJ' K' = L_IJ'
            solve_upper_triangular_in_place(l_jj.transpose(), k.rb_mut().transpose_mut(), Par::Seq);
            let mut q_ij = zeros(below * size);
            let mut q_ij = MatMut::from_column_major_slice_mut(&mut q_ij, below, size);
            matmul(q_ij.rb_mut(), Accum::Replace, q_ii, k.rb(), -1.0, Par::Seq);
            matmul(q_jj.rb_mut(), Accum::Add, k.rb().transpose(), q_ij.rb(), -1.0, Par::Seq);
            let mut out = MatMut::from_column_major_slice_mut(&mut q[range.clone()], size + below, size);
            out.rb_mut().subrows_mut(size, below).copy_from(q_ij.rb());
        }
        let mut out = MatMut::from_column_major_slice_mut(&mut q[range], size + below, size);
        out.rb_mut().subrows_mut(0, size).copy_from(q_jj.rb());
    }
    q
}

/// The full symmetric block of S^-1 on `rows`, column-major, which the supernodes of those rows already hold.
fn gather(pattern: &SparsePattern, supernode: &[usize], q: &[f64], rows: &[usize]) -> Vec<f64> {
    let symbolic = pattern.factor();
    let m = rows.len();
    let mut out = zeros(m * m);
    let mut place = filled(0, m);
    let mut a = 0;
    while a < m {
        let t = supernode[rows[a]];
        let (begin, end) = (symbolic.supernode_begin()[t], symbolic.supernode_end()[t]);
        let below = symbolic.supernode(t).pattern();
        let n_rows = end - begin + below.len();
        let last = a + rows[a..].partition_point(|&r| r < end);
        // places of rows[a..] inside supernode t: its own columns, then a merge with its rows below
        let mut at = 0;
        for b in a..m {
            place[b] = if rows[b] < end {
                rows[b] - begin
            } else {
                while below[at] != rows[b] {
                    at += 1;
                }
                end - begin + at
            };
        }
        for c in a..last {
            let column = symbolic.col_ptr_for_val()[t] + (rows[c] - begin) * n_rows;
            for b in c..m {
                let value = q[column + place[b]];
                out[c * m + b] = value;
                out[b * m + c] = value;
            }
        }
        a = last;
    }
    out
}
