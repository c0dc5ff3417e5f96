//! Asking for memory before it is needed.

// One hint to the processor; see below.
#![allow(unsafe_code)]

use crate::poseidon2::lanes::Row;

/// Brings a row towards the processor, where there is such a row.
pub(super) fn row(rows: &[Row], index: u64) {
    let row = usize::try_from(index)
        .ok()
        .and_then(|index| rows.get(index));
    if let Some(row) = row {
        #[cfg(target_arch = "x86_64")]
        for two in row.as_chunks::<2>().0 {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the pointer is to 64 bytes of a row that is borrowed; a hint reads nothing
            // and has no effect but on time. Every x86-64 processor has the instruction.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(two.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }
}
