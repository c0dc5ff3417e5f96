//! When things happen: pure functions of the parameters, used by the rules and by nodes alike.
//!
//! Height h lies in period (h - 1) / blocks per period. A deadline's window is an equal part of its
//! period; its challenge is the beacon of the window's first height, and proofs are accepted in the
//! blocks after that, up to and including the window's last.

use crate::parameters::Parameters;
use crate::state::{Embed, EmbedReplica, Sector, SectorStatus};
use crate::units::{Blocks, Deadline, Height, Period};

/// The window of one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first height: its beacon is the challenge; no proof is taken in this block.
    pub open: Height,
    /// Its last height: the last block that takes proofs.
    pub close: Height,
}

impl Window {
    /// Whether the challenge is known to the builder of a block of that height, and not yet over.
    pub fn contains(self, height: Height) -> bool {
        self.open <= height && height <= self.close
    }
}

/// The period that a height lies in; genesis counts to the first.
pub fn period_of(parameters: &Parameters, height: Height) -> Period {
    Period(height.0.saturating_sub(1) / parameters.period.0.max(1))
}

/// The deadline whose window a height lies in.
pub fn deadline_of(parameters: &Parameters, height: Height) -> Deadline {
    let inside = height.0.saturating_sub(1) % parameters.period.0.max(1);
    let index = inside / parameters.deadline_blocks().0.max(1);
    Deadline(
        u32::try_from(index)
            .unwrap_or(u32::MAX)
            .min(parameters.deadlines.saturating_sub(1)),
    )
}

/// The first height of a period.
pub fn period_start(parameters: &Parameters, period: Period) -> Height {
    Height(
        period
            .0
            .saturating_mul(parameters.period.0)
            .saturating_add(1),
    )
}

/// The window of a deadline in a period.
pub fn window(parameters: &Parameters, period: Period, deadline: Deadline) -> Window {
    let length = parameters.deadline_blocks().0;
    let open = period_start(parameters, period)
        .after(Blocks(u64::from(deadline.0).saturating_mul(length)));
    Window {
        open,
        close: open.after(Blocks(length.saturating_sub(1))),
    }
}

/// The last height at which a fault can be declared or taken back for a window. Who builds the
/// blocks just before a window knows its challenge ahead of everyone else: as with every other
/// challenge, it is drawn the beacon delay after what it must not steer.
pub fn last_choice(parameters: &Parameters, window: Window) -> Height {
    window.open.before(parameters.beacon_delay)
}

/// The first period whose window of that deadline opens after `height`.
pub fn first_period_after(parameters: &Parameters, deadline: Deadline, height: Height) -> Period {
    let period = period_of(parameters, height);
    if window(parameters, period, deadline).open > height {
        period
    } else {
        Period(period.0.saturating_add(1))
    }
}

/// The next window that a sector is held to: proven sectors, and faulty ones too.
pub fn next_window(parameters: &Parameters, sector: &Sector) -> Option<(Period, Window)> {
    match sector.status {
        SectorStatus::Active { .. } | SectorStatus::Faulty { .. } => Some((
            sector.next,
            window(parameters, sector.next, sector.deadline),
        )),
        SectorStatus::PreCommitted { .. } | SectorStatus::Terminated { .. } => None,
    }
}

/// The height whose beacon draws a seal's challenges, from the pre-commit's height.
pub fn seal_challenge_height(parameters: &Parameters, committed: Height) -> Height {
    committed.after(parameters.beacon_delay)
}

/// The last height at which a seal may be proven.
pub fn seal_due(parameters: &Parameters, committed: Height) -> Height {
    committed.after(parameters.seal_due)
}

/// The height whose beacon gives an embed's rho.
pub fn rho_height(parameters: &Parameters, embed: &Embed) -> Height {
    embed.committed.after(parameters.beacon_delay)
}

/// The height whose beacon draws an embed's challenges.
pub fn embed_challenge_height(parameters: &Parameters, replica: &EmbedReplica) -> Height {
    replica.committed.after(parameters.beacon_delay)
}

/// The last height at which an embed's next step may be included.
pub fn embed_due(parameters: &Parameters, embed: &Embed) -> Height {
    match &embed.replica {
        None => embed.committed.after(parameters.replica_due),
        Some(replica) => replica.committed.after(parameters.embed_due),
    }
}

/// The last height at which a deal of a set included at `at` may be proven without breaking its
/// promise.
pub fn promise_height(parameters: &Parameters, at: Height) -> Height {
    at.after(parameters.promise)
}

/// The last height at which a repair claimed at `at` may be proven.
pub fn repair_due(parameters: &Parameters, at: Height) -> Height {
    at.after(parameters.promise)
}

/// The last height for the answer to an opening demanded at `at`, where the demand before it is due
/// at `last`: so far apart that an honest provider answers one after the other in time.
pub fn opening_due(parameters: &Parameters, at: Height, last: Option<Height>) -> Height {
    let apart = Blocks((parameters.opening_due.0 / 10).max(1));
    let due = at.after(parameters.opening_due);
    last.map_or(due, |last| due.max(last.after(apart)))
}

/// The last height for a set whose receipts a worker signed that was replaced at `until`: those of
/// a later set are not answered for with its signature.
pub fn last_funding(parameters: &Parameters, until: Height) -> Height {
    until.after(parameters.promise)
}

/// The last height at which a past worker's signature can serve in a claim.
pub fn past_worker_forgotten(parameters: &Parameters, until: Height) -> Height {
    promise_height(parameters, last_funding(parameters, until)).after(parameters.dispute_window)
}

/// For how many blocks beacons are kept in state: as long as any rule can ask for one.
pub fn beacon_memory(parameters: &Parameters) -> Blocks {
    let longest = [
        parameters.ticket_age.0,
        parameters.seal_due.0,
        parameters
            .replica_due
            .0
            .saturating_add(parameters.embed_due.0),
        parameters.period.0.saturating_mul(2),
    ]
    .into_iter()
    .max()
    .unwrap_or(0);
    Blocks(
        longest
            .saturating_add(parameters.beacon_delay.0)
            .saturating_add(8),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_tile_the_heights_without_gap_or_overlap() {
        let parameters = Parameters::dev();
        let mut expected = Height(1);
        for period in 0..3 {
            for deadline in 0..parameters.deadlines {
                let (period, deadline) = (Period(period), Deadline(deadline));
                let window = window(&parameters, period, deadline);
                assert_eq!(window.open, expected);
                for height in window.open.0..=window.close.0 {
                    assert_eq!(period_of(&parameters, Height(height)), period);
                    assert_eq!(deadline_of(&parameters, Height(height)), deadline);
                }
                expected = Height(window.close.0 + 1);
            }
        }
    }

    #[test]
    fn the_first_period_of_a_sector_opens_after_its_activation() {
        let parameters = Parameters::dev();
        for height in 0..100 {
            for deadline in 0..parameters.deadlines {
                let (height, deadline) = (Height(height), Deadline(deadline));
                let period = first_period_after(&parameters, deadline, height);
                assert!(window(&parameters, period, deadline).open > height);
                if period.0 > 0 {
                    let before = window(&parameters, Period(period.0 - 1), deadline);
                    assert!(before.open <= height);
                }
            }
        }
    }
}
