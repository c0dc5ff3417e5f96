//! The published derivation of the constants: a Grain LFSR seeded by the instance's numbers.

use super::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, SMALL_DIAGONAL_16};
use ff::PrimeField;
use std::array::from_fn;

/// Bits of the field's order.
const FIELD_BITS: usize = 255;

/// The internal diagonal of width 8 is the first one drawn for which the published conditions
/// hold; this many before it fail them (`conditions` checks each).
pub(super) const REFUSED_DIAGONALS_8: usize = 8;

/// The generator, self-shrinking: of each pair of bits the second counts where the first is one.
pub(super) struct Grain {
    /// Eighty bits, the oldest highest.
    state: u128,
}

impl Grain {
    /// Seeded for a prime field, a power S-box, and a width.
    pub(super) fn new(width: usize) -> Self {
        let mut state = 0u128;
        let mut push = |value: usize, bits: u32| state = state << bits | value as u128;
        push(1, 2); // a prime field
        push(0, 4); // the S-box is a power
        push(FIELD_BITS, 12);
        push(width, 12);
        push(FULL_ROUNDS, 10);
        push(PARTIAL_ROUNDS, 10);
        push((1 << 30) - 1, 30);
        let mut grain = Grain { state };
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let tap = |bit: u32| self.state >> (79 - bit) & 1;
        let new = tap(62) ^ tap(51) ^ tap(38) ^ tap(23) ^ tap(13) ^ tap(0);
        self.state = (self.state << 1 | new) & ((1 << 80) - 1);
        new == 1
    }

    fn bit(&mut self) -> bool {
        while !self.step() {
            self.step();
        }
        self.step()
    }

    /// An integer of [`FIELD_BITS`] bits, highest first, as 32 little-endian bytes.
    fn integer(&mut self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        for place in (0..FIELD_BITS).rev() {
            if self.bit()
                && let Some(byte) = bytes.get_mut(place / 8)
            {
                *byte |= 1 << (place % 8);
            }
        }
        bytes
    }

    /// A uniform element: integers of at least the order are passed over.
    pub(super) fn element<F: PrimeField<Repr = [u8; 32]>>(&mut self) -> F {
        loop {
            let element: Option<F> = F::from_repr(self.integer()).into();
            if let Some(element) = element {
                return element;
            }
        }
    }

    /// An integer reduced by the order, which is how the derivation draws matrix entries.
    pub(super) fn reduced<F: PrimeField<Repr = [u8; 32]>>(&mut self) -> F {
        let integer = self.integer();
        // Horner over the bytes: plain, and this runs once in the life of a process.
        integer.iter().rev().fold(F::ZERO, |sum, byte| {
            sum * F::from(256) + F::from(u64::from(*byte))
        })
    }
}

type RoundConstants<F, const T: usize> = ([[F; T]; FULL_ROUNDS], [F; PARTIAL_ROUNDS]);

/// Four full rounds, the partial rounds, four full rounds, in the order they are used.
pub(super) fn round_constants<F: PrimeField<Repr = [u8; 32]>, const T: usize>(
    grain: &mut Grain,
) -> RoundConstants<F, T> {
    let mut full = [[F::ZERO; T]; FULL_ROUNDS];
    let (first, last) = full.split_at_mut(FULL_ROUNDS / 2);
    for round in first {
        *round = from_fn(|_| grain.element());
    }
    let partial = from_fn(|_| grain.element());
    for round in last {
        *round = from_fn(|_| grain.element());
    }
    (full, partial)
}

pub(super) fn constants8<F: PrimeField<Repr = [u8; 32]>>() -> Constants<F, 8> {
    let mut grain = Grain::new(8);
    let (full, partial) = round_constants(&mut grain);
    for _ in 0..REFUSED_DIAGONALS_8 {
        let _: [F; 8] = from_fn(|_| grain.reduced());
    }
    // The derivation draws the matrix's diagonal; ours is what is added to all ones.
    let diagonal = from_fn(|_| grain.reduced::<F>() - F::ONE);
    Constants {
        full,
        partial,
        diagonal,
    }
}

pub(super) fn constants16<F: PrimeField<Repr = [u8; 32]>>() -> Constants<F, 16> {
    let (full, partial) = round_constants(&mut Grain::new(16));
    let diagonal = SMALL_DIAGONAL_16.map(|small| {
        let magnitude = F::from(u64::from(small.unsigned_abs()));
        if small < 0 { -magnitude } else { magnitude }
    });
    Constants {
        full,
        partial,
        diagonal,
    }
}
