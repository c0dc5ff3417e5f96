//! The node's folder, journal and shards: a receipt that was given is kept with its bytes.

use super::{loss, with_seeds};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use holdfast_faults::disk::{Disk, Loss};
use holdfast_market_core::message::SigningContext;
use holdfast_market_core::receipt::{Receipt, SignedReceipt, Tier};
use holdfast_market_core::units::{
    Amount, ByteCount, DealId, Height, NetworkId, PackId, Periods, ProviderId, SectorNumber,
    ShardIndex, ShardRoot,
};
use holdfast_node::error::NodeError;
use holdfast_node::journal::{Journal, ShardRecord};
use holdfast_node::keys::NodeKeys;
use holdfast_node::shards::ShardStore;
use holdfast_wire::folder::{DataFolder, FolderKind};
use holdfast_wire::protocol::RefusalCode;
use holdfast_wire::quic::Body;
use holdfast_wire::transfer::{ReceiveError, receive_shard};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const NETWORK: NetworkId = NetworkId([3; 32]);

/// A node's data folder, opened as a node opens it.
pub struct Opened {
    _folder: DataFolder,
    pub journal: Journal,
    pub shards: ShardStore,
}

pub fn open(data: &Path) -> Result<Opened, NodeError> {
    let folder = DataFolder::open(data, FolderKind::Node, NETWORK)
        .map_err(|error| NodeError::Start(error.to_string()))?;
    let journal = Journal::open(&data.join("node.db"))?;
    let shards = ShardStore::open(&data.join("shards"))?;
    let known: BTreeSet<_> = journal.shards()?.into_iter().map(|(id, _)| id).collect();
    shards.keep_only(&known)?;
    Ok(Opened {
        _folder: folder,
        journal,
        shards,
    })
}

/// What was promised: the record and its bytes.
type Promised = BTreeMap<DealId, (ShardRecord, Vec<u8>)>;

/// Receives a shard as the service does.
fn receive(node: &Opened, deal: DealId, root: ShardRoot, bytes: &[u8]) -> Result<(), ReceiveError> {
    let length = ByteCount(bytes.len() as u64);
    let (sender, receiver) = tokio::sync::mpsc::channel(1024);
    for piece in bytes.chunks(1000) {
        sender.try_send(Bytes::copy_from_slice(piece)).unwrap();
    }
    drop(sender);
    let body = Body::from_channel(receiver, length);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let path = node.shards.path(deal);
    let received = runtime.block_on(receive_shard(body, &path, root, length));
    received.map(drop)
}

