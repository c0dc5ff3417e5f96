//! Multiplication in assembly: ordinary 64-bit instructions, of which `mulx` leaves the carries
//! alone and `adcx` and `adox` keep two chains of them. Compilers use one.

// Each block of assembly reads what its references point to and the two tables, writes its one
// `&mut` and the registers it names, and is run only where the processor has the instructions,
// since an `Adx` is made in no other way: that is all the `unsafe` here.
#![allow(unsafe_code, clippy::indexing_slicing)]

use super::arithmetic::{Arithmetic, Factor, NEGATIVE_INVERSE};
use super::wide::{MULTIPLES, Multiples, ORDER, Wide, Words, plus_order};
use std::arch::asm;

/// What assembly reads: r, -1/r mod 2^64, and 2^-128 and 2^-64 mod r.
#[repr(C, align(64))]
struct Reduction {
    order: Words,
    negative_inverse: u64,
    lifts: [Words; 2],
}

static REDUCTION: Reduction = Reduction {
    order: ORDER,
    negative_inverse: NEGATIVE_INVERSE,
    lifts: [halved(128), halved(64)],
};

/// 2^-n mod r.
const fn halved(times: u32) -> Words {
    let mut x = [1, 0, 0, 0, 0];
    let mut n = 0;
    while n < times {
        if x[0] & 1 == 1 {
            x = plus_order(x);
        }
        let mut i = 0;
        while i < 4 {
            x[i] = x[i] >> 1 | x[i + 1] << 63;
            i += 1;
        }
        x[4] = 0;
        n += 1;
    }
    [x[0], x[1], x[2], x[3]]
}

/// Adds rdx times a word in memory to two registers, with a chain of carries for each half of the
/// product. Uses rax and rcx.
#[rustfmt::skip]
macro_rules! add {
    ($at:literal, $offset:literal, $low:literal, $high:literal) => {
        concat!(
            "mulx rcx, rax, [", $at, " + ", $offset, "]\n",
            "adcx ", $low, ", rax\n adox ", $high, ", rcx\n",
        )
    };
}

/// Adds rdx times the four words at an address to five registers, and nothing is carried out of
/// the fifth. Starts with clear carries and a register of zero. Uses rax and rcx.
///
/// The product's highest word is below 2^64 - 1, so that a carry can be added to it.
#[rustfmt::skip]
macro_rules! add_row {
    ($at:literal, $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal, $zero:literal) => {
        concat!(
            add!($at, "0", $t0, $t1), add!($at, "8", $t1, $t2), add!($at, "16", $t2, $t3),
            "mulx rcx, rax, [", $at, " + 24]\n",
            "adcx ", $t3, ", rax\n adcx rcx, ", $zero, "\n adox ", $t4, ", rcx\n",
        )
    };
}

/// The same, and carries into a sixth.
#[rustfmt::skip]
macro_rules! add_row_and_carry {
    ($at:literal, $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal, $t5:literal, $zero:literal) => {
        concat!(
            add_row!($at, $t0, $t1, $t2, $t3, $t4, $zero),
            "adox ", $t5, ", ", $zero, "\n",
        )
    };
}

/// The same with a fifth register that held nothing before: it takes both carries.
#[rustfmt::skip]
macro_rules! extend_row {
    ($at:literal, $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            add!($at, "0", $t0, $t1), add!($at, "8", $t1, $t2), add!($at, "16", $t2, $t3),
            "mulx ", $t4, ", rax, [", $at, " + 24]\n mov ecx, 0\n",
            "adcx ", $t3, ", rax\n adox ", $t4, ", rcx\n adcx ", $t4, ", rcx\n",
        )
    };
}

/// rdx becomes the multiple of r that takes off a word; the carries become clear. Uses rax.
#[rustfmt::skip]
macro_rules! quotient {
    ($word:literal) => {
        concat!("mov rdx, ", $word, "\n imul rdx, [rip + {reduction} + 32]\n xor eax, eax\n")
    };
}

