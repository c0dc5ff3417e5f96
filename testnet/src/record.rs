//! `testnet.json`: what a testnet's folder says about its processes. It is written whole or not at
//! all, has a hash of itself, and names a process by number and start time.

use crate::error::{TestnetError, at};
use crate::process::ProcessId;
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::atomic;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file's name in the testnet's folder.
pub const RECORD_FILE: &str = "testnet.json";

/// Some hundred bytes a process; more is not ours.
const LONGEST_RECORD: u64 = 1 << 20;

/// What a testnet's folder says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The form of this file.
    pub version: u32,
    /// The class of the sectors that its nodes seal.
    pub class: SectorClass,
    /// How many sectors each node seals.
    pub sectors: u32,
    /// The markets first, then the nodes in order.
    pub processes: Vec<ProcessRecord>,
}

/// One process of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRecord {
    /// `market`, `market-1` and so on, or `node-0` and so on; its folder has this name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it listens on 127.0.0.1: TCP for a market, UDP for a node.
    pub port: u16,
    /// Where a market meets the other markets, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meet: Option<u16>,
    /// The process, once started.
    pub process: Option<ProcessId>,
}

/// What a process of a testnet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders blocks and serves the ledger.
    Market,
    /// Stores.
    Node,
}

impl ProcessRecord {
    /// Whether the process runs.
    pub fn alive(&self) -> bool {
        self.process.as_ref().is_some_and(ProcessId::alive)
    }
}

impl Record {
    /// The form of the file that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Reads the record of a testnet's folder.
    ///
    /// # Errors
    /// A folder without a testnet, or a file of another form.
    pub fn read(folder: &Path) -> Result<Self, TestnetError> {
        let path = folder.join(RECORD_FILE);
        let bytes = match holdfast_wire::atomic::read_bounded(&path, LONGEST_RECORD) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(TestnetError::Missing {
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(at(&path)(error)),
        };
        let broken = |reason: String| TestnetError::Record {
            path: path.clone(),
            reason,
        };
        let text = without_check(&bytes)
            .ok_or_else(|| broken("it is damaged, or of an earlier version".into()))?;
        let record: Self =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if record.version != Self::VERSION {
            return Err(broken(format!(
                "it has version {}, and this program reads version {}",
                record.version,
                Self::VERSION
            )));
        }
        Ok(record)
    }

    /// Writes the record: beside the old one, then over it.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn write(&self, folder: &Path) -> Result<(), TestnetError> {
        let path = folder.join(RECORD_FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|error| TestnetError::Record {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        atomic::write(&path, &with_check(&text), 0o644).map_err(at(&path))
    }

    /// The process of the market that everybody asks.
    ///
    /// # Errors
    /// A record without one.
    pub fn market(&self, folder: &Path) -> Result<&ProcessRecord, TestnetError> {
        self.processes
            .iter()
            .find(|process| process.role == Role::Market)
            .ok_or_else(|| TestnetError::Record {
                path: folder.join(RECORD_FILE),
                reason: "it names no market".into(),
            })
    }

    /// The markets' processes, in order.
    pub fn markets(&self) -> impl Iterator<Item = &ProcessRecord> {
        self.processes
            .iter()
            .filter(|process| process.role == Role::Market)
    }

    /// The nodes' processes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &ProcessRecord> {
        self.processes
            .iter()
            .filter(|process| process.role == Role::Node)
    }
}

/// Where the parts of a testnet lie in its folder.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// The layout of a testnet in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself: what `--network` takes.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The data folder of a process.
    pub fn data(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The wallet that the genesis gives tokens to.
    pub fn wallet(&self) -> PathBuf {
        self.0.join("wallet")
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_is_read_back_and_another_form_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Record::read(folder.path()),
            Err(TestnetError::Missing { .. })
        ));
        let record = Record {
            version: Record::VERSION,
            class: SectorClass::Mib8,
            sectors: 1,
            processes: vec![ProcessRecord {
                name: "market".into(),
                role: Role::Market,
                port: 1,
                meet: None,
                process: ProcessId::of(std::process::id()),
            }],
        };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        assert!(record.market(folder.path()).unwrap().alive());
        let path = folder.path().join(RECORD_FILE);
        let mut text = std::fs::read(&path).unwrap();
        text.resize(usize::try_from(LONGEST_RECORD).unwrap() + 1, b' ');
        std::fs::write(&path, text).unwrap();
        assert!(Record::read(folder.path()).is_err());
        let later = Record {
            version: 2,
            ..record
        };
        later.write(folder.path()).unwrap();
        assert!(matches!(
            Record::read(folder.path()),
            Err(TestnetError::Record { .. })
        ));
    }

    #[test]
    fn a_damaged_record_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net");
        std::fs::create_dir(&net).unwrap();
        let record = Record {
            version: Record::VERSION,
            class: SectorClass::Mib8,
            sectors: 1,
            processes: vec![ProcessRecord {
                name: "market".into(),
                role: Role::Market,
                port: 4711,
                meet: None,
                process: ProcessId::of(std::process::id()),
            }],
        };
        record.write(&net).unwrap();
        damage::each(&net, Path::new(RECORD_FILE), 60, 18, |folder, damage| {
            let read = Record::read(folder).map_err(|error| error.to_string());
            let named = folder.to_str().unwrap();
            assert!(damage::assert_named_or_same(read, &record, named, &damage));
        });
    }
}
