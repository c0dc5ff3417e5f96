//! One phrase, many keys: BIP-39 words, SLIP-0010 ed25519 derivation, and the file they lie in.

use ed25519_dalek::SigningKey;
use hmac::{Hmac, Mac};
use rand::{CryptoRng, RngCore};
use sha2::Sha512;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// What a key is for. Each role is a branch of the derivation tree of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds a provider's collateral and is paid.
    Owner,
    /// Signs acceptances, proofs and receipts.
    Worker,
    /// Names a QUIC end point.
    Node,
    /// A client's account.
    Wallet,
    /// Orders blocks.
    Validator,
}

impl Role {
    const fn number(self) -> u32 {
        match self {
            Self::Owner => 0,
            Self::Worker => 1,
            Self::Node => 2,
            Self::Wallet => 3,
            Self::Validator => 4,
        }
    }
}

/// The first two steps of every path: BIP-44's purpose, and `HOLD` in ASCII as the coin.
const PURPOSE: u32 = 44;
const COIN: u32 = 0x484f_4c44;
/// SLIP-0010 has only hardened children for ed25519.
const HARDENED: u32 = 0x8000_0000;

/// Why a phrase was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Not a valid BIP-39 phrase. (The words themselves are not repeated: they are a secret.)
    #[error(
        "this is no valid recovery phrase ({0}); it has 12 to 24 English words from the BIP-39 list"
    )]
    Malformed(String),
}

/// A recovery phrase: everything that a person holds is derived from it.
///
/// It is zeroed when dropped and never printed by `Debug`.
pub struct Phrase(bip39::Mnemonic);

impl std::fmt::Debug for Phrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phrase(secret)")
    }
}

impl Phrase {
    /// A new phrase of 24 words.
    ///
    /// # Errors
    /// Never for 32 bytes of entropy; the library's signature allows it.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, PhraseError> {
        let mut entropy = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(entropy.as_mut());
        bip39::Mnemonic::from_entropy(entropy.as_ref())
            .map(Self)
            .map_err(|error| PhraseError::Malformed(error.to_string()))
    }

    /// Reads a phrase, in whatever case and spacing it was typed.
    ///
    /// # Errors
    /// An unknown word, a wrong count of words, a wrong checksum.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let mut joined = Zeroizing::new(String::with_capacity(text.len()));
        for word in text.split_whitespace() {
            if !joined.is_empty() {
                joined.push(' ');
            }
            let mut lower = word.to_lowercase();
            joined.push_str(&lower);
            lower.zeroize();
        }
        bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &joined)
            .map(Self)
            .map_err(|error| PhraseError::Malformed(describe(&error)))
    }

    /// The words, to be shown to their owner or written to a key file.
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256));
        for word in self.0.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The first ed25519 key of a role.
    pub fn key(&self, role: Role) -> SigningKey {
        let seed = Zeroizing::new(self.0.to_seed_normalized(""));
        let secret = derive(seed.as_ref(), &[PURPOSE, COIN, role.number(), 0]);
        SigningKey::from_bytes(&secret)
    }

    /// Thirty-two secret bytes for one use, named by its context: drive keys, wrapping keys, a
    /// beacon key's seed. `BLAKE3 derive_key` from the wallet's key.
    pub fn secret(&self, context: &'static str) -> Zeroizing<[u8; 32]> {
        let wallet = self.key(Role::Wallet);
        Zeroizing::new(blake3::derive_key(context, wallet.as_bytes()))
    }
}

/// What is wrong with a phrase, without its words.
fn describe(error: &bip39::Error) -> String {
    match error {
        bip39::Error::BadWordCount(count) => format!("it has {count} words"),
        bip39::Error::UnknownWord(index) => {
            format!("word {} is not on the list", index.saturating_add(1))
        }
        bip39::Error::InvalidChecksum => {
            "its checksum is wrong: a word is another or out of place".into()
        }
        other => other.to_string(),
    }
}

/// SLIP-0010 for ed25519: the private key at a path of hardened steps.
fn derive(seed: &[u8], path: &[u32]) -> Zeroizing<[u8; 32]> {
    let (mut key, mut chain) = split(mac(b"ed25519 seed", &[seed]));
    for step in path {
        let number = (step | HARDENED).to_be_bytes();
        (key, chain) = split(mac(chain.as_ref(), &[&[0], key.as_ref(), &number]));
    }
    key
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    // HMAC takes keys of any length, so the other branch is never taken.
    let mut out = Zeroizing::new([0u8; 64]);
    if let Ok(mut mac) = <Hmac<Sha512> as Mac>::new_from_slice(key) {
        for part in parts {
            mac.update(part);
        }
        let mut result = mac.finalize().into_bytes();
        out.copy_from_slice(&result);
        result.as_mut_slice().zeroize();
    }
    out
}

