//! The whole ledger, from the genesis to where it stands.

use super::{Place, progress, report, told};
use crate::output::{CommandError, Output, Table, bytes};
use holdfast_market::audit::bundle::Bundle;
use holdfast_market::audit::{Audit, Options, ProofFigures, Source, audit_with};
use holdfast_wire::network::NetworkFolder;
use std::path::{Path, PathBuf};

/// The file in a network's folder in which an audit keeps where it stands.
const CHECKPOINT_FILE: &str = "audit.checkpoint";

/// What is audited, and what is made of it.
#[derive(clap::Args)]
pub struct WholeArgs {
    /// The network's folder; its genesis is all that the audit trusts.
    #[arg(long, env = "HOLDFAST_NETWORK", required_unless_present = "bundle")]
    network: Option<PathBuf>,
    /// Read a market's data folder instead of its API.
    #[arg(long, value_name = "DIR", conflicts_with = "api")]
    ledger: Option<PathBuf>,
    /// Read this API instead of the one that the network's folder names.
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Read this bundle, and neither network nor ledger.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "api"])]
    bundle: Option<PathBuf>,
    /// The id of the network that the bundle must be of; its genesis is the bundle's own otherwise.
    #[arg(long, value_name = "HEX", requires = "bundle")]
    genesis_id: Option<String>,
    /// Go on where an audit that was interrupted stood, and keep where this one stands: in FILE, by
    /// default `audit.checkpoint` in the network's folder or beside the bundle.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
    /// Write a signed report here.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The auditor's key, made where it is not there: a phrase as a wallet's, by default
    /// `auditor.key` beside the report.
    #[arg(long, value_name = "FILE", requires = "report")]
    key: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: WholeArgs, output: &Output) -> Result<(), CommandError> {
    let (genesis, keys, source, home, name) = match (&args.bundle, &args.network) {
        (Some(path), folder) => {
            let bundle = Bundle::open(path)?;
            let network = bundle.head().network.to_string();
            // A folder that is named says which network is trusted, as the id does.
            let trusted = folder.as_deref().map(NetworkFolder::open).transpose()?;
            let trusted = trusted.map(|folder| folder.network().to_string());
            let named = args.genesis_id.clone().into_iter().chain(trusted);
            if let Some(wanted) = named.into_iter().find(|id| *id != network) {
                return Err(CommandError::failed(
                    format!("the bundle is of network {network}, not of {wanted}"),
                    "get a bundle of the network that you trust",
                ));
            }
            (
                bundle.genesis().clone(),
                bundle.verifying_keys().clone(),
                Source::Bundle(Box::new(bundle)),
                None,
                format!("the bundle {}", path.display()),
            )
        }
        (None, Some(network)) => {
            let place = Place {
                network: network.clone(),
                ledger: args.ledger.clone(),
                api: args.api.clone(),
            };
            let (folder, source) = place.open()?;
            let name = match &source {
                Source::Api(client) => format!("the API at {}", client.api()),
                _ => {
                    let ledger = args.ledger.as_deref().unwrap_or(Path::new(""));
                    format!("the folder {}", ledger.display())
                }
            };
            let keys = super::super::verifying_keys(&folder)?;
            (
                folder.genesis().clone(),
                keys,
                source,
                Some(network.clone()),
                name,
            )
        }
        (None, None) => {
            return Err(CommandError::failed(
                "nothing says which ledger to audit",
                "give --network FOLDER or --bundle FILE",
            ));
        }
    };
    // What lies beside a bundle came with it, and is nobody's word.
    let checkpoint = match (args.resume, home) {
        (None, _) => None,
        (Some(Some(file)), _) => Some(file),
        (Some(None), Some(home)) => Some(home.join(CHECKPOINT_FILE)),
        (Some(None), None) => {
            return Err(CommandError::failed(
                "with a bundle, --resume needs the checkpoint's file: what lies beside a bundle came with it",
                "give --resume FILE, a checkpoint that an audit of yours has written",
            ));
        }
    };
    // Before the work: a key that cannot be had makes no report.
    let auditor = match &args.report {
        Some(path) => Some((path, report::auditor(path, args.key.as_deref())?)),
        None => None,
    };
    let (bar, watch) = progress("audit")?;
    let options = Options {
        checkpoint,
        ..Options::default()
    };
    let result = audit_with(&genesis, &keys, &source, options, watch).await;
    bar.finish_and_clear();
    let (held, _) = result.map_err(told)?;
    let written = match auditor {
        Some((path, key)) => Some(report::write(&held, name, &key, path)?),
        None => None,
    };
    output.result(&held, |held| {
        let mut text = describe(held);
        if let (Some(_), None) = (&args.bundle, &args.genesis_id) {
            text.push_str(&format!(
                "\nThe genesis is the bundle's own: compare the network's id, {}, with one that you trust.",
                held.network
            ));
        }
        if let Some(written) = written {
            text.push('\n');
            text.push_str(&written);
        }
        text
    })
}

fn describe(held: &Audit) -> String {
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
    let from = held.resumed_after.map_or_else(
        || "from the genesis".into(),
        |height| format!("from block {} (that those before hold is taken from the checkpoint, so the report is as good as that file)", height.0.saturating_add(1)),
    );
    let mut text = format!(
        "Everything holds, {from} to block {}.\n\
         {} messages done, {} refused; every signature, root and certificate checked in {:.1} s.\n\
         {proofs}\n\
         Verified in {}.\n\
         Tokens: {} minted = {} in accounts + {} in collateral + {} in escrow + {} at stake + {} burnt.\n\
         State root {}: the ledger says the same.",
        held.height,
        held.done,
        held.refused,
        held.seconds,
        held.verifier,
        supply.minted,
        supply.balances,
        supply.collateral,
        supply.escrow,
        supply.stake,
        supply.burnt,
        held.state_root,
    );
    for binds in &held.binds {
        text.push_str("\nShown: ");
        text.push_str(binds);
    }
    for limit in &held.limits {
        text.push_str("\nNot shown: ");
        text.push_str(limit);
    }
    text
}
