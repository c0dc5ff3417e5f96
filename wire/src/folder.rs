//! A process's data folder: one kind, one network, one process at a time.

use holdfast_market_core::units::NetworkId;
use holdfast_proofs::durable::create_folder;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a data folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderKind {
    /// The ledger's store.
    Market,
    /// A storage node's sectors and shards.
    Node,
    /// A client's phrase and catalogue.
    Wallet,
}

impl FolderKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Node => "node",
            Self::Wallet => "wallet",
        }
    }
}

impl std::fmt::Display for FolderKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The version of the folders' layout that this program writes and reads.
pub const FOLDER_VERSION: u32 = 1;

const IDENTITY_FILE: &str = "folder.json";
const LOCK_FILE: &str = "lock";
/// An identity is three short fields; more is not ours.
const IDENTITY_LIMIT: u64 = 4096;
/// How long a process that has just ended may take to let go of its locks.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// A lock holds a process's number.
const HOLDER_LIMIT: u64 = 32;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    kind: FolderKind,
    version: u32,
    network: NetworkId,
}

/// Why a data folder was not opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process holds it.
    #[error("{path} is in use by another process{}; stop that one or give another folder", number(.holder))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process's number, where it says so.
        holder: Option<u32>,
    },
    /// It holds something else.
    #[error("{path} holds a {found}, not a {wanted}; give another folder")]
    OtherKind {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: FolderKind,
        /// What was asked for.
        wanted: FolderKind,
    },
    /// It belongs to another network.
    #[error(
        "{path} belongs to network {found}, not to {wanted}; give that network's folder or another data folder"
    )]
    OtherNetwork {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: NetworkId,
        /// Which was asked for.
        wanted: NetworkId,
    },
    /// It was written by a program of another layout.
    #[error(
        "{path} has layout {found} and this program reads layout {FOLDER_VERSION}; use the program that wrote it"
    )]
    OtherVersion {
        /// The folder.
        path: PathBuf,
        /// The layout it has.
        found: u32,
    },
    /// Its identity file cannot be understood.
    #[error(
        "{path} is not an identity file of a data folder ({reason}); restore it from a copy or give another folder"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It has files but no identity.
    #[error(
        "{path} has files in it and is no data folder: it has no {IDENTITY_FILE}; restore that file from a copy, or give an empty or new folder"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Opens what a process that was killed a moment ago may still hold: the system lets go of its locks
/// only when it has taken all of it down. Whoever holds them longer is alive, and `open`'s refusal
/// stands.
///
/// # Errors
/// Those of `open`.
pub fn patiently<T, E>(
    mut open: impl FnMut() -> Result<T, E>,
    is_held: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(error) if is_held(&error) && begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PAUSE);
            }
            done => return done,
        }
    }
}

/// A process's number as a sentence has it.
fn number(holder: &Option<u32>) -> String {
    holder.map_or_else(String::new, |holder| format!(" (number {holder})"))
}

