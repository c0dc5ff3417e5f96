//! The prover's arithmetic in the lanes of AVX-512 registers, where the processor has the 52-bit
//! multiply-adds; elsewhere, and with `HOLDFAST_SIMD=off`, nothing here is used.

mod field;
mod points;
mod raw;
mod registers;
mod transform;

pub(super) use points::InLanes;
pub(super) use raw::Raw;
pub(super) use transform::{Sides, quotient};

use std::sync::OnceLock;

/// Whether the processor can do this, and `HOLDFAST_SIMD=off` does not ask for what a processor
/// without it would do.
fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512ifma")
            && std::env::var_os("HOLDFAST_SIMD").is_none_or(|simd| simd != "off")
    })
}
