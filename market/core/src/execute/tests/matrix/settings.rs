//! For every kind of message a small world in which one of it is right.

use super::super::play::{opening, piece_roots};
use super::super::validator::two_ballots;
use super::super::world::{World, address, beacon_of, deal_id, group, key, offer, sector_id};
use crate::channel::{Parties, SignedVoucher, Voucher};
use crate::governance::{AmountParameter, ParameterChange};
use crate::message::{Acceptance, Body, LeaseClaim, SpacetimeProof};
use crate::query;
use crate::schedule;
use crate::units::{Amount, Blocks, Height, Periods, ProposalId, ProviderId, SectorNumber, Stake};
use holdfast_proofs::proof::ProofBytes;

/// What comes of the right message.
pub enum Good {
    /// It is done.
    Done,
    /// It is refused, because the verifier here has no keys, and for nothing else.
    ButForProofs,
}

/// A world and a message that is right there.
pub struct Setting {
    pub world: World,
    pub who: usize,
    pub body: Body,
    pub good: Good,
    /// Why the same body is refused the second time, where it is.
    pub again: Option<&'static str>,
    /// Why the same body of somebody else is refused, where it is.
    pub stranger: Option<&'static str>,
}

const PROVIDER: ProviderId = ProviderId(0);
const NO_WORKER: Option<&str> = Some("only the worker of provider 0");

fn done(world: World, who: usize, body: Body) -> Setting {
    Setting {
        world,
        who,
        body,
        good: Good::Done,
        again: None,
        stranger: None,
    }
}

impl Setting {
    fn again(self, reason: &'static str) -> Self {
        Self {
            again: Some(reason),
            ..self
        }
    }

    fn only(self, reason: Option<&'static str>) -> Self {
        Self {
            stranger: reason,
            ..self
        }
    }

    fn but_for_proofs(self) -> Self {
        Self {
            good: Good::ButForProofs,
            ..self
        }
    }
}

/// One for every kind of message.
pub fn settings() -> Vec<Setting> {
    let mut all = accounts();
    all.extend(clients());
    all.extend(owners());
    all.extend(sectors());
    all.extend(embeds());
    all.extend(disputes());
    all.extend(channels());
    all.extend(names());
    all.extend(repairs());
    all.extend(budgets());
    all.extend(stake());
    all.extend(votes());
    all
}

fn accounts() -> Vec<Setting> {
    let transfer = Body::Transfer {
        to: address(1),
        amount: Amount::hold(1),
    };
    let publish = |version| Body::PublishName {
        label: "drive".into(),
        version,
        root: vec![1, 0x55, 0, 0],
        lease: None,
    };
    let mut named = World::new();
    named.done(0, publish(7));
    vec![
        done(World::new(), 0, transfer),
        done(named, 0, publish(8)).again("the version"),
    ]
}

fn clients() -> Vec<Setting> {
    let mut world = World::new();
    world.register();
    let propose = Body::ProposeDealSet(world.proposal(1));
    let (renewed, pack) = World::embedded();
    let renew = Body::RenewDealSet {
        pack,
        periods: Periods(9),
        least: 2,
    };
    let mut open = World::with_sector();
    let pack = open.propose(1);
    let cancel = Body::CancelDealSet { pack };
    vec![
        done(world, 1, propose)
            .again("exists already")
            .only(Some("the pack's owner")),
        done(renewed, 1, renew).only(Some("only the owner of the deal set")),
        done(open, 1, cancel)
            .again("accepted or over in all its deals")
            .only(Some("only the owner of the deal set")),
    ]
}

fn owners() -> Vec<Setting> {
    let with = || {
        let mut world = World::new();
        world.register();
        world
    };
    let register = Body::RegisterProvider {
        worker: address(3),
        offer: offer(),
        collateral: Amount::hold(20),
    };
    let update = Body::UpdateProvider {
        provider: PROVIDER,
        worker: address(3),
        offer: offer(),
    };
    let add = Body::AddCollateral {
        provider: PROVIDER,
        amount: Amount::hold(20),
    };
    let withdraw = Body::WithdrawCollateral {
        provider: PROVIDER,
        amount: Amount::hold(20),
    };
    let retire = Body::Retire { provider: PROVIDER };
    let only = Some("only the owner of provider 0");
    vec![
        done(World::new(), 0, register),
        done(with(), 0, update).only(only),
        done(with(), 0, add).only(only),
        done(with(), 0, withdraw).only(only),
        done(with(), 0, retire).again("is retiring").only(only),
    ]
}

