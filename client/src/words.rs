//! Numbers in the sentences that people read.

use holdfast_market_core::units::ByteCount;

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// A size with its unit: `12.3 MiB`. It never says more than there is, so that what is promised to
/// fit does.
pub fn size(bytes: ByteCount) -> String {
    for (unit, length) in UNITS {
        if bytes.0 >= length {
            let tenths = u128::from(bytes.0) * 10 / u128::from(length);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    count(bytes.0, "byte")
}

/// Two sizes that are compared: exact where they would look the same and are not.
pub fn sizes(one: ByteCount, other: ByteCount) -> (String, String) {
    let (first, second) = (size(one), size(other));
    if first == second && one != other {
        (count(one.0, "byte"), count(other.0, "byte"))
    } else {
        (first, second)
    }
}

/// So many of something: `1 file`, `2 files`.
pub fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_never_say_more_than_there_is() {
        let texts = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            ((2 << 20) - 1, "1.9 MiB"),
            (8 << 20, "8.0 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, text) in texts {
            assert_eq!(size(ByteCount(bytes)), text);
        }
    }

    #[test]
    fn sizes_that_differ_never_read_the_same() {
        let (one, other) = sizes(ByteCount(5 << 20), ByteCount((5 << 20) + 1));
        assert_eq!((&*one, &*other), ("5242880 bytes", "5242881 bytes"));
        assert_eq!(sizes(ByteCount(2 << 10), ByteCount(9 << 10)).0, "2.0 KiB");
    }

    #[test]
    fn one_is_one_and_all_else_is_many() {
        assert_eq!(count(1, "pack"), "1 pack");
        assert_eq!(count(0, "pack"), "0 packs");
        assert_eq!(count(2, "file"), "2 files");
    }
}
