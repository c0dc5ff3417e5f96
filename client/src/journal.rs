//! The journal of an upload: enough to go on after the process died at any moment, with the same
//! keys and the same packs, so that nothing is paid twice.

use crate::error::ClientError;
use crate::layout::PackPlan;
use crate::manifest::{Content, Extent, Manifest};
use crate::seal::{Purpose, WrappingKey};
use crate::versioned::{self, Unreadable};
use crate::walk::Source;
use holdfast_market_core::message::{PackHeader, decode};
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{Height, MessageId, Periods};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_wire::atomic;
use holdfast_wire::protocol::ShardTarget;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const PLAN: &str = "plan";
const PROGRESS: &str = "progress";
const FILE_LIMIT: u64 = 1 << 30;
const JOURNAL_VERSION: u32 = 1;

/// How an object is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageTerms {
    /// Shards that suffice.
    pub data_shards: u8,
    /// Shards in all.
    pub total_shards: u8,
    /// For how long.
    pub term: Periods,
}

/// What was decided before anything was sent. It does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    version: u32,
    /// What its owner calls it.
    pub name: String,
    /// Where it comes from, as it was found.
    pub source: Source,
    /// How it is stored.
    pub terms: StorageTerms,
    /// Names, keys and places.
    pub manifest: Manifest,
    /// Where the manifest itself lies.
    pub manifest_content: Content,
    /// What lies in each pack. The number of entries of the manifest stands for the manifest.
    pub packs: Vec<PackPlan>,
    /// The place of the catalogue's block, at the end of the last pack.
    pub catalogue: Extent,
    /// When it was begun, in seconds since the Unix epoch.
    pub begun: u64,
}

impl Plan {
    /// The version that this program writes and reads.
    pub const VERSION: u32 = JOURNAL_VERSION;

    /// A plan of these parts.
    #[allow(clippy::too_many_arguments)] // Each is a field.
    pub fn new(
        name: String,
        source: Source,
        terms: StorageTerms,
        manifest: Manifest,
        manifest_content: Content,
        packs: Vec<PackPlan>,
        catalogue: Extent,
        begun: u64,
    ) -> Self {
        Self {
            version: JOURNAL_VERSION,
            name,
            source,
            terms,
            manifest,
            manifest_content,
            packs,
            catalogue,
            begun,
        }
    }
}

/// How far one pack is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackProgress {
    /// Its header: written down before a byte of it is sent, and not changed after.
    pub header: PackHeader,
    /// Where its shards go.
    pub targets: Vec<ShardTarget>,
    /// What was signed for them, in index order; empty until all have signed.
    pub receipts: Vec<SignedReceipt>,
    /// The block of its deal set and the message that proposed it, once paid.
    pub funded: Option<Funded>,
}

/// A deal set that is on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funded {
    /// In which block.
    pub at: Height,
    /// By which message; unknown where it was found on the ledger after an interruption.
    pub message: Option<MessageId>,
}

/// What has been done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The packs begun, in order.
    pub packs: Vec<PackProgress>,
    /// The catalogue's block, once the last pack is begun.
    #[serde(with = "serde_bytes")]
    pub catalogue: Vec<u8>,
    /// The name's version that it is published as.
    pub version: u64,
}

/// The journal of one upload, as two sealed files in the wallet.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    key: WrappingKey,
    /// What was decided.
    pub plan: Plan,
    /// What was done.
    pub progress: Progress,
}

