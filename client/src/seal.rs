//! What only the wallet opens: content keys wrapped under its seed, and sealed blocks.

use crate::stream::{ContentKey, KEY_BYTES, StreamError, open_all, seal_all};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_proofs::byte_newtype;
use holdfast_wire::keys::Phrase;
use rand::{CryptoRng, RngCore};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const CONTEXT: &str = "holdfast 2026-11 client key wrapping";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Bytes of a wrapped content key: nonce, key, tag.
pub const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

byte_newtype!(
    /// A content key that only the wallet's seed opens.
    WrappedKey, 67
);
const _: () = assert!(WRAPPED_BYTES == 67);

/// The key that wraps content keys: BLAKE3 `derive_key` of the wallet's seed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct WrappingKey([u8; 32]);

/// A key is never printed.
impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey(secret)")
    }
}

/// What a wrapped key or a sealed block is for; one does not open as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The manifest of a stored object.
    Manifest,
    /// The catalogue, published under the wallet's name.
    Catalogue,
    /// The journal of an upload.
    Journal,
}

impl Purpose {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"manifest",
            Self::Catalogue => b"catalogue",
            Self::Journal => b"journal",
        }
    }
}

/// Wrapped or sealed bytes that this wallet did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It opens under another phrase only, or was changed.
    #[error("this was sealed by another wallet, or was changed since; the phrase does not open it")]
    NotOurs,
    /// Shorter than any sealed block.
    #[error("a sealed block of {0} bytes is cut short")]
    Short(usize),
    /// The content does not open.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl WrappingKey {
    /// The wrapping key of a wallet's phrase.
    pub fn of_phrase(phrase: &Phrase) -> Self {
        Self::of_secret(*phrase.secret(CONTEXT))
    }

    /// A key that opens nothing there is: for finding out how long something will be.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) const fn of_secret(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        let unbound = UnboundKey::new(&AES_256_GCM, &self.0).map_err(|_| SealError::NotOurs)?;
        Ok(LessSafeKey::new(unbound))
    }

    /// Wraps a content key under a random nonce.
    ///
    /// # Errors
    /// The cipher's own (never, for these lengths).
    pub fn wrap(
        &self,
        purpose: Purpose,
        key: &ContentKey,
        randomness: &mut (impl RngCore + CryptoRng),
    ) -> Result<WrappedKey, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        randomness.fill_bytes(&mut nonce);
        let mut body = Zeroizing::new(*key.as_bytes());
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.text()),
                body.as_mut_slice(),
            )
            .map_err(|_| SealError::NotOurs)?;
        let mut wrapped = [0; WRAPPED_BYTES];
        let parts = nonce.iter().chain(body.iter()).chain(tag.as_ref());
        for (byte, from) in wrapped.iter_mut().zip(parts) {
            *byte = *from;
        }
        Ok(WrappedKey(wrapped))
    }

    /// Unwraps a content key.
    ///
    /// # Errors
    /// Wrapped by another wallet, for another purpose, or changed.
    pub fn unwrap(&self, purpose: Purpose, wrapped: &WrappedKey) -> Result<ContentKey, SealError> {
        let (nonce, sealed) = wrapped.0.split_at(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOurs)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = self
            .cipher()?
            .open_in_place(nonce, Aad::from(purpose.text()), &mut sealed)
            .map_err(|_| SealError::NotOurs)?;
        let bytes: [u8; KEY_BYTES] = (&*plain).try_into().map_err(|_| SealError::NotOurs)?;
        Ok(ContentKey::from_bytes(bytes))
    }

    /// Seals `plain` into a block: a wrapped random key, then the content under it.
    ///
    /// # Errors
    /// More than a stream holds.
    pub fn seal_block(
        &self,
        purpose: Purpose,
        plain: &[u8],
        randomness: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, SealError> {
        let key = ContentKey::random(randomness);
        let mut block = self.wrap(purpose, &key, randomness)?.0.to_vec();
        block.extend_from_slice(&seal_all(&key, plain)?);
        Ok(block)
    }

    /// Opens a block that [`WrappingKey::seal_block`] made.
    ///
    /// # Errors
    /// Another wallet's, another purpose's, cut or changed.
    pub fn open_block(&self, purpose: Purpose, block: &[u8]) -> Result<Vec<u8>, SealError> {
        let (wrapped, content) = block
            .split_first_chunk::<WRAPPED_BYTES>()
            .ok_or(SealError::Short(block.len()))?;
        let key = self.unwrap(purpose, &WrappedKey(*wrapped))?;
        Ok(open_all(&key, content)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use rand::thread_rng;

    #[test]
    fn a_wrapped_key_opens_under_its_seed_and_purpose_alone() {
        let (ours, other) = (
            WrappingKey::of_secret([1; 32]),
            WrappingKey::of_secret([2; 32]),
        );
        let key = ContentKey::random(&mut thread_rng());
        let wrapped = ours
            .wrap(Purpose::Manifest, &key, &mut thread_rng())
            .unwrap();
        assert_eq!(ours.unwrap(Purpose::Manifest, &wrapped).unwrap(), key);
        assert_eq!(
            other.unwrap(Purpose::Manifest, &wrapped),
            Err(SealError::NotOurs)
        );
        assert_eq!(
            ours.unwrap(Purpose::Catalogue, &wrapped),
            Err(SealError::NotOurs)
        );
        for byte in 0..WRAPPED_BYTES {
            let mut changed = wrapped;
            changed.0[byte] ^= 1;
            assert!(ours.unwrap(Purpose::Manifest, &changed).is_err());
        }
    }

    #[test]
    fn a_sealed_block_comes_back_and_a_cut_one_does_not() {
        let ours = WrappingKey::of_secret([1; 32]);
        let block = ours
            .seal_block(Purpose::Journal, b"note", &mut thread_rng())
            .unwrap();
        assert_eq!(ours.open_block(Purpose::Journal, &block).unwrap(), b"note");
        for length in 0..block.len() {
            assert!(ours.open_block(Purpose::Journal, &block[..length]).is_err());
        }
        assert!(ours.open_block(Purpose::Catalogue, &block).is_err());
    }
}
