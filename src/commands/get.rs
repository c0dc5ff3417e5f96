//! `holdfast get`: fetch what was stored.

use super::client::{Place, hold, told};
use crate::output::{CommandError, Output, bytes};
use holdfast_client::error::ClientError;
use holdfast_client::get::{Got, find, get};
use holdfast_client::meter::Meter;
use holdfast_client::published::current_or_local;
use holdfast_client::session::Session;
use holdfast_client::words::count;
use holdfast_market_core::units::Amount;
use std::path::{Path, PathBuf};

/// Fetch what was stored, from any k of its n providers, every byte verified.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  holdfast get photos --to restored --network my-net")]
pub struct GetArgs {
    /// Its name or id.
    name: String,
    #[command(flatten)]
    place: Place,
    /// The folder in which it appears, under the file name that it had.
    #[arg(long, default_value = ".")]
    to: PathBuf,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// The most HOLD to put aside for providers that charge for reading; what is not used stays in the
    /// channels (`holdfast wallet channels`).
    #[arg(long, default_value = "1", value_parser = hold)]
    most: Amount,
}

/// Runs the command.
pub async fn run(args: GetArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    session.purse().allow(args.most);
    let got = fetch(&session, &args.name, &args.to, args.force).await;
    session.close().await;
    output.result(&got.map_err(told)?, |got| {
        let mut text = format!(
            "{} is back: {} in {} at {}",
            got.name,
            bytes(got.bytes.0),
            count(got.files, "file"),
            got.path.display()
        );
        if got.paid.0 > 0 {
            text.push_str(&format!("\npaid {} for reading", got.paid));
        }
        for fault in &got.around {
            text.push_str(&format!("\nwent around {fault}"));
        }
        text
    })
}

async fn fetch(session: &Session, name: &str, to: &Path, force: bool) -> Result<Got, ClientError> {
    let catalogue = current_or_local(session).await?;
    let record = find(&catalogue, name)?;
    get(session, record, to, force, &Meter::on_terminal()).await
}
