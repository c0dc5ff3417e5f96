//! What a chain did with one provider or one sector, block by block, as the replay found it.

use super::explain::name_of;
use crate::block::{Block, OutcomeResult};
use crate::execute::Execution;
use crate::keys;
use crate::message::{Body, decode};
use crate::query;
use crate::state::{Provider, Sector, SectorStatus};
use crate::units::{Amount, DealId, Height, MessageId, Period, ProviderId, SectorId, SectorNumber};
use crate::view::{MemoryView, ViewError};
use serde::{Deserialize, Serialize};

/// Whose history is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which provider.
    pub provider: ProviderId,
    /// One of its sectors; all of them otherwise.
    pub sector: Option<SectorNumber>,
}

/// How a period of a sector ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It was proven at its deadline; the proof was verified again.
    Proven,
    /// It was not, and nobody had said so before.
    Missed,
    /// It was not, as was declared, or known from the period before.
    Declared,
}

/// Something that a block did with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// In which block.
    pub height: Height,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What a block did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum What {
    /// A message about it.
    Message {
        /// Its name.
        id: MessageId,
        /// What it asks, by the name that the protocol has for it.
        kind: String,
        /// The sectors that it names.
        sectors: Vec<SectorNumber>,
        /// The Groth16 proofs in it. Where it was done, each was verified again.
        proofs: u64,
        /// Why it was refused, where it was.
        refused: Option<String>,
    },
    /// A sector's deadline was closed.
    Period {
        /// Whose.
        sector: SectorNumber,
        /// Of which period.
        period: Period,
        /// How.
        mark: Mark,
        /// What of the sector's collateral burnt.
        fined: Amount,
    },
    /// A sector stands otherwise than before.
    Status {
        /// Which.
        sector: SectorNumber,
        /// How.
        status: String,
    },
    /// What the provider got and lost.
    Money {
        /// Minted for it, to vest.
        rewarded: Amount,
        /// Paid to it out of escrow.
        paid: Amount,
        /// Taken from it.
        fined: Amount,
    },
}

/// A period and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodMark {
    /// Which.
    pub period: Period,
    /// How it ended.
    pub mark: Mark,
    /// In which block its deadline was closed.
    pub height: Height,
}

/// One sector's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorHistory {
    /// Which.
    pub sector: SectorNumber,
    /// Its size.
    pub class: String,
    /// How it stands.
    pub status: String,
    /// Its periods, in order.
    pub periods: Vec<PeriodMark>,
}

/// A provider's history, or one of its sectors'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The provider as it stands.
    pub provider: Provider,
    /// The sectors that were asked for.
    pub sectors: Vec<SectorHistory>,
    /// All that blocks did, in order.
    pub events: Vec<Event>,
}

impl History {
    /// Puts together what a replay noted of the subject and how it stands; nothing where there is no
    /// such provider or sector.
    ///
    /// # Errors
    /// State that cannot be read.
    pub fn new(
        subject: Subject,
        events: Vec<Event>,
        view: &MemoryView,
    ) -> Result<Option<Self>, ViewError> {
        let Some(provider) = query::provider(view, subject.provider)? else {
            return Ok(None);
        };
        let mut sectors = query::sectors_of(view, subject.provider)?;
        if let Some(number) = subject.sector {
            sectors.retain(|sector| sector.id.number == number);
            if sectors.is_empty() {
                return Ok(None);
            }
        }
        let sectors = sectors.iter().map(|sector| SectorHistory {
            sector: sector.id.number,
            class: sector.class.to_string(),
            status: sector.status.name().into(),
            periods: periods_of(sector.id.number, &events),
        });
        Ok(Some(Self {
            sectors: sectors.collect(),
            provider,
            events,
        }))
    }
}

