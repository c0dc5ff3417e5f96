//! Reading stored bytes: any range of any content, from whatever k of its shards can be had,
//! through a small cache that reads ahead.

use crate::catalogue::ObjectRecord;
use crate::error::ClientError;
use crate::manifest::{Content, Extent, Kind, Manifest};
use crate::seal::Purpose;
use crate::session::Session;
use crate::stream::{CHUNK_BYTES, Chunks, Cipher, SEALED_CHUNK_BYTES};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::quote::STRIPE_COLUMN_BYTES;
use holdfast_market_core::state::{DealSet, DealStatus, Provider};
use holdfast_market_core::units::{ByteCount, PackId, ProviderId, ShardIndex};
use holdfast_wire::ledger::LedgerError;
use holdfast_wire::protocol::ByteRange;
use holdfast_wire::quic::Peers;
use holdfast_wire::transfer::{Fetcher, Purse, ShardSource};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Stripes that are fetched together; the unit of the cache.
const BLOCK_STRIPES: u64 = 8;
/// Ciphertext that is kept, at most.
const CACHE_BYTES: u64 = 32 << 20;
/// Blocks that are fetched ahead of a reader that goes forward.
const AHEAD: u64 = 2;
/// A provider that takes no connection in this time is asked last.
const GREETING: Duration = Duration::from_millis(1500);

/// One pack and where its shards may be read.
#[derive(Clone, Debug)]
struct Pack {
    header: PackHeader,
    sources: Vec<ShardSource>,
}

impl Pack {
    fn block_bytes(&self) -> u64 {
        u64::from(self.header.k.max(1)) * STRIPE_COLUMN_BYTES * BLOCK_STRIPES
    }
}

type Block = Arc<OnceCell<Bytes>>;

/// Blocks in memory, the one used last at the back.
#[derive(Default)]
struct Cache {
    blocks: BTreeMap<(usize, u64), Block>,
    order: VecDeque<(usize, u64)>,
}

impl Cache {
    fn get(&mut self, key: (usize, u64), limit: usize) -> Block {
        self.order.retain(|other| *other != key);
        self.order.push_back(key);
        while self.order.len() > limit {
            if let Some(old) = self.order.pop_front() {
                self.blocks.remove(&old);
            }
        }
        self.blocks.entry(key).or_default().clone()
    }
}

struct Shared {
    peers: Peers,
    purse: Arc<Purse>,
    packs: Vec<Pack>,
    /// Providers that failed: asked only where the others do not suffice.
    avoided: Mutex<BTreeSet<ProviderId>>,
    /// How they failed, the first of each.
    around: Mutex<BTreeMap<ProviderId, String>>,
    cache: Mutex<Cache>,
}

/// Reads the packs of one object.
#[derive(Clone)]
pub struct PackReader {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for PackReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackReader")
            .field("packs", &self.shared.packs.len())
            .finish_non_exhaustive()
    }
}

impl PackReader {
    /// Looks up where the packs' shards are, and who of their holders answers.
    ///
    /// # Errors
    /// A pack that the ledger does not know, or fewer than k holders that answer.
    pub async fn open(session: &Session, packs: &[PackId]) -> Result<Self, ClientError> {
        let mut sets = Vec::with_capacity(packs.len());
        for id in packs {
            let set = session.ledger().deal_set(*id).await;
            sets.push(set.map_err(|error| match error {
                LedgerError::NotFound(_) => ClientError::not_found(
                    format!("the ledger knows no deals for pack {id}"),
                    "run `holdfast status` to see how the object is",
                ),
                other => other.into(),
            })?);
        }
        Self::of_sets(session, sets).await
    }

