//! The audits that a stranger does of a real ledger: every depth, and then the same ledger with one byte
//! changed in one place after another.

use crate::network::{Network, holdfast};
use serde_json::Value;
use std::path::Path;

pub fn every_depth(network: &Network, folder: &Path) {
    let whole = network.done(&["audit"]);
    assert!(whole["verifier"].as_str().unwrap().contains("bls12_381"));

    let receipts = network.folder.join("wallet").join("receipts");
    let mut seen = 0;
    for receipt in std::fs::read_dir(receipts).unwrap() {
        let path = receipt.unwrap().path();
        let held = network.done(&["audit", "receipt", path.to_str().unwrap()]);
        assert_eq!(held["holds"], true);
        seen += 1;
    }
    assert!(seen > 0, "there is no receipt");

    // What the history adds up to is what the ledger says of the provider.
    let told = network.done(&["audit", "provider", "0"]);
    let history = &told["history"];
    let record = &history["provider"]["record"];
    let (mut paid, mut rewarded, mut proven) = (0u128, 0u128, 0u64);
    for event in history["events"].as_array().unwrap() {
        let amount = |name: &str| event[name].as_str().unwrap().parse::<u128>().unwrap();
        if event["event"] == "money" {
            paid += amount("paid");
            rewarded += amount("rewarded");
        }
    }
    for sector in history["sectors"].as_array().unwrap() {
        let periods = sector["periods"].as_array().unwrap().iter();
        proven += periods.filter(|period| period["mark"] == "proven").count() as u64;
    }
    assert_eq!(record["paid"], paid.to_string());
    assert_eq!(record["rewarded"], rewarded.to_string());
    assert_eq!(record["proven"], proven);
    let none = network.refused(&["audit", "provider", "99"]);
    assert_eq!(none.code, Some(4));

    let (report, checkpoint) = (folder.join("report.json"), folder.join("checkpoint"));
    let (report, checkpoint) = (report.to_str().unwrap(), checkpoint.to_str().unwrap());
    let arguments = ["audit", "--report", report, "--resume", checkpoint];
    let first = network.done(&arguments);
    assert_eq!(first["resumed_after"], Value::Null);
    let second = network.done(&arguments);
    assert_eq!(second["resumed_after"], first["height"]);
    assert!(second["done"].as_u64() >= first["done"].as_u64());
    let output = holdfast(&["audit", "verify-report", report, "--json"]);
    assert!(output.status.success());
    let text = std::fs::read_to_string(report).unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["report"]["height"], second["height"]);
    std::fs::write(
        report,
        text.replace("\"conserved\": true", "\"conserved\": false"),
    )
    .unwrap();
    let output = holdfast(&["audit", "verify-report", report]);
    assert_eq!(output.status.code(), Some(1));
}

/// Audits these bytes on nothing but themselves, and gives what is said of them.
fn audit(path: &Path, bytes: &[u8], id: &str) -> (Option<i32>, String) {
    std::fs::write(path, bytes).unwrap();
    let output = holdfast(&[
        "audit",
        "--bundle",
        path.to_str().unwrap(),
        "--genesis-id",
        id,
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

pub fn changed_bytes(network: &Network, folder: &Path) {
    // By the audit's own drill: each place, what it must be refused for, and whether a block is named.
    let drilled = network.done(&["audit", "drill"]);
    let expected: [(&str, &[&str]); 12] = [
        ("a balance of the genesis", &["is of network"]),
        ("a header's parent", &["the header's parent", "certificate"]),
        ("a header's state root", &["certificate"]),
        (
            "a header's root of outcomes",
            &["the header's receipts_root"],
        ),
        ("a header's beacon", &["the header's beacon"]),
        (
            "a certificate's signature",
            &["it is the certificate that is wrong"],
        ),
        ("a message's fee", &["is not what its sender signed"]),
        ("a message's signature", &["is not what its sender signed"]),
        ("a seal proof", &["ProveSeal of", "the proof of sector"]),
        ("an embed proof", &["ProveEmbed of", "the proof of sector"]),
        (
            "a spacetime proof",
            &["ProveSpacetime of", "the proof of sector"],
        ),
        (
            "the state root that the ledger says it has",
            &["the ledger says its state has root"],
        ),
    ];
    let places = drilled["places"].as_array().unwrap();
    assert_eq!(places.len(), expected.len());
    for (place, (part, words)) in places.iter().zip(expected) {
        assert_eq!(place["part"], part);
        assert_eq!(place["verdict"], "refused", "{place}");
        let changed = &place["byte"]["block"];
        if changed.as_u64().unwrap() > 0 {
            assert_eq!(&place["block"], changed, "{place}");
        }
        for word in words {
            assert!(
                place["reason"].as_str().unwrap().contains(word),
                "{word}: {place}"
            );
        }
    }
    assert_eq!(
        drilled["unchanged"]["verifier"],
        network.done(&["audit"])["verifier"]
    );

    let path = folder.join("bundle");
    let exported = network.done(&["audit", "export", path.to_str().unwrap()]);
    let id = exported["head"]["network"].as_str().unwrap();
    let bundle = std::fs::read(&path).unwrap();
    let (code, said) = audit(&path, &bundle, id);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = audit(&path, &bundle, &"0".repeat(64));
    assert_eq!(code, Some(1));
    assert!(said.contains("is of network"), "{said}");
    // What lies beside a bundle came with it: no checkpoint is looked for there.
    let output = holdfast(&["audit", "--bundle", path.to_str().unwrap(), "--resume"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--resume needs the checkpoint's file"),
        "{said}"
    );
    // A byte whose digest was not made anew, and one of the genesis.
    let mut other = bundle.clone();
    other[bundle.len() / 2] ^= 1;
    let (code, said) = audit(&path, &other, id);
    assert_eq!(code, Some(1));
    assert!(said.contains("the bundle"), "{said}");
    let genesis = network.folder.join("genesis.cbor");
    let honest = std::fs::read(&genesis).unwrap();
    let mut other = honest.clone();
    let at = other
        .windows(7)
        .position(|run| run == b"amount\x50")
        .unwrap()
        + 10;
    other[at] ^= 1;
    std::fs::write(&genesis, &other).unwrap();
    let answer = network.refused(&["audit"]);
    std::fs::write(&genesis, &honest).unwrap();
    assert!(answer.stderr.contains("genesis.cbor"), "{}", answer.stderr);
    network.done(&["audit"]);
}
