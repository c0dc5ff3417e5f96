//! Damaged files: the wallet's own, which the network gives back or which are named, and those of the
//! nodes, which a reader goes around and which the nodes have again from each other.

use super::damage::{self, Damage, Owner};
use super::network::{Network, get, noise, options, put};
use super::stored::assert_same;
use holdfast_client::catalogue::{Catalogue, ObjectRecord};
use holdfast_client::error::ClientError;
use holdfast_client::get::Got;
use holdfast_client::meter::Meter;
use holdfast_client::published::current;
use holdfast_client::receipt::{PortableReceipt, ReceiptError};
use holdfast_client::seal::WrappedKey;
use holdfast_client::session::Session;
use holdfast_client::wallet::Wallet;
use holdfast_market_core::block::Certificate;
use holdfast_wire::keys::{KeyFile, Phrase};
use holdfast_wire::light::LightClient;
use holdfast_wire::network::NetworkFolder;
use std::collections::BTreeSet;
use std::path::Path;

/// An object of two packs.
async fn stored(network: &Network, session: &Session) -> std::path::PathBuf {
    let source = network.path("file");
    std::fs::write(&source, noise(31, 1_000_000)).unwrap();
    put(session, &source, &options("file", false))
        .await
        .unwrap();
    source
}

/// The objects without what is wrapped anew each time.
fn plain(catalogue: &Catalogue) -> Vec<ObjectRecord> {
    let mut objects = catalogue.objects().to_vec();
    for object in &mut objects {
        object.manifest_key = WrappedKey([0; 67]);
    }
    objects
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_catalogue_that_is_damaged_or_lost_is_read_from_the_network_again() {
    let network = Network::start(6, 4).await;
    let session = network.session();
    let source = stored(&network, &session).await;
    let wallet = session.wallet().path().to_owned();
    // What a put leaves, and what holds the wallet, are kinds of the table.
    assert_eq!(
        damage::unknown(Owner::Wallet, &wallet),
        [""; 0].map(Path::new)
    );
    let whole = plain(&session.wallet().catalogue().unwrap());
    let file = wallet.join("catalogue.sealed");
    let length = std::fs::metadata(&file).unwrap().len();
    for damage in Damage::all(length, 3, 23) {
        damage.apply(&file);
        if damage != Damage::Gone {
            let error = session.wallet().catalogue().unwrap_err().to_string();
            assert!(error.contains("catalogue.sealed"), "{damage}: {error}");
        }
        if damage == Damage::Unreadable {
            let error = current(&session).await.unwrap_err().to_string();
            assert!(error.contains("catalogue.sealed"), "{damage}: {error}");
            std::fs::remove_dir(&file).unwrap();
        }
        assert_eq!(plain(&current(&session).await.unwrap()), whole, "{damage}");
        assert_eq!(
            plain(&session.wallet().catalogue().unwrap()),
            whole,
            "{damage}"
        );
    }
    assert_same(&source, &get(&session, "file", &network.path("back")).await);

    // One that was never published is not taken for an empty one.
    let poor = network.poor_session("poor");
    drop(poor.wallet().lock(poor.network_id()).unwrap());
    let file = poor.wallet().path().join("catalogue.sealed");
    std::fs::write(&file, b"").unwrap();
    let error = current(&poor).await.unwrap_err().to_string();
    assert!(error.contains("catalogue.sealed"), "{error}");
    poor.close().await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_receipt_shows_nothing() {
    let network = Network::start(6, 4).await;
    let session = network.session();
    stored(&network, &session).await;
    let receipts = session.wallet().receipts().unwrap();
    let file = damage::files(&receipts).remove(0);
    let folder = NetworkFolder::open(&network.at()).unwrap();
    let validators = folder.genesis().validators.clone();
    let read = |file: &Path| {
        let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
        let receipt = PortableReceipt::parse(&bytes).map_err(|error| error.to_string())?;
        let shown = receipt.verify(session.network_id(), &validators);
        shown.map(|()| receipt).map_err(|error| error.to_string())
    };
    let whole = read(&file).unwrap();
    let below = file.strip_prefix(&receipts).unwrap();
    damage::each(&receipts, below, 60, 24, |receipts, damage| {
        match read(&receipts.join(below)) {
            Ok(read) => assert_eq!(read, whole, "{damage}"),
            Err(error) => assert!(!error.is_empty(), "{damage}"),
        }
    });

    // Blocks that the first validators have not signed are shown by the chain that is followed, if
    // they are on it.
    let mut others = whole.clone();
    if let Certificate::Embedded { signature } = &mut others.packs[0].anchor.next_certificate {
        signature.0[7] ^= 1;
    }
    assert!(matches!(
        others.verify(session.network_id(), &validators),
        Err(ReceiptError::OtherValidators { .. })
    ));
    let path = network.path("light.json");
    let light = LightClient::open(folder.genesis(), session.ledger().clone(), &path);
    let mut light = light.unwrap();
    others.verify_on(&mut light).await.unwrap();
    // Once more, now that the chain was followed beyond it.
    light.follow().await.unwrap();
    others.verify_on(&mut light).await.unwrap();
    // The same history with another end, which is on no chain.
    let mut beside = whole.clone();
    beside.packs[0].anchor.next.time += 1;
    let error = beside.verify_on(&mut light).await.unwrap_err();
    assert!(matches!(
        error,
        ClientError::Receipt(ReceiptError::Broken {
            reason: "its block is not on the chain",
            ..
        })
    ));
    session.close().await;
}

async fn fetch(session: &Session, to: &Path) -> Got {
    let catalogue = current(session).await.unwrap();
    let record = holdfast_client::get::find(&catalogue, "file").unwrap();
    let got = holdfast_client::get::get(session, record, to, false, &Meter::hidden()).await;
    got.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shards_that_break_off_in_the_middle_are_gone_around_and_their_nodes_named() {
    let network = Network::start(6, 4).await;
    let session = network.session();
    let source = stored(&network, &session).await;
    let got = fetch(&session, &network.path("whole")).await;
    assert_same(&source, &got.path);
    assert_eq!(got.around, [""; 0]);
    // The nodes have the hashes in memory by now, so that they begin to send and then meet it. Every
    // shard that a reader would ask for first is damaged.
    let mut holders = BTreeSet::new();
    for node in &network.nodes {
        for (deal, file) in node.shard_files() {
            let length = std::fs::metadata(&file).unwrap().len();
            let damage = match deal.shard.0 {
                0 => Damage::Flip {
                    byte: length * 3 / 4,
                    bit: 4,
                },
                1 => Damage::Cut(length / 2),
                2 => Damage::Gone,
                _ => continue,
            };
            damage.apply(&file);
            holders.insert(node.provider);
        }
    }
    // Another session, which knows nothing of who answered before.
    let again = network.session();
    let got = fetch(&again, &network.path("back")).await;
    assert_same(&source, &got.path);
    assert!(got.around.len() >= 3, "{:?}", got.around);
    for fault in &got.around {
        let mut names = holders.iter().map(|holder| format!("provider {holder} "));
        assert!(names.any(|name| fault.contains(&name)), "{fault}");
    }
    let met: usize = network.nodes.iter().map(|node| node.damaged().len()).sum();
    assert!(met >= 3, "{met}");

    // And each node has its own again, from the other three.
    for node in &network.nodes {
        let files = node.shard_files().into_iter();
        for (deal, file) in files.filter(|(deal, _)| deal.shard.0 < 3) {
            node.rebuild(&network.client, deal).await.unwrap();
            let bytes = std::fs::read(file).unwrap();
            let set = session.ledger().deal_set(deal.pack).await.unwrap();
            let root = set.proposal.pack.shard_roots[deal.shard.position()];
            assert_eq!(blake3::hash(&bytes).as_bytes(), root.as_bytes());
        }
        assert_eq!(node.damaged(), []);
    }
    for node in &network.nodes[3..] {
        node.kill().await;
    }
    // Where too few are left that is said, and nothing is written.
    let (deal, file) = network.nodes[0].shard_files().remove(0);
    std::fs::remove_file(&file).unwrap();
    let error = network.nodes[0].rebuild(&network.client, deal).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&deal.to_string()), "{error}");
    assert!(
        error.contains("3 shards are needed and 2 could be read"),
        "{error}"
    );
    assert!(!file.exists());
    session.close().await;
    again.close().await;
}

#[test]
fn a_wallet_whose_phrase_is_damaged_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet");
    let wallet = Wallet::create(&path, None).unwrap();
    let whole = wallet.address();
    damage::each(&path, Path::new("phrase.key"), 20, 25, |folder, damage| {
        let opened = Wallet::open(folder).map(|wallet| wallet.address());
        let opened = opened.map_err(|error| error.to_string());
        let name = folder.to_str().unwrap();
        damage::assert_named_or_same(opened, &whole, name, &damage);
    });
    // The phrase alone, from paper, opens all of it again.
    let words = std::fs::read_to_string(path.join("phrase.key")).unwrap();
    let again = Wallet::create(
        &folder.path().join("again"),
        Some(Phrase::parse(&words).unwrap()),
    );
    assert_eq!(again.unwrap().address(), whole);
    KeyFile::read(&path.join("phrase.key")).unwrap();
}
