//! `holdfast params`: the proving parameters on this machine.

use crate::output::{CommandError, Output, Table, bytes};
use holdfast_proofs::params::listing::{Listed, list};
use serde::Serialize;
use std::path::PathBuf;

/// Look at the proving parameters on this machine.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  holdfast params list")]
pub struct ParamsArgs {
    #[command(subcommand)]
    command: ParamsCommand,
}

#[derive(clap::Subcommand)]
enum ParamsCommand {
    /// List the circuits whose parameters are here, with their digests, after reading them through.
    #[command(after_help = "Example:\n  holdfast params list --folder ~/.cache/holdfast/params")]
    List {
        /// The folder of parameter files [default: $HOLDFAST_PARAMS or ~/.cache/holdfast/params].
        #[arg(long)]
        folder: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Listing {
    folder: PathBuf,
    circuits: Vec<Listed>,
}

/// Runs the command.
pub async fn run(args: ParamsArgs, output: &Output) -> Result<(), CommandError> {
    let ParamsCommand::List { folder } = args.command;
    let folder = match folder {
        Some(folder) => folder,
        None => holdfast_testnet::parameters_folder()
            .map_err(|error| CommandError::failed(error.to_string(), error.next()))?,
    };
    let circuits = list(&folder).map_err(|error| {
        CommandError::failed(error.to_string(), "name another folder with --folder")
    })?;
    output.result(&Listing { folder, circuits }, |listing| {
        if listing.circuits.is_empty() {
            return format!(
                "No parameters in {}; `holdfast testnet up` makes development parameters.",
                listing.folder.display()
            );
        }
        let mut table = Table::new([
            "circuit",
            "size",
            "parameters' digest",
            "key's digest",
            "state",
        ]);
        for listed in &listing.circuits {
            table.row([
                listed.circuit.clone(),
                bytes(listed.bytes),
                short(&listed.parameters),
                short(&listed.key),
                listed.state.to_string(),
            ]);
        }
        format!("{}\n{table}", listing.folder.display())
    })
}

/// Enough of a digest to compare by eye; `--json` has all of it.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}
