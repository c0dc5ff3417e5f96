//! What the client reads: its own files, what it has stored, receipts.

use crate::read::{answer, canonical, texts, usual};
use crate::{Answer, Decoder, Form, files, sample, wire};
use holdfast_client::catalogue::{Catalogue, ObjectId, ObjectRecord};
use holdfast_client::journal::{Funded, Journal, PackProgress, Plan, Progress, StorageTerms};
use holdfast_client::layout::{PackPlan, Part};
use holdfast_client::manifest::{Content, Entry, EntryName, Extent, Kind, Manifest, Timestamp};
use holdfast_client::receipt::{
    Anchor, PackReceipt, PortableReceipt, RECEIPT_VERSION, WorkerReceipt,
};
use holdfast_client::seal::{Purpose, WrappingKey};
use holdfast_client::stream::{ContentKey, open_all, seal_all};
use holdfast_client::walk::{Found, FoundKind, Source};
use holdfast_market_core::block::{Outcome, OutcomeResult};
use holdfast_market_core::list::{self, Membership};
use holdfast_market_core::message::{Body, encode};
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::*;
use holdfast_wire::keys::Phrase;
use holdfast_wire::protocol::{ShardOffer, ShardTarget};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::sync::OnceLock;

/// Opening a journal derives the wallet's key from its phrase, slowly.
const JOURNAL_CALLS: u32 = 250;

pub(crate) fn decoders() -> Vec<Decoder> {
    let journal = |name, decode, seeds| Decoder {
        calls: JOURNAL_CALLS,
        ..usual(name, Form::Cbor, decode, seeds)
    };
    vec![
        usual("object-manifest", Form::Cbor, manifest, || {
            vec![made_manifest().encode().unwrap()]
        }),
        usual("catalogue", Form::Cbor, catalogue, || {
            vec![
                encode(&made_catalogue()).unwrap(),
                encode(&Catalogue::default()).unwrap(),
            ]
        }),
        usual("catalogue-block", Form::Bytes, catalogue_block, || {
            vec![made_catalogue().to_block(key(), &mut random()).unwrap()]
        }),
        usual("sealed-block", Form::Bytes, sealed_block, || {
            vec![honest_block().to_vec()]
        }),
        usual("sealed-content", Form::Bytes, sealed_content, || {
            vec![
                honest_content().to_vec(),
                seal_all(&content_key(), b"").unwrap(),
            ]
        }),
        usual("object-id", Form::Bytes, object_id, || {
            vec![ObjectId::of(b"manifest").to_bytes()]
        }),
        usual("object-id-text", Form::Text, object_id_text, || {
            vec![ObjectId::of(b"manifest").to_string().into_bytes()]
        }),
        journal("journal-plan", journal_plan, || {
            vec![encode(&plan()).unwrap()]
        }),
        journal("journal-progress", journal_progress, || {
            vec![
                encode(&progress()).unwrap(),
                encode(&Progress::default()).unwrap(),
            ]
        }),
        usual("portable-receipt", Form::Json, portable_receipt, || {
            texts([receipt()])
        }),
    ]
}

fn random() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn phrase() -> Phrase {
    Phrase::parse(wire::words()).unwrap()
}

fn key() -> &'static WrappingKey {
    static KEY: OnceLock<WrappingKey> = OnceLock::new();
    KEY.get_or_init(|| WrappingKey::of_phrase(&phrase()))
}

fn content_key() -> ContentKey {
    ContentKey::from_bytes([3; 39])
}

fn extent(length: u64) -> Extent {
    Extent {
        pack: 0,
        offset: ByteCount(0),
        length: ByteCount(length),
    }
}

fn entry(parent: Option<u32>, name: &[u8], kind: Kind) -> Entry {
    Entry {
        parent,
        name: EntryName::new(name).unwrap(),
        mode: 0o644,
        modified: Timestamp {
            seconds: -3,
            nanos: 999_999_999,
        },
        kind,
    }
}

fn made_manifest() -> Manifest {
    let file = |size: u64, sealed| Kind::File {
        size: ByteCount(size),
        content: Some(Content {
            key: content_key(),
            extents: vec![extent(sealed)],
        }),
    };
    let empty = Kind::File {
        size: ByteCount(0),
        content: None,
    };
    let link = Kind::Symlink {
        target: b"../elsewhere".to_vec(),
    };
    Manifest::new(vec![
        entry(None, b"photos", Kind::Directory),
        entry(Some(0), b"one", file(100, 116)),
        entry(Some(0), b"deep", Kind::Directory),
        entry(Some(2), b"\xff\xfe", file(70_000, 70_032)),
        entry(Some(2), b"empty", empty),
        entry(Some(0), b"link", link),
    ])
    .unwrap()
}

