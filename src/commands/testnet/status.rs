//! A testnet as text.

use crate::output::{Table, bytes};
use holdfast_testnet::{LedgerView, ProviderView, TestnetView};

/// The processes, and what the ledger says.
pub(super) fn text(view: &TestnetView) -> String {
    let mut table = Table::new(["process", "pid", "port", "peak memory", "log"]);
    for process in &view.processes {
        table.row([
            process.name.clone(),
            process
                .pid
                .map_or_else(|| "not running".into(), |pid| pid.to_string()),
            process.port.to_string(),
            process.peak_memory.map_or_else(|| "-".into(), bytes),
            process.log.display().to_string(),
        ]);
    }
    let head = format!("network {} at {}\n{table}", view.network, view.api);
    match &view.ledger {
        None => format!("{head}\nthe market does not answer"),
        Some(ledger) => format!("{head}\n\n{}", ledger_text(ledger)),
    }
}

fn ledger_text(ledger: &LedgerView) -> String {
    let mut table = Table::new([
        "provider",
        "node",
        "sectors",
        "proven",
        "missed",
        "collateral",
        "earned",
        "fined",
    ]);
    for provider in &ledger.providers {
        table.row([
            provider.id.to_string(),
            provider.name.clone().unwrap_or_else(|| "-".into()),
            sectors(provider),
            provider.proven.to_string(),
            provider.missed.to_string(),
            provider.collateral.to_string(),
            format!("{} + {}", provider.rewarded, provider.paid),
            provider.fined.to_string(),
        ]);
    }
    let mut text = format!(
        "block {}; the wallet {} has {}; {} deals\n{table}",
        ledger.height,
        ledger.wallet.address,
        ledger.wallet.balance,
        ledger.deals().count(),
    );
    if ledger.providers.is_empty() {
        text.push_str("\nno provider has registered yet");
    }
    text
}

fn sectors(provider: &ProviderView) -> String {
    let states: Vec<_> = provider
        .sectors
        .iter()
        .map(|sector| {
            let embedding = if sector.embedding { ", embedding" } else { "" };
            format!("{}: {}{embedding}", sector.number, sector.state)
        })
        .collect();
    if states.is_empty() {
        "none yet".into()
    } else {
        states.join("; ")
    }
}
