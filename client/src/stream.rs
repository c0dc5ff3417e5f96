//! Encryption of one content: AES-256-GCM in a STREAM construction.
//!
//! The plain bytes are cut into chunks of 64 KiB; chunk i is sealed under the nonce
//! `prefix (7 bytes) | i (4 bytes, big-endian) | last (1 byte)`. A chunk that is moved, lost, cut
//! or flipped does not open, and each opens alone, so a range costs no more than its chunks
//! (Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015). Key and prefix are random and serve
//! for one content only.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_market_core::units::ByteCount;
use rand::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Plain bytes of a chunk; the last may be shorter.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// What sealing adds to a chunk.
pub const TAG_BYTES: usize = 16;
/// Sealed bytes of a full chunk.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes of a content key: 32 of AES-256, 7 of the nonce prefix.
pub const KEY_BYTES: usize = 39;

/// The key of one content: an AES-256 key and a nonce prefix, random, used once.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ContentKey([u8; KEY_BYTES]);

impl ContentKey {
    /// A new key from `randomness`.
    pub fn random(randomness: &mut (impl RngCore + rand::CryptoRng)) -> Self {
        let mut bytes = [0; KEY_BYTES];
        randomness.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// A key from its bytes.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes: secret.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// A key is never printed.
impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(secret)")
    }
}

impl Serialize for ContentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        holdfast_proofs::bytes::serialize_fixed(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for ContentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        holdfast_proofs::bytes::deserialize_fixed(deserializer).map(Self)
    }
}

/// Sealed bytes that are not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The tag does not fit: other bytes, another place, another key.
    #[error(
        "chunk {0} of the encrypted content is not what was stored: it was changed, moved or cut"
    )]
    Forged(u64),
    /// Longer than the counter of the construction reaches.
    #[error("a content of {} is more than one stream holds", crate::words::size(*.0))]
    TooLong(ByteCount),
    /// Not as many bytes as the chunk has.
    #[error("chunk {chunk} of the encrypted content has {found} bytes instead of {expected}")]
    Length {
        /// Which chunk.
        chunk: u64,
        /// What it has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
}

/// How a content of one length lies in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    plain: u64,
}

impl Chunks {
    /// The chunks of a content of `plain` bytes.
    ///
    /// # Errors
    /// More chunks than the counter has numbers.
    pub fn of(plain: ByteCount) -> Result<Self, StreamError> {
        let chunks = Self { plain: plain.0 };
        if chunks.count() > u64::from(u32::MAX) {
            return Err(StreamError::TooLong(plain));
        }
        Ok(chunks)
    }

    /// The chunks of a content whose sealed form has `sealed` bytes; none where no content has
    /// such a sealed form.
    pub fn of_sealed(sealed: ByteCount) -> Option<Self> {
        let full = SEALED_CHUNK_BYTES as u64;
        let count = sealed.0.div_ceil(full).max(1);
        let plain = sealed.0.checked_sub(count.checked_mul(TAG_BYTES as u64)?)?;
        let chunks = Self::of(ByteCount(plain)).ok()?;
        (chunks.sealed_length() == sealed).then_some(chunks)
    }

    /// How many there are; an empty content has one, which is empty.
    pub const fn count(&self) -> u64 {
        let count = self.plain.div_ceil(CHUNK_BYTES as u64);
        if count == 0 { 1 } else { count }
    }

    /// Plain bytes in all.
    pub const fn plain_length(&self) -> ByteCount {
        ByteCount(self.plain)
    }

    /// Sealed bytes in all. (At most 2^32 chunks of 64 KiB: it does not overflow.)
    pub const fn sealed_length(&self) -> ByteCount {
        ByteCount(self.plain + self.count() * TAG_BYTES as u64)
    }

    /// Plain bytes of one chunk; nothing beyond the last.
    pub fn plain_bytes(&self, chunk: u64) -> usize {
        let start = chunk.saturating_mul(CHUNK_BYTES as u64);
        let rest = self.plain.saturating_sub(start);
        usize::try_from(rest).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES))
    }

    /// Whether it is the last.
    pub const fn is_last(&self, chunk: u64) -> bool {
        chunk + 1 == self.count()
    }
}

