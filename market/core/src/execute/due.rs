//! What falls due at the end of a block: an ordered queue in state, so that work a block is bounded
//! and what is left over comes first in the next.

use super::Context;
use crate::channel::Parties;
use crate::keys;
use crate::refusal::Stop;
use crate::units::{
    Address, DealId, Height, PackId, ProposalId, ProviderId, SectorId, SectorNumber, ShardIndex,
};
use crate::view::{ReadView, ViewError};

/// What falls due. The phases of a block's end are worked off in this order (PROTOCOL, *Messages
/// on the ledger*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A sector's deadline closes: fault or proof, payment, reward, termination.
    Deadline(SectorId),
    /// A pre-commit whose seal was not proven.
    Seal(SectorId),
    /// An embed whose next step did not come.
    Embed(SectorId),
    /// A claimed repair that was not proven.
    Repair(DealId),
    /// A deal set's promises.
    Promise(PackId),
    /// A demanded opening.
    Opening(DealId),
    /// A finished deal's collateral.
    Release(DealId),
    /// A provider's rewards.
    Vesting(ProviderId),
    /// A channel whose dispute window is over, or a granted one whose time is.
    Channel(ProviderId, Parties),
    /// An account's stake that leaves a validator.
    Unbonding(Address, Address),
    /// A validator that waits.
    Activation(Address),
    /// A proposal's vote, or its notice, is over.
    Proposal(ProposalId),
}

pub(super) const DEADLINES: u8 = 0;
pub(super) const ABANDONED: u8 = 1;
pub(super) const PROMISES: u8 = 2;
pub(super) const OPENINGS: u8 = 3;
pub(super) const RELEASES: u8 = 4;
pub(super) const VESTINGS: u8 = 5;
pub(super) const CHANNELS: u8 = 6;
pub(super) const UNBONDINGS: u8 = 7;
pub(super) const ACTIVATIONS: u8 = 8;
pub(super) const PROPOSALS: u8 = 9;

impl Due {
    fn phase(self) -> u8 {
        match self {
            Self::Deadline(_) => DEADLINES,
            Self::Seal(_) | Self::Embed(_) | Self::Repair(_) => ABANDONED,
            Self::Promise(_) => PROMISES,
            Self::Opening(_) => OPENINGS,
            Self::Release(_) => RELEASES,
            Self::Vesting(_) => VESTINGS,
            Self::Channel(..) => CHANNELS,
            Self::Unbonding(..) => UNBONDINGS,
            Self::Activation(_) => ACTIVATIONS,
            Self::Proposal(_) => PROPOSALS,
        }
    }

    fn key(self, at: Height) -> Vec<u8> {
        let sector = |kind: &[u8], id: SectorId| {
            [
                kind,
                id.provider.0.to_be_bytes().as_slice(),
                id.number.0.to_be_bytes().as_slice(),
            ]
            .concat()
        };
        let deal = |id: DealId| [id.pack.as_bytes().as_slice(), &[id.shard.0]].concat();
        let rest = match self {
            Self::Deadline(id) => sector(&[], id),
            Self::Seal(id) => sector(&[0], id),
            Self::Embed(id) => sector(&[1], id),
            Self::Repair(id) => [[2].as_slice(), &deal(id)].concat(),
            Self::Promise(pack) => pack.as_bytes().to_vec(),
            Self::Opening(id) | Self::Release(id) => deal(id),
            Self::Vesting(id) => id.0.to_be_bytes().to_vec(),
            Self::Channel(provider, parties) => {
                [provider.0.to_be_bytes().as_slice(), &parties.to_bytes()].concat()
            }
            Self::Unbonding(by, validator) => {
                [by.as_bytes().as_slice(), validator.as_bytes()].concat()
            }
            Self::Activation(key) => key.as_bytes().to_vec(),
            Self::Proposal(id) => id.0.to_be_bytes().to_vec(),
        };
        keys::due(self.phase(), at, &rest)
    }

