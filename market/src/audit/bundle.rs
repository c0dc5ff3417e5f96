//! A ledger in one file, for a machine without a network: genesis, verifying keys, every block with its
//! certificate, and where the ledger says it stands. Written and read as a stream.
//!
//! After a line that names kind and version come records: a byte for the kind, four for the length, big
//! endian, and so many bytes of DAG-CBOR. They are in this order: head (`h`), genesis (`g`), verifying
//! keys (`k`), blocks from height 1 on (`b`), end (`e`). The end's 32 bytes are the BLAKE3 of all that is
//! before it. The roots of a block's outcomes are in the next block's header, those of the last block's
//! in the head.

use super::source::Source;
use super::{AuditError, Progress, Watch};
use holdfast_market_core::audit::Finding;
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{Undecodable, decode, encode};
use holdfast_market_core::units::{BlockId, Blocks, Height, NetworkId, TreeRoot};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::atomic::NewFile;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a bundle begins with.
const MAGIC: &[u8] = b"holdfast audit bundle 1\n";
/// What one of any version begins with.
const KIND: &[u8] = b"holdfast audit bundle ";
/// Bytes of a head, at most.
const HEAD_LIMIT: usize = 1 << 10;
/// Bytes of a genesis, at most.
const GENESIS_LIMIT: usize = 64 << 20;
/// Bytes of verifying keys, at most.
const KEYS_LIMIT: usize = 16 << 20;
/// Bytes of a block with its certificate, at most: 8 MiB of messages, and what goes with them.
const BLOCK_LIMIT: usize = 12 << 20;
/// Bytes of an end.
const END_BYTES: usize = 32;
/// Bytes that are hashed at a time.
const STEP: usize = 64 << 10;
/// Blocks and bytes that are handed to a replay at a time.
const MOST_BLOCKS: usize = crate::ledger::MOST_BLOCKS;
const MOST_BLOCK_BYTES: usize = crate::ledger::MOST_BLOCK_BYTES;

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The operating system refuses.
    #[error("the bundle {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another file.
    #[error("{0} is no audit bundle; make one with `holdfast audit export`")]
    Other(PathBuf),
    /// Of another version.
    #[error("{0} is an audit bundle of another version; use the version that wrote it")]
    OtherVersion(PathBuf),
    /// It ends too early.
    #[error("the bundle {path} is cut off in its {part}; get it anew")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Where.
        part: &'static str,
    },
    /// A length that nothing of the kind has.
    #[error(
        "the bundle {path} says that its {part} has {found} bytes, and at most {most} are allowed; get it anew"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What.
        part: &'static str,
        /// What it says.
        found: u64,
        /// The most.
        most: usize,
    },
    /// Records that are out of order, missing or too many.
    #[error("the bundle {path} has something else where its {part} should be; get it anew")]
    Order {
        /// The file.
        path: PathBuf,
        /// What should be there.
        part: &'static str,
    },
    /// Bytes that are not what they should be.
    #[error("the {part} in the bundle {path} cannot be read: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What.
        part: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Bytes changed on the way.
    #[error("the bundle {0} is damaged: its bytes are not those of its digest; get it anew")]
    Damaged(PathBuf),
    /// Its genesis is another network's.
    #[error("the bundle {path} says it is of network {said}, and its genesis is of {found}")]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// What its head says.
        said: NetworkId,
        /// Whose its genesis is.
        found: NetworkId,
    },
}

/// Where the ledger in a bundle says it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleHead {
    /// Of which network it is.
    pub network: NetworkId,
    /// Its last block.
    pub height: Height,
    /// That block's name.
    pub last: BlockId,
    /// The state tree's root after it.
    pub state_root: TreeRoot,
    /// The root over its outcomes.
    pub receipts_root: TreeRoot,
}

/// The parts of a bundle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Genesis,
    Keys,
    Block,
    End,
}

impl Part {
    const fn kind(self) -> u8 {
        match self {
            Self::Head => b'h',
            Self::Genesis => b'g',
            Self::Keys => b'k',
            Self::Block => b'b',
            Self::End => b'e',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Genesis => "genesis",
            Self::Keys => "verifying keys",
            Self::Block => "blocks",
            Self::End => "end",
        }
    }

    const fn limit(self) -> usize {
        match self {
            Self::Head => HEAD_LIMIT,
            Self::Genesis => GENESIS_LIMIT,
            Self::Keys => KEYS_LIMIT,
            Self::Block => BLOCK_LIMIT,
            Self::End => END_BYTES,
        }
    }
}

/// A bundle's bytes, read in order; what was read is hashed.
struct Records<R> {
    path: PathBuf,
    bytes: R,
    hasher: blake3::Hasher,
    /// Bytes read so far.
    place: u64,
}

impl<R: Read> Records<R> {
    fn new(path: &Path, bytes: R) -> Self {
        Self {
            path: path.to_owned(),
            bytes,
            hasher: blake3::Hasher::new(),
            place: 0,
        }
    }

