//! `holdfast audit`: a ledger checked from its genesis on, by this process alone.

use crate::output::{CommandError, Output, Table, bytes};
use holdfast_market::audit::{Audit, AuditError, Progress, ProofFigures, Source, audit};
use holdfast_market::store::Store;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::network::NetworkFolder;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;

/// Check a ledger from its genesis on: every signature, block, proof and token again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast audit --network FOLDER\n  holdfast audit --network FOLDER --ledger DIR\n\nExits 0 only if everything holds; otherwise it names the first block or message that does not."
)]
pub struct AuditArgs {
    /// The network's folder; its genesis is all that the audit trusts.
    #[arg(long, env = "HOLDFAST_NETWORK")]
    network: PathBuf,
    /// Read a market's data folder instead of its API.
    #[arg(long, value_name = "DIR", conflicts_with = "api")]
    ledger: Option<PathBuf>,
    /// Read this API instead of the one that the network's folder names.
    #[arg(long, value_name = "URL")]
    api: Option<String>,
}

/// Runs the command.
pub async fn run(args: AuditArgs, output: &Output) -> Result<(), CommandError> {
    let folder = NetworkFolder::open(&args.network)?;
    let source = match args.ledger {
        Some(ledger) => Source::Folder(Box::new(Store::open_read_only(&ledger, folder.network())?)),
        None => Source::Api(LedgerClient::new(
            args.api.as_deref().unwrap_or(folder.api()),
        )?),
    };
    let keys = super::verifying_keys(&folder)?;
    // Hidden by indicatif where stderr is no terminal.
    let bar = ProgressBar::new(0).with_style(style()?);
    let shown = bar.clone();
    let watch = Arc::new(move |progress: Progress| {
        shown.set_length(progress.head.0);
        shown.set_position(progress.height.0);
        shown.set_message(format!("{} proofs", progress.proofs));
    });
    let result = audit(folder.genesis(), &keys, source, watch).await;
    bar.finish_and_clear();
    match result {
        Ok(held) => output.result(&held, report),
        Err(AuditError::Finding(finding)) => {
            let message = finding
                .message
                .map_or_else(String::new, |id| format!(", message {id}"));
            Err(CommandError::failed(
                format!(
                    "the ledger does not hold at block {}{message}: {}",
                    finding.height, finding.reason
                ),
                "do not rely on this ledger; compare it with another market's",
            ))
        }
        Err(other) => Err(other.into()),
    }
}

fn style() -> Result<ProgressStyle, CommandError> {
    Ok(ProgressStyle::with_template(
        "audit {bar:30} block {pos} of {len}, {msg}",
    )?)
}

fn report(held: &Audit) -> String {
    let mut proofs = Table::new(["proofs", "verified", "bytes", "seconds"]);
    let kinds: [(&str, &ProofFigures); 3] = [
        ("seal", &held.proofs.seal),
        ("embed", &held.proofs.embed),
        ("spacetime", &held.proofs.spacetime),
    ];
    for (kind, figures) in kinds {
        proofs.row([
            kind.to_string(),
            figures.count.to_string(),
            bytes(figures.bytes),
            format!("{:.2}", figures.seconds),
        ]);
    }
    let supply = &held.supply;
    let mut text = format!(
        "Everything holds, from the genesis to block {}.\n\
         {} messages done, {} refused; every signature, root and certificate checked in {:.1} s.\n\
         {proofs}\n\
         Tokens: {} minted = {} in accounts + {} in collateral + {} in escrow + {} at stake + {} burnt.\n\
         State root {}: the ledger says the same.",
        held.height,
        held.done,
        held.refused,
        held.seconds,
        supply.minted,
        supply.balances,
        supply.collateral,
        supply.escrow,
        supply.stake,
        supply.burnt,
        held.state_root,
    );
    for limit in &held.limits {
        text.push_str("\nNot shown: ");
        text.push_str(limit);
    }
    text
}
