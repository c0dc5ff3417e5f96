//! One process at a time: a node that lives keeps its folder, and one that was killed lets go of it
//! soon enough for the next.
#![allow(clippy::unwrap_used, missing_docs)]

use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::encode;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::Amount;
use holdfast_node::journal::Journal;
use holdfast_node::keys::NodeKeys;
use holdfast_node::node::{Node, NodeConfig};
use holdfast_node::pipeline::Goal;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::network::NetworkFolder;
use rand::SeedableRng;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where it is set, this binary is the process that holds the folder.
const HOLD: &str = "HOLDFAST_TEST_HOLD";
const TEST: &str = "a_living_process_keeps_its_folder_and_a_killed_one_is_waited_for";

fn prepare(folder: &Path) {
    let keys = VerifyingKeys::new();
    let genesis = Genesis {
        name: "test".into(),
        time: 0,
        parameters: Parameters::dev(),
        verifying_keys: keys.digest(),
        balances: vec![],
        validators: vec![],
    };
    let keys = encode(&keys).unwrap();
    let network = folder.join("network");
    NetworkFolder::create(
        &network,
        &genesis,
        &keys,
        "http://127.0.0.1:1",
        Path::new("p"),
    )
    .unwrap();
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    NodeKeys::create(&folder.join("data"), &mut rng).unwrap();
}

fn open(folder: &Path) -> Result<Node, String> {
    let config = NodeConfig {
        network: NetworkFolder::open(&folder.join("network")).unwrap(),
        data: folder.join("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        goal: Goal {
            class: SectorClass::Mib8,
            sectors: 0,
            retire: false,
        },
        price: Amount(1),
        read_price: Amount::ZERO,
    };
    Node::open(config).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_process_keeps_its_folder_and_a_killed_one_is_waited_for() {
    if let Some(folder) = std::env::var_os(HOLD) {
        let _node = open(Path::new(&folder)).unwrap();
        println!("held");
        std::thread::sleep(Duration::from_secs(120));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(HOLD, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let held = lines
        .map_while(Result::ok)
        .any(|line| line.contains("held"));
    assert!(held);

    let begun = Instant::now();
    let refusal = open(folder.path()).err().unwrap();
    assert!(
        refusal.contains("data is in use by another process"),
        "{refusal}"
    );
    assert!(begun.elapsed() >= Duration::from_secs(4));

    // It is killed while the next one waits.
    let killing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        other.kill().unwrap();
        other.wait().unwrap();
    });
    let begun = Instant::now();
    open(folder.path()).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500));
    killing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_another_still_holds_is_waited_for_and_then_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    drop(open(folder.path()).unwrap());
    let path = folder.path().join("data/node.db");
    let held = Journal::open(&path).unwrap();
    let refusal = open(folder.path()).err().unwrap();
    assert!(
        refusal.contains("node.db is in use by another process"),
        "{refusal}"
    );
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(held);
    });
    open(folder.path()).unwrap();
    letting_go.join().unwrap();
}
