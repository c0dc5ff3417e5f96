#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::ledger::LedgerStatus;
use crate::ledger::tests::start;
use ed25519_dalek::SigningKey;
use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::{Certificate, Header, Validator, validators_root};
use holdfast_market_core::message::{SigningContext, encode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::tree::{MemoryTree, prove};
use holdfast_market_core::units::{Amount, BeaconSignature};
use holdfast_market_core::view::Writes;
use holdfast_proofs::checked::{with_check, without_check};
use std::sync::{Arc, Mutex};

fn key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

fn address(index: u8) -> Address {
    Address(key(index).verifying_key().to_bytes())
}

fn validators(index: u8) -> Vec<Validator> {
    let beacon = BeaconSecret::from_seed(&[index; 32]);
    vec![Validator {
        key: address(index),
        beacon: beacon.public(),
        possession: beacon.possession(),
        power: 1,
    }]
}

/// One signer orders the first two blocks of six, another one those after.
fn signer(height: u64) -> u8 {
    u8::from(height > 2)
}

/// A ledger whose state never changes: account 7 has 70 grains.
struct Ledger {
    genesis: Genesis,
    blocks: Vec<LightBlock>,
    root: TreeRoot,
    tree: MemoryTree,
}

impl Ledger {
    fn new() -> Self {
        let genesis = Genesis {
            name: "light".into(),
            time: 0,
            parameters: Parameters::dev(),
            verifying_keys: [0; 32],
            balances: vec![],
            validators: validators(0),
        };
        let network = genesis.network().unwrap();
        let account = Account {
            balance: Amount(70),
            nonce: 1,
        };
        let writes: Writes = (0..20u8)
            .map(|number| (vec![number; 5], Some(vec![number])))
            .chain([(keys::account(&address(7)), Some(encode(&account).unwrap()))])
            .collect();
        let mut tree = MemoryTree::default();
        let root = tree.apply(Height(0), &writes).unwrap();
        let mut parent = BlockId(network.0);
        let mut blocks = Vec::new();
        for height in 1..=6 {
            let named = validators(signer(height + 1));
            let header = Header {
                height: Height(height),
                parent,
                state_root: root,
                transactions_root: TreeRoot([0; 32]),
                receipts_root: TreeRoot([0; 32]),
                time: 0,
                builder: address(signer(height)),
                beacon: BeaconSignature([0; 96]),
                next_validators: validators_root(&named).unwrap(),
            };
            parent = header.id().unwrap();
            let signature = SigningContext::Block
                .sign(network, &key(signer(height)), &header)
                .unwrap();
            blocks.push(LightBlock {
                header,
                certificate: Some(Certificate::Embedded { signature }),
                next_validators: Some(named),
            });
        }
        Self {
            genesis,
            blocks,
            root,
            tree,
        }
    }

    fn id(&self, height: u64) -> BlockId {
        let place = usize::try_from(height).unwrap() - 1;
        self.blocks[place].header.id().unwrap()
    }

    /// What a market that has the first `head` blocks answers.
    fn answer(&self, line: &str, head: u64) -> Option<Vec<u8>> {
        let path = line.strip_prefix("GET /v1/")?;
        let status = LedgerStatus {
            network: self.genesis.network().unwrap(),
            name: "light".into(),
            height: Height(head),
            time: 0,
            header_id: BlockId([0; 32]),
            pending: 0,
        };
        if path == "status" || path.starts_with("wait") {
            return Some(serde_json::to_vec(&status).unwrap());
        }
        if let Some(height) = path.strip_prefix("headers/") {
            let height: usize = height.parse().unwrap();
            return encode(self.blocks.get(height - 1)?).ok();
        }
        if let Some(range) = path.strip_prefix("headers?from=") {
            let (from, limit) = range.split_once("&limit=").unwrap();
            let (from, limit): (usize, usize) = (from.parse().unwrap(), limit.parse().unwrap());
            let there = self.blocks[..usize::try_from(head).unwrap()].iter();
            let page: Vec<_> = there.skip(from - 1).take(limit).collect();
            return encode(&page).ok();
        }
        let key = hex::decode(path.strip_prefix("proofs/")?).unwrap();
        let (value, proof) = prove(&self.tree, Height(0), &key).unwrap();
        let state = ProvenState {
            height: Height(head - 1),
            state_root: self.root,
            value,
            proof,
        };
        serde_json::to_vec(&state).ok()
    }
}

/// What a market answers: its head, and how it changes an answer to a line.
struct Manner {
    head: u64,
    lie: fn(&str, Vec<u8>) -> Vec<u8>,
}

async fn market(lie: fn(&str, Vec<u8>) -> Vec<u8>) -> (LedgerClient, Arc<Mutex<Manner>>) {
    let manner = Arc::new(Mutex::new(Manner { head: 6, lie }));
    let asked = manner.clone();
    let ledger = Ledger::new();
    let (client, _) = start(move |line, _| {
        let manner = asked.lock().unwrap();
        match ledger.answer(line, manner.head) {
            Some(answer) => (200, (manner.lie)(line, answer)),
            None => (404, b"{\"error\":\"it is not there\"}".to_vec()),
        }
    })
    .await;
    (client, manner)
}

fn honest(_: &str, answer: Vec<u8>) -> Vec<u8> {
    answer
}

#[tokio::test]
async fn what_was_followed_is_kept_and_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    let ledger = Ledger::new();
    let (client, manner) = market(honest).await;
    manner.lock().unwrap().head = 4;
    let open = || LightClient::open(&ledger.genesis, client.clone(), &path);
    let mut light = open().unwrap();
    assert_eq!(light.chain().height(), Height(0));
    light.follow().await.unwrap();
    assert_eq!(
        (light.chain().height(), light.chain().block()),
        (Height(4), ledger.id(4))
    );
    assert_eq!(light.chain().validators(), validators(1));
    manner.lock().unwrap().head = 6;
    let steps: Arc<Mutex<Vec<Height>>> = Arc::default();
    let seen = steps.clone();
    let mut again = open().unwrap();
    again.watch(Box::new(move |height, _| seen.lock().unwrap().push(height)));
    assert_eq!(again.chain(), light.chain());
    again.follow().await.unwrap();
    assert_eq!(again.chain().block(), ledger.id(6));
    assert_eq!(*steps.lock().unwrap(), [Height(6)]);
    // A market that has less by now does not take anything back.
    manner.lock().unwrap().head = 5;
    again.follow().await.unwrap();
    assert_eq!(open().unwrap().chain().height(), Height(6));
    // One that says it has more and gives nothing is named.
    manner.lock().unwrap().lie = |line, answer| match line.ends_with("status") {
        true => String::from_utf8(answer)
            .unwrap()
            .replace("\"height\":5", "\"height\":9")
            .into_bytes(),
        false => encode(&Vec::<LightBlock>::new()).unwrap(),
    };
    assert!(matches!(
        again.follow().await,
        Err(FollowError::Behind { due: Height(7), .. })
    ));
}

