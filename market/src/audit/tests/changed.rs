//! One byte is changed in each of ten places of a ledger, and each is refused by name: in a market's
//! database, and in a bundle whose digest was made anew.

use super::chain::{self, Places};
use super::{audit_folder, finding, run, run_on};
use crate::audit::bundle::{Bundle, BundleError, export};
use crate::audit::{AuditError, Source};
use crate::ledger::Ledger;
use crate::store::columns::{self, Column};
use crate::store::tests::spoil;
use crate::store::{Store, StoreError};
use crate::testing::{Network, address};
use holdfast_market_core::audit::{Finding, Replay};
use holdfast_market_core::block::{Certificate, CertifiedBlock, transactions_root};
use holdfast_market_core::facts::Checked;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::keys;
use holdfast_market_core::message::{Body, SigningContext, decode, encode};
use holdfast_market_core::query;
use holdfast_market_core::state::Account;
use holdfast_market_core::units::Height;
use jmt::storage::Node;
use std::path::Path;
use std::sync::Arc;

/// The place of a byte in a block, and what must be said of it.
struct Case {
    name: &'static str,
    height: Height,
    change: fn(&mut CertifiedBlock),
    said: &'static [&'static str],
    names_message: bool,
}

fn cases(places: Places) -> Vec<Case> {
    let Places {
        transfer, proven, ..
    } = places;
    vec![
        Case {
            name: "a message's amount",
            height: transfer,
            change: |block| match &mut block.block.messages[0].message.body {
                Body::Transfer { amount, .. } => amount.0 ^= 1,
                other => panic!("{other:?}"),
            },
            said: &[
                "transactions_root",
                "message 0, Transfer of",
                "is not what its sender signed",
            ],
            names_message: true,
        },
        Case {
            name: "a message's signature",
            height: transfer,
            change: |block| block.block.messages[0].signature.0[9] ^= 1,
            said: &[
                "transactions_root",
                "message 0, Transfer of",
                "is not what its sender signed",
            ],
            names_message: true,
        },
        Case {
            name: "a header's state root",
            height: transfer,
            change: |block| block.block.header.state_root.0[3] ^= 1,
            said: &["certificate", "it says the state before it has root"],
            names_message: false,
        },
        Case {
            name: "a header's time",
            height: transfer,
            change: |block| block.block.header.time ^= 1 << 20,
            said: &["certificate", "it is the header that is wrong"],
            names_message: false,
        },
        Case {
            name: "the beacon's signature",
            height: transfer,
            change: |block| block.block.header.beacon.0[90] ^= 1,
            said: &[
                "certificate",
                "the header's beacon is not its builder's signature",
            ],
            names_message: false,
        },
        Case {
            name: "the certificate",
            height: transfer,
            change: |block| match &mut block.certificate {
                Certificate::Embedded { signature } => signature.0[2] ^= 1,
                Certificate::Bft { precommits, .. } => precommits[1].signature.0[2] ^= 1,
            },
            said: &["it is the certificate that is wrong"],
            names_message: false,
        },
        Case {
            name: "a Groth16 proof",
            height: proven,
            change: |block| match &mut block.block.messages[0].message.body {
                Body::ProveSpacetime { proofs, .. } => proofs[0].proof.0[100] ^= 1,
                other => panic!("{other:?}"),
            },
            said: &[
                "message 0, ProveSpacetime of",
                "is not what its sender signed",
                "the proof of sector 0/0 was refused",
            ],
            names_message: true,
        },
    ]
}

fn check(case: &Case, found: &Finding) {
    let name = case.name;
    assert_eq!(found.height, case.height, "{name}: {found}");
    assert_eq!(
        found.message.is_some(),
        case.names_message,
        "{name}: {found}"
    );
    for words in case.said {
        assert!(found.reason.contains(words), "{name}: {found}");
    }
}