/// A manifest names every entry under its object, whatever it is called.
fn manifest(bytes: &[u8]) -> Answer {
    let Ok(read) = Manifest::decode(bytes) else {
        return Answer::Refused;
    };
    canonical(&read, bytes);
    for index in 0..read.entries().len().min(20) {
        let path = read.path_text(index);
        assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")));
    }
    Answer::Read
}

fn made_catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    for name in ["backup", "photos"] {
        catalogue.insert(ObjectRecord {
            id: ObjectId::of(name.as_bytes()),
            name: name.into(),
            directory: true,
            files: 4,
            bytes: ByteCount(70_100),
            stored: 1_700_000_000,
            data_shards: 2,
            total_shards: 3,
            packs: vec![Some(sample::pack()), None],
            manifest_key: key()
                .wrap(Purpose::Manifest, &content_key(), &mut random())
                .unwrap(),
            manifest_length: ByteCount(500),
            manifest: vec![extent(516)],
        });
    }
    catalogue.published = 3;
    catalogue
}

/// What lies sealed in the wallet's folder: written by the wallet, though perhaps by a broken one.
fn catalogue(bytes: &[u8]) -> Answer {
    let sealed = key()
        .seal_block(Purpose::Catalogue, bytes, &mut random())
        .unwrap();
    let Ok(read) = Catalogue::open(key(), &sealed) else {
        return Answer::Refused;
    };
    canonical(&read, bytes);
    for object in read.objects() {
        assert_eq!(read.find(&object.name), Some(object));
    }
    Answer::Read
}

/// Only the wallet's own block opens, and its length says how long it is.
fn catalogue_block(bytes: &[u8]) -> Answer {
    let honest = made_catalogue().to_block(key(), &mut random()).unwrap();
    if let Ok(length) = Catalogue::block_length(bytes) {
        assert!(length.0 <= holdfast_client::catalogue::CATALOGUE_LIMIT.0 + 4);
    }
    match Catalogue::from_block(key(), bytes, sample::pack()) {
        Err(_) => Answer::Refused,
        Ok(read) => {
            assert!(bytes == honest, "another block opens");
            assert!(
                read.objects()
                    .iter()
                    .all(|object| object.packs.iter().all(Option::is_some))
            );
            Answer::Read
        }
    }
}

const PLAIN: &[u8] = b"what the wallet has written";

fn honest_block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        key()
            .seal_block(Purpose::Journal, PLAIN, &mut random())
            .unwrap()
    })
}

/// Only the honest block opens, and only for its purpose.
fn sealed_block(bytes: &[u8]) -> Answer {
    assert!(key().open_block(Purpose::Manifest, bytes).is_err());
    match key().open_block(Purpose::Journal, bytes) {
        Err(_) => Answer::Refused,
        Ok(plain) => {
            assert!(
                bytes == honest_block() && plain == PLAIN,
                "another block opens"
            );
            Answer::Read
        }
    }
}

fn honest_content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| seal_all(&content_key(), &sample::shard().repeat(3)).unwrap())
}

/// Only what was sealed opens: not moved, not cut, not repeated.
fn sealed_content(bytes: &[u8]) -> Answer {
    match open_all(&content_key(), bytes) {
        Err(_) => Answer::Refused,
        Ok(plain) => {
            assert!(
                plain.is_empty()
                    || (bytes == honest_content() && plain == sample::shard().repeat(3))
            );
            Answer::Read
        }
    }
}

/// An object's binary name has one form.
fn object_id(bytes: &[u8]) -> Answer {
    let read = ObjectId::from_bytes(bytes);
    if let Some(id) = &read {
        assert!(id.to_bytes() == bytes, "it is another name of {id}");
    }
    answer(read)
}

/// An object's text has one form.
fn object_id_text(bytes: &[u8]) -> Answer {
    let read = std::str::from_utf8(bytes)
        .ok()
        .and_then(ObjectId::from_text);
    if let Some(id) = &read {
        assert!(
            id.to_string().as_bytes() == bytes,
            "it is another name of {id}"
        );
    }
    answer(read)
}

fn plan() -> Plan {
    let found = |parent, name: &[u8], kind| Found {
        parent,
        name: EntryName::new(name).unwrap(),
        mode: 0o644,
        modified: Timestamp {
            seconds: 1,
            nanos: 2,
        },
        kind,
    };
    let source = Source {
        root: "/somewhere/photos".into(),
        found: vec![
            found(None, b"photos", FoundKind::Directory),
            found(
                Some(0),
                b"one",
                FoundKind::File {
                    size: ByteCount(100),
                },
            ),
            found(
                Some(0),
                b"link",
                FoundKind::Symlink {
                    target: b"one".to_vec(),
                },
            ),
        ],
    };
    let terms = StorageTerms {
        data_shards: 2,
        total_shards: 3,
        term: Periods(9),
    };
    let content = Content {
        key: content_key(),
        extents: vec![extent(516)],
    };
    let packs = vec![PackPlan {
        length: ByteCount(100_000),
        parts: vec![Part {
            content: 1,
            first: 0,
            chunks: 1,
        }],
    }];
    Plan::new(
        "photos".into(),
        source,
        terms,
        made_manifest(),
        content,
        packs,
        extent(900),
        1_700_000_000,
    )
}