/// Seals and opens the chunks of one content.
pub struct Cipher {
    key: LessSafeKey,
    prefix: [u8; 7],
    chunks: Chunks,
}

impl Cipher {
    /// The cipher of a content of these chunks under its key.
    ///
    /// # Errors
    /// A key that the cipher does not take (never, for 32 bytes).
    pub fn new(key: &ContentKey, chunks: Chunks) -> Result<Self, StreamError> {
        let (secret, rest) = key.0.split_at(32);
        let mut prefix = [0; 7];
        prefix.copy_from_slice(rest);
        let unbound = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| StreamError::Forged(0))?;
        Ok(Self {
            key: LessSafeKey::new(unbound),
            prefix,
            chunks,
        })
    }

    /// How the content lies in chunks.
    pub const fn chunks(&self) -> Chunks {
        self.chunks
    }

    fn nonce(&self, chunk: u64) -> Result<Nonce, StreamError> {
        let counter = u32::try_from(chunk).map_err(|_| StreamError::TooLong(ByteCount(chunk)))?;
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(7);
        prefix.copy_from_slice(&self.prefix);
        let (count, last) = rest.split_at_mut(4);
        count.copy_from_slice(&counter.to_be_bytes());
        last.fill(u8::from(self.chunks.is_last(chunk)));
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Seals one chunk and appends it to `sealed`. A chunk is sealed for one plain text only:
    /// whoever calls this twice for a chunk does so with the same bytes.
    ///
    /// # Errors
    /// Not the chunk's number of bytes.
    pub fn seal(&self, chunk: u64, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), StreamError> {
        let expected = self.chunks.plain_bytes(chunk);
        if plain.len() != expected || chunk >= self.chunks.count() {
            return Err(StreamError::Length {
                chunk,
                found: plain.len(),
                expected,
            });
        }
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(start..).unwrap_or_default();
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(chunk)?, Aad::empty(), body)
            .map_err(|_| StreamError::Forged(chunk))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens one chunk in place and answers its plain bytes.
    ///
    /// # Errors
    /// Another length, or bytes that were not sealed as this chunk.
    pub fn open<'a>(&self, chunk: u64, sealed: &'a mut [u8]) -> Result<&'a [u8], StreamError> {
        let expected = self.chunks.plain_bytes(chunk) + TAG_BYTES;
        if sealed.len() != expected || chunk >= self.chunks.count() {
            return Err(StreamError::Length {
                chunk,
                found: sealed.len(),
                expected,
            });
        }
        let plain = self
            .key
            .open_in_place(self.nonce(chunk)?, Aad::empty(), sealed)
            .map_err(|_| StreamError::Forged(chunk))?;
        Ok(plain)
    }
}

/// Seals a content that is held in memory.
///
/// # Errors
/// A content beyond the counter.
pub fn seal_all(key: &ContentKey, plain: &[u8]) -> Result<Vec<u8>, StreamError> {
    let chunks = Chunks::of(ByteCount(plain.len() as u64))?;
    let cipher = Cipher::new(key, chunks)?;
    let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
    if plain.is_empty() {
        cipher.seal(0, plain, &mut sealed)?;
    }
    for (chunk, part) in (0..).zip(plain.chunks(CHUNK_BYTES)) {
        cipher.seal(chunk, part, &mut sealed)?;
    }
    Ok(sealed)
}

