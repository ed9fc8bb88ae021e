//! Sums as bytes, for other processes of the same version.

use super::Accumulator;
use super::factor_sums::FactorSums;
use super::fixed_sums::FixedSums;
use super::pairs_of;
use crate::basis::Basis;
use crate::bytes::{Reader, Writer};
use crate::products::{Block, FactorBasis};

impl Accumulator {
    pub(super) fn write_bases(&self, out: &mut Writer) {
        out.size(usize::from(self.is_weighted));
        self.fixed.basis.write(out);
        out.numbers(&self.fixed.first);
        out.size(self.factors.len());
        for f in &self.factors {
            out.sizes(&f.blocks.iter().flat_map(|b| [b.size, usize::from(b.tied)]).collect::<Vec<usize>>());
            f.basis.parts.iter().for_each(|(_, basis)| basis.write(out));
            if let Some((basis, _)) = &f.joint {
                basis.write(out);
            }
        }
    }

    fn read_bases(from: &mut Reader) -> Option<Accumulator> {
        let is_weighted = from.size()? == 1;
        let fixed = FixedSums::empty(Basis::read(from)?, from.numbers()?, is_weighted);
        let n_factors = from.length()?;
        let mut factors = vec![];
        for _ in 0..n_factors {
            let blocks: Vec<Block> =
                from.sizes()?.chunks_exact(2).map(|b| Block { size: b[0], tied: b[1] == 1 }).collect();
            let mut parts = vec![];
            let mut q = 0;
            for block in &blocks {
                parts.push((q, Basis::read(from)?));
                q += block.size;
            }
            let joint = if blocks.len() > 1 { Some(Basis::read(from)?) } else { None };
            factors.push(FactorSums::empty(0, FactorBasis { parts, q }, blocks, joint, is_weighted, fixed.p()));
        }
        Some(Accumulator::empty(fixed, factors, is_weighted))
    }

    /// All of it as bytes, for another process of the same version.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write_bases(&mut out);
        out.size(self.n);
        [self.log_weights, self.weights.0, self.weights.1, self.fixed.y_square].into_iter().for_each(|v| out.number(v));
        [&self.fixed.plain, &self.fixed.weighted].into_iter().for_each(|v| out.numbers(v));
        self.fixed.squares.iter().for_each(|v| out.numbers(v));
        for f in &self.factors {
            out.size(f.n_levels);
            [&f.plain, &f.squares[0], &f.squares[1], &f.sums].into_iter().for_each(|v| out.numbers(v));
            if let Some((_, gram)) = &f.joint {
                out.numbers(gram);
            }
        }
        self.pairs.iter().for_each(|pairs| pairs.write(&mut out));
        out.0
    }

    /// What `to_bytes` wrote; None for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Accumulator> {
        let from = &mut Reader(bytes);
        let mut a = Accumulator::read_bases(from)?;
        a.n = from.size()?;
        a.log_weights = from.number()?;
        a.weights = (from.number()?, from.number()?);
        a.fixed.y_square = from.number()?;
        fn fill(into: &mut Vec<f64>, from: &mut Reader) -> Option<()> {
            let values = from.numbers()?;
            (values.len() == into.len()).then(|| *into = values)
        }
        fill(&mut a.fixed.plain, from)?;
        fill(&mut a.fixed.weighted, from)?;
        a.fixed.squares.iter_mut().try_for_each(|s| fill(s, from))?;
        let p = a.fixed.p();
        for f in &mut a.factors {
            let n_levels = from.size()?;
            f.plain = from.numbers()?;
            f.squares = [from.numbers()?, from.numbers()?];
            f.sums = from.numbers()?;
            let q = f.basis.q;
            if f.sums.len() != n_levels.checked_mul(q * (q + p + 1))? {
                return None;
            }
            f.n_levels = n_levels;
            if let Some((_, gram)) = &mut f.joint {
                fill(gram, from)?;
            }
        }
        for ((j, k), pairs) in pairs_of(a.factors.len()).zip(&mut a.pairs) {
            pairs.read(from, a.factors[j].n_levels, a.factors[k].n_levels)?;
        }
        from.0.is_empty().then_some(a)
    }
}