/// Divides the eight words in r8 to r15 by 2^256 mod r: leaves four words in r12 to r15. Uses rax,
/// rcx and rdx.
///
/// The two lowest words, times 2^-128 and 2^-64 mod r, are added at the third word: neither
/// product waits for the other, which makes this faster than taking off four words one after the
/// other. They add less than 2^65 r there; what two more words then take off divides that by
/// 2^128. Nothing is carried out of r15: each sum on the way is less than 2^128 times the result's
/// bound, which is below 2^256.
#[rustfmt::skip]
macro_rules! reduce {
    () => {
        concat!(
            "mov rdx, r8\n xor r8d, r8d\n",
            add_row_and_carry!("rip + {reduction} + 40", "r10", "r11", "r12", "r13", "r14", "r15", "r8"),
            "mov rdx, r9\n xor r9d, r9d\n",
            add_row_and_carry!("rip + {reduction} + 72", "r10", "r11", "r12", "r13", "r14", "r15", "r8"),
            quotient!("r10"),
            add_row_and_carry!("rip + {reduction}", "r10", "r11", "r12", "r13", "r14", "r15", "r8"),
            quotient!("r11"),
            add_row!("rip + {reduction}", "r11", "r12", "r13", "r14", "r15", "r8"),
        )
    };
}

/// Multiplication with `mulx`, `adcx` and `adox`.
#[derive(Clone, Copy)]
pub(in super::super) struct Adx(());

impl Adx {
    /// Where the processor has the instructions.
    #[inline(always)]
    pub(in super::super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("adx")).then_some(Adx(()))
    }
}