fn sectors() -> Vec<Setting> {
    let mut sealing = World::with_sector();
    sealing.advance(310);
    let commit = sealing.pre_commit(1);
    let mut sealed = World::with_sector();
    sealed.done(0, sealed.pre_commit(1));
    sealed.advance(5);
    let prove_seal = Body::ProveSeal {
        sector: sector_id(1),
        proofs: vec![ProofBytes([1; 192])],
    };
    let mut held = World::with_sector();
    let sector = held.sector(0);
    let window = schedule::window(&held.rules.parameters, sector.next, sector.deadline);
    held.advance_to(Height(window.open.0 + 1));
    let prove = Body::ProveSpacetime {
        provider: PROVIDER,
        period: sector.next,
        deadline: sector.deadline,
        proofs: vec![SpacetimeProof {
            sector: SectorNumber(0),
            proof: ProofBytes([1; 192]),
        }],
    };
    let sectors = vec![SectorNumber(0)];
    let declare = Body::DeclareFault {
        provider: PROVIDER,
        sectors: sectors.clone(),
    };
    let mut faulty = World::with_sector();
    faulty.close(0);
    let recover = Body::Recover {
        provider: PROVIDER,
        sectors,
    };
    let mut leaving = World::with_sector();
    leaving.done(0, Body::Retire { provider: PROVIDER });
    let sector = sector_id(0);
    vec![
        done(sealing, 0, commit)
            .again("exists already")
            .only(NO_WORKER),
        done(sealed, 0, prove_seal).but_for_proofs().only(NO_WORKER),
        done(held, 0, prove).but_for_proofs().only(NO_WORKER),
        done(World::with_sector(), 0, declare)
            .again("is faulty; this needs active")
            .only(NO_WORKER),
        done(faulty, 0, recover)
            .again("is recovering; this needs faulty")
            .only(NO_WORKER),
        done(leaving, 0, Body::EndSector { sector })
            .again("is terminated; this needs active")
            .only(NO_WORKER),
        done(World::with_sector(), 0, Body::TerminateSector { sector })
            .again("is terminated; this needs not terminated")
            .only(NO_WORKER),
    ]
}

fn embeds() -> Vec<Setting> {
    let mut proposed = World::with_sector();
    let pack = proposed.propose(1);
    let accept = Body::AcceptDeals {
        provider: PROVIDER,
        deals: (0..2)
            .map(|shard| Acceptance {
                shard: deal_id(pack, shard),
                piece_roots: proposed.piece_roots(shard),
            })
            .collect(),
    };
    let begun = |steps: u32| {
        let mut world = World::with_sector();
        let pack = world.accepted(1);
        let layout = world.layout(group(5), &[deal_id(pack, 0), deal_id(pack, 1)]);
        let commit = world.commit_embed(vec![layout]);
        if steps > 0 {
            world.done(0, commit.clone());
            world.advance(2);
        }
        if steps > 1 {
            world.done(0, world.commit_replica(5));
            world.advance(2);
        }
        (world, commit)
    };
    let (accepted, commit) = begun(0);
    let (written, _) = begun(1);
    let replica = written.commit_replica(5);
    let (drawn, _) = begun(2);
    let prove = Body::ProveEmbed {
        sector: sector_id(0),
        proofs: vec![ProofBytes([1; 192]); 2],
    };
    vec![
        done(proposed, 0, accept)
            .again("is accepted; this needs proposed")
            .only(NO_WORKER),
        done(accepted, 0, commit)
            .again("an embed of sector 0/0 exists already")
            .only(NO_WORKER),
        done(written, 0, replica)
            .again("an embed whose replica is not committed")
            .only(NO_WORKER),
        done(drawn, 0, prove).but_for_proofs().only(NO_WORKER),
    ]
}

