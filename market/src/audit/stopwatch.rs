//! How long verifying takes, by kind of proof.

use holdfast_market_core::execute::ProofTally;
use holdfast_proofs::proof::Circuit;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one Groth16 proof.
const PROOF_BYTES: u64 = 192;

/// Proofs of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProofFigures {
    /// How many were verified again.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds that this took, of all cores together.
    pub seconds: f64,
}

impl ProofFigures {
    fn of(count: u64, spent: Duration) -> Self {
        Self {
            count,
            bytes: count.saturating_mul(PROOF_BYTES),
            seconds: spent.as_secs_f64(),
        }
    }
}

/// Time spent on verifying, by circuit: seal, embed, spacetime.
#[derive(Default)]
pub(super) struct Stopwatch([AtomicU64; 3]);

impl Stopwatch {
    fn of(&self, circuit: Circuit) -> &AtomicU64 {
        let [seal, embed, spacetime] = &self.0;
        match circuit {
            Circuit::Seal => seal,
            Circuit::Embed => embed,
            Circuit::Spacetime => spacetime,
        }
    }

    fn spent(&self, circuit: Circuit) -> Duration {
        Duration::from_nanos(self.of(circuit).load(Ordering::Relaxed))
    }

    /// What tells it of each verification.
    pub(super) fn watch(self: &Arc<Self>) -> holdfast_proofs::verify::Watch {
        let watch = Arc::clone(self);
        Box::new(move |circuit, _| {
            let (watch, started) = (Arc::clone(&watch), Instant::now());
            Box::new(move || {
                let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                watch.of(circuit).fetch_add(spent, Ordering::Relaxed);
            })
        })
    }
}

/// Proofs by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProofsByKind {
    /// Of seals.
    pub seal: ProofFigures,
    /// Of embeds.
    pub embed: ProofFigures,
    /// Of spacetime.
    pub spacetime: ProofFigures,
}

impl ProofsByKind {
    /// Of all kinds together.
    pub fn total(&self) -> u64 {
        let kinds = [self.seal.count, self.embed.count, self.spacetime.count];
        kinds.into_iter().fold(0, u64::saturating_add)
    }

    pub(super) fn new(tally: ProofTally, watch: &Stopwatch) -> Self {
        let figures = |count, circuit| ProofFigures::of(count, watch.spent(circuit));
        Self {
            seal: figures(tally.seal, Circuit::Seal),
            embed: figures(tally.embed, Circuit::Embed),
            spacetime: figures(tally.spacetime, Circuit::Spacetime),
        }
    }
}
