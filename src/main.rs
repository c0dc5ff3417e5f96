//! The `holdfast` command: one binary for providers, clients, market and auditors.
//!
//! This file knows the commands' names, the global flags and the exit codes; each group's own
//! arguments and output are in `commands/GROUP.rs`, and what a command does is in its crate.

mod commands;
mod output;

use clap::{Parser, Subcommand};
use output::{CommandError, Output};
use std::process::ExitCode;

/// Decentralized storage with proof of replication, on a home machine.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  holdfast params list\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the network, 4 not found."
)]
struct Cli {
    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Market(commands::market::MarketArgs),
    Params(commands::params::ParamsArgs),
}

async fn run(command: Command, output: &Output) -> Result<(), CommandError> {
    match command {
        Command::Market(args) => commands::market::run(args, output).await,
        Command::Params(args) => commands::params::run(args, output).await,
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::log_to_stderr();
    let output = Output::new(cli.json);
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::from)
        .and_then(|runtime| runtime.block_on(run(cli.command, &output)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}