impl Journal {
    /// Writes down a plan; from here on the upload can go on.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn begin(journals: &Path, key: WrappingKey, plan: Plan) -> Result<Self, ClientError> {
        let folder = journals.join(folder_name(&plan.source.root, &plan.name));
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ClientError::io(&folder)(error));
            }
            _ => {}
        }
        create_folder(&folder, COMMON_MODE).map_err(ClientError::io(&folder))?;
        let journal = Self {
            folder,
            key,
            plan,
            progress: Progress::default(),
        };
        // The plan last: a folder without one is an upload that never began.
        journal.save()?;
        crash_point("put.progress-begun");
        journal.write(PLAN, &journal.plan)?;
        crash_point("put.planned");
        Ok(journal)
    }

    /// The journal of an unfinished upload of this file or folder under this name, if there is
    /// one.
    ///
    /// # Errors
    /// Files that are not this wallet's.
    pub fn find(
        journals: &Path,
        key: WrappingKey,
        root: &Path,
        name: &str,
    ) -> Result<Option<Self>, ClientError> {
        Self::open(journals.join(folder_name(root, name)), key)
    }

    /// All unfinished uploads that can be read; one that cannot is told, and does not hide the others.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn list(journals: &Path, key: impl Fn() -> WrappingKey) -> Result<Vec<Self>, ClientError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(journals).map_err(ClientError::io(journals))? {
            let path = entry.map_err(ClientError::io(journals))?.path();
            match Self::open(path, key()) {
                Ok(journal) => found.extend(journal),
                Err(error) => tracing::warn!(next = error.next(), "{error}"),
            }
        }
        found.sort_by(|a: &Self, b| a.plan.name.cmp(&b.plan.name));
        Ok(found)
    }

    fn open(folder: PathBuf, key: WrappingKey) -> Result<Option<Self>, ClientError> {
        let path = folder.join(PLAN);
        let Some(plain) = read(&path, &key)? else {
            return Ok(None);
        };
        let plan: Plan =
            versioned::read("plan", JOURNAL_VERSION, &plain).map_err(|error| match error {
                Unreadable::Version(_) => ClientError::failed(
                    format!(
                        "an upload in {} was begun by another version",
                        folder.display()
                    ),
                    "finish it with the program that began it",
                ),
                Unreadable::Malformed(reason) => damaged(&path, &reason),
            })?;
        // Written before the plan: without it, what was paid would be paid again.
        let path = folder.join(PROGRESS);
        let plain = read(&path, &key)?.ok_or_else(|| damaged(&path, "it is missing"))?;
        let progress =
            decode("progress", &plain).map_err(|error| damaged(&path, &error.to_string()))?;
        Ok(Some(Self {
            folder,
            key,
            plan,
            progress,
        }))
    }

    /// Whether every pack is paid for: from then on the catalogue may be published.
    pub fn is_paid(&self) -> bool {
        let packs = &self.progress.packs;
        packs.len() == self.plan.packs.len() && packs.iter().all(|pack| pack.funded.is_some())
    }

    /// Writes down what was done, durably.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn save(&self) -> Result<(), ClientError> {
        self.write(PROGRESS, &self.progress)
    }

    /// Forgets the upload: it is done, or given up.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn remove(self) -> Result<(), ClientError> {
        // The plan first: without it there is no upload.
        let plan = self.folder.join(PLAN);
        atomic::remove(&plan).map_err(ClientError::io(&plan))?;
        crash_point("put.plan-removed");
        std::fs::remove_dir_all(&self.folder).map_err(ClientError::io(&self.folder))
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), ClientError> {
        let path = self.folder.join(name);
        let plain = holdfast_market_core::message::encode(value)?;
        let sealed = self
            .key
            .seal_block(Purpose::Journal, &plain, &mut rand::rngs::OsRng)?;
        atomic::write(&path, &sealed, 0o600).map_err(ClientError::io(&path))
    }
}

/// The plain bytes of a sealed file, where it is there.
fn read(path: &Path, key: &WrappingKey) -> Result<Option<Vec<u8>>, ClientError> {
    let sealed = match atomic::read_bounded(path, FILE_LIMIT) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(path, &error.to_string())),
    };
    key.open_block(Purpose::Journal, &sealed)
        .map(Some)
        .map_err(|error| damaged(path, &error.to_string()))
}

/// A file of an upload that cannot go on.
fn damaged(path: &Path, reason: &str) -> ClientError {
    ClientError::failed(
        format!(
            "{} is damaged: {reason}; the upload that it belongs to cannot go on",
            path.display()
        ),
        "remove the folder that it lies in to begin that upload anew; what was paid for it stays paid",
    )
}