    fn fill(&mut self, part: &'static str, buffer: &mut [u8]) -> Result<(), BundleError> {
        let path = self.path.clone();
        self.bytes
            .read_exact(buffer)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => BundleError::Truncated { path, part },
                _ => BundleError::Io { path, source },
            })?;
        let read = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.place = self.place.saturating_add(read);
        Ok(())
    }

    fn magic(&mut self) -> Result<(), BundleError> {
        let mut found = [0; MAGIC.len()];
        match self.fill("first line", &mut found) {
            Err(BundleError::Truncated { path, .. }) => return Err(BundleError::Other(path)),
            other => other?,
        }
        self.hasher.update(&found);
        if found == MAGIC {
            Ok(())
        } else if found.starts_with(KIND) {
            Err(BundleError::OtherVersion(self.path.clone()))
        } else {
            Err(BundleError::Other(self.path.clone()))
        }
    }

    /// The length of the next record, which must be that part's.
    fn length(&mut self, part: Part) -> Result<usize, BundleError> {
        let mut frame = [0; 5];
        self.fill(part.name(), &mut frame)?;
        let (kind, length) = frame.split_first().unwrap_or((&0, &[]));
        if *kind != part.kind() {
            return Err(BundleError::Order {
                path: self.path.clone(),
                part: part.name(),
            });
        }
        if part != Part::End {
            self.hasher.update(&frame);
        }
        let length = length
            .first_chunk()
            .map_or(0, |one| u32::from_be_bytes(*one));
        match usize::try_from(length) {
            Ok(length) if length <= part.limit() => Ok(length),
            _ => Err(BundleError::TooLarge {
                path: self.path.clone(),
                part: part.name(),
                found: length.into(),
                most: part.limit(),
            }),
        }
    }

    /// The next record, which must be that part's, in memory.
    fn payload(&mut self, part: Part) -> Result<Vec<u8>, BundleError> {
        let length = self.length(part)?;
        let mut payload = Vec::new();
        // Room is taken as the bytes come: a length alone takes none.
        while payload.len() < length {
            let start = payload.len();
            payload.resize(length.min(start.saturating_add(STEP)), 0);
            let step = payload.get_mut(start..).unwrap_or_default();
            self.fill(part.name(), step)?;
        }
        if part != Part::End {
            self.hasher.update(&payload);
        }
        Ok(payload)
    }

    /// The next record, hashed and not kept.
    fn pass(&mut self, part: Part) -> Result<(), BundleError> {
        let mut rest = self.length(part)?;
        let mut buffer = [0; STEP];
        while rest > 0 {
            let step = buffer.get_mut(..rest.min(STEP)).unwrap_or_default();
            rest = rest.saturating_sub(step.len());
            self.fill(part.name(), step)?;
            self.hasher.update(step);
        }
        Ok(())
    }

    fn object<T: Serialize + for<'de> Deserialize<'de>>(
        &mut self,
        part: Part,
    ) -> Result<T, BundleError> {
        let payload = self.payload(part)?;
        decode(part.name(), &payload).map_err(|error: Undecodable| BundleError::Malformed {
            path: self.path.clone(),
            part: part.name(),
            reason: error.to_string(),
        })
    }

    /// The end: the digest of all before it, and nothing after it.
    fn end(&mut self) -> Result<[u8; 32], BundleError> {
        let found = *self.hasher.finalize().as_bytes();
        let digest = self.payload(Part::End)?;
        if digest != found {
            return Err(BundleError::Damaged(self.path.clone()));
        }
        let mut one = [0];
        match self.fill("end", &mut one) {
            Err(BundleError::Truncated { .. }) => Ok(found),
            Err(error) => Err(error),
            Ok(()) => Err(BundleError::Order {
                path: self.path.clone(),
                part: "last byte",
            }),
        }
    }
}

/// An opened bundle: its parts are in order, within their bounds, and its bytes are those of its
/// digest. What its blocks say is the audit's to find out.
pub struct Bundle {
    path: PathBuf,
    head: BundleHead,
    genesis: Genesis,
    keys: VerifyingKeys,
    digest: [u8; 32],
    first: u64,
    reader: Mutex<Reader>,
}

/// Where reading the blocks stands.
struct Reader {
    records: Records<BufReader<File>>,
    next: Height,
}

