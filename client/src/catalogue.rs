//! What a wallet has stored: the list of its objects, in the wallet's folder and, sealed, in the
//! network itself under the wallet's name, so that the phrase alone finds everything again.

use crate::manifest::Extent;
use crate::seal::{Purpose, SealError, WrappedKey, WrappingKey};
use crate::versioned::{self, Unreadable};
use cid::Cid;
use cid::multihash::Multihash;
use holdfast_market_core::message::encode;
use holdfast_market_core::units::{ByteCount, PackId};
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The label of the ledger name that points at a wallet's catalogue.
pub const CATALOGUE_LABEL: &str = "catalogue";
/// The most that a catalogue may take, sealed.
pub const CATALOGUE_LIMIT: ByteCount = ByteCount(32 << 20);
/// Bytes at the end of a catalogue block that say how long it is.
pub const BLOCK_LENGTH_BYTES: usize = 4;

const CATALOGUE_VERSION: u32 = 1;
/// Multicodec numbers: raw bytes, BLAKE3.
const RAW: u64 = 0x55;
const BLAKE3: u64 = 0x1e;

/// An object's name everywhere: the CIDv1 (raw, BLAKE3) of its sealed manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// The id of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest in it.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.cid().map_or_else(Vec::new, |cid| cid.to_bytes())
    }

    /// Reads the binary form, and no other bytes of the same meaning.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // The library leaves what follows a CID unread.
        Self::from_cid(&Cid::try_from(bytes).ok()?).filter(|id| id.to_bytes() == bytes)
    }

    /// Reads the text form, and no other text of the same meaning: an object has one name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::from_cid(&Cid::try_from(text).ok()?).filter(|id| id.to_string() == text)
    }

    fn from_cid(cid: &Cid) -> Option<Self> {
        let ours = cid.codec() == RAW && cid.hash().code() == BLAKE3;
        let digest = cid.hash().digest().try_into().ok()?;
        ours.then_some(Self(digest))
    }

    fn cid(&self) -> Option<Cid> {
        // Thirty-two bytes always fit into a multihash of sixty-four.
        let hash = Multihash::wrap(BLAKE3, &self.0).ok()?;
        Some(Cid::new_v1(RAW, hash))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cid() {
            Some(cid) => cid.fmt(f),
            None => f.write_str("(no CID)"),
        }
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            holdfast_proofs::bytes::serialize_fixed(&self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::from_text(&text).ok_or_else(|| serde::de::Error::custom("not an object id"))
        } else {
            holdfast_proofs::bytes::deserialize_fixed(deserializer).map(Self)
        }
    }
}

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Its id.
    pub id: ObjectId,
    /// What its owner calls it.
    pub name: String,
    /// Whether it is a folder.
    pub directory: bool,
    /// How many files it has.
    pub files: u64,
    /// Their plain bytes.
    pub bytes: ByteCount,
    /// When it was stored, in seconds since the Unix epoch by this machine's clock.
    pub stored: u64,
    /// Shards that suffice.
    pub data_shards: u8,
    /// Shards in all.
    pub total_shards: u8,
    /// Its packs, in the order in which extents number them. None, in a published catalogue
    /// only, is the pack that the catalogue itself lies in (its id depends on these bytes).
    pub packs: Vec<Option<PackId>>,
    /// The key of its manifest, wrapped under the wallet's seed.
    pub manifest_key: WrappedKey,
    /// Plain bytes of its manifest.
    pub manifest_length: ByteCount,
    /// Where its manifest lies.
    pub manifest: Vec<Extent>,
}

/// All objects of a wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    version: u32,
    /// The ledger name's version that this state was published as, or was read from; 0 before.
    pub published: u64,
    /// By name.
    objects: Vec<ObjectRecord>,
}

