//! Known covariances among levels: Var(w) = A x I in place of the identity, by A^-1.
//!
//! With M = Lambda' Z'WZ Lambda + A^-1 x I everything stays what it is, but for sums over single levels, which become
//! sums over pairs of them, weighted by A or A^-1: u = A Lambda' Z'Py is what M is solved for.

use crate::memory::zeros;

/// A^-1 of one factor's levels, lower triangle by columns, each beginning with its diagonal.
pub struct Relation {
    pub column_start: Vec<usize>,
    pub row: Vec<usize>,
    pub value: Vec<f64>,
    /// log |A|.
    pub log_det: f64,
}

impl Relation {
    /// None unless it is a lower triangle of ascending rows with all of its positive diagonal.
    pub fn new(column_start: Vec<usize>, row: Vec<usize>, value: Vec<f64>, log_det: f64) -> Option<Relation> {
        let n = column_start.len().checked_sub(1)?;
        let is_whole = column_start[0] == 0 && column_start[n] == row.len() && row.len() == value.len();
        if !is_whole || !log_det.is_finite() || value.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let is_column = |j: usize| {
            let range = column_start[j]..column_start[j + 1];
            let rows = row.get(range.clone()).unwrap_or(&[]);
            rows.first() == Some(&j)
                && value[range.start] > 0.0
                && rows.is_sorted_by(|a, b| a < b)
                && rows.last() < Some(&n)
        };
        let is_ascending = column_start.is_sorted();
        (is_ascending && (0..n).all(is_column)).then_some(Relation { column_start, row, value, log_det })
    }

    pub fn n_levels(&self) -> usize {
        self.column_start.len() - 1
    }

    /// Rows and values of a column of the lower triangle, the diagonal first.
    pub fn column(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.column_start[j]..self.column_start[j + 1];
        self.row[range.clone()].iter().copied().zip(self.value[range].iter().copied())
    }

    /// (A^-1 x I) times `width` values a level.
    pub fn times(&self, values: &[f64], width: usize) -> Vec<f64> {
        let mut out = zeros(values.len());
        for j in 0..self.n_levels() {
            for (i, a) in self.column(j) {
                for c in 0..width {
                    out[i * width + c] += a * values[j * width + c];
                    if i != j {
                        out[j * width + c] += a * values[i * width + c];
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_the_symmetric_matrix() {
        let relation = Relation::new(vec![0, 2, 3], vec![0, 1, 1], vec![2.0, -1.0, 3.0], 0.0).expect("it is one");
        assert_eq!(relation.times(&[1.0, 10.0, 2.0, 20.0], 2), vec![0.0, 0.0, 5.0, 50.0]);
    }

    #[test]
    fn what_is_no_lower_triangle_is_refused() {
        assert!(Relation::new(vec![0, 1, 2], vec![0, 1], vec![1.0, 0.0], 0.0).is_none());
        assert!(Relation::new(vec![0, 1, 2], vec![1, 1], vec![1.0, 1.0], 0.0).is_none());
        assert!(Relation::new(vec![0, 2, 3], vec![0, 2, 1], vec![1.0; 3], 0.0).is_none());
        assert!(Relation::new(vec![], vec![], vec![], 0.0).is_none());
    }
}
