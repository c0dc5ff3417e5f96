//! Voting on numbers: by stake, within the bounds of the genesis, with notice.

use super::Context;
use super::due::Due;
use crate::governance::{Governance, ParameterChange, Proposal, ProposalStatus};
use crate::refusal::{Refusal, Stop, require};
use crate::stake::ValidatorStatus;
use crate::units::{Address, Amount, ProposalId, Stake};
use crate::view::ReadView;

/// A proposal passes only with more than one part in so many of all that is at stake.
const QUORUM: u128 = 3;

impl<V: ReadView> Context<'_, V> {
    fn governance(&self) -> Result<Governance, Stop> {
        let governance = self.rules.parameters.governance.as_ref();
        Ok(governance.cloned().ok_or(Refusal::FixedParameters)?)
    }

    pub(super) fn propose_parameter(
        &mut self,
        sender: &Address,
        change: &ParameterChange,
    ) -> Result<(), Stop> {
        let governance = self.governance()?;
        governance.change(&self.parameters, change)?;
        self.ledger.debit(sender, governance.deposit)?;
        let id = self.ledger.chain.next_proposal;
        self.ledger.chain.next_proposal = ProposalId(id.0.checked_add(1).ok_or(Refusal::Overflow)?);
        let closes = self.height.after(governance.voting);
        self.schedule(Due::Proposal(id), closes);
        self.ledger.put_proposal(&Proposal {
            id,
            by: *sender,
            change: *change,
            deposit: governance.deposit,
            closes,
            approving: Stake(0),
            rejecting: Stake(0),
            staked: self.ledger.chain.staked,
            status: ProposalStatus::Open,
        })
    }

    /// Counts what the sender has at stake with one validator, once. Stake that is taken out stays
    /// bound for longer than a vote goes on, so the same tokens do not vote twice.
    pub(super) fn vote(
        &mut self,
        sender: &Address,
        id: ProposalId,
        validator: &Address,
        approve: bool,
    ) -> Result<(), Stop> {
        self.governance()?;
        let mut proposal = self.ledger.proposal(id)?;
        require(
            proposal.status == ProposalStatus::Open && self.height <= proposal.closes,
            || Refusal::TooLate {
                what: "a vote",
                last: proposal.closes,
                height: self.height,
            },
        )?;
        let record = self.staked(validator)?;
        require(
            !matches!(record.status, ValidatorStatus::Slashed { .. }),
            || Refusal::State {
                what: format!("validator {validator}"),
                found: "slashed",
                needed: "one that may order",
            },
        )?;
        let stake = self.ledger.delegation(sender, validator)?.stake;
        require(stake > Stake(0), || Refusal::NoStake {
            validator: *validator,
            have: Stake(0),
            need: Stake(1),
        })?;
        require(!self.ledger.has_voted(id, validator, sender)?, || {
            Refusal::Exists(format!("a vote of {sender} with validator {validator}"))
        })?;
        let side = if approve {
            &mut proposal.approving
        } else {
            &mut proposal.rejecting
        };
        *side = side.checked_add(stake).ok_or(Refusal::Overflow)?;
        proposal.staked = proposal.staked.max(self.ledger.chain.staked);
        self.ledger.put_vote(id, validator, sender);
        self.ledger.put_proposal(&proposal)
    }

    /// The vote is over, or the notice is.
    pub(super) fn proposal_due(&mut self, id: ProposalId) -> Result<(), Stop> {
        let governance = self.governance()?;
        let mut proposal = self.ledger.proposal(id)?;
        match proposal.status {
            ProposalStatus::Open => {
                let approving = u128::from(proposal.approving.0);
                // What left, or was taken, since it voted counts in the whole as well.
                let staked = u128::from(proposal.staked.max(self.ledger.chain.staked).0);
                let passed = approving.saturating_mul(QUORUM) > staked
                    && proposal.approving > proposal.rejecting;
                let deposit = std::mem::replace(&mut proposal.deposit, Amount::ZERO);
                if passed {
                    let at = self.height.after(governance.notice);
                    proposal.status = ProposalStatus::Passed { at };
                    self.schedule(Due::Proposal(id), at);
                    self.ledger.put_proposal(&proposal)?;
                    return self.ledger.credit(&proposal.by, deposit);
                }
                proposal.status = ProposalStatus::Rejected;
                self.ledger.put_proposal(&proposal)?;
                self.ledger.burn(deposit)
            }
            ProposalStatus::Passed { .. } => {
                // Others may have changed since it was proposed.
                proposal.status = match governance.change(&self.parameters, &proposal.change) {
                    Ok(economy) => {
                        self.parameters.economy = economy;
                        self.ledger.put_economy(&self.parameters.economy)?;
                        ProposalStatus::Made
                    }
                    Err(_) => ProposalStatus::Impossible,
                };
                self.ledger.put_proposal(&proposal)
            }
            ProposalStatus::Made | ProposalStatus::Rejected | ProposalStatus::Impossible => Ok(()),
        }
    }
}
