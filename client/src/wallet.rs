//! The wallet: a folder with a recovery phrase, and what was stored under it.

use crate::catalogue::Catalogue;
use crate::error::ClientError;
use crate::seal::WrappingKey;
use ed25519_dalek::SigningKey;
use holdfast_market_core::units::{Address, NetworkId};
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_wire::atomic;
use holdfast_wire::folder::{DataFolder, FolderError, FolderKind, patiently};
use holdfast_wire::keys::{KeyFile, Phrase, Role};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file of the phrase, mode 0600.
pub const PHRASE_FILE: &str = "phrase.key";
/// The sealed list of what was stored.
const CATALOGUE_FILE: &str = "catalogue.sealed";
/// A catalogue file is a block of at most [`crate::catalogue::CATALOGUE_LIMIT`] and its frame.
const CATALOGUE_FILE_LIMIT: u64 = crate::catalogue::CATALOGUE_LIMIT.0 + (1 << 20);
/// Twenty-four words and their spaces, several times over.
const PHRASE_LIMIT: usize = 4096;
const RECEIPTS_FOLDER: &str = "receipts";
const JOURNAL_FOLDER: &str = "journal";

/// Reads a phrase that its owner types or pipes in; what was read is zeroed.
///
/// # Errors
/// Words that are no phrase.
pub fn read_phrase(source: impl io::Read) -> Result<Phrase, ClientError> {
    let mut words = Zeroizing::new(String::with_capacity(PHRASE_LIMIT));
    source
        .take(PHRASE_LIMIT as u64)
        .read_to_string(&mut words)
        .map_err(ClientError::io(Path::new("standard input")))?;
    Ok(Phrase::parse(&words)?)
}

/// An opened wallet. The phrase is zeroed when this is dropped, and never printed.
#[derive(Debug)]
pub struct Wallet {
    path: PathBuf,
    phrase: Phrase,
}

impl Wallet {
    /// Makes a wallet in a new folder, of a new phrase or of one that is being restored.
    ///
    /// # Errors
    /// A folder that has a wallet already, or the operating system's refusal.
    pub fn create(path: &Path, phrase: Option<Phrase>) -> Result<Self, ClientError> {
        let phrase = match phrase {
            Some(phrase) => phrase,
            None => Phrase::generate(&mut rand::rngs::OsRng)?,
        };
        create_folder(path, 0o700).map_err(ClientError::io(path))?;
        KeyFile::create(&path.join(PHRASE_FILE), &phrase)?;
        Ok(Self {
            path: path.to_owned(),
            phrase,
        })
    }

