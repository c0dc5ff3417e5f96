//! The erasure code: Reed-Solomon over GF(2^8) as `reed-solomon-erasure` defines it. Columns 0 to
//! k-1 are the data itself; any k columns give back the rest.

use reed_solomon_erasure::galois_8::ReedSolomon;

/// The most shards that a pack may have (a header with that many roots and targets fits a frame).
pub use holdfast_market_core::quote::MAX_SHARDS;

/// Why columns were not coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// No such code.
    #[error("{k} of {n} is no code: k is at least 1, n at least k and at most {MAX_SHARDS}")]
    Shape {
        /// Shards that suffice.
        k: u8,
        /// Shards in all.
        n: u8,
    },
    /// Columns of different lengths, or another number of them.
    #[error("the columns of a stripe are {expected} of one length")]
    Columns {
        /// How many there should be.
        expected: u8,
    },
    /// Too few to go by.
    #[error("{have} columns are there and {need} are needed")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: u8,
    },
}

/// A k-of-n code.
pub struct Coder {
    k: u8,
    n: u8,
    // Without parity there is nothing to code, and the library has no such code.
    code: Option<ReedSolomon>,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coder({} of {})", self.k, self.n)
    }
}

impl Coder {
    /// The code in which `k` of `n` columns suffice.
    ///
    /// # Errors
    /// k of 0, n below k, n beyond [`MAX_SHARDS`].
    pub fn new(k: u8, n: u8) -> Result<Self, CodeError> {
        let shape = CodeError::Shape { k, n };
        let parity = n.checked_sub(k).ok_or(shape)?;
        if k == 0 || n > MAX_SHARDS {
            return Err(shape);
        }
        let code = match parity {
            0 => None,
            _ => Some(ReedSolomon::new(k.into(), parity.into()).map_err(|_| shape)?),
        };
        Ok(Self { k, n, code })
    }

    /// Shards that suffice.
    pub const fn k(&self) -> u8 {
        self.k
    }

    /// Shards in all.
    pub const fn n(&self) -> u8 {
        self.n
    }

    /// Fills columns k to n-1 of a stripe from columns 0 to k-1.
    ///
    /// # Errors
    /// Another number of columns than n, or columns of different lengths.
    pub fn encode(&self, columns: &mut [Vec<u8>]) -> Result<(), CodeError> {
        let expected = CodeError::Columns { expected: self.n };
        let length = self.check(columns.len(), columns.iter().map(Vec::len))?;
        match &self.code {
            Some(code) if length > 0 => code.encode(columns).map_err(|_| expected),
            _ => Ok(()),
        }
    }

    /// Fills the missing data columns (below k) from any k that are there.
    ///
    /// # Errors
    /// Fewer than k columns, or columns of different lengths.
    pub fn reconstruct_data(&self, columns: &mut [Option<Vec<u8>>]) -> Result<(), CodeError> {
        let expected = CodeError::Columns { expected: self.n };
        let lengths = columns.iter().flatten().map(Vec::len);
        let length = self.check(columns.len(), lengths)?;
        let have = columns.iter().flatten().count();
        if have < usize::from(self.k) {
            return Err(CodeError::TooFew { have, need: self.k });
        }
        match &self.code {
            Some(code) if length > 0 => code.reconstruct_data(columns).map_err(|_| expected),
            _ => {
                for column in columns.iter_mut().take(self.k.into()) {
                    column.get_or_insert_default();
                }
                Ok(())
            }
        }
    }

