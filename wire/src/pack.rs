//! Packs: how bytes lie in stripes, columns and shards.
//!
//! A pack is cut into stripes of k columns of [`COLUMN`] bytes, each stripe coded alone; the last
//! stripe's columns are ceil(rest / k) bytes, zero-padded. Shard i is column i of all stripes.

pub mod encode;
pub mod range;

use crate::erasure::{CodeError, Coder};
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::quote;
use holdfast_market_core::units::ByteCount;

/// Bytes of a full stripe's column.
pub const COLUMN: u64 = quote::STRIPE_COLUMN_BYTES;
/// The most ciphertext that a pack may have.
pub const MAX_PACK: ByteCount = ByteCount(quote::MAX_PACK_BYTES);

/// Why a pack has no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No such code.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// Too long.
    #[error("a pack of {} bytes is too long: it has at most {}", .0.0, MAX_PACK.0)]
    TooLong(ByteCount),
    /// The header has not one root a shard.
    #[error("the pack has {roots} shard roots and {n} shards")]
    Roots {
        /// How many roots it has.
        roots: usize,
        /// How many shards it has.
        n: u8,
    },
    /// The header states a shard length that its code and length do not give.
    #[error("the pack states shards of {stated} bytes, and its length and code give {computed}")]
    ShardLength {
        /// What it states.
        stated: ByteCount,
        /// What it is.
        computed: ByteCount,
    },
}

/// The layout of one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackLayout {
    k: u8,
    n: u8,
    length: u64,
}

impl PackLayout {
    /// The layout of so many bytes under a k-of-n code.
    ///
    /// # Errors
    /// No such code, or more than [`MAX_PACK`] bytes.
    pub fn new(k: u8, n: u8, length: ByteCount) -> Result<Self, LayoutError> {
        Coder::new(k, n)?;
        if length > MAX_PACK {
            return Err(LayoutError::TooLong(length));
        }
        Ok(Self {
            k,
            n,
            length: length.0,
        })
    }

    /// The layout that a header states, checked for what the header says of it.
    ///
    /// # Errors
    /// As [`PackLayout::new`]; another number of roots than n, another shard length.
    pub fn of(header: &PackHeader) -> Result<Self, LayoutError> {
        let layout = Self::new(header.k, header.n, header.length)?;
        if header.shard_roots.len() != usize::from(header.n) {
            return Err(LayoutError::Roots {
                roots: header.shard_roots.len(),
                n: header.n,
            });
        }
        let computed = layout.shard_length();
        if header.shard_length != computed {
            return Err(LayoutError::ShardLength {
                stated: header.shard_length,
                computed,
            });
        }
        Ok(layout)
    }

    /// Shards that suffice.
    pub const fn k(&self) -> u8 {
        self.k
    }

    /// Shards in all.
    pub const fn n(&self) -> u8 {
        self.n
    }

    /// Bytes of the pack.
    pub const fn length(&self) -> ByteCount {
        ByteCount(self.length)
    }

    /// Bytes of a full stripe: k columns.
    const fn stripe_bytes(&self) -> u64 {
        self.k as u64 * COLUMN
    }

    /// Stripes, the last one perhaps not full.
    pub const fn stripes(&self) -> u64 {
        self.length.div_ceil(self.stripe_bytes())
    }

    /// Bytes of each column of a stripe; 0 beyond the last stripe.
    pub const fn column_length(&self, stripe: u64) -> u64 {
        let left = self
            .length
            .saturating_sub(stripe.saturating_mul(self.stripe_bytes()));
        let column = left.div_ceil(self.k as u64);
        if column < COLUMN { column } else { COLUMN }
    }

    /// Bytes of each shard.
    pub const fn shard_length(&self) -> ByteCount {
        match self.stripes().checked_sub(1) {
            None => ByteCount(0),
            Some(last) => ByteCount(
                last.saturating_mul(COLUMN)
                    .saturating_add(self.column_length(last)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_packs_have_the_smallest_shards() {
        let shard = |k, length| {
            let layout = PackLayout::new(k, k + 3, ByteCount(length)).unwrap();
            (layout.stripes(), layout.shard_length().0)
        };
        assert_eq!(shard(3, 0), (0, 0));
        assert_eq!(shard(3, 1), (1, 1));
        assert_eq!(shard(3, 4), (1, 2));
        assert_eq!(shard(3, 3 * COLUMN), (1, COLUMN));
        assert_eq!(shard(3, 3 * COLUMN + 1), (2, COLUMN + 1));
    }

    #[test]
    fn what_a_header_states_of_its_layout_is_checked() {
        use holdfast_market_core::units::{Address, ShardRoot};
        let header = PackHeader {
            owner: Address([1; 32]),
            nonce: 1,
            k: 2,
            n: 3,
            length: ByteCount(5),
            shard_roots: vec![ShardRoot([0; 32]); 3],
            shard_length: ByteCount(3),
        };
        assert!(PackLayout::of(&header).is_ok());
        let longer = PackHeader {
            shard_length: ByteCount(4),
            ..header.clone()
        };
        assert!(matches!(
            PackLayout::of(&longer),
            Err(LayoutError::ShardLength { .. })
        ));
        let fewer = PackHeader {
            shard_roots: vec![],
            ..header.clone()
        };
        assert!(matches!(
            PackLayout::of(&fewer),
            Err(LayoutError::Roots { roots: 0, n: 3 })
        ));
        let huge = PackHeader {
            length: ByteCount(u64::MAX),
            ..header
        };
        assert!(matches!(
            PackLayout::of(&huge),
            Err(LayoutError::TooLong(_))
        ));
    }

    proptest! {
        #[test]
        fn columns_add_up_to_the_shard_and_hold_the_pack(
            k in 1u8..20, length in 0u64..(8 << 20),
        ) {
            let layout = PackLayout::new(k, k, ByteCount(length)).unwrap();
            let sum: u64 = (0..layout.stripes()).map(|stripe| layout.column_length(stripe)).sum();
            prop_assert_eq!(sum, layout.shard_length().0);
            prop_assert_eq!(layout.shard_length(), quote::shard_length(k, ByteCount(length)));
            prop_assert!(sum * u64::from(k) >= length);
            prop_assert!(sum * u64::from(k) < length + u64::from(k));
        }
    }
}
