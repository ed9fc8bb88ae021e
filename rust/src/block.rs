//! Small column-major blocks: the q x q arithmetic of one level of a grouping factor.
//!
//! Every function is `inline(always)` and takes its sizes as arguments, so that a caller who matches on q
//! gets loops of known length (see `with_size!`).

/// Calls `$body` with `$q` as a literal for the sizes that matter, so that the compiler unrolls the loops over it.
macro_rules! with_size {
    ($q:ident, $body:expr) => {
        match $q {
            1 => {
                let $q = 1;
                $body
            }
            2 => {
                let $q = 2;
                $body
            }
            3 => {
                let $q = 3;
                $body
            }
            4 => {
                let $q = 4;
                $body
            }
            5 => {
                let $q = 5;
                $body
            }
            6 => {
                let $q = 6;
                $body
            }
            7 => {
                let $q = 7;
                $body
            }
            8 => {
                let $q = 8;
                $body
            }
            _ => $body,
        }
    };
}
pub(crate) use with_size;

/// The largest size that `with_size!` makes a literal.
pub const MAX_SIZE: usize = 8;
use crate::memory::{copied, zeros};

/// The logarithm of a product of many numbers, taken once for as many of them as their product can hold.
pub struct LogProduct {
    product: f64,
    log: f64,
}

impl LogProduct {
    pub fn new() -> LogProduct {
        LogProduct { product: 1.0, log: 0.0 }
    }

    /// Multiplies by a positive number.
    #[inline(always)]
    pub fn times(&mut self, factor: f64) {
        self.product *= factor;
        if !(1e-100..1e100).contains(&self.product) {
            self.log += self.product.ln();
            self.product = 1.0;
        }
    }

    pub fn log(&self) -> f64 {
        self.log + self.product.ln()
    }
}

/// Cholesky factor of the lower triangle of `a` (q x q), in place; the strict upper triangle is left alone.
/// Returns the sum of the logs of the diagonal, or None if `a` is not positive definite.
#[inline(always)]
pub fn cholesky(a: &mut [f64], q: usize) -> Option<f64> {
    let mut product = LogProduct::new();
    cholesky_and_product(a, q, &mut product)?;
    Some(product.log())
}

/// The same, with the diagonal taken to a product.
#[inline(always)]
pub fn cholesky_and_product(a: &mut [f64], q: usize, product: &mut LogProduct) -> Option<()> {
    for j in 0..q {
        let mut d = a[j * q + j];
        for k in 0..j {
            d -= a[k * q + j] * a[k * q + j];
        }
        if !(d > 0.0 && d < f64::INFINITY) {
            return None;
        }
        let d = d.sqrt();
        a[j * q + j] = d;
        product.times(d);
        for i in j + 1..q {
            let mut s = a[j * q + i];
            for k in 0..j {
                s -= a[k * q + i] * a[k * q + j];
            }
            a[j * q + i] = s / d;
        }
    }
    Some(())
}

/// Solves L X = B in place; `l` is q x q lower, `b` is q x m.
#[inline(always)]
pub fn forward(l: &[f64], q: usize, b: &mut [f64]) {
    for col in b.chunks_exact_mut(q.max(1)) {
        for i in 0..q {
            let mut s = col[i];
            for k in 0..i {
                s -= l[k * q + i] * col[k];
            }
            col[i] = s / l[i * q + i];
        }
    }
}

/// Solves L' X = B in place; `l` is q x q lower, `b` is q x m.
#[inline(always)]
pub fn backward(l: &[f64], q: usize, b: &mut [f64]) {
    for col in b.chunks_exact_mut(q.max(1)) {
        for i in (0..q).rev() {
            let mut s = col[i];
            for k in i + 1..q {
                s -= l[i * q + k] * col[k];
            }
            col[i] = s / l[i * q + i];
        }
    }
}

/// out = A' B with `a` p x m, `b` p x n, `out` m x n.
#[inline(always)]
pub fn transpose_times(a: &[f64], b: &[f64], p: usize, m: usize, n: usize, out: &mut [f64]) {
    for j in 0..n {
        for i in 0..m {
            let mut s = 0.0;
            for k in 0..p {
                s += a[i * p + k] * b[j * p + k];
            }
            out[j * m + i] = s;
        }
    }
}

/// out = A B with `a` m x p, `b` p x n, `out` m x n.
#[inline(always)]
pub fn times(a: &[f64], b: &[f64], m: usize, p: usize, n: usize, out: &mut [f64]) {
    for j in 0..n {
        let column = &mut out[j * m..(j + 1) * m];
        column.fill(0.0);
        for k in 0..p {
            let (left, right) = (&a[k * m..(k + 1) * m], b[j * p + k]);
            for i in 0..m {
                column[i] += left[i] * right;
            }
        }
    }
}

/// out = A B' with `a` m x p, `b` n x p, `out` m x n.
pub fn times_transpose(a: &[f64], b: &[f64], m: usize, p: usize, n: usize, out: &mut [f64]) {
    for j in 0..n {
        for i in 0..m {
            out[j * m + i] = (0..p).map(|k| a[k * m + i] * b[k * n + j]).sum();
        }
    }
}

/// Inverse of a lower triangular q x q block.
pub fn inverse_lower(l: &[f64], q: usize) -> Vec<f64> {
    let mut out = identity(q);
    forward(l, q, &mut out);
    out
}

/// The q x q identity.
pub fn identity(q: usize) -> Vec<f64> {
    let mut out = zeros(q * q);
    for i in 0..q {
        out[i * q + i] = 1.0;
    }
    out
}

/// Transpose of an m x n block.
pub fn transpose(a: &[f64], m: usize, n: usize) -> Vec<f64> {
    let mut out = zeros(m * n);
    for j in 0..n {
        for i in 0..m {
            out[i * n + j] = a[j * m + i];
        }
    }
    out
}

