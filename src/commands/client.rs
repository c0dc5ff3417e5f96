//! What the client's commands share: which network, which wallet, and how its errors are told.

use crate::output::CommandError;
use holdfast_client::error::{ClientError, ErrorKind};
use holdfast_client::session::Session;
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
