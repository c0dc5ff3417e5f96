//! What processes read from their folders and from those of a network.

use crate::read::{answer, encoded, usual};
use crate::{Answer, Decoder, FEW_CALLS, Form, proofs, sample, wire};
use holdfast_market_core::block::{Header, validators_root};
use holdfast_market_core::message::encode;
use holdfast_market_core::units::BlockId;
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_testnet::Testnet;
use holdfast_wire::folder::{DataFolder, FolderError, FolderKind};
use holdfast_wire::keys::{KeyFile, KeyFileError};
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::light::{LIGHT_FILE, LightClient};
use holdfast_wire::network::{
    GENESIS_FILE, NETWORK_FILE, NetworkError, NetworkFolder, VERIFYING_KEYS_FILE,
};
use holdfast_wire::watermark::{Mark, Watermark};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) fn decoders() -> Vec<Decoder> {
    let file = |name, form, decode, seeds| Decoder {
        calls: FEW_CALLS,
        ..usual(name, form, decode, seeds)
    };
    vec![
        file("network-settings", Form::Text, network_settings, || {
            vec![honest_settings().to_vec()]
        }),
        file("network-genesis", Form::Cbor, network_genesis, || {
            encoded([sample::genesis()])
        }),
        file("network-keys", Form::Cbor, network_keys, || {
            vec![encode(proofs::made_keys()).unwrap()]
        }),
        file("folder-identity", Form::Json, folder_identity, || {
            vec![honest_identity()]
        }),
        file("key-file", Form::Text, key_file, || {
            vec![format!("{}\n", wire::words()).into_bytes()]
        }),
        usual("checked-file", Form::Json, checked_file, || {
            vec![
                with_check(RECORD.as_bytes()),
                with_check(&honest_identity()),
            ]
        }),
        file("watermark", Form::Bytes, watermark, || vec![honest_mark()]),
        file("light-file", Form::Json, light_file, || {
            vec![honest_light_file()]
        }),
        file("testnet-record", Form::Json, testnet_record, || {
            vec![RECORD.as_bytes().to_vec()]
        }),
    ]
}

/// A folder of a decoder's own, for this process.
pub(crate) fn folder(name: &str) -> PathBuf {
    static ALL: OnceLock<tempfile::TempDir> = OnceLock::new();
    // In memory where the system has such a place: every call writes a file anew.
    let memory = Path::new("/dev/shm");
    let all = ALL.get_or_init(|| match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    });
    let folder = all.path().join(name);
    if !folder.is_dir() {
        std::fs::create_dir_all(&folder).unwrap();
    }
    folder
}

fn network(path: &Path) {
    if !path.join(NETWORK_FILE).exists() {
        let keys = encode(proofs::made_keys()).unwrap();
        let api = "http://127.0.0.1:1";
        NetworkFolder::create(path, &sample::genesis(), &keys, api, Path::new("p")).unwrap();
    }
}

fn honest_settings() -> &'static [u8] {
    static SETTINGS: OnceLock<Vec<u8>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let folder = folder("honest-network");
        network(&folder);
        std::fs::read(folder.join(NETWORK_FILE)).unwrap()
    })
}

/// Settings that are taken name this very genesis.
fn network_settings(bytes: &[u8]) -> Answer {
    let folder = folder("network-settings");
    network(&folder);
    std::fs::write(folder.join(NETWORK_FILE), bytes).unwrap();
    match NetworkFolder::open(&folder) {
        Err(_) => Answer::Refused,
        Ok(network) => {
            assert_eq!(network.network(), sample::genesis().network().unwrap());
            assert_eq!(network.name(), sample::genesis().name);
            Answer::Read
        }
    }
}

/// A genesis beside honest settings is theirs, byte for byte.
fn network_genesis(bytes: &[u8]) -> Answer {
    let folder = folder("network-genesis");
    network(&folder);
    let path = folder.join(GENESIS_FILE);
    std::fs::write(&path, bytes).unwrap();
    match NetworkFolder::open(&folder) {
        Err(NetworkError::Missing { path }) => panic!("{} is there", path.display()),
        Err(_) => Answer::Refused,
        Ok(_) => {
            assert!(
                bytes == encode(&sample::genesis()).unwrap(),
                "another genesis is taken"
            );
            Answer::Read
        }
    }
}

/// Keys beside an honest genesis are those that it names, byte for byte.
fn network_keys(bytes: &[u8]) -> Answer {
    let folder = folder("network-keys");
    network(&folder);
    let network = NetworkFolder::open(&folder).unwrap();
    std::fs::write(folder.join(VERIFYING_KEYS_FILE), bytes).unwrap();
    match network.verifying_keys() {
        Err(_) => Answer::Refused,
        Ok(keys) => {
            assert!(keys == bytes && keys == encode(proofs::made_keys()).unwrap());
            Answer::Read
        }
    }
}

const IDENTITY: &str = "folder.json";

fn honest_identity() -> Vec<u8> {
    let folder = folder("honest-identity");
    DataFolder::open(&folder, FolderKind::Node, sample::NETWORK).unwrap();
    std::fs::read(folder.join(IDENTITY)).unwrap()
}

