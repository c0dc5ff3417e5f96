//! `holdfast market`: the ledger, its API and its explorer.

use crate::output::{CommandError, Output};
use holdfast_market::ordering::Meeting;
use holdfast_market::run::{Config, Market, OrderedBy, init};
use holdfast_wire::network::NetworkFolder;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Keep the ledger: order blocks, verify proofs, serve the API and the explorer.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  holdfast market init --data DIR\n  holdfast market run --network FOLDER --data DIR --listen 127.0.0.1:8000"
)]
pub struct MarketArgs {
    #[command(subcommand)]
    command: MarketCommand,
}

#[derive(clap::Subcommand)]
enum MarketCommand {
    /// Make a validator's keys and print what the genesis says of them.
    #[command(after_help = "Example:\n  holdfast market init --data DIR")]
    Init {
        /// The market's data folder.
        #[arg(long)]
        data: PathBuf,
    },
    /// Run a market until it is told to stop.
    #[command(
        after_help = "Example:\n  holdfast market run --network FOLDER --data DIR --listen 127.0.0.1:8000\n  holdfast market run --network FOLDER --data DIR --meet 0.0.0.0:8100 --peer other.example:8100"
    )]
    Run {
        /// The network's folder.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: PathBuf,
        /// The market's data folder: its keys and its ledger.
        #[arg(long)]
        data: PathBuf,
        /// Where the API and the explorer are served.
        #[arg(long, default_value = "127.0.0.1:8000")]
        listen: SocketAddr,
        #[command(flatten)]
        ordering: OrderingArgs,
    },
}

/// How blocks are ordered.
#[derive(clap::Args)]
struct OrderingArgs {
    /// How blocks are ordered [default: by one signer where the genesis names one, by bft otherwise].
    #[arg(long, value_enum)]
    ordering: Option<OrderingName>,
    /// With bft: where the other markets reach this one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    meet: SocketAddr,
    /// With bft: where another market is reached; once for each.
    #[arg(long, value_name = "HOST:PORT")]
    peer: Vec<String>,
    /// The API of another market, which gets every message that comes in here; once for each.
    #[arg(long, value_name = "URL")]
    forward: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OrderingName {
    /// One signer alone.
    Embedded,
    /// Validators that agree, of which less than a third of the power may fail or lie.
    Bft,
}

/// Runs the command.
pub async fn run(args: MarketArgs, output: &Output) -> Result<(), CommandError> {
    match args.command {
        MarketCommand::Init { data } => {
            let validator = init(&data, &mut rand::rngs::OsRng)?;
            output.result(&validator, |validator| {
                format!(
                    "The validator's keys are in {}; its consensus key is {}.\nWith --json this prints what a genesis lists.",
                    data.display(),
                    validator.key
                )
            })
        }
        MarketCommand::Run {
            network,
            data,
            listen,
            ordering,
        } => serve(network, data, listen, ordering).await,
    }
}

async fn serve(
    network: PathBuf,
    data: PathBuf,
    listen: SocketAddr,
    ordering: OrderingArgs,
) -> Result<(), CommandError> {
    let folder = NetworkFolder::open(&network)?;
    let genesis = folder.genesis();
    let several = genesis.validators.len() > 1 || genesis.parameters.staking.is_some();
    let ordered_by = match ordering.ordering {
        Some(OrderingName::Embedded) => OrderedBy::Embedded,
        None if !several => OrderedBy::Embedded,
        Some(OrderingName::Bft) | None => OrderedBy::Bft(Meeting {
            listen: ordering.meet,
            peers: ordering.peer,
        }),
    };
    let market = Market::open(Config {
        verifying_keys: super::verifying_keys(&folder)?,
        genesis: folder.genesis().clone(),
        data,
        listen,
        ordering: ordered_by,
        forward: ordering.forward,
    })
    .await?;
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        // A market that has ended by itself listens no more.
        let _ = stop.send(true);
    });
    println!(
        "ready market of network {} on http://{}",
        market.network(),
        market.address()?
    );
    Ok(market.run(stopped).await?)
}
