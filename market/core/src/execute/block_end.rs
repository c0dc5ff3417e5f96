//! The end of a block, in the protocol's order, with bounded work: what there is no room for is
//! first in the next.

use super::Context;
use super::due::{
    ABANDONED, ACTIVATIONS, CHANNELS, DEADLINES, Due, OPENINGS, PROMISES, PROPOSALS, RELEASES,
    UNBONDINGS, VESTINGS,
};
use crate::block::MAX_MESSAGES;
use crate::refusal::Stop;
use crate::units::Height;
use crate::view::ReadView;

/// Sectors whose deadline is closed in one block, at most.
const MAX_CLOSINGS: usize = 256;
/// Deals in them, at most, unless one sector alone has more.
const MAX_CLOSING_DEALS: usize = 8192;
/// Deals whose promise is looked at in one block, at most, unless one set alone has more.
const MAX_PROMISES: usize = 8192;
/// Sectors and providers worked off in one block and phase, at most.
const MAX_ITEMS: usize = 128;
/// Single deals worked off in one block and phase, at most.
const MAX_DEALS: usize = 4096;

impl<V: ReadView> Context<'_, V> {
    pub(super) fn end_block(&mut self) -> Result<(), Stop> {
        let mut closing = Vec::new();
        // What messages closed of late deadlines was done in this block, too.
        let mut deals = self.closed;
        for (due, at) in self.take_due(DEADLINES, MAX_CLOSINGS)? {
            let Due::Deadline(id) = due else { continue };
            // Once there is no more room, what is left is not even read.
            if deals > MAX_CLOSING_DEALS && !closing.is_empty() {
                self.schedule(due, at);
                continue;
            }
            let sector = self.ledger.sector(id)?;
            deals = deals.saturating_add(sector.deals().len());
            if deals > MAX_CLOSING_DEALS && !closing.is_empty() {
                self.schedule(due, at);
            } else {
                closing.push(sector);
            }
        }
        self.close_deadlines(closing)?;
        for (phase, most) in [
            (ABANDONED, MAX_ITEMS),
            (PROMISES, MAX_MESSAGES),
            (OPENINGS, MAX_DEALS),
            (RELEASES, MAX_DEALS),
            (VESTINGS, MAX_ITEMS),
            (CHANNELS, MAX_DEALS),
            (UNBONDINGS, MAX_DEALS),
            (ACTIVATIONS, MAX_DEALS),
            (PROPOSALS, MAX_DEALS),
        ] {
            let mut promises = 0usize;
            for (due, at) in self.take_due(phase, most)? {
                if let Due::Promise(pack) = due {
                    if promises > MAX_PROMISES {
                        self.schedule(due, at);
                        continue;
                    }
                    let n = usize::from(self.ledger.deal_set(&pack)?.proposal.pack.n);
                    promises = promises.saturating_add(n);
                    if promises > MAX_PROMISES && promises > n {
                        self.schedule(due, at);
                        continue;
                    }
                }
                self.work_off(due, at)?;
            }
        }
        self.end_turn()
    }

    fn work_off(&mut self, due: Due, at: Height) -> Result<(), Stop> {
        match due {
            // Taken before, all at once.
            Due::Deadline(_) => Ok(()),
            Due::Seal(id) => {
                let sector = self.ledger.sector(id)?;
                self.abandon_seal(sector)
            }
            Due::Embed(id) => {
                let mut sector = self.ledger.sector(id)?;
                self.abandon_embed(&mut sector)?;
                self.ledger.put_sector(&sector)
            }
            Due::Repair(id) => self.repair_due(&id),
            Due::Promise(pack) => self.promises_due(&pack),
            Due::Opening(id) => self.opening_due(&id),
            Due::Release(id) => self.release_deal(&id),
            Due::Vesting(id) => self.release_vesting(id),
            Due::Channel(provider, parties) => self.channel_due(provider, &parties),
            Due::Unbonding(by, validator) => self.unbonding_due(&by, &validator, at),
            Due::Activation(key) => self.activation_due(&key, at),
            Due::Proposal(id) => self.proposal_due(id),
        }
    }
}