/// An identity that is taken says the kind, the network and the layout that were asked for.
fn folder_identity(bytes: &[u8]) -> Answer {
    let folder = folder("folder-identity");
    std::fs::write(folder.join(IDENTITY), bytes).unwrap();
    match DataFolder::open(&folder, FolderKind::Node, sample::NETWORK) {
        Err(FolderError::InUse { .. } | FolderError::Foreign { .. }) => {
            panic!("nobody uses the folder, and it is ours")
        }
        Err(_) => Answer::Refused,
        Ok(_) => {
            let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            let honest: serde_json::Value = serde_json::from_slice(&honest_identity()).unwrap();
            assert_eq!(said, honest);
            Answer::Read
        }
    }
}

/// A key file that is taken holds the words of its phrase and nothing else.
fn key_file(bytes: &[u8]) -> Answer {
    let path = folder("key-file").join("phrase.key");
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    match KeyFile::read(&path) {
        Err(KeyFileError::Exposed { .. }) => panic!("nobody else can read it"),
        Err(_) => Answer::Refused,
        Ok(phrase) => {
            let text = std::str::from_utf8(bytes).unwrap().to_lowercase();
            let found: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(*phrase.words(), found.join(" "));
            Answer::Read
        }
    }
}

fn honest_mark() -> Vec<u8> {
    let database = folder("honest-mark").join("database");
    Watermark::open(&database).unwrap().note(77).unwrap();
    std::fs::read(Watermark::path_of(&database)).unwrap()
}

/// A mark that is believed is the one that was noted; a file beside nothing is never none.
fn watermark(bytes: &[u8]) -> Answer {
    let database = folder("watermark").join("database");
    std::fs::write(Watermark::path_of(&database), bytes).unwrap();
    match Watermark::read(&database) {
        Mark::None => panic!("there is a mark"),
        Mark::Unreadable | Mark::Cut { .. } => Answer::Refused,
        Mark::At(number) => {
            // The hash finds damage and keeps nobody out: another number has its own, and here is no
            // manifest to be noted with it.
            Watermark::open(&database).unwrap().note(number).unwrap();
            let again = std::fs::read(Watermark::path_of(&database)).unwrap();
            assert!(again.first_chunk::<8>() == bytes.first_chunk::<8>());
            Answer::Read
        }
    }
}

/// The header that the file holds, and the network of the samples' genesis.
fn honest_light_file() -> Vec<u8> {
    let network = sample::genesis().network().unwrap();
    let header = Header {
        next_validators: validators_root(&[sample::validator()]).unwrap(),
        ..sample::block_header(7, BlockId([1; 32]))
    };
    let object = serde_json::json!({
        "version": 1,
        "network": network,
        "header": header,
        "validators": [sample::validator()],
    });
    serde_json::to_vec(&object).unwrap()
}

/// A file that is taken names this network, and the validators in it are those that its header names.
fn light_file(bytes: &[u8]) -> Answer {
    let path = folder("light-file").join(LIGHT_FILE);
    let ledger = LedgerClient::new("http://127.0.0.1:1").unwrap();
    let genesis = sample::genesis();
    // Without its hash, which keeps out what is damaged and nobody who lies, every change is read.
    std::fs::write(&path, with_check(bytes)).unwrap();
    match LightClient::open(&genesis, ledger, &path) {
        Err(_) => Answer::Refused,
        Ok(light) => {
            let chain = light.chain();
            assert_eq!(chain.network(), genesis.network().unwrap());
            let header = chain.header().unwrap();
            let named = validators_root(chain.validators()).unwrap();
            assert_eq!(named, header.next_validators);
            assert_eq!(chain.block(), header.id().unwrap());
            Answer::Read
        }
    }
}

/// A file whose hash fits is what it was written as, byte for byte.
fn checked_file(bytes: &[u8]) -> Answer {
    let object = without_check(bytes);
    if let Some(object) = &object {
        assert!(with_check(object) == bytes);
    }
    answer(object)
}

/// The record of a testnet whose processes are gone: no process has such numbers.
const RECORD: &str = r#"{
  "version": 1,
  "class": "8MiB",
  "sectors": 1,
  "processes": [
    {"name": "market", "role": "market", "port": 4000, "process": {"pid": 4294967295, "started": 7}},
    {"name": "node-0", "role": "node", "port": 4001, "process": null}
  ]
}"#;

/// A record that is taken says the same when it is written again.
fn testnet_record(bytes: &[u8]) -> Answer {
    let folder = folder("testnet-record");
    let path = folder.join("testnet.json");
    std::fs::write(&path, with_check(bytes)).unwrap();
    match Testnet::open(&folder) {
        Err(_) => Answer::Refused,
        Ok(testnet) => {
            testnet.record().write(&folder).unwrap();
            let written = without_check(&std::fs::read(&path).unwrap()).unwrap();
            let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
            let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(written, said);
            Answer::Read
        }
    }
}
