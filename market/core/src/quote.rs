//! What things cost: clients and nodes ask the same functions as the rules.

use crate::message::{Body, DealSetProposal, Message, SignedMessage, Unencodable, encode};
use crate::parameters::{Economy, Parameters};
use crate::state::{Deal, Provider};
use crate::units::{Amount, ByteCount, Periods, Signature};
use holdfast_proofs::sector::SectorClass;

const GIB: u128 = 1 << 30;

/// Bytes of one column of a full stripe (PROTOCOL, *From object to deal*).
pub const STRIPE_COLUMN_BYTES: u64 = 64 * 1024;
/// Bytes that one unit of a group takes on a sector: what the smallest piece occupies.
const UNIT_BYTES: u64 = 512 * 32;
/// Bytes of the largest pack.
pub const MAX_PACK_BYTES: u64 = 64 * 1024 * 1024;
/// Shards of a pack, at most.
pub const MAX_SHARDS: u8 = 64;
/// Periods of a deal, at most.
pub const MAX_TERM: Periods = Periods(1 << 20);
/// Deals in a sector, at most: closing its deadline settles them all in one block.
pub const MAX_SECTOR_DEALS: u64 = 512;
/// Bytes of the largest message.
pub const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// A price that does not fit the numbers of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the price is larger than all tokens that can exist; ask for less, or a lower price")]
pub struct Unpayable;

/// A rate a GiB for so many bytes, rounded up.
///
/// # Errors
/// A product beyond the numbers.
pub fn per_gib(rate: Amount, bytes: ByteCount) -> Result<Amount, Unpayable> {
    rate.0
        .checked_mul(u128::from(bytes.0))
        .map(|product| Amount(product.div_ceil(GIB)))
        .ok_or(Unpayable)
}

/// The same, rounded down: for what is paid out.
///
/// # Errors
/// A product beyond the numbers.
pub fn per_gib_floor(rate: Amount, bytes: ByteCount) -> Result<Amount, Unpayable> {
    rate.0
        .checked_mul(u128::from(bytes.0))
        .map(|product| Amount(product / GIB))
        .ok_or(Unpayable)
}

/// The length of every shard of a pack: whole columns, then the last stripe's.
pub fn shard_length(k: u8, pack: ByteCount) -> ByteCount {
    let k = u64::from(k.max(1));
    let stripe = k * STRIPE_COLUMN_BYTES;
    ByteCount(pack.0 / stripe * STRIPE_COLUMN_BYTES + (pack.0 % stripe).div_ceil(k))
}

/// What a shard weighs: its bytes, and at least one unit of a group, because its piece takes that.
/// Deals, too, take room in state and work at every deadline.
fn weight(length: ByteCount) -> ByteCount {
    ByteCount(length.0.max(UNIT_BYTES))
}

/// What a shard costs a period.
///
/// # Errors
/// A product beyond the numbers.
pub fn shard_period(price: Amount, length: ByteCount) -> Result<Amount, Unpayable> {
    per_gib(price, weight(length))
}

/// What a shard costs over its term: this is held in escrow.
///
/// # Errors
/// A product beyond the numbers.
pub fn shard_escrow(price: Amount, length: ByteCount, term: Periods) -> Result<Amount, Unpayable> {
    shard_period(price, length)?
        .0
        .checked_mul(u128::from(term.0))
        .map(Amount)
        .ok_or(Unpayable)
}

/// What a deal set takes from its owner's account, the message's fee not counted: every shard over
/// its term, and the repair budget.
///
/// # Errors
/// A sum beyond the numbers.
pub fn deal_set(proposal: &DealSetProposal) -> Result<Amount, Unpayable> {
    let mut sum = proposal.repair_budget;
    for terms in &proposal.terms {
        let escrow = shard_escrow(terms.price, proposal.pack.shard_length, terms.term)?;
        sum = sum.checked_add(escrow).ok_or(Unpayable)?;
    }
    Ok(sum)
}

/// What it takes from the owner's account that a deal has so many periods left, the fee not counted:
/// nothing where it has, and `None` where its provider does not go on with it. A provider's offer is
/// its word: it goes on while it offers to store at the deal's price or less.
///
/// # Errors
/// A product beyond the numbers.
pub fn renewal(
    deal: &Deal,
    price: Amount,
    provider: &Provider,
    periods: Periods,
) -> Result<Option<Amount>, Unpayable> {
    let more = Periods(periods.0.saturating_sub(deal.left().0));
    let goes_on = provider.retiring.is_none() && provider.offer.price <= price;
    // One that is being repaired can be renewed once that is done: what it holds is the budget's.
    let goes_on = goes_on && deal.repair.is_none();
    match (deal.status.is_held(), more) {
        (true, Periods(0)) => Ok(Some(Amount::ZERO)),
        (true, more) if goes_on => shard_escrow(price, deal.length, more).map(Some),
        _ => Ok(None),
    }
}

