//! The main job, end to end, on real processes: the demo with a small tree, and then, on the
//! network that it leaves running with half its nodes dead, what a user does and does wrong.
//!
//! `HOLDFAST_LONG=1` (`./dev test --long`) stores more: 200 files and one of 12 MB, at six nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "main_job/audits.rs"]
mod audits;
#[path = "main_job/network.rs"]
mod network;

use holdfast_faults::is_long;
use holdfast_testnet::Tree;
use network::{Network, holdfast, print_logs};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

const MIB: u64 = 1 << 20;

/// Bytes that no compressor and no accident makes; the same every time.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    let key = blake3::hash(&seed.to_le_bytes());
    blake3::Hasher::new_keyed(key.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A tree with all that a file system may ask: sizes around the borders of chunks, an empty file, an
/// empty folder, modes, old times, a link, names of all kinds.
fn make_tree(root: &Path) {
    std::fs::create_dir_all(root.join("deep/er")).unwrap();
    std::fs::create_dir_all(root.join("empty folder")).unwrap();
    for (index, length) in [1, 127, 16_256, 65_536, 65_537, 200_000]
        .into_iter()
        .enumerate()
    {
        let name = format!("deep/file {index}");
        std::fs::write(root.join(name), noise(index as u64, length)).unwrap();
    }
    std::fs::write(root.join("nothing"), b"").unwrap();
    std::fs::write(root.join("deep/er/ünï\u{1f980}"), b"crab").unwrap();
    std::fs::write(root.join("run.sh"), b"#!/bin/sh\n").unwrap();
    symlink("deep/file 1", root.join("link")).unwrap();
    if is_long() {
        for index in 0..200 {
            let bytes = noise(1000 + index, 500 + index * 37);
            std::fs::write(root.join(format!("deep/er/small {index}")), bytes).unwrap();
        }
        std::fs::write(root.join("large.bin"), noise(7, 12_000_000)).unwrap();
    }
    let mode = |name: &str, mode| {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("run.sh", 0o755);
    mode("nothing", 0o600);
    mode("empty folder", 0o700);
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for name in ["deep/file 2", "empty folder"] {
        std::fs::File::open(root.join(name))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
}

#[test]
fn a_tree_comes_back_after_half_the_network_dies_and_every_proof_verifies_again() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("my tree");
    make_tree(&tree);
    let network = Network {
        folder: folder.path().join("net"),
    };
    let nodes: u64 = if is_long() { 6 } else { 4 };
    let report = demo(&tree, &network.folder, nodes);
    check_report(&report, &tree, nodes);

    // The network runs on, with half its nodes: what the README says to try.
    let half = (nodes / 2).to_string();
    few_providers_are_counted(&network, &tree);
    too_much_is_refused_before_anything_is_paid(&network, folder.path(), &half);
    an_empty_purse_is_told_what_is_missing(&network, folder.path(), &half);
    what_is_missing_is_named(&network, folder.path());
    empty_things_come_back(&network, folder.path(), &half);
    audits::every_depth(&network, folder.path());
    audits::changed_bytes(&network, folder.path());
    commands_tell_the_same_story(&network);
}

/// The demo as a user runs it, kept.
fn demo(tree: &Path, folder: &Path, nodes: u64) -> Value {
    let arguments: [&OsStr; 9] = [
        "testnet".as_ref(),
        "demo".as_ref(),
        tree.as_ref(),
        "--folder".as_ref(),
        folder.as_ref(),
        "--nodes".as_ref(),
        OsStr::new(if nodes == 6 { "6" } else { "4" }),
        "--keep".as_ref(),
        "--json".as_ref(),
    ];
    let output = holdfast(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        print_logs(folder);
        panic!(
            "the demo failed: {text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_str(&text).unwrap()
}

fn check_report(report: &Value, tree: &Path, nodes: u64) {
    assert_eq!(report["ok"], true);
    assert_eq!(report["running"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 8);
    let before = Tree::read(tree).unwrap();
    assert_eq!(report["stored"]["files"], before.files());
    assert_eq!(report["stored"]["bytes"], before.bytes());
    assert_eq!(report["stored"]["k"], nodes / 2);
    assert_eq!(report["killed"].as_array().unwrap().len() as u64, nodes / 2);
    // What the demo has compared, compared once more by somebody else.
    let back = Path::new(report["folder"].as_str().unwrap())
        .join("fetched")
        .join(tree.file_name().unwrap());
    assert_eq!(
        before.differences(&Tree::read(&back).unwrap()),
        Vec::<String>::new()
    );

    for kind in ["seal", "embed", "spacetime"] {
        let proofs = &report["proofs"][kind];
        assert!(
            proofs["count"].as_u64().unwrap() >= nodes,
            "{kind}: {proofs}"
        );
        assert_eq!(proofs["bytes"], proofs["count"].as_u64().unwrap() * 192);
    }
    let killed = report["killed"].as_array().unwrap();
    for provider in report["after"]["providers"].as_array().unwrap() {
        let dead = killed.contains(&provider["name"]);
        assert_eq!(provider["missed"].as_u64().unwrap() > 0, dead, "{provider}");
        assert_eq!(provider["fined"] != "0", dead, "{provider}");
        assert_ne!(provider["paid"], "0", "{provider}");
    }
    for (process, peak) in report["peak_memory"].as_object().unwrap() {
        assert!(
            peak.as_u64().unwrap() < 1024 * MIB,
            "{process} held {peak} bytes"
        );
    }
}

/// Messages that the wallet has sent: what is refused before anything is paid sends none. The balance
/// would not do, since periods that dead nodes do not prove are refunded meanwhile.
fn sent(network: &Network) -> u64 {
    let wallet = network.done(&["wallet", "balance"]);
    wallet["sent"].as_u64().expect("a count of messages")
}

fn few_providers_are_counted(network: &Network, tree: &Path) {
    let before = sent(network);
    let answer = network.refused(&[
        "put",
        tree.to_str().unwrap(),
        "--name",
        "too wide",
        "--data-shards",
        "2",
        "--total-shards",
        "4",
    ]);
    let sentence = answer.object["error"].as_str().unwrap().to_owned();
    assert!(sentence.contains("provider"), "{sentence}");
    assert_eq!(sent(network), before);
}

fn too_much_is_refused_before_anything_is_paid(network: &Network, folder: &Path, n: &str) {
    let large = folder.join("large");
    // Larger than all sectors of the network together; without bytes on the disk.
    std::fs::File::create(&large)
        .unwrap()
        .set_len(100 * MIB)
        .unwrap();
    let before = sent(network);
    let path = large.to_str().unwrap();
    let answer = network.refused(&["put", path, "--data-shards", "1", "--total-shards", n]);
    let sentence = answer.object["error"].as_str().unwrap().to_owned();
    assert!(
        sentence.chars().any(|character| character.is_ascii_digit()),
        "no figures: {sentence}"
    );
    assert_eq!(sent(network), before);
}

fn an_empty_purse_is_told_what_is_missing(network: &Network, folder: &Path, n: &str) {
    let wallet = folder.join("empty purse");
    let wallet = wallet.to_str().unwrap();
    let init = holdfast(&["wallet", "init", "--wallet", wallet, "--json"]);
    assert!(init.status.success());
    let file = folder.join("a file");
    std::fs::write(&file, b"something").unwrap();
    let path = file.to_str().unwrap();
    let answer = network.refused(&[
        "put",
        path,
        "--wallet",
        wallet,
        "--data-shards",
        "1",
        "--total-shards",
        n,
    ]);
    let sentence = answer.object["error"].as_str().unwrap().to_owned();
    assert!(sentence.contains("HOLD"), "{sentence}");
}

fn what_is_missing_is_named(network: &Network, folder: &Path) {
    let missing = folder.join("no such file");
    let answer = network.refused(&["put", missing.to_str().unwrap()]);
    assert!(answer.stderr.contains("no such file"), "{}", answer.stderr);

    let answer = network.refused(&["get", "no such object"]);
    assert_eq!(answer.code, Some(4), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("no such object"),
        "{}",
        answer.stderr
    );

    // Nobody can read this, not even root.
    let unreadable = folder.join("with a socket");
    std::fs::create_dir(&unreadable).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(unreadable.join("socket")).unwrap();
    let answer = network.refused(&["put", unreadable.to_str().unwrap()]);
    assert!(answer.stderr.contains("socket"), "{}", answer.stderr);
}

fn empty_things_come_back(network: &Network, folder: &Path, n: &str) {
    let file = folder.join("empty.txt");
    std::fs::write(&file, b"").unwrap();
    let directory = folder.join("empty directory");
    std::fs::create_dir(&directory).unwrap();
    let to = folder.join("back");
    for path in [&file, &directory] {
        let before = Tree::read(path).unwrap();
        let answer = network.done(&[
            "put",
            path.to_str().unwrap(),
            "--data-shards",
            "1",
            "--total-shards",
            n,
        ]);
        let name = answer["name"].as_str().unwrap();
        network.done(&["get", name, "--to", to.to_str().unwrap()]);
        let after = Tree::read(&to.join(path.file_name().unwrap())).unwrap();
        assert_eq!(before.differences(&after), Vec::<String>::new());
    }
}

fn commands_tell_the_same_story(network: &Network) {
    let listed = network.done(&["ls"]).to_string();
    let status = network.done(&["status"]).to_string();
    for name in ["my tree", "empty.txt", "empty directory"] {
        assert!(listed.contains(name), "{name} is not in {listed}");
        assert!(status.contains(name), "{name} is not in {status}");
    }
    assert!(
        !listed.contains("too wide"),
        "what was refused is listed: {listed}"
    );
    network.done(&["audit"]);
    let kept = |term: &str| network.done(&["renew", "my tree", "--term", term]);
    let renewed = kept("400");
    assert_eq!(renewed["objects"][0]["name"], "my tree");
    assert_ne!(renewed["objects"][0]["escrow"], "0");
    let again = kept("390");
    assert_eq!(again["objects"][0]["escrow"], "0");
    let status = network.done(&["status", "my tree"]);
    // The dead providers' deals may have failed by now.
    let shards = status["objects"][0]["packs"][0]["shards"].as_array();
    let (gone, kept): (Vec<_>, Vec<_>) = shards
        .unwrap()
        .iter()
        .partition(|shard| shard["status"].as_str().unwrap().starts_with("failed"));
    assert!(kept.len() >= gone.len(), "{status}");
    for shard in kept {
        assert!(shard["periods_left"].as_u64() > Some(390), "{shard}");
    }

    let folder = network.folder.to_str().unwrap();
    let output = holdfast(&["testnet", "status", folder, "--json"]);
    assert!(output.status.success());
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    let running: Vec<_> = view["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    assert!(running.len() > 1);
    let output = holdfast(&["testnet", "down", folder, "--json"]);
    assert!(output.status.success());
    let stopped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stopped["stopped"].as_array().unwrap().len(), running.len());
    for pid in running {
        assert!(!alive(pid), "{pid} still runs");
    }
}

/// Whether a process runs. One that has ended stays in the table as a zombie until its parent, here the
/// system's first process, has taken note of it.
fn alive(pid: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit(") ").next().unwrap();
    !state.starts_with(['Z', 'X'])
}
