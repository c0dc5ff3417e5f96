//! A network's folder: what every command needs to know of a network, checked against its id.

use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{Undecodable, Unencodable, decode, encode};
use holdfast_market_core::units::NetworkId;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_proofs::keys::VerifyingKeys;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The settings file of a network folder.
pub const NETWORK_FILE: &str = "network.toml";
/// The genesis, DAG-CBOR.
pub const GENESIS_FILE: &str = "genesis.cbor";
/// The verifying keys, DAG-CBOR.
pub const VERIFYING_KEYS_FILE: &str = "verifying-keys.cbor";

/// Upper bounds of what is read: a genesis with many thousand balances, keys of a dozen circuits.
const SETTINGS_LIMIT: u64 = 64 << 10;
const GENESIS_LIMIT: u64 = 64 << 20;
const KEYS_LIMIT: u64 = 16 << 20;

/// What `network.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSettings {
    /// The network's name; on any but `main` addresses begin with `thold`.
    pub name: String,
    /// Its id: BLAKE3 of the genesis file.
    pub network: NetworkId,
    /// Where a ledger's API answers, for example `http://127.0.0.1:8000`.
    pub api: String,
    /// The genesis file, relative to the folder.
    pub genesis: PathBuf,
    /// The verifying keys' file, relative to the folder.
    pub verifying_keys: PathBuf,
    /// The folder of the proving parameters, relative to this folder or absolute.
    pub parameters: PathBuf,
}

/// Why a network folder was not opened or made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no network here.
    #[error(
        "{path} has no {NETWORK_FILE}; give the folder of a network with --network, or start one with `holdfast testnet up`"
    )]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The settings cannot be understood.
    #[error("{path} cannot be understood: {reason}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is no object of the expected kind.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Undecodable,
    },
    /// The genesis is another network's.
    #[error(
        "{path} is the genesis of network {found}, and {NETWORK_FILE} says {wanted}; get the folder again from where you have it"
    )]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// Whose genesis it is.
        found: NetworkId,
        /// Which network was said.
        wanted: NetworkId,
    },
    /// The name in the settings is not the genesis's.
    #[error("{path} names the network `{found}` and its genesis `{wanted}`; correct the name")]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The settings' name.
        found: String,
        /// The genesis's name.
        wanted: String,
    },
    /// The verifying keys are not those that the genesis fixes.
    #[error(
        "{path} holds verifying keys that this network's genesis does not name; get the folder again from where you have it"
    )]
    OtherKeys {
        /// The file.
        path: PathBuf,
    },
    /// A value cannot be written.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A network as a command sees it.
#[derive(Clone, Debug)]
pub struct NetworkFolder {
    path: PathBuf,
    settings: NetworkSettings,
    genesis: Genesis,
}

