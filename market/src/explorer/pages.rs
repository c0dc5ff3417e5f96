//! The pages.

use super::chart::{Series, bars, lines};
use super::message::{deal_link, describe, sector_link};
use super::show;
use crate::api::{Failure, Shared, blocking, parse};
use crate::current::Current;
use crate::history;
use crate::ledger::Ledger;
use crate::listing;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use holdfast_market_core::block::{CertifiedBlock, OutcomeResult};
use holdfast_market_core::query;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{Deal, DealSet, Provider, Sector, SectorStatus, Supply};
use holdfast_market_core::units::{
    Address, Amount, Blocks, DealId, Height, PackId, ProviderId, SectorId, ShardIndex,
};
use maud::{Markup, html};
use serde::Deserialize;

/// Rows on one page of a list.
const ROWS: usize = 50;

/// Points of a chart.
const POINTS: usize = 120;

/// Makes a page where the disk may be waited for; a failure becomes a page too.
async fn page(
    shared: Shared,
    make: impl FnOnce(&Ledger) -> Result<(String, Markup), Failure> + Send + 'static,
) -> Response {
    let made = blocking(&shared, make).await;
    match made {
        Ok((title, body)) => show::page(&shared.current, &title, body),
        Err(failure) => failed(&shared.current, &failure),
    }
}

fn failed(current: &Current, failure: &Failure) -> Response {
    let body = html! {
        p { (failure.sentence()) "." }
        p { a href="/" { "Back to the overview" } }
    };
    let page = show::page(current, "Nothing to show", body);
    (failure.status(), page).into_response()
}

pub async fn overview(State(shared): State<Shared>) -> Response {
    page(shared, |ledger| {
        let view = ledger.view();
        let (chain, supply) = (query::chain(&view)?, query::supply(&view)?);
        let head = ledger.head();
        let parameters = &ledger.genesis().parameters;
        let period = schedule::period_of(parameters, head.height);
        let providers = query::providers(&view, None, ROWS)?;
        let rows = history::rows(ledger, POINTS)?;
        let body = html! {
            (show::tiles(&[
                ("Height", show::block(head.height)),
                ("Last block", show::moment(head.time)),
                ("Proving period", show::text(period)),
                ("Proven capacity", show::size(chain.capacity)),
                ("Messages waiting", show::text(ledger.pending())),
            ]))
            (charts(ledger, &rows))
            h2 { "Token" }
            (books(&supply))
            h2 { "Providers" }
            (provider_table(ledger, &providers))
            h2 { "Newest blocks" }
            (block_table(ledger, newest(ledger, head.height, 10)?))
        };
        Ok(("Overview".into(), body))
    })
    .await
}

fn charts(ledger: &Ledger, rows: &[(Height, history::Row)]) -> Markup {
    let series = |name, value: fn(&history::Row) -> u128| Series {
        name,
        values: rows.iter().map(|(_, row)| value(row)).collect(),
    };
    let ends = rows.first().zip(rows.last());
    let ends =
        ends.map(|((first, _), (last, _))| (format!("block {first}"), format!("block {last}")));
    let periods = history::by_period(&ledger.genesis().parameters, rows);
    let of_periods = |name, value: fn(&history::Period) -> u64| Series {
        name,
        values: periods.iter().map(|one| value(one).into()).collect(),
    };
    let period_ends = periods.first().zip(periods.last());
    let period_ends = period_ends.map(|(first, last)| {
        (
            format!("period {}", first.period),
            format!("period {}", last.period),
        )
    });
    html! {
        (bars(
            "Sectors at their deadlines, a bar a period",
            &[
                of_periods("proven", |one| one.proven),
                of_periods("missed", |one| one.missed),
            ],
            period_ends,
        ))
        (lines(
            "Proven capacity, a point a deadline",
            &[series("capacity", |row| row.capacity.0.into())],
            ends.clone(),
            show::bytes,
        ))
        (lines(
            "Where the tokens are, a point a deadline",
            &[
                series("collateral", |row| row.supply.collateral.0),
                series("escrow", |row| row.supply.escrow.0),
                series("burnt", |row| row.supply.burnt.0),
            ],
            ends,
            |grains| Amount(grains).to_string(),
        ))
    }
}

fn books(supply: &Supply) -> Markup {
    html! {
        (show::tiles(&[
            ("Minted", show::amount(supply.minted)),
            ("Burnt", show::amount(supply.burnt)),
            ("In accounts", show::amount(supply.balances)),
            ("In collateral", show::amount(supply.collateral)),
            ("In escrow", show::amount(supply.escrow)),
            ("At stake", show::amount(supply.stake)),
        ]))
        p.quiet {
            @if supply.balances_out() {
                "The books balance: accounts, collateral, escrow and what was burnt make what was minted."
            } @else {
                strong.bad { "The books do not balance." }
            }
        }
    }
}

