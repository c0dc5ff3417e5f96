//! How the explorer writes things: the frame of a page, sizes, times, states in plain words.

use crate::current::Current;
use crate::ledger::Ledger;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use holdfast_market_core::state::{DealStatus, SectorStatus};
use holdfast_market_core::units::{Address, Amount, ByteCount, Height, PackId, ProviderId};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--quiet:#5f6b76;--paper:#fbfaf7;--card:#fff;--rule:#dcdfe3;--a:#0b63ce;--b:#b4540a;--c:#4a8a2a;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--quiet:#9aa5b1;--paper:#14171a;--card:#1c2125;--rule:#333a41;--a:#6fb0ff;--b:#f0a35e;--c:#8fd06a;--bad:#ff8a80}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
header,main,footer{max-width:64rem;margin:0 auto;padding:.75rem 1rem}header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;border-bottom:1px solid var(--rule)}\
header strong{font-size:1.1rem}a{color:var(--a)}h1{font-size:1.4rem;overflow-wrap:anywhere;margin:.75rem 0}h2{font-size:1.1rem;margin:1.5rem 0 .5rem}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.5rem;padding:0;list-style:none}\
.tiles li{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .75rem}.tiles li>span{display:block;color:var(--quiet);font-size:.85rem}.tiles b{overflow-wrap:anywhere}.tiles .n{white-space:normal}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}\
th{color:var(--quiet);font-weight:600;white-space:nowrap}.n,td time{font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:.85em;overflow-wrap:anywhere}\
.quiet{color:var(--quiet)}.bad{color:var(--bad)}figure{margin:1rem 0;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.75rem}figcaption{font-weight:600}\
svg{width:100%;height:10rem;display:block}.axis{stroke:var(--rule)}.line{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}\
.line-0{stroke:var(--a)}.line-1{stroke:var(--b)}.line-2{stroke:var(--c)}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.3em}\
.bar-0{fill:var(--a)}.bar-1{fill:var(--bad)}.ends{display:flex;justify-content:space-between;gap:1rem;margin:.25rem 0 0;font-size:.85rem}.legend span{margin-right:.25rem}.bars .key-1{background:var(--bad)}\
@media(max-width:40rem){thead{display:none}table,tbody,tr{display:block}tr{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.25rem .75rem;margin:0 0 .5rem}\
td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.15rem 0;text-align:right}td::before{content:attr(data-label);color:var(--quiet);text-align:left;flex:none}td>*{min-width:0}}\
.key-0{background:var(--a)}.key-1{background:var(--b)}.key-2{background:var(--c)}.legend{margin:.25rem 0 0;font-size:.9rem}";

/// A whole page. Nothing is loaded from anywhere, and no script runs.
pub fn page(current: &Current, title: &str, body: Markup) -> Response {
    let name = &current.genesis().name;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Holdfast " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    strong { "Holdfast" } span.quiet { (name) }
                    nav {
                        a href="/" { "Overview" } " · "
                        a href="/blocks" { "Blocks" } " · "
                        a href="/providers" { "Providers" } " · "
                        a href="/deal-sets" { "Deals" }
                    }
                }
                main { h1 { (title) } (body) }
                footer.quiet {
                    "Network " code { (current.network()) }
                }
            }
        }
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, markup).into_response()
}

/// A list of named figures.
pub fn tiles(figures: &[(&str, Markup)]) -> Markup {
    html! {
        ul.tiles {
            @for (name, value) in figures {
                li { span { (name) } b { (value) } }
            }
        }
    }
}

