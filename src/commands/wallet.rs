//! `holdfast wallet`: the phrase, the account, its tokens.

use super::client::{Place, told};
use crate::output::{CommandError, Output};
use holdfast_client::session::{Session, default_wallet};
use holdfast_client::wallet::{PHRASE_FILE, Wallet, read_phrase};
use holdfast_market_core::message::Body;
use holdfast_market_core::units::{Address, Amount, Height, MessageId};
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
    #[command(after_help = "Example:\n  holdfast wallet balance --network my-net")]
    Balance {
        #[command(flatten)]
        place: Place,
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
        amount: String,
        #[command(flatten)]
        place: Place,
    },
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
    /// Messages that it has sent, those that wait for a block included.
    sent: u64,
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
        WalletCommand::Balance { place } => {
            let session = place.open()?;
            let view = session.ledger().account(session.address()).await;
            session.close().await;
            let view = view.map_err(|error| told(error.into()))?;
            let balance = Balance {
                address: session.address(),
                text: session.text_of(session.address()),
                balance: view.balance,
                sent: view.next_nonce,
            };
            output.result(&balance, |balance| {
                format!("{} in {}", balance.balance, balance.text)
            })
        }
        WalletCommand::Send { to, amount, place } => send(&place, to, &amount, output).await,
    }
}

fn account(session: &Session) -> Account {
    Account {
        address: session.address(),
        text: Some(session.text_of(session.address())),
    }
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
    amount: &str,
    output: &Output,
) -> Result<(), CommandError> {
    let session = place.open()?;
    let prefix = session.network().genesis().address_prefix();
    let address = Address::from_text(&to, prefix)?;
    let amount = parse_hold(amount)?;
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

/// Whole HOLD and at most nine digits after the point.
fn parse_hold(text: &str) -> Result<Amount, CommandError> {
    let wrong = || {
        CommandError::failed(
            format!(
                "`{}` is no amount of HOLD",
                text.chars().take(50).collect::<String>()
            ),
            "write it as 12 or 2.5, with at most nine digits after the point",
        )
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let whole: u128 = whole.parse().map_err(|_| wrong())?;
    let grains: u128 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(holdfast_market_core::units::GRAINS_PER_HOLD)
        .and_then(|whole| whole.checked_add(grains))
        .map(Amount)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn amounts_read_as_they_are_printed() {
        for grains in [0, 1, 500_000_000, 12_500_000_000, 3_000_000_000] {
            let amount = Amount(grains);
            let text = amount.to_string();
            assert_eq!(parse_hold(text.trim_end_matches(" HOLD")).unwrap(), amount);
        }
        for wrong in [
            "",
            "-1",
            "1.",
            ".5",
            "1e3",
            "1.0000000001",
            "1,5",
            &"9".repeat(60),
        ] {
            assert!(parse_hold(wrong).is_err(), "{wrong}");
        }
    }
}