fn provider_table(ledger: &Ledger, providers: &[Provider]) -> Markup {
    let rows = providers
        .iter()
        .map(|one| {
            vec![
                show::provider(one.id),
                show::account(ledger, &one.owner),
                show::amount(one.collateral),
                show::text(one.record.proven),
                show::text(one.record.missed),
                show::amount(one.record.rewarded),
                show::amount(one.record.paid),
                show::amount(one.record.fined),
            ]
        })
        .collect();
    let head = [
        "Provider",
        "Owner",
        "Collateral",
        "Deadlines proven",
        "Deadlines missed",
        "Rewarded",
        "Paid",
        "Fined",
    ];
    show::table(&head, rows, "No provider has registered yet.")
}

fn newest(ledger: &Ledger, head: Height, count: u64) -> Result<Vec<CertifiedBlock>, Failure> {
    let from = head.before(Blocks(count.saturating_sub(1)));
    let mut blocks = ledger.blocks(from..=head)?;
    blocks.reverse();
    Ok(blocks)
}

fn block_table(ledger: &Ledger, blocks: Vec<CertifiedBlock>) -> Markup {
    let rows = blocks
        .iter()
        .map(|one| {
            let header = &one.block.header;
            vec![
                show::block(header.height),
                show::moment(header.time),
                show::text(one.block.messages.len()),
                show::account(ledger, &header.builder),
            ]
        })
        .collect();
    let head = ["Height", "Time", "Messages", "Builder"];
    show::table(&head, rows, "There are no blocks yet.")
}

/// Where a list goes on.
#[derive(Deserialize)]
pub struct From {
    before: Option<String>,
    after: Option<String>,
}

type Asked = Result<Query<From>, QueryRejection>;

pub async fn blocks(State(shared): State<Shared>, asked: Asked) -> Response {
    page(shared, |ledger| {
        let Query(asked) = asked?;
        let head = ledger.head().height;
        let last = match asked.before {
            Some(before) => parse::<Height>("height", &before)?
                .before(Blocks(1))
                .min(head),
            None => head,
        };
        let blocks = newest(ledger, last, ROWS as u64)?;
        let first = blocks.last().map(|one| one.block.header.height);
        let body = html! {
            (block_table(ledger, blocks))
            @if let Some(first) = first.filter(|first| *first > Height(1)) {
                p { a href=(format!("/blocks?before={first}")) { "Older blocks" } }
            }
        };
        Ok(("Blocks".into(), body))
    })
    .await
}

pub async fn block(State(shared): State<Shared>, Path(height): Path<String>) -> Response {
    page(shared, move |ledger| {
        let height: Height = parse("height", &height)?;
        let missing = || Failure::not_found(format!("There is no block at height {height} yet"));
        let certified = ledger.store().block(height)?.ok_or_else(missing)?;
        let outcomes = ledger.store().outcomes(height)?.unwrap_or_default();
        let header = &certified.block.header;
        let rows = certified
            .block
            .messages
            .iter()
            .zip(&outcomes)
            .map(|(message, outcome)| {
                vec![
                    html! { code title=(outcome.message) { (show::short(&outcome.message)) } },
                    show::account(ledger, &message.message.sender),
                    describe(ledger, &message.message.body),
                    show::amount(message.message.fee),
                    match &outcome.result {
                        OutcomeResult::Done => html! { "done" },
                        OutcomeResult::Refused(reason) => html! { span.bad { (reason) } },
                    },
                ]
            })
            .collect();
        let head = ["Message", "Sender", "What", "Fee", "Outcome"];
        let body = html! {
            (show::tiles(&[
                ("Time", show::moment(header.time)),
                ("Builder", show::account(ledger, &header.builder)),
                ("Block before", html! { code title=(header.parent) { (show::short(&header.parent)) } }),
                ("State root before it", html! { code title=(header.state_root) { (show::short(&header.state_root)) } }),
            ]))
            h2 { "Messages" }
            (show::table(&head, rows, "This block carries no messages."))
        };
        Ok((format!("Block {height}"), body))
    })
    .await
}

pub async fn providers(State(shared): State<Shared>, asked: Asked) -> Response {
    page(shared, |ledger| {
        let Query(asked) = asked?;
        let after: Option<ProviderId> = asked
            .after
            .map(|after| parse("provider", &after))
            .transpose()?;
        let providers = query::providers(&ledger.view(), after, ROWS)?;
        let last = providers.last().map(|one| one.id);
        let body = html! {
            (provider_table(ledger, &providers))
            @if let Some(last) = last.filter(|_| providers.len() == ROWS) {
                p { a href=(format!("/providers?after={last}")) { "More providers" } }
            }
        };
        Ok(("Providers".into(), body))
    })
    .await
}