/// The block's bytes with one of them changed.
fn changed(bytes: &[u8], change: impl FnOnce(&mut CertifiedBlock)) -> Vec<u8> {
    let mut block: CertifiedBlock = decode("block", bytes).unwrap();
    change(&mut block);
    let after = encode(&block).unwrap();
    assert_eq!(after.len(), bytes.len());
    let differing = after.iter().zip(bytes).filter(|(one, other)| one != other);
    assert_eq!(differing.count(), 1);
    after
}

fn change_block(network: &Network, height: Height, change: fn(&mut CertifiedBlock)) {
    let key = columns::height_key(height);
    spoil(&network.data(), Column::Blocks, &key, |value| {
        changed(&value.unwrap(), change)
    });
}

/// A stored value with one bit of its last byte changed.
fn last_bit(value: Option<Vec<u8>>) -> Vec<u8> {
    let mut value = value.unwrap();
    *value.last_mut().unwrap() ^= 1;
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_changed_bytes_of_a_folder_are_each_refused_by_name() {
    let network = Network::new("ten bytes");
    let ledger = network.open();
    let places = chain::grow(&network, &ledger);
    let head = ledger.head().height;
    let blocks = ledger.blocks(Height(1)..=Height(64)).unwrap();
    drop(ledger);
    audit_folder(&network).await.unwrap();

    // In a block: the same is said on one core, on several, and by a replay block by block.
    for case in cases(places) {
        change_block(&network, case.height, case.change);
        let found = finding(audit_folder(&network).await);
        check(&case, &found);
        let alone = finding(run_on(&network, network.source(), 1).await);
        assert_eq!(alone, found, "{}", case.name);
        let mut replay = Replay::new(&network.genesis, &network.verifying_keys).unwrap();
        let stepwise = blocks.iter().cloned().find_map(|mut block| {
            if block.block.header.height == case.height {
                (case.change)(&mut block);
            }
            replay.push(&block).err()
        });
        assert_eq!(stepwise.unwrap().height, found.height);
        change_block(&network, case.height, case.change);
    }

    // An outcome: which message it is of.
    let key = columns::height_key(places.transfer);
    let mid = |value: Option<Vec<u8>>| {
        let mut value = value.unwrap();
        let at = value.len() / 2;
        value[at] ^= 1;
        value
    };
    spoil(&network.data(), Column::Outcomes, &key, mid);
    let found = finding(audit_folder(&network).await);
    assert_eq!(found.height, places.transfer);
    assert!(found.reason.contains("outcomes"), "{found}");
    spoil(&network.data(), Column::Outcomes, &key, mid);

    // A state object.
    let account = keys::account(&address(&network.rich));
    let nonce = |value: Option<Vec<u8>>| {
        let mut account: Account = decode("account", &value.unwrap()).unwrap();
        account.nonce ^= 1;
        encode(&account).unwrap()
    };
    spoil(&network.data(), Column::State, &account, nonce);
    let found = finding(audit_folder(&network).await);
    let name = format!("the object account/{}", address(&network.rich));
    assert!(found.reason.contains(&name), "{found}");
    spoil(&network.data(), Column::State, &account, nonce);

    // A node of the tree.
    let mut replay = Replay::new(&network.genesis, &network.verifying_keys).unwrap();
    let store = Store::open_read_only(&network.data(), network.genesis.network().unwrap()).unwrap();
    let mut height = Height(1);
    while height <= head {
        replay.push(&store.block(height).unwrap().unwrap()).unwrap();
        height.0 += 1;
    }
    drop(store);
    let leaf = replay
        .tree()
        .nodes()
        .find(|(_, node)| matches!(node, Node::Leaf(_)));
    let key = leaf.unwrap().0;
    let stored = columns::node_key(key).unwrap();
    spoil(&network.data(), Column::Nodes, &stored, last_bit);
    let found = finding(audit_folder(&network).await);
    assert!(found.reason.contains("the state tree's node"), "{found}");
    assert_eq!(found.height, Height(key.version()));
    spoil(&network.data(), Column::Nodes, &stored, last_bit);

    // The genesis' balance: another network's.
    let genesis = other_balance(&network.genesis);
    let id = genesis.network().unwrap();
    assert!(matches!(
        Store::open_read_only(&network.data(), id),
        Err(StoreError::OtherNetwork { .. })
    ));
    audit_folder(&network).await.unwrap();
}

/// A genesis with one byte of its balance changed.
fn other_balance(genesis: &Genesis) -> Genesis {
    let mut other = genesis.clone();
    other.balances[0].amount.0 ^= 1;
    let (one, two) = (encode(genesis).unwrap(), encode(&other).unwrap());
    assert_eq!(one.iter().zip(&two).filter(|(a, b)| a != b).count(), 1);
    other
}

async fn bundle_of(network: &Network, path: &Path) -> Vec<u8> {
    let keys = &network.verifying_keys;
    export(
        &network.genesis,
        keys,
        &network.source(),
        path,
        Arc::new(|_| ()),
    )
    .await
    .unwrap();
    std::fs::read(path).unwrap()
}

/// Makes the digest at a bundle's end anew.
fn seal(bytes: &mut [u8]) {
    let (body, digest) = bytes.split_at_mut(bytes.len() - 32);
    let hashed = &body[..body.len() - 5];
    digest.copy_from_slice(blake3::hash(hashed).as_bytes());
}

/// A bundle in which one run of bytes is another.
fn replaced(bundle: &[u8], before: &[u8], after: &[u8]) -> Vec<u8> {
    let at = bundle
        .windows(before.len())
        .position(|window| window == before);
    let mut other = bundle.to_vec();
    other[at.unwrap()..][..after.len()].copy_from_slice(after);
    seal(&mut other);
    other
}

async fn audit_bundle(network: &Network, path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    std::fs::write(path, bytes).unwrap();
    let bundle = Bundle::open(path)?;
    run(network, Source::Bundle(Box::new(bundle)))
        .await
        .map(drop)
}

fn refused(result: Result<(), AuditError>) -> Finding {
    match result {
        Err(AuditError::Finding(finding)) => finding,
        other => panic!("no finding but: {other:?}"),
    }
}

async fn changed_bundle(network: &Network, ledger: Ledger, cases: Vec<Case>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let head = ledger.head();
    let block = |height: Height| {
        let block = ledger.blocks(height..=height).unwrap().remove(0);
        encode(&block).unwrap()
    };
    let bundle = bundle_of(network, &path).await;
    audit_bundle(network, &path, &bundle).await.unwrap();
    for case in cases {
        let before = block(case.height);
        let after = changed(&before, case.change);
        let other = replaced(&bundle, &before, &after);
        check(&case, &refused(audit_bundle(network, &path, &other).await));
    }
    // Its genesis, its head, and any byte whose digest was not made anew.
    let genesis = encode(&network.genesis).unwrap();
    let after = encode(&other_balance(&network.genesis)).unwrap();
    let other = replaced(&bundle, &genesis, &after);
    assert!(matches!(
        audit_bundle(network, &path, &other).await,
        Err(AuditError::Bundle(BundleError::OtherGenesis { .. }))
    ));
    let mut root = head.state_root.0;
    root[5] ^= 1;
    let found = refused(
        audit_bundle(
            network,
            &path,
            &replaced(&bundle, &head.state_root.0, &root),
        )
        .await,
    );
    assert!(found.reason.contains("its state has root"), "{found}");
    let mut last = head.block.0;
    last[5] ^= 1;
    let found =
        refused(audit_bundle(network, &path, &replaced(&bundle, &head.block.0, &last)).await);
    assert!(found.reason.contains("another last block"), "{found}");
    let receipts = query::chain(&ledger.view()).unwrap().receipts_root.0;
    let mut other = receipts;
    other[5] ^= 1;
    // In the head, which is before the blocks.
    let found = refused(audit_bundle(network, &path, &replaced(&bundle, &receipts, &other)).await);
    assert!(found.reason.contains("other outcomes"), "{found}");
    for place in (bundle.len() / 3..bundle.len()).step_by(bundle.len() / 9) {
        let mut other = bundle.clone();
        other[place] ^= 1;
        let result = audit_bundle(network, &path, &other).await;
        assert!(
            matches!(result, Err(AuditError::Bundle(_))),
            "byte {place}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_changed_bytes_of_a_bundle_are_each_refused_by_name() {
    let network = Network::new("ten bytes of a bundle");
    let ledger = network.open();
    let places = chain::grow(&network, &ledger);
    changed_bundle(&network, ledger, cases(places)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytes_of_a_ledger_that_four_have_signed_are_refused_by_name() {
    let networks = Network::of_several("ten bytes of four", 4);
    let ledger = networks[0].open();
    chain::grow_by_four(&networks, &ledger, 9);
    let places = Places {
        transfer: Height(5),
        refused: Height(5),
        proven: Height(5),
    };
    let mut cases = cases(places);
    cases.retain(|case| case.name != "a Groth16 proof");
    changed_bundle(&networks[0], ledger, cases).await;
}

/// The signers themselves put a false proof on the chain, say that its message was done, and go on from
/// the state that this gives: nothing but the proof is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_signers_let_pass_is_named_with_its_message() {
    let network = Network::new("let pass");
    let ledger = network.open();
    let places = chain::grow(&network, &ledger);
    let id = network.genesis.network().unwrap();
    let keys = network.validator();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let mut bundle = bundle_of(&network, &path).await;
    let mut liar = Replay::new(&network.genesis, &network.verifying_keys).unwrap();
    let mut named = None;
    let mut blocks = Vec::new();
    for height in (1..=ledger.head().height.0).map(Height) {
        let honest = ledger.store().block(height).unwrap().unwrap();
        let mut forged = honest.clone();
        if height == places.proven {
            let mut message = forged.block.messages[0].message.clone();
            match &mut message.body {
                Body::ProveSpacetime { proofs, .. } => {
                    let proof = &mut proofs[0].proof.0;
                    let (a, c) = (proof[..48].to_vec(), proof[144..].to_vec());
                    proof[..48].copy_from_slice(&c);
                    proof[144..].copy_from_slice(&a);
                }
                other => panic!("{other:?}"),
            }
            let message = chain::signed(&network, message.nonce, message.body);
            named = Some(message.id().unwrap());
            forged.block.messages = vec![message];
        }
        let before = query::chain(liar.view()).unwrap();
        let header = &mut forged.block.header;
        header.parent = before.last;
        header.receipts_root = before.receipts_root;
        header.state_root = liar.state_root();
        header.transactions_root = transactions_root(&forged.block.messages).unwrap();
        let signature = SigningContext::Block.sign(id, keys.consensus(), header);
        forged.certificate = Certificate::Embedded {
            signature: signature.unwrap(),
        };
        // It believes what it is told wherever the honest rules do.
        if height == places.refused {
            liar.push(&forged).unwrap();
        } else {
            liar.ahead(&[Checked::from(forged.clone())]).unwrap();
        }
        assert_eq!(forged == honest, height < places.proven);
        bundle = replaced(
            &bundle,
            &encode(&honest).unwrap(),
            &encode(&forged).unwrap(),
        );
        blocks.push(forged);
    }
    let mut replay = Replay::new(&network.genesis, &network.verifying_keys).unwrap();
    let stepwise = blocks
        .iter()
        .find_map(|block| replay.push(block).err())
        .unwrap();
    assert_eq!(stepwise.height, Height(places.proven.0 + 1));
    assert_eq!(stepwise.message, named, "{stepwise}");
    assert!(
        stepwise
            .reason
            .contains("the proof of sector 0/0 was refused"),
        "{stepwise}"
    );
    let found = refused(audit_bundle(&network, &path, &bundle).await);
    assert_eq!(found, stepwise);
}
