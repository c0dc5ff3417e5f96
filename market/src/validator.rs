//! A validator's keys: ed25519 for blocks, BLS for the beacon.

use ed25519_dalek::SigningKey;
use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::Validator;
use holdfast_market_core::units::Address;
use holdfast_proofs::checked::{with_check, without_check_or_old};
use holdfast_proofs::durable::create_folder;
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// The key file's name in the market's data folder.
pub const KEY_FILE: &str = "validator.key";

const KIND: &str = "holdfast validator key 1";

/// More than any key file holds.
const LONGEST_FILE: u64 = 4096;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None there.
    #[error("{0} does not exist; make it with `holdfast market init`")]
    Absent(PathBuf),
    /// There already.
    #[error("{0} exists already; a validator's key is not replaced by a new one")]
    Exists(PathBuf),
    /// Others may read it.
    #[error("{0} can be read by others; make it yours alone: chmod 600")]
    Open(PathBuf),
    /// Something else.
    #[error("{0} is damaged or not a validator key file of this version; restore it from a copy")]
    Malformed(PathBuf),
    /// The system says no.
    #[error("{path} cannot be read or written: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kind: String,
    seed: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Context for a validator's key in the network of those who order blocks: what is signed there is
/// never signed with the consensus key.
const NETWORK_KEY: &str = "holdfast 2026-11 validator network key";

/// The keys; they come of one seed.
pub struct ValidatorKeys {
    consensus: SigningKey,
    beacon: BeaconSecret,
    network: Zeroizing<[u8; 32]>,
}