/// A catalogue that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not ours or changed.
    #[error("the catalogue cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// Not the encoding of one.
    #[error("the catalogue cannot be read: {0}")]
    Malformed(String),
    /// Of a later program.
    #[error("the catalogue has version {0}; this program reads version 1, use a newer one")]
    Version(u32),
    /// Larger than is read.
    #[error("the list of what is stored takes {} and may take 32 MiB", crate::words::size(*.0))]
    TooLarge(ByteCount),
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            version: CATALOGUE_VERSION,
            published: 0,
            objects: Vec::new(),
        }
    }
}

impl Catalogue {
    /// The objects, by name.
    pub fn objects(&self) -> &[ObjectRecord] {
        &self.objects
    }

    /// The object of a name or an id.
    pub fn find(&self, name: &str) -> Option<&ObjectRecord> {
        let by_name = self.objects.iter().find(|object| object.name == name);
        by_name.or_else(|| {
            let id = ObjectId::from_text(name)?;
            self.objects.iter().find(|object| object.id == id)
        })
    }

    /// The time at which the next object is stored: the clock's, but after everything in here, so
    /// that a clock that was set back does not make an object older than the one that it replaces.
    pub fn next_moment(&self, clock: u64) -> u64 {
        let last = self.objects.iter().map(|object| object.stored).max();
        last.map_or(clock, |last| clock.max(last.saturating_add(1)))
    }