/// Whether a process holds the data folder now.
pub fn is_held(path: &Path) -> bool {
    // Shared: whoever asks at the same moment is no holder.
    File::open(path.join(LOCK_FILE))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The number of the process that holds the data folder, where one does and says so.
pub fn holder(path: &Path) -> Option<u32> {
    is_held(path)
        .then(|| said_holder(&path.join(LOCK_FILE)))
        .flatten()
}

fn said_holder(lock_path: &Path) -> Option<u32> {
    let text = crate::atomic::read_bounded(lock_path, HOLDER_LIMIT).ok()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// An open data folder; the lock is held as long as this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // Released by the kernel when the file is closed, also after a SIGKILL.
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, or makes it (mode 0700) where there is none.
    ///
    /// # Errors
    /// A folder that is held, of another kind, network or layout, or that holds foreign files.
    pub fn open(path: &Path, kind: FolderKind, network: NetworkId) -> Result<Self, FolderError> {
        let io_error = |source| FolderError::Io {
            path: path.to_owned(),
            source,
        };
        create_folder(path, 0o700).map_err(io_error)?;
        let path = path.canonicalize().map_err(io_error)?;
        let lock = lock(&path)?;
        let identity_path = path.join(IDENTITY_FILE);
        match read_identity(&identity_path)? {
            Some(found) => check(&path, &found, kind, network)?,
            None => {
                refuse_foreign(&path)?;
                let identity = Identity {
                    kind,
                    version: FOLDER_VERSION,
                    network,
                };
                let text = serde_json::to_vec_pretty(&identity).map_err(|error| {
                    FolderError::Malformed {
                        path: identity_path.clone(),
                        reason: error.to_string(),
                    }
                })?;
                crate::atomic::write(&identity_path, &text, 0o600).map_err(|source| {
                    FolderError::Io {
                        path: identity_path.clone(),
                        source,
                    }
                })?;
            }
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is (absolute).
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let lock_path = path.join(LOCK_FILE);
    let io_error = |source| FolderError::Io {
        path: lock_path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => {
            // For people, and for whoever has to stop a process that nobody has written down; the
            // lock itself is the kernel's. A full disk is no reason not to start.
            let _ = file
                .set_len(0)
                .and_then(|()| (&file).write_all(std::process::id().to_string().as_bytes()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse {
            path: path.to_owned(),
            holder: said_holder(&lock_path),
        }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>, FolderError> {
    let malformed = |reason: String| FolderError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let text = match crate::atomic::read_bounded(path, IDENTITY_LIMIT) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(FolderError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| malformed(error.to_string()))
}

fn check(
    path: &Path,
    found: &Identity,
    kind: FolderKind,
    network: NetworkId,
) -> Result<(), FolderError> {
    let path = path.to_owned();
    if found.version != FOLDER_VERSION {
        return Err(FolderError::OtherVersion {
            path,
            found: found.version,
        });
    }
    if found.kind != kind {
        return Err(FolderError::OtherKind {
            path,
            found: found.kind,
            wanted: kind,
        });
    }
    if found.network != network {
        return Err(FolderError::OtherNetwork {
            path,
            found: found.network,
            wanted: network,
        });
    }
    Ok(())
}

/// A new folder may hold keys that `init` made before the network was known, and nothing else.
fn refuse_foreign(path: &Path) -> Result<(), FolderError> {
    let io_error = |source| FolderError::Io {
        path: path.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(path).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        let ours = name == LOCK_FILE
            || name.to_str().is_some_and(|name| {
                name.ends_with(".key") || name.ends_with(".new") || name.ends_with(".toml")
            });
        if !ours {
            return Err(FolderError::Foreign {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HERE: NetworkId = NetworkId([1; 32]);
    const ELSEWHERE: NetworkId = NetworkId([2; 32]);

    #[test]
    fn a_folder_that_another_holds_is_refused_until_it_is_let_go() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("node");
        let held = DataFolder::open(&path, FolderKind::Node, HERE).unwrap();
        let error = DataFolder::open(&path, FolderKind::Node, HERE).unwrap_err();
        assert!(matches!(error, FolderError::InUse { .. }));
        let number = std::process::id();
        let sentence = format!("node is in use by another process (number {number})");
        assert!(error.to_string().contains(&sentence), "{error}");
        assert_eq!(holder(&path), Some(number));
        // Held as well by one that could not write its number down.
        std::fs::write(path.join(LOCK_FILE), "").unwrap();
        assert!(is_held(&path));
        assert_eq!(holder(&path), None);
        drop(held);
        assert!(!is_held(&path));
        DataFolder::open(&path, FolderKind::Node, HERE).unwrap();
    }

    #[test]
    fn a_folder_of_another_kind_or_network_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataFolder::open(folder.path(), FolderKind::Node, HERE).unwrap());
        let error = DataFolder::open(folder.path(), FolderKind::Wallet, HERE).unwrap_err();
        assert!(error.to_string().contains("holds a node, not a wallet"));
        let error = DataFolder::open(folder.path(), FolderKind::Node, ELSEWHERE).unwrap_err();
        assert!(
            matches!(error, FolderError::OtherNetwork { found, wanted, .. }
            if found == HERE && wanted == ELSEWHERE)
        );
    }

    #[test]
    fn a_folder_of_another_layout_or_with_a_broken_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let identity = folder.path().join(IDENTITY_FILE);
        std::fs::write(
            &identity,
            format!(r#"{{"kind":"node","version":99,"network":"{HERE}"}}"#),
        )
        .unwrap();
        assert!(matches!(
            DataFolder::open(folder.path(), FolderKind::Node, HERE),
            Err(FolderError::OtherVersion { found: 99, .. })
        ));
        for broken in ["", "{}", "[1,2", &"x".repeat(10_000)] {
            std::fs::write(&identity, broken).unwrap();
            assert!(DataFolder::open(folder.path(), FolderKind::Node, HERE).is_err());
        }
    }

    #[test]
    fn a_folder_with_somebody_elses_files_is_refused_and_one_with_keys_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("phrase.key"), "words").unwrap();
        drop(DataFolder::open(folder.path(), FolderKind::Node, HERE).unwrap());
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("letter.txt"), "dear").unwrap();
        assert!(matches!(
            DataFolder::open(home.path(), FolderKind::Node, HERE),
            Err(FolderError::Foreign { .. })
        ));
    }

    #[test]
    fn a_damaged_identity_is_refused_by_name_and_a_damaged_lock_is_none() {
        use crate::damage::{self, Damage};
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        for kind in [FolderKind::Market, FolderKind::Node, FolderKind::Wallet] {
            drop(DataFolder::open(&data, kind, HERE).unwrap());
            let open = |folder: &Path| {
                let opened = DataFolder::open(folder, kind, HERE);
                opened.map(drop).map_err(|error| error.to_string())
            };
            let mut refused = 0;
            // Files beside it, as every folder that was used has some.
            std::fs::write(data.join("status.json"), "{}").unwrap();
            damage::each(&data, Path::new(IDENTITY_FILE), 40, 15, |folder, damage| {
                let name = folder.to_str().unwrap();
                let named = damage::assert_named_or_same(open(folder), &(), name, &damage);
                refused += usize::from(named);
            });
            assert!(refused > 40, "{refused}");
            damage::each(&data, Path::new(LOCK_FILE), 0, 15, |folder, damage| {
                let opened = open(folder);
                match damage {
                    Damage::Unreadable => assert!(opened.unwrap_err().contains("lock")),
                    _ => opened.unwrap(),
                }
            });
            std::fs::remove_dir_all(&data).unwrap();
        }
    }
}