    fn check(
        &self,
        count: usize,
        mut lengths: impl Iterator<Item = usize>,
    ) -> Result<usize, CodeError> {
        let expected = CodeError::Columns { expected: self.n };
        let first = lengths.next().unwrap_or(0);
        if count != usize::from(self.n) || lengths.any(|length| length != first) {
            return Err(expected);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use proptest::prelude::*;

    fn columns(k: usize, n: usize, length: usize, seed: u64) -> Vec<Vec<u8>> {
        use rand::{RngCore, SeedableRng};
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        (0..n)
            .map(|index| {
                let mut column = vec![0; length];
                if index < k {
                    rng.fill_bytes(&mut column);
                }
                column
            })
            .collect()
    }

    #[test]
    fn every_three_of_six_columns_give_back_the_data() {
        let coder = Coder::new(3, 6).unwrap();
        let mut coded = columns(3, 6, 1000, 1);
        coder.encode(&mut coded).unwrap();
        let mut subsets = 0;
        for mask in 0u8..64 {
            let mut some: Vec<_> = (0..6)
                .map(|index| (mask >> index & 1 == 1).then(|| coded[index].clone()))
                .collect();
            let result = coder.reconstruct_data(&mut some);
            if mask.count_ones() < 3 {
                assert!(matches!(result, Err(CodeError::TooFew { need: 3, .. })));
                continue;
            }
            result.unwrap();
            for index in 0..3 {
                assert_eq!(some[index].as_ref(), Some(&coded[index]), "{mask:06b}");
            }
            subsets += u32::from(mask.count_ones() == 3);
        }
        assert_eq!(subsets, 20);
    }

    /// The code's definition, apart from the library's encoder: a systematic Vandermonde matrix
    /// over GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1.
    fn reference(k: usize, n: usize, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        fn multiply(mut a: u8, mut b: u8) -> u8 {
            let mut product = 0;
            while b != 0 {
                if b & 1 == 1 {
                    product ^= a;
                }
                a = a << 1 ^ if a & 0x80 != 0 { 0x1d } else { 0 };
                b >>= 1;
            }
            product
        }
        fn power(base: u8, exponent: usize) -> u8 {
            (0..exponent).fold(1, |power, _| multiply(power, base))
        }
        fn inverse(a: u8) -> u8 {
            (1..=255).find(|b| multiply(a, *b) == 1).unwrap()
        }
        // rows = vandermonde * inverse(top k rows of vandermonde), by column elimination.
        let mut rows: Vec<Vec<u8>> = (0..n)
            .map(|row| (0..k).map(|column| power(row as u8, column)).collect())
            .collect();
        for pivot in 0..k {
            let swap = (pivot..k).find(|column| rows[pivot][*column] != 0).unwrap();
            for row in &mut rows {
                row.swap(pivot, swap);
            }
            let scale = inverse(rows[pivot][pivot]);
            for row in &mut rows {
                row[pivot] = multiply(row[pivot], scale);
            }
            for other in (0..k).filter(|other| *other != pivot) {
                let factor = rows[pivot][other];
                for row in &mut rows {
                    row[other] ^= multiply(row[pivot], factor);
                }
            }
        }
        rows.iter()
            .map(|row| {
                (0..data[0].len())
                    .map(|at| {
                        (0..k).fold(0, |sum, index| sum ^ multiply(row[index], data[index][at]))
                    })
                    .collect()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn columns_are_those_of_the_codes_definition(
            k in 1u8..12, parity in 0u8..12, length in 0usize..70, seed: u64,
        ) {
            let n = k + parity;
            let mut coded = columns(k.into(), n.into(), length, seed);
            Coder::new(k, n).unwrap().encode(&mut coded).unwrap();
            let expected = reference(k.into(), n.into(), &coded[..k.into()]);
            prop_assert_eq!(coded, expected);
        }

        #[test]
        fn any_k_columns_give_back_the_data(
            k in 1u8..20, parity in 0u8..20, length in 0usize..300, seed: u64,
            order in Just((0usize..40).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let n = k + parity;
            let coder = Coder::new(k, n).unwrap();
            let mut coded = columns(k.into(), n.into(), length, seed);
            coder.encode(&mut coded).unwrap();
            let mut some = vec![None; n.into()];
            let kept = order.iter().filter(|index| **index < n.into()).take(k.into());
            for index in kept {
                some[*index] = Some(coded[*index].clone());
            }
            coder.reconstruct_data(&mut some).unwrap();
            for index in 0..usize::from(k) {
                prop_assert_eq!(some[index].as_ref(), Some(&coded[index]));
            }
        }
    }

    #[test]
    fn impossible_codes_and_uneven_columns_are_refused() {
        for (k, n) in [(0, 0), (0, 3), (4, 3), (1, MAX_SHARDS + 1), (200, 255)] {
            assert_eq!(Coder::new(k, n).err(), Some(CodeError::Shape { k, n }));
        }
        let coder = Coder::new(2, 3).unwrap();
        assert!(coder.encode(&mut [vec![1], vec![1, 2], vec![1]]).is_err());
        assert!(coder.encode(&mut [vec![1], vec![1]]).is_err());
    }
}
