//! Where each object lives: a prefix of its kind, then big-endian numbers, so that scans are in order.

use crate::channel::Parties;
use crate::units::{Address, DealId, Height, PackId, ProposalId, ProviderId, SectorId, Stake};

/// Accounts by address.
pub const ACCOUNT: &[u8] = b"account/";
/// Providers by number.
pub const PROVIDER: &[u8] = b"provider/";
/// Workers that providers had before, by provider.
pub const PAST_WORKERS: &[u8] = b"past-workers/";
/// Sectors by provider and number.
pub const SECTOR: &[u8] = b"sector/";
/// Deal sets by pack, without their deals.
pub const DEAL_SET: &[u8] = b"deal-set/";
/// Deals by pack and shard.
pub const DEAL: &[u8] = b"deal/";
/// Demands for openings that wait behind a deal's first, by pack and shard.
pub const DEMANDS: &[u8] = b"demands/";
/// Which packs an owner has: owner, pack.
pub const OWNER_DEAL_SET: &[u8] = b"owner-deal-set/";
/// Which deals name a provider: provider, pack, shard.
pub const PROVIDER_DEAL: &[u8] = b"provider-deal/";
/// Channels by provider, payer and reader.
pub const CHANNEL: &[u8] = b"channel/";
/// Which channels a payer has: payer, provider, reader.
pub const PAYER_CHANNEL: &[u8] = b"payer-channel/";
/// Names by owner and label.
pub const NAME: &[u8] = b"name/";
/// Where names went, by the owner that they had and label.
pub const MOVED_NAME: &[u8] = b"moved-name/";
/// Recent beacons by height.
pub const BEACON: &[u8] = b"beacon/";
/// What falls due, by phase of the block end and height.
pub const DUE: &[u8] = b"due/";
/// The chain's own state.
pub const CHAIN: &[u8] = b"chain";
/// Who orders blocks.
pub const VALIDATORS: &[u8] = b"validators";
/// Validators by consensus key.
pub const VALIDATOR: &[u8] = b"validator/";
/// Validators that may order, those with the most stake first: the stake's complement, then the key.
pub const RANK: &[u8] = b"rank/";
/// Stakes by account and validator.
pub const DELEGATION: &[u8] = b"delegation/";
/// Stakes on their way out, by account, validator and the height at which they are free.
pub const UNBONDING: &[u8] = b"unbonding/";
/// Proposals by number.
pub const PROPOSAL: &[u8] = b"proposal/";
/// That somebody has voted: proposal, validator, account.
pub const VOTE: &[u8] = b"vote/";
/// What things cost and pay now.
pub const ECONOMY: &[u8] = b"economy";
/// The token's books.
pub const SUPPLY: &[u8] = b"supply";

