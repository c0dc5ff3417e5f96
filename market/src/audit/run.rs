//! The replay of a ledger's blocks: the next ones are read and their signatures looked at on all cores
//! while these are executed; what these prove is verified on all cores once they are.

use super::checkpoint::Keeper;
use super::parallel;
use super::source::Source;
use super::{AuditError, Progress, Watch};
use holdfast_market_core::audit::{Event, Finding, Replay, Step};
use holdfast_market_core::beacon;
use holdfast_market_core::block::{CertifiedBlock, Validator};
use holdfast_market_core::facts::Checked;
use holdfast_market_core::query;
use holdfast_market_core::units::{Beacon, Blocks, Height, NetworkId};
use holdfast_market_core::view::ViewError;
use std::num::NonZeroUsize;

/// A replay under way.
pub(super) struct Run {
    pub replay: Replay,
    pub threads: NonZeroUsize,
    pub watch: Watch,
    pub keeper: Option<Keeper>,
    height: Height,
    proofs: u64,
    /// What was noted of what is followed.
    pub events: Vec<Event>,
}

/// What the signatures of the next blocks are looked at with.
#[derive(Clone)]
struct Glasses {
    network: NetworkId,
    threads: NonZeroUsize,
    /// The beacon of the block before them.
    previous: Beacon,
    /// Whose beacon keys are known; those of later validators are looked at in turn.
    validators: Vec<Validator>,
}

impl Glasses {
    fn look(mut self, blocks: Vec<CertifiedBlock>) -> Vec<Checked> {
        let parents: Vec<_> = blocks.iter().map(|one| one.block.header.parent).collect();
        let named = parents.into_iter().skip(1).map(Some).chain([None]);
        let mut items = Vec::with_capacity(blocks.len());
        for (certified, named) in blocks.into_iter().zip(named) {
            let next = beacon::value(&certified.block.header.beacon);
            let previous = std::mem::replace(&mut self.previous, next);
            items.push((certified, previous, named));
        }
        parallel::each(self.threads, items, |(certified, previous, named)| {
            let checked = Checked::of(self.network, certified, previous, &self.validators);
            match named {
                Some(named) => checked.named(named),
                None => checked,
            }
        })
    }
}

impl Run {
    pub(super) fn new(
        replay: Replay,
        threads: NonZeroUsize,
        keeper: Option<Keeper>,
        watch: Watch,
    ) -> Result<Self, ViewError> {
        Ok(Self {
            height: query::chain(replay.view())?.height,
            replay,
            threads,
            watch,
            keeper,
            proofs: 0,
            events: Vec::new(),
        })
    }

    /// Where it stands.
    pub(super) fn height(&self) -> Height {
        self.height
    }

    fn glasses(&self) -> Result<Glasses, AuditError> {
        let view = self.replay.view();
        let unreadable = |error: ViewError| AuditError::Stopped(error.to_string());
        let previous = query::beacon(view, self.height).map_err(unreadable)?;
        Ok(Glasses {
            network: self.replay.network(),
            threads: self.threads,
            previous: previous.unwrap_or(Beacon([0; 32])),
            validators: query::validators(view).map_err(unreadable)?.after,
        })
    }

    /// Replays up to `head`.
    pub(super) async fn up_to(mut self, source: &Source, head: Height) -> Result<Self, AuditError> {
        let mut glasses = self.glasses()?;
        let from = self.height.after(Blocks(1));
        let mut next = read(source, from, head, &mut glasses).await?;
        while self.height < head {
            let blocks = std::mem::take(&mut next);
            let Some(last) = blocks.last() else {
                return Err(missing(self.height.after(Blocks(1)), head).into());
            };
            let last = last.certified().block.header.height;
            let replaying = tokio::task::spawn_blocking(move || self.take(&blocks, head));
            let reading = async {
                match last < head {
                    true => read(source, last.after(Blocks(1)), head, &mut glasses).await,
                    false => Ok(Vec::new()),
                }
            };
            let (replayed, read) = tokio::join!(replaying, reading);
            // What was replayed comes first: it names the lower height.
            self = replayed.map_err(stopped)??;
            glasses.validators = self.glasses()?.validators;
            next = read?;
        }
        Ok(self)
    }

    fn take(mut self, blocks: &[Checked], head: Height) -> Result<Self, AuditError> {
        let in_place = (1..)
            .map(|number| self.height.after(Blocks(number)))
            .zip(blocks)
            .take_while(|(height, one)| one.certified().block.header.height == *height)
            .count();
        let (blocks, others) = blocks.split_at_checked(in_place).unwrap_or((blocks, &[]));
        self.window(blocks, head)?;
        if let Some(other) = others.first() {
            return Err(Finding {
                height: self.height.after(Blocks(1)),
                message: None,
                reason: format!(
                    "the ledger gives block {} in its place",
                    other.certified().block.header.height
                ),
            }
            .into());
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.keep_in_turn(&self.replay)?;
        }
        Ok(self)
    }

    /// Executes them at once and verifies their proofs together. Where one does not hold, which a
    /// refused message may bring by right, each half is tried by itself; a single block is replayed
    /// as one core would: that says what is wrong.
    fn window(&mut self, blocks: &[Checked], head: Height) -> Result<(), Finding> {
        if let Ok(ahead) = self.replay.ahead(blocks) {
            if parallel::all_hold(self.threads, self.replay.verifier(), &ahead.claims) {
                for step in ahead.steps {
                    self.accept(step, head);
                }
                return Ok(());
            }
            self.replay.take_back(ahead);
            if blocks.len() > 1 {
                let (first, second) = blocks.split_at(blocks.len() / 2);
                self.window(first, head)?;
                return self.window(second, head);
            }
        }
        for checked in blocks {
            let step = self.replay.push_checked(checked)?;
            self.accept(step, head);
        }
        Ok(())
    }

    fn accept(&mut self, step: Step, head: Height) {
        self.height = step.height;
        self.proofs = self.proofs.saturating_add(step.proofs.total());
        self.events.extend(step.events);
        (self.watch)(Progress {
            height: self.height,
            head,
            proofs: self.proofs,
        });
    }
}

/// Reads the next blocks and looks at their signatures.
async fn read(
    source: &Source,
    from: Height,
    head: Height,
    glasses: &mut Glasses,
) -> Result<Vec<Checked>, AuditError> {
    let blocks = source.blocks(from, head).await?;
    let with = glasses.clone();
    if let Some(last) = blocks.last() {
        glasses.previous = beacon::value(&last.block.header.beacon);
    }
    tokio::task::spawn_blocking(move || with.look(blocks))
        .await
        .map_err(stopped)
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn stopped(error: tokio::task::JoinError) -> AuditError {
    AuditError::Stopped(error.to_string())
}

fn missing(height: Height, head: Height) -> Finding {
    Finding {
        height,
        message: None,
        reason: format!("the ledger says it stands at {head} and does not have this block"),
    }
}