    /// Opens a wallet.
    ///
    /// # Errors
    /// No wallet there, or a phrase file that others can read.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let file = path.join(PHRASE_FILE);
        if !file.exists() {
            return Err(ClientError::not_found(
                format!("{} has no wallet", path.display()),
                format!(
                    "make one with `holdfast wallet create --wallet {}`",
                    path.display()
                ),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            phrase: KeyFile::read(&file)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its account's key.
    pub fn key(&self) -> SigningKey {
        self.phrase.key(Role::Wallet)
    }

    /// The key that names its end of a connection.
    pub fn node_key(&self) -> SigningKey {
        self.phrase.key(Role::Node)
    }

    /// Its account.
    pub fn address(&self) -> Address {
        Address(self.key().verifying_key().to_bytes())
    }

    /// What wraps the keys of its objects.
    pub fn wrapping_key(&self) -> WrappingKey {
        WrappingKey::of_phrase(&self.phrase)
    }

    /// Holds the wallet for changes: one command at a time. The first time it binds the folder to
    /// the network.
    ///
    /// # Errors
    /// Another command holds it, or it belongs to another network.
    pub fn lock(&self, network: NetworkId) -> Result<DataFolder, ClientError> {
        // The same command begun again must not fail on what the system still takes down of the first.
        let folder = patiently(
            || DataFolder::open(&self.path, FolderKind::Wallet, network),
            |error| matches!(error, FolderError::InUse { .. }),
        );
        Ok(folder?)
    }

    /// [`Wallet::lock`], where nobody else holds it; a command that only reads goes on without.
    ///
    /// # Errors
    /// A wallet of another network.
    pub fn try_lock(&self, network: NetworkId) -> Result<Option<DataFolder>, ClientError> {
        match DataFolder::open(&self.path, FolderKind::Wallet, network) {
            Ok(folder) => Ok(Some(folder)),
            Err(FolderError::InUse { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The catalogue in the folder; an empty one where there is none yet.
    ///
    /// # Errors
    /// A file that is not this wallet's catalogue.
    pub fn catalogue(&self) -> Result<Catalogue, ClientError> {
        let path = self.path.join(CATALOGUE_FILE);
        match atomic::read_bounded(&path, CATALOGUE_FILE_LIMIT) {
            Ok(sealed) => Catalogue::open(&self.wrapping_key(), &sealed).map_err(|error| {
                ClientError::failed(
                    format!("{} cannot be used: {error}", path.display()),
                    "move it away; what was published is read from the network again",
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Catalogue::default()),
            Err(error) => Err(ClientError::io(&path)(error)),
        }
    }

    /// Writes the catalogue to the folder, durably. The caller holds [`Wallet::lock`].
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn save_catalogue(&self, catalogue: &Catalogue) -> Result<(), ClientError> {
        let path = self.path.join(CATALOGUE_FILE);
        let sealed = catalogue.seal(&self.wrapping_key(), &mut rand::rngs::OsRng)?;
        atomic::write(&path, &sealed, 0o600).map_err(ClientError::io(&path))
    }

    /// The folder of portable receipts, made where it is missing.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn receipts(&self) -> Result<PathBuf, ClientError> {
        self.folder(RECEIPTS_FOLDER)
    }

    /// The folder of unfinished uploads, made where it is missing.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn journal(&self) -> Result<PathBuf, ClientError> {
        self.folder(JOURNAL_FOLDER)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, ClientError> {
        let path = self.path.join(name);
        create_folder(&path, COMMON_MODE).map_err(ClientError::io(&path))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue::tests::record;
    use std::os::unix::fs::PermissionsExt;

    const HERE: NetworkId = NetworkId([1; 32]);

    #[test]
    fn a_wallet_made_again_from_its_phrase_has_the_same_account_and_reads_the_same_catalogue() {
        let folder = tempfile::tempdir().unwrap();
        let first = Wallet::create(&folder.path().join("first"), None).unwrap();
        let mut catalogue = Catalogue::default();
        catalogue.insert(record("a", 1, vec![]));
        first.save_catalogue(&catalogue).unwrap();
        let words = std::fs::read_to_string(first.path().join(PHRASE_FILE)).unwrap();
        let phrase = Phrase::parse(&words).unwrap();
        let second = Wallet::create(&folder.path().join("second"), Some(phrase)).unwrap();
        assert_eq!(first.address(), second.address());
        assert_eq!(second.catalogue().unwrap(), Catalogue::default());
        std::fs::copy(
            first.path().join(CATALOGUE_FILE),
            second.path().join(CATALOGUE_FILE),
        )
        .unwrap();
        assert_eq!(second.catalogue().unwrap(), catalogue);
        let stranger = Wallet::create(&folder.path().join("stranger"), None).unwrap();
        std::fs::copy(
            first.path().join(CATALOGUE_FILE),
            stranger.path().join(CATALOGUE_FILE),
        )
        .unwrap();
        assert!(stranger.catalogue().is_err());
    }

    #[test]
    fn the_phrase_is_private_never_printed_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wallet");
        let wallet = Wallet::create(&path, None).unwrap();
        let file = path.join(PHRASE_FILE);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let words = std::fs::read_to_string(&file).unwrap();
        let first = words.split(' ').next().unwrap();
        assert!(!format!("{wallet:?}").contains(first));
        assert!(Wallet::create(&path, None).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), words);
    }

    #[test]
    fn a_wallet_is_bound_to_its_first_network_and_held_by_one_command() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = Wallet::create(&folder.path().join("wallet"), None).unwrap();
        let held = wallet.lock(HERE).unwrap();
        assert!(wallet.lock(HERE).is_err());
        assert!(wallet.try_lock(HERE).unwrap().is_none());
        drop(held);
        assert!(wallet.try_lock(HERE).unwrap().is_some());
        let error = wallet.lock(NetworkId([2; 32])).unwrap_err().to_string();
        assert!(error.contains("belongs to network"), "{error}");
    }

    #[test]
    fn a_folder_without_a_wallet_is_said_to_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let error = Wallet::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::NotFound);
        assert!(error.next().contains("holdfast wallet create"));
    }
}
