//! Storing and reading packs among six nodes on loopback, some of which fail or lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

#[path = "transfer/nodes.rs"]
mod nodes;

use holdfast_market_core::message::PackHeader;
use holdfast_market_core::units::{ByteCount, Height, ProviderId, ShardIndex};
use holdfast_proofs::piece::{PieceRoots, PieceShape};
use holdfast_wire::bao::verify_slice;
use holdfast_wire::protocol::{ByteRange, RefusalCode};
use holdfast_wire::quic::{CallError, Peers};
use holdfast_wire::transfer::{
    FetchError, Fetcher, PeerFault, PutError, PutPlan, assisted_put, direct_put, piece_openings,
};
use nodes::{Manner, Node, PIECE_LEVELS, client, commit, network};
use std::io::Cursor;
use std::time::{Duration, Instant};

/// Two full stripes and a rest, for 3 of 6.
const LENGTH: usize = 2 * 3 * 65_536 + 70_001;

fn pack() -> Vec<u8> {
    (0..LENGTH)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

fn plan(header: &PackHeader, nodes: &[Node]) -> PutPlan {
    PutPlan {
        header: header.clone(),
        targets: nodes.iter().map(Node::target).collect(),
        fund_by: Height(50),
    }
}

fn whole() -> ByteRange {
    ByteRange {
        start: 0,
        end: LENGTH as u64,
    }
}

async fn stored(nodes: &[Node]) -> (Peers, PackHeader, Vec<u8>) {
    let (peers, bytes) = (client(), pack());
    let header = commit(&bytes);
    let plan = plan(&header, nodes);
    let source = Cursor::new(bytes.clone());
    let assistant = plan.targets[1].target.clone();
    let receipts = assisted_put(&peers, &plan, &assistant, source, |_| {})
        .await
        .unwrap();
    assert!(receipts.iter().all(Result::is_ok), "{receipts:?}");
    (peers, header, bytes)
}

fn fetch(peers: &Peers, header: &PackHeader, nodes: &[Node], range: ByteRange) -> Fetcher {
    let sources = nodes
        .iter()
        .enumerate()
        .map(|(shard, node)| node.source(shard as u8))
        .collect();
    Fetcher::new(peers, None, header, sources, range).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assisted_pack_is_stored_with_six_receipts_and_read_back() {
    let nodes = network(|_| Manner::Honest);
    let (peers, bytes) = (client(), pack());
    let header = commit(&bytes);
    let plan = plan(&header, &nodes);
    let mut sent = Vec::new();
    let results = assisted_put(
        &peers,
        &plan,
        &plan.targets[0].target,
        Cursor::new(bytes.clone()),
        |count| sent.push(count),
    )
    .await
    .unwrap();
    for (index, result) in results.iter().enumerate() {
        let receipt = &result.as_ref().unwrap().receipt;
        assert_eq!(receipt.shard, ShardIndex(index as u8));
        assert_eq!(receipt.root, header.shard_roots[index]);
        assert_eq!(receipt.provider, ProviderId(index as u64));
    }
    assert_eq!(sent.last(), Some(&ByteCount(LENGTH as u64)));
    assert!(nodes.iter().all(|node| node.files() == 1));
    let mut fetcher = fetch(&peers, &header, &nodes, whole());
    assert!(fetcher.read_all().await.unwrap() == bytes);
    assert_eq!(fetcher.faults(), []);
    // The data shards were in order, so nobody else was asked.
    assert!(nodes[3..].iter().all(|node| node.answered_reads() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_pack_is_stored_and_read_back_also_when_it_is_empty_or_one_byte() {
    let nodes = network(|_| Manner::Honest);
    let peers = client();
    for length in [0, 1, LENGTH] {
        let bytes = pack()[..length].to_vec();
        let header = commit(&bytes);
        let plan = plan(&header, &nodes);
        let source = Cursor::new(bytes.clone());
        let results = direct_put(&peers, &plan, source, |_| {}).await.unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let range = ByteRange {
            start: 0,
            end: length as u64,
        };
        let read = fetch(&peers, &header, &nodes, range)
            .read_all()
            .await
            .unwrap();
        assert!(read == bytes);
        let assistant = plan.targets[5].target.clone();
        let source = Cursor::new(bytes);
        let results = assisted_put(&peers, &plan, &assistant, source, |_| {})
            .await
            .unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_is_the_naive_slice_with_all_nodes_and_with_half_of_them() {
    let nodes = network(|_| Manner::Honest);
    let (peers, header, bytes) = stored(&nodes).await;
    let stripe = 3 * 65_536;
    let ranges = [
        (0, 0),
        (0, 1),
        (5, 17),
        (65_535, 65_537),
        (65_536, 65_600),
        (stripe - 1, stripe + 1),
        (100, 2 * stripe + 100),
        (2 * stripe, LENGTH),
        (2 * stripe + 23_333, 2 * stripe + 23_336),
        (LENGTH - 1, LENGTH),
        (LENGTH, LENGTH),
    ];
    for killed in [false, true] {
        if killed {
            for node in [&nodes[0], &nodes[2], &nodes[5]] {
                node.behave(Manner::Lost);
            }
        }
        for (start, end) in ranges {
            let range = ByteRange {
                start: start as u64,
                end: end as u64,
            };
            let mut fetcher = fetch(&peers, &header, &nodes, range);
            let read = fetcher.read_all().await.unwrap();
            assert!(read == bytes[start..end], "{start}..{end} {killed}");
        }
    }
    let beyond = ByteRange {
        start: 0,
        end: LENGTH as u64 + 1,
    };
    assert!(matches!(
        Fetcher::new(&peers, None, &header, vec![], beyond),
        Err(FetchError::Range { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_says_something_else_is_refused_by_name() {
    for (manner, reason) in [
        (Manner::SignsAnotherRoot, "another root"),
        (Manner::SignsAnotherTerm, "another term"),
        (Manner::SignsWithAnotherKey, "not signed by its worker"),
        (Manner::PromisesTooShort, "until height 49"),
    ] {
        let nodes = network(|number| if number == 4 { manner } else { Manner::Honest });
        let (peers, bytes) = (client(), pack());
        let header = commit(&bytes);
        let plan = plan(&header, &nodes);
        let assistant = plan.targets[0].target.clone();
        for direct in [false, true] {
            let source = Cursor::new(bytes.clone());
            let results = if direct {
                direct_put(&peers, &plan, source, |_| {}).await.unwrap()
            } else {
                assisted_put(&peers, &plan, &assistant, source, |_| {})
                    .await
                    .unwrap()
            };
            for (index, result) in results.iter().enumerate() {
                assert_eq!(result.is_ok(), index != 4, "{manner:?} {result:?}");
            }
            let fault = results[4].as_ref().unwrap_err();
            assert!(fault.lied && fault.provider == ProviderId(4));
            assert!(fault.reason.contains(reason), "{fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_or_refuses_does_not_touch_the_others() {
    let nodes = network(|number| {
        if number == 3 {
            Manner::Refuses
        } else {
            Manner::Honest
        }
    });
    nodes[5].kill().await;
    let (peers, bytes) = (client(), pack());
    let header = commit(&bytes);
    let plan = plan(&header, &nodes);
    for assistant in [Some(0), Some(3), None] {
        let source = Cursor::new(bytes.clone());
        let results = match assistant {
            Some(index) => {
                let assistant: &nodes::Node = &nodes[index];
                let target = assistant.target().target;
                assisted_put(&peers, &plan, &target, source, |_| {})
                    .await
                    .unwrap()
            }
            None => direct_put(&peers, &plan, source, |_| {}).await.unwrap(),
        };
        let failed: Vec<&PeerFault> = results.iter().filter_map(|r| r.as_ref().err()).collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].provider == ProviderId(3) && failed[0].reason.contains("no room"));
        assert!(
            failed[1].provider == ProviderId(5) && failed[1].reason.contains("does not answer")
        );
        assert!(failed.iter().all(|fault| !fault.lied));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_whose_bytes_are_not_those_of_its_header_is_stored_by_nobody() {
    let nodes = network(|_| Manner::Honest);
    let (peers, bytes) = (client(), pack());
    let header = commit(&bytes);
    let plan = plan(&header, &nodes);
    let mut other = bytes.clone();
    other[LENGTH - 1] ^= 1;
    let assistant = plan.targets[2].target.clone();
    let results = assisted_put(&peers, &plan, &assistant, Cursor::new(other), |_| {})
        .await
        .unwrap();
    // The changed byte is in data shard 2, so shards 0 and 1 are right and 2 to 5 are not.
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), index < 2, "{result:?}");
    }
    assert!(results[5].as_ref().unwrap_err().reason.contains("root"));
    assert!(nodes[2..].iter().all(|node| node.files() == 0));
    // A source that ends early or goes on is a fault of ours.
    for length in [LENGTH - 1, LENGTH + 1] {
        let mut source = pack();
        source.resize(length, 0);
        let source = Cursor::new(source);
        let result = assisted_put(&peers, &plan, &assistant, source.clone(), |_| {}).await;
        assert!(matches!(result, Err(PutError::Source(_))), "{result:?}");
        let result = direct_put(&peers, &plan, source, |_| {}).await;
        assert!(matches!(result, Err(PutError::Source(_))), "{result:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        // One that goes on has given every shard whole and right before that is seen.
        if length < LENGTH {
            assert!(nodes[2..].iter().all(|node| node.files() == 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_cannot_is_named() {
    let nodes = network(|_| Manner::Honest);
    let (peers, bytes) = (client(), pack());
    let header = commit(&bytes);
    let mut plan = plan(&header, &nodes);
    let assistant = plan.targets[0].target.clone();
    plan.targets.pop();
    let result = assisted_put(
        &peers,
        &plan,
        &assistant,
        Cursor::new(bytes.clone()),
        |_| {},
    )
    .await;
    assert!(matches!(
        result,
        Err(PutError::Targets { targets: 5, n: 6 })
    ));
    plan.targets.push(nodes[5].target());
    nodes[0].kill().await;
    let result = assisted_put(&peers, &plan, &assistant, Cursor::new(bytes), |_| {}).await;
    let Err(PutError::Assistant { node, source }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(node, assistant.node);
    assert!(matches!(*source, CallError::Unreachable { .. }), "{source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_another_byte_is_detected_and_another_shard_is_read() {
    for manner in [Manner::ServesAnotherByte, Manner::ServesAnotherLength] {
        let nodes = network(|_| Manner::Honest);
        let (peers, header, bytes) = stored(&nodes).await;
        nodes[1].behave(manner);
        let mut fetcher = fetch(&peers, &header, &nodes, whole());
        assert!(fetcher.read_all().await.unwrap() == bytes);
        let faults = fetcher.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].lied && faults[0].provider == ProviderId(1),
            "{}",
            faults[0]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_dead_nodes_of_six_are_gone_around_and_four_are_named() {
    let nodes = network(|_| Manner::Honest);
    let (peers, header, bytes) = stored(&nodes).await;
    for node in &nodes[..3] {
        node.kill().await;
    }
    let begun = Instant::now();
    let mut fetcher = fetch(&peers, &header, &nodes, whole());
    assert!(fetcher.read_all().await.unwrap() == bytes);
    // Without waiting for the dead ones' handshakes to fail.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // The next fetch knows them, and asks them last.
    let begun = Instant::now();
    let read = fetch(&peers, &header, &nodes, whole()).read_all().await;
    assert!(read.unwrap() == bytes);
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    nodes[4].behave(Manner::Lost);
    let error = fetch(&peers, &header, &nodes, whole())
        .read_all()
        .await
        .unwrap_err();
    let FetchError::TooFew { have, need, faults } = &error else {
        panic!("{error}");
    };
    assert_eq!((*have, *need, faults.len()), (2, 3, 4), "{error}");
    assert!(
        error
            .to_string()
            .contains("3 shards are needed and 2 could be read")
    );
    assert!(
        error
            .to_string()
            .contains("provider 4 (shard 4): this shard is not stored here")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_is_hedged_by_another() {
    let nodes = network(|_| Manner::Honest);
    let (peers, header, bytes) = stored(&nodes).await;
    nodes[0].behave(Manner::ReadsStall);
    let begun = Instant::now();
    let mut fetcher = fetch(&peers, &header, &nodes, whole());
    assert!(fetcher.read_all().await.unwrap() == bytes);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert!(nodes[3..].iter().any(|node| node.answered_reads() > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_ranges_that_are_out_of_order_or_outside() {
    use holdfast_wire::protocol::{GetShard, Request};
    let nodes = network(|_| Manner::Honest);
    let (peers, header, _) = stored(&nodes).await;
    let target = nodes[0].target().target;
    let connection = peers.connect(&target.endpoint, target.node).await.unwrap();
    let range = |start, end| ByteRange { start, end };
    let end = header.shard_length.0;
    for ranges in [
        vec![],
        vec![range(0, 0)],
        vec![range(5, 4)],
        vec![range(0, end + 1)],
        vec![range(u64::MAX - 1, u64::MAX)],
        vec![range(10, 20), range(0, 5)],
        vec![range(0, 5), range(4, 6)],
        (0..65).map(|at| range(at * 2, at * 2 + 1)).collect(),
    ] {
        let request = Request::GetShard(GetShard {
            pack: header.id().unwrap(),
            shard: ShardIndex(0),
            ranges: ranges.clone(),
            voucher: None,
        });
        let error = connection.ask(&request).await.unwrap_err();
        assert!(
            matches!(&error, CallError::Refused(refusal)
            if refusal.code == RefusalCode::Malformed),
            "{ranges:?}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_the_assisting_node_may_not_dial_is_named_and_the_others_are_served() {
    let nodes = network(|_| Manner::Honest);
    let (peers, bytes) = (client(), pack());
    let plan = plan(&commit(&bytes), &nodes);
    nodes[0].does_not_know(ProviderId(4));
    let assistant = plan.targets[0].target.clone();
    let results = assisted_put(&peers, &plan, &assistant, Cursor::new(bytes), |_| {})
        .await
        .unwrap();
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(index, 4),
            Err(fault) => {
                assert_eq!((index, fault.provider), (4, ProviderId(4)));
                assert_eq!(fault.reason, "provider 4 is not known");
            }
        }
    }
    assert_eq!(nodes[4].files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn quads_are_opened_under_both_roots_and_a_wrong_opening_is_refused() {
    let nodes = network(|_| Manner::Honest);
    let (peers, header, bytes) = stored(&nodes).await;
    // Column 2 of the pack: its last byte lies beyond the content, as a zero.
    let mut shard = Vec::new();
    let columns = (0..).zip(bytes.chunks(3 * 65_536));
    for (_, stripe) in columns.collect::<Vec<(u8, _)>>() {
        let column = (stripe.len().div_ceil(3)).min(65_536);
        let own = stripe.get(2 * column..).unwrap_or_default();
        shard.extend_from_slice(&own[..own.len().min(column)]);
        shard.resize(shard.len() + column - own.len().min(column), 0);
    }
    let length = header.shard_length;
    assert_eq!(shard.len() as u64, length.0);
    let shape = PieceShape::of(length.0, PIECE_LEVELS).unwrap();
    let roots = PieceRoots::compute(shard.as_slice(), length.0, PIECE_LEVELS).unwrap();
    let source = nodes[2].source(2);
    let pack = header.id().unwrap();
    let last = (length.0 - 1) / 127;
    // Openings that are out of place, or whose bytes are not under a root, show nothing.
    let ask = async |quads: Vec<u64>| {
        let connection = peers.connect(&source.endpoint, source.node).await.unwrap();
        piece_openings(&connection, pack, ShardIndex(2), quads).await
    };
    let quads = vec![last - 1, 0, 600];
    for (opening, quad) in ask(quads.clone()).await.unwrap().into_iter().zip(&quads) {
        let range = ByteRange {
            start: quad * 127,
            end: (quad * 127 + 127).min(length.0),
        };
        let root = header.shard_roots[2];
        let slice = verify_slice(root, length, range, &opening.slice).unwrap();
        let data = opening.opening.verify(&shape, &roots, *quad).unwrap();
        assert_eq!(slice, shard[range.start as usize..range.end as usize]);
        assert_eq!(slice, data[..slice.len()]);
        // It shows this quad only, of this shard only.
        assert!(verify_slice(header.shard_roots[1], length, range, &opening.slice).is_err());
        assert!(opening.opening.verify(&shape, &roots, quad ^ 2).is_err());
    }
    for manner in [Manner::OpensAnotherByte, Manner::OpensAnotherQuad] {
        nodes[2].behave(manner);
        for (opening, quad) in ask(quads.clone()).await.unwrap().into_iter().zip(&quads) {
            let range = ByteRange {
                start: quad * 127,
                end: (quad * 127 + 127).min(length.0),
            };
            let root = header.shard_roots[2];
            let slice = verify_slice(root, length, range, &opening.slice);
            let data = opening.opening.verify(&shape, &roots, *quad);
            // Quads that share a group of bytes share its slice; their nodes are not the same.
            assert!(data.is_err(), "{manner:?} {quad}");
            assert_eq!(slice.is_err(), manner == Manner::OpensAnotherByte);
        }
    }
    nodes[2].behave(Manner::OpensFewer);
    let error = ask(quads.clone()).await.unwrap_err();
    assert!(matches!(error, CallError::Unexpected(_)), "{error}");
    let elsewhere = nodes[3].source(3);
    let connection = peers.connect(&elsewhere.endpoint, elsewhere.node).await;
    let refused = piece_openings(&connection.unwrap(), pack, ShardIndex(2), quads).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
}