/// Opens a content that is held in memory, whole.
///
/// # Errors
/// Anything but what [`seal_all`] wrote under this key.
pub fn open_all(key: &ContentKey, sealed: &[u8]) -> Result<Vec<u8>, StreamError> {
    let chunks = Chunks::of_sealed(ByteCount(sealed.len() as u64)).ok_or(StreamError::Forged(0))?;
    let cipher = Cipher::new(key, chunks)?;
    let mut plain = Vec::with_capacity(sealed.len());
    for (chunk, part) in (0..).zip(sealed.chunks(SEALED_CHUNK_BYTES)) {
        plain.extend_from_slice(cipher.open(chunk, &mut part.to_vec())?);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use proptest::prelude::*;

    fn key() -> ContentKey {
        ContentKey::random(&mut rand::thread_rng())
    }

    fn plain(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    #[test]
    fn every_length_around_a_chunk_comes_back() {
        let key = key();
        for length in [
            0,
            1,
            127,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            3 * CHUNK_BYTES,
        ] {
            let sealed = seal_all(&key, &plain(length)).unwrap();
            let chunks = Chunks::of(ByteCount(length as u64)).unwrap();
            assert_eq!(chunks.sealed_length().0, sealed.len() as u64);
            assert_eq!(Chunks::of_sealed(chunks.sealed_length()), Some(chunks));
            assert_eq!(open_all(&key, &sealed).unwrap(), plain(length));
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_in_its_own_chunk() {
        let key = key();
        let sealed = seal_all(&key, &plain(2 * CHUNK_BYTES + 5)).unwrap();
        for (at, chunk) in [
            (0, 0),
            (CHUNK_BYTES, 0),
            (SEALED_CHUNK_BYTES + 9, 1),
            (sealed.len() - 1, 2),
        ] {
            let mut changed = sealed.clone();
            changed[at] ^= 4;
            assert_eq!(open_all(&key, &changed), Err(StreamError::Forged(chunk)));
        }
    }

    #[test]
    fn a_cut_anywhere_is_refused() {
        let key = key();
        let sealed = seal_all(&key, &plain(2 * CHUNK_BYTES + 5)).unwrap();
        for length in [0, 15, 16, SEALED_CHUNK_BYTES - 1, sealed.len() - 1] {
            assert!(open_all(&key, &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_last_chunk_missing_is_refused_though_every_other_is_whole() {
        let key = key();
        let sealed = seal_all(&key, &plain(3 * CHUNK_BYTES)).unwrap();
        assert_eq!(
            open_all(&key, &sealed[..2 * SEALED_CHUNK_BYTES]),
            Err(StreamError::Forged(1))
        );
    }

    #[test]
    fn chunks_in_another_order_are_refused() {
        let key = key();
        let sealed = seal_all(&key, &plain(3 * CHUNK_BYTES)).unwrap();
        let mut swapped = sealed[SEALED_CHUNK_BYTES..2 * SEALED_CHUNK_BYTES].to_vec();
        swapped.extend_from_slice(&sealed[..SEALED_CHUNK_BYTES]);
        swapped.extend_from_slice(&sealed[2 * SEALED_CHUNK_BYTES..]);
        assert_eq!(open_all(&key, &swapped), Err(StreamError::Forged(0)));
    }

    #[test]
    fn a_chunk_added_after_the_last_is_refused() {
        let key = key();
        let mut sealed = seal_all(&key, &plain(CHUNK_BYTES)).unwrap();
        let again = sealed.clone();
        sealed.extend_from_slice(&again);
        assert!(open_all(&key, &sealed).is_err());
    }

    #[test]
    fn another_key_or_another_prefix_opens_nothing() {
        let key = key();
        let sealed = seal_all(&key, b"plain").unwrap();
        for byte in [0, 31, 32, 38] {
            let mut other = *key.as_bytes();
            other[byte] ^= 1;
            let opened = open_all(&ContentKey::from_bytes(other), &sealed);
            assert_eq!(opened, Err(StreamError::Forged(0)));
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "ContentKey(secret)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_chunk_opened_alone_equals_its_part_of_the_whole(length in 0usize..300_000, seed: u64) {
            let key = key();
            let plain = plain(length);
            let sealed = seal_all(&key, &plain).unwrap();
            let chunks = Chunks::of(ByteCount(length as u64)).unwrap();
            let cipher = Cipher::new(&key, chunks).unwrap();
            let chunk = seed % chunks.count();
            let start = chunk as usize * SEALED_CHUNK_BYTES;
            let end = (start + SEALED_CHUNK_BYTES).min(sealed.len());
            let mut part = sealed[start..end].to_vec();
            let from = chunk as usize * CHUNK_BYTES;
            let to = (from + CHUNK_BYTES).min(plain.len());
            prop_assert_eq!(cipher.open(chunk, &mut part).unwrap(), &plain[from..to]);
            let wrong = (chunk + 1) % chunks.count();
            let mut part = sealed[start..end].to_vec();
            prop_assert!(wrong == chunk || cipher.open(wrong, &mut part).is_err());
        }
    }
}
