//! What the explorer's charts show: one row at the end of each deadline window. Derived from the
//! ledger, kept beside it, no part of its state.

use crate::ledger::{Ledger, LedgerError};
use holdfast_market_core::message::{decode, encode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::schedule;
use holdfast_market_core::state::Supply;
use holdfast_market_core::units::{self, ByteCount, Height};
use serde::{Deserialize, Serialize};

/// Providers that are read at once.
const PROVIDERS: usize = 1024;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Bytes of sectors that are proven, or held to be.
    pub capacity: ByteCount,
    /// The token's books.
    pub supply: Supply,
    /// Sectors that all providers have proven at a deadline, since the beginning.
    pub proven: u64,
    /// Sectors that missed one, since the beginning.
    pub missed: u64,
}

/// What a period's deadlines showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Which.
    pub period: units::Period,
    /// Sectors that were proven in it.
    pub proven: u64,
    /// Sectors that missed their deadline in it.
    pub missed: u64,
}

/// Keeps a row where `height` ends a deadline's window.
///
/// # Errors
/// The ledger cannot be read or the row not written.
pub fn record(ledger: &Ledger, height: Height) -> Result<(), LedgerError> {
    let window = ledger.genesis().parameters.deadline_blocks().0.max(1);
    if !height.0.is_multiple_of(window) {
        return Ok(());
    }
    let view = ledger.view();
    let (mut proven, mut missed) = (0u64, 0u64);
    let mut after = None;
    loop {
        let providers = query::providers(&view, after, PROVIDERS)?;
        for one in &providers {
            proven = proven.saturating_add(one.record.proven);
            missed = missed.saturating_add(one.record.missed);
        }
        after = providers.last().map(|one| one.id);
        if providers.len() < PROVIDERS {
            break;
        }
    }
    let row = Row {
        capacity: query::chain(&view)?.capacity,
        supply: query::supply(&view)?,
        proven,
        missed,
    };
    Ok(ledger.store().keep_history(height, &encode(&row)?)?)
}

/// The newest `count` rows, oldest first. A row that another version wrote is left out: a chart
/// does without it.
///
/// # Errors
/// The store fails.
pub fn rows(ledger: &Ledger, count: usize) -> Result<Vec<(Height, Row)>, LedgerError> {
    let rows = ledger.store().history(count)?;
    Ok(rows
        .into_iter()
        .filter_map(|(height, bytes)| Some((height, decode("row", &bytes).ok()?)))
        .collect())
}

/// What each period showed, oldest first, from rows in their order. The first row only says from
/// where the counts rise; a period that is not over shows what it has shown so far.
pub fn by_period(parameters: &Parameters, rows: &[(Height, Row)]) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    for pair in rows.windows(2) {
        let [(_, before), (height, row)] = pair else {
            continue;
        };
        let period = schedule::period_of(parameters, *height);
        let proven = row.proven.saturating_sub(before.proven);
        let missed = row.missed.saturating_sub(before.missed);
        match periods.last_mut().filter(|last| last.period == period) {
            Some(last) => {
                last.proven = last.proven.saturating_add(proven);
                last.missed = last.missed.saturating_add(missed);
            }
            None => periods.push(Period {
                period,
                proven,
                missed,
            }),
        }
    }
    periods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_deadlines_add_up_to_periods() {
        let row = |height, proven, missed| {
            let row = Row {
                capacity: ByteCount(0),
                supply: Supply::default(),
                proven,
                missed,
            };
            (Height(height), row)
        };
        let period = |period, proven, missed| Period {
            period: units::Period(period),
            proven,
            missed,
        };
        // Periods of 30 blocks, three deadlines each.
        let rows = [
            row(20, 7, 1),
            row(30, 9, 1),
            row(40, 9, 2),
            row(50, 12, 2),
            row(70, 12, 2),
        ];
        let parameters = Parameters::dev();
        let expected = [period(0, 2, 0), period(1, 3, 1), period(2, 0, 0)];
        assert_eq!(by_period(&parameters, &rows), expected);
        assert_eq!(by_period(&parameters, &[]), []);
    }
}