fn disputes() -> Vec<Setting> {
    let mut broken = World::with_sector();
    let proposal = broken.proposal(1);
    let receipt = broken.receipt(&proposal, 0);
    broken.done(1, Body::ProposeDealSet(proposal));
    broken.advance(91);
    let claim = Body::ClaimBrokenPromise { receipt };
    let (open, pack) = World::embedded();
    let deal = deal_id(pack, 0);
    let demand = Body::DemandOpening { deal, quad: 50 };
    let (mut asked, pack) = World::embedded();
    let deal = deal_id(pack, 0);
    asked.done(1, Body::DemandOpening { deal, quad: 50 });
    let levels = asked.rules.parameters.piece_levels;
    let honest = opening(0, 20_000, false, 50, levels).unwrap();
    let answer = Body::AnswerOpening {
        deal,
        opening: honest,
    };
    let mut lied = World::with_sector();
    let pack = lied.propose(1);
    let deal = deal_id(pack, 0);
    let deals = vec![Acceptance {
        shard: deal,
        piece_roots: piece_roots(0, 20_000, true, levels),
    }];
    lied.done(
        0,
        Body::AcceptDeals {
            provider: PROVIDER,
            deals,
        },
    );
    let shown = opening(0, 20_000, true, 0, levels).unwrap();
    let fraud = Body::SubmitFraud {
        deal,
        opening: shown,
    };
    vec![
        done(broken, 4, claim).again("is broken; this needs broken and not claimed yet"),
        done(open, 4, demand).again("exists already"),
        done(asked, 0, answer)
            .again("without a demand")
            .only(NO_WORKER),
        done(lied, 4, fraud).again("is failed"),
    ]
}

fn channels() -> Vec<Setting> {
    let open = Body::OpenChannel {
        provider: PROVIDER,
        deposit: Amount::hold(5),
    };
    let with = |opened: bool| {
        let mut world = World::new();
        world.register();
        if opened {
            world.done(1, open.clone());
        }
        world
    };
    let redeemed = with(true);
    let channel = query::channel(&redeemed.view, PROVIDER, &Parties::own(address(1)));
    let voucher = Voucher {
        channel: channel.unwrap().unwrap().id,
        amount: Amount::hold(5),
    };
    let voucher = SignedVoucher::new(redeemed.rules.network, &key(1), voucher).unwrap();
    vec![
        done(with(false), 1, open.clone()),
        done(with(true), 1, Body::CloseChannel { provider: PROVIDER })
            .again("closes at height")
            .only(Some("there is no channel to provider 0")),
        done(redeemed, 0, Body::RedeemVoucher { voucher })
            .again("above the 5 HOLD that was paid")
            .only(NO_WORKER),
    ]
}

/// Account 0 has a name, and a lease of it.
fn names() -> Vec<Setting> {
    let publish = Body::PublishName {
        label: "drive".into(),
        version: 7,
        root: vec![1, 0x55, 0, 0],
        lease: None,
    };
    let named = || {
        let mut world = World::new();
        world.done(0, publish.clone());
        world
    };
    let give = Body::TransferName {
        owner: address(0),
        label: "drive".into(),
        to: address(1),
    };
    let lease = |token| Body::AcquireLease {
        label: "drive".into(),
        holder: address(2),
        blocks: Blocks(60),
        token,
    };
    let mut leased = named();
    leased.done(0, lease(None));
    let release = Body::ReleaseLease {
        lease: LeaseClaim {
            owner: address(0),
            token: 1,
        },
        label: "drive".into(),
    };
    vec![
        done(named(), 0, give).only(Some("only the owner of the name `drive`")),
        done(named(), 0, lease(None))
            .again("the name is leased to")
            .only(Some("has no name `drive`")),
        done(leased, 0, release)
            .again("holds no lease")
            .only(Some("holds no lease")),
    ]
}

