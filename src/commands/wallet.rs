//! `holdfast wallet`: the phrase, the account, its tokens.

use super::client::{Place, hold, told};
use crate::output::{CommandError, Output, Table};
use holdfast_client::session::{Session, default_wallet};
use holdfast_client::wallet::{PHRASE_FILE, Wallet, read_phrase};
use holdfast_market_core::channel::Channel;
use holdfast_market_core::message::Body;
use holdfast_market_core::units::{Address, Amount, Height, MessageId, ProviderId};
use holdfast_wire::network::NetworkFolder;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make a wallet, see its address and balance, send tokens.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast wallet create --network my-net\n  holdfast wallet balance --network my-net\n  holdfast wallet send thold1… 2.5 --network my-net"
)]
pub struct WalletArgs {
    #[command(subcommand)]
    command: WalletCommand,
}

#[derive(clap::Subcommand)]
enum WalletCommand {
    /// Make a wallet of a new recovery phrase, or of one that is read from standard input.
    #[command(
        alias = "init",
        after_help = "Examples:\n  holdfast wallet create --network my-net\n  holdfast wallet create --restore --wallet DIR < phrase.txt"
    )]
    Create {
        /// The network's folder; without it --wallet says where, for a network that is not there
        /// yet.
        #[arg(long, env = "HOLDFAST_NETWORK", required_unless_present = "wallet")]
        network: Option<PathBuf>,
        /// The wallet's folder; by default `wallet` in the network's.
        #[arg(long, env = "HOLDFAST_WALLET")]
        wallet: Option<PathBuf>,
        /// Read the words of a wallet's phrase from standard input and make that one again.
        #[arg(long)]
        restore: bool,
    },
    /// What the account has.
    #[command(
        after_help = "Examples:\n  holdfast wallet balance --network my-net\n  holdfast wallet balance --proven --network my-net"
    )]
    Balance {
        #[command(flatten)]
        place: Place,
        /// Follow the chain and have the balance shown by a proof, instead of taking the market's
        /// word.
        #[arg(long)]
        proven: bool,
    },
    /// Where others send tokens to.
    #[command(after_help = "Example:\n  holdfast wallet address --network my-net")]
    Address {
        #[command(flatten)]
        place: Place,
    },
    /// Send tokens.
    #[command(after_help = "Example:\n  holdfast wallet send thold1… 2.5 --network my-net")]
    Send {
        /// To whom.
        to: String,
        /// How many HOLD, for example 2.5.
        #[arg(value_parser = hold)]
        amount: Amount,
        #[command(flatten)]
        place: Place,
    },
    /// What is put aside for providers that charge for reading.
    #[command(after_help = "Example:\n  holdfast wallet channels --network my-net")]
    Channels {
        #[command(flatten)]
        place: Place,
    },
    /// Close channels: what was not read for comes back once the dispute window is over.
    #[command(
        after_help = "Examples:\n  holdfast wallet close-channels --network my-net\n  holdfast wallet close-channels 3 7 --network my-net"
    )]
    CloseChannels {
        /// To which providers; by default to all.
        providers: Vec<u64>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Serialize)]
struct Channels {
    channels: Vec<Channel>,
}

#[derive(Serialize)]
struct Closed {
    provider: ProviderId,
    /// At this height what is left comes back.
    end: Height,
}

#[derive(Serialize)]
struct ClosedAll {
    closed: Vec<Closed>,
}

#[derive(Serialize)]
struct Account {
    address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize)]
struct Balance {
    address: Address,
    text: String,
    balance: Amount,
    /// Messages that it has sent; without a proof, those that wait for a block included.
    sent: u64,
    /// After which block it was shown by a proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<Height>,
}

#[derive(Serialize)]
struct Sent {
    to: String,
    amount: Amount,
    message: MessageId,
    height: Height,
}

/// Runs the command.
pub async fn run(args: WalletArgs, output: &Output) -> Result<(), CommandError> {
    match args.command {
        WalletCommand::Create {
            network,
            wallet,
            restore,
        } => create(network.as_deref(), wallet, restore, output),
        WalletCommand::Address { place } => {
            let session = place.open()?;
            let account = account(&session);
            session.close().await;
            output.result(&account, |account| account.text.clone().unwrap_or_default())
        }
        WalletCommand::Balance { place, proven } => {
            let session = place.open()?;
            let balance = match proven {
                true => proven_balance(&session).await,
                false => told_balance(&session).await,
            };
            session.close().await;
            output.result(&balance?, |balance| {
                let shown = balance.proven.map_or_else(String::new, |height| {
                    format!(", shown by a proof after block {height}")
                });
                format!("{} in {}{shown}", balance.balance, balance.text)
            })
        }
        WalletCommand::Channels { place } => {
            let session = place.open()?;
            let channels = session.ledger().channels_of(session.address()).await;
            session.close().await;
            let channels = channels.map_err(|error| told(error.into()))?;
            output.result(&Channels { channels }, shown)
        }
        WalletCommand::CloseChannels { providers, place } => {
            let session = place.open()?;
            let closed = close(&session, &providers).await;
            session.close().await;
            output.result(&ClosedAll { closed: closed? }, |all| {
                let lines = all.closed.iter().map(|one| {
                    format!(
                        "the channel to provider {} closes: what is left comes back at height {}",
                        one.provider, one.end
                    )
                });
                let lines: Vec<_> = lines.collect();
                match lines.is_empty() {
                    true => "there is no open channel".into(),
                    false => lines.join("\n"),
                }
            })
        }
        WalletCommand::Send { to, amount, place } => send(&place, to, amount, output).await,
    }
}