/// Receives a shard and journals its receipt, as the service does; the receipt, where it may be
/// given.
pub fn take_in(
    node: &Opened,
    draw: &mut ChaCha8Rng,
    bytes: &[u8],
) -> Option<(DealId, ShardRecord)> {
    let deal = DealId {
        pack: PackId(draw.r#gen()),
        shard: ShardIndex(draw.gen_range(0..6)),
    };
    let root = ShardRoot(*blake3::hash(bytes).as_bytes());
    let length = ByteCount(bytes.len() as u64);
    receive(node, deal, root, bytes).ok()?;
    let receipt = Receipt {
        pack: deal.pack,
        shard: deal.shard,
        root,
        length,
        provider: ProviderId(0),
        tier: Tier::Hot,
        price: Amount(1),
        term: Periods(9),
        fund_by: Height(99),
    };
    let worker = SigningKey::from_bytes(&[5; 32]);
    let signature = SigningContext::Receipt.sign(NETWORK, &worker, &receipt);
    let record = ShardRecord {
        receipt: SignedReceipt {
            receipt,
            signature: signature.unwrap(),
        },
        sector: SectorNumber(0),
        piece_roots: None,
        ended: None,
    };
    node.journal.put_shard(deal, &record).ok()?;
    Some((deal, record))
}

fn check(node: &Opened, promised: &Promised) {
    for (deal, (record, bytes)) in promised {
        assert_eq!(node.journal.shard(*deal).unwrap().as_ref(), Some(record));
        let receipt = &record.receipt.receipt;
        let read = node
            .shards
            .read_checked(*deal, receipt.root, receipt.length);
        assert_eq!(&read.unwrap(), bytes);
    }
    // Whatever else is journalled was received whole too.
    for (deal, record) in node.journal.shards().unwrap() {
        let receipt = &record.receipt.receipt;
        node.shards
            .read_checked(deal, receipt.root, receipt.length)
            .unwrap();
    }
}

#[test]
fn a_shard_whose_receipt_was_given_survives_a_loss_of_power_at_any_moment() {
    with_seeds(8, |disk, draw| {
        let data = disk.path().join("home/node");
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let made = NodeKeys::create(&data, &mut random).unwrap();
        let mut promised = Promised::new();
        for _ in 0..4 {
            disk.stop_after(draw.gen_range(1..250));
            if let Ok(node) = open(&data) {
                check(&node, &promised);
                for _ in 0..draw.gen_range(1..20) {
                    let mut bytes = vec![0; draw.gen_range(1..40_000)];
                    draw.fill_bytes(&mut bytes);
                    let Some((deal, record)) = take_in(&node, draw, &bytes) else {
                        break;
                    };
                    promised.insert(deal, (record, bytes));
                }
            }
            disk.cut_power(loss(draw));
        }
        let node = open(&data).unwrap();
        check(&node, &promised);
        take_in(&node, draw, b"goes on").unwrap();
        let read = NodeKeys::read(&data).unwrap();
        assert_eq!(
            read.owner.verifying_key().to_bytes(),
            made.owner.0,
            "another node"
        );
    });
}

#[test]
fn a_nodes_keys_are_there_once_init_has_said_so_and_whole_or_absent_before() {
    with_seeds(20, |disk, draw| {
        let data = disk.path().join("deep/in/node");
        let mut random = ChaCha20Rng::seed_from_u64(draw.r#gen());
        disk.stop_after(draw.gen_range(1..14));
        let made = NodeKeys::create(&data, &mut random);
        disk.cut_power(loss(draw));
        match (made, NodeKeys::read(&data)) {
            (Ok(made), read) => {
                let owner = read.unwrap().owner.verifying_key().to_bytes();
                assert_eq!(owner, made.owner.0);
            }
            (Err(_), Ok(_)) => {}
            (Err(_), Err(error)) => {
                assert!(error.to_string().contains("has no keys"), "{error}");
                NodeKeys::create(&data, &mut random).unwrap();
            }
        }
    });
}

#[test]
fn a_shard_that_does_not_fit_the_disk_is_refused_for_want_of_room_and_leaves_nothing() {
    let disk = Disk::mount().unwrap();
    let data = disk.path().join("node");
    NodeKeys::create(&data, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let node = open(&data).unwrap();
    let bytes = vec![1; 200_000];
    let deal = DealId {
        pack: PackId([1; 32]),
        shard: ShardIndex(0),
    };
    let root = ShardRoot(*blake3::hash(&bytes).as_bytes());
    for blocks in 0..40 {
        disk.limit(disk.used() + blocks * 4096);
        let error = receive(&node, deal, root, &bytes).unwrap_err();
        let refusal = error.refusal();
        assert_eq!(refusal.code, RefusalCode::NoRoom, "{error}");
        assert!(refusal.sentence.contains("disk is full"), "{refusal:?}");
        disk.no_limit();
        let left = std::fs::read_dir(data.join("shards")).unwrap().count();
        assert_eq!(left, 0, "half a shard stays");
    }
    receive(&node, deal, root, &bytes).unwrap();
}

#[test]
fn no_receipt_is_given_where_the_shards_or_the_journals_write_or_sync_fails() {
    type Break = fn(&Disk);
    let breaks: [Break; 6] = [
        |disk| disk.fail_writes("node/shards/*"),
        |disk| disk.fail_syncs("node/shards/*"),
        |disk| disk.fail_syncs("node/shards"),
        |disk| disk.fail_writes("node/node.db/*.log"),
        |disk| disk.fail_syncs("node/node.db/*.log"),
        |disk| disk.limit(disk.used() + 4096),
    ];
    for (number, breaking) in breaks.iter().enumerate() {
        println!("break {number}");
        let disk = Disk::mount().unwrap();
        let data = disk.path().join("node");
        let mut draw = ChaCha8Rng::seed_from_u64(7);
        NodeKeys::create(&data, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let node = open(&data).unwrap();
        let mut promised = Promised::new();
        let bytes = vec![9; 50_000];
        let (deal, record) = take_in(&node, &mut draw, &bytes).unwrap();
        promised.insert(deal, (record, bytes.clone()));
        breaking(&disk);
        assert!(take_in(&node, &mut draw, &bytes).is_none());
        disk.heal();
        disk.no_limit();
        // It goes on by itself, without a new start.
        let (deal, record) = take_in(&node, &mut draw, &bytes).unwrap();
        promised.insert(deal, (record, bytes.clone()));
        check(&node, &promised);
        drop(node);
        disk.cut_power(Loss::Everything);
        let node = open(&data).unwrap();
        check(&node, &promised);
        // One that was journalled may be there though its receipt was not given; no half of one is,
        // and a whole one that was not is set aside.
        let files = std::fs::read_dir(data.join("shards")).unwrap().count();
        let aside = node.shards.aside().unwrap();
        assert_eq!(files, node.journal.shards().unwrap().len() + aside.len());
        for deal in aside {
            let whole = std::fs::read(node.shards.aside_path(deal)).unwrap();
            assert!(whole == bytes, "{deal}");
        }
    }
}
