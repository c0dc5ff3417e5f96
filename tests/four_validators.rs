//! The main job on four validators of which one dies half way, end to end, on real processes. Then, on
//! the network that this leaves running with half its nodes dead: what the four markets hold is one
//! ledger, every depth of the audit says so, and one byte of it is not changed unseen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "main_job/network.rs"]
mod network;

use network::{Network, holdfast, print_logs};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;

const MARKETS: [&str; 4] = ["market", "market-1", "market-2", "market-3"];

#[test]
fn the_main_job_goes_on_while_one_of_four_validators_is_dead_and_leaves_one_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for (number, length) in [0usize, 1, 200_000].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..251).cycle().take(length).collect();
        std::fs::write(tree.join(format!("file {number}")), bytes).unwrap();
    }
    let network = Network {
        folder: folder.path().join("net"),
    };
    let output = holdfast(&[
        OsStr::new("testnet"),
        OsStr::new("demo"),
        tree.as_os_str(),
        OsStr::new("--folder"),
        network.folder.as_os_str(),
        OsStr::new("--nodes"),
        OsStr::new("4"),
        OsStr::new("--validators"),
        OsStr::new("4"),
        OsStr::new("--keep"),
        OsStr::new("--json"),
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        print_logs(&network.folder);
        panic!(
            "the demo failed: {text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 8);

    one_ledger(&network);
    let drilled = network.done(&["audit", "drill"]);
    let places = drilled["places"].as_array().unwrap();
    assert_eq!(places.len(), 12);
    for place in places {
        assert_eq!(place["verdict"], "refused", "{place}");
    }
    let certificate = places
        .iter()
        .find(|place| place["part"] == "a certificate's signature");
    let reason = certificate.unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("certificate that is wrong"), "{reason}");

    // It is still used: by whoever stores and reads, with two nodes, and by a light client.
    let file = tree.join("file 2");
    let file = file.to_str().unwrap();
    network.done(&["put", file, "--data-shards", "1", "--total-shards", "2"]);
    let to = folder.path().join("back");
    network.done(&["get", "file 2", "--to", to.to_str().unwrap()]);
    assert_eq!(
        std::fs::read(to.join("file 2")).unwrap(),
        std::fs::read(file).unwrap()
    );
    let nobody = network.refused(&["audit", "provider", "99"]);
    assert_eq!(nobody.code, Some(4));
    // The network is named before what is asked for.
    let light = holdfast(&[
        OsStr::new("audit"),
        OsStr::new("light"),
        OsStr::new("--network"),
        network.folder.as_os_str(),
        OsStr::new("provider"),
        OsStr::new("0"),
    ]);
    let said = String::from_utf8_lossy(&light.stderr);
    assert!(light.status.success(), "{said}");
}

/// Each market's own folder, read beside it, holds; and where all of them have come to by now, they
/// have the same block and the same state before the next.
fn one_ledger(network: &Network) {
    let mut bundles = Vec::new();
    for market in MARKETS {
        let ledger = network.folder.join(market);
        let ledger = ledger.to_str().unwrap();
        let audit = network.done(&["audit", "--ledger", ledger]);
        assert_eq!(audit["conserved"], true, "{market}");
        let bundle = network.folder.join(format!("{market}.bundle"));
        let bundle = bundle.to_str().unwrap().to_owned();
        let said = network.done(&["audit", "export", &bundle, "--ledger", ledger]);
        bundles.push((said["head"]["height"].as_u64().unwrap(), bundle));
    }
    // By the names of the blocks: in its certificates each market has the votes that came to it first.
    let least = bundles.iter().map(|(height, _)| *height).min().unwrap();
    let chains: BTreeSet<Vec<[u8; 32]>> = bundles
        .iter()
        .map(|(_, path)| parents(&std::fs::read(path).unwrap(), least))
        .collect();
    assert_eq!(chains.len(), 1, "the markets hold different chains");
    assert!(least > 30);
}

/// The parents that the headers of the first blocks of a bundle name: each block is named by the next.
fn parents(bundle: &[u8], blocks: u64) -> Vec<[u8; 32]> {
    use holdfast_market_core::block::CertifiedBlock;
    use holdfast_market_core::message::decode;
    let mut at = bundle.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut parents = Vec::new();
    while (parents.len() as u64) < blocks {
        let length = u32::from_be_bytes(bundle[at + 1..at + 5].try_into().unwrap()) as usize;
        if bundle[at] == b'b' {
            let bytes = &bundle[at + 5..at + 5 + length];
            let block: CertifiedBlock = decode("block", bytes).unwrap();
            parents.push(block.block.header.parent.0);
        }
        at += 5 + length;
    }
    parents
}
