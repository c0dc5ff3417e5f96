//! How far a seal is, for whoever wants to show it: a seal takes minutes to hours.

use holdfast_market_core::units::{ByteCount, SectorNumber};
use holdfast_proofs::seal::SealProgress;
use holdfast_proofs::sector::{LAYERS, NODE_BYTES};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What a seal is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealStage {
    /// The layers of labels.
    Labels,
    /// The trees over columns and keys.
    Trees,
    /// The proof, whose progress cannot be measured.
    Proof,
}

/// How far the seal of a sector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// What it is at.
    pub stage: SealStage,
    /// Bytes of this stage that are done.
    pub done: ByteCount,
    /// Bytes of this stage in all; none where that cannot be said.
    pub total: ByteCount,
}

impl Sealing {
    /// The layers come first, then the columns.
    fn of(progress: SealProgress) -> Self {
        let layers = LAYERS as u64;
        let columns = progress.total / layers.saturating_add(1);
        let labels = progress.total.saturating_sub(columns);
        let (stage, done, total) = if progress.done < labels {
            (SealStage::Labels, progress.done, labels)
        } else {
            let done = progress.done.saturating_sub(labels);
            (SealStage::Trees, done, columns)
        };
        let bytes = |nodes: u64| ByteCount(nodes.saturating_mul(NODE_BYTES));
        Self {
            stage,
            done: bytes(done),
            total: bytes(total),
        }
    }
}

/// The seals under way.
pub type Sealings = BTreeMap<SectorNumber, Sealing>;

/// Shows how far one seal is, and shows it no more when it is dropped, however the work ended.
pub(crate) struct Shown {
    all: watch::Sender<Sealings>,
    sector: SectorNumber,
}

impl Shown {
    pub(crate) fn new(all: watch::Sender<Sealings>, sector: SectorNumber) -> Self {
        Self { all, sector }
    }

    /// How far it is.
    pub(crate) fn at(&self, progress: SealProgress) {
        self.say(Sealing::of(progress));
    }

    /// Its proof begins.
    pub(crate) fn proving(&self) {
        self.say(Sealing {
            stage: SealStage::Proof,
            done: ByteCount(0),
            total: ByteCount(0),
        });
    }

    fn say(&self, sealing: Sealing) {
        self.all.send_modify(|all| {
            all.insert(self.sector, sealing);
        });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.all.send_modify(|all| {
            all.remove(&self.sector);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_first_and_the_columns_after_them() {
        let at = |done| {
            let sealing = Sealing::of(SealProgress { done, total: 900 });
            (sealing.stage, sealing.done.0, sealing.total.0)
        };
        assert_eq!(at(0), (SealStage::Labels, 0, 800 * 32));
        assert_eq!(at(799), (SealStage::Labels, 799 * 32, 800 * 32));
        assert_eq!(at(800), (SealStage::Trees, 0, 100 * 32));
        assert_eq!(at(900), (SealStage::Trees, 100 * 32, 100 * 32));
    }

    #[test]
    fn however_a_seal_ends_it_is_shown_no_more_and_others_are() {
        let (sender, all) = watch::channel(Sealings::default());
        let one = Shown::new(sender.clone(), SectorNumber(1));
        let other = Shown::new(sender, SectorNumber(2));
        one.proving();
        other.at(SealProgress {
            done: 1,
            total: 900,
        });
        assert_eq!(all.borrow().len(), 2);
        drop(one);
        assert!(all.borrow().contains_key(&SectorNumber(2)));
        drop(other);
        assert!(all.borrow().is_empty());
    }
}
