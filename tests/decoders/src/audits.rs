//! What an auditor reads: bundles, checkpoints, reports.

use crate::read::usual;
use crate::{Answer, Bounds, Decoder, FEW_CALLS, Form, files, proofs, sample, stores};
use holdfast_market::audit::bundle::{Bundle, export};
use holdfast_market::audit::checkpoint;
use holdfast_market::audit::report::{Report, SignedReport};
use holdfast_market::audit::{Source, audit};
use holdfast_market::ledger::Ledger;
use holdfast_market::store::Store;
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::audit::Replay;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::execute::ProofTally;
use holdfast_market_core::message::SigningContext;
use holdfast_market_core::units::{BlockId, Height, TreeRoot};
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub(crate) fn decoders() -> Vec<Decoder> {
    vec![
        Decoder {
            bounds: Bounds::HEAVY,
            calls: 200,
            ..usual("audit-bundle", Form::Bytes, bundle, || {
                vec![honest_bundle().to_vec()]
            })
        },
        Decoder {
            bounds: Bounds::HEAVY,
            calls: 200,
            ..usual("audit-checkpoint", Form::Bytes, saved, || {
                vec![honest_checkpoint().to_vec()]
            })
        },
        Decoder {
            calls: FEW_CALLS,
            ..usual("audit-report", Form::Json, report, || {
                vec![serde_json::to_vec(&honest_report()).unwrap()]
            })
        },
    ]
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    })
}

/// A ledger of two blocks.
fn blocks(folder: &Path) -> Vec<CertifiedBlock> {
    let keys = ValidatorKeys::from_seed(&[8; 32]);
    let ledger = Ledger::open(folder, stores::market_genesis(), proofs::made_keys()).unwrap();
    ledger.submit(stores::payment(0)).unwrap();
    (0..2)
        .map(|number| {
            let block = ledger.propose(&keys, 1_700_000_000_001 + number).unwrap();
            let signature =
                SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header);
            let certified = CertifiedBlock {
                block,
                certificate: Certificate::Embedded {
                    signature: signature.unwrap(),
                },
            };
            ledger.commit(&certified).unwrap();
            certified
        })
        .collect()
}

fn honest_bundle() -> &'static [u8] {
    static BUNDLE: OnceLock<Vec<u8>> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let folder = files::folder("bundled-market");
        blocks(&folder);
        let genesis = stores::market_genesis();
        let store = Store::open_read_only(&folder, genesis.network().unwrap()).unwrap();
        let source = Source::Folder(Box::new(store));
        let path = files::folder("honest-bundle").join("bundle");
        let keys = proofs::made_keys();
        runtime()
            .block_on(export(&genesis, keys, &source, &path, Arc::new(|_| ())))
            .unwrap();
        std::fs::read(path).unwrap()
    })
}

/// A bundle that is opened has the digest of its bytes; and with its digest made anew, so that what is
/// behind it is read too, one of the honest network that passes the audit ends as the honest one.
fn bundle(bytes: &[u8]) -> Answer {
    let path = files::folder("audit-bundle").join("bundle");
    std::fs::write(&path, bytes).unwrap();
    let answer = match Bundle::open(&path) {
        Err(_) => Answer::Refused,
        Ok(bundle) => {
            let hashed = &bytes[..bytes.len() - 37];
            assert_eq!(bundle.digest(), *blake3::hash(hashed).as_bytes());
            Answer::Read
        }
    };
    if let Some(end) = bytes.len().checked_sub(37) {
        let mut bytes = bytes.to_vec();
        let (body, rest) = bytes.split_at_mut(end);
        rest[5..].copy_from_slice(blake3::hash(body).as_bytes());
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(bundle) = Bundle::open(&path)
            && bundle.genesis() == &stores::market_genesis()
        {
            let (genesis, keys) = (bundle.genesis().clone(), bundle.verifying_keys().clone());
            let source = Source::Bundle(Box::new(bundle));
            let audited = runtime().block_on(audit(&genesis, &keys, source, Arc::new(|_| ())));
            assert!(
                audited.is_err() || bytes == honest_bundle(),
                "another bundle passes the audit"
            );
        }
    }
    answer
}

fn honest_checkpoint() -> &'static [u8] {
    static CHECKPOINT: OnceLock<Vec<u8>> = OnceLock::new();
    CHECKPOINT.get_or_init(|| {
        let folder = files::folder("saved-market");
        let mut replay = Replay::new(&stores::market_genesis(), proofs::made_keys()).unwrap();
        for block in blocks(&folder) {
            replay.push(&block).unwrap();
        }
        checkpoint::write(&replay).unwrap()
    })
}

/// A checkpoint that is resumed is written as the very same bytes, also where its digest was made anew.
fn saved(bytes: &[u8]) -> Answer {
    let genesis = stores::market_genesis();
    let read = |bytes: &[u8]| {
        let replay = checkpoint::read(Path::new("saved"), bytes, &genesis, proofs::made_keys());
        match replay {
            Err(_) => Answer::Refused,
            Ok(replay) => {
                assert!(checkpoint::write(&replay).unwrap() == bytes);
                Answer::Read
            }
        }
    };
    let answer = read(bytes);
    if bytes.len() > 60 {
        let mut bytes = bytes.to_vec();
        let digest = *blake3::hash(&bytes[60..]).as_bytes();
        bytes[28..60].copy_from_slice(&digest);
        read(&bytes);
    }
    answer
}

fn honest_report() -> SignedReport {
    let report = Report {
        version: 1,
        program: "holdfast".into(),
        time: 1_700_000_000_000,
        source: "the folder of a market".into(),
        network: sample::NETWORK,
        height: Height(9),
        last: BlockId([1; 32]),
        state_root: TreeRoot([2; 32]),
        resumed_after: Some(Height(4)),
        done: 7,
        refused: 1,
        proofs: ProofTally {
            seal: 1,
            embed: 2,
            spacetime: 3,
        },
        supply: sample::supply(),
        conserved: true,
        verifier: "pure Rust".into(),
        binds: vec!["a seal".into()],
        limits: vec!["one signer".into()],
    };
    SignedReport::new(report, &sample::key(4)).unwrap()
}

/// A report whose signature holds is the honest one.
fn report(bytes: &[u8]) -> Answer {
    match SignedReport::parse(bytes) {
        Err(_) => Answer::Refused,
        Ok(report) => {
            assert!(report.verify().is_err() || report == honest_report());
            Answer::Read
        }
    }
}
