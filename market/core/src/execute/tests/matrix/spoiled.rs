//! What can be wrong with each field of each message, and what the refusal says. A field that is not
//! named here cannot be wrong: any account can be paid, any key can work, any root can be committed
//! to and fails by its proof.

use super::super::world::{address, beacon_of, group, node, offer, sector_id};
use crate::channel::{ChannelId, SignedVoucher, Voucher};
use crate::governance::{AmountParameter, Governance, ParameterChange, ShareParameter};
use crate::message::{
    Acceptance, Body, DealSetProposal, EmbedCommit, GroupLayout, GroupRoot, LaneGroups, LeaseClaim,
    PackHeader, PieceOpening, PlacedSubtree, PreCommit, ProviderOffer, ReplicaCommit, SectorRoots,
    ShardTerms, SpacetimeProof,
};
use crate::parameters::Parameters;
use crate::quote::MAX_TERM;
use crate::receipt::{Receipt, SignedReceipt, Tier};
use crate::stake::MOST_STAKE;
use crate::units::{
    Address, Amount, BeaconKey, BeaconSignature, Blocks, ByteCount, Deadline, DealId, Height,
    PackId, Period, Periods, ProposalId, ProviderId, SectorId, SectorNumber, ShardIndex, ShardRoot,
    Signature, Stake,
};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::SectorClass;

/// Messages, and why each is refused.
pub type Cases = Vec<(Body, &'static str)>;

/// How to spoil something, and what the refusal says then.
pub type Spoil<'a, T> = (&'a dyn Fn(&mut T), &'static str);

/// Amounts that nobody has: around the largest parameter, the largest genesis and the end of the
/// numbers.
const BEYOND: [u128; 8] = [
    (1 << 80) - 1,
    1 << 80,
    (1 << 80) + 1,
    (1 << 100) - 1,
    1 << 100,
    (1 << 100) + 1,
    u128::MAX - 1,
    u128::MAX,
];

/// Numbers that name nothing.
const NOTHING: [u64; 4] = [7, 1 << 63, u64::MAX - 1, u64::MAX];

fn beyond(make: impl Fn(Amount) -> Body, reason: &'static str) -> Cases {
    let amounts = BEYOND.iter().map(|amount| Amount(*amount));
    amounts.map(|amount| (make(amount), reason)).collect()
}

/// A copy of `good` for each way to spoil it.
fn each<T: Clone>(good: &T, make: impl Fn(T) -> Body, cases: Vec<Spoil<'_, T>>) -> Cases {
    let spoil = |(spoil, reason): Spoil<'_, T>| {
        let mut bad = good.clone();
        spoil(&mut bad);
        (make(bad), reason)
    };
    cases.into_iter().map(spoil).collect()
}

fn strangers(make: impl Fn(ProviderId) -> Body) -> Cases {
    let ids = NOTHING.iter().map(|id| ProviderId(*id));
    ids.map(|id| (make(id), "there is no provider")).collect()
}

fn no_sectors(make: impl Fn(SectorId) -> Body) -> Cases {
    let mut cases = strangers(|provider| {
        make(SectorId {
            provider,
            number: SectorNumber(0),
        })
    });
    let numbers = NOTHING.iter().map(|number| make(sector_id(*number)));
    cases.extend(numbers.map(|body| (body, "there is no sector 0/")));
    cases
}

fn no_deals(good: DealId, make: impl Fn(DealId) -> Body, reason: &'static str) -> Cases {
    let mut cases = Vec::new();
    for shard in [2, 63, 64, 255] {
        let shard = ShardIndex(shard);
        cases.push((make(DealId { shard, ..good }), "there is no deal"));
    }
    let pack = PackId([9; 32]);
    cases.push((make(DealId { pack, ..good }), reason));
    cases
}