impl NetworkFolder {
    /// Opens a network folder and checks its files against its id.
    ///
    /// # Errors
    /// Missing, malformed or mismatching files.
    pub fn open(path: &Path) -> Result<Self, NetworkError> {
        let settings_path = path.join(NETWORK_FILE);
        let settings_error = |reason: String| NetworkError::Settings {
            path: settings_path.clone(),
            reason,
        };
        let text = match crate::atomic::read_bounded(&settings_path, SETTINGS_LIMIT) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NetworkError::Missing {
                    path: path.to_owned(),
                });
            }
            Err(source) => {
                return Err(NetworkError::Io {
                    path: settings_path,
                    source,
                });
            }
        };
        let text = String::from_utf8(text).map_err(|_| settings_error("it is not text".into()))?;
        let settings: NetworkSettings =
            toml::from_str(&text).map_err(|error| settings_error(error.to_string()))?;
        let genesis_path = path.join(&settings.genesis);
        let genesis: Genesis = read_object("genesis", &genesis_path, GENESIS_LIMIT)?;
        let found = genesis.network()?;
        if found != settings.network {
            return Err(NetworkError::OtherGenesis {
                path: genesis_path,
                found,
                wanted: settings.network,
            });
        }
        if genesis.name != settings.name {
            return Err(NetworkError::OtherName {
                path: settings_path,
                found: settings.name,
                wanted: genesis.name,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            settings,
            genesis,
        })
    }

    /// Makes a network folder, files first and `network.toml` last, so that a folder with settings
    /// is whole. `verifying_keys` is their DAG-CBOR.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn create(
        path: &Path,
        genesis: &Genesis,
        verifying_keys: &[u8],
        api: &str,
        parameters: &Path,
    ) -> Result<Self, NetworkError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::Io { path, source }
        };
        create_folder(path, COMMON_MODE).map_err(io_error(path))?;
        let settings = NetworkSettings {
            name: genesis.name.clone(),
            network: genesis.network()?,
            api: api.to_owned(),
            genesis: GENESIS_FILE.into(),
            verifying_keys: VERIFYING_KEYS_FILE.into(),
            parameters: parameters.to_owned(),
        };
        let text = toml::to_string(&settings).map_err(|error| NetworkError::Settings {
            path: path.join(NETWORK_FILE),
            reason: error.to_string(),
        })?;
        let text = format!(
            "# A Holdfast network. Give this folder to any command with --network.\n\
             # `network` is the BLAKE3 of the genesis file; the files are checked against it.\n{text}"
        );
        for (name, bytes) in [
            (GENESIS_FILE, encode(genesis)?.as_slice()),
            (VERIFYING_KEYS_FILE, verifying_keys),
            (NETWORK_FILE, text.as_bytes()),
        ] {
            let file = path.join(name);
            crate::atomic::write(&file, bytes, 0o644).map_err(io_error(&file))?;
        }
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The network's id.
    pub fn network(&self) -> NetworkId {
        self.settings.network
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where a ledger's API answers.
    pub fn api(&self) -> &str {
        &self.settings.api
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The folder of the proving parameters.
    pub fn parameters(&self) -> PathBuf {
        self.path.join(&self.settings.parameters)
    }

    /// The DAG-CBOR of the verifying keys, checked against the genesis.
    ///
    /// # Errors
    /// A file that is missing or too long, or holds other keys than the genesis names.
    pub fn verifying_keys(&self) -> Result<Vec<u8>, NetworkError> {
        let path = self.path.join(&self.settings.verifying_keys);
        let bytes =
            crate::atomic::read_bounded(&path, KEYS_LIMIT).map_err(|source| NetworkError::Io {
                path: path.clone(),
                source,
            })?;
        let keys: VerifyingKeys =
            decode("list of verifying keys", &bytes).map_err(|source| NetworkError::Malformed {
                path: path.clone(),
                source,
            })?;
        if keys.digest() == self.genesis.verifying_keys {
            Ok(bytes)
        } else {
            Err(NetworkError::OtherKeys { path })
        }
    }
}

fn read_object<T: Serialize + for<'de> Deserialize<'de>>(
    kind: &'static str,
    path: &Path,
    limit: u64,
) -> Result<T, NetworkError> {
    let bytes = crate::atomic::read_bounded(path, limit).map_err(|source| NetworkError::Io {
        path: path.to_owned(),
        source,
    })?;
    decode(kind, &bytes).map_err(|source| NetworkError::Malformed {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use holdfast_market_core::parameters::Parameters;

    fn genesis(name: &str) -> Genesis {
        Genesis {
            name: name.into(),
            time: 0,
            parameters: Parameters::dev(),
            verifying_keys: VerifyingKeys::new().digest(),
            balances: vec![],
            validators: vec![],
        }
    }

    #[test]
    fn a_network_folder_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net");
        let keys = encode(&VerifyingKeys::new()).unwrap();
        NetworkFolder::create(
            &path,
            &genesis("test"),
            &keys,
            "http://127.0.0.1:1",
            Path::new("p"),
        )
        .unwrap();
        let network = NetworkFolder::open(&path).unwrap();
        assert_eq!(network.network(), genesis("test").network().unwrap());
        assert_eq!(network.api(), "http://127.0.0.1:1");
        assert_eq!(network.parameters(), path.join("p"));
        assert_eq!(network.verifying_keys().unwrap(), keys);
    }

    #[test]
    fn a_folder_with_another_networks_genesis_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = |genesis: &Genesis| {
            NetworkFolder::create(
                folder.path(),
                genesis,
                b"",
                "http://127.0.0.1:1",
                Path::new("p"),
            )
        };
        create(&genesis("test")).unwrap();
        let other = genesis("other");
        std::fs::write(folder.path().join(GENESIS_FILE), encode(&other).unwrap()).unwrap();
        let error = NetworkFolder::open(folder.path()).unwrap_err();
        assert!(matches!(error, NetworkError::OtherGenesis { found, .. }
            if found == other.network().unwrap()));
    }

    #[test]
    fn verifying_keys_that_the_genesis_does_not_name_are_refused() {
        use holdfast_proofs::proof::CircuitId;
        use holdfast_proofs::sector::SectorClass;
        let folder = tempfile::tempdir().unwrap();
        let mut keys = VerifyingKeys::new();
        keys.insert(CircuitId::seal(SectorClass::Mib8, 2), vec![1, 2, 3]);
        let network = NetworkFolder::create(
            folder.path(),
            &genesis("test"),
            &encode(&keys).unwrap(),
            "http://127.0.0.1:1",
            Path::new("p"),
        )
        .unwrap();
        assert!(matches!(
            network.verifying_keys(),
            Err(NetworkError::OtherKeys { .. })
        ));
        std::fs::write(folder.path().join(VERIFYING_KEYS_FILE), "garbage").unwrap();
        assert!(matches!(
            network.verifying_keys(),
            Err(NetworkError::Malformed { .. })
        ));
    }

    #[test]
    fn a_folder_without_settings_or_with_broken_ones_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            NetworkFolder::open(folder.path()),
            Err(NetworkError::Missing { .. })
        ));
        for broken in ["", "name = 1", "[[[", "\u{0}"] {
            std::fs::write(folder.path().join(NETWORK_FILE), broken).unwrap();
            assert!(matches!(
                NetworkFolder::open(folder.path()),
                Err(NetworkError::Settings { .. })
            ));
        }
        std::fs::write(folder.path().join(NETWORK_FILE), [0xff, 0xfe]).unwrap();
        assert!(NetworkFolder::open(folder.path()).is_err());
    }

    #[test]
    fn a_damaged_network_folder_is_refused_by_name() {
        use crate::damage;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net");
        let keys = encode(&VerifyingKeys::new()).unwrap();
        let api = "http://127.0.0.1:1";
        NetworkFolder::create(&path, &genesis("test"), &keys, api, Path::new("p")).unwrap();
        let open = |folder: &Path| {
            let network = NetworkFolder::open(folder)?;
            let keys = network.verifying_keys()?;
            Ok::<_, NetworkError>((network.genesis().clone(), keys, network.settings))
        };
        let (genesis, keys, settings) = open(&path).unwrap();
        for name in [GENESIS_FILE, VERIFYING_KEYS_FILE, NETWORK_FILE] {
            let mut refused = 0;
            damage::each(&path, Path::new(name), 100, 16, |folder, damage| {
                let whole = (genesis.clone(), keys.clone(), settings.clone());
                let opened = open(folder).map(|(genesis, keys, mut found)| {
                    if name == NETWORK_FILE {
                        // People write these; whoever follows them finds nobody, or somebody of
                        // another network, and says so.
                        found.api.clone_from(&settings.api);
                        found.parameters.clone_from(&settings.parameters);
                    }
                    (genesis, keys, found)
                });
                let opened = opened.map_err(|error| error.to_string());
                let named = folder.to_str().unwrap();
                refused +=
                    usize::from(damage::assert_named_or_same(opened, &whole, named, &damage));
            });
            assert!(refused > 20, "{name}: {refused}");
        }
    }
}