    /// Reads what [`Due::key`] wrote.
    fn of_key(phase: u8, rest: &[u8]) -> Option<Self> {
        let sector = |rest: &[u8]| {
            let (provider, number) = rest.split_at_checked(8)?;
            Some(SectorId {
                provider: ProviderId(u64::from_be_bytes(provider.try_into().ok()?)),
                number: SectorNumber(u64::from_be_bytes(number.try_into().ok()?)),
            })
        };
        let deal = |rest: &[u8]| {
            let (shard, pack) = rest.split_last()?;
            Some(DealId {
                pack: PackId(pack.try_into().ok()?),
                shard: ShardIndex(*shard),
            })
        };
        Some(match (phase, rest) {
            (DEADLINES, rest) => Self::Deadline(sector(rest)?),
            (ABANDONED, [0, rest @ ..]) => Self::Seal(sector(rest)?),
            (ABANDONED, [1, rest @ ..]) => Self::Embed(sector(rest)?),
            (ABANDONED, [2, rest @ ..]) => Self::Repair(deal(rest)?),
            (PROMISES, rest) => Self::Promise(PackId(rest.try_into().ok()?)),
            (OPENINGS, rest) => Self::Opening(deal(rest)?),
            (RELEASES, rest) => Self::Release(deal(rest)?),
            (VESTINGS, rest) => {
                Self::Vesting(ProviderId(u64::from_be_bytes(rest.try_into().ok()?)))
            }
            (CHANNELS, rest) => {
                let (provider, rest) = rest.split_first_chunk()?;
                let (payer, reader) = rest.split_first_chunk()?;
                let parties = Parties {
                    payer: Address(*payer),
                    reader: Address(reader.try_into().ok()?),
                };
                Self::Channel(ProviderId(u64::from_be_bytes(*provider)), parties)
            }
            (UNBONDINGS, rest) => {
                let (by, validator) = rest.split_first_chunk()?;
                Self::Unbonding(Address(*by), Address(validator.try_into().ok()?))
            }
            (ACTIVATIONS, rest) => Self::Activation(Address(rest.try_into().ok()?)),
            (PROPOSALS, rest) => {
                Self::Proposal(ProposalId(u64::from_be_bytes(rest.try_into().ok()?)))
            }
            _ => return None,
        })
    }
}

impl<V: ReadView> Context<'_, V> {
    /// Has something worked off at the end of the block at `at` (or as soon after as there is room).
    pub(super) fn schedule(&mut self, due: Due, at: Height) {
        self.ledger.put(due.key(at), Some(vec![1]));
    }

    /// Takes that back.
    pub(super) fn unschedule(&mut self, due: Due, at: Height) {
        self.ledger.put(due.key(at), None);
    }

    /// Takes up to `limit` of what is due in a phase out of the queue, oldest first.
    pub(super) fn take_due(&mut self, phase: u8, limit: usize) -> Result<Vec<(Due, Height)>, Stop> {
        let prefix = keys::due_phase(phase);
        let mut taken = Vec::new();
        for (key, _) in self.ledger.scan(&prefix, None, limit)? {
            let strange = || ViewError("the queue of what falls due has a strange key".into());
            let at = keys::due_height(&key).ok_or_else(strange)?;
            if at > self.height {
                break;
            }
            let rest = key
                .get(prefix.len().saturating_add(8)..)
                .unwrap_or_default();
            let due = Due::of_key(phase, rest).ok_or_else(strange)?;
            self.ledger.put(key, None);
            taken.push((due, at));
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_is_due_reads_back_from_its_key() {
        let sector = SectorId {
            provider: ProviderId(3),
            number: SectorNumber(u64::MAX),
        };
        let deal = DealId {
            pack: PackId([7; 32]),
            shard: ShardIndex(63),
        };
        for due in [
            Due::Deadline(sector),
            Due::Seal(sector),
            Due::Embed(sector),
            Due::Promise(deal.pack),
            Due::Opening(deal),
            Due::Release(deal),
            Due::Vesting(ProviderId(9)),
            Due::Repair(deal),
            Due::Channel(
                ProviderId(9),
                Parties {
                    payer: Address([5; 32]),
                    reader: Address([6; 32]),
                },
            ),
            Due::Unbonding(Address([5; 32]), Address([6; 32])),
            Due::Activation(Address([5; 32])),
            Due::Proposal(ProposalId(3)),
        ] {
            let key = due.key(Height(77));
            assert_eq!(keys::due_height(&key), Some(Height(77)));
            let rest = &key[keys::due_phase(0).len() + 8..];
            assert_eq!(Due::of_key(due.phase(), rest), Some(due));
        }
    }
}