/// Every message that is like `good` but for one thing that is wrong.
pub fn spoiled(good: &Body) -> Cases {
    match good {
        Body::Transfer { to, amount: _ } => {
            let with = |amount| Body::Transfer { to: *to, amount };
            let mut cases = beyond(with, "fund it with");
            cases.push((with(Amount(0)), "the amount is empty"));
            cases.push((with(Amount::hold(1_000)), "fund it with"));
            cases
        }
        Body::PublishName {
            label,
            version,
            root,
            lease: _,
        } => name(label, *version, root),
        Body::TransferName {
            owner: _,
            label,
            to,
        } => {
            let with = |owner, label: &str| Body::TransferName {
                owner,
                label: label.into(),
                to: *to,
            };
            let mut cases = labels(|label| with(address(0), label));
            cases.push((with(address(3), label), "has no name `drive`"));
            cases.push((with(Address([0; 32]), label), "has no name `drive`"));
            cases
        }
        Body::AcquireLease {
            label,
            holder,
            blocks,
            token,
        } => {
            let with = |label: &str, blocks, token| Body::AcquireLease {
                label: label.into(),
                holder: *holder,
                blocks,
                token,
            };
            let mut cases = labels(|label| with(label, *blocks, *token));
            for span in [0, 14_401, u64::MAX] {
                let body = with(label, Blocks(span), *token);
                cases.push((body, "the number of blocks"));
            }
            for other in [0, 1, u64::MAX] {
                cases.push((with(label, *blocks, Some(other)), "holds no lease"));
            }
            cases
        }
        Body::ReleaseLease { lease, label } => {
            let LeaseClaim { owner, token } = *lease;
            let with = |owner, token, label: &str| Body::ReleaseLease {
                lease: LeaseClaim { owner, token },
                label: label.into(),
            };
            let mut cases = labels(|label| with(owner, token, label));
            cases.push((with(address(3), token, label), "has no name `drive`"));
            for other in [0, 2, u64::MAX] {
                cases.push((with(owner, other, label), "holds no lease"));
            }
            cases
        }
        Body::TopUpRepair { pack, amount } => {
            let with = |pack, amount| Body::TopUpRepair { pack, amount };
            let mut cases = beyond(|amount| with(*pack, amount), "fund it with");
            cases.push((with(*pack, Amount(0)), "the amount is empty"));
            cases.push((with(PackId([9; 32]), *amount), "no deal set of pack"));
            cases
        }
        Body::ClaimRepair { deal, provider } => {
            let with = |deal, provider| Body::ClaimRepair { deal, provider };
            let nobody = "no deal set of pack";
            let mut cases = no_deals(*deal, |deal| with(deal, *provider), nobody);
            cases.extend(strangers(|id| with(*deal, id)));
            cases.push((with(*deal, ProviderId(1)), "only the worker of provider 1"));
            let shard = ShardIndex(1);
            let living = with(DealId { shard, ..*deal }, *provider);
            cases.push((living, "is proposed; this needs failed"));
            cases
        }
        Body::AttachReadBudget {
            pack,
            reader,
            deposit,
            providers,
            until,
        } => {
            let full = |pack, reader, deposit, providers, until| Body::AttachReadBudget {
                pack,
                reader,
                deposit,
                providers,
                until,
            };
            let with =
                |pack, reader, deposit, until| full(pack, reader, deposit, *providers, until);
            let (pack, reader, deposit, until) = (*pack, *reader, *deposit, *until);
            let dear = |amount| with(pack, reader, amount, until);
            let mut cases = beyond(dear, "fund it with");
            for amount in [0, 1, 999_999] {
                cases.push((dear(Amount(amount)), "the deposit for each provider"));
            }
            for past in [0, 1, until.0 - 49] {
                let body = with(pack, reader, deposit, Height(past));
                cases.push((body, "the budget was due by"));
            }
            let unknown = with(PackId([9; 32]), reader, deposit, until);
            cases.push((unknown, "no deal set of pack"));
            cases.push((with(pack, address(1), deposit, until), "the reader"));
            for number in [0, 65, 255] {
                let body = full(pack, reader, deposit, number, until);
                cases.push((body, "the number of providers that are paid for"));
            }
            cases
        }
        Body::RevokeGrant { reader, providers } => {
            let with = |reader, ids: &[u64]| Body::RevokeGrant {
                reader,
                providers: ids.iter().map(|id| ProviderId(*id)).collect(),
            };
            let many: Vec<u64> = (0..65).collect();
            let none = "there is no channel to provider";
            assert_eq!(providers.len(), 1);
            vec![
                (with(*reader, &[]), "the number of providers"),
                (with(*reader, &many), "the number of providers"),
                (with(*reader, &[0, 0]), "providers must be listed once"),
                (with(*reader, &[1, 0]), "providers must be listed once"),
                (with(*reader, &[0, 7]), none),
                (with(*reader, &[u64::MAX]), none),
                (with(address(3), &[0]), none),
            ]
        }
        Body::ProposeDealSet(proposal) => deal_set(proposal),
        Body::RenewDealSet {
            pack,
            periods,
            least,
        } => {
            let (pack, periods, least) = (*pack, *periods, *least);
            let with = |pack, periods, least| Body::RenewDealSet {
                pack,
                periods,
                least,
            };
            let mut cases = vec![(with(PackId([9; 32]), periods, least), "no deal set of pack")];
            for number in [0, MAX_TERM.0 + 1, u64::MAX - 1, u64::MAX] {
                let body = with(pack, Periods(number), least);
                cases.push((body, "the number of periods"));
            }
            for number in [0, 3, 64, 255] {
                let body = with(pack, periods, number);
                cases.push((body, "the least number of deals"));
            }
            cases
        }
        Body::CancelDealSet { pack: _ } => [[0; 32], [255; 32]]
            .map(|pack| {
                let pack = PackId(pack);
                (Body::CancelDealSet { pack }, "no deal set of pack")
            })
            .to_vec(),
        Body::RegisterProvider {
            worker,
            offer,
            collateral,
        } => {
            let with = |offer: ProviderOffer, collateral| Body::RegisterProvider {
                worker: *worker,
                offer,
                collateral,
            };
            let mut cases = offers(offer, |offer| with(offer, *collateral));
            cases.extend(beyond(|amount| with(offer.clone(), amount), "fund it with"));
            for amount in [0, 1, Amount::hold(10).0 - 1] {
                let body = with(offer.clone(), Amount(amount));
                cases.push((body, "of free collateral and this needs 10 HOLD"));
            }
            cases
        }
        Body::UpdateProvider {
            provider,
            worker,
            offer,
        } => {
            let with = |provider, offer: ProviderOffer| Body::UpdateProvider {
                provider,
                worker: *worker,
                offer,
            };
            let mut cases = offers(offer, |offer| with(*provider, offer));
            cases.extend(strangers(|id| with(id, offer.clone())));
            cases
        }
        Body::AddCollateral { provider, amount } => {
            let with = |provider, amount| Body::AddCollateral { provider, amount };
            let mut cases = strangers(|id| with(id, *amount));
            cases.extend(beyond(|amount| with(*provider, amount), "fund it with"));
            cases.push((with(*provider, Amount(0)), "the amount is empty"));
            cases
        }
        Body::WithdrawCollateral { provider, amount } => {
            let with = |provider, amount| Body::WithdrawCollateral { provider, amount };
            let mut cases = strangers(|id| with(id, *amount));
            let more = |amount| with(*provider, amount);
            cases.extend(beyond(more, "of free collateral"));
            cases.push((more(Amount(Amount::hold(90).0 + 1)), "of free collateral"));
            cases.push((more(Amount(0)), "the amount is empty"));
            cases
        }
        Body::Retire { provider: _ } => strangers(|provider| Body::Retire { provider }),
        Body::PreCommitSector(commit) => pre_commit(commit),
        Body::ProveSeal { sector: _, proofs } => no_sectors(|sector| Body::ProveSeal {
            sector,
            proofs: proofs.clone(),
        }),
        Body::AcceptDeals { provider, deals } => accept(*provider, deals),
        Body::CommitEmbed(commit) => commit_embed(commit),
        Body::CommitReplica(commit) => commit_replica(commit),
        Body::ProveEmbed { sector: _, proofs } => no_sectors(|sector| Body::ProveEmbed {
            sector,
            proofs: proofs.clone(),
        }),
        Body::ProveSpacetime {
            provider,
            period,
            deadline,
            proofs,
        } => spacetime(*provider, *period, *deadline, proofs),
        Body::DeclareFault { provider, sectors } => {
            lists(*provider, sectors, |provider, sectors| Body::DeclareFault {
                provider,
                sectors,
            })
        }
        Body::Recover { provider, sectors } => lists(*provider, sectors, |provider, sectors| {
            Body::Recover { provider, sectors }
        }),
        Body::EndSector { sector: _ } => no_sectors(|sector| Body::EndSector { sector }),
        Body::TerminateSector { sector: _ } => {
            no_sectors(|sector| Body::TerminateSector { sector })
        }
        Body::ClaimBrokenPromise { receipt } => claim(receipt),
        Body::DemandOpening { deal, quad } => {
            let with = |deal, quad| Body::DemandOpening { deal, quad };
            let mut cases = no_deals(*deal, |deal| with(deal, *quad), "there is no deal");
            // A shard of 20,000 bytes has 158 runs of 127.
            for beyond in [158, 1 << 32, u64::MAX - 1, u64::MAX] {
                cases.push((with(*deal, beyond), "the quad"));
            }
            cases
        }
        Body::AnswerOpening { deal, opening } => {
            let with = |deal, opening| Body::AnswerOpening { deal, opening };
            let mut cases = no_deals(*deal, |id| with(id, opening.clone()), "there is no deal");
            cases.extend(openings(opening, |opening| with(*deal, opening)));
            cases
        }
        Body::SubmitFraud { deal, opening } => {
            let with = |deal, opening| Body::SubmitFraud { deal, opening };
            let mut cases = no_deals(*deal, |id| with(id, opening.clone()), "there is no deal");
            cases.extend(openings(opening, |opening| with(*deal, opening)));
            let shard = ShardIndex(1);
            let other = with(DealId { shard, ..*deal }, opening.clone());
            cases.push((other, "is proposed; this needs accepted or proven"));
            cases
        }
        Body::OpenChannel { provider, deposit } => {
            let with = |provider, deposit| Body::OpenChannel { provider, deposit };
            let mut cases = strangers(|id| with(id, *deposit));
            cases.extend(beyond(|amount| with(*provider, amount), "fund it with"));
            cases.push((with(*provider, Amount(0)), "the deposit is empty"));
            cases
        }
        Body::CloseChannel { provider: _ } => NOTHING
            .map(|id| {
                let provider = ProviderId(id);
                let body = Body::CloseChannel { provider };
                (body, "there is no channel to provider")
            })
            .to_vec(),
        Body::RedeemVoucher { voucher } => vouchers(voucher),
        Body::RegisterValidator {
            owner,
            beacon: _,
            possession: _,
            commission_thousandths,
        } => beacons(
            *commission_thousandths,
            1_001,
            |beacon, possession, share| Body::RegisterValidator {
                owner: *owner,
                beacon,
                possession,
                commission_thousandths: share,
            },
        ),
        Body::UpdateValidator {
            beacon: _,
            possession: _,
            commission_thousandths,
        } => beacons(*commission_thousandths, 101, |beacon, possession, share| {
            Body::UpdateValidator {
                beacon,
                possession,
                commission_thousandths: share,
            }
        }),
        Body::Stake { validator, stake } => {
            let with = |validator, stake| Body::Stake { validator, stake };
            stakes(*validator, *stake, "fund it with", with)
        }
        Body::Delegate { validator, stake } => {
            let with = |validator, stake| Body::Delegate { validator, stake };
            stakes(*validator, *stake, "fund it with", with)
        }
        Body::Unstake { validator, stake } => {
            let with = |validator, stake| Body::Unstake { validator, stake };
            let more = "has 50 HOLD at stake";
            let mut cases = stakes(*validator, *stake, more, with);
            cases.push((with(*validator, Stake(51)), more));
            cases.push((with(address(97), *stake), "has 0 HOLD at stake"));
            cases
        }
        Body::CollectReward { validator: _ } => {
            let with = |validator| Body::CollectReward { validator };
            vec![
                (with(address(50)), "there is no validator"),
                (with(Address([255; 32])), "there is no validator"),
                (with(address(97)), "has 0 HOLD at stake"),
            ]
        }
        Body::SubmitEquivocation { evidence } => super::evidence::spoiled(evidence),
        Body::ProposeParameter { change } => changes(change),
        Body::Vote {
            proposal,
            validator,
            approve,
        } => {
            let (proposal, validator) = (*proposal, *validator);
            let with = |proposal, validator| Body::Vote {
                proposal,
                validator,
                approve: *approve,
            };
            let mut cases = vec![
                (with(proposal, address(50)), "there is no validator"),
                (with(proposal, Address([255; 32])), "there is no validator"),
                (with(proposal, address(97)), "has 0 HOLD at stake"),
            ];
            for id in [1, 1 << 63, u64::MAX] {
                let body = with(ProposalId(id), validator);
                cases.push((body, "there is no proposal"));
            }
            cases
        }
    }
}

