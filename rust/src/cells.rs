//! Rows of equal design and weight: few where the columns are made of categories or of whole numbers, whatever the formula.

use crate::memory::{filled, reserve, reserved};
use crate::rows::Source;
use crate::threads;

/// Cells are worth their search where a cell has this many rows, and where there are no more than so many.
const ROWS_A_CELL: usize = 8;
const MOST: usize = 1 << 16;
const NONE: u32 = u32::MAX;
/// Rows between two looks for a signal.
const ROWS_AT_ONCE: usize = 1 << 16;
/// Of multiplicative hashing (Knuth 1973, section 6.4): 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The cell of each row; cells are in the order of their first rows.
pub struct Cells {
    pub of_row: Vec<u32>,
    /// The first row of each cell.
    pub first: Vec<usize>,
    /// Rows of each cell.
    pub n_rows: Vec<f64>,
}

impl Cells {
    /// None where rows are many different ones.
    pub fn of(source: &Source, weights: Option<&[f64]>) -> Option<Cells> {
        let n = source.n_rows();
        let most = MOST.min(n / ROWS_A_CELL);
        let bits = (2 * most).next_power_of_two().trailing_zeros().max(1);
        let mut places = filled(NONE, 1 << bits);
        let mut found = Cells { of_row: reserved(n), first: vec![], n_rows: vec![] };
        for i in 0..n {
            if i % ROWS_AT_ONCE == 0 {
                threads::check();
            }
            let (row, weight) = (source.row(i), weights.map_or(1.0, |w| w[i]));
            let mut place = (hash(row, weight) >> (64 - bits)) as usize;
            let cell = loop {
                let cell = places[place];
                if cell == NONE {
                    break None;
                }
                let first = found.first[cell as usize];
                if source.row(first) == row && weights.is_none_or(|w| w[first] == weight) {
                    break Some(cell);
                }
                place = (place + 1) & (places.len() - 1);
            };
            let cell = match cell {
                Some(cell) => cell,
                None if found.first.len() == most => return None,
                None => {
                    let cell = found.first.len() as u32;
                    places[place] = cell;
                    reserve(&mut found.first, 1);
                    reserve(&mut found.n_rows, 1);
                    found.first.push(i);
                    found.n_rows.push(0.0);
                    cell
                }
            };
            found.n_rows[cell as usize] += 1.0;
            found.of_row.push(cell);
        }
        Some(found)
    }
}

fn hash(row: &[f64], weight: f64) -> u64 {
    let mix = |h: u64, v: &f64| (h.rotate_left(23) ^ v.to_bits()).wrapping_mul(GOLDEN);
    let h = row.iter().fold(mix(0, &weight), mix);
    (h ^ (h >> 32)).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(values: &[f64], n_cols: usize) -> Source<'_> {
        Source::Columns { values, n_rows: values.len() / n_cols, n_cols }
    }

    #[test]
    fn equal_rows_are_one_cell() {
        let values: Vec<f64> = (0..600).flat_map(|i| [1.0, f64::from(i % 3), f64::from(i % 5)]).collect();
        let cells = Cells::of(&source(&values, 3), None).unwrap();
        assert_eq!(cells.first.len(), 15);
        assert!(cells.n_rows.iter().all(|n| *n == 40.0));
        for (i, &cell) in cells.of_row.iter().enumerate() {
            assert_eq!(cell as usize, i % 15);
        }
    }

    #[test]
    fn rows_of_other_weights_are_other_cells() {
        let values = vec![1.0; 64];
        let weights: Vec<f64> = (0..64).map(|i| f64::from(1 + i % 2)).collect();
        let cells = Cells::of(&source(&values, 1), Some(&weights)).unwrap();
        assert_eq!(cells.first, [0, 1]);
        assert_eq!(cells.n_rows, [32.0, 32.0]);
    }

    #[test]
    fn many_different_rows_have_no_cells() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i / 4)).collect();
        assert!(Cells::of(&source(&values, 1), None).is_none());
        assert!(Cells::of(&source(&[1.0, 1.0], 1), None).is_none());
    }
}
