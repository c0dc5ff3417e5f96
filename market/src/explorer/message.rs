//! What messages ask, in words.

use super::show;
use crate::ledger::Ledger;
use holdfast_market_core::governance::ParameterChange;
use holdfast_market_core::message::Body;
use holdfast_market_core::units::{DealId, SectorId};
use maud::{Markup, html};

/// A change of a number, in words.
fn changed(change: &ParameterChange) -> String {
    match change {
        ParameterChange::Amount { parameter, value } => {
            format!("{} be {value}", parameter.name())
        }
        ParameterChange::Share { parameter, value } => {
            format!("{} be {value}", parameter.name())
        }
    }
}

/// What a message asks, in words.
pub fn describe(ledger: &Ledger, body: &Body) -> Markup {
    match body {
        Body::Transfer { to, amount } => {
            html! { "gives " (amount.to_string()) " to " (show::account(ledger, to)) }
        }
        Body::PublishName { label, version, .. } => {
            html! { "publishes the name " code { (label) } ", version " (version) }
        }
        Body::TransferName { owner, label, to } => html! {
            "gives the name " code { (label) } " of " (show::account(ledger, owner)) " to "
            (show::account(ledger, to))
        },
        Body::AcquireLease {
            label,
            holder,
            blocks,
            ..
        } => html! {
            "leases the name " code { (label) } " to " (show::account(ledger, holder)) " for "
            (show::count(usize::try_from(blocks.0).unwrap_or(usize::MAX), "block"))
        },
        Body::ReleaseLease { lease, label } => html! {
            "releases the lease of the name " code { (label) } " of " (show::account(ledger, &lease.owner))
        },
        Body::TopUpRepair { pack, amount } => html! {
            "adds " (amount.to_string()) " to the repair budget of " (show::pack(pack))
        },
        Body::ClaimRepair { deal, provider } => {
            html! { (show::provider(*provider)) " claims the repair of " (deal_link(deal)) }
        }
        Body::AttachReadBudget {
            pack,
            reader,
            deposit,
            ..
        } => html! {
            "lets " (show::account(ledger, reader)) " read " (show::pack(pack)) " for "
            (deposit.to_string()) " at each of its providers"
        },
        Body::RevokeGrant { reader, providers } => html! {
            "takes back what " (show::account(ledger, reader)) " may still read for at "
            (show::count(providers.len(), "provider"))
        },
        Body::ProposeDealSet(proposal) => html! {
            "proposes deals for a pack of " (show::bytes(proposal.pack.length.0.into()))
            ", " (proposal.pack.k) " of " (proposal.pack.n)
        },
        Body::CancelDealSet { pack } => html! { "cancels what is open of " (show::pack(pack)) },
        Body::RenewDealSet { pack, periods, .. } => html! {
            "keeps " (show::pack(pack)) " for " (show::count(usize::try_from(periods.0).unwrap_or(usize::MAX), "period")) " from here"
        },
        Body::EndSector { sector } => {
            html! { "ends " (sector_link(*sector)) ", which holds nothing" }
        }
        Body::Retire { provider } => html! { "retires " (show::provider(*provider)) },
        Body::OpenChannel { provider, deposit } => html! {
            "puts " (deposit.to_string()) " into a channel to " (show::provider(*provider))
        },
        Body::CloseChannel { provider } => {
            html! { "closes its channel to " (show::provider(*provider)) }
        }
        Body::RedeemVoucher { voucher } => html! {
            (show::provider(voucher.voucher.channel.provider)) " redeems what "
            (show::account(ledger, &voucher.voucher.channel.payer)) " owes for what "
            (show::account(ledger, &voucher.voucher.channel.reader)) " read: "
            (voucher.voucher.amount.to_string()) " so far"
        },
        Body::RegisterValidator { owner, .. } => {
            html! { "becomes a validator of " (show::account(ledger, owner)) }
        }
        Body::UpdateValidator { .. } => html! { "changes its validator, or is back" },
        Body::Stake { validator, stake } | Body::Delegate { validator, stake } => html! {
            "puts " (stake.amount().to_string()) " at stake with validator " (show::account(ledger, validator))
        },
        Body::Unstake { validator, stake } => html! {
            "takes " (stake.amount().to_string()) " of its stake with validator "
            (show::account(ledger, validator)) " out"
        },
        Body::CollectReward { validator } => html! {
            "collects what its stake with validator " (show::account(ledger, validator)) " has earned"
        },
        Body::SubmitEquivocation { .. } => html! { "shows that a validator has signed twice" },
        Body::ProposeParameter { change } => html! { "proposes that " (changed(change)) },
        Body::Vote {
            proposal, approve, ..
        } => html! { "votes " (if *approve { "for" } else { "against" }) " proposal " (proposal) },
        Body::RegisterProvider { collateral, .. } => {
            html! { "registers a provider with " (collateral.to_string()) }
        }
        Body::UpdateProvider { provider, .. } => html! { "changes " (show::provider(*provider)) },
        Body::AddCollateral { provider, amount } => {
            html! { "adds " (amount.to_string()) " to " (show::provider(*provider)) }
        }
        Body::WithdrawCollateral { provider, amount } => {
            html! { "withdraws " (amount.to_string()) " from " (show::provider(*provider)) }
        }
        Body::PreCommitSector(commit) => {
            html! { "commits to sector " (sector_link(commit.sector)) }
        }
        Body::ProveSeal { sector, proofs } => {
            html! { "proves the seal of " (sector_link(*sector)) " (" (show::count(proofs.len(), "proof")) ")" }
        }
        Body::AcceptDeals { provider, deals } => {
            html! { (show::provider(*provider)) " accepts " (show::count(deals.len(), "shard")) }
        }
        Body::CommitEmbed(commit) => html! {
            "commits to write " (show::count(commit.groups.len(), "group")) " of " (sector_link(commit.sector))
        },
        Body::CommitReplica(commit) => {
            html! { "commits the new replica of " (sector_link(commit.sector)) }
        }
        Body::ProveEmbed { sector, proofs } => {
            html! { "proves the embed in " (sector_link(*sector)) " (" (show::count(proofs.len(), "proof")) ")" }
        }
        Body::ProveSpacetime {
            provider,
            period,
            deadline,
            proofs,
        } => html! {
            (show::provider(*provider)) " proves " (show::count(proofs.len(), "sector")) " at deadline "
            (deadline.to_string()) " of period " (period.to_string())
        },
        Body::DeclareFault { provider, sectors } => {
            html! { (show::provider(*provider)) " declares " (show::count(sectors.len(), "sector")) " faulty" }
        }
        Body::Recover { provider, sectors } => {
            html! { (show::provider(*provider)) " recovers " (show::count(sectors.len(), "sector")) }
        }
        Body::TerminateSector { sector } => html! { "gives up sector " (sector_link(*sector)) },
        Body::ClaimBrokenPromise { receipt } => {
            html! { "claims a broken promise of " (show::provider(receipt.receipt.provider)) }
        }
        Body::DemandOpening { deal, .. } => html! { "demands an opening of " (deal_link(deal)) },
        Body::AnswerOpening { deal, .. } => html! { "opens " (deal_link(deal)) },
        Body::SubmitFraud { deal, .. } => html! { "shows a fraud in " (deal_link(deal)) },
    }
}

/// A sector's number, and where it is shown.
pub fn sector_link(id: SectorId) -> Markup {
    html! { a href=(format!("/sectors/{id}")) { (id.to_string()) } }
}

/// A deal, and where its deal set is shown.
pub fn deal_link(id: &DealId) -> Markup {
    html! { (show::pack(&id.pack)) " shard " (id.shard.to_string()) }
}