fn beacons(
    share: u64,
    beyond: u64,
    with: impl Fn(BeaconKey, BeaconSignature, u64) -> Body,
) -> Cases {
    let (one, other) = (beacon_of(4), beacon_of(6));
    let mut cases = Vec::new();
    for (key, possession) in [
        (one.public(), other.possession()),
        (other.public(), one.possession()),
        (one.public(), BeaconSignature([0; 96])),
        (one.public(), BeaconSignature([255; 96])),
        (BeaconKey([0; 48]), one.possession()),
        (BeaconKey([255; 48]), one.possession()),
    ] {
        cases.push((with(key, possession, share), "the proof of possession"));
    }
    for share in [beyond, 1_001, u64::MAX] {
        let body = with(one.public(), one.possession(), share);
        cases.push((body, "the commission"));
    }
    cases
}

fn stakes(
    validator: Address,
    stake: Stake,
    beyond: &'static str,
    with: impl Fn(Address, Stake) -> Body,
) -> Cases {
    let mut cases = vec![
        (with(address(50), stake), "there is no validator"),
        (with(Address([255; 32]), stake), "there is no validator"),
        (with(validator, Stake(0)), "the stake is 0"),
        (with(validator, Stake(1_001)), beyond),
        // What a validator has is less by what is there already.
        (with(validator, Stake(MOST_STAKE.0 - 2_000)), beyond),
    ];
    for more in [MOST_STAKE.0 + 1, u64::MAX - 1, u64::MAX] {
        // Nobody takes out so much, and nobody may put it in.
        let reason = match with(validator, stake) {
            Body::Unstake { .. } => beyond,
            _ => "the stake is",
        };
        cases.push((with(validator, Stake(more)), reason));
    }
    cases
}

