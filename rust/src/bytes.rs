//! Numbers as bytes and back, for partial sums that travel between processes of one version.

use crate::memory::{gathered, reserve};

/// Bytes that grow.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn size(&mut self, value: usize) {
        self.0.extend((value as u64).to_le_bytes());
    }

    pub fn sizes(&mut self, values: &[usize]) {
        self.size(values.len());
        values.iter().for_each(|&v| self.size(v));
    }

    pub fn number(&mut self, value: f64) {
        self.0.extend(value.to_le_bytes());
    }

    pub fn numbers(&mut self, values: &[f64]) {
        self.size(values.len());
        reserve(&mut self.0, 8 * values.len());
        values.iter().for_each(|&v| self.number(v));
    }
}

/// What is left to be read; None from every method where the bytes end too soon.
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    fn eight(&mut self) -> Option<[u8; 8]> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn size(&mut self) -> Option<usize> {
        usize::try_from(u64::from_le_bytes(self.eight()?)).ok()
    }

    /// How many values follow, of at least eight bytes each.
    pub fn length(&mut self) -> Option<usize> {
        self.size().filter(|n| *n <= self.0.len() / 8)
    }

    pub fn sizes(&mut self) -> Option<Vec<usize>> {
        let n = self.length()?;
        (0..n).map(|_| self.size()).collect()
    }

    pub fn number(&mut self) -> Option<f64> {
        Some(f64::from_le_bytes(self.eight()?))
    }

    pub fn numbers(&mut self) -> Option<Vec<f64>> {
        let n = self.length()?;
        let (own, rest) = self.0.split_at(8 * n);
        self.0 = rest;
        Some(gathered(own.chunks_exact(8).map(|v| f64::from_le_bytes(v.try_into().expect("eight bytes")))))
    }
}
