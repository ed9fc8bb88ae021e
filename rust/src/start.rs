//! A start from moments: variances that match the squares of Z'r, without any factorisation.
//!
//! With residuals r of least squares and effects of variance tau_a in column a of some factor,
//! E |Z_a' r|^2 = sum_b |Z_a' Z_b|^2 tau_b + tr(Z_a' Z_a) sigma^2 and E r'r = sum_b tr(Z_b' Z_b) tau_b + n sigma^2,
//! but for the fixed effects (MIVQUE(0): Rao 1971; LaMotte 1973).

use crate::block;
use crate::deviance::Problem;
use crate::memory::zeros;

/// Ratio of weights above which rows of the least are not seen from starts that are chosen by the mean weight.
const WIDE: f64 = 1e6;
/// Powers of ten that are looked at for them; beyond, variances are so large that the residual's has no digits.
const DECADES: f64 = 6.0;
/// How many starts they may have.
const LOWEST: usize = 2;

/// Bounds of a start, as a ratio of standard deviations.
const BOUNDS: (f64, f64) = (0.1, 30.0);

impl Problem {
    /// Starts for weights that span decades; none for others.
    ///
    /// An effect is estimated from rows of weight w where theta is about the root of mean weight over w. Between the rows
    /// of the mean weight, where other starts are, and those of the least the criterion can have several minima: the
    /// lowest of a look at each decade are the starts.
    pub fn starts_of_light_rows(&self, reml: bool) -> Vec<Vec<f64>> {
        let ratio = self.products.weight_ratio;
        if ratio < WIDE {
            return vec![];
        }
        let decades = (0.5 * ratio.log10()).min(DECADES) as i32;
        let start = self.start();
        let thetas: Vec<Vec<f64>> = (0..=decades).map(|k| start.iter().map(|t| t * 10f64.powi(k)).collect()).collect();
        let value = |theta: &Vec<f64>| self.factorize(theta, reml).map_or(f64::INFINITY, |at| at.deviance);
        let values: Vec<f64> = thetas.iter().map(value).collect();
        let is_low = |&k: &usize| values[k] <= values[k - 1] && values.get(k + 1).is_none_or(|next| values[k] < *next);
        let mut low: Vec<usize> = (1..values.len()).filter(is_low).filter(|&k| values[k].is_finite()).collect();
        low.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        low.into_iter().take(LOWEST).map(|k| thetas[k].clone()).collect()
    }

    /// Diagonal theta that matches the moments; where they have no solution, as large as the residual.
    pub fn moment_start(&self) -> Vec<f64> {
        let products = &self.products;
        let p = products.p;
        let mut first = vec![0];
        for f in &products.factors {
            first.push(first[first.len() - 1] + f.q);
        }
        let k = first[first.len() - 1];
        let m = k + 1;
        let mut squares = zeros(m * m);
        let mut right = zeros(m);
        let mut add = |a: usize, b: usize, value: f64| {
            squares[b * m + a] += value * value;
            if a != b {
                squares[a * m + b] += value * value;
            }
        };
        for (e, f) in products.factors.iter().enumerate() {
            for zz in f.zz.chunks_exact(f.q * f.q) {
                for b in 0..f.q {
                    (b..f.q).for_each(|a| add(first[e] + a, first[e] + b, zz[b * f.q + a]));
                }
            }
        }
        let q = products.factors[0].q;
        for (&column, strip) in products.cross.column.iter().zip(products.cross.value.chunks_exact(q)) {
            let column = column as usize;
            let e = products.offset.iter().skip(1).take_while(|&&o| o <= column).count();
            let b = first[e] + (column - products.offset[e]) % products.factors[e].q;
            strip.iter().enumerate().for_each(|(a, v)| add(a, b, *v));
        }
        for cell in products.rest_cells.iter() {
            let (rows, columns) = (products.factors[cell.row_factor].q, products.factors[cell.column_factor].q);
            for b in 0..columns {
                for a in 0..rows {
                    let value = products.rest_values[cell.value + b * rows + a];
                    add(first[cell.row_factor] + a, first[cell.column_factor] + b, value);
                }
            }
        }
        for (e, f) in products.factors.iter().enumerate() {
            for (zz, zx) in f.zz.chunks_exact(f.q * f.q).zip(f.zx.chunks_exact(f.q * (p + 1))) {
                for a in 0..f.q {
                    right[first[e] + a] += zx[p * f.q + a] * zx[p * f.q + a];
                    squares[(first[e] + a) * m + k] += zz[a * f.q + a];
                }
            }
        }
        squares[k * m + k] = products.n as f64;
        right[k] = products.n as f64;
        (0..m).for_each(|a| squares[a * m + a] *= 1.0 + 1e-10);
        // lower triangle: element (row, column) at column * m + row
        if block::cholesky(&mut squares, m).is_none() {
            return self.start();
        }
        block::forward(&squares, m, &mut right);
        block::backward(&squares, m, &mut right);
        let residual = right[k].max(0.01);
        let ratio = |p: &crate::deviance::Parameter| {
            let sum: f64 = p.elements().map(|(row, _)| right[first[p.factor] + row]).sum();
            (sum / p.count as f64 / residual).max(0.0).sqrt()
        };
        self.parameters
            .iter()
            .map(|p| if p.row == p.column { ratio(p).clamp(BOUNDS.0, BOUNDS.1) } else { 0.0 })
            .collect()
    }
}
