//! What the client's commands share: which network, which wallet, and how its errors are told.

use crate::output::CommandError;
use holdfast_client::error::{ClientError, ErrorKind};
use holdfast_client::session::Session;
use holdfast_market_core::units::Amount;
use std::path::{Path, PathBuf};

/// Which network and which wallet.
#[derive(clap::Args)]
pub struct Place {
    /// The network's folder.
    #[arg(long, env = "HOLDFAST_NETWORK")]
    network: PathBuf,
    /// The wallet's folder; by default `wallet` in the network's.
    #[arg(long, env = "HOLDFAST_WALLET")]
    wallet: Option<PathBuf>,
}

impl Place {
    /// The network's folder.
    pub fn network(&self) -> &Path {
        &self.network
    }

    /// Opens both.
    pub fn open(&self) -> Result<Session, CommandError> {
        Session::open(&self.network, self.wallet.as_deref()).map_err(told)
    }
}

/// A client's error as a command tells it.
#[allow(clippy::needless_pass_by_value)] // For `map_err`.
pub fn told(error: ClientError) -> CommandError {
    let sentence = error.to_string();
    let next = error.next();
    match error.kind() {
        ErrorKind::Failed => CommandError::failed(sentence, next),
        ErrorKind::Refused => CommandError::refused(sentence, next),
        ErrorKind::NotFound => CommandError::not_found(sentence, next),
    }
}

/// An amount as it is given to a command: whole HOLD and at most nine digits after the point.
pub fn hold(text: &str) -> Result<Amount, String> {
    let wrong = || {
        let text: String = text.chars().take(50).collect();
        format!(
            "`{text}` is no amount of HOLD; write it as 12 or 2.5, with at most nine digits after the point"
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
            assert_eq!(hold(text.trim_end_matches(" HOLD")).unwrap(), amount);
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
            assert!(hold(wrong).is_err(), "{wrong}");
        }
    }
}
