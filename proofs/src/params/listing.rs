//! What parameters a folder holds, with their digests.

use super::{Digests, Files, LONGEST_DIGEST, LONGEST_KEY, ParametersError, read_short};
use crate::circuit::CIRCUIT_VERSION;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// The parameters of one circuit in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The circuit, as its files are named.
    pub circuit: String,
    /// Bytes of its parameters' file.
    pub bytes: u64,
    /// The BLAKE3 digest of the parameters that was noted when they were made, in hexadecimal.
    pub parameters: String,
    /// The same of the verifying key.
    pub key: String,
    /// Whether the files are those.
    pub state: State,
}

/// Whether files are what was noted of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Both files have their digests.
    Whole,
    /// A file is missing, or another than was noted.
    Damaged,
    /// They are of another version of the circuits.
    OtherVersion,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Damaged => "damaged",
            Self::OtherVersion => "of another version",
        })
    }
}

/// Lists the circuits of a folder by name, and reads their files through; none where there is no
/// folder.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(dir: &Path) -> Result<Vec<Listed>, ParametersError> {
    let at = |source| ParametersError::Io {
        path: dir.into(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at)?,
    };
    let mut listed = Vec::new();
    for entry in entries {
        let name = entry.map_err(at)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".digest"));
        if let Some((circuit, version)) = stem.and_then(|stem| stem.rsplit_once(".v")) {
            listed.push(look(dir, circuit, version));
        }
    }
    listed.sort_by(|one, other| one.circuit.cmp(&other.circuit));
    Ok(listed)
}

fn look(dir: &Path, circuit: &str, version: &str) -> Listed {
    let files = Files::named(dir, circuit, version);
    let text = read_short(&files.digest, LONGEST_DIGEST).ok();
    let text = text.and_then(|text| String::from_utf8(text).ok());
    let digests = text.and_then(|text| Digests::of_text(&text));
    let hex = |digest: [u8; 32]| blake3::Hash::from_bytes(digest).to_hex().to_string();
    let whole = digests.as_ref().is_some_and(|digests| {
        let key = read_short(&files.key, LONGEST_KEY).ok();
        key.is_some_and(|key| *blake3::hash(&key).as_bytes() == digests.key)
            && digest_of(&files.params).is_ok_and(|found| found == digests.params)
    });
    Listed {
        circuit: circuit.into(),
        bytes: std::fs::metadata(&files.params).map_or(0, |found| found.len()),
        parameters: digests
            .as_ref()
            .map_or_else(String::new, |digests| hex(digests.params)),
        key: digests
            .as_ref()
            .map_or_else(String::new, |digests| hex(digests.key)),
        state: match whole {
            _ if version != CIRCUIT_VERSION.to_string() => State::OtherVersion,
            true => State::Whole,
            false => State::Damaged,
        },
    }
}

/// Of a file of hundreds of MiB, read piece by piece.
fn digest_of(path: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::params::Parameters;
    use crate::proof::CircuitId;
    use crate::sector::SectorClass;

    #[test]
    fn parameters_are_listed_with_their_digests_and_damage_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(&dir.path().join("none")).unwrap(), []);
        let id = CircuitId::spacetime(SectorClass::Mib8);
        let parameters = Parameters::create(id, &mut rand::rngs::OsRng).unwrap();
        parameters.save(dir.path()).unwrap();
        std::fs::write(dir.path().join("lock"), "").unwrap();
        std::fs::write(dir.path().join("seal-8MiB-2.v0.digest"), "of old").unwrap();
        let listed = list(dir.path()).unwrap();
        let [old, found] = listed.as_slice() else {
            panic!("{listed:?}");
        };
        assert_eq!(
            (old.circuit.as_str(), old.state),
            ("seal-8MiB-2", State::OtherVersion)
        );
        assert_eq!(
            (found.circuit.clone(), found.state),
            (id.to_string(), State::Whole)
        );
        let key = blake3::hash(&parameters.verifying_key()).to_hex();
        assert_eq!(found.key, key.as_str());
        let params = Files::of(dir.path(), id).params;
        let mut bytes = std::fs::read(&params).unwrap();
        assert_eq!(found.parameters, blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(found.bytes, bytes.len() as u64);
        bytes[1000] ^= 1;
        std::fs::write(&params, bytes).unwrap();
        assert_eq!(list(dir.path()).unwrap()[1].state, State::Damaged);
    }
}
