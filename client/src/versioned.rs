//! Reading what the client itself has written: the version first, so that what a later program
//! wrote is named as such, then the whole in its one canonical form.

use holdfast_market_core::message::{Undecodable, decode};
use serde::{Deserialize, Serialize};

/// What every object of the client's own begins with, whatever else a version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why an object was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Of another version.
    Version(u32),
    /// Not the encoding of one, or not the canonical one.
    Malformed(String),
}

impl From<Undecodable> for Unreadable {
    fn from(error: Undecodable) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Reads an object of that version from its canonical DAG-CBOR.
pub(crate) fn read<T: Serialize + for<'de> Deserialize<'de>>(
    kind: &'static str,
    version: u32,
    bytes: &[u8],
) -> Result<T, Unreadable> {
    let found: Versioned = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| Unreadable::Malformed(error.to_string()))?;
    if found.version != version {
        return Err(Unreadable::Version(found.version));
    }
    Ok(decode(kind, bytes)?)
}

/// Reads an object of that version from JSON that says nothing else and says it in one way: keys in
/// any order and any space between them, but none unknown and none twice.
pub(crate) fn read_json<T: Serialize + for<'de> Deserialize<'de>>(
    version: u32,
    text: &[u8],
) -> Result<T, Unreadable> {
    let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
    let found: Versioned = serde_json::from_slice(text).map_err(malformed)?;
    if found.version != version {
        return Err(Unreadable::Version(found.version));
    }
    let read: T = serde_json::from_slice(text).map_err(malformed)?;
    let said: serde_json::Value = serde_json::from_slice(text).map_err(malformed)?;
    if serde_json::to_value(&read).map_err(malformed)? == said {
        Ok(read)
    } else {
        Err(Unreadable::Malformed(
            "it has a field that is not known, or a value that is not written in its one form"
                .into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Thing {
        version: u32,
        name: String,
    }

    #[derive(Serialize)]
    struct LaterThing {
        version: u32,
        name: Vec<String>,
    }

    #[test]
    fn what_a_later_program_wrote_is_named_as_such() {
        let later = LaterThing {
            version: 2,
            name: vec![],
        };
        let bytes = serde_ipld_dagcbor::to_vec(&later).unwrap();
        assert_eq!(
            read::<Thing>("thing", 1, &bytes),
            Err(Unreadable::Version(2))
        );
        let text = serde_json::to_vec(&later).unwrap();
        assert_eq!(read_json::<Thing>(1, &text), Err(Unreadable::Version(2)));
    }

    #[test]
    fn another_form_of_the_same_object_is_refused() {
        let thing = Thing {
            version: 1,
            name: "a".into(),
        };
        let bytes = serde_ipld_dagcbor::to_vec(&thing).unwrap();
        assert_eq!(read("thing", 1, &bytes), Ok(thing));
        // {"name": "a", "version": 1} with a field more, with its keys the other way round, twice,
        // and with a byte after its end.
        for other in [
            "a3617801646e616d6561616776657273696f6e01",
            "a26776657273696f6e01646e616d656161",
            "a3646e616d656161646e616d6561616776657273696f6e01",
            "a2646e616d6561616776657273696f6e0100",
            "a2646e616d6561616776657273696f6e1801",
        ] {
            let other: Vec<u8> = other
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            assert_ne!(other, bytes);
            assert!(matches!(
                read::<Thing>("thing", 1, &other),
                Err(Unreadable::Malformed(_))
            ));
        }
    }

    #[test]
    fn json_may_be_spaced_and_ordered_as_it_likes_and_say_nothing_more() {
        let read = |text: &str| read_json::<Thing>(1, text.as_bytes());
        assert!(read(r#"{ "name" : "a", "version" : 1 }"#).is_ok());
        for more in [
            r#"{"name": "a", "version": 1, "x": 1}"#,
            r#"{"name": "a", "version": 1, "name": "b"}"#,
            r#"{"name": "a", "version": 1} 1"#,
            r#"{"name": "a", "version": 1.0}"#,
            r#"["a", 1]"#,
        ] {
            assert!(
                matches!(read(more), Err(Unreadable::Malformed(_))),
                "{more}"
            );
        }
    }
}