/// A table in a box that scrolls by itself. Where the screen is narrow each row becomes a card, so
/// that nothing of it lies outside.
pub fn table(head: &[&str], rows: Vec<Vec<Markup>>, nothing: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p.quiet { (nothing) }
        } @else {
            div.wide {
                table {
                    thead { tr { @for name in head { th { (name) } } } }
                    tbody {
                        @for row in rows {
                            tr {
                                @for (name, cell) in head.iter().zip(row) {
                                    td data-label=(name) { div { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Text as a cell.
pub fn text(value: impl std::fmt::Display) -> Markup {
    html! { (value.to_string()) }
}

/// `12.0 MiB`.
pub fn bytes(count: u128) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = "B";
    let mut tenths = count.saturating_mul(10);
    for larger in UNITS.into_iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match unit {
        "B" => format!("{count} B"),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// A size as a cell.
pub fn size(count: ByteCount) -> Markup {
    text(bytes(count.0.into()))
}

/// An amount as a cell.
pub fn amount(amount: Amount) -> Markup {
    html! { span.n { (amount.to_string()) } }
}

/// Minutes and seconds since the Unix epoch, in UTC, as people write them.
pub fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of so many days after 1970-01-01 (the proleptic Gregorian calendar, counted
/// in eras of 400 years that begin in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A block's time as a cell.
pub fn moment(milliseconds: u64) -> Markup {
    html! { time { (time(milliseconds)) } }
}

/// `1 sector`, `3 sectors`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// The first digits of a long name; the whole one is in the link.
pub fn short(name: &impl std::fmt::Display) -> String {
    let whole = name.to_string();
    let first: String = whole.chars().take(12).collect();
    format!("{first}…")
}

/// A link to an account.
pub fn account(ledger: &Ledger, address: &Address) -> Markup {
    let text = address.to_text(ledger.genesis().address_prefix());
    html! { a href=(format!("/accounts/{address}")) title=(text) { code { (text.chars().take(16).collect::<String>()) "…" } } }
}

/// A link to a provider.
pub fn provider(id: ProviderId) -> Markup {
    html! { a href=(format!("/providers/{id}")) { "provider " (id.to_string()) } }
}

/// A link to a deal set.
pub fn pack(id: &PackId) -> Markup {
    html! { a href=(format!("/deal-sets/{id}")) { code { (short(id)) } } }
}

/// A link to a block.
pub fn block(height: Height) -> Markup {
    html! { a href=(format!("/blocks/{height}")) { (height.to_string()) } }
}

/// A sector's state in words.
pub fn sector_status(status: &SectorStatus) -> Markup {
    match status {
        SectorStatus::PreCommitted { at, .. } => {
            html! { "sealed, its proof is due (committed at " (block(*at)) ")" }
        }
        SectorStatus::Active { from } => {
            html! { "proven, earning from period " (from.to_string()) }
        }
        SectorStatus::Faulty { recovering: true } => html! { span.bad { "faulty, recovering" } },
        SectorStatus::Faulty { recovering: false } => html! { span.bad { "faulty" } },
        SectorStatus::Terminated { at } => {
            html! { span.bad { "terminated at " (block(*at)) } }
        }
    }
}

/// A deal's state in words.
pub fn deal_status(status: &DealStatus) -> Markup {
    match status {
        DealStatus::Proposed => html! { "stored, not accepted yet" },
        DealStatus::Accepted => html! { "accepted, not proven yet" },
        DealStatus::Proven { from, .. } => html! { "proven, paid from period " (from.to_string()) },
        DealStatus::Expired => html! { "over" },
        DealStatus::Cancelled => html! { "cancelled" },
        DealStatus::Broken { claimed } => {
            html! { span.bad { "promise broken" @if *claimed { ", claimed" } } }
        }
        DealStatus::Failed { reason } => html! { span.bad { (reason) } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_people_write_them() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_827_696_000), "2000-02-29 12:34:56 UTC");
        assert_eq!(time(1_709_164_800_000), "2024-02-29 00:00:00 UTC");
        assert_eq!(time(4_102_444_799_000), "2099-12-31 23:59:59 UTC");
        assert!(!time(u64::MAX).is_empty());
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(8 << 20), "8.0 MiB");
        assert_eq!(bytes(1536 << 30), "1.5 TiB");
        assert!(bytes(u128::MAX).ends_with("PiB"));
    }

    #[test]
    fn a_cell_says_its_column_where_the_head_is_not_shown() {
        let shown = table(&["Size"], vec![vec![text("8.0 MiB")]], "").into_string();
        assert!(shown.contains(r#"<td data-label="Size"><div>8.0 MiB</div></td>"#));
        assert_eq!(
            table(&["Size"], Vec::new(), "Nothing.")
                .into_string()
                .matches("<table")
                .count(),
            0
        );
        assert_eq!(
            (count(1, "proof"), count(0, "proof")),
            ("1 proof".into(), "0 proofs".into())
        );
    }

    #[test]
    fn what_a_stranger_wrote_is_escaped() {
        let reason = "<script>alert(1)</script>".into();
        let shown = deal_status(&DealStatus::Failed { reason }).into_string();
        assert!(shown.contains("&lt;script&gt;"));
        assert!(!shown.contains("<script"));
    }
}
