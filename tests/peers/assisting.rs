//! Nodes that are asked to code a pack and spread its shards, and do something else.

use crate::met;
use crate::nodes::lies::Spread;
use crate::nodes::{Manner, Node, commit, hasty_client, network};
use crate::reading::{pack, plan};
use holdfast_market_core::units::ProviderId;
use holdfast_wire::transfer::{PeerFault, PutError, assisted_put};
use std::io::Cursor;
use std::time::{Duration, Instant};

/// The node that lies.
const ASSISTANT: usize = 0;

/// What is wrong; the shards that have no receipt after it, where the node answers at all; and what
/// is said.
const SPREADS: [(Spread, Option<&[usize]>, &str); 10] = [
    // The last byte is of data shard 2: the shards of which it is no part are right.
    (Spread::ChangesAStripe, Some(&[2, 3, 4, 5]), "root"),
    (Spread::LeavesOneOut, Some(&[4]), "does not answer"),
    (Spread::Substitutes, Some(&[4]), "another provider"),
    (Spread::GivesAnothersReceipt, Some(&[4]), "another shard"),
    (
        Spread::Forges,
        Some(&[0, 1, 2, 3, 4, 5]),
        "not signed by its worker",
    ),
    (Spread::AnswersAtOnce, Some(&[0, 1, 2, 3, 4, 5]), "no room"),
    (Spread::TooFew, None, "one outcome a shard"),
    (Spread::TooMany, None, "one outcome a shard"),
    (Spread::Silent, None, "no answer in"),
    (Spread::TakesNothing, None, "too few bytes"),
];

fn faults(
    results: &[Result<holdfast_market_core::receipt::SignedReceipt, PeerFault>],
) -> Vec<usize> {
    let failed = results.iter().enumerate().filter(|(_, one)| one.is_err());
    failed.map(|(shard, _)| shard).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_an_assistant_does_only_right_receipts_count_and_it_is_named() {
    let bytes = pack();
    let header = commit(&bytes);
    for (how, lacking, words) in SPREADS {
        let nodes = network(|number| match number as usize {
            ASSISTANT => Manner::Spreads(how),
            _ => Manner::Honest,
        });
        let plan = plan(&header, &nodes);
        let assistant = plan.targets[ASSISTANT].target.clone();
        let source = Cursor::new(bytes.clone());
        let begun = Instant::now();
        let put = assisted_put(&hasty_client(), &plan, &assistant, source, |_| {}).await;
        assert!(begun.elapsed() < Duration::from_secs(40), "{how:?}");
        match (put, lacking) {
            (Ok(results), Some(lacking)) => {
                assert_eq!(faults(&results), lacking, "{how:?} {results:?}");
                for fault in results.iter().filter_map(|one| one.as_ref().err()) {
                    // What it says of others is told as its word.
                    let own = fault.provider == ProviderId(ASSISTANT as u64);
                    let told_by = (!own).then_some(ProviderId(ASSISTANT as u64));
                    assert_eq!(fault.told_by, told_by, "{how:?} {fault}");
                    assert!(fault.reason.contains(words), "{how:?} {fault}");
                }
            }
            (Err(PutError::Assistant { node, source }), None) => {
                assert_eq!(node, assistant.node);
                assert!(source.to_string().contains(words), "{how:?} {source}");
            }
            (put, _) => panic!("{how:?}: {put:?}"),
        }
        let honest = nodes[1..].iter().map(Node::files).sum::<usize>();
        assert!(honest <= 5, "{how:?}");
        met(format!("an assistant: {how:?}"));
    }
}
