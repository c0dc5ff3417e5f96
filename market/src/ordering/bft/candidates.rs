//! Blocks that may become the next one. The engine keeps their names only, in its log too; so a block
//! is durable here before the engine hears that it is right, and gone once its height is decided.

use super::files::write_whole;
use super::parts::{First, LONGEST_BLOCK};
use holdfast_market_core::block::Block;
use holdfast_market_core::message::{SigningContext, decode, encode};
use holdfast_market_core::units::{Address, BlockId, Height, NetworkId, Round, Signature};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The folder in the market's data folder.
pub const CANDIDATES_FOLDER: &str = "candidates";
/// Room for a block, and for what precedes it.
const LONGEST_FILE: u64 = LONGEST_BLOCK as u64 + (64 << 10);
/// First parts kept of one block, at most.
const MOST_FIRSTS: usize = 16;

/// Why a candidate is not kept or not there.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read or written: {source}")]
pub struct CandidateError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: std::io::Error,
}

/// A block that may be the next, and by whom it was announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The block.
    pub block: Block,
    /// Its builder's signature; none for one that came decided.
    pub built: Option<Signature>,
    /// The first parts that it came with, each round's once.
    pub firsts: Vec<First>,
}

impl Candidate {
    /// The round that it was first announced in.
    pub fn round(&self) -> Option<(Round, Option<Round>)> {
        let first = self.firsts.first()?;
        Some((first.announcement.round, first.announcement.valid_round))
    }

    /// The first part of that round.
    pub fn first_of(&self, round: Round) -> Option<&First> {
        self.firsts
            .iter()
            .find(|first| first.announcement.round == round)
    }

    /// Notes how the block was announced once more; whether that is new, and there is room for it.
    pub fn announced(&mut self, first: First) -> bool {
        let is_new = self.first_of(first.announcement.round).is_none();
        let kept = is_new && self.firsts.len() < MOST_FIRSTS;
        if kept {
            self.firsts.push(first);
        }
        kept
    }
}

/// Those of the height that is being decided.
#[derive(Debug)]
pub struct Candidates {
    folder: PathBuf,
    all: BTreeMap<BlockId, Candidate>,
}

impl Candidates {
    /// Opens those in a market's data folder and drops what is decided: up to `head`. One that is
    /// damaged is dropped as well: it can be had again.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(data: &Path, network: NetworkId, head: Height) -> Result<Self, CandidateError> {
        let folder = data.join(CANDIDATES_FOLDER);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CandidateError { path, source }
        };
        create_folder(&folder, COMMON_MODE).map_err(failed(&folder))?;
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(failed(&folder))? {
            let path = entry.map_err(failed(&folder))?.path();
            let mut bytes = Vec::new();
            File::open(&path)
                .and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut bytes))
                .map_err(failed(&path))?;
            match read(&path, network, &bytes) {
                Some((id, candidate)) if candidate.block.header.height > head => {
                    all.insert(id, candidate);
                }
                known => {
                    if known.is_none() {
                        tracing::warn!("{} is damaged and is dropped", path.display());
                    }
                    std::fs::remove_file(&path).map_err(failed(&path))?;
                }
            }
        }
        Ok(Self { folder, all })
    }

    /// The block of that name.
    pub fn get(&self, id: &BlockId) -> Option<&Candidate> {
        self.all.get(id)
    }

    /// All of a height.
    pub fn at(&self, height: Height) -> impl Iterator<Item = (&BlockId, &Candidate)> {
        let all = self.all.iter();
        all.filter(move |(_, one)| one.block.header.height == height)
    }

    /// One that `builder` built for that height.
    pub fn built_by(&self, height: Height, builder: Address) -> Option<(&BlockId, &Candidate)> {
        self.at(height)
            .find(|(_, one)| one.block.header.builder == builder && one.built.is_some())
    }

    /// Keeps a block: durable when this returns.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(&mut self, id: BlockId, candidate: Candidate) -> Result<(), CandidateError> {
        let height = candidate.block.header.height;
        let path = self.folder.join(name(height, &id));
        let failed = |source| CandidateError {
            path: path.clone(),
            source,
        };
        let bytes = encode(&candidate).map_err(|error| failed(std::io::Error::other(error)))?;
        write_whole(&path, &bytes).map_err(failed)?;
        crash_point("validators.candidate-kept");
        self.all.insert(id, candidate);
        Ok(())
    }

    /// Drops those of heights up to `height`.
    pub fn forget(&mut self, height: Height) {
        let folder = &self.folder;
        self.all.retain(|id, one| {
            let at = one.block.header.height;
            if at <= height {
                // What stays is dropped when the folder is next opened.
                let _ = std::fs::remove_file(folder.join(name(at, id)));
            }
            at > height
        });
    }
}

fn name(height: Height, id: &BlockId) -> String {
    format!("{:020}-{id}", height.0)
}

/// A file's block, where the file's name and the builder's signature are those of its content.
fn read(path: &Path, network: NetworkId, bytes: &[u8]) -> Option<(BlockId, Candidate)> {
    let candidate: Candidate = decode("candidate", bytes).ok()?;
    let header = &candidate.block.header;
    let id = header.id().ok()?;
    let root = holdfast_market_core::block::transactions_root(&candidate.block.messages).ok()?;
    let is_built = candidate.built.is_none_or(|built| {
        SigningContext::Block.verify(network, header.builder.as_bytes(), header, &built)
    });
    let holds = is_built
        && root == header.transactions_root
        && path.file_name()? == name(header.height, &id).as_str();
    holds.then_some((id, candidate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::damage;
    use crate::ledger::Ledger;
    use crate::testing::Network;

    fn candidate(network: &Network, ledger: &Ledger) -> (BlockId, Candidate) {
        let keys = network.validator();
        let block = ledger.propose(&keys, 1_800_000_000_000).unwrap();
        let built = SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header);
        let candidate = Candidate {
            block,
            built: Some(built.unwrap()),
            firsts: Vec::new(),
        };
        (candidate.block.header.id().unwrap(), candidate)
    }

    #[test]
    fn a_candidate_is_there_after_a_restart_and_gone_once_its_height_is_decided() {
        let network = Network::new("candidates");
        let ledger = network.open();
        let (id, candidate) = candidate(&network, &ledger);
        let open = |head| Candidates::open(&network.data(), ledger.network(), head).unwrap();
        let mut candidates = open(Height(0));
        candidates.keep(id, candidate.clone()).unwrap();
        assert_eq!(open(Height(0)).get(&id), Some(&candidate));
        assert_eq!(open(Height(1)).get(&id), None);
        assert_eq!(open(Height(0)).get(&id), None);
        candidates.keep(id, candidate).unwrap();
        candidates.forget(Height(1));
        assert_eq!(open(Height(0)).get(&id), None);
    }

    #[test]
    fn a_damaged_candidate_is_dropped() {
        let network = Network::new("damaged candidates");
        let ledger = network.open();
        let (id, candidate) = candidate(&network, &ledger);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("market");
        let mut candidates = Candidates::open(&data, ledger.network(), Height(0)).unwrap();
        candidates.keep(id, candidate.clone()).unwrap();
        let below = Path::new(CANDIDATES_FOLDER).join(name(Height(1), &id));
        damage::each(
            &data,
            &below,
            40,
            19,
            |data, damage| match Candidates::open(data, ledger.network(), Height(0)) {
                Ok(found) => assert_eq!(found.get(&id), None, "{damage}"),
                Err(error) => {
                    assert_eq!(damage, damage::Damage::Unreadable, "{error}");
                    assert!(error.to_string().contains(CANDIDATES_FOLDER));
                }
            },
        );
    }
}