/// A' K A for a lower triangular A = Lambda^-1, symmetrised.
pub fn sandwich(inverse: &[f64], kernel: &[f64], q: usize) -> Vec<f64> {
    let (mut right, mut out) = (zeros(q * q), zeros(q * q));
    times(kernel, inverse, q, q, q, &mut right);
    transpose_times(inverse, &right, q, q, q, &mut out);
    for j in 0..q {
        for i in 0..j {
            let mean = 0.5 * (out[j * q + i] + out[i * q + j]);
            out[j * q + i] = mean;
            out[i * q + j] = mean;
        }
    }
    out
}

/// The lower triangular L with L L' = A A' for a square A, diagonals >= 0.
///
/// Columns of A are rotated (Givens) into row echelon form; a row without a pivot gets a zero column, so that a
/// singular A keeps exact zeros and its other columns stand at their pivot's place.
pub fn lower_factor(a: &[f64], q: usize) -> Vec<f64> {
    lower_factor_above(a, q, 0.0)
}

/// The same with pivots that are not above `smallest` taken as zero.
pub fn lower_factor_above(a: &[f64], q: usize, smallest: f64) -> Vec<f64> {
    let mut work = copied(a);
    let mut out = zeros(q * q);
    let mut first = 0;
    for row in 0..q {
        let length: f64 = (0..q).map(|j| a[j * q + row] * a[j * q + row]).sum::<f64>().sqrt();
        for j in first + 1..q {
            let (x, y) = (work[first * q + row], work[j * q + row]);
            let r = x.hypot(y);
            if y == 0.0 || r == 0.0 {
                continue;
            }
            let (c, s) = (x / r, y / r);
            for i in row..q {
                let (u, v) = (work[first * q + i], work[j * q + i]);
                work[first * q + i] = c * u + s * v;
                work[j * q + i] = c * v - s * u;
            }
            work[j * q + row] = 0.0;
        }
        if first < q && work[first * q + row].abs() > smallest.max(1e-13 * length) {
            let sign = work[first * q + row].signum();
            for i in row..q {
                out[row * q + i] = sign * work[first * q + i];
            }
            first += 1;
        } else if first < q {
            work[first * q + row] = 0.0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f64], b: &[f64]) {
        a.iter().zip(b).for_each(|(x, y)| assert!((x - y).abs() < 1e-12, "{a:?} is not {b:?}"));
    }

    /// A lower triangular block whose elements come from a fixed recurrence.
    fn lower(q: usize) -> Vec<f64> {
        let mut out = vec![0.0; q * q];
        for j in 0..q {
            for i in j..q {
                out[j * q + i] = if i == j { 1.0 + i as f64 } else { ((3 * i + 7 * j) % 5) as f64 - 2.0 };
            }
        }
        out
    }

    #[test]
    fn cholesky_undoes_the_square() {
        for q in 1..=9 {
            let l = lower(q);
            let mut a = vec![0.0; q * q];
            times_transpose(&l, &l, q, q, q, &mut a);
            let log = cholesky(&mut a, q).expect("positive definite");
            for j in 0..q {
                close(&a[j * q + j..(j + 1) * q], &l[j * q + j..(j + 1) * q]);
            }
            close(&[log], &[(1..=q).map(|d| (d as f64).ln()).sum()]);
        }
    }

    #[test]
    fn cholesky_refuses_an_indefinite_block() {
        assert_eq!(cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2), None);
        assert_eq!(cholesky(&mut [f64::NAN], 1), None);
    }

    #[test]
    fn solves_undo_products() {
        for q in 1..=9 {
            let (l, x) = (lower(q), (0..2 * q).map(|i| i as f64 - 3.0).collect::<Vec<_>>());
            let mut b = vec![0.0; 2 * q];
            times(&l, &x, q, q, 2, &mut b);
            forward(&l, q, &mut b);
            close(&b, &x);
            transpose_times(&l, &x, q, q, 2, &mut b);
            backward(&l, q, &mut b);
            close(&b, &x);
        }
    }

    #[test]
    fn a_small_pivot_leaves_its_column_to_the_rows_below() {
        // rows 1 and 2 have full rank by themselves; row 0 is next to nothing
        let a = [1e-7, 0.5, -0.2, 0.0, 0.2, 0.5, 0.0, 0.0, 0.0];
        let l = lower_factor_above(&a, 3, 1e-5);
        assert_eq!(l[..3], [0.0; 3]);
        let (mut left, mut right) = ([0.0; 9], [0.0; 9]);
        times_transpose(&l, &l, 3, 3, 3, &mut left);
        times_transpose(&a, &a, 3, 3, 3, &mut right);
        left.iter().zip(right).for_each(|(x, y)| assert!((x - y).abs() < 1e-7));
    }

    #[test]
    fn lower_factor_has_the_same_square() {
        let full = [2.0, 1.0, 0.5, -1.0, 3.0, 0.2, 0.7, 0.1, 1.5];
        let singular = [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 0.5, 1.0, 1.5];
        for a in [full, singular] {
            let l = lower_factor(&a, 3);
            assert!(l[3] == 0.0 && l[6] == 0.0 && l[7] == 0.0 && l[0] >= 0.0 && l[4] >= 0.0 && l[8] >= 0.0);
            let (mut left, mut right) = ([0.0; 9], [0.0; 9]);
            times_transpose(&l, &l, 3, 3, 3, &mut left);
            times_transpose(&a, &a, 3, 3, 3, &mut right);
            close(&left, &right);
        }
        assert_eq!(lower_factor(&singular, 3)[4..], [0.0; 5], "rank one leaves exact zeros");
    }
}
