//! What keeps a validator from signing twice where the engine's log is gone or older than what was
//! signed: the highest height for which anything was. Within a height the log itself knows; where
//! it does not know that height, the validator only watches until the others have passed it.

use super::files::{read_small, write_whole};
use holdfast_market_core::units::Height;
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_proofs::crash::crash_point;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The guard's file in the market's data folder.
pub const GUARD_FILE: &str = "consensus.signed";

/// Why a validator does not sign.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Something was signed for a higher one.
    #[error(
        "this validator has signed for height {signed} before and does not sign for height {asked}"
    )]
    Passed {
        /// The highest.
        signed: Height,
        /// Asked for.
        asked: Height,
    },
    /// What was signed cannot be noted.
    #[error("{path} cannot be read or written: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was signed cannot be known.
    #[error(
        "{0} is damaged: what this validator has signed is not known; restore the file from a copy, or remove it once the other validators are at least a block further"
    )]
    Damaged(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardFile {
    signed: Height,
}

/// The highest height for which anything was signed, on disk before the signature is given.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    signed: Height,
}

impl Guard {
    /// Reads it in a market's data folder; where there is none, nothing was signed.
    ///
    /// # Errors
    /// A damaged file, or one that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, GuardError> {
        let path = folder.join(GUARD_FILE);
        let signed = match read_small(&path) {
            Ok(None) => Height(0),
            Ok(Some(bytes)) => {
                without_check(&bytes)
                    .and_then(|object| serde_json::from_slice::<GuardFile>(&object).ok())
                    .ok_or_else(|| GuardError::Damaged(path.clone()))?
                    .signed
            }
            Err(source) => return Err(GuardError::File { path, source }),
        };
        Ok(Self { path, signed })
    }

    /// The highest.
    pub fn signed(&self) -> Height {
        self.signed
    }

    /// Notes that something is to be signed for `height`.
    ///
    /// # Errors
    /// Something was signed for a higher one, or it cannot be noted: then nothing may be signed.
    pub fn note(&mut self, height: Height) -> Result<(), GuardError> {
        if height < self.signed {
            return Err(GuardError::Passed {
                signed: self.signed,
                asked: height,
            });
        }
        if height > self.signed {
            let failed = |source| GuardError::File {
                path: self.path.clone(),
                source,
            };
            let file = GuardFile { signed: height };
            let object = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
            write_whole(&self.path, &with_check(&object)).map_err(failed)?;
            crash_point("validators.height-noted");
            self.signed = height;
        }
        Ok(())
    }
}

/// The height that the engine's log is of; none where there is no log, or none that was begun.
/// (Its file begins with a version of four bytes and the height of eight, both big-endian.)
///
/// # Errors
/// The system's.
pub fn height_of_log(path: &Path) -> std::io::Result<Option<Height>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut version, mut height) = ([0; 4], [0; 8]);
    match file
        .read_exact(&mut version)
        .and_then(|()| file.read_exact(&mut height))
    {
        Ok(()) => Ok(Some(Height(u64::from_be_bytes(height)))),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_signed_below_what_was_signed_before_a_restart_either() {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Guard::open(folder.path()).unwrap();
        assert_eq!(guard.signed(), Height(0));
        for height in [1, 1, 2, 7, 7] {
            guard.note(Height(height)).unwrap();
        }
        let mut again = Guard::open(folder.path()).unwrap();
        assert_eq!(again.signed(), Height(7));
        let error = again.note(Height(6)).unwrap_err();
        assert!(matches!(error, GuardError::Passed { .. }), "{error}");
        again.note(Height(7)).unwrap();
    }

    #[test]
    fn a_guard_that_cannot_be_written_lets_nothing_be_signed() {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Guard::open(folder.path()).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        let error = guard.note(Height(1)).unwrap_err();
        assert!(matches!(error, GuardError::File { .. }), "{error}");
        assert_eq!(guard.signed(), Height(0));
    }

    #[test]
    fn a_damaged_guard_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("market");
        std::fs::create_dir(&data).unwrap();
        Guard::open(&data).unwrap().note(Height(77)).unwrap();
        damage::each(&data, Path::new(GUARD_FILE), 40, 20, |data, damage| {
            // Where it is gone the engine's log knows.
            if damage != damage::Damage::Gone {
                let read = Guard::open(data).map(|guard| guard.signed());
                let read = read.map_err(|error| error.to_string());
                damage::assert_named_or_same(read, &Height(77), GUARD_FILE, &damage);
            }
        });
    }

    #[test]
    fn a_log_says_which_height_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(height_of_log(&path).unwrap(), None);
        std::fs::write(&path, [0; 11]).unwrap();
        assert_eq!(height_of_log(&path).unwrap(), None);
        let real = folder.path().join("real");
        let mut log = malachitebft_app_channel::app::wal::Log::open(&real).unwrap();
        log.reset(9).unwrap();
        drop(log);
        let height = height_of_log(&real).unwrap();
        assert_eq!(height, Some(Height(9)));
    }
}