/// The first of two shards is lost with its sector; account 3's provider may repair it.
fn repairs() -> Vec<Setting> {
    let lost = || {
        let mut world = World::with_sector();
        let (keeper, repairer) = (world.join(2), world.join(3));
        let mut proposal = world.proposal(1);
        proposal.terms[1].provider = keeper;
        proposal.repair_threshold = 2;
        proposal.repair_budget = Amount::hold(1);
        let pack = proposal.pack.id().unwrap();
        world.done(1, Body::ProposeDealSet(proposal));
        world.done(0, world.accept(deal_id(pack, 0)));
        world.embed_by_hand(sector_id(0), 5, deal_id(pack, 0));
        let sector = sector_id(0);
        world.done(0, Body::TerminateSector { sector });
        (world, pack, repairer)
    };
    let (world, pack, provider) = lost();
    let claim = Body::ClaimRepair {
        deal: deal_id(pack, 0),
        provider,
    };
    let (other, pack, _) = lost();
    let amount = Amount::hold(1);
    vec![
        done(other, 4, Body::TopUpRepair { pack, amount }),
        done(world, 3, claim)
            .again("is proposed; this needs failed")
            .only(Some("only the worker of provider 2")),
    ]
}

/// Account 4 may read a pack at account 1's cost.
fn budgets() -> Vec<Setting> {
    let (world, pack) = World::embedded();
    let attach = Body::AttachReadBudget {
        pack,
        reader: address(4),
        deposit: Amount::hold(5),
        providers: 1,
        until: Height(world.height().0 + 50),
    };
    let (mut granted, _) = World::embedded();
    granted.done(1, attach.clone());
    let revoke = Body::RevokeGrant {
        reader: address(4),
        providers: vec![PROVIDER],
    };
    vec![
        done(world, 1, attach),
        done(granted, 1, revoke)
            .again("closes at height")
            .only(Some("there is no channel to provider 0")),
    ]
}

/// Account 4's key is a validator's that account 0 owns; account 1 has 50 HOLD with validator 98.
fn stake() -> Vec<Setting> {
    let beacon = beacon_of(4);
    let register = |commission_thousandths| Body::RegisterValidator {
        owner: address(0),
        beacon: beacon.public(),
        possession: beacon.possession(),
        commission_thousandths,
    };
    let update = Body::UpdateValidator {
        beacon: beacon.public(),
        possession: beacon.possession(),
        commission_thousandths: 50,
    };
    let registered = || {
        let mut world = World::with_staking();
        world.done(4, register(100));
        world
    };
    let delegate = Body::Delegate {
        validator: address(98),
        stake: Stake(50),
    };
    let delegated = || {
        let mut world = World::with_staking();
        world.done(1, delegate.clone());
        world
    };
    let own = Body::Stake {
        validator: address(4),
        stake: Stake(200),
    };
    let unstake = Body::Unstake {
        validator: address(98),
        stake: Stake(20),
    };
    let collect = Body::CollectReward {
        validator: address(98),
    };
    let mut world = World::with_staking();
    world.advance(2);
    let evidence = two_ballots(&world, 98, 1);
    let nothing_there = Some("has 0 HOLD at stake");
    vec![
        done(World::with_staking(), 4, register(100)).again("exists already"),
        done(registered(), 4, update).only(Some("there is no validator")),
        done(registered(), 0, own).only(Some("only the owner of validator")),
        done(World::with_staking(), 1, delegate.clone()),
        done(delegated(), 1, unstake).only(nothing_there),
        done(delegated(), 1, collect).only(nothing_there),
        done(world, 1, Body::SubmitEquivocation { evidence }).again("a slash of validator"),
    ]
}

fn votes() -> Vec<Setting> {
    let propose = Body::ProposeParameter {
        change: ParameterChange::Amount {
            parameter: AmountParameter::MinimumFee,
            value: Amount(2_000_000),
        },
    };
    let mut open = World::with_staking();
    let stake = Stake(50);
    let validator = address(98);
    open.done(1, Body::Delegate { validator, stake });
    open.done(2, propose.clone());
    let vote = Body::Vote {
        proposal: ProposalId(0),
        validator,
        approve: true,
    };
    vec![
        done(World::with_staking(), 1, propose),
        done(open, 1, vote)
            .again("exists already")
            .only(Some("has 0 HOLD at stake")),
    ]
}

/// A voucher with the signature of account 1, who pays in these worlds.
pub fn by_payer(voucher: Voucher) -> SignedVoucher {
    SignedVoucher::new(World::new().rules.network, &key(1), voucher).unwrap()
}