pub async fn provider(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    page(shared, move |ledger| {
        let id: ProviderId = parse("provider", &id)?;
        let view = ledger.view();
        let missing = || Failure::not_found(format!("There is no provider {id}"));
        let one = query::provider(&view, id)?.ok_or_else(missing)?;
        let sectors = listing::sectors(&view, id, None, ROWS)?;
        let deals = listing::deals_of(&view, id, None, ROWS)?;
        let vesting = one
            .vesting
            .iter()
            .try_fold(Amount::ZERO, |sum, part| sum.checked_add(part.amount));
        let body = html! {
            (show::tiles(&[
                ("Owner", show::account(ledger, &one.owner)),
                ("Worker", show::account(ledger, &one.worker)),
                ("End point", show::text(&one.offer.endpoint)),
                ("Price a GiB and period", show::amount(one.offer.price)),
                ("Collateral", show::amount(one.collateral)),
                ("Locked of it", show::amount(one.locked)),
                ("Rewards that vest", show::amount(vesting.unwrap_or(Amount::ZERO))),
                ("Since block", show::block(one.since)),
                ("Leaving since", one.retiring.map_or_else(|| show::text("not leaving"), show::block)),
            ]))
            h2 { "Record" }
            (show::tiles(&[
                ("Sectors proven at a deadline", show::text(one.record.proven)),
                ("Deadlines missed", show::text(one.record.missed)),
                ("Promises broken", show::text(one.record.broken)),
                ("Frauds shown", show::text(one.record.frauds)),
                ("Rewarded", show::amount(one.record.rewarded)),
                ("Paid out of escrow", show::amount(one.record.paid)),
                ("Fined", show::amount(one.record.fined)),
            ]))
            h2 { "Sectors" }
            (sector_table(&sectors))
            h2 { "Deals" }
            (deals_of_provider(&deals))
        };
        Ok((format!("Provider {id}"), body))
    })
    .await
}

fn sector_table(sectors: &[Sector]) -> Markup {
    let rows = sectors
        .iter()
        .map(|one| {
            vec![
                sector_link(one.id),
                show::text(show::bytes(one.class.bytes().into())),
                show::sector_status(&one.status),
                show::text(one.groups.len()),
                show::text(
                    one.proven
                        .map_or("never".into(), |period| period.to_string()),
                ),
            ]
        })
        .collect();
    let head = [
        "Sector",
        "Size",
        "State",
        "Groups in use",
        "Last proven in period",
    ];
    show::table(&head, rows, "This provider has no sectors yet.")
}

fn deals_of_provider(deals: &[(DealId, Deal)]) -> Markup {
    let rows = deals
        .iter()
        .map(|(id, deal)| {
            vec![
                show::pack(&id.pack),
                show::text(id.shard),
                show::size(deal.length),
                show::deal_status(&deal.status),
                show::text(deal.paid),
            ]
        })
        .collect();
    let head = ["Pack", "Shard", "Bytes", "State", "Periods paid"];
    show::table(&head, rows, "This provider has no deals yet.")
}

pub async fn sector(
    State(shared): State<Shared>,
    Path((provider, number)): Path<(String, String)>,
) -> Response {
    page(shared, move |ledger| {
        let id = SectorId {
            provider: parse("provider", &provider)?,
            number: parse("sector number", &number)?,
        };
        let missing = || Failure::not_found(format!("There is no sector {id}"));
        let one = query::sector(&ledger.view(), id)?.ok_or_else(missing)?;
        let body = html! {
            (show::tiles(&[
                ("Provider", show::provider(id.provider)),
                ("Size", show::text(show::bytes(one.class.bytes().into()))),
                ("State", show::sector_status(&one.status)),
                ("Proven at deadline", show::text(one.deadline)),
                ("Faulty periods in a row", show::text(one.faults)),
                ("Collateral locked for it", show::amount(one.locked)),
            ]))
            h2 { "Roots" }
            (show::table(&["Of", "Root"], vec![
                vec![html! { "keys" }, html! { code { (one.key_root) } }],
                vec![html! { "replica" }, html! { code { (one.replica_root) } }],
            ], ""))
            h2 { "Pieces" }
            (show::table(&["Group", "Shard", "Subtree", "From unit"], one.groups.iter().flat_map(|group| {
                group.subtrees.iter().map(move |placed| vec![
                    html! { (format!("{:?}", group.group)) },
                    deal_link(&placed.deal),
                    show::text(placed.subtree),
                    show::text(placed.unit),
                ])
            }).collect(), match one.status {
                SectorStatus::Active { .. } | SectorStatus::Faulty { .. } => "It holds no data: its capacity is proven empty.",
                SectorStatus::PreCommitted { .. } | SectorStatus::Terminated { .. } => "It holds no data.",
            }))
        };
        Ok((format!("Sector {id}"), body))
    })
    .await
}