fn changes(good: &ParameterChange) -> Cases {
    let with = |change| Body::ProposeParameter { change };
    let bounds = Governance::dev(&Parameters::dev().economy);
    let beyond = "the number must lie between";
    let mut cases = Vec::new();
    for parameter in AmountParameter::ALL {
        for value in [0, 1 << 80, (1 << 80) + 1, 1 << 100, u128::MAX] {
            let value = Amount(value);
            cases.push((with(ParameterChange::Amount { parameter, value }), beyond));
        }
    }
    for parameter in ShareParameter::ALL {
        for value in [0, 9, 1_001, u64::MAX] {
            cases.push((with(ParameterChange::Share { parameter, value }), beyond));
        }
    }
    let parameter = AmountParameter::CollateralPerGib;
    let value = bounds.least.collateral_per_gib;
    // Within its bounds, but below the fees that it has to cover.
    let uncovered = ParameterChange::Amount { parameter, value };
    cases.push((with(uncovered), "a sector's collateral covers every fee"));
    let ParameterChange::Amount {
        parameter: _,
        value: _,
    } = good
    else {
        panic!("the table's change is of an amount");
    };
    cases
}

fn labels(with: impl Fn(&str) -> Body) -> Cases {
    let labels = [0, 65, 200].map(|length| with(&"x".repeat(length)));
    let labels = labels.map(|body| (body, "the label's length"));
    let mut cases = labels.to_vec();
    cases.push((with("other"), "no name"));
    cases
}

