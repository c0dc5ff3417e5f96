//! `holdfast audit`: a ledger, or a part of what it says, checked by this process alone.

mod drill;
mod export;
mod provider;
mod report;
mod whole;

use crate::output::{CommandError, Output};
use holdfast_market::audit::{AuditError, Progress, Source, Watch};
use holdfast_market::store::Store;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::network::NetworkFolder;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;

/// Check a ledger from its genesis on: every signature, block, proof and token again. Or one
/// receipt, one provider, a bundle, somebody's report.
#[derive(clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  holdfast audit --network FOLDER\n  holdfast audit --network FOLDER --ledger DIR --resume --report report.json\n  holdfast audit --bundle FILE --genesis-id HEX\n  holdfast audit receipt FILE --network FOLDER\n  holdfast audit provider 3 --network FOLDER\n  holdfast audit light --network FOLDER account thold1…\n  holdfast audit export FILE --network FOLDER\n  holdfast audit drill --network FOLDER\n\nExits 0 only if everything holds; otherwise it names the first block or message that does not."
)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    whole: whole::WholeArgs,
}

#[derive(clap::Subcommand)]
enum AuditCommand {
    /// Check an upload's receipt, offline: what providers signed, and that its deals are on the chain.
    #[command(after_help = "Example:\n  holdfast audit receipt FILE --network FOLDER")]
    Receipt {
        /// The receipt that `holdfast put` wrote.
        file: PathBuf,
        /// The network's folder; nobody is asked.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: PathBuf,
    },
    Light(super::light::LightArgs),
    Provider(provider::ProviderArgs),
    Export(export::ExportArgs),
    Drill(drill::DrillArgs),
    /// Check the signature of an auditor's report, and show what it says.
    #[command(after_help = "Example:\n  holdfast audit verify-report report.json")]
    VerifyReport {
        /// The report that `holdfast audit --report` wrote.
        file: PathBuf,
    },
}

/// Which ledger is read.
#[derive(clap::Args)]
struct Place {
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

impl Place {
    fn open(&self) -> Result<(NetworkFolder, Source), CommandError> {
        let folder = NetworkFolder::open(&self.network)?;
        let source = match &self.ledger {
            Some(ledger) => {
                Source::Folder(Box::new(Store::open_read_only(ledger, folder.network())?))
            }
            None => Source::Api(LedgerClient::new(
                self.api.as_deref().unwrap_or(folder.api()),
            )?),
        };
        Ok((folder, source))
    }
}

/// Runs the command.
pub async fn run(args: AuditArgs, output: &Output) -> Result<(), CommandError> {
    match args.command {
        None => whole::run(args.whole, output).await,
        Some(AuditCommand::Receipt { file, network }) => {
            super::status::check_receipt(&network, &file, false, output).await
        }
        Some(AuditCommand::Light(args)) => super::light::run(args, output).await,
        Some(AuditCommand::Provider(args)) => provider::run(args, output).await,
        Some(AuditCommand::Export(args)) => export::run(args, output).await,
        Some(AuditCommand::Drill(args)) => drill::run(args, output).await,
        Some(AuditCommand::VerifyReport { file }) => report::verify(&file, output),
    }
}

/// Shows how far it is, how fast, and how long it may take. Hidden by indicatif where stderr is no
/// terminal.
fn progress(verb: &str) -> Result<(ProgressBar, Watch), CommandError> {
    let style = ProgressStyle::with_template(&format!(
        "{verb} {{bar:30}} block {{pos}} of {{len}}, {{per_sec}}, {{eta}} left, {{msg}}"
    ))?;
    let bar = ProgressBar::new(0).with_style(style);
    let shown = bar.clone();
    let watch: Watch = Arc::new(move |progress: Progress| {
        shown.set_length(progress.head.0);
        let first = shown.position() == 0;
        shown.set_position(progress.height.0);
        if first {
            // The rate is that of this run, also where it goes on from a checkpoint.
            shown.reset_eta();
        }
        shown.set_message(format!("{} proofs", progress.proofs));
    });
    Ok((bar, watch))
}

/// An audit's failure as the command tells it.
fn told(error: AuditError) -> CommandError {
    match error {
        AuditError::Finding(finding) => {
            let message = finding
                .message
                .map_or_else(String::new, |id| format!(", message {id}"));
            CommandError::failed(
                format!(
                    "the ledger does not hold at block {}{message}: {}",
                    finding.height, finding.reason
                ),
                "do not rely on this ledger; compare it with another market's",
            )
        }
        other => other.into(),
    }
}
