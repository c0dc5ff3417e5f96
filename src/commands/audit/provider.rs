//! One provider's or sector's history.

use super::{Place, progress, told};
use crate::output::{CommandError, Output, Table};
use holdfast_market::audit::{Audit, Options, audit_with};
use holdfast_market_core::audit::{History, Mark, PeriodMark, Subject, What};
use holdfast_market_core::units::{ProviderId, SectorNumber};
use serde::Serialize;

/// Periods on a line of the chart.
const LINE: usize = 60;

/// Show what a provider, or one of its sectors, has proven and missed: the chain is replayed and
/// each proof is verified again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast audit provider 3 --network FOLDER\n  holdfast audit provider 3 --sector 0 --network FOLDER --ledger DIR"
)]
pub struct ProviderArgs {
    /// The provider's number.
    provider: u64,
    /// One of its sectors, instead of all.
    #[arg(long)]
    sector: Option<u64>,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Shown {
    history: History,
    audit: Audit,
}

/// Runs the command.
pub(super) async fn run(args: ProviderArgs, output: &Output) -> Result<(), CommandError> {
    let (folder, source) = args.place.open()?;
    let keys = super::super::verifying_keys(&folder)?;
    let subject = Subject {
        provider: ProviderId(args.provider),
        sector: args.sector.map(SectorNumber),
    };
    let (bar, watch) = progress("audit")?;
    let options = Options {
        subject: Some(subject),
        ..Options::default()
    };
    let result = audit_with(folder.genesis(), &keys, &source, options, watch).await;
    bar.finish_and_clear();
    let (audit, history) = result.map_err(told)?;
    let Some(history) = history else {
        let what = match args.sector {
            Some(sector) => format!("sector {}/{sector}", args.provider),
            None => format!("provider {}", args.provider),
        };
        return Err(CommandError::not_found(
            format!("the ledger has no {what} up to block {}", audit.height),
            "the explorer lists the providers",
        ));
    };
    output.result(&Shown { history, audit }, describe)
}

fn describe(shown: &Shown) -> String {
    let history = &shown.history;
    let mut table = Table::new(["block", "what", "sectors", "proofs", "result"]);
    for event in &history.events {
        let (what, sectors, proofs, result) = match &event.what {
            What::Message {
                kind,
                sectors,
                proofs,
                refused,
                ..
            } => {
                let sectors: Vec<_> = sectors.iter().map(ToString::to_string).collect();
                let result = refused
                    .as_ref()
                    .map_or_else(|| "done".into(), |why| format!("refused: {why}"));
                (kind.clone(), sectors.join(","), proofs.to_string(), result)
            }
            What::Period {
                sector,
                period,
                mark,
                fined,
            } => {
                let what = match mark {
                    // The chart and the message say it.
                    Mark::Proven => continue,
                    Mark::Missed => format!("missed period {period}"),
                    Mark::Declared => format!("declared fault in period {period}"),
                };
                (
                    what,
                    sector.to_string(),
                    String::new(),
                    format!("fined {fined}"),
                )
            }
            What::Status { sector, status } => (
                "now".into(),
                sector.to_string(),
                String::new(),
                status.clone(),
            ),
            What::Money {
                rewarded,
                paid,
                fined,
            } => (
                "books".into(),
                String::new(),
                String::new(),
                format!("rewarded {rewarded}, paid {paid}, fined {fined}"),
            ),
        };
        table.row([event.height.to_string(), what, sectors, proofs, result]);
    }
    let mut text = table.to_string();
    text.push_str("\n\nBy period: # proven, x missed, d declared or known, . not held to it.");
    for sector in &history.sectors {
        text.push_str(&format!(
            "\nsector {} ({}, {})\n{}",
            sector.sector,
            sector.class,
            sector.status,
            chart(&sector.periods)
        ));
    }
    let record = &history.provider.record;
    text.push_str(&format!(
        "\nIn all: {} deadlines proven, {} missed; rewarded {}, paid {}, fined {}.\n\
         The whole chain up to block {} was replayed for this, and holds; each proof was verified again in {}.",
        record.proven,
        record.missed,
        record.rewarded,
        record.paid,
        record.fined,
        shown.audit.height,
        shown.audit.verifier,
    ));
    for limit in &shown.audit.limits {
        text.push_str("\nNot shown: ");
        text.push_str(limit);
    }
    text
}

/// One letter a period, with the number of the first on each line.
fn chart(periods: &[PeriodMark]) -> String {
    let Some(first) = periods.first().map(|one| one.period.0) else {
        return "  no deadline of it was closed yet".into();
    };
    let mut letters = String::new();
    let mut next = first;
    for one in periods {
        while next < one.period.0 {
            letters.push('.');
            next = next.saturating_add(1);
        }
        letters.push(match one.mark {
            Mark::Proven => '#',
            Mark::Missed => 'x',
            Mark::Declared => 'd',
        });
        next = one.period.0.saturating_add(1);
    }
    let letters: Vec<char> = letters.chars().collect();
    let lines = (first..).step_by(LINE).zip(letters.chunks(LINE));
    let lines: Vec<String> = lines
        .map(|(number, line)| format!("  {number:>8} {}", line.iter().collect::<String>()))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_market_core::units::{Height, Period};

    #[test]
    fn a_chart_has_a_letter_for_each_period_and_a_dot_where_none_was_due() {
        let mark = |period, mark| PeriodMark {
            period: Period(period),
            mark,
            height: Height(9),
        };
        let periods = [
            mark(3, Mark::Proven),
            mark(4, Mark::Missed),
            mark(5, Mark::Declared),
            mark(7, Mark::Proven),
        ];
        assert_eq!(chart(&periods), "         3 #xd.#");
        let long: Vec<_> = (0..61).map(|period| mark(period, Mark::Proven)).collect();
        assert!(chart(&long).ends_with("\n        60 #"));
    }
}
