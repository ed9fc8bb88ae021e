//! What derivatives need of the levels of one factor, summed over them.

use crate::block;
use crate::deviance::Problem;
use crate::factor::subtract_from_identity;
use crate::memory::{reserve, zeros};

/// Effects a level up to which moments of effects are summed in place of directions, where nothing else needs these.
pub const MOMENTS: usize = 3;

/// Sums over the levels of one factor.
pub struct LevelSums {
    /// sum (I - M^-1)_ll - X~ (X'V^-1X)^-1 X~', q x q; at the end less sum u u'/s2.
    pub kernel: Vec<f64>,
    /// sum u u', q x q.
    pub squares: Vec<f64>,
    /// sum U~'U~, less what L^-1 takes from the level's own block for the first factor, k x k.
    pub information: Vec<f64>,
    /// X~' U~, p x k.
    pub fixed: Vec<f64>,
    /// U~' u, k.
    pub along: Vec<f64>,
    /// L_l^-1 U~_l (first factor) or U~_l (rest), q x k a level; kept if the rest needs it.
    pub rows: Vec<f64>,
    keep_rows: bool,
    direction: Vec<f64>,
    solved: Vec<f64>,
    moments: Moments,
}

/// Sums that directions are contracted with in place of each level's: U~_l is linear in u_l.
#[derive(Default)]
struct Moments {
    /// sum u_a X~_l, q x p an a.
    fixed: Vec<f64>,
    /// sum (I - (L_l L_l')^-1)_rs u_a u_b, as [a, b, r, s].
    gaps: Vec<f64>,
    gap: Vec<f64>,
}

impl LevelSums {
    pub fn new(q: usize, p: usize, k: usize, keep_rows: bool) -> LevelSums {
        LevelSums {
            kernel: zeros(q * q),
            squares: zeros(q * q),
            information: zeros(k * k),
            fixed: zeros(p * k),
            along: zeros(k),
            rows: vec![],
            keep_rows,
            direction: zeros(q * k),
            solved: zeros(q * k),
            moments: Moments::default(),
        }
    }

    /// Takes moments from here on.
    pub fn start_moments(&mut self, q: usize, p: usize) {
        self.moments = Moments { fixed: zeros(q * q * p), gaps: zeros(q * q * q * q), gap: zeros(q * q) };
    }

