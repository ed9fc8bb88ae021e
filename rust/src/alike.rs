//! Levels that are alike: those of a random intercept, or another single effect, whose z_l'Wz_l is the same.
//!
//! Their effects are exchangeable, so an orthogonal map that turns such levels into one another changes neither their law
//! nor the criterion. Turned such that the products with X stand in the first few of them, and what is left of the
//! products with y in the next, the others meet nothing and count in log|M| alone: of c levels that are alike p + 1
//! remain, whatever the response. What is by level is lost; what is by column (beta, theta, sigma and their derivatives)
//! stays. Several effects a level are not turned, although they could be: near a singular covariance their degrees of
//! freedom would show other rounding than those of one fit.

use crate::memory::{copied, reserved};
use crate::products::{Factor, Idle, Products};
use std::sync::Arc;

/// Difference of z_l'Wz_l, relative to the largest, that counts as rounding.
const ROUNDING: f64 = 1e-14;
/// Kinds of levels beyond which there is hardly anything to gain.
const MAX_KINDS: usize = 64;
/// Share of the levels beyond which turning them does not pay.
const SHARE: f64 = 0.7;
/// Length of what is left of a column, relative to the column, that has no direction.
const NOTHING: f64 = 4.0 * f64::EPSILON;

/// Levels that are alike.
struct Kind {
    levels: Vec<usize>,
    /// Directions of the products with X among them, one column of `levels.len()` values each.
    directions: Vec<Vec<f64>>,
}

/// The only factor of a model with its levels turned.
pub struct Turned {
    /// Levels that stay as they are, and come first.
    alone: Vec<usize>,
    kinds: Vec<Kind>,
    /// Without products with y.
    factor: Factor,
}

impl Turned {
    /// None where there are other factors, several effects a level, or too few levels that are alike.
    pub fn of(products: &Products) -> Option<Turned> {
        let [full] = &products.factors[..] else { return None };
        if full.q != 1 {
            return None;
        }
        let m = products.p + 1;
        let (many, few): (Vec<_>, Vec<_>) = kinds_of(full)?.into_iter().partition(|levels| levels.len() > m);
        let alone: Vec<usize> = few.into_iter().flatten().collect();
        let (mut kinds, mut idle) = (vec![], vec![]);
        let mut zz: Vec<f64> = alone.iter().map(|&level| full.zz[level]).collect();
        let mut zx = reserved(alone.len() * m);
        alone.iter().for_each(|&level| zx.extend_from_slice(&full.zx[level * m..(level + 1) * m]));
        for levels in many {
            let column = |c: usize| levels.iter().map(|&level| full.zx[level * m + c]).collect();
            let columns: Vec<Vec<f64>> = (0..products.p).map(column).collect();
            let directions = orthonormal(&columns);
            let own = full.zz[levels[0]];
            zz.extend(std::iter::repeat_n(own, directions.len() + 1));
            for direction in &directions {
                zx.extend(columns.iter().map(|column| dot(direction, column)));
                zx.push(0.0);
            }
            zx.extend(std::iter::repeat_n(0.0, m));
            idle.push(Idle { zz: own, count: (levels.len() - directions.len() - 1) as f64 });
            kinds.push(Kind { levels, directions });
        }
        let factor = Factor { n_levels: zz.len(), zz: Arc::new(zz), zx, idle: Arc::new(idle), ..full.clone() };
        let pays = factor.n_levels as f64 <= SHARE * full.n_levels as f64;
        pays.then_some(Turned { alone, kinds, factor })
    }

    /// Products of a response with the levels turned; `full` has them as they are.
    pub fn products(&self, full: &Products) -> Products {
        let m = full.p + 1;
        let own = |&level: &usize| full.factors[0].zx[level * m + m - 1];
        let mut factor = self.factor.clone();
        let mut targets = factor.zx.iter_mut().skip(m - 1).step_by(m);
        let mut put = |value: f64| *targets.next().expect("a turned level for each") = value;
        self.alone.iter().for_each(|level| put(own(level)));
        for kind in &self.kinds {
            let mut y: Vec<f64> = kind.levels.iter().map(own).collect();
            kind.directions.iter().for_each(|direction| put(take_out(direction, &mut y)));
            put(dot(&y, &y).sqrt());
        }
        Products { factors: vec![factor], ..full.clone() }
    }
}

/// Levels by the kinds that they are of; None if there are many.
fn kinds_of(factor: &Factor) -> Option<Vec<Vec<usize>>> {
    let tolerance = ROUNDING * factor.zz.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut kinds: Vec<Vec<usize>> = vec![];
    for (level, zz) in factor.zz.iter().enumerate() {
        match kinds.iter().position(|kind| (factor.zz[kind[0]] - zz).abs() <= tolerance) {
            Some(kind) => kinds[kind].push(level),
            None if kinds.len() == MAX_KINDS => return None,
            None => kinds.push(vec![level]),
        }
    }
    Some(kinds)
}

/// An orthonormal basis of some columns, by Gram and Schmidt's way, twice.
fn orthonormal(columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut out: Vec<Vec<f64>> = vec![];
    for column in columns {
        let mut rest = copied(column);
        let whole = dot(column, column).sqrt();
        // what loses half of its length the second time was rounding of what was taken out the first time
        for least in [NOTHING * whole, 0.5] {
            for direction in &out {
                take_out(direction, &mut rest);
            }
            let length = dot(&rest, &rest).sqrt();
            if length <= least {
                rest.clear();
                break;
            }
            rest.iter_mut().for_each(|v| *v /= length);
        }
        if !rest.is_empty() {
            out.push(rest);
        }
    }
    out
}

/// Takes what is along a direction out of a column, and returns how much it was.
fn take_out(direction: &[f64], column: &mut [f64]) -> f64 {
    let share = dot(direction, column);
    column.iter_mut().zip(direction).for_each(|(v, d)| *v -= share * d);
    share
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of a balanced kind are the same but for a number; the length of what rounding leaves of them can be anything.
    #[test]
    fn parallel_columns_have_one_direction() {
        for n in 2..200 {
            let column = |size: f64| vec![size; n];
            let columns: Vec<_> = [0.1, 0.3, 1e-9, 7e8, 1.0 / 3.0].map(column).into();
            assert_eq!(orthonormal(&columns).len(), 1);
        }
    }

    #[test]
    fn columns_are_combinations_of_directions() {
        let a = vec![1.0, 2.0, 3.0, 4.0];
        let b: Vec<f64> = a.iter().zip([1e-13, -2e-13, 0.0, 1e-13]).map(|(a, e)| 2.0 * a + e).collect();
        let columns = vec![a.clone(), b, a, vec![0.0; 4], vec![1.0, 0.0, 0.0, 1.0]];
        let directions = orthonormal(&columns);
        for (i, u) in directions.iter().enumerate() {
            for (j, v) in directions.iter().enumerate() {
                assert!((dot(u, v) - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
        for mut column in columns {
            let whole = dot(&column, &column).sqrt();
            for direction in &directions {
                take_out(direction, &mut column);
            }
            assert!(dot(&column, &column).sqrt() <= 1e-15 * whole);
        }
    }
}
