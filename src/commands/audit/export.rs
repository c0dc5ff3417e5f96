//! A ledger into one file.

use super::{Place, progress, told};
use crate::output::{CommandError, Output, bytes};
use holdfast_market::audit::bundle::export;
use std::path::PathBuf;

/// Write a ledger into one file, which `holdfast audit --bundle FILE` checks on a machine without a
/// network.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast audit export FILE --network FOLDER\n  holdfast audit export FILE --network FOLDER --ledger DIR"
)]
pub struct ExportArgs {
    /// Where to.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(super) async fn run(args: ExportArgs, output: &Output) -> Result<(), CommandError> {
    let (folder, source) = args.place.open()?;
    let keys = super::super::verifying_keys(&folder)?;
    let (bar, watch) = progress("export")?;
    let result = export(folder.genesis(), &keys, &source, &args.file, watch).await;
    bar.finish_and_clear();
    let exported = result.map_err(told)?;
    output.result(&exported, |exported| {
        format!(
            "{} holds the ledger of network {} up to block {}, {}; nothing of it was verified yet.\n\
             Its digest is {}.",
            exported.bundle.display(),
            exported.head.network,
            exported.head.height,
            bytes(exported.bytes),
            exported.digest,
        )
    })
}
