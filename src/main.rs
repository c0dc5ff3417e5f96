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
    after_help = "Examples:\n  holdfast testnet demo README.md     the whole idea, on this machine, in minutes\n  holdfast testnet up my-net          a network of your own to try things on\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the network, 4 not found."
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
    Audit(commands::audit::AuditArgs),
    Check(commands::check::CheckArgs),
    Get(commands::get::GetArgs),
    Light(commands::light::LightArgs),
    Ls(commands::ls::LsArgs),
    Market(commands::market::MarketArgs),
    Mount(commands::mount::MountArgs),
    Node(commands::node::NodeArgs),
    Params(commands::params::ParamsArgs),
    Put(commands::put::PutArgs),
    Renew(commands::renew::RenewArgs),
    Stake(commands::stake::StakeArgs),
    Status(commands::status::StatusArgs),
    Testnet(commands::testnet::TestnetArgs),
    Wallet(commands::wallet::WalletArgs),
}

async fn run(command: Command, output: &Output) -> Result<(), CommandError> {
    match command {
        Command::Audit(args) => commands::audit::run(args, output).await,
        Command::Check(args) => commands::check::run(args, output).await,
        Command::Get(args) => commands::get::run(args, output).await,
        Command::Light(args) => commands::light::run(args, output).await,
        Command::Ls(args) => commands::ls::run(args, output).await,
        Command::Market(args) => commands::market::run(args, output).await,
        Command::Mount(args) => commands::mount::run(args, output).await,
        Command::Node(args) => commands::node::run(args, output).await,
        Command::Params(args) => commands::params::run(args, output).await,
        Command::Put(args) => commands::put::run(args, output).await,
        Command::Renew(args) => commands::renew::run(args, output).await,
        Command::Stake(args) => commands::stake::run(args, output).await,
        Command::Status(args) => commands::status::run(args, output).await,
        Command::Testnet(args) => commands::testnet::run(args, output).await,
        Command::Wallet(args) => commands::wallet::run(args, output).await,
    }
}

fn main() -> ExitCode {
    holdfast_testnet::stop_with_parent();
    let cli = Cli::parse();
    output::log_to_stderr();
    let output = Output::new(cli.json);
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::from)
        .and_then(|runtime| {
            let done = runtime.block_on(run(cli.command, &output));
            // What a command has left behind on a thread (parameters being made when Ctrl-C came)
            // is not waited for.
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}