fn name(label: &str, version: u64, root: &[u8]) -> Cases {
    let under = |label: &str, version, root: &[u8], lease| Body::PublishName {
        label: label.into(),
        version,
        root: root.into(),
        lease,
    };
    let with = |label: &str, version, root: &[u8]| under(label, version, root, None);
    let mut cases = Vec::new();
    for token in [0, 1, u64::MAX] {
        let owner = address(0);
        let lease = Some(LeaseClaim { owner, token });
        cases.push((under(label, version, root, lease), "holds no lease"));
    }
    for length in [0, 65, 200] {
        let long = "x".repeat(length);
        cases.push((with(&long, version, root), "the label's length"));
    }
    for before in [0, 1, version - 1] {
        cases.push((with(label, before, root), "the version"));
    }
    for length in [0, 65] {
        let bytes = vec![1; length];
        cases.push((with(label, version, &bytes), "the root's length"));
    }
    for bytes in [
        &[0xff; 8][..],
        &[1],
        &[1, 0x55, 0, 1],
        &[0x81, 0, 0x55, 0, 0],
    ] {
        cases.push((with(label, version, bytes), "the content identifier"));
    }
    cases
}

fn offers(good: &ProviderOffer, with: impl Fn(ProviderOffer) -> Body) -> Cases {
    // Any node key is one: whoever holds it is found there, or nobody.
    let ProviderOffer {
        node: _,
        endpoint: _,
        price,
        read_price: _,
    } = good;
    assert_eq!(*price, offer().price);
    each(
        good,
        with,
        vec![
            (&|o| o.endpoint.clear(), "the end point's length"),
            (&|o| o.endpoint = "x".repeat(129), "the end point's length"),
            (&|o| o.endpoint = "a b:1".into(), "the end point"),
            (&|o| o.endpoint = "ä:1".into(), "the end point"),
            (&|o| o.endpoint = "a:1\0".into(), "the end point"),
            (&|o| o.price = Amount(0), "the price a GiB and period"),
            (
                &|o| o.price = Amount(99_999_999),
                "the price a GiB and period",
            ),
            (
                &|o| o.read_price = Amount((1 << 80) + 1),
                "the price of reading",
            ),
            (
                &|o| o.read_price = Amount(u128::MAX),
                "the price of reading",
            ),
        ],
    )
}

fn deal_set(good: &DealSetProposal) -> Cases {
    let DealSetProposal {
        pack,
        terms,
        repair_threshold: _,
        repair_budget: _,
    } = good;
    // The nonce is the owner's own, and any bytes can be a shard's root.
    let PackHeader {
        owner: _,
        nonce: _,
        k: _,
        n: _,
        length: _,
        shard_roots: _,
        shard_length: _,
    } = pack;
    // Either tier is one.
    let ShardTerms {
        provider: _,
        tier: _,
        price: _,
        term: _,
        fund_by: _,
    } = terms[0];
    let mut cases = each(
        good,
        Body::ProposeDealSet,
        vec![
            (&|p| p.pack.owner = address(2), "the pack's owner"),
            (&|p| p.pack.k = 0, "k is 0"),
            (&|p| p.pack.k = 3, "k is 3"),
            (&|p| p.pack.k = 255, "k is 255"),
            (&|p| p.pack.n = 0, "n is 0"),
            (&|p| p.pack.n = 65, "n is 65"),
            (&|p| p.pack.n = 255, "n is 255"),
            (&|p| p.pack.n = 3, "the number of shard roots"),
            (&|p| p.pack.length = ByteCount(0), "the pack's length"),
            (
                &|p| p.pack.length = ByteCount((64 << 20) + 1),
                "the pack's length",
            ),
            (
                &|p| p.pack.length = ByteCount(u64::MAX),
                "the pack's length",
            ),
            (&|p| p.pack.shard_roots.clear(), "the number of shard roots"),
            (
                &|p| p.pack.shard_roots.push(ShardRoot([0; 32])),
                "the number of shard roots",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(0),
                "the shards' length",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(20_001),
                "the shards' length",
            ),
            (
                &|p| p.pack.shard_length = ByteCount(u64::MAX),
                "the shards' length",
            ),
            (&|p| p.terms.clear(), "the number of terms"),
            (&|p| p.terms.truncate(1), "the number of terms"),
            (&|p| p.repair_threshold = 0, "the repair threshold"),
            (&|p| p.repair_threshold = 3, "the repair threshold"),
            (&|p| p.repair_threshold = 255, "the repair threshold"),
        ],
    );
    // Wrong in the last shard as in the first.
    for shard in 0..terms.len() {
        let mut with = |spoil: &dyn Fn(&mut ShardTerms), reason| {
            let mut bad = good.clone();
            spoil(&mut bad.terms[shard]);
            cases.push((Body::ProposeDealSet(bad), reason));
        };
        for id in NOTHING {
            with(&|t| t.provider = ProviderId(id), "there is no provider");
        }
        for term in [0, MAX_TERM.0 + 1, u64::MAX] {
            with(&|t| t.term = Periods(term), "the term");
        }
        for price in [0, 1, 99_999_999] {
            with(&|t| t.price = Amount(price), "the price a GiB and period");
        }
        for price in BEYOND.into_iter().take(6) {
            with(&|t| t.price = Amount(price), "fund it with");
        }
        with(&|t| t.price = Amount(u128::MAX), "the price is larger");
        with(
            &|t| t.price = Amount(u128::MAX >> 14),
            "the price is larger",
        );
        for height in [0, 1] {
            with(&|t| t.fund_by = Height(height), "the funding of a receipt");
        }
    }
    for amount in BEYOND {
        let mut bad = good.clone();
        bad.repair_budget = Amount(amount);
        let reason = match amount {
            u128::MAX.. => "the price is larger",
            _ if amount == u128::MAX - 1 => "the price is larger",
            _ => "fund it with",
        };
        cases.push((Body::ProposeDealSet(bad), reason));
    }
    cases
}