    pub fn merge(&mut self, other: LevelSums) {
        let add = |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(x, y)| *x += y);
        add(&mut self.kernel, other.kernel);
        add(&mut self.squares, other.squares);
        add(&mut self.information, other.information);
        add(&mut self.fixed, other.fixed);
        add(&mut self.along, other.along);
        add(&mut self.moments.fixed, other.moments.fixed);
        add(&mut self.moments.gaps, other.moments.gaps);
        reserve(&mut self.rows, other.rows.len());
        self.rows.extend(other.rows);
    }

    /// The part of the kernel that comes from [X~_l u_l].
    #[inline(always)]
    pub fn add_effects(&mut self, effects: &[f64], root: &[f64], q: usize, p: usize, reml: bool) {
        let u = &effects[q * p..];
        for b in 0..q {
            for a in 0..q {
                self.squares[b * q + a] += u[a] * u[b];
            }
        }
        if !reml {
            return;
        }
        let mut projected = [0.0; 8];
        let mut large = if q > 8 { zeros(q) } else { vec![] };
        for c in 0..p {
            let column: &mut [f64] = if q > 8 { &mut large } else { &mut projected[..q] };
            column.fill(0.0);
            for k in 0..=c {
                for i in 0..q {
                    column[i] += effects[k * q + i] * root[c * p + k];
                }
            }
            for b in 0..q {
                for a in 0..q {
                    self.kernel[b * q + a] -= column[a] * column[b];
                }
            }
        }
    }

    /// The same of a pair [X~_l u_l] and [A^-1 X~, A^-1 u]_l of related levels, made symmetric.
    pub fn add_pair(&mut self, one: &[f64], other: &[f64], root: &[f64], q: usize, p: usize, reml: bool) {
        let (u, v) = (&one[q * p..], &other[q * p..]);
        for b in 0..q {
            for a in 0..q {
                self.squares[b * q + a] += 0.5 * (u[a] * v[b] + u[b] * v[a]);
            }
        }
        if !reml {
            return;
        }
        let projected = |effects: &[f64], c: usize, i: usize| -> f64 {
            (0..=c).map(|k| effects[k * q + i] * root[c * p + k]).sum()
        };
        for c in 0..p {
            let x: Vec<f64> = (0..q).map(|i| projected(one, c, i)).collect();
            let y: Vec<f64> = (0..q).map(|i| projected(other, c, i)).collect();
            for b in 0..q {
                (0..q).for_each(|a| self.kernel[b * q + a] -= 0.5 * (x[a] * y[b] + x[b] * y[a]));
            }
        }
    }

    /// Takes the squares of all levels, over s2, off the kernel.
    pub fn take_out_squares(&mut self, s2: f64) {
        self.kernel.iter_mut().zip(&self.squares).for_each(|(kernel, square)| *kernel -= square / s2);
    }

    #[inline(always)]
    pub fn add_directions(
        &mut self,
        effects: &[f64],
        inverse: &[f64],
        wanted: &[usize],
        problem: &Problem,
        l: Option<&[f64]>,
        q: usize,
        p: usize,
    ) {
        let k = wanted.len();
        if k == 0 {
            return;
        }
        let u = &effects[q * p..];
        let direction = &mut self.direction;
        fill_directions(u, inverse, wanted, problem, q, direction);
        self.solved.copy_from_slice(direction);
        if let Some(l) = l {
            block::forward(l, q, &mut self.solved);
        }
        for c in 0..k {
            for r in 0..q {
                self.along[c] += direction[c * q + r] * u[r];
                for a in 0..p {
                    self.fixed[c * p + a] += effects[a * q + r] * direction[c * q + r];
                }
            }
            for d in 0..k {
                for r in 0..q {
                    let own = if l.is_some() { self.solved[c * q + r] * self.solved[d * q + r] } else { 0.0 };
                    self.information[d * k + c] += direction[c * q + r] * direction[d * q + r] - own;
                }
            }
        }
        if self.keep_rows {
            reserve(&mut self.rows, self.solved.len());
            self.rows.extend_from_slice(&self.solved);
        }
    }

    /// Moments of a level of the first factor and, where log|V| comes from M, its part of the kernel.
    #[inline(always)]
    pub fn add_moments(&mut self, effects: &[f64], l: &[f64], in_kernel: bool, q: usize, p: usize) {
        let u = &effects[q * p..];
        let Moments { fixed, gaps, gap } = &mut self.moments;
        gap.fill(0.0);
        subtract_from_identity(l, q, gap);
        if in_kernel {
            (0..q * q).for_each(|at| self.kernel[at] += gap[at]);
        }
        for a in 0..q {
            let out = &mut fixed[a * q * p..(a + 1) * q * p];
            out.iter_mut().zip(&effects[..q * p]).for_each(|(sum, x)| *sum += u[a] * x);
            for b in 0..q {
                let square = u[a] * u[b];
                for at in 0..q * q {
                    gaps[(a * q + b) * q * q + at] += square * gap[at];
                }
            }
        }
    }

    /// What the directions of all levels give, from the moments.
    pub fn directions_of_moments(&mut self, inverse: &[f64], wanted: &[usize], problem: &Problem, q: usize, p: usize) {
        let (k, size) = (wanted.len(), q * q);
        // U~_c = B_c u: B_c of each parameter, column by column
        let mut maps = zeros(k * size);
        for (a, unit) in block::identity(q).chunks_exact(q).enumerate() {
            fill_directions(unit, inverse, wanted, problem, q, &mut self.direction);
            for (map, direction) in maps.chunks_exact_mut(size).zip(self.direction.chunks_exact(q)) {
                map[a * q..(a + 1) * q].copy_from_slice(direction);
            }
        }
        let Moments { fixed, gaps, .. } = &self.moments;
        for (c, map) in maps.chunks_exact(size).enumerate() {
            self.along[c] = dot(map, &self.squares);
            for x in 0..p {
                let column = |a: usize| &fixed[(a * p + x) * q..(a * p + x + 1) * q];
                self.fixed[c * p + x] = (0..q).map(|a| dot(&map[a * q..(a + 1) * q], column(a))).sum();
            }
            for (d, other) in maps.chunks_exact(size).enumerate() {
                let mut sum = 0.0;
                for (at, gap) in gaps.chunks_exact(size).enumerate() {
                    let (one, two) = (&map[at / q * q..], &other[at % q * q..]);
                    for s in 0..q {
                        sum += two[s] * dot(&one[..q], &gap[s * q..(s + 1) * q]);
                    }
                }
                self.information[d * k + c] = sum;
            }
        }
    }
}

/// U~ = Lambda^-1 (dLambda Lambda' + Lambda dLambda') v for each wanted parameter, v = Lambda^-T u, q x k.
#[inline(always)]
pub fn fill_directions(
    u: &[f64],
    inverse: &[f64],
    wanted: &[usize],
    problem: &Problem,
    q: usize,
    direction: &mut [f64],
) {
    direction.fill(0.0);
    for (c, &i) in wanted.iter().enumerate() {
        for (row, column) in problem.parameters[i].elements() {
            // v_row = (Lambda^-T u)_row = sum_k inverse[k, row] u_k
            let v: f64 = (row..q).map(|r| inverse[row * q + r] * u[r]).sum();
            for r in row..q {
                direction[c * q + r] += inverse[row * q + r] * u[column];
            }
            direction[c * q + column] += v;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
