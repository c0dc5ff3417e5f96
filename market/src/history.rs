//! What the explorer's charts show: one row at the end of each deadline window. Derived from the
//! ledger, kept beside it, no part of its state.

use crate::ledger::{Ledger, LedgerError};
use holdfast_market_core::message::{decode, encode};
use holdfast_market_core::query;
use holdfast_market_core::state::Supply;
use holdfast_market_core::units::{ByteCount, Height};
use serde::{Deserialize, Serialize};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Bytes of sectors that are proven, or held to be.
    pub capacity: ByteCount,
    /// The token's books.
    pub supply: Supply,
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
    let row = Row {
        capacity: query::chain(&view)?.capacity,
        supply: query::supply(&view)?,
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