fn pre_commit(good: &PreCommit) -> Cases {
    let PreCommit {
        sector: _,
        class: _,
        ticket,
        columns: _,
        keys: _,
    } = good;
    let ticket = ticket.0;
    let mut cases = strangers(|provider| {
        let sector = SectorId {
            provider,
            ..good.sector
        };
        Body::PreCommitSector(PreCommit {
            sector,
            ..good.clone()
        })
    });
    cases.extend(each(
        good,
        Body::PreCommitSector,
        vec![
            (&|c| c.sector = sector_id(0), "sector 0/0 exists already"),
            (&|c| c.class = SectorClass::Mib512, "the sector's class"),
            (&|c| c.class = SectorClass::Gib32, "the sector's class"),
            (&|c| c.ticket = Height(0), "the ticket's height"),
            (&|c| c.ticket = Height(ticket - 300), "the ticket's height"),
            (&|c| c.ticket = Height(ticket + 1), "the ticket's height"),
            (&|c| c.ticket = Height(u64::MAX), "the ticket's height"),
        ],
    ));
    cases
}

fn accept(provider: ProviderId, good: &[Acceptance]) -> Cases {
    let Acceptance {
        shard,
        piece_roots: _,
    } = &good[0];
    let with = |provider, deals| Body::AcceptDeals { provider, deals };
    let mut cases = strangers(|id| with(id, good.to_vec()));
    let one = |shard| {
        let acceptance = Acceptance {
            shard,
            ..good[0].clone()
        };
        with(provider, vec![acceptance])
    };
    cases.extend(no_deals(*shard, one, "there is no deal"));
    cases.extend(each(
        &good.to_vec(),
        |deals| with(provider, deals),
        vec![
            (&|d| d.clear(), "the number of deals"),
            (&|d| *d = vec![d[0].clone(); 1_025], "the number of deals"),
            (&|d| d[1].shard = d[0].shard, "deals must be listed once"),
            (&|d| d[0].piece_roots.clear(), "the number of piece roots"),
            (
                &|d| d[1].piece_roots.truncate(1),
                "the number of piece roots",
            ),
            (
                &|d| d[1].piece_roots.push(node("more")),
                "the number of piece roots",
            ),
        ],
    ));
    cases
}

