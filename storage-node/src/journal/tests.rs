#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::damage::{self, Damage, Owner, kind_of};
use ed25519_dalek::SigningKey;
use holdfast_market_core::message::{Body, Message, SignedMessage};
use holdfast_market_core::receipt::{Receipt, SignedReceipt, Tier};
use holdfast_market_core::units::{
    Address, Amount, ByteCount, Height, NetworkId, Periods, ProviderId, ShardRoot, Signature,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::SectorClass;

fn deal(index: u8) -> DealId {
    DealId {
        pack: PackId([index; 32]),
        shard: ShardIndex(index),
    }
}

fn shard_record(index: u8) -> ShardRecord {
    ShardRecord {
        receipt: SignedReceipt {
            receipt: Receipt {
                pack: deal(index).pack,
                shard: deal(index).shard,
                root: ShardRoot([3; 32]),
                length: ByteCount(5),
                provider: ProviderId(1),
                tier: Tier::Hot,
                price: Amount(7),
                term: Periods(2),
                fund_by: Height(90),
            },
            signature: Signature([9; 64]),
        },
        sector: SectorNumber(0),
        piece_roots: None,
        ended: None,
    }
}

/// Opens, does one thing, and is gone: as if the process were killed after every step.
fn step<T>(path: &Path, act: impl FnOnce(&Journal) -> T) -> T {
    act(&Journal::open(path).unwrap())
}

#[test]
fn every_step_of_a_sector_is_found_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    let number = SectorNumber(4);
    let replica = ReplicaId(Node::derive("holdfast test", &[b"replica"]));
    let mut record = SectorRecord::new(SectorClass::Mib8, Height(12), replica);
    let mut steps = vec![record.clone()];
    record.sealed = true;
    steps.push(record.clone());
    record.seal_proofs = Some(vec![ProofBytes([1; 192])]);
    steps.push(record.clone());
    record.discarded = true;
    steps.push(record.clone());
    record.embed = Some(EmbedRecord {
        committed: Height(70),
        proofs: None,
    });
    steps.push(record.clone());
    record.embed.as_mut().unwrap().proofs = Some(vec![ProofBytes([2; 192]); 3]);
    steps.push(record.clone());
    record.embed = None;
    steps.push(record);
    for written in steps {
        step(&path, |journal| {
            journal.put_sector(number, &written).unwrap()
        });
        let read = step(&path, |journal| journal.sector(number).unwrap());
        assert_eq!(read, Some(written));
    }
    step(&path, |journal| journal.forget_sector(number).unwrap());
    assert!(step(&path, |journal| journal.sectors().unwrap()).is_empty());
}

#[test]
fn shards_sectors_and_messages_are_listed_apart_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    let replica = ReplicaId(Node::ZERO);
    let key = SigningKey::from_bytes(&[1; 32]);
    let message = Message {
        sender: Address(key.verifying_key().to_bytes()),
        nonce: 3,
        fee: Amount(1),
        expiry: Height(100),
        body: Body::CancelDealSet {
            pack: PackId([1; 32]),
        },
    };
    let message = SignedMessage::new(NetworkId([0; 32]), &key, message).unwrap();
    let entry = OutboxEntry {
        id: message.id().unwrap(),
        message,
    };
    step(&path, |journal| {
        for index in [2, 1] {
            journal
                .put_shard(deal(index), &shard_record(index))
                .unwrap();
        }
        for number in [300, 2] {
            let record = SectorRecord::new(SectorClass::Mib64, Height(number), replica);
            journal.put_sector(SectorNumber(number), &record).unwrap();
        }
        journal.put_outbox("accept", &entry).unwrap();
        journal.put_voucher(&voucher(1)).unwrap();
        journal.put_voucher(&voucher(2)).unwrap();
        // One that comes late.
        journal.put_voucher(&voucher(1)).unwrap();
    });
    step(&path, |journal| {
        // One a payer: the last.
        assert_eq!(journal.vouchers().unwrap(), [voucher(2)]);
        let parties = voucher(2).voucher.channel.parties();
        assert_eq!(journal.voucher(&parties).unwrap(), Some(voucher(2)));
        let mut other = voucher(2).voucher.channel;
        other.opened = Height(1);
        journal.forget_voucher(&other).unwrap();
        assert_eq!(journal.vouchers().unwrap(), [voucher(2)]);
        journal.forget_voucher(&voucher(2).voucher.channel).unwrap();
        let shards = journal.shards().unwrap();
        assert_eq!(
            shards,
            vec![(deal(1), shard_record(1)), (deal(2), shard_record(2))]
        );
        let numbers: Vec<_> = journal
            .sectors()
            .unwrap()
            .iter()
            .map(|(number, _)| number.0)
            .collect();
        assert_eq!(numbers, [2, 300]);
        assert_eq!(journal.outbox().unwrap(), [("accept".into(), entry)]);
        journal.forget_shard(deal(1)).unwrap();
        journal.forget_outbox("accept").unwrap();
    });
    step(&path, |journal| {
        assert_eq!(journal.shard(deal(1)).unwrap(), None);
        assert!(journal.shard(deal(2)).unwrap().is_some());
        assert!(journal.outbox().unwrap().is_empty());
        assert!(journal.vouchers().unwrap().is_empty());
    });
}

