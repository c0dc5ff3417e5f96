//! The audits that a stranger does of a real ledger: every depth, and then the same ledger with one byte
//! changed in one place after another.

use crate::network::{Network, holdfast};
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::message::{Body, decode, encode};
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

/// A bundle's parts: where each record's bytes begin and end, with its kind.
fn records(bundle: &[u8]) -> Vec<(u8, usize, usize)> {
    let mut at = bundle.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut all = Vec::new();
    while at < bundle.len() {
        let length = u32::from_be_bytes(bundle[at + 1..at + 5].try_into().unwrap()) as usize;
        all.push((bundle[at], at + 5, at + 5 + length));
        at += 5 + length;
    }
    all
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

/// What is changed in the first block that has it; whether this block has it.
type Change = fn(&mut CertifiedBlock) -> bool;

pub fn changed_bytes(network: &Network, folder: &Path) {
    let path = folder.join("bundle");
    let exported = network.done(&["audit", "export", path.to_str().unwrap()]);
    let id = exported["head"]["network"].as_str().unwrap();
    let bundle = std::fs::read(&path).unwrap();
    let (code, said) = audit(&path, &bundle, id);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = audit(&path, &bundle, &"0".repeat(64));
    assert_eq!(code, Some(1));
    assert!(said.contains("is of network"), "{said}");

    fn proof(block: &mut CertifiedBlock, kind: &str) -> bool {
        for signed in &mut block.block.messages {
            match &mut signed.message.body {
                Body::ProveSeal { proofs, .. } if kind == "seal" => proofs[0].0[150] ^= 1,
                Body::ProveEmbed { proofs, .. } if kind == "embed" => proofs[0].0[150] ^= 1,
                Body::ProveSpacetime { proofs, .. } if kind == "spacetime" => {
                    proofs[0].proof.0[150] ^= 1;
                }
                _ => continue,
            }
            return true;
        }
        false
    }
    let cases: [(Change, &[&str]); 8] = [
        (
            |block| proof(block, "seal"),
            &["ProveSeal of", "the proof of sector"],
        ),
        (
            |block| proof(block, "embed"),
            &["ProveEmbed of", "the proof of sector"],
        ),
        (
            |block| proof(block, "spacetime"),
            &["ProveSpacetime of", "the proof of sector"],
        ),
        (
            |block| match block.block.messages.first_mut() {
                Some(signed) => {
                    signed.signature.0[7] ^= 1;
                    true
                }
                None => false,
            },
            &["message 0", "is not what its sender signed"],
        ),
        (
            |block| {
                block.block.header.receipts_root.0[7] ^= 1;
                block.block.header.height.0 == 20
            },
            &["certificate", "the header's receipts_root"],
        ),
        (
            |block| {
                block.block.header.parent.0[7] ^= 1;
                block.block.header.height.0 == 20
            },
            &["certificate", "the header's parent"],
        ),
        (
            |block| {
                block.block.header.beacon.0[80] ^= 1;
                block.block.header.height.0 == 20
            },
            &["certificate", "the header's beacon"],
        ),
        (
            |block| {
                match &mut block.certificate {
                    Certificate::Embedded { signature } => signature.0[7] ^= 1,
                    Certificate::Bft { precommits, .. } => precommits[0].signature.0[7] ^= 1,
                }
                block.block.header.height.0 == 20
            },
            &["it is the certificate that is wrong"],
        ),
    ];
    let records = records(&bundle);
    for (change, expected) in cases {
        let blocks = records.iter().filter(|(kind, ..)| *kind == b'b');
        let found = blocks.into_iter().find_map(|(_, start, end)| {
            let mut block: CertifiedBlock = decode("block", &bundle[*start..*end]).unwrap();
            let height = block.block.header.height;
            change(&mut block).then(|| (*start, encode(&block).unwrap(), height))
        });
        let (start, bytes, height) = found.unwrap_or_else(|| panic!("no block has {expected:?}"));
        let mut other = bundle.clone();
        other[start..start + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(other.iter().zip(&bundle).filter(|(a, b)| a != b).count(), 1);
        let end = other.len() - 37;
        let digest = *blake3::hash(&other[..end]).as_bytes();
        other[end + 5..].copy_from_slice(&digest);
        let (code, said) = audit(&path, &other, id);
        assert_eq!(code, Some(1), "{expected:?}");
        assert!(said.contains(&format!("at block {height}")), "{said}");
        for words in expected {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    // Without a new digest, and in the genesis.
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
