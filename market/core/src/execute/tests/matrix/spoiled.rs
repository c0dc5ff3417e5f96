//! What can be wrong with each field of each message, and what the refusal says. A field that is not
//! named here cannot be wrong: any account can be paid, any key can work, any root can be committed
//! to and fails by its proof.

mod accounts;
mod deals;
mod sectors;

use accounts::{beacons, changes, labels, name, offers, stakes};
use deals::{accept, claim, deal_set, openings, vouchers};
use sectors::{commit_embed, commit_replica, lists, pre_commit, spacetime};

use super::super::world::{address, sector_id};
use crate::message::{Body, LeaseClaim, ProviderOffer};
use crate::quote::MAX_TERM;
use crate::units::{
    Address, Amount, Blocks, DealId, Height, PackId, Periods, ProposalId, ProviderId, SectorId,
    SectorNumber, ShardIndex, Stake,
};

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
