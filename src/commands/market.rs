//! `holdfast market`: the ledger, its API and its explorer.

use super::client::told;
use crate::output::{CommandError, Output};
use holdfast_market::ordering::Meeting;
use holdfast_market::run::{Config, Market, OrderedBy, init};
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::message::Body;
use holdfast_market_core::units::{Address, Height, MessageId};
use holdfast_wire::ledger::{LedgerClient, Sender};
use holdfast_wire::network::NetworkFolder;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// Make this market's key that of a validator; its owner then stakes for it.
    #[command(
        after_help = "Example:\n  holdfast market register --network FOLDER --data DIR --owner thold1… --commission 50\n\nThe validator's own account pays the fee: send it a HOLD first."
    )]
    Register {
        /// The network's folder.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: PathBuf,
        /// The market's data folder, with its keys.
        #[arg(long)]
        data: PathBuf,
        /// Who stakes for it and is paid its commission.
        #[arg(long)]
        owner: String,
        /// The owner's share of what others' stakes earn, in thousandths. It can only fall.
        #[arg(long, value_name = "THOUSANDTHS")]
        commission: u64,
    },
    /// Say that this validator is back after it rested, or lower its commission.
    #[command(
        after_help = "Example:\n  holdfast market return --network FOLDER --data DIR\n\nIt has turns again once the activation delay is over."
    )]
    Return {
        /// The network's folder.
        #[arg(long, env = "HOLDFAST_NETWORK")]
        network: PathBuf,
        /// The market's data folder, with its keys.
        #[arg(long)]
        data: PathBuf,
        /// From now on, in thousandths; by default as it was.
        #[arg(long, value_name = "THOUSANDTHS")]
        commission: Option<u64>,
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
        MarketCommand::Register {
            network,
            data,
            owner,
            commission,
        } => {
            let (keys, folder, sender) = validator(&network, &data)?;
            let prefix = folder.genesis().address_prefix();
            let body = Body::RegisterValidator {
                owner: Address::from_text(&owner, prefix)?,
                beacon: keys.beacon().public(),
                possession: keys.beacon().possession(),
                commission_thousandths: commission,
            };
            let words = "registered; its owner stakes for it with `holdfast stake add`";
            output.result(&sent(&keys, &sender, body).await?, |done| {
                format!("{words} {}, at height {}", done.text(prefix), done.height)
            })
        }
        MarketCommand::Return {
            network,
            data,
            commission,
        } => {
            let (keys, folder, sender) = validator(&network, &data)?;
            let record = sender.client().validator(keys.address()).await;
            let record = record.map_err(|error| told(error.into()))?;
            let body = Body::UpdateValidator {
                beacon: keys.beacon().public(),
                possession: keys.beacon().possession(),
                commission_thousandths: commission.unwrap_or(record.commission_thousandths),
            };
            let prefix = folder.genesis().address_prefix();
            output.result(&sent(&keys, &sender, body).await?, |done| {
                format!("{} is back, at height {}", done.text(prefix), done.height)
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

/// A validator's message that was executed.
#[derive(Serialize)]
struct Sent {
    validator: Address,
    message: MessageId,
    height: Height,
}

impl Sent {
    fn text(&self, prefix: &'static str) -> String {
        self.validator.to_text(prefix)
    }
}

/// A validator's keys, its network, and what sends its messages.
fn validator(
    network: &Path,
    data: &Path,
) -> Result<(ValidatorKeys, NetworkFolder, Sender), CommandError> {
    let folder = NetworkFolder::open(network)?;
    let keys = ValidatorKeys::load(data)?;
    let sender = Sender::new(
        LedgerClient::new(folder.api())?,
        folder.network(),
        folder.genesis().parameters.clone(),
        keys.consensus().clone(),
    );
    Ok((keys, folder, sender))
}

async fn sent(keys: &ValidatorKeys, sender: &Sender, body: Body) -> Result<Sent, CommandError> {
    let executed = sender.send(body).await;
    let executed = executed.map_err(|error| told(error.into()))?;
    Ok(Sent {
        validator: keys.address(),
        message: executed.id,
        height: executed.height,
    })
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