fn commit_embed(good: &EmbedCommit) -> Cases {
    let EmbedCommit {
        sector: _,
        groups,
        keys,
    } = good;
    let GroupLayout { group: _, subtrees } = &groups[0];
    let PlacedSubtree {
        deal,
        subtree: _,
        levels: _,
        unit: _,
    } = subtrees[0];
    let SectorRoots {
        lanes: _,
        groups: touched,
    } = keys;
    let LaneGroups { lane: _, roots: _ } = touched[0];
    let mut cases = no_sectors(|sector| {
        Body::CommitEmbed(EmbedCommit {
            sector,
            ..good.clone()
        })
    });
    let with = |id| {
        let mut bad = good.clone();
        bad.groups[0].subtrees[0].deal = id;
        Body::CommitEmbed(bad)
    };
    cases.extend(no_deals(deal, with, "there is no deal"));
    cases.extend(each(
        good,
        Body::CommitEmbed,
        vec![
            (&|c| c.groups.clear(), "the number of groups"),
            (
                &|c| c.groups = vec![c.groups[0].clone(); 65],
                "the number of groups",
            ),
            (
                &|c| c.groups.push(c.groups[0].clone()),
                "groups must be listed once",
            ),
            (
                &|c| c.groups[0].group = group(13),
                "the lanes of the written groups",
            ),
            (&|c| c.groups[0].subtrees.truncate(3), "0 for subtree 1"),
            (
                &|c| c.groups[0].subtrees[0] = c.groups[0].subtrees[1].clone(),
                "for subtree",
            ),
            (&|c| c.groups[0].subtrees[0].subtree = 1, "for subtree"),
            (
                &|c| c.groups[0].subtrees[0].subtree = u32::MAX,
                "for subtree 0",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = 0,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = 4,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = u32::MAX,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[1].unit = 0,
                "ascending order of place",
            ),
            (&|c| c.groups[0].subtrees[3].unit = 8, "outside its group"),
            (&|c| c.groups[0].subtrees[3].unit = u32::MAX, "group 5"),
            (&|c| c.keys.lanes[7] = c.keys.lanes[6], "the key roots"),
            (
                &|c| c.keys.groups.clear(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups.push(c.keys.groups[0].clone()),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups[0].lane = group(63).lane(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups[0].roots[7] = c.keys.groups[0].roots[6],
                "the key roots",
            ),
        ],
    ));
    cases
}

fn commit_replica(good: &ReplicaCommit) -> Cases {
    let ReplicaCommit {
        sector: _,
        before: _,
        after,
    } = good;
    // Any root can be committed to: the proof shows whether it is the replica's.
    let GroupRoot { group: _, root: _ } = after[0];
    let mut cases = no_sectors(|sector| {
        Body::CommitReplica(ReplicaCommit {
            sector,
            ..good.clone()
        })
    });
    cases.extend(each(
        good,
        Body::CommitReplica,
        vec![
            (
                &|c| c.before.lanes[0] = c.before.lanes[1],
                "the replica roots",
            ),
            (
                &|c| c.before.groups.clear(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.before.groups[0].lane = group(63).lane(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.before.groups[0].roots[0] = c.before.groups[0].roots[1],
                "the replica roots",
            ),
            (&|c| c.after.clear(), "the list of groups"),
            (&|c| c.after[0].group = group(6), "the list of groups"),
            (&|c| c.after.push(c.after[0].clone()), "the list of groups"),
        ],
    ));
    cases
}

fn spacetime(
    provider: ProviderId,
    period: Period,
    deadline: Deadline,
    good: &[SpacetimeProof],
) -> Cases {
    let with = |provider, period, deadline, proofs: Vec<SpacetimeProof>| Body::ProveSpacetime {
        provider,
        period,
        deadline,
        proofs,
    };
    let mut cases = strangers(|id| with(id, period, deadline, good.to_vec()));
    for later in [period.0 + 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let body = with(provider, Period(later), deadline, good.to_vec());
        cases.push((body, "a proof for this deadline cannot be included before"));
    }
    for other in [3, 4, u32::MAX] {
        let body = with(provider, period, Deadline(other), good.to_vec());
        cases.push((body, "the deadline is"));
    }
    let proof = |sector| SpacetimeProof {
        sector: SectorNumber(sector),
        proof: ProofBytes([1; 192]),
    };
    let listed = |numbers: &mut dyn Iterator<Item = u64>| {
        let proofs = numbers.map(proof).collect();
        with(provider, period, deadline, proofs)
    };
    cases.push((listed(&mut [].into_iter()), "the number of proofs"));
    cases.push((listed(&mut (0..257)), "the number of proofs"));
    cases.push((
        listed(&mut [0, 0].into_iter()),
        "sectors must be listed once",
    ));
    cases.push((
        listed(&mut [1, 0].into_iter()),
        "sectors must be listed once",
    ));
    for number in NOTHING {
        cases.push((listed(&mut [number].into_iter()), "there is no sector 0/"));
        cases.push((
            listed(&mut [0, number].into_iter()),
            "there is no sector 0/",
        ));
    }
    cases
}

fn lists(
    provider: ProviderId,
    good: &[SectorNumber],
    with: impl Fn(ProviderId, Vec<SectorNumber>) -> Body,
) -> Cases {
    let mut cases = strangers(|id| with(id, good.to_vec()));
    let listed = |numbers: &[u64]| {
        let numbers = numbers.iter().map(|number| SectorNumber(*number));
        with(provider, numbers.collect())
    };
    let many: Vec<u64> = (0..257).collect();
    cases.push((listed(&[]), "the number of sectors"));
    cases.push((listed(&many), "the number of sectors"));
    cases.push((listed(&[0, 0]), "sectors must be listed once"));
    cases.push((listed(&[1, 0]), "sectors must be listed once"));
    for number in NOTHING {
        cases.push((listed(&[number]), "there is no sector 0/"));
        cases.push((listed(&[0, number]), "there is no sector 0/"));
    }
    cases
}

fn claim(good: &SignedReceipt) -> Cases {
    let SignedReceipt {
        receipt,
        signature: _,
    } = good;
    let Receipt {
        pack: _,
        shard: _,
        root: _,
        length: _,
        provider: _,
        tier: _,
        price: _,
        term: _,
        fund_by: _,
    } = receipt;
    let mut cases = each(
        good,
        |receipt| Body::ClaimBrokenPromise { receipt },
        vec![
            (&|s| s.receipt.pack = PackId([9; 32]), "no deal set of pack"),
            (&|s| s.receipt.shard = ShardIndex(2), "there is no deal"),
            (&|s| s.receipt.shard = ShardIndex(255), "there is no deal"),
            (
                &|s| s.receipt.shard = ShardIndex(1),
                "the receipt's shard root",
            ),
            (
                &|s| s.receipt.root = ShardRoot([0; 32]),
                "the receipt's shard root",
            ),
            (
                &|s| s.receipt.length = ByteCount(u64::MAX),
                "the receipt's length",
            ),
            (
                &|s| s.receipt.provider = ProviderId(1),
                "the receipt's provider",
            ),
            (&|s| s.receipt.tier = Tier::Cold, "the receipt's tier"),
            (
                &|s| s.receipt.price = Amount(u128::MAX),
                "the receipt's price",
            ),
            (&|s| s.receipt.price.0 += 1, "the receipt's price"),
            (&|s| s.receipt.term = Periods(0), "the receipt's term"),
            (
                &|s| s.receipt.fund_by = Height(u64::MAX),
                "the receipt's last height",
            ),
        ],
    );
    for bytes in [[0; 64], [255; 64]] {
        let mut bad = good.clone();
        bad.signature = Signature(bytes);
        let body = Body::ClaimBrokenPromise { receipt: bad };
        cases.push((body, "the signature is not"));
    }
    cases
}

fn openings(good: &PieceOpening, with: impl Fn(PieceOpening) -> Body) -> Cases {
    let PieceOpening {
        quad,
        slice: _,
        opening: _,
    } = good;
    let mut cases = Vec::new();
    for other in [158, 1 << 32, u64::MAX] {
        let mut bad = good.clone();
        bad.quad = other;
        cases.push((with(bad), "the quad"));
    }
    // The bytes of another place, or the nodes of another, under the number of this one.
    let mut moved = good.clone();
    moved.quad = quad + 1;
    let reason = match with(moved.clone()) {
        Body::AnswerOpening { .. } => "the quad is 51; it must be 50",
        _ => "the opening does not hold under",
    };
    cases.push((with(moved), reason));
    cases.extend(each(
        good,
        with,
        vec![
            (&|o| o.slice.clear(), "under the shard root"),
            (
                &|o| o.slice.truncate(o.slice.len() - 1),
                "under the shard root",
            ),
            (&|o| o.slice.push(0), "under the shard root"),
            (
                &|o| {
                    let last = o.slice.len() - 1;
                    o.slice[last] ^= 1;
                },
                "under the shard root",
            ),
            (&|o| o.opening.siblings.clear(), "under the piece roots"),
            (&|o| o.opening.siblings.truncate(1), "under the piece roots"),
            (
                &|o| {
                    let again = o.opening.siblings[0];
                    o.opening.siblings.push(again);
                },
                "under the piece roots",
            ),
        ],
    ));
    cases
}

fn vouchers(good: &SignedVoucher) -> Cases {
    let SignedVoucher {
        voucher,
        signature: _,
    } = good;
    let Voucher { channel, amount: _ } = voucher;
    let ChannelId {
        payer: _,
        reader: _,
        provider: _,
        opened: _,
    } = channel;
    let mut cases = each(
        good,
        |voucher| Body::RedeemVoucher { voucher },
        vec![
            (
                &|v| v.voucher.channel.payer = address(2),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.payer = Address([0; 32]),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.reader = address(2),
                "there is no channel to provider 0",
            ),
            (
                &|v| v.voucher.channel.provider = ProviderId(1),
                "there is no provider 1",
            ),
            (
                &|v| v.voucher.channel.provider = ProviderId(u64::MAX),
                "there is no provider",
            ),
            (
                &|v| v.voucher.channel.opened = Height(0),
                "the channel's height",
            ),
            (
                &|v| v.voucher.channel.opened = Height(u64::MAX),
                "the channel's height",
            ),
            (&|v| v.voucher.amount.0 += 1, "is not signed by"),
            (&|v| v.voucher.amount.0 -= 1, "is not signed by"),
            (&|v| v.signature = Signature([0; 64]), "is not signed by"),
            (&|v| v.signature.0[63] ^= 1, "is not signed by"),
        ],
    );
    // Rightly signed for the wrong sum, by keys that the table does not have to be given.
    let signed = |amount| {
        let voucher = Voucher {
            amount: Amount(amount),
            ..voucher.clone()
        };
        super::settings::by_payer(voucher)
    };
    for amount in [0].into_iter().chain(BEYOND) {
        let voucher = signed(amount);
        cases.push((Body::RedeemVoucher { voucher }, "the voucher is for"));
    }
    let voucher = signed(Amount::hold(5).0 + 1);
    cases.push((Body::RedeemVoucher { voucher }, "the voucher is for"));
    cases
}
