//! `holdfast params`: the proving parameters on this machine.

use crate::output::{CommandError, Output, Table, bytes};
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
    /// List the cached parameter files.
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
    files: Vec<ParameterFile>,
}

#[derive(Serialize)]
struct ParameterFile {
    name: String,
    bytes: u64,
}

/// Runs the command.
pub async fn run(args: ParamsArgs, output: &Output) -> Result<(), CommandError> {
    let ParamsCommand::List { folder } = args.command;
    let folder = match folder {
        Some(folder) => folder,
        None => holdfast_testnet::parameters_folder()
            .map_err(|error| CommandError::failed(error.to_string(), error.next()))?,
    };
    let files = match std::fs::read_dir(&folder) {
        Ok(entries) => parameter_files(entries)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(CommandError::failed(
                format!("{} cannot be read: {error}", folder.display()),
                "name another folder with --folder",
            ));
        }
    };
    output.result(&Listing { folder, files }, |listing| {
        if listing.files.is_empty() {
            return format!(
                "No parameters in {}; `holdfast testnet up` makes development parameters.",
                listing.folder.display()
            );
        }
        let mut table = Table::new(["file", "size"]);
        for file in &listing.files {
            table.row([file.name.clone(), bytes(file.bytes)]);
        }
        format!("{}\n{table}", listing.folder.display())
    })
}

fn parameter_files(entries: std::fs::ReadDir) -> std::io::Result<Vec<ParameterFile>> {
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push(ParameterFile {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: metadata.len(),
            });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}
