//! Small JSON files that say what other files mean: with a hash of themselves, so that a flipped bit
//! is found before it is believed.
//!
//! The file is still one JSON object, for eyes and for other tools; its first field is the hash of
//! the object without that field.

/// What a checked file begins with: the hash follows.
const BEGIN: &str = "{\"blake3\":\"";
/// What follows the hash.
const AFTER: &str = "\",";
/// Hexadecimal digits of the hash.
const DIGITS: usize = 64;

/// A JSON object with its hash in it; `object` has at least one field.
pub fn with_check(object: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(object).to_hex();
    let fields = object.strip_prefix(b"{").unwrap_or(object);
    [BEGIN.as_bytes(), hash.as_bytes(), AFTER.as_bytes(), fields].concat()
}

/// The object that [`with_check`] was given, if these bytes are as it made them.
pub fn without_check(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(BEGIN.as_bytes())?;
    let (hash, rest) = rest.split_at_checked(DIGITS)?;
    let fields = rest.strip_prefix(AFTER.as_bytes())?;
    let object = [b"{", fields].concat();
    (blake3::hash(&object).to_hex().as_bytes() == hash).then_some(object)
}

/// The same for a file that may be of an earlier version, which had no hash: such a one is taken as
/// it is. One flipped bit does not make the one look like the other unless it leaves the fields alone.
pub fn without_check_or_old(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.starts_with(BEGIN.as_bytes()) {
        without_check(bytes)
    } else {
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let object = b"{\n  \"version\": 1\n}";
        let file = with_check(object);
        assert_eq!(without_check(&file).unwrap(), object);
        for at in 0..file.len() {
            assert_eq!(without_check(&file[..at]), None);
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(without_check(&flipped), None, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(without_check(object), None);
        assert_eq!(without_check_or_old(object).unwrap(), object);
        assert_eq!(without_check_or_old(&file).unwrap(), object);
        let mut flipped = file;
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(without_check_or_old(&flipped), None);
    }

    #[test]
    fn a_checked_file_is_json_still() {
        let file = with_check(b"{\"version\":1}");
        let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["blake3"].as_str().unwrap().len(), DIGITS);
    }
}