impl ValidatorKeys {
    /// The keys of a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            consensus: SigningKey::from_bytes(seed),
            beacon: BeaconSecret::from_seed(seed),
            network: Zeroizing::new(blake3::derive_key(NETWORK_KEY, seed)),
        }
    }

    /// Makes new keys and writes them into `folder`, readable by the owner alone.
    ///
    /// # Errors
    /// A folder that has some already, or cannot be written.
    pub fn create(
        folder: &Path,
        random: &mut (impl RngCore + CryptoRng),
    ) -> Result<Self, KeyError> {
        let path = folder.join(KEY_FILE);
        let failed = |source| KeyError::File {
            path: path.clone(),
            source,
        };
        create_folder(folder, 0o700).map_err(failed)?;
        let mut seed = Zeroizing::new([0u8; 32]);
        random.fill_bytes(seed.as_mut_slice());
        let file = KeyFile {
            kind: KIND.into(),
            seed: hex::encode(seed.as_slice()),
        };
        let text =
            Zeroizing::new(serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?);
        // A flipped bit of a seed would be another validator's seed.
        let text = Zeroizing::new(with_check(&text));
        // Written beside and linked into place: the name appears with the whole content or not at
        // all, and never over a key that is there.
        let beside = folder.join(format!("{KEY_FILE}.{}.new", std::process::id()));
        let written = write_private(&beside, &text)
            .and_then(|()| std::fs::hard_link(&beside, &path))
            .and_then(|()| File::open(folder)?.sync_all());
        let removed = std::fs::remove_file(&beside);
        match written {
            Ok(()) => removed.map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(KeyError::Exists(path));
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self::from_seed(&seed))
    }

    /// Reads the keys in `folder`.
    ///
    /// # Errors
    /// None there, readable by others, or malformed.
    pub fn load(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(KEY_FILE);
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => KeyError::Absent(path.clone()),
            _ => KeyError::File {
                path: path.clone(),
                source,
            },
        };
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open(path));
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(LONGEST_FILE + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        let malformed = || KeyError::Malformed(path.clone());
        if text.len() as u64 > LONGEST_FILE {
            return Err(malformed());
        }
        let text = Zeroizing::new(without_check_or_old(&text).ok_or_else(malformed)?);
        let file: KeyFile = serde_json::from_slice(&text).map_err(|_| malformed())?;
        if file.kind != KIND {
            return Err(malformed());
        }
        let mut seed = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(&file.seed, seed.as_mut_slice()).map_err(|_| malformed())?;
        // A key file is written in one way; another was made by something else.
        if file.seed.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(malformed());
        }
        Ok(Self::from_seed(&seed))
    }

    /// The key that signs blocks.
    pub fn consensus(&self) -> &SigningKey {
        &self.consensus
    }

    /// The key that signs beacons.
    pub fn beacon(&self) -> &BeaconSecret {
        &self.beacon
    }

    /// The secret of the key by which the other validators know its connections.
    pub fn network_seed(&self) -> &[u8; 32] {
        &self.network
    }

    /// The same validator as seen from another place of the network.
    #[cfg(test)]
    pub fn twin(self) -> Self {
        let network = blake3::derive_key(NETWORK_KEY, self.network.as_slice());
        Self {
            network: Zeroizing::new(network),
            ..self
        }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        Address(self.consensus.verifying_key().to_bytes())
    }

    /// What genesis says of it.
    pub fn validator(&self, power: u64) -> Validator {
        Validator {
            key: self.address(),
            beacon: self.beacon.public(),
            possession: self.beacon.possession(),
            power,
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use rand_core::SeedableRng;

    fn random() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::seed_from_u64(7)
    }

    #[test]
    fn keys_read_back_are_the_keys_written() {
        let folder = tempfile::tempdir().unwrap();
        let made = ValidatorKeys::create(folder.path(), &mut random()).unwrap();
        let read = ValidatorKeys::load(folder.path()).unwrap();
        assert_eq!(made.validator(1), read.validator(1));
        let mode = std::fs::metadata(folder.path().join(KEY_FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_key_is_not_written_over_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let made = ValidatorKeys::create(folder.path(), &mut random()).unwrap();
        assert!(matches!(
            ValidatorKeys::create(
                folder.path(),
                &mut rand_chacha::ChaCha20Rng::seed_from_u64(8)
            ),
            Err(KeyError::Exists(_))
        ));
        let read = ValidatorKeys::load(folder.path()).unwrap();
        assert_eq!(made.address(), read.address());
    }

    #[test]
    fn a_key_file_in_another_form_is_refused() {
        use holdfast_proofs::checked::without_check;
        let folder = tempfile::tempdir().unwrap();
        ValidatorKeys::create(folder.path(), &mut random()).unwrap();
        let path = folder.path().join(KEY_FILE);
        let honest = without_check(&std::fs::read(&path).unwrap()).unwrap();
        let honest = String::from_utf8(honest).unwrap();
        std::fs::write(&path, &honest).unwrap();
        assert!(ValidatorKeys::load(folder.path()).is_ok());
        let more = honest.replacen('{', "{\"x\": 1,", 1);
        // A file longer than any is not read to a limit and taken for whole.
        let longer = honest.clone() + &" ".repeat(usize::try_from(LONGEST_FILE).unwrap());
        let (head, seed) = honest.split_once("\"seed\"").unwrap();
        let shouted = format!("{head}\"seed\"{}", seed.to_uppercase());
        for other in [more, longer, shouted] {
            std::fs::write(&path, other).unwrap();
            assert!(matches!(
                ValidatorKeys::load(folder.path()),
                Err(KeyError::Malformed(_))
            ));
        }
    }

    #[test]
    fn a_damaged_validator_key_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("market");
        let made = ValidatorKeys::create(&data, &mut random()).unwrap();
        damage::each(&data, Path::new(KEY_FILE), 40, 13, |folder, damage| {
            let read = ValidatorKeys::load(folder).map(|keys| keys.address());
            let read = read.map_err(|error| error.to_string());
            damage::assert_named_or_same(read, &made.address(), KEY_FILE, &damage);
        });
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            ValidatorKeys::load(folder.path()),
            Err(KeyError::Absent(_))
        ));
        ValidatorKeys::create(folder.path(), &mut random()).unwrap();
        let path = folder.path().join(KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            ValidatorKeys::load(folder.path()),
            Err(KeyError::Open(_))
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, whole.get(..whole.len() / 2).unwrap()).unwrap();
        assert!(matches!(
            ValidatorKeys::load(folder.path()),
            Err(KeyError::Malformed(_))
        ));
    }
}