/// The least fee of a message of that encoded size that does no heavy [`work`].
pub fn fee_of_size(economy: &Economy, bytes: usize) -> Amount {
    let kib = (bytes as u128).div_ceil(1024);
    Amount(
        economy
            .fee_per_kib
            .0
            .saturating_mul(kib)
            .saturating_add(economy.minimum_fee.0),
    )
}

/// What reading a sector counts in [`work`], where a proof counts one: with its layouts and an embed
/// it can have several hundred KiB.
const SECTOR_WORK: usize = 3;

/// A repair's deposit doubles so often at most.
const MOST_DOUBLINGS: u32 = 20;

/// So many deals of an acceptance count one there.
const DEALS_PER_WORK: usize = 8;

/// What a proof of possession counts there: it took thirteen times as long as a proof in a batch.
const POSSESSION_WORK: usize = 16;

/// Heavy things that everyone does again for a message, beside hashing its bytes: proofs to verify
/// and sectors to read. Counted from the message alone, before anything is done.
pub fn work(body: &Body) -> usize {
    let (proofs, sectors) = match body {
        Body::ProveSeal { proofs, .. } | Body::ProveEmbed { proofs, .. } => (proofs.len(), 1),
        Body::ProveSpacetime { proofs, .. } => (proofs.len(), proofs.len()),
        Body::DeclareFault { sectors, .. } | Body::Recover { sectors, .. } => (0, sectors.len()),
        Body::CommitEmbed(_)
        | Body::CommitReplica(_)
        | Body::EndSector { .. }
        | Body::TerminateSector { .. } => (0, 1),
        // A deal set with all its deals, their providers or channels to them.
        Body::CancelDealSet { .. } | Body::RenewDealSet { .. } | Body::ClaimRepair { .. } => (0, 1),
        // A channel to each, and for the first the deal set with its deals.
        Body::AttachReadBudget { providers, .. } => (usize::from(*providers), 1),
        Body::RevokeGrant { providers, .. } => (providers.len(), 0),
        // Each deal is read, with its piece roots, also where it is refused.
        Body::AcceptDeals { deals, .. } => (deals.len().div_ceil(DEALS_PER_WORK), 0),
        // Its deal may have had sixteen workers before, and each may have signed.
        Body::ClaimBrokenPromise { .. } => (0, 1),
        // Pairings by themselves: proofs are verified many at once.
        Body::RegisterValidator { .. } | Body::UpdateValidator { .. } => (POSSESSION_WORK, 0),
        Body::Transfer { .. }
        | Body::PublishName { .. }
        | Body::TransferName { .. }
        | Body::AcquireLease { .. }
        | Body::ReleaseLease { .. }
        | Body::ProposeDealSet(_)
        | Body::TopUpRepair { .. }
        | Body::RegisterProvider { .. }
        | Body::UpdateProvider { .. }
        | Body::AddCollateral { .. }
        | Body::WithdrawCollateral { .. }
        | Body::Retire { .. }
        | Body::PreCommitSector(_)
        | Body::DemandOpening { .. }
        | Body::AnswerOpening { .. }
        | Body::SubmitFraud { .. }
        | Body::OpenChannel { .. }
        | Body::CloseChannel { .. }
        | Body::RedeemVoucher { .. }
        | Body::Stake { .. }
        | Body::Delegate { .. }
        | Body::Unstake { .. }
        | Body::CollectReward { .. }
        | Body::SubmitEquivocation { .. }
        | Body::ProposeParameter { .. }
        | Body::Vote { .. } => (0, 0),
    };
    proofs.saturating_add(SECTOR_WORK.saturating_mul(sectors))
}

/// The least fee of a message of that encoded size and that [`work`]: each unit of it counts as a
/// KiB, also where the body is refused.
pub fn fee_of_work(economy: &Economy, bytes: usize, work: usize) -> Amount {
    let heavy = economy.fee_per_kib.0.saturating_mul(work as u128);
    Amount(fee_of_size(economy, bytes).0.saturating_add(heavy))
}

/// The least fee of a message; what its `fee` field says does not matter, every amount is of one
/// encoded length.
///
/// # Errors
/// A message that DAG-CBOR cannot carry.
pub fn fee(economy: &Economy, message: &Message) -> Result<Amount, Unencodable> {
    let signed = SignedMessage {
        message: message.clone(),
        signature: Signature([0; 64]),
    };
    let bytes = encode(&signed)?.len();
    Ok(fee_of_work(economy, bytes, work(&message.body)))
}

/// Collateral locked for a sector from its pre-commit on, the deposit not counted.
///
/// # Errors
/// A product beyond the numbers.
pub fn sector_collateral(economy: &Economy, class: SectorClass) -> Result<Amount, Unpayable> {
    per_gib(economy.collateral_per_gib, ByteCount(class.bytes()))
}