fn account(session: &Session) -> Account {
    Account {
        address: session.address(),
        text: Some(session.text_of(session.address())),
    }
}

/// What the market says.
async fn told_balance(session: &Session) -> Result<Balance, CommandError> {
    let view = session.ledger().account(session.address()).await;
    let view = view.map_err(|error| told(error.into()))?;
    Ok(Balance {
        address: session.address(),
        text: session.text_of(session.address()),
        balance: view.balance,
        sent: view.next_nonce,
        proven: None,
    })
}

/// What a proof shows.
async fn proven_balance(session: &Session) -> Result<Balance, CommandError> {
    let (mut light, bar) = super::light::open(session.network())?;
    let shown = light.account(&session.address()).await;
    bar.finish_and_clear();
    let shown = shown.map_err(|error| told(error.into()))?;
    let account = shown.object.unwrap_or_default();
    Ok(Balance {
        address: session.address(),
        text: session.text_of(session.address()),
        balance: account.balance,
        sent: account.nonce,
        proven: Some(shown.height),
    })
}

fn create(
    network: Option<&Path>,
    wallet: Option<PathBuf>,
    restore: bool,
    output: &Output,
) -> Result<(), CommandError> {
    let folder = network.map(NetworkFolder::open).transpose()?;
    let path = match (wallet, network) {
        (Some(wallet), _) => wallet,
        (None, Some(network)) => default_wallet(network),
        (None, None) => {
            return Err(CommandError::failed(
                "no place for the wallet",
                "give --wallet",
            ));
        }
    };
    let phrase = if restore {
        Some(read_phrase(std::io::stdin()).map_err(told)?)
    } else {
        None
    };
    let wallet = Wallet::create(&path, phrase).map_err(told)?;
    let address = wallet.address();
    let text = folder.map(|folder| address.to_text(folder.genesis().address_prefix()));
    let account = Account { address, text };
    output.result(&account, |account| {
        let shown = account.text.clone().unwrap_or_else(|| account.address.to_string());
        format!(
            "wallet of {shown} in {}\nIts recovery phrase is in {} and nowhere else: copy the words to paper. Whoever has them has everything.",
            path.display(),
            path.join(PHRASE_FILE).display()
        )
    })
}

async fn send(
    place: &Place,
    to: String,
    amount: Amount,
    output: &Output,
) -> Result<(), CommandError> {
    let session = place.open()?;
    let prefix = session.network().genesis().address_prefix();
    let address = Address::from_text(&to, prefix)?;
    let body = Body::Transfer {
        to: address,
        amount,
    };
    let sent = session.sender().send(body).await;
    session.close().await;
    let executed = sent.map_err(|error| told(error.into()))?;
    let sent = Sent {
        to,
        amount,
        message: executed.id,
        height: executed.height,
    };
    output.result(&sent, |sent| {
        format!(
            "sent {} to {} at height {}",
            sent.amount, sent.to, sent.height
        )
    })
}

fn shown(all: &Channels) -> String {
    if all.channels.is_empty() {
        return "nothing is put aside for reading".into();
    }
    let mut table = Table::new(["provider", "deposit", "paid", "closes"]);
    for channel in &all.channels {
        table.row([
            channel.id.provider.to_string(),
            channel.deposit.to_string(),
            channel.redeemed.to_string(),
            match channel.closing {
                Some(end) => format!("at height {end}"),
                None => "no".into(),
            },
        ]);
    }
    table.to_string()
}

/// Closes the open channels to these providers, or all of them.
async fn close(session: &Session, providers: &[u64]) -> Result<Vec<Closed>, CommandError> {
    let ledger = session.ledger();
    let channels = ledger.channels_of(session.address()).await;
    let channels = channels.map_err(|error| told(error.into()))?;
    for number in providers {
        if !channels.iter().any(|one| one.id.provider.0 == *number) {
            return Err(CommandError::not_found(
                format!("there is no channel to provider {number}"),
                "`holdfast wallet channels` lists them",
            ));
        }
    }
    let mut closed = Vec::new();
    for channel in channels {
        let provider = channel.id.provider;
        let named = providers.is_empty() || providers.contains(&provider.0);
        if !named || channel.closing.is_some() {
            continue;
        }
        let reader = channel.id.reader;
        let body = match reader == session.address() {
            true => Body::CloseChannel { provider },
            false => Body::RevokeGrant {
                reader,
                providers: vec![provider],
            },
        };
        let sent = session.sender().send(body).await;
        sent.map_err(|error| told(error.into()))?;
        let channel = ledger.channel(provider, channel.id.parties()).await;
        let channel = channel.map_err(|error| told(error.into()))?;
        closed.push(Closed {
            provider,
            end: channel.closing.unwrap_or_default(),
        });
    }
    Ok(closed)
}