fn voucher(amount: u128) -> SignedVoucher {
    let key = SigningKey::from_bytes(&[3; 32]);
    let channel = ChannelId {
        payer: Address(key.verifying_key().to_bytes()),
        reader: Address(key.verifying_key().to_bytes()),
        provider: ProviderId(1),
        opened: Height(2),
    };
    let voucher = Voucher {
        channel,
        amount: Amount(amount),
    };
    SignedVoucher::new(NetworkId([1; 32]), &key, voucher).unwrap()
}

#[test]
fn a_damaged_entry_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    step(&path, |journal| {
        journal.put_outbox("precommit/1", &{
            let key = SigningKey::from_bytes(&[1; 32]);
            let message = Message {
                sender: Address([0; 32]),
                nonce: 0,
                fee: Amount::ZERO,
                expiry: Height(0),
                body: Body::CancelDealSet {
                    pack: PackId([1; 32]),
                },
            };
            let message = SignedMessage::new(NetworkId([0; 32]), &key, message).unwrap();
            OutboxEntry {
                id: message.id().unwrap(),
                message,
            }
        })
    })
    .unwrap();
    step(&path, |journal| {
        let mut batch = WriteBatch::default();
        batch.put(b"oprecommit/1", b"\xff\x00");
        journal.write(batch).unwrap();
        let error = journal.outbox().unwrap_err().to_string();
        assert!(error.contains("precommit/1"), "{error}");
    });
}

/// Everything that the journal at `path` holds, in words.
fn content(path: &Path) -> Result<String, String> {
    let journal = Journal::open(path).map_err(|error| error.to_string())?;
    let read = || {
        let shards = journal.shards()?;
        Ok::<_, NodeError>(format!("{shards:?} {:?}", journal.sectors()?))
    };
    read().map_err(|error| error.to_string())
}

/// The same, of a copy: opening puts what the log has into a table.
fn content_of_copy(data: &Path) -> String {
    let copy = tempfile::tempdir().unwrap();
    damage::copy(data, copy.path());
    content(&copy.path().join("node.db")).unwrap()
}

/// A data folder whose journal has tables and a log.
fn folder_with_a_journal() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/node.db");
    std::fs::create_dir_all(&path).unwrap();
    for round in 0..3 {
        // Opened again, what was in the log is in a table.
        step(&path, |journal| {
            for index in 0..20 {
                let record = shard_record(round * 20 + index);
                journal
                    .put_shard(deal(round * 20 + index), &record)
                    .unwrap();
            }
        });
    }
    folder
}

#[test]
fn damage_to_any_file_of_the_journal_is_refused_by_name_or_changes_nothing() {
    let folder = folder_with_a_journal();
    let data = folder.path().join("data");
    let whole = content_of_copy(&data);
    let mut refused = std::collections::BTreeMap::new();
    for file in damage::files(&data) {
        let below = file.strip_prefix(&data).unwrap();
        let kind = kind_of(Owner::Node, below).unwrap();
        damage::each(&data, below, 6, 11, |data, damage| {
            let path = data.join("node.db");
            let what = format!("{}, {damage}", below.display());
            let count: &mut u32 = refused.entry(kind.path).or_default();
            if damage::assert_named_or_same(content(&path), &whole, "node.db", &what) {
                *count += 1;
                // The first try has thrown nothing away that would let a second one pass.
                damage::assert_named_or_same(content(&path), &whole, "node.db", &what);
            }
        });
    }
    println!("refused: {refused:?}");
    for kind in [
        "node.db/*.sst",
        "node.db/*.log",
        "node.db/MANIFEST-*",
        "node.db/CURRENT",
    ] {
        assert!(refused[kind] > 0, "{kind}: {refused:?}");
    }
    // Only where a folder has its name: it cannot be written anew.
    assert_eq!(refused["node.db.mark"], 1);
}

#[test]
fn a_log_that_ends_in_half_a_write_that_nobody_was_told_of_opens_without_it() {
    let folder = folder_with_a_journal();
    let data = folder.path().join("data");
    let path = data.join("node.db");
    let whole = content_of_copy(&data);
    // As after a power cut: the note is of the write before, and the log has half of the last.
    let mark = std::fs::read(Watermark::path_of(&path)).unwrap();
    step(&path, |journal| {
        journal.put_shard(deal(200), &shard_record(200)).unwrap();
    });
    std::fs::write(Watermark::path_of(&path), mark).unwrap();
    let logs = damage::files(&path);
    let log = logs
        .iter()
        .rfind(|file| file.extension().is_some_and(|end| end == "log"))
        .unwrap();
    let length = std::fs::metadata(log).unwrap().len();
    Damage::Cut(length - 7).apply(log);
    assert_eq!(content(&path).unwrap(), whole);
}

#[test]
fn a_journal_that_is_gone_is_not_begun_anew() {
    let folder = folder_with_a_journal();
    let path = folder.path().join("data/node.db");
    std::fs::remove_dir_all(&path).unwrap();
    let error = content(&path).unwrap_err();
    assert!(error.contains("node.db"), "{error}");
}