fn split(wide: Zeroizing<[u8; 64]>) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let (mut left, mut right) = (Zeroizing::new([0u8; 32]), Zeroizing::new([0u8; 32]));
    let (low, high) = wide.split_at(32);
    left.copy_from_slice(low);
    right.copy_from_slice(high);
    (left, right)
}

/// Why a key file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is one already.
    #[error("{path} exists already; a key is never overwritten, move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read it.
    #[error(
        "{path} can be read by others (mode {mode:o}); run chmod 600 {path}, and make new keys if somebody may have read it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Its content is no phrase.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PhraseError,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// The file that a phrase lies in: its words, mode 0600.
#[derive(Debug)]
pub struct KeyFile;

/// Twenty-four words of at most eight letters and their spaces, with room for a comment's worth.
const KEY_FILE_LIMIT: u64 = 1024;

impl KeyFile {
    /// Writes a phrase to a new file, durably.
    ///
    /// # Errors
    /// A file that exists, or the operating system's refusal.
    pub fn create(path: &Path, phrase: &Phrase) -> Result<(), KeyFileError> {
        if path.exists() {
            return Err(KeyFileError::Exists {
                path: path.to_owned(),
            });
        }
        let mut text = phrase.words();
        text.push('\n');
        crate::atomic::write(path, text.as_bytes(), 0o600).map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads a phrase back.
    ///
    /// # Errors
    /// A file that others can read, or that holds no phrase.
    pub fn read(path: &Path) -> Result<Phrase, KeyFileError> {
        use std::os::unix::fs::PermissionsExt;
        let io_error = |source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        };
        let mode = std::fs::metadata(path)
            .map_err(io_error)?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let bytes =
            Zeroizing::new(crate::atomic::read_bounded(path, KEY_FILE_LIMIT).map_err(io_error)?);
        std::str::from_utf8(&bytes)
            .map_err(|_| PhraseError::Malformed("it is not text".into()))
            .and_then(|text| {
                // Half of a phrase can be a phrase: the checksum of twelve words has four bits.
                if text.ends_with('\n') {
                    Phrase::parse(text)
                } else {
                    let reason = "the file does not end with a line's end, so words may be missing";
                    Err(PhraseError::Malformed(reason.into()))
                }
            })
            .map_err(|source| KeyFileError::Malformed {
                path: path.to_owned(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    /// SLIP-0010, test vectors 1 and 2 for ed25519: (path, private key, public key).
    #[test]
    fn derivation_agrees_with_the_published_vectors() {
        let one = hex::decode("000102030405060708090a0b0c0d0e0f").unwrap();
        let two = hex::decode("fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542").unwrap();
        let vectors: [(&[u8], &[u32], &str, &str); 12] = [
            (
                &one,
                &[],
                "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
                "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
            ),
            (
                &one,
                &[0],
                "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
                "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
            ),
            (
                &one,
                &[0, 1],
                "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
                "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
            ),
            (
                &one,
                &[0, 1, 2],
                "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
                "ae98736566d30ed0e9d2f4486a64bc95740d89c7db33f52121f8ea8f76ff0fc1",
            ),
            (
                &one,
                &[0, 1, 2, 2],
                "30d1dc7e5fc04c31219ab25a27ae00b50f6fd66622f6e9c913253d6511d1e662",
                "8abae2d66361c879b900d204ad2cc4984fa2aa344dd7ddc46007329ac76c429c",
            ),
            (
                &one,
                &[0, 1, 2, 2, 1_000_000_000],
                "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
                "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
            ),
            (
                &two,
                &[],
                "171cb88b1b3c1db25add599712e36245d75bc65a1a5c9e18d76f9f2b1eab4012",
                "8fe9693f8fa62a4305a140b9764c5ee01e455963744fe18204b4fb948249308a",
            ),
            (
                &two,
                &[0],
                "1559eb2bbec5790b0c65d8693e4d0875b1747f4970ae8b650486ed7470845635",
                "86fab68dcb57aa196c77c5f264f215a112c22a912c10d123b0d03c3c28ef1037",
            ),
            (
                &two,
                &[0, 2_147_483_647],
                "ea4f5bfe8694d8bb74b7b59404632fd5968b774ed545e810de9c32a4fb4192f4",
                "5ba3b9ac6e90e83effcd25ac4e58a1365a9e35a3d3ae5eb07b9e4d90bcf7506d",
            ),
            (
                &two,
                &[0, 2_147_483_647, 1],
                "3757c7577170179c7868353ada796c839135b3d30554bbb74a4b1e4a5a58505c",
                "2e66aa57069c86cc18249aecf5cb5a9cebbfd6fadeab056254763874a9352b45",
            ),
            (
                &two,
                &[0, 2_147_483_647, 1, 2_147_483_646],
                "5837736c89570de861ebc173b1086da4f505d4adb387c6a1b1342d5e4ac9ec72",
                "e33c0f7d81d843c572275f287498e8d408654fdf0d1e065b84e2e6f157aab09b",
            ),
            (
                &two,
                &[0, 2_147_483_647, 1, 2_147_483_646, 2],
                "551d333177df541ad876a60ea71f00447931c0a9da16f227c11ea080d7391b8d",
                "47150c75db263559a70d5778bf36abbab30fb061ad69f69ece61a72b0cfa4fc0",
            ),
        ];
        for (seed, path, private, public) in vectors {
            let key = derive(seed, path);
            assert_eq!(hex::encode(*key), private, "{path:?}");
            let verifying = SigningKey::from_bytes(&key).verifying_key();
            assert_eq!(hex::encode(verifying.to_bytes()), public, "{path:?}");
        }
    }

    /// Trezor's vectors for BIP-39 have the passphrase TREZOR; these are three of them.
    #[test]
    fn phrases_agree_with_the_published_vectors() {
        let vectors = [
            (
                "00000000000000000000000000000000",
                "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
                "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
            ),
            (
                "8080808080808080808080808080808080808080808080808080808080808080",
                "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
                "c0c519bd0e91a2ed54357d9d1ebef6f5af218a153624cf4f2da911a0ed8f7a09e2ef61af0aca007096df430022f7a2b6fb91661a9589097069720d015e4e982f",
            ),
            (
                "ffffffffffffffffffffffffffffffff",
                "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
                "ac27495480225222079d7be181583751e86f571027b0497b5b5d11218e0a8a13332572917f0f8e5a589620c6f15b11c61dee327651a14c34e18231052e48c069",
            ),
        ];
        for (entropy, words, seed) in vectors {
            let phrase = Phrase::parse(words).unwrap();
            assert_eq!(hex::encode(phrase.0.to_entropy()), entropy);
            assert_eq!(hex::encode(phrase.0.to_seed_normalized("TREZOR")), seed);
        }
    }

    #[test]
    fn a_phrase_survives_its_words_and_a_wrong_one_is_refused_without_repeating_it() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let phrase = Phrase::generate(&mut rng).unwrap();
        let again = Phrase::parse(&format!("  {}\n", phrase.words().to_uppercase())).unwrap();
        assert_eq!(
            phrase.key(Role::Owner).to_bytes(),
            again.key(Role::Owner).to_bytes()
        );
        assert_eq!(format!("{phrase:?}"), "Phrase(secret)");
        for wrong in [
            "",
            "zoo",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo holdfast",
        ] {
            let text = Phrase::parse(wrong).unwrap_err().to_string();
            assert!(
                !text.contains("zoo") && !text.contains("holdfast"),
                "{text}"
            );
        }
    }

    #[test]
    fn roles_have_keys_of_their_own() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
        let phrase = Phrase::generate(&mut rng).unwrap();
        let roles = [
            Role::Owner,
            Role::Worker,
            Role::Node,
            Role::Wallet,
            Role::Validator,
        ];
        let keys: std::collections::BTreeSet<_> = roles
            .iter()
            .map(|role| phrase.key(*role).to_bytes())
            .collect();
        assert_eq!(keys.len(), roles.len());
        assert_ne!(
            *phrase.secret("holdfast test a"),
            *phrase.secret("holdfast test b")
        );
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phrase.key");
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let phrase = Phrase::generate(&mut rng).unwrap();
        KeyFile::create(&path, &phrase).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(*KeyFile::read(&path).unwrap().words(), *phrase.words());
        assert!(matches!(
            KeyFile::create(&path, &phrase),
            Err(KeyFileError::Exists { .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyFile::read(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_phrase_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(4);
        let phrase = Phrase::generate(&mut rng).unwrap();
        KeyFile::create(&data.join("phrase.key"), &phrase).unwrap();
        let whole = phrase.words().to_string();
        let mut refused = 0;
        damage::each(&data, Path::new("phrase.key"), 60, 14, |folder, damage| {
            let read = KeyFile::read(&folder.join("phrase.key"));
            let read = read.map(|phrase| phrase.words().to_string());
            let read = read.map_err(|error| error.to_string());
            let named = damage::assert_named_or_same(read, &whole, "phrase.key", &damage);
            refused += usize::from(named);
        });
        // What passes is a letter that became the same one of the other case.
        assert!(refused > 50, "{refused}");
        // Every cut, also one after twelve words that happen to have their checksum.
        let text = format!("{whole}\n");
        for length in 0..text.len() {
            std::fs::write(data.join("phrase.key"), &text[..length]).unwrap();
            assert!(KeyFile::read(&data.join("phrase.key")).is_err(), "{length}");
        }
    }
}