impl Arithmetic for Adx {
    #[inline(always)]
    fn square(self, x: &Words, out: &mut Words) {
        // SAFETY: reads the four words at rsi and the table, writes the four at rdi.
        unsafe {
            asm!(
                // Products of different words: r9 to r14.
                "mov rdx, [rsi]",
                "mulx r10, r9, [rsi + 8]",
                "mulx r11, rax, [rsi + 16]",
                "mulx r12, rcx, [rsi + 24]",
                "add r10, rax",
                "adc r11, rcx",
                "adc r12, 0",
                "mov rdx, [rsi + 8]",
                "mulx rcx, rax, [rsi + 16]",
                "mulx r13, r8, [rsi + 24]",
                "add r11, rax",
                "adc r12, rcx",
                "adc r13, 0",
                "add r12, r8",
                "mov rdx, [rsi + 16]",
                "mulx r14, rax, [rsi + 24]",
                "adc r13, rax",
                "adc r14, 0",
                // Doubled by one chain of carries, while the other adds the squares.
                "xor r15d, r15d",
                "mov rdx, [rsi]",
                "mulx rax, r8, rdx",
                "adcx r9, r9",
                "adox r9, rax",
                "mov rdx, [rsi + 8]",
                "mulx rcx, rax, rdx",
                "adcx r10, r10",
                "adox r10, rax",
                "adcx r11, r11",
                "adox r11, rcx",
                "mov rdx, [rsi + 16]",
                "mulx rcx, rax, rdx",
                "adcx r12, r12",
                "adox r12, rax",
                "adcx r13, r13",
                "adox r13, rcx",
                "mov rdx, [rsi + 24]",
                "mulx rcx, rax, rdx",
                "adcx r14, r14",
                "adox r14, rax",
                "adcx r15, r15",
                "adox r15, rcx",
                reduce!(),
                "mov [rdi], r12",
                "mov [rdi + 8], r13",
                "mov [rdi + 16], r14",
                "mov [rdi + 24], r15",
                reduction = sym REDUCTION,
                in("rsi") x.as_ptr(),
                in("rdi") out.as_mut_ptr(),
                out("rax") _, out("rcx") _, out("rdx") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    fn multiply(self, x: &mut Words, y: &Words) {
        // SAFETY: reads the four words at rsi and at rdi and the table, writes the four at rsi.
        unsafe {
            asm!(
                "mov rdx, [rdi]",
                "mulx r9, r8, [rsi]",
                "mulx r10, rax, [rsi + 8]",
                "mulx r11, r13, [rsi + 16]",
                "mulx r12, r14, [rsi + 24]",
                "add r9, rax",
                "adc r10, r13",
                "adc r11, r14",
                "adc r12, 0",
                "mov rdx, [rdi + 8]",
                "xor eax, eax",
                extend_row!("rsi", "r9", "r10", "r11", "r12", "r13"),
                "mov rdx, [rdi + 16]",
                "xor eax, eax",
                extend_row!("rsi", "r10", "r11", "r12", "r13", "r14"),
                "mov rdx, [rdi + 24]",
                "xor eax, eax",
                extend_row!("rsi", "r11", "r12", "r13", "r14", "r15"),
                reduce!(),
                "mov [rsi], r12",
                "mov [rsi + 8], r13",
                "mov [rsi + 16], r14",
                "mov [rsi + 24], r15",
                reduction = sym REDUCTION,
                in("rsi") x.as_mut_ptr(),
                in("rdi") y.as_ptr(),
                out("rax") _, out("rcx") _, out("rdx") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    fn scale(self, x: &mut Words, factor: &Factor, plus: &Wide) {
        // SAFETY: reads the four words at rsi, the sixteen at rdi, the five at r15, the tables,
        // of which the offset is below 128 entries for any words, and writes the four at rsi.
        unsafe {
            asm!(
                "mov rdx, [rsi]",
                "mulx r9, r8, [rdi]",
                "mulx r10, rax, [rdi + 8]",
                "mulx r11, rcx, [rdi + 16]",
                "mulx r12, r13, [rdi + 24]",
                "add r9, rax",
                "adc r10, rcx",
                "adc r11, r13",
                "adc r12, 0",
                "mov rdx, [rsi + 8]",
                "xor r13d, r13d",
                "xor r14d, r14d",
                add_row_and_carry!("rdi + 32", "r8", "r9", "r10", "r11", "r12", "r13", "r14"),
                "mov rdx, [rsi + 16]",
                "xor eax, eax",
                add_row_and_carry!("rdi + 64", "r8", "r9", "r10", "r11", "r12", "r13", "r14"),
                "mov rdx, [rsi + 24]",
                "xor eax, eax",
                add_row_and_carry!("rdi + 96", "r8", "r9", "r10", "r11", "r12", "r13", "r14"),
                quotient!("r8"),
                add_row_and_carry!("rip + {reduction}", "r8", "r9", "r10", "r11", "r12", "r13", "r14"),
                "add r9, [r15]",
                "adc r10, [r15 + 8]",
                "adc r11, [r15 + 16]",
                "adc r12, [r15 + 24]",
                "adc r13, [r15 + 32]",
                // The bits from 2^252 on say which multiple of r to take off, of 32 bytes each.
                "mov rax, r12",
                "shr rax, 55",
                "shl r13d, 9",
                "or eax, r13d",
                "and eax, 0xfe0",
                "lea rcx, [rip + {multiples}]",
                "sub r9, [rcx + rax]",
                "sbb r10, [rcx + rax + 8]",
                "sbb r11, [rcx + rax + 16]",
                "sbb r12, [rcx + rax + 24]",
                "mov [rsi], r9",
                "mov [rsi + 8], r10",
                "mov [rsi + 16], r11",
                "mov [rsi + 24], r12",
                reduction = sym REDUCTION,
                multiples = sym MULTIPLES,
                in("rsi") x.as_mut_ptr(),
                in("rdi") factor.as_ptr(),
                in("r15") plus.as_ptr(),
                out("rax") _, out("rcx") _, out("rdx") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _,
                options(nostack),
            );
        }
    }
}

// The offsets that assembly reads at.
const _: () = {
    assert!(std::mem::offset_of!(Reduction, order) == 0);
    assert!(std::mem::offset_of!(Reduction, negative_inverse) == 32);
    assert!(std::mem::offset_of!(Reduction, lifts) == 40);
    assert!(size_of::<Multiples>() == 128 * 32);
};