    /// Adds an object; one of the same name is forgotten.
    pub fn insert(&mut self, record: ObjectRecord) {
        self.objects.retain(|object| object.name != record.name);
        self.objects.push(record);
        self.objects.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Takes over what another state of this catalogue has and this one has not; where both have
    /// a name, the one stored later stays.
    pub fn merge(&mut self, other: Self) {
        self.published = self.published.max(other.published);
        for record in other.objects {
            let ours = self
                .objects
                .iter()
                .find(|object| object.name == record.name);
            if ours.is_none_or(|ours| ours.stored < record.stored) {
                self.insert(record);
            }
        }
    }

    /// Seals the catalogue as the block that lies at the end of a pack: sealed bytes, then their
    /// length, so that whoever knows the pack finds the block.
    ///
    /// # Errors
    /// A catalogue that is too large.
    pub fn to_block(
        &self,
        key: &WrappingKey,
        randomness: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, CatalogueError> {
        let plain = encode(self).map_err(|error| CatalogueError::Malformed(error.to_string()))?;
        let mut block = key.seal_block(Purpose::Catalogue, &plain, randomness)?;
        let length = u32::try_from(block.len())
            .ok()
            .filter(|length| u64::from(*length) <= CATALOGUE_LIMIT.0)
            .ok_or(CatalogueError::TooLarge(ByteCount(block.len() as u64)))?;
        block.extend_from_slice(&length.to_le_bytes());
        Ok(block)
    }

    /// How long the block at the end of a pack is, by its last bytes.
    ///
    /// # Errors
    /// No length there, or one beyond the limit.
    pub fn block_length(end: &[u8]) -> Result<ByteCount, CatalogueError> {
        let length = end
            .last_chunk::<BLOCK_LENGTH_BYTES>()
            .map(|bytes| u64::from(u32::from_le_bytes(*bytes)))
            .ok_or_else(|| CatalogueError::Malformed("it is cut short".into()))?;
        if length > CATALOGUE_LIMIT.0 {
            return Err(CatalogueError::TooLarge(ByteCount(length)));
        }
        Ok(ByteCount(length + BLOCK_LENGTH_BYTES as u64))
    }

    /// Opens a block from the end of `pack`.
    ///
    /// # Errors
    /// Another wallet's block, a changed one, or no catalogue in it.
    pub fn from_block(
        key: &WrappingKey,
        block: &[u8],
        pack: PackId,
    ) -> Result<Self, CatalogueError> {
        let (sealed, _) = block
            .split_last_chunk::<BLOCK_LENGTH_BYTES>()
            .ok_or_else(|| CatalogueError::Malformed("it is cut short".into()))?;
        if Self::block_length(block)?.0 != block.len() as u64 {
            return Err(CatalogueError::Malformed(
                "it states another length than it has".into(),
            ));
        }
        let mut catalogue = Self::open(key, sealed)?;
        for object in &mut catalogue.objects {
            for id in &mut object.packs {
                id.get_or_insert(pack);
            }
        }
        Ok(catalogue)
    }

    /// Seals the catalogue for the wallet's folder.
    ///
    /// # Errors
    /// Those of the encoding.
    pub fn seal(
        &self,
        key: &WrappingKey,
        randomness: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, CatalogueError> {
        let plain = encode(self).map_err(|error| CatalogueError::Malformed(error.to_string()))?;
        Ok(key.seal_block(Purpose::Catalogue, &plain, randomness)?)
    }

    /// Opens what [`Catalogue::seal`] wrote.
    ///
    /// # Errors
    /// Another wallet's, changed, or no catalogue.
    pub fn open(key: &WrappingKey, sealed: &[u8]) -> Result<Self, CatalogueError> {
        let plain = key.open_block(Purpose::Catalogue, sealed)?;
        let catalogue: Self = versioned::read("catalogue", CATALOGUE_VERSION, &plain).map_err(
            |error| match error {
                Unreadable::Version(version) => CatalogueError::Version(version),
                Unreadable::Malformed(reason) => CatalogueError::Malformed(reason),
            },
        )?;
        let in_order = |one: &ObjectRecord, next: &ObjectRecord| one.name < next.name;
        if !catalogue.objects.is_sorted_by(in_order) {
            return Err(CatalogueError::Malformed(
                "a name stands in it twice or out of order".into(),
            ));
        }
        Ok(catalogue)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use rand::thread_rng;

    pub(crate) fn record(name: &str, stored: u64, packs: Vec<Option<PackId>>) -> ObjectRecord {
        ObjectRecord {
            id: ObjectId::of(name.as_bytes()),
            name: name.into(),
            directory: false,
            files: 1,
            bytes: ByteCount(5),
            stored,
            data_shards: 3,
            total_shards: 6,
            packs,
            manifest_key: WrappedKey([1; 67]),
            manifest_length: ByteCount(9),
            manifest: Vec::new(),
        }
    }

    #[test]
    fn an_id_reads_back_from_text_and_bytes_and_other_cids_are_refused() {
        let id = ObjectId::of(b"manifest");
        assert_eq!(ObjectId::from_text(&id.to_string()), Some(id));
        assert_eq!(ObjectId::from_bytes(&id.to_bytes()), Some(id));
        assert!(id.to_bytes().len() <= 64);
        assert!(id.to_string().starts_with("bafkr4i"));
        // The CID of an IPFS folder: sha2-256, dag-pb.
        let other = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
        assert_eq!(ObjectId::from_text(other), None);
        assert_eq!(ObjectId::from_text(""), None);
    }

    #[test]
    fn an_object_has_one_name() {
        let id = ObjectId::of(b"manifest");
        let longer = [id.to_bytes().as_slice(), &[0]].concat();
        assert_eq!(ObjectId::from_bytes(&longer), None);
        let upper = id.cid().unwrap();
        let upper = upper
            .to_string_of_base(cid::multibase::Base::Base32Upper)
            .unwrap();
        let path = format!("/ipfs/{id}");
        for other in [upper, path, format!("{id}aaaa"), format!("{id} ")] {
            assert_eq!(ObjectId::from_text(&other), None, "{other}");
        }
    }

    #[test]
    fn a_block_that_states_another_length_than_it_has_is_refused() {
        let key = WrappingKey::of_secret([1; 32]);
        let mut block = Catalogue::default()
            .to_block(&key, &mut thread_rng())
            .unwrap();
        let pack = PackId([4; 32]);
        assert!(Catalogue::from_block(&key, &block, pack).is_ok());
        let last = block.len() - BLOCK_LENGTH_BYTES;
        block[last] ^= 1;
        assert!(matches!(
            Catalogue::from_block(&key, &block, pack),
            Err(CatalogueError::Malformed(_))
        ));
    }

    #[test]
    fn a_catalogue_out_of_order_or_of_a_later_program_is_refused() {
        let key = WrappingKey::of_secret([1; 32]);
        let open = |catalogue: &Catalogue| {
            let sealed = catalogue.seal(&key, &mut thread_rng()).unwrap();
            Catalogue::open(&key, &sealed)
        };
        let mut catalogue = Catalogue::default();
        catalogue.insert(record("a", 1, vec![]));
        catalogue.insert(record("b", 1, vec![]));
        assert_eq!(open(&catalogue).as_ref(), Ok(&catalogue));
        catalogue.objects.swap(0, 1);
        assert!(matches!(
            open(&catalogue),
            Err(CatalogueError::Malformed(_))
        ));
        catalogue.version = 2;
        assert_eq!(open(&catalogue), Err(CatalogueError::Version(2)));
    }

    #[test]
    fn a_published_block_names_the_pack_that_it_lies_in() {
        let key = WrappingKey::of_secret([1; 32]);
        let mut catalogue = Catalogue::default();
        let before = PackId([3; 32]);
        catalogue.insert(record("a", 1, vec![Some(before), None]));
        let block = catalogue.to_block(&key, &mut thread_rng()).unwrap();
        let mut pack = vec![0xaa; 1000];
        pack.extend_from_slice(&block);
        let length = Catalogue::block_length(&pack).unwrap();
        assert_eq!(length.0, block.len() as u64);
        let here = PackId([4; 32]);
        let read = Catalogue::from_block(&key, &block, here).unwrap();
        assert_eq!(read.objects()[0].packs, [Some(before), Some(here)]);
        let other = WrappingKey::of_secret([2; 32]);
        assert!(Catalogue::from_block(&other, &block, here).is_err());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        assert!(matches!(
            Catalogue::block_length(&[0xff; 4]),
            Err(CatalogueError::TooLarge(_))
        ));
        assert!(Catalogue::block_length(&[1, 2]).is_err());
    }

    #[test]
    fn what_replaces_an_object_wins_every_merge_though_the_clock_was_set_back_an_hour() {
        let mut elsewhere = Catalogue::default();
        elsewhere.insert(record("a", 10_000, vec![]));
        let mut here = elsewhere.clone();
        let packs = vec![Some(PackId([9; 32]))];
        let stored = here.next_moment(10_000 - 3600);
        here.insert(record("a", stored, packs.clone()));
        here.published = 2;
        elsewhere.merge(here);
        assert_eq!(elsewhere.find("a").unwrap().packs, packs);
        assert_eq!(Catalogue::default().next_moment(7), 7);
    }

    #[test]
    fn merging_keeps_the_later_of_two_and_loses_nothing() {
        let mut ours = Catalogue::default();
        ours.insert(record("a", 5, vec![Some(PackId([1; 32]))]));
        ours.insert(record("b", 1, vec![]));
        let mut theirs = Catalogue {
            published: 7,
            ..Catalogue::default()
        };
        theirs.insert(record("a", 4, vec![]));
        theirs.insert(record("b", 2, vec![Some(PackId([2; 32]))]));
        theirs.insert(record("c", 1, vec![]));
        ours.merge(theirs);
        assert_eq!(ours.published, 7);
        let names: Vec<&str> = ours.objects().iter().map(|object| &*object.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(ours.find("a").unwrap().stored, 5);
        assert_eq!(ours.find("b").unwrap().packs.len(), 1);
        let id = ours.find("c").unwrap().id.to_string();
        assert_eq!(ours.find(&id).unwrap().name, "c");
    }
}
