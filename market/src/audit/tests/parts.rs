//! Histories, checkpoints, reports and bundles.

use super::chain;
use super::run_on;
use crate::audit::bundle::{Bundle, BundleError, export};
use crate::audit::checkpoint::{self, CheckpointError};
use crate::audit::report::{Report, ReportError, SignedReport};
use crate::audit::{Audit, AuditError, Options, Source, audit_with};
use crate::testing::Network;
use ed25519_dalek::SigningKey;
use holdfast_market_core::audit::{Mark, Replay, Subject, What};
use holdfast_market_core::units::{Height, ProviderId, SectorNumber};
use std::path::Path;
use std::sync::Arc;

async fn history(network: &Network, sector: Option<u64>) -> holdfast_market_core::audit::History {
    let options = Options {
        subject: Some(Subject {
            provider: ProviderId(0),
            sector: sector.map(SectorNumber),
        }),
        ..Options::default()
    };
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let source = network.source();
    let told = audit_with(genesis, keys, &source, options, Arc::new(|_| ())).await;
    told.unwrap().1.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_has_every_period_proof_fault_and_fine_on_one_core_and_on_several() {
    let network = Network::new("history");
    let ledger = network.open();
    let places = chain::grow(&network, &ledger);
    drop(ledger);
    let one = run_on(&network, network.source(), 1).await.unwrap();
    let four = run_on(&network, network.source(), 4).await.unwrap();
    let told = |audit: &Audit| {
        let proofs = [&audit.proofs.seal, &audit.proofs.spacetime].map(|one| one.count);
        (
            audit.height,
            audit.last,
            audit.state_root,
            audit.done,
            audit.refused,
            proofs,
        )
    };
    assert_eq!(told(&one), told(&four));
    assert_eq!(one.refused, 1);
    assert_eq!(one.proofs.spacetime.count, 2);

    let history = history(&network, None).await;
    let marks: Vec<Mark> = history.sectors[0]
        .periods
        .iter()
        .map(|one| one.mark)
        .collect();
    assert_eq!(
        marks[..4],
        [Mark::Proven, Mark::Missed, Mark::Declared, Mark::Proven]
    );
    let record = &history.provider.record;
    let (mut rewarded, mut fined, mut proofs, mut refused) = (0, 0, 0, None);
    for event in &history.events {
        match &event.what {
            What::Money {
                rewarded: more,
                fined: taken,
                ..
            } => {
                rewarded += more.0;
                fined += taken.0;
            }
            What::Message {
                proofs: more,
                refused: None,
                ..
            } => proofs += more,
            What::Message {
                refused: Some(why), ..
            } => refused = Some((event.height, why.clone())),
            _ => {}
        }
    }
    // What the events say adds up to what the ledger says.
    assert_eq!((rewarded, fined), (record.rewarded.0, record.fined.0));
    assert!(rewarded > 0 && fined > 0);
    assert_eq!(proofs, one.proofs.seal.count + one.proofs.spacetime.count);
    let (height, why) = refused.unwrap();
    assert_eq!(height, places.refused);
    assert!(why.contains("was refused"), "{why}");

    let of_sector = self::history(&network, Some(0)).await;
    let fines = of_sector
        .events
        .iter()
        .filter_map(|event| match event.what {
            What::Period { fined, .. } => Some(fined.0),
            _ => None,
        });
    assert_eq!(fines.sum::<u128>(), fined);
    assert!(
        !of_sector
            .events
            .iter()
            .any(|event| matches!(event.what, What::Money { .. }))
    );
}

async fn resume(network: &Network, path: &Path) -> Result<Audit, AuditError> {
    let options = Options {
        checkpoint: Some(path.into()),
        ..Options::default()
    };
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let source = network.source();
    let told = audit_with(genesis, keys, &source, options, Arc::new(|_| ())).await;
    told.map(|(audit, _)| audit)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_goes_on_from_its_checkpoint_and_says_so() {
    let network = Network::new("resumed");
    let ledger = network.open();
    network.grow(&ledger, 70);
    drop(ledger);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let first = resume(&network, &path).await.unwrap();
    assert_eq!((first.height, first.resumed_after), (Height(70), None));
    let ledger = network.open();
    network.grow(&ledger, 9);
    drop(ledger);
    let second = resume(&network, &path).await.unwrap();
    assert_eq!(
        (second.height, second.resumed_after),
        (Height(79), Some(Height(70)))
    );
    let whole = run_on(&network, network.source(), 2).await.unwrap();
    assert_eq!(
        (second.state_root, second.done, &second.supply),
        (whole.state_root, whole.done, &whole.supply)
    );

    // A ledger that is behind it, another network's, and damage are refused by name.
    let (behind, other) = (Network::new("resumed"), Network::new("not resumed"));
    behind.grow(&behind.open(), 3);
    other.grow(&other.open(), 80);
    assert!(matches!(
        resume(&behind, &path).await,
        Err(AuditError::Ahead {
            checkpoint: Height(79),
            ledger: Height(3)
        })
    ));
    assert!(matches!(
        resume(&other, &path).await,
        Err(AuditError::Checkpoint(CheckpointError::Unfit { .. }))
    ));
    let honest = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        let read = checkpoint::read(&path, bytes, &network.genesis, &network.verifying_keys);
        match read {
            Err(CheckpointError::Damaged { .. } | CheckpointError::Foreign { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    for place in (0..honest.len()).step_by(honest.len() / 50) {
        let mut bytes = honest.clone();
        bytes[place] ^= 0x20;
        refused(&bytes);
        refused(&honest[..place]);
    }
    refused(b"something else");
    // Made anew, a digest does not help either: the state has the root that it must have.
    let mut bytes = honest.clone();
    let (_, body) = bytes.split_at_mut(28 + 32);
    let last = body.len() - 1;
    body[last] ^= 1;
    let digest = *blake3::hash(body).as_bytes();
    bytes[28..60].copy_from_slice(&digest);
    assert!(checkpoint::read(&path, &bytes, &network.genesis, &network.verifying_keys).is_err());
    assert!(checkpoint::read(&path, &honest, &network.genesis, &network.verifying_keys).is_ok());
}

#[tokio::test]
async fn a_replay_that_is_saved_half_way_comes_to_the_same_end() {
    let network = Network::new("half way");
    let ledger = network.open();
    chain::grow(&network, &ledger);
    let mut blocks = Vec::new();
    while let Some(block) = ledger
        .store()
        .block(Height(blocks.len() as u64 + 1))
        .unwrap()
    {
        blocks.push(block);
    }
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let mut whole = Replay::new(genesis, keys).unwrap();
    let mut halves = Replay::new(genesis, keys).unwrap();
    for (number, block) in blocks.iter().enumerate() {
        if number % 37 == 11 {
            let bytes = checkpoint::write(&halves).unwrap();
            halves = checkpoint::read(Path::new("saved"), &bytes, genesis, keys).unwrap();
        }
        assert_eq!(whole.push(block), halves.push(block));
    }
    assert_eq!(whole.finish(), halves.finish());
}

#[tokio::test]
async fn a_report_is_its_auditors_and_says_what_was_not_shown() {
    let network = Network::new("reported");
    let ledger = network.open();
    network.grow(&ledger, 5);
    drop(ledger);
    let held = run_on(&network, network.source(), 2).await.unwrap();
    let key = SigningKey::from_bytes(&[6; 32]);
    let report = Report::new(&held, "a folder".into(), 1_700_000_000_000);
    assert!(report.verifier.contains("pure Rust (bls12_381"));
    assert!(
        report
            .limits
            .iter()
            .any(|limit| limit.contains("knows every challenge"))
    );
    let signed = SignedReport::new(report, &key).unwrap();
    let text = serde_json::to_vec_pretty(&signed).unwrap();
    let read = SignedReport::parse(&text).unwrap();
    assert_eq!(read, signed);
    read.verify().unwrap();
    let text = String::from_utf8(text).unwrap();
    for (before, after) in [
        ("\"height\": 5", "\"height\": 6"),
        ("\"conserved\": true", "\"conserved\": false"),
        ("\"source\": \"a folder\"", "\"source\": \"an API\""),
        ("\"resumed_after\": null", "\"resumed_after\": 4"),
    ] {
        let other = text.replace(before, after);
        assert_ne!(other, text);
        let read = SignedReport::parse(other.as_bytes()).unwrap();
        assert_eq!(read.verify(), Err(ReportError::Signature(signed.auditor)));
    }
    let later = text.replace("\"version\": 1", "\"version\": 2");
    assert_eq!(
        SignedReport::parse(later.as_bytes()),
        Err(ReportError::Version(2))
    );
    let more = text.replacen('{', "{\"more\": 1,", 1);
    assert!(SignedReport::parse(more.as_bytes()).is_err());
}

#[tokio::test]
async fn a_bundle_that_is_cut_grown_or_out_of_order_is_refused_by_name() {
    let network = Network::new("bundled");
    let ledger = network.open();
    network.grow(&ledger, 3);
    drop(ledger);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let exported = export(genesis, keys, &network.source(), &path, Arc::new(|_| ())).await;
    let exported = exported.unwrap();
    let honest = std::fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Bundle::open(&path).map(|bundle| hex::encode(bundle.digest()))
    };
    assert_eq!(open(&honest).unwrap(), exported.digest);
    for length in 0..honest.len() {
        if length % 97 == 0 || honest.len() - length < 40 {
            match open(&honest[..length]) {
                Err(BundleError::Truncated { .. } | BundleError::Other(_)) => {}
                other => panic!("cut to {length}: {other:?}"),
            }
        }
    }
    let mut grown = honest.clone();
    grown.push(0);
    assert!(matches!(
        open(&grown),
        Err(BundleError::Order {
            part: "last byte",
            ..
        })
    ));
    let mut later = honest.clone();
    later[22] = b'2';
    assert!(matches!(open(&later), Err(BundleError::OtherVersion(_))));
    // The head's length, and its kind.
    let mut large = honest.clone();
    large[25..29].copy_from_slice(&[0xff; 4]);
    assert!(matches!(
        open(&large),
        Err(BundleError::TooLarge { part: "head", .. })
    ));
    let mut order = honest.clone();
    order[24] = b'b';
    assert!(matches!(
        open(&order),
        Err(BundleError::Order { part: "head", .. })
    ));
    assert!(matches!(
        open(b"holdfast audit bundl"),
        Err(BundleError::Other(_))
    ));

    // Read again from the middle, it gives the same blocks.
    std::fs::write(&path, &honest).unwrap();
    let source = Source::Bundle(Box::new(Bundle::open(&path).unwrap()));
    let all = source.blocks(Height(1), Height(3)).await.unwrap();
    let last = source.blocks(Height(3), Height(3)).await.unwrap();
    assert_eq!((all.len(), &all[2]), (3, &last[0]));
}