    /// The same, for deal sets that are known already.
    ///
    /// # Errors
    /// As [`PackReader::open`].
    pub async fn of_sets(session: &Session, sets: Vec<DealSet>) -> Result<Self, ClientError> {
        let holders: BTreeSet<ProviderId> = sets
            .iter()
            .flat_map(|set| set.deals.iter().map(|deal| deal.provider))
            .collect();
        let mut providers = BTreeMap::new();
        for provider in session.ledger().providers().await? {
            if holders.contains(&provider.id) {
                providers.insert(provider.id, provider);
            }
        }
        let avoided = silent(session.peers(), &providers).await;
        let mut packs = Vec::with_capacity(sets.len());
        for set in sets {
            let pack = pack_of(set, &providers);
            let (needed, stored) = (usize::from(pack.header.k), pack.sources.len());
            if stored < needed {
                return Err(ClientError::failed(
                    format!(
                        "{stored} of the {} shards of a pack were never cancelled, and {needed} are needed",
                        pack.header.n
                    ),
                    "it cannot be read: store its source again",
                ));
            }
            let answering = pack
                .sources
                .iter()
                .filter(|source| !avoided.contains(&source.provider));
            let count = answering.count();
            if count < needed {
                return Err(ClientError::failed(
                    format!(
                        "{count} of the {stored} providers that hold it answer, and {needed} are needed"
                    ),
                    "try again when more of them are up; `holdfast status` names them",
                ));
            }
            packs.push(pack);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                peers: session.peers().clone(),
                purse: session.purse().clone(),
                packs,
                avoided: Mutex::new(avoided),
                around: Mutex::default(),
                cache: Mutex::default(),
            }),
        })
    }

    /// Who failed or lied so far, in sentences; what was read went around them.
    pub fn around(&self) -> Vec<String> {
        lock(&self.shared.around).values().cloned().collect()
    }

    /// Bytes of one pack's ciphertext.
    pub fn pack_length(&self, pack: usize) -> Option<ByteCount> {
        Some(self.shared.packs.get(pack)?.header.length)
    }

    /// Reads sealed bytes of a pack, verified against the roots on the ledger.
    ///
    /// # Errors
    /// A range outside the pack, or fewer than k shards that can be read.
    pub async fn read(&self, pack: usize, range: ByteRange) -> Result<Vec<u8>, ClientError> {
        let outside = || {
            ClientError::failed(
                "the manifest names bytes that its packs do not have",
                "this object cannot be read; run `holdfast status`",
            )
        };
        let entry = self.shared.packs.get(pack).ok_or_else(outside)?;
        if range.start > range.end || range.end > entry.header.length.0 {
            return Err(outside());
        }
        let block_bytes = entry.block_bytes();
        let mut bytes = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let number = at / block_bytes;
            let block = self.block(pack, number).await?;
            let start = number.saturating_mul(block_bytes);
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let to = usize::try_from(range.end - start).unwrap_or(usize::MAX);
            let part = block.get(from..to.min(block.len())).unwrap_or_default();
            if part.is_empty() {
                return Err(outside());
            }
            bytes.extend_from_slice(part);
            at = at.saturating_add(part.len() as u64);
        }
        Ok(bytes)
    }

    /// Fetches the blocks after a range in the background, as far as the cache allows.
    pub fn read_ahead(&self, pack: usize, after: u64) {
        let Some(entry) = self.shared.packs.get(pack) else {
            return;
        };
        let block_bytes = entry.block_bytes();
        let next = after.div_ceil(block_bytes);
        let blocks = entry.header.length.0.div_ceil(block_bytes);
        for number in next..next.saturating_add(AHEAD).min(blocks) {
            let reader = self.clone();
            tokio::spawn(async move {
                // Whoever needs the block asks again and gets the error.
                let _ = reader.block(pack, number).await;
            });
        }
    }

    async fn block(&self, pack: usize, number: u64) -> Result<Bytes, ClientError> {
        let Some(entry) = self.shared.packs.get(pack) else {
            return Ok(Bytes::new());
        };
        let block_bytes = entry.block_bytes();
        let limit = usize::try_from(CACHE_BYTES / block_bytes)
            .unwrap_or(1)
            .max(4);
        let cell = lock(&self.shared.cache).get((pack, number), limit);
        let start = number.saturating_mul(block_bytes);
        let range = ByteRange {
            start,
            end: start.saturating_add(block_bytes).min(entry.header.length.0),
        };
        let block = cell.get_or_try_init(|| self.fetch(entry, range)).await?;
        Ok(block.clone())
    }

    async fn fetch(&self, pack: &Pack, range: ByteRange) -> Result<Bytes, ClientError> {
        let avoided = lock(&self.shared.avoided).clone();
        let mut sources = pack.sources.clone();
        sources.retain(|source| !avoided.contains(&source.provider));
        if sources.len() < usize::from(pack.header.k) {
            sources.clone_from(&pack.sources);
        }
        let mut bytes = self.try_fetch(pack, sources.clone(), range).await;
        if bytes.is_err() && sources.len() < pack.sources.len() {
            bytes = self.try_fetch(pack, pack.sources.clone(), range).await;
        }
        bytes
    }

    async fn try_fetch(
        &self,
        pack: &Pack,
        sources: Vec<ShardSource>,
        range: ByteRange,
    ) -> Result<Bytes, ClientError> {
        let failed = |error: holdfast_wire::transfer::FetchError| {
            ClientError::failed(
                format!("the bytes cannot be had now: {error}"),
                "try again when more providers are up; `holdfast status` names them",
            )
        };
        let shared = &self.shared;
        let purse = Some(shared.purse.clone());
        let fetcher = Fetcher::new(&shared.peers, purse, &pack.header, sources, range);
        let mut fetcher = fetcher.map_err(failed)?;
        let read = fetcher.read_all().await;
        for fault in fetcher.faults() {
            tracing::info!(%fault, "went around a provider");
            lock(&self.shared.around)
                .entry(fault.provider)
                .or_insert_with(|| fault.to_string());
            lock(&self.shared.avoided).insert(fault.provider);
        }
        read.map(Bytes::from).map_err(failed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who of them takes no connection at once.
async fn silent(peers: &Peers, providers: &BTreeMap<ProviderId, Provider>) -> BTreeSet<ProviderId> {
    let asked = providers.values().map(|provider| async move {
        let offer = &provider.offer;
        let greeting = peers.connect(&offer.endpoint, offer.node);
        match tokio::time::timeout(GREETING, greeting).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) | Err(_) => Some(provider.id),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn pack_of(set: DealSet, providers: &BTreeMap<ProviderId, Provider>) -> Pack {
    let sources = (0..=u8::MAX)
        .zip(&set.deals)
        .filter(|(_, deal)| deal.status != DealStatus::Cancelled)
        .filter_map(|(shard, deal)| {
            let provider = providers.get(&deal.provider)?;
            Some(ShardSource {
                shard: ShardIndex(shard),
                provider: provider.id,
                node: provider.offer.node,
                endpoint: provider.offer.endpoint.clone(),
            })
        })
        .collect();
    Pack {
        header: set.proposal.pack,
        sources,
    }
}

/// Opens one content chunk by chunk.
pub struct ContentReader {
    reader: PackReader,
    cipher: Cipher,
    extents: Vec<Extent>,
}

impl ContentReader {
    /// A content of `size` plain bytes in the packs of `reader`.
    ///
    /// # Errors
    /// Extents that are not those of such a content.
    pub fn new(
        reader: PackReader,
        content: &Content,
        size: ByteCount,
    ) -> Result<Self, ClientError> {
        let chunks = Chunks::of(size)?;
        crate::manifest::check_extents(chunks, &content.extents)
            .map_err(|reason| crate::manifest::ManifestError::Malformed(reason.into()))?;
        Ok(Self {
            reader,
            cipher: Cipher::new(&content.key, chunks)?,
            extents: content.extents.clone(),
        })
    }

    /// How the content lies in chunks.
    pub const fn chunks(&self) -> Chunks {
        self.cipher.chunks()
    }

    /// The plain bytes of one chunk.
    ///
    /// # Errors
    /// Bytes that cannot be had, or were not sealed as this chunk.
    pub async fn chunk(&self, chunk: u64) -> Result<Vec<u8>, ClientError> {
        let (pack, range) = self.locate(chunk).ok_or_else(|| {
            ClientError::failed(
                "the manifest does not say where a part of this file lies",
                "this object cannot be read; run `holdfast status`",
            )
        })?;
        let mut sealed = self.reader.read(pack, range).await?;
        Ok(self.cipher.open(chunk, &mut sealed)?.to_vec())
    }

    /// Plain bytes from `offset` on, at most `length` of them, fewer at the end. What follows is
    /// fetched ahead.
    ///
    /// # Errors
    /// As [`ContentReader::chunk`].
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, ClientError> {
        let size = self.chunks().plain_length().0;
        let end = offset.saturating_add(length as u64).min(size);
        let mut plain = Vec::new();
        let mut at = offset;
        while at < end {
            let number = at / CHUNK_BYTES as u64;
            let start = number.saturating_mul(CHUNK_BYTES as u64);
            let chunk = self.chunk(number).await?;
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let to = usize::try_from(end - start).unwrap_or(usize::MAX);
            let part = chunk.get(from..to.min(chunk.len())).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            plain.extend_from_slice(part);
            at = at.saturating_add(part.len() as u64);
        }
        if let Some((pack, range)) = self.locate(at / CHUNK_BYTES as u64) {
            self.reader.read_ahead(pack, range.start);
        }
        Ok(plain)
    }

    /// In which pack a chunk lies, and where there.
    fn locate(&self, chunk: u64) -> Option<(usize, ByteRange)> {
        if chunk >= self.chunks().count() {
            return None;
        }
        let full = SEALED_CHUNK_BYTES as u64;
        let mut start = chunk.checked_mul(full)?;
        for extent in &self.extents {
            if start < extent.length.0 {
                let offset = extent.offset.0.checked_add(start)?;
                let end = extent.offset.0.checked_add(extent.length.0)?;
                let range = ByteRange {
                    start: offset,
                    end: offset.checked_add(full)?.min(end),
                };
                return Some((usize::try_from(extent.pack).ok()?, range));
            }
            start = start.checked_sub(extent.length.0)?;
        }
        None
    }
}

/// A stored object, opened: its manifest, and a reader of its packs.
#[derive(Debug)]
pub struct OpenObject {
    /// What is in it.
    pub manifest: Manifest,
    /// Reads its packs.
    pub reader: PackReader,
}

impl OpenObject {
    /// Opens an object of the catalogue: fetches and decrypts its manifest.
    ///
    /// # Errors
    /// Providers or bytes that cannot be had; a manifest that is not the wallet's.
    pub async fn open(session: &Session, record: &ObjectRecord) -> Result<Self, ClientError> {
        let packs: Vec<PackId> = record.packs.iter().flatten().copied().collect();
        let reader = PackReader::open(session, &packs).await?;
        let key = session
            .wallet()
            .wrapping_key()
            .unwrap(Purpose::Manifest, &record.manifest_key)?;
        let content = Content {
            key,
            extents: record.manifest.clone(),
        };
        let manifest = ContentReader::new(reader.clone(), &content, record.manifest_length)?;
        let mut plain = Vec::new();
        for chunk in 0..manifest.chunks().count() {
            plain.extend_from_slice(&manifest.chunk(chunk).await?);
        }
        Ok(Self {
            manifest: Manifest::decode(&plain)?,
            reader,
        })
    }

    /// A reader of one file's content; nothing where the entry has no bytes.
    ///
    /// # Errors
    /// Extents that are not those of such a file.
    pub fn content(&self, index: usize) -> Result<Option<ContentReader>, ClientError> {
        match self.manifest.entries().get(index).map(|entry| &entry.kind) {
            Some(Kind::File {
                size,
                content: Some(content),
            }) => ContentReader::new(self.reader.clone(), content, *size).map(Some),
            _ => Ok(None),
        }
    }
}
