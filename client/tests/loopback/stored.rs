//! What is stored comes back, also from the last k of its nodes.

use super::network::{Network, get, noise, options, put};
use holdfast_client::catalogue::Catalogue;
use holdfast_client::published::{current, read_current};
use holdfast_client::seal::WrappedKey;
use holdfast_client::session::Session;
use holdfast_client::wallet::Wallet;
use holdfast_testnet::Tree;
use holdfast_wire::keys::KeyFile;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A tree of several packs: one file larger than two of them, and all that a file system may ask.
pub fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::fs::create_dir_all(root.join("empty folder")).unwrap();
    std::fs::write(root.join("large.bin"), noise(1, 1_700_000)).unwrap();
    for (seed, length) in [1, 127, 16_256, 65_535, 65_536, 65_537]
        .into_iter()
        .enumerate()
    {
        let path = root.join(format!("deep/file {length}"));
        std::fs::write(path, noise(seed as u64, length)).unwrap();
    }
    std::fs::write(root.join("nothing"), b"").unwrap();
    std::fs::write(root.join("deep/er/ünï\u{1f980}"), b"crab").unwrap();
    symlink("deep/file 1", root.join("link")).unwrap();
    let set = |name: &str, mode, seconds| {
        let file = std::fs::File::open(root.join(name)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
        file.set_modified(time).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(mode))
            .unwrap();
    };
    set("nothing", 0o600, 1_000_000_000);
    set("deep/file 127", 0o755, 1);
    set("empty folder", 0o700, 1_600_000_000);
}

/// Whether two trees are the same to every byte, name, mode and time.
pub fn assert_same(one: &Path, other: &Path) {
    let differences = Tree::read(one)
        .unwrap()
        .differences(&Tree::read(other).unwrap());
    assert_eq!(differences, Vec::<String>::new());
}

/// The catalogue that another machine reads, which has only the phrase.
async fn by_the_phrase_alone(network: &Network, session: &Session) -> Catalogue {
    let phrase = KeyFile::read(&session.wallet().path().join("phrase.key")).unwrap();
    let path = network.path("another machine");
    Wallet::create(&path, Some(phrase)).unwrap();
    let session = Session::open(&network.at(), Some(&path)).unwrap();
    let catalogue = read_current(&session).await.unwrap();
    session.close().await;
    std::fs::remove_dir_all(path).unwrap();
    catalogue
}

/// The ledger, the wallet's folder and the phrase alone all tell of exactly these objects, and each
/// has its packs' deals on the ledger.
pub async fn assert_all_tell(network: &Network, session: &Session, names: &[&str]) {
    let here = session.wallet().catalogue().unwrap();
    let there = by_the_phrase_alone(network, session).await;
    // The manifests' keys are wrapped anew each time, under nonces of their own.
    let plain = |catalogue: &Catalogue| {
        let mut objects = catalogue.objects().to_vec();
        for object in &mut objects {
            object.manifest_key = WrappedKey([0; 67]);
        }
        objects
    };
    assert_eq!(plain(&here), plain(&there));
    let found: Vec<&str> = here.objects().iter().map(|object| &*object.name).collect();
    assert_eq!(found, names);
    for object in here.objects() {
        for pack in &object.packs {
            session.ledger().deal_set(pack.unwrap()).await.unwrap();
        }
    }
    assert_eq!(current(session).await.unwrap(), here);
    let journals = session.wallet().journal().unwrap();
    assert_eq!(std::fs::read_dir(journals).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_of_several_packs_comes_back_from_the_last_k_nodes_assisted_or_direct() {
    let network = Network::start(6, 8).await;
    let session = network.session();
    let source = network.path("tree");
    tree(&source);
    let mut objects = Vec::new();
    for (name, direct) in [("assisted", false), ("direct", true)] {
        let assisted = || {
            network
                .nodes
                .iter()
                .map(|node| node.assisted())
                .sum::<u64>()
        };
        let before = assisted();
        let stored = put(&session, &source, &options(name, direct))
            .await
            .unwrap();
        assert!(stored.packs.len() >= 3, "{} packs", stored.packs.len());
        assert!(stored.published && !stored.resumed);
        // Every pack by way of one node, or by none.
        let asked = if direct { 0 } else { stored.packs.len() as u64 };
        assert_eq!(assisted() - before, asked);
        for pack in &stored.packs {
            let mut providers: Vec<_> = pack.shards.iter().map(|shard| shard.provider).collect();
            providers.sort_unstable();
            providers.dedup();
            assert_eq!(providers.len(), 6);
        }
        objects.push(stored);
    }
    // Each under keys of its own: what is stored twice cannot be told by its bytes.
    assert_ne!(objects[0].id, objects[1].id);
    assert_all_tell(&network, &session, &["assisted", "direct"]).await;
    for node in &network.nodes[..3] {
        node.kill().await;
    }
    for name in ["assisted", "direct"] {
        let back = get(&session, name, &network.path(name)).await;
        assert_same(&source, &back);
    }
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_file_and_an_empty_folder_come_back_the_same() {
    let network = Network::start(6, 2).await;
    let session = network.session();
    let (file, folder): (PathBuf, _) = (network.path("empty.txt"), network.path("empty folder"));
    std::fs::write(&file, b"").unwrap();
    std::fs::create_dir(&folder).unwrap();
    for path in [&file, &folder] {
        let opened = std::fs::File::open(path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 1);
        opened.set_modified(time).unwrap();
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    for (path, files) in [(&file, 1), (&folder, 0)] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stored = put(&session, path, &options(name, false)).await.unwrap();
        assert_eq!((stored.files, stored.bytes.0), (files, 0));
        let back = get(&session, name, &network.path("back")).await;
        assert_eq!(back.file_name(), path.file_name());
        assert_same(path, &back);
    }
    session.close().await;
}
