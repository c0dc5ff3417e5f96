//! Eight permutations in the lanes of AVX-512 registers, with 52-bit multiply-adds.

// Code compiled for AVX-512 is called after the processor was asked for it (here), and registers
// are read from bytes and into them (`rows`): the uses of `unsafe`. Indices are below the lengths
// of arrays, and casts are of limbs, whose bounds are written where they arise.
#![allow(
    unsafe_code,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    // Loops count the limbs, lanes or elements of several arrays.
    clippy::needless_range_loop
)]

mod field;
mod rounds;
mod rows;
#[cfg(test)]
mod tests;

use super::Row;
use crate::node::Node;
use crate::poseidon2::{Constants, Native, constants8, constants16};
use ff::Field;
use field::{Element, Factor, Limbs, limbs, plain, zero};
use rounds::{PAIRS, Table, compress8, compress16};
use std::array::from_fn;
use std::sync::OnceLock;

fn limbs_of(scalar: &Native) -> Limbs {
    let node = Node::from_scalar(scalar);
    let (words, _) = node.as_bytes().as_chunks::<8>();
    limbs(from_fn(|i| u64::from_le_bytes(words[i])))
}

fn factor(constant: &Native) -> Factor {
    Factor(from_fn(|i| {
        limbs_of(&(constant * Native::from(2).pow_vartime([52 * (i as u64 + 1)])))
    }))
}

fn table<const T: usize, const F: usize>(
    constants: &Constants<Native, T>,
    factors: [Native; F],
) -> Table<T, F> {
    let r = Native::from(2).pow_vartime([260]);
    Table {
        full: constants
            .full
            .map(|round| round.map(|constant| limbs_of(&(r * constant)))),
        partial: constants.partial.map(|constant| limbs_of(&(r * constant))),
        factors: factors.map(|constant| factor(&constant)),
        entry: factor(&r),
    }
}

/// Whether the processor can do this, and `HOLDFAST_SIMD=off` does not ask for what a processor
/// without it would do.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512ifma")
            && std::env::var_os("HOLDFAST_SIMD").is_none_or(|simd| simd != "off")
    })
}

/// Sixteen to one in each lane, where the processor can.
pub(super) fn hash16(inputs: &[Row; 16]) -> Option<Row> {
    static TABLE: OnceLock<Table<16, 7>> = OnceLock::new();
    available().then(|| {
        let table = TABLE.get_or_init(|| {
            // Two, and the pairs doubled, have inverses.
            let inverse = |small: u8| {
                let double = Native::from(2 * u64::from(small));
                Option::<Native>::from(double.invert()).unwrap_or(Native::ZERO)
            };
            let [a, b, c, d, e, f] = PAIRS.map(inverse);
            table(constants16(), [inverse(1), a, b, c, d, e, f])
        });
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { rows16(table, inputs) }
    })
}

/// Eight to one in each lane, `N` times, where the processor can: `inputs[n][i]` is input i.
pub(super) fn hash8<const N: usize>(inputs: [[[&Node; 8]; 8]; N]) -> Option<[Row; N]> {
    static TABLE: OnceLock<Table<8, 8>> = OnceLock::new();
    available().then(|| {
        let table = TABLE.get_or_init(|| table(constants8(), constants8().diagonal));
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { rows8(table, &inputs) }
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn rows16(table: &Table<16, 7>, inputs: &[Row; 16]) -> Row {
    let mut elements = [zero(); 16];
    for (element, row) in elements.iter_mut().zip(inputs) {
        *element = rows::load(row.each_ref());
    }
    rows::store(&plain(&compress16(table, &elements)))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn rows8<const N: usize>(table: &Table<8, 8>, inputs: &[[[&Node; 8]; 8]; N]) -> [Row; N] {
    let mut elements: [[Element; N]; 8] = [[zero(); N]; 8];
    for (n, inputs) in inputs.iter().enumerate() {
        for (element, nodes) in elements.iter_mut().zip(inputs) {
            element[n] = rows::load(*nodes);
        }
    }
    let hashes = compress8(table, &elements);
    let mut out = [[Node::ZERO; 8]; N];
    for (row, hash) in out.iter_mut().zip(&hashes) {
        *row = rows::store(&plain(hash));
    }
    out
}