/// One journal for a source and a name, so that the same command finds it again.
fn folder_name(root: &Path, name: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026-11 client journal name");
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(root.as_os_str().as_bytes());
    let hash = hasher.finalize().to_hex();
    hash.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::stream::ContentKey;
    use holdfast_market_core::units::{Address, ByteCount};

    fn key() -> WrappingKey {
        WrappingKey::of_secret([1; 32])
    }

    fn plan(folder: &Path) -> Plan {
        let path = folder.join("file");
        std::fs::write(&path, "").unwrap();
        let source = Source::walk(&path).unwrap();
        let entry = crate::manifest::tests::entry(
            None,
            b"file",
            crate::manifest::Kind::File {
                size: ByteCount(0),
                content: None,
            },
        );
        let nowhere = Extent {
            pack: 0,
            offset: ByteCount(0),
            length: ByteCount(1),
        };
        Plan::new(
            "photos".into(),
            source,
            StorageTerms {
                data_shards: 3,
                total_shards: 6,
                term: Periods(9),
            },
            Manifest::new(vec![entry]).unwrap(),
            Content {
                key: ContentKey::from_bytes([3; 39]),
                extents: vec![nowhere],
            },
            vec![PackPlan::default()],
            nowhere,
            17,
        )
    }

    fn pack() -> PackProgress {
        PackProgress {
            header: PackHeader {
                owner: Address([5; 32]),
                nonce: 1,
                k: 3,
                n: 6,
                length: ByteCount(1),
                shard_roots: vec![],
                shard_length: ByteCount(1),
            },
            targets: vec![],
            receipts: vec![],
            funded: None,
        }
    }

    #[test]
    fn an_upload_is_found_again_as_far_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let plan = plan(folder.path());
        let root = plan.source.root.clone();
        let mut journal = Journal::begin(&journals, key(), plan.clone()).unwrap();
        journal.progress.packs.push(pack());
        journal.save().unwrap();
        journal.progress.packs[0].funded = Some(Funded {
            at: Height(4),
            message: None,
        });
        // Not saved: the process dies here.
        drop(journal);
        let found = Journal::find(&journals, key(), &root, "photos")
            .unwrap()
            .unwrap();
        assert_eq!(found.plan, plan);
        assert_eq!(found.progress.packs, [pack()]);
        assert!(
            Journal::find(&journals, key(), &root, "other")
                .unwrap()
                .is_none()
        );
        assert_eq!(Journal::list(&journals, key).unwrap().len(), 1);
        found.remove().unwrap();
        assert!(
            Journal::find(&journals, key(), &root, "photos")
                .unwrap()
                .is_none()
        );
        assert!(Journal::list(&journals, key).unwrap().is_empty());
    }

    #[test]
    fn an_upload_whose_plan_was_never_written_never_began() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let plan = plan(folder.path());
        let root = plan.source.root.clone();
        let journal = Journal::begin(&journals, key(), plan).unwrap();
        std::fs::remove_file(journal.folder.join(PLAN)).unwrap();
        assert!(
            Journal::find(&journals, key(), &root, "photos")
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_journal_keeps_its_keys_sealed_and_refuses_changed_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let plan = plan(folder.path());
        let root = plan.source.root.clone();
        let journal = Journal::begin(&journals, key(), plan).unwrap();
        let path = journal.folder.join(PLAN);
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(39).any(|window| window == [3; 39]));
        assert!(!bytes.windows(6).any(|window| window == b"photos"));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Journal::find(&journals, key(), &root, "photos").is_err());
        let other = WrappingKey::of_secret([2; 32]);
        assert!(Journal::find(&journals, other, &root, "photos").is_err());
    }

    #[test]
    fn a_damaged_journal_of_an_upload_is_named_with_the_way_out() {
        use crate::damage::{self, Damage};
        let folder = tempfile::tempdir().unwrap();
        let journals = folder.path().join("journal");
        let plan = plan(folder.path());
        let root = plan.source.root.clone();
        let mut journal = Journal::begin(&journals, key(), plan.clone()).unwrap();
        journal.progress.packs.push(pack());
        journal.save().unwrap();
        let whole = Some((plan, vec![pack()]));
        let name = journal.folder.file_name().unwrap().to_owned();
        for file in [PLAN, PROGRESS] {
            let below = Path::new(&name).join(file);
            damage::each(&journals, &below, 20, 20, |journals, damage| {
                let found = Journal::find(journals, key(), &root, "photos");
                // Others are listed all the same.
                assert!(Journal::list(journals, key).unwrap().is_empty());
                if (file, damage) == (PLAN, Damage::Gone) {
                    // Removed first when an upload is over, and so it is over.
                    assert!(found.unwrap().is_none());
                    return;
                }
                let error =
                    found.map(|found| found.map(|found| (found.plan, found.progress.packs)));
                let error = error.map_err(|error| {
                    assert!(error.next().contains("remove the folder"), "{error}");
                    error.to_string()
                });
                let path = journals.join(&below);
                damage::assert_named_or_same(error, &whole, path.to_str().unwrap(), &damage);
            });
        }
    }
}
