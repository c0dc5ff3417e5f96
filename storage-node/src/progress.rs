//! How far a seal is, for whoever wants to show it: a seal takes minutes to hours.

use holdfast_market_core::units::{ByteCount, SectorNumber};
use holdfast_proofs::seal::SealProgress;
use holdfast_proofs::sector::{LAYERS, NODE_BYTES};
use tokio::sync::watch;

/// What a seal is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Which sector.
    pub sector: SectorNumber,
    /// What it is at.
    pub stage: SealStage,
    /// Bytes of this stage that are done.
    pub done: ByteCount,
    /// Bytes of this stage in all; none where that cannot be said.
    pub total: ByteCount,
}

impl Sealing {
    /// The layers come first, then the columns.
    pub(crate) fn of(sector: SectorNumber, progress: SealProgress) -> Self {
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
            sector,
            stage,
            done: bytes(done),
            total: bytes(total),
        }
    }

    /// The proof begins.
    pub(crate) fn proving(sector: SectorNumber) -> Self {
        Self {
            sector,
            stage: SealStage::Proof,
            done: ByteCount(0),
            total: ByteCount(0),
        }
    }
}

/// Says that nothing is sealed any more when it is dropped, however the work ended.
pub(crate) struct Ended(pub(crate) watch::Sender<Option<Sealing>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_first_and_the_columns_after_them() {
        let number = SectorNumber(3);
        let at = |done| {
            let sealing = Sealing::of(number, SealProgress { done, total: 900 });
            (sealing.stage, sealing.done.0, sealing.total.0)
        };
        assert_eq!(at(0), (SealStage::Labels, 0, 800 * 32));
        assert_eq!(at(799), (SealStage::Labels, 799 * 32, 800 * 32));
        assert_eq!(at(800), (SealStage::Trees, 0, 100 * 32));
        assert_eq!(at(900), (SealStage::Trees, 100 * 32, 100 * 32));
    }

    #[test]
    fn however_a_seal_ends_nothing_is_shown_any_more() {
        let (sender, shown) = watch::channel(Some(Sealing::proving(SectorNumber(1))));
        drop(Ended(sender));
        assert_eq!(*shown.borrow(), None);
    }
}