fn key(prefix: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Of an account.
pub fn account(address: &Address) -> Vec<u8> {
    key(ACCOUNT, &[address.as_bytes()])
}

/// Of a provider.
pub fn provider(id: ProviderId) -> Vec<u8> {
    key(PROVIDER, &[&id.0.to_be_bytes()])
}

/// Of the workers that a provider had before.
pub fn past_workers(id: ProviderId) -> Vec<u8> {
    key(PAST_WORKERS, &[&id.0.to_be_bytes()])
}

/// Of a sector.
pub fn sector(id: SectorId) -> Vec<u8> {
    key(
        SECTOR,
        &[&id.provider.0.to_be_bytes(), &id.number.0.to_be_bytes()],
    )
}

/// Before all sectors of a provider.
pub fn sectors_of(id: ProviderId) -> Vec<u8> {
    key(SECTOR, &[&id.0.to_be_bytes()])
}

/// Of a deal set.
pub fn deal_set(pack: &PackId) -> Vec<u8> {
    key(DEAL_SET, &[pack.as_bytes()])
}

/// Of a deal.
pub fn deal(id: &DealId) -> Vec<u8> {
    key(DEAL, &[id.pack.as_bytes(), &[id.shard.0]])
}

/// Of the demands that wait behind a deal's first.
pub fn demands(id: &DealId) -> Vec<u8> {
    key(DEMANDS, &[id.pack.as_bytes(), &[id.shard.0]])
}

/// Before all deals of a set.
pub fn deals(pack: &PackId) -> Vec<u8> {
    key(DEAL, &[pack.as_bytes()])
}

/// That an owner has a deal set.
pub fn owner_deal_set(owner: &Address, pack: &PackId) -> Vec<u8> {
    key(OWNER_DEAL_SET, &[owner.as_bytes(), pack.as_bytes()])
}

/// Before all deal sets of an owner.
pub fn owner_deal_sets(owner: &Address) -> Vec<u8> {
    key(OWNER_DEAL_SET, &[owner.as_bytes()])
}

/// That a deal names a provider.
pub fn provider_deal(provider: ProviderId, id: &DealId) -> Vec<u8> {
    key(
        PROVIDER_DEAL,
        &[&provider.0.to_be_bytes(), id.pack.as_bytes(), &[id.shard.0]],
    )
}

/// Before all deals that name a provider.
pub fn provider_deals(provider: ProviderId) -> Vec<u8> {
    key(PROVIDER_DEAL, &[&provider.0.to_be_bytes()])
}

/// Of a channel.
pub fn channel(provider: ProviderId, parties: &Parties) -> Vec<u8> {
    key(CHANNEL, &[&provider.0.to_be_bytes(), &parties.to_bytes()])
}

/// Before all channels to a provider.
pub fn channels_to(provider: ProviderId) -> Vec<u8> {
    key(CHANNEL, &[&provider.0.to_be_bytes()])
}

/// That a payer has a channel.
pub fn payer_channel(provider: ProviderId, parties: &Parties) -> Vec<u8> {
    let Parties { payer, reader } = parties;
    let provider = provider.0.to_be_bytes();
    key(
        PAYER_CHANNEL,
        &[payer.as_bytes(), &provider, reader.as_bytes()],
    )
}

/// Before all channels of a payer.
pub fn payer_channels(payer: &Address) -> Vec<u8> {
    key(PAYER_CHANNEL, &[payer.as_bytes()])
}

/// The provider and the reader at the end of a key that [`payer_channel`] made.
pub fn provider_and_reader_at_end(key: &[u8]) -> Option<(ProviderId, Address)> {
    let (rest, reader) = key.split_last_chunk::<32>()?;
    let (_, provider) = rest.split_last_chunk::<8>()?;
    Some((ProviderId(u64::from_be_bytes(*provider)), Address(*reader)))
}

/// Of a name.
pub fn name(owner: &Address, label: &str) -> Vec<u8> {
    key(NAME, &[owner.as_bytes(), label.as_bytes()])
}

/// Of where a name went.
pub fn moved_name(owner: &Address, label: &str) -> Vec<u8> {
    key(MOVED_NAME, &[owner.as_bytes(), label.as_bytes()])
}

/// Of a validator.
pub fn validator(consensus: &Address) -> Vec<u8> {
    key(VALIDATOR, &[consensus.as_bytes()])
}

/// Of a validator's place among those that may order.
pub fn rank(stake: Stake, validator: &Address) -> Vec<u8> {
    let below = u64::MAX.saturating_sub(stake.0).to_be_bytes();
    key(RANK, &[&below, validator.as_bytes()])
}

/// The validator at the end of a key that [`rank`] or [`delegation`] made.
pub fn validator_at_end(key: &[u8]) -> Option<Address> {
    let bytes = key.get(key.len().checked_sub(32)?..)?;
    Some(Address(bytes.try_into().ok()?))
}

/// Of what an account has at stake with a validator.
pub fn delegation(by: &Address, validator: &Address) -> Vec<u8> {
    key(DELEGATION, &[by.as_bytes(), validator.as_bytes()])
}

/// Before all stakes of an account.
pub fn delegations_of(by: &Address) -> Vec<u8> {
    key(DELEGATION, &[by.as_bytes()])
}

/// Of an account's stake that leaves a validator and is free at that height.
pub fn unbonding(by: &Address, validator: &Address, due: Height) -> Vec<u8> {
    key(
        UNBONDING,
        &[by.as_bytes(), validator.as_bytes(), &due.0.to_be_bytes()],
    )
}

/// Before all that leaves validators of an account.
pub fn unbondings_of(by: &Address) -> Vec<u8> {
    key(UNBONDING, &[by.as_bytes()])
}

/// The validator and the height in a key that [`unbonding`] made.
pub fn unbonding_at_end(key: &[u8]) -> Option<(Address, Height)> {
    let rest = key.get(key.len().checked_sub(40)?..)?;
    let (validator, due) = rest.split_first_chunk()?;
    let due = Height(u64::from_be_bytes(due.try_into().ok()?));
    Some((Address(*validator), due))
}

/// Of a proposal.
pub fn proposal(id: ProposalId) -> Vec<u8> {
    key(PROPOSAL, &[&id.0.to_be_bytes()])
}

/// That an account has voted with its stake with a validator.
pub fn vote(id: ProposalId, validator: &Address, by: &Address) -> Vec<u8> {
    key(
        VOTE,
        &[&id.0.to_be_bytes(), validator.as_bytes(), by.as_bytes()],
    )
}

/// Of a height's beacon.
pub fn beacon(height: Height) -> Vec<u8> {
    key(BEACON, &[&height.0.to_be_bytes()])
}

/// Of something that falls due: phase, height, and what tells it from others of that height.
pub fn due(phase: u8, height: Height, rest: &[u8]) -> Vec<u8> {
    key(DUE, &[&[phase], &height.0.to_be_bytes(), rest])
}

/// Before all that falls due in a phase.
pub fn due_phase(phase: u8) -> Vec<u8> {
    key(DUE, &[&[phase]])
}

/// The height in a key that [`due`] made.
pub fn due_height(key: &[u8]) -> Option<Height> {
    let bytes = key.get(DUE.len() + 1..DUE.len() + 9)?;
    Some(Height(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The pack at the end of a key that [`owner_deal_set`] made.
pub fn pack_at_end(key: &[u8]) -> Option<PackId> {
    let bytes = key.get(key.len().checked_sub(32)?..)?;
    Some(PackId(bytes.try_into().ok()?))
}

/// The deal at the end of a key that [`provider_deal`] or [`deal`] made.
pub fn deal_at_end(key: &[u8]) -> Option<DealId> {
    let (shard, rest) = key.split_last()?;
    Some(DealId {
        pack: pack_at_end(rest)?,
        shard: crate::units::ShardIndex(*shard),
    })
}