fn periods_of(number: SectorNumber, events: &[Event]) -> Vec<PeriodMark> {
    let of = |event: &Event| match event.what {
        What::Period {
            sector,
            period,
            mark,
            ..
        } if sector == number => Some(PeriodMark {
            period,
            mark,
            height: event.height,
        }),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

impl Subject {
    /// What a block that was executed over `before` did with it.
    pub(super) fn events(
        &self,
        before: &MemoryView,
        block: &Block,
        execution: &Execution,
    ) -> Result<Vec<Event>, ViewError> {
        let mut all = Vec::new();
        for (signed, outcome) in block.messages.iter().zip(&execution.outcomes) {
            let body = &signed.message.body;
            let Some((sectors, proofs)) = self.concerned(body, before)? else {
                continue;
            };
            all.push(What::Message {
                id: outcome.message,
                kind: name_of(body),
                sectors,
                proofs,
                refused: match &outcome.result {
                    OutcomeResult::Done => None,
                    OutcomeResult::Refused(why) => Some(why.clone()),
                },
            });
        }
        let prefix = keys::sectors_of(self.provider);
        for (key, value) in execution.writes.range(prefix.clone()..) {
            if !key.starts_with(&prefix) {
                break;
            }
            if let Some(value) = value {
                let after: Sector = object("sector", value)?;
                if self.sector.is_none_or(|number| number == after.id.number) {
                    sector_events(query::sector(before, after.id)?, &after, &mut all);
                }
            }
        }
        let written = execution.writes.get(&keys::provider(self.provider));
        if let (None, Some(Some(value))) = (self.sector, written) {
            let after: Provider = object("provider", value)?;
            money(query::provider(before, self.provider)?, &after, &mut all);
        }
        let height = block.header.height;
        Ok(all.into_iter().map(|what| Event { height, what }).collect())
    }

    /// Whether a message is about it: the sectors that it names, and its proofs.
    fn concerned(
        &self,
        body: &Body,
        view: &MemoryView,
    ) -> Result<Option<(Vec<SectorNumber>, u64)>, ViewError> {
        let count = |proofs: usize| u64::try_from(proofs).unwrap_or(u64::MAX);
        let of_sector = |id: &SectorId, proofs| (id.provider, vec![id.number], proofs);
        let of_deal = |id: &DealId| -> Result<_, ViewError> {
            let deal = query::deal(view, id)?;
            Ok(deal.map(|deal| (deal.provider, deal.sector.into_iter().collect(), 0)))
        };
        let found = match body {
            Body::ClaimRepair { provider, .. } => Some((*provider, Vec::new(), 0)),
            Body::PreCommitSector(commit) => Some(of_sector(&commit.sector, 0)),
            Body::ProveSeal { sector, proofs } | Body::ProveEmbed { sector, proofs } => {
                Some(of_sector(sector, count(proofs.len())))
            }
            Body::CommitEmbed(commit) => Some(of_sector(&commit.sector, 0)),
            Body::CommitReplica(commit) => Some(of_sector(&commit.sector, 0)),
            Body::EndSector { sector } | Body::TerminateSector { sector } => {
                Some(of_sector(sector, 0))
            }
            Body::ProveSpacetime {
                provider, proofs, ..
            } => {
                let sectors = proofs.iter().map(|one| one.sector).collect();
                Some((*provider, sectors, count(proofs.len())))
            }
            Body::DeclareFault { provider, sectors } | Body::Recover { provider, sectors } => {
                Some((*provider, sectors.clone(), 0))
            }
            Body::UpdateProvider { provider, .. }
            | Body::AddCollateral { provider, .. }
            | Body::WithdrawCollateral { provider, .. }
            | Body::Retire { provider }
            | Body::AcceptDeals { provider, .. } => Some((*provider, Vec::new(), 0)),
            Body::ClaimBrokenPromise { receipt } => Some((receipt.receipt.provider, Vec::new(), 0)),
            Body::DemandOpening { deal, .. }
            | Body::AnswerOpening { deal, .. }
            | Body::SubmitFraud { deal, .. } => of_deal(deal)?,
            Body::RedeemVoucher { voucher } => {
                Some((voucher.voucher.channel.provider, Vec::new(), 0))
            }
            // What others do with their money and their names.
            _ => None,
        };
        Ok(found.and_then(|(provider, mut sectors, proofs)| {
            let mut proofs = proofs;
            if let Some(number) = self.sector {
                let named = sectors.len() > 1;
                sectors.retain(|one| *one == number);
                // A message for many sectors has one proof for each.
                if named {
                    proofs = proofs.min(count(sectors.len()));
                }
            }
            let about = provider == self.provider && (self.sector.is_none() || !sectors.is_empty());
            about.then_some((sectors, proofs))
        }))
    }
}

fn object<T>(kind: &'static str, bytes: &[u8]) -> Result<T, ViewError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    decode(kind, bytes).map_err(|error| ViewError(error.to_string()))
}

/// The deadlines of it that were closed, and how it stands then.
fn sector_events(before: Option<Sector>, after: &Sector, all: &mut Vec<What>) {
    let sector = after.id.number;
    if let Some(before) = &before {
        let closed = matches!(
            before.status,
            SectorStatus::Active { .. } | SectorStatus::Faulty { .. }
        );
        let periods = before.next.0..after.next.0;
        let mut declared = before.status == (SectorStatus::Faulty { recovering: false });
        let mut fined = before.locked.saturating_sub(after.locked);
        for period in periods.filter(|_| closed).map(Period) {
            let proven = before.proven == Some(period) || after.proven == Some(period);
            let mark = match (proven, declared) {
                (true, _) => Mark::Proven,
                (false, true) => Mark::Declared,
                (false, false) => Mark::Missed,
            };
            // After a period without a proof the next one without is no surprise.
            declared = !proven;
            let fined = match mark {
                Mark::Proven => Amount::ZERO,
                _ => std::mem::take(&mut fined),
            };
            all.push(What::Period {
                sector,
                period,
                mark,
                fined,
            });
        }
    }
    let name = |sector: &Sector| sector.status.name();
    if before.as_ref().map(name) != Some(name(after)) {
        all.push(What::Status {
            sector,
            status: name(after).into(),
        });
    }
}

fn money(before: Option<Provider>, after: &Provider, all: &mut Vec<What>) {
    let before = before.map(|provider| provider.record).unwrap_or_default();
    let rewarded = after.record.rewarded.saturating_sub(before.rewarded);
    let paid = after.record.paid.saturating_sub(before.paid);
    let fined = after.record.fined.saturating_sub(before.fined);
    if (rewarded, paid, fined) != (Amount::ZERO, Amount::ZERO, Amount::ZERO) {
        all.push(What::Money {
            rewarded,
            paid,
            fined,
        });
    }
}
