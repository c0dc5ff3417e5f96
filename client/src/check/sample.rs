//! Asking a provider for openings, and what they show.

use super::Case;
use holdfast_market_core::message::PieceOpening;
use holdfast_market_core::opening::{self, Roots, Unshown, quads};
use holdfast_market_core::state::Provider;
use holdfast_market_core::units::{ByteCount, ShardRoot};
use holdfast_proofs::piece::PieceShape;
use holdfast_wire::quic::{CallError, Peers};
use holdfast_wire::transfer::piece_openings;
use std::time::Duration;

/// A provider opens what it is asked for in this time, or it is said to be silent.
const OPENING_TIME: Duration = Duration::from_secs(20);

/// What a provider's openings show.
pub(super) enum Sampled {
    /// The shard's bytes.
    Fine,
    /// That it signed two roots of different bytes.
    Fraud(Box<PieceOpening>),
    /// Nothing, and why.
    Unopened(String),
}

/// So many different places of a shard, by chance; all where it has no more.
pub(super) fn places(length: ByteCount, samples: usize) -> Vec<u64> {
    let all = usize::try_from(quads(length)).unwrap_or(usize::MAX);
    let chosen = rand::seq::index::sample(&mut rand::thread_rng(), all, samples.min(all));
    chosen.into_iter().map(|place| place as u64).collect()
}

/// Asks for the openings and verifies each under both roots. One that shows a fraud outweighs
/// whatever else is wrong.
pub(super) async fn sample(
    peers: &Peers,
    provider: &Provider,
    case: &Case<'_>,
    root: ShardRoot,
    places: &[u64],
    levels: u32,
) -> Sampled {
    let asked = async {
        let offer = &provider.offer;
        let connection = peers.connect(&offer.endpoint, offer.node).await?;
        piece_openings(&connection, case.id.pack, case.id.shard, places.to_vec()).await
    };
    let openings = match tokio::time::timeout(OPENING_TIME, asked).await {
        Ok(Ok(openings)) => openings,
        Ok(Err(error)) => return Sampled::Unopened(told(&error)),
        Err(_) => {
            let seconds = OPENING_TIME.as_secs();
            return Sampled::Unopened(format!("it gave no answer in {seconds} s"));
        }
    };
    let Ok(shape) = PieceShape::of(case.length().0, levels) else {
        return Sampled::Unopened("the ledger states a length that no shard has".into());
    };
    let mut unshown = None;
    for opening in openings {
        match verify(case, root, &shape, &opening) {
            Ok(true) => {}
            Ok(false) => return Sampled::Fraud(Box::new(opening)),
            Err(error) => unshown = Some((opening.quad, error)),
        }
    }
    match unshown {
        None => Sampled::Fine,
        Some((quad, error)) => Sampled::Unopened(format!(
            "what it sent of place {quad} is worthless: {error}"
        )),
    }
}

fn verify(
    case: &Case<'_>,
    root: ShardRoot,
    shape: &PieceShape,
    shown: &PieceOpening,
) -> Result<bool, Unshown> {
    let length = case.length();
    if case.deal.piece_roots.is_empty() {
        return opening::shard_bytes(root, length, shown).map(|_| true);
    }
    let roots = Roots {
        shard: root,
        length,
        piece: &case.deal.piece_roots,
    };
    opening::agrees(&roots, shape, shown)
}

fn told(error: &CallError) -> String {
    match error {
        CallError::Refused(refusal) => format!("it refuses: {refusal}"),
        CallError::Unexpected(_) | CallError::Frame(_) => format!("it sends rubbish: {error}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn places_are_different_inside_the_shard_and_not_always_the_same() {
        for (length, samples, expected) in [(1, 4, 1), (127, 4, 1), (128, 4, 2), (1 << 20, 16, 16)]
        {
            let places = places(ByteCount(length), samples);
            let distinct: BTreeSet<u64> = places.iter().copied().collect();
            assert_eq!(distinct.len(), expected);
            assert!(distinct.iter().all(|place| place * 127 < length));
        }
        let seen: BTreeSet<Vec<u64>> = (0..20).map(|_| places(ByteCount(1 << 24), 4)).collect();
        assert!(seen.len() > 10);
    }
}
