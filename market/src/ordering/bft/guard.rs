//! What keeps a validator from signing twice, whatever the engine's log has lost: the highest height
//! for which anything was signed, and what. Nothing else is signed in its place. Where the log does
//! not know that height at all, the validator only watches until the others have passed it.

use super::files::{read_small, write_whole};
use holdfast_market_core::finality::{Ballot, BallotKind, Offer};
use holdfast_market_core::units::{BlockId, Height, Round};
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_proofs::crash::crash_point;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The guard's file in the market's data folder.
pub const GUARD_FILE: &str = "consensus.signed";

/// Statements of one height that are kept; those of the lowest rounds go first, and nothing is signed
/// for such a round any more.
const MOST_STATEMENTS: usize = 256;

/// Which statement it is: a validator makes each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An offer of a block.
    Offer,
    /// The first vote.
    Prevote,
    /// The second.
    Precommit,
}

/// What a validator says in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// In which round.
    pub round: Round,
    /// Which one.
    pub kind: Kind,
    /// About which block, or none.
    pub block: Option<BlockId>,
    /// Of an offer: the earlier round that it names.
    pub valid_round: Option<Round>,
}

impl From<&Ballot> for Statement {
    fn from(ballot: &Ballot) -> Self {
        Self {
            round: ballot.round,
            kind: match ballot.kind {
                BallotKind::Prevote => Kind::Prevote,
                BallotKind::Precommit => Kind::Precommit,
            },
            block: ballot.block,
            valid_round: None,
        }
    }
}

impl From<&Offer> for Statement {
    fn from(offer: &Offer) -> Self {
        Self {
            round: offer.round,
            kind: Kind::Offer,
            block: Some(offer.block),
            valid_round: offer.valid_round,
        }
    }
}

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
    /// Something else was signed in its place.
    #[error(
        "this validator has said something else in round {round} of height {height} before, or can not know whether it has; it says nothing there"
    )]
    Said {
        /// Of the block.
        height: Height,
        /// In which round.
        round: Round,
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

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardFile {
    signed: Height,
    /// Rounds of that height for which nothing is signed any more: those below.
    from: Round,
    /// What was signed for that height since.
    said: Vec<Statement>,
}

/// What was signed, on disk before the signature is given.
#[derive(Debug)]
pub struct Guard {
    path: PathBuf,
    noted: GuardFile,
}

impl Guard {
    /// Reads it in a market's data folder; where there is none, nothing was signed.
    ///
    /// # Errors
    /// A damaged file, or one that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, GuardError> {
        let path = folder.join(GUARD_FILE);
        let noted = match read_small(&path) {
            Ok(None) => GuardFile::default(),
            Ok(Some(bytes)) => without_check(&bytes)
                .and_then(|object| serde_json::from_slice::<GuardFile>(&object).ok())
                .ok_or_else(|| GuardError::Damaged(path.clone()))?,
            Err(source) => return Err(GuardError::File { path, source }),
        };
        Ok(Self { path, noted })
    }

    /// The highest.
    pub fn signed(&self) -> Height {
        self.noted.signed
    }

    /// Notes that this is to be signed for `height`. The same again is signed again.
    ///
    /// # Errors
    /// Something was signed for a higher one, or something else in its place, or it cannot be noted:
    /// then it may not be signed.
    pub fn note(&mut self, height: Height, statement: Statement) -> Result<(), GuardError> {
        if height < self.noted.signed {
            return Err(GuardError::Passed {
                signed: self.noted.signed,
                asked: height,
            });
        }
        let mut file = if height > self.noted.signed {
            GuardFile {
                signed: height,
                ..GuardFile::default()
            }
        } else {
            self.noted.clone()
        };
        let place = (statement.round, statement.kind);
        let said = file.said.iter().find(|one| (one.round, one.kind) == place);
        match said {
            Some(said) if *said == statement => return Ok(()),
            None if statement.round >= file.from => {}
            _ => {
                return Err(GuardError::Said {
                    height,
                    round: statement.round,
                });
            }
        }
        file.said.push(statement);
        while file.said.len() > MOST_STATEMENTS {
            let lowest = file.said.iter().map(|one| one.round).min();
            file.from = Round(lowest.unwrap_or_default().0.saturating_add(1));
            let from = file.from;
            file.said.retain(|one| one.round >= from);
        }
        let failed = |source| GuardError::File {
            path: self.path.clone(),
            source,
        };
        let object = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        write_whole(&self.path, &with_check(&object)).map_err(failed)?;
        crash_point("validators.height-noted");
        self.noted = file;
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

    fn prevote(round: u32, block: u8) -> Statement {
        Statement {
            round: Round(round),
            kind: Kind::Prevote,
            block: Some(BlockId([block; 32])),
            valid_round: None,
        }
    }

    #[test]
    fn nothing_is_signed_below_what_was_signed_before_a_restart_either() {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Guard::open(folder.path()).unwrap();
        assert_eq!(guard.signed(), Height(0));
        for height in [1, 1, 2, 7, 7] {
            guard.note(Height(height), prevote(0, 1)).unwrap();
        }
        let mut again = Guard::open(folder.path()).unwrap();
        assert_eq!(again.signed(), Height(7));
        let error = again.note(Height(6), prevote(0, 1)).unwrap_err();
        assert!(matches!(error, GuardError::Passed { .. }), "{error}");
        again.note(Height(7), prevote(0, 1)).unwrap();
    }

    #[test]
    fn nothing_else_is_signed_in_the_place_of_what_was_signed_before_a_restart_either() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Guard::open(folder.path()).unwrap();
        open().note(Height(7), prevote(1, 1)).unwrap();
        let said = |outcome| matches!(outcome, Err(GuardError::Said { .. }));
        assert!(said(open().note(Height(7), prevote(1, 2))));
        let none = Statement {
            block: None,
            ..prevote(1, 1)
        };
        assert!(said(open().note(Height(7), none)));
        // The other vote of that round, another round and the next height are places of their own.
        let precommit = Statement {
            kind: Kind::Precommit,
            ..prevote(1, 2)
        };
        open().note(Height(7), precommit).unwrap();
        open().note(Height(7), prevote(2, 2)).unwrap();
        open().note(Height(7), prevote(0, 2)).unwrap();
        open().note(Height(7), prevote(1, 1)).unwrap();
        open().note(Height(8), prevote(1, 2)).unwrap();
        // Many rounds take no more room than some, and those that went are not signed for again.
        let mut guard = open();
        for round in 2..1_000 {
            guard.note(Height(8), prevote(round, 1)).unwrap();
        }
        assert!(guard.noted.said.len() <= MOST_STATEMENTS);
        assert!(said(open().note(Height(8), prevote(1, 2))));
        open().note(Height(8), prevote(999, 1)).unwrap();
    }

    #[test]
    fn a_guard_that_cannot_be_written_lets_nothing_be_signed() {
        let folder = tempfile::tempdir().unwrap();
        let mut guard = Guard::open(folder.path()).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        let error = guard.note(Height(1), prevote(0, 1)).unwrap_err();
        assert!(matches!(error, GuardError::File { .. }), "{error}");
        assert_eq!(guard.signed(), Height(0));
    }

    #[test]
    fn a_damaged_guard_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("market");
        std::fs::create_dir(&data).unwrap();
        let mut guard = Guard::open(&data).unwrap();
        guard.note(Height(77), prevote(0, 1)).unwrap();
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