pub async fn deal_sets(State(shared): State<Shared>, asked: Asked) -> Response {
    page(shared, |ledger| {
        let Query(asked) = asked?;
        let after: Option<PackId> = asked
            .after
            .map(|after| parse("pack id", &after))
            .transpose()?;
        let sets = listing::deal_sets(&ledger.view(), after, ROWS)?;
        let last = sets.last().map(|one| one.id);
        let rows = sets
            .iter()
            .map(|one| {
                vec![
                    show::pack(&one.id),
                    show::account(ledger, &one.proposal.pack.owner),
                    show::size(one.proposal.pack.length),
                    show::text(format!(
                        "{} of {}",
                        one.proposal.pack.k, one.proposal.pack.n
                    )),
                    show::text(proven(one)),
                    show::block(one.at),
                ]
            })
            .collect();
        let head = [
            "Pack",
            "Owner",
            "Bytes",
            "Code",
            "Shards proven",
            "Since block",
        ];
        let body = html! {
            (show::table(&head, rows, "Nothing is stored yet."))
            @if let Some(last) = last.filter(|_| sets.len() == ROWS) {
                p { a href=(format!("/deal-sets?after={last}")) { "More deal sets" } }
            }
        };
        Ok(("Deal sets".into(), body))
    })
    .await
}

fn proven(set: &DealSet) -> usize {
    use holdfast_market_core::state::DealStatus::Proven;
    let is_proven = |deal: &&Deal| matches!(deal.status, Proven { .. });
    set.deals.iter().filter(is_proven).count()
}

pub async fn deal_set(State(shared): State<Shared>, Path(pack): Path<String>) -> Response {
    page(shared, move |ledger| {
        let pack: PackId = parse("pack id", &pack)?;
        let missing = || Failure::not_found(format!("There is no deal set {pack}"));
        let one = query::deal_set(&ledger.view(), &pack)?.ok_or_else(missing)?;
        let rows = one
            .deals
            .iter()
            .enumerate()
            .map(|(index, deal)| {
                let shard = ShardIndex(u8::try_from(index).unwrap_or(u8::MAX));
                vec![
                    show::text(shard),
                    show::provider(deal.provider),
                    show::deal_status(&deal.status),
                    match deal.sector {
                        Some(number) => sector_link(SectorId { provider: deal.provider, number }),
                        None => html! { "none" },
                    },
                    show::text(deal.paid),
                    show::amount(deal.escrow),
                ]
            })
            .collect();
        let head = ["Shard", "Provider", "State", "Sector", "Periods paid", "Escrow left"];
        let body = html! {
            p { "Pack " code { (pack) } }
            (show::tiles(&[
                ("Owner", show::account(ledger, &one.proposal.pack.owner)),
                ("Bytes (encrypted)", show::size(one.proposal.pack.length)),
                ("Shards that suffice", show::text(format!("{} of {}", one.proposal.pack.k, one.proposal.pack.n))),
                ("Bytes a shard", show::size(one.proposal.pack.shard_length)),
                ("Repair budget left", show::amount(one.repair_budget)),
                ("Since block", show::block(one.at)),
            ]))
            h2 { "Shards" }
            (show::table(&head, rows, ""))
        };
        Ok((format!("Deal set {}", show::short(&pack)), body))
    })
    .await
}

pub async fn account(State(shared): State<Shared>, Path(address): Path<String>) -> Response {
    page(shared, move |ledger| {
        let address: Address = parse("address", &address)?;
        let view = ledger.view();
        let account = query::account(&view, &address)?;
        let sets = listing::deal_sets_of(&view, &address, None, ROWS)?;
        let rows = sets
            .iter()
            .map(|one| {
                vec![
                    show::pack(&one.id),
                    show::size(one.proposal.pack.length),
                    show::text(format!("{} of {}", proven(one), one.proposal.pack.n)),
                ]
            })
            .collect();
        let body = html! {
            p { code { (address.to_text(ledger.genesis().address_prefix())) } }
            (show::tiles(&[
                ("Balance", show::amount(account.balance)),
                ("Messages so far", show::text(account.nonce)),
            ]))
            h2 { "Deal sets" }
            (show::table(&["Pack", "Bytes", "Shards proven"], rows, "This account stores nothing."))
        };
        Ok(("Account".into(), body))
    })
    .await
}