fn progress() -> Progress {
    let target = |number| ShardTarget {
        provider: ProviderId(number),
        node: NodeKey([4; 32]),
        endpoint: "127.0.0.1:4000".into(),
        offer: ShardOffer {
            tier: Tier::Hot,
            price: Amount(1_000),
            term: Periods(9),
        },
    };
    Progress {
        packs: vec![PackProgress {
            header: sample::header(),
            targets: (0..3).map(target).collect(),
            receipts: (0..3).map(sample::receipt).collect(),
            funded: Some(Funded {
                at: Height(33),
                message: Some(MessageId([6; 32])),
            }),
        }],
        catalogue: vec![1; 900],
        version: 3,
    }
}

/// The journal whose files hold these plain bytes, sealed by the wallet.
fn journal(name: &str, plan: &[u8], progress: &[u8]) -> Option<Journal> {
    let journals = files::folder(name);
    let folder = journals.join("upload");
    std::fs::create_dir_all(&folder).unwrap();
    for (file, plain) in [("plan", plan), ("progress", progress)] {
        let sealed = key()
            .seal_block(Purpose::Journal, plain, &mut random())
            .unwrap();
        std::fs::write(folder.join(file), sealed).unwrap();
    }
    // What cannot be read is left out and does not hide the others.
    let found = Journal::list(&journals, || WrappingKey::of_phrase(&phrase())).unwrap();
    found.into_iter().next()
}

fn journal_plan(bytes: &[u8]) -> Answer {
    let read = journal("journal-plan", bytes, &encode(&progress()).unwrap());
    if let Some(read) = &read {
        canonical(&read.plan, bytes);
    }
    answer(read)
}

fn journal_progress(bytes: &[u8]) -> Answer {
    let read = journal("journal-progress", &encode(&plan()).unwrap(), bytes);
    if let Some(read) = &read {
        canonical(&read.progress, bytes);
    }
    answer(read)
}

fn receipt() -> PortableReceipt {
    let message = sample::message(Body::ProposeDealSet(sample::proposal()));
    let others = sample::message(Body::CancelDealSet {
        pack: sample::pack(),
    });
    let messages = [encode(&others).unwrap(), encode(&message).unwrap()];
    let outcome = |id| Outcome {
        message: id,
        result: OutcomeResult::Done,
    };
    let outcomes = [others.id().unwrap(), message.id().unwrap()].map(outcome);
    let leaves = outcomes.each_ref().map(|outcome| outcome.leaf().unwrap());
    let mut header = sample::block_header(3, BlockId([9; 32]));
    header.transactions_root = list::root(&messages);
    let mut next = sample::block_header(4, header.id().unwrap());
    next.receipts_root = list::root(&leaves);
    let [_, outcome] = outcomes;
    let anchor = Anchor {
        certificate: sample::certificate(&header),
        next_certificate: sample::certificate(&next),
        header,
        message,
        place: Membership::prove(&messages, 1).unwrap(),
        next,
        outcome,
        outcome_place: Membership::prove(&leaves, 1).unwrap(),
    };
    let signed = (0..3).map(|number| WorkerReceipt {
        worker: sample::address(10 + number),
        receipt: sample::receipt(number),
    });
    PortableReceipt {
        version: RECEIPT_VERSION,
        network: sample::NETWORK,
        object: ObjectId::of(b"manifest"),
        packs: vec![PackReceipt {
            pack: sample::pack(),
            header: sample::header(),
            signed: signed.collect(),
            anchor,
        }],
    }
}

/// A receipt that holds is the one that was given, and says nothing that is not read.
fn portable_receipt(bytes: &[u8]) -> Answer {
    let Ok(read) = PortableReceipt::parse(bytes) else {
        return Answer::Refused;
    };
    let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert!(
        serde_json::to_value(&read).unwrap() == said,
        "it says more than what was read, or says it in another way"
    );
    if read.verify(sample::NETWORK, &[sample::validator()]).is_ok() {
        // Which object the packs are of is its owner's word.
        let honest = PortableReceipt {
            object: read.object,
            ..receipt()
        };
        assert!(read == honest, "a forged receipt holds");
    }
    Answer::Read
}