/// Collateral locked for a deal from its acceptance on; a shard below a unit of a group weighs as
/// one.
///
/// # Errors
/// A product beyond the numbers.
pub fn deal_collateral(economy: &Economy, length: ByteCount) -> Result<Amount, Unpayable> {
    per_gib(economy.deal_collateral_per_gib, weight(length))
}

/// What repairing a shard of a pack pays beside the price of storing it: for fetching k shards.
/// Rounded down.
///
/// # Errors
/// A product beyond the numbers.
pub fn repair_work(economy: &Economy, k: u8, length: ByteCount) -> Result<Amount, Unpayable> {
    let rate = economy.repair_per_gib.0.checked_mul(u128::from(k));
    per_gib_floor(Amount(rate.ok_or(Unpayable)?), weight(length))
}

/// What the claim of a repair locks, where so many before it came to nothing.
///
/// # Errors
/// A product beyond the numbers.
pub fn repair_deposit(economy: &Economy, lapsed: u32) -> Result<Amount, Unpayable> {
    let doubled = 1u128 << lapsed.min(MOST_DOUBLINGS);
    let deposit = economy.repair_deposit.0.checked_mul(doubled);
    deposit.map(Amount).ok_or(Unpayable)
}

/// What whoever shows a fault gets of its penalty.
///
/// # Errors
/// A product beyond the numbers.
pub fn finder_share(economy: &Economy, penalty: Amount) -> Result<Amount, Unpayable> {
    let share = u128::from(economy.finder_thousandths);
    let product = penalty.0.checked_mul(share).ok_or(Unpayable)?;
    Ok(Amount(product / 1000))
}

/// What of a provider's collateral (and of what vests for it) nothing has locked: what it can still
/// seal, embed and accept with. A receipt beyond this is a promise that cannot be kept.
///
/// # Errors
/// A sum beyond the numbers.
pub fn free_collateral(provider: &Provider) -> Result<Amount, Unpayable> {
    provider
        .vesting
        .iter()
        .try_fold(provider.collateral, |sum, vesting| {
            sum.checked_add(vesting.amount)
        })
        .map(|holds| holds.saturating_sub(provider.locked))
        .ok_or(Unpayable)
}

/// Collateral that a provider needs to seal so many sectors of a class and fill them with deals. The
/// least collateral comes on top: sectors cannot lock it.
///
/// # Errors
/// A sum beyond the numbers.
pub fn provider_collateral(
    parameters: &Parameters,
    class: SectorClass,
    sectors: u32,
) -> Result<Amount, Unpayable> {
    let economy = &parameters.economy;
    let deposit = economy
        .seal_deposit
        .checked_add(economy.embed_deposit)
        .ok_or(Unpayable)?;
    let sum = sector_collateral(economy, class)?
        .checked_add(deal_collateral(economy, ByteCount(class.data_bytes()))?)
        .and_then(|sum| sum.checked_add(deposit))
        .ok_or(Unpayable)?;
    let all = sum.0.checked_mul(u128::from(sectors)).map(Amount);
    all.and_then(|all| all.checked_add(economy.minimum_collateral))
        .ok_or(Unpayable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mebibyte_for_ten_periods_costs_well_under_a_hold() {
        let shard = shard_length(3, ByteCount(1 << 20));
        assert_eq!(shard, ByteCount(5 * 65536 + 21846));
        let one = shard_escrow(Amount::hold(1), shard, Periods(10)).unwrap();
        assert!(one.0 * 6 < Amount::hold(1).0 / 10, "{one}");
    }

    #[test]
    fn a_home_node_of_the_dev_network_affords_its_collateral() {
        let needed = provider_collateral(&Parameters::dev(), SectorClass::Mib64, 8).unwrap();
        assert!(needed < Amount::hold(1_000), "{needed}");
    }

    #[test]
    fn shards_of_a_pack_are_whole_columns_and_an_even_rest() {
        for (k, pack, shard) in [
            (1, 1, 1),
            (3, 1, 1),
            (3, 3 * 65536, 65536),
            (3, 3 * 65536 + 1, 65537),
            (3, 6 * 65536 - 1, 2 * 65536),
        ] {
            assert_eq!(shard_length(k, ByteCount(pack)), ByteCount(shard));
        }
    }

    #[test]
    fn prices_round_up_and_never_wrap() {
        assert_eq!(per_gib(Amount(1), ByteCount(1)), Ok(Amount(1)));
        assert_eq!(per_gib_floor(Amount(1), ByteCount(1)), Ok(Amount(0)));
        assert_eq!(per_gib(Amount(u128::MAX), ByteCount(2)), Err(Unpayable));
    }
}