#[tokio::test]
async fn a_chain_is_begun_at_a_named_block_whatever_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    std::fs::write(&path, b"rubbish").unwrap();
    let ledger = Ledger::new();
    let (client, _) = market(honest).await;
    let trust = |place| LightClient::trust(&ledger.genesis, client.clone(), &path, place);
    let wrong = trust((Height(3), ledger.id(4))).await;
    assert!(matches!(
        wrong,
        Err(FollowError::Light(LightError::OtherBlock { .. }))
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"rubbish");
    let mut light = trust((Height(3), ledger.id(3))).await.unwrap();
    light.follow().await.unwrap();
    assert_eq!(light.chain().block(), ledger.id(6));
    let again = LightClient::open(&ledger.genesis, client.clone(), &path).unwrap();
    assert_eq!(again.chain(), light.chain());
}

#[tokio::test]
async fn a_block_is_on_the_chain_or_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    let ledger = Ledger::new();
    let (client, _) = market(honest).await;
    let mut light = LightClient::open(&ledger.genesis, client, &path).unwrap();
    // Ahead of what was followed, at its end, and below it.
    for height in [4, 4, 5, 6, 1, 3] {
        let shown = light.shows(Height(height), ledger.id(height)).await;
        shown.unwrap();
        let other = light.shows(Height(height), BlockId([7; 32])).await;
        assert!(
            matches!(other, Err(FollowError::NotOnChain { .. })),
            "{height}"
        );
    }
    assert_eq!(light.chain().height(), Height(6));
    let none = light.shows(Height(u64::MAX), ledger.id(6)).await;
    assert!(matches!(none, Err(FollowError::Behind { .. })));
}

