//! `holdfast testnet`: a whole network on this machine.

mod demo;
mod status;

use crate::output::{CommandError, Output};
use holdfast_proofs::sector::SectorClass;
use holdfast_testnet::{Commands, Peaks, Testnet, TestnetError, TestnetView, UpOptions};
use serde::Serialize;
use std::path::PathBuf;

/// Start, look at and stop a whole network on this machine, or see the demo.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast testnet demo README.md\n  holdfast testnet up my-net --nodes 6\n  holdfast testnet status my-net\n  holdfast testnet down my-net"
)]
pub struct TestnetArgs {
    #[command(subcommand)]
    command: TestnetCommand,
}

#[derive(clap::Subcommand)]
enum TestnetCommand {
    Up(UpArgs),
    /// Show the processes, providers, sectors and balances of a testnet.
    #[command(after_help = "Example:\n  holdfast testnet status my-net --json")]
    Status(FolderArgs),
    /// Stop the processes of a testnet, and none else; its data stays.
    #[command(after_help = "Example:\n  holdfast testnet down my-net")]
    Down(FolderArgs),
    Demo(demo::DemoArgs),
}

/// Start a market and storage nodes; a folder that holds a stopped testnet is taken up again.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast testnet up my-net --nodes 4\n  holdfast testnet up my-net --validators 4 --nodes 6"
)]
struct UpArgs {
    /// The testnet's folder.
    #[arg(default_value = "holdfast-testnet")]
    folder: PathBuf,
    /// How many markets, each a validator; of more than one, bft orders the blocks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    validators: u8,
    /// How many storage nodes.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: u8,
    /// The size of their sectors: 8MiB or 64MiB.
    #[arg(long, default_value = "8MiB", value_parser = development_class)]
    class: SectorClass,
    /// How many sectors each node seals.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    sectors: u32,
    /// The first port: the market's; the other markets, the nodes and, where there are several
    /// markets, the ports at which they meet have the next ones [default: free ones].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Which testnet.
#[derive(clap::Args)]
struct FolderArgs {
    /// The testnet's folder.
    #[arg(default_value = "holdfast-testnet")]
    folder: PathBuf,
}

/// Runs the command.
pub async fn run(args: TestnetArgs, output: &Output) -> Result<(), CommandError> {
    match args.command {
        TestnetCommand::Up(args) => up(args, output).await,
        TestnetCommand::Status(args) => {
            let testnet = Testnet::open(&args.folder).map_err(command_error)?;
            let view = TestnetView::read(&testnet).await.map_err(command_error)?;
            output.result(&view, status::text)
        }
        TestnetCommand::Down(args) => down(args, output).await,
        TestnetCommand::Demo(args) => demo::run(args, output).await,
    }
}

async fn up(args: UpArgs, output: &Output) -> Result<(), CommandError> {
    let commands = commands()?;
    let options = UpOptions {
        folder: args.folder,
        validators: args.validators,
        nodes: args.nodes,
        class: args.class,
        sectors: args.sectors,
        rules: holdfast_testnet::rules(args.class),
        first_port: args.port,
        parameters: holdfast_testnet::parameters_folder().map_err(command_error)?,
    };
    let mut testnet = Testnet::prepare(&options, &commands, &mut |text| output.line(text))
        .await
        .map_err(command_error)?;
    let started = tokio::select! {
        started = testnet.start(&commands, false) => started.map_err(command_error),
        _ = tokio::signal::ctrl_c() => Err(CommandError::failed("it was interrupted", "")),
    };
    if let Err(error) = started {
        testnet.stop().await.map_err(command_error)?;
        return Err(error);
    }
    let view = TestnetView::read(&testnet).await.map_err(command_error)?;
    output.result(&view, |view| {
        let folder = view.folder.display();
        format!(
            "{}\n\nthe nodes are sealing now; see how far they are with\n  holdfast testnet status {folder}\nand stop all with\n  holdfast testnet down {folder}",
            status::text(view)
        )
    })
}

#[derive(Serialize)]
struct Stopped {
    folder: PathBuf,
    stopped: Vec<String>,
}

async fn down(args: FolderArgs, output: &Output) -> Result<(), CommandError> {
    let mut testnet = Testnet::open(&args.folder).map_err(command_error)?;
    let stopped = Stopped {
        stopped: testnet.stop().await.map_err(command_error)?,
        folder: args.folder,
    };
    output.result(&stopped, |stopped| {
        if stopped.stopped.is_empty() {
            return "nothing was running".into();
        }
        format!("stopped {}", stopped.stopped.join(", "))
    })
}

/// Runs commands of this very binary.
fn commands() -> Result<Commands, CommandError> {
    Ok(Commands {
        binary: std::env::current_exe()?,
        peaks: Peaks::default(),
    })
}

fn command_error(error: TestnetError) -> CommandError {
    let next = error.next();
    match &error {
        TestnetError::Missing { .. } => CommandError::not_found(error.to_string(), next),
        _ => CommandError::failed(error.to_string(), next),
    }
}

fn development_class(text: &str) -> Result<SectorClass, String> {
    match text.parse() {
        Ok(class @ (SectorClass::Mib8 | SectorClass::Mib64)) => Ok(class),
        Ok(class) => Err(format!(
            "{class} sectors take a testnet hours to seal; take 8MiB or 64MiB"
        )),
        Err(error) => Err(error.to_string()),
    }
}
