//! Positions as public inputs: a proof's positions are written one after the other as bits,
//! lowest first, and cut into elements of [`PACKED_BITS`] bits. Circuits read the same bits.

use crate::node::Node;
use crate::sector::SectorClass;

/// Bits in one packed public input. Every integer below 2^254 is below r, so that a packed element
/// has exactly one reading.
pub const PACKED_BITS: usize = 254;

/// How many bits the positions of a sector take; the octary digits decide all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionBits {
    levels: u32,
}

impl PositionBits {
    /// Those of a class.
    pub const fn of(class: SectorClass) -> Self {
        Self {
            levels: class.levels(),
        }
    }

    /// Those of a tree of `levels` octary levels: circuits are tested on small ones.
    pub const fn of_levels(levels: u32) -> Self {
        Self { levels }
    }

    /// Bits of a position in the sector.
    pub const fn sector(self) -> usize {
        3 * self.levels as usize
    }

    /// Bits of a position in a lane.
    pub const fn lane(self) -> usize {
        self.sector().saturating_sub(3)
    }

    /// Bits of a position in a group.
    pub const fn group(self) -> usize {
        self.sector().saturating_sub(6)
    }

    /// Bits of one seal challenge: the node in the sector, six base parents in its lane, eight
    /// expander parents in the sector.
    pub const fn seal_challenge(self) -> usize {
        9 * self.sector() + 6 * self.lane()
    }
}

/// Public inputs that carry `bits` bits.
pub const fn packed_len(bits: usize) -> usize {
    bits.div_ceil(PACKED_BITS)
}

/// Writes positions into packed elements.
#[derive(Default)]
pub(crate) struct Packer {
    bits: Vec<bool>,
}

impl Packer {
    /// Appends the lowest `width` bits of a value.
    pub(crate) fn push(&mut self, value: u64, width: usize) {
        let mut rest = value;
        for _ in 0..width {
            self.bits.push(rest & 1 == 1);
            rest >>= 1;
        }
    }

    /// The packed elements.
    pub(crate) fn finish(self) -> Vec<Node> {
        self.bits
            .chunks(PACKED_BITS)
            .map(|chunk| {
                let mut bytes = [0u8; 32];
                for (byte, eight) in bytes.iter_mut().zip(chunk.chunks(8)) {
                    *byte = eight
                        .iter()
                        .enumerate()
                        .fold(0, |byte, (bit, set)| byte | u8::from(*set) << bit);
                }
                // Below 2^254, so canonical: the fallback is never taken.
                Node::from_bytes(bytes).unwrap_or(Node::ZERO)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn positions_are_packed_lowest_bit_first_and_cut_at_254_bits() {
        let mut packer = Packer::default();
        packer.push(0b101, 3);
        packer.push(1, 250);
        packer.push(0b11, 2);
        let packed = packer.finish();
        assert_eq!(packed.len(), packed_len(255));
        let mut first = [0u8; 32];
        first[0] = 0b1101;
        first[31] = 0b0010_0000;
        let mut second = [0u8; 32];
        second[0] = 1;
        assert_eq!(packed[0].to_bytes(), first);
        assert_eq!(packed[1].to_bytes(), second);
    }

    #[test]
    fn a_full_packed_element_is_canonical() {
        let mut packer = Packer::default();
        for _ in 0..4 {
            packer.push(u64::MAX, 64);
        }
        let packed = packer.finish();
        assert_ne!(packed[0], Node::ZERO);
        assert_eq!(packed[1].to_bytes()[0], 0b11);
    }
}