#[tokio::test]
async fn a_state_is_shown_by_the_block_after_it_and_a_lie_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    let ledger = Ledger::new();
    let (client, manner) = market(honest).await;
    let open = || LightClient::open(&ledger.genesis, client.clone(), &path).unwrap();
    let mut light = open();
    let shown = light.account(&address(7)).await.unwrap();
    assert_eq!(shown.object.unwrap().balance, Amount(70));
    assert_eq!((shown.height, shown.state_root), (Height(5), ledger.root));
    assert_eq!(light.chain().height(), Height(6));
    let lie = |lie| {
        manner.lock().unwrap().lie = lie;
        std::fs::remove_file(&path).unwrap();
        open()
    };
    let absent = lie(honest).account(&address(9)).await.unwrap();
    assert_eq!(absent.object, None);

    // Another amount under the same proof.
    let mut light = lie(|line, answer| {
        let account = |balance| {
            let balance = Amount(balance);
            hex::encode(encode(&Account { balance, nonce: 1 }).unwrap())
        };
        match line.contains("proofs") {
            true => String::from_utf8(answer)
                .unwrap()
                .replace(&account(70), &account(7_000_000))
                .into_bytes(),
            false => answer,
        }
    });
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::Proof(ProofError::NotShown { .. }))
    ));
    // A state of its own, shown in itself.
    let mut light = lie(|line, answer| {
        if !line.contains("proofs") {
            return answer;
        }
        let mut tree = MemoryTree::default();
        let rich = Account {
            balance: Amount(7_000_000),
            nonce: 1,
        };
        let writes = [(keys::account(&address(7)), Some(encode(&rich).unwrap()))];
        let state_root = tree
            .apply(Height(0), &writes.into_iter().collect())
            .unwrap();
        let (value, proof) = prove(&tree, Height(0), &keys::account(&address(7))).unwrap();
        serde_json::to_vec(&ProvenState {
            height: Height(5),
            state_root,
            value,
            proof,
        })
        .unwrap()
    });
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::OtherRoot {
            height: Height(5),
            ..
        })
    ));
    // A chain of another signer from the second block on.
    let mut light = lie(|line, answer| {
        if !line.contains("headers?") {
            return answer;
        }
        let mut blocks: Vec<LightBlock> =
            holdfast_market_core::message::decode("blocks", &answer).unwrap();
        blocks[1].header.state_root = TreeRoot([1; 32]);
        encode(&blocks).unwrap()
    });
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::Light(LightError::Certificate(Height(2))))
    ));
    assert_eq!(light.chain().height(), Height(1));
    // A page of more than was asked for.
    let mut light = lie(|line, answer| match line.contains("headers?") {
        true => encode(&vec![Ledger::new().blocks[0].clone(); 7]).unwrap(),
        false => answer,
    });
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::Ledger(LedgerError::Malformed { .. }))
    ));
}

#[tokio::test]
async fn a_ledger_that_stands_still_or_lies_behind_is_said_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    let ledger = Ledger::new();
    let (client, manner) = market(honest).await;
    let mut light = LightClient::open(&ledger.genesis, client, &path).unwrap();
    light.follow().await.unwrap();
    manner.lock().unwrap().head = 4;
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::Behind { .. })
    ));
    // Its state is that after its head, which no block shows.
    manner.lock().unwrap().head = 6;
    manner.lock().unwrap().lie = |line, answer| match line.contains("proofs") {
        true => String::from_utf8(answer)
            .unwrap()
            .replace("\"height\":5", "\"height\":6")
            .into_bytes(),
        false => answer,
    };
    assert!(matches!(
        light.account(&address(7)).await,
        Err(FollowError::Stands(Height(6)))
    ));
}

#[tokio::test]
async fn a_file_that_is_damaged_late_or_of_another_network_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LIGHT_FILE);
    let ledger = Ledger::new();
    let (client, _) = market(honest).await;
    let open = |genesis: &Genesis| LightClient::open(genesis, client.clone(), &path);
    open(&ledger.genesis).unwrap().follow().await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let network = ledger.genesis.network().unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        kept::read(&path, network)
    };
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = read(&flipped).unwrap_err();
        assert!(matches!(error, FollowError::Damaged { .. }), "byte {at}");
        assert!(error.to_string().contains("remove it"), "{error}");
        assert!(read(&whole[..at]).is_err(), "cut at {at}");
    }
    // Written by hand: a later version, and validators that the header does not name.
    let object = without_check(&whole).unwrap();
    let text = String::from_utf8(object).unwrap();
    let later = text.replacen("\"version\": 1", "\"version\": 2", 1);
    assert!(matches!(
        read(&with_check(later.as_bytes())),
        Err(FollowError::Version { found: 2, .. })
    ));
    let usurped = text.replace(&address(1).to_string(), &address(3).to_string());
    assert!(matches!(
        read(&with_check(usurped.as_bytes())),
        Err(FollowError::Damaged { .. })
    ));
    std::fs::write(&path, &whole).unwrap();
    let other = Genesis {
        name: "other".into(),
        ..ledger.genesis.clone()
    };
    assert!(matches!(
        open(&other),
        Err(FollowError::OtherNetwork { .. })
    ));
    assert_eq!(open(&ledger.genesis).unwrap().chain().height(), Height(6));
}