impl Bundle {
    /// Opens a bundle and reads through it once.
    ///
    /// # Errors
    /// A file that is no whole bundle.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let open = || -> io::Result<BufReader<File>> { Ok(BufReader::new(File::open(path)?)) };
        let file = || {
            open().map_err(|source| BundleError::Io {
                path: path.to_owned(),
                source,
            })
        };
        let mut records = Records::new(path, file()?);
        let (head, genesis, keys, first) = beginning(&mut records)?;
        let mut height = Height(0);
        while height < head.height {
            records.pass(Part::Block)?;
            height = height.after(Blocks(1));
        }
        let digest = records.end()?;
        Ok(Self {
            path: path.to_owned(),
            head,
            genesis,
            keys,
            digest,
            first,
            reader: Mutex::new(Reader {
                records: Records::new(path, file()?),
                // Before the first block, so that the first question looks for it.
                next: Height(0),
            }),
        })
    }

    /// Where it says the ledger stands.
    pub fn head(&self) -> &BundleHead {
        &self.head
    }

    /// Its genesis. Whoever audits it trusts its network's id, and nothing else.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Its verifying keys.
    pub fn verifying_keys(&self) -> &VerifyingKeys {
        &self.keys
    }

    /// BLAKE3 of all but its end.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The next blocks from `from` on.
    pub(super) fn blocks(&self, from: Height) -> Result<Vec<CertifiedBlock>, AuditError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.next != from {
            let place = SeekFrom::Start(self.first);
            let sought = reader.records.bytes.seek(place);
            sought.map_err(|source| BundleError::Io {
                path: self.path.clone(),
                source,
            })?;
            reader.next = Height(1);
            while reader.next < from {
                reader.records.pass(Part::Block)?;
                reader.next = reader.next.after(Blocks(1));
            }
        }
        let (mut blocks, mut size) = (Vec::new(), 0usize);
        while reader.next <= self.head.height
            && blocks.len() < MOST_BLOCKS
            && size < MOST_BLOCK_BYTES
        {
            let height = reader.next;
            let payload = reader.records.payload(Part::Block)?;
            match decode("block", &payload) {
                Ok(block) => blocks.push(block),
                // The blocks before it are replayed first: one of them may be worse.
                Err(_) if !blocks.is_empty() => {
                    reader.next = Height(0);
                    break;
                }
                Err(error) => {
                    return Err(Finding {
                        height,
                        message: None,
                        reason: error.to_string(),
                    }
                    .into());
                }
            }
            size = size.saturating_add(payload.len());
            reader.next = height.after(Blocks(1));
        }
        Ok(blocks)
    }
}

/// What comes before the blocks, and where these begin.
fn beginning<R: Read>(
    records: &mut Records<R>,
) -> Result<(BundleHead, Genesis, VerifyingKeys, u64), BundleError> {
    records.magic()?;
    let head: BundleHead = records.object(Part::Head)?;
    let genesis: Genesis = records.object(Part::Genesis)?;
    let found = genesis.network().map_err(|error| BundleError::Malformed {
        path: records.path.clone(),
        part: Part::Genesis.name(),
        reason: error.to_string(),
    })?;
    if found != head.network {
        return Err(BundleError::OtherGenesis {
            path: records.path.clone(),
            said: head.network,
            found,
        });
    }
    let keys = records.object(Part::Keys)?;
    Ok((head, genesis, keys, records.place))
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Where to.
    pub bundle: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of all but its end, in hexadecimal.
    pub digest: String,
    /// Where the ledger in it stands.
    pub head: BundleHead,
}

/// Writes a bundle's bytes and their digest.
struct Writer<W: Write> {
    file: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(written);
        Ok(())
    }

    fn record(&mut self, part: Part, payload: &[u8]) -> io::Result<()> {
        let too_long =
            || io::Error::other(format!("the {} are too long for a bundle", part.name()));
        let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
        if payload.len() > part.limit() {
            return Err(too_long());
        }
        self.put(&[part.kind()])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)
    }
}

/// Writes the ledger of `source`, as it stands now, to a new bundle.
///
/// # Errors
/// A ledger that cannot be read, or a file that cannot be written. Nothing is verified: that is what the
/// bundle is for.
pub async fn export(
    genesis: &Genesis,
    keys: &VerifyingKeys,
    source: &Source,
    path: &Path,
    watch: Watch,
) -> Result<Exported, AuditError> {
    let failed = |source| BundleError::Io {
        path: path.to_owned(),
        source,
    };
    let head = source.head(genesis).await?;
    let file = NewFile::create(path, 0o644).map_err(failed)?;
    let mut writer = Writer {
        file: BufWriter::new(file),
        hasher: blake3::Hasher::new(),
        bytes: 0,
    };
    writer.put(MAGIC).map_err(failed)?;
    for (part, payload) in [
        (Part::Head, encode(&head)?),
        (Part::Genesis, encode(genesis)?),
        (Part::Keys, encode(keys)?),
    ] {
        writer.record(part, &payload).map_err(failed)?;
    }
    let mut height = Height(0);
    while height < head.height {
        let blocks = source.blocks(height.after(Blocks(1)), head.height).await?;
        if blocks.is_empty() {
            return Err(Finding {
                height: height.after(Blocks(1)),
                message: None,
                reason: "the ledger does not have this block".into(),
            }
            .into());
        }
        for block in blocks {
            height = height.after(Blocks(1));
            writer
                .record(Part::Block, &encode(&block)?)
                .map_err(failed)?;
        }
        watch(Progress {
            height,
            head: head.height,
            proofs: 0,
        });
    }
    let digest = *writer.hasher.finalize().as_bytes();
    writer.record(Part::End, &digest).map_err(failed)?;
    let bytes = writer.bytes;
    let file = writer
        .file
        .into_inner()
        .map_err(io::IntoInnerError::into_error);
    file.and_then(NewFile::finish).map_err(failed)?;
    Ok(Exported {
        bundle: path.to_owned(),
        bytes,
        digest: hex::encode(digest),
        head,
    })
}
