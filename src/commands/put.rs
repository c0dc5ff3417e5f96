//! `holdfast put`: store a file or folder.

use super::client::{Place, told};
use crate::output::{CommandError, Output, bytes};
use holdfast_client::journal::StorageTerms;
use holdfast_client::meter::Meter;
use holdfast_client::put::{PutOptions, Stored, put};
use holdfast_client::words::count;
use holdfast_market_core::units::Periods;
use std::path::PathBuf;

/// Store a file or folder: encrypt it, code it, and pay providers for keeping it.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  holdfast put photos --network my-net\n\nInterrupted, the same command goes on from where it was, and pays nothing twice."
)]
pub struct PutArgs {
    /// The file or folder.
    path: PathBuf,
    #[command(flatten)]
    place: Place,
    /// What to call it; by default as the file is called.
    #[arg(long)]
    name: Option<String>,
    /// Shards that suffice to get it back.
    #[arg(long, default_value_t = 3)]
    data_shards: u8,
    /// Shards in all, each at a provider of its own.
    #[arg(long, default_value_t = 6)]
    total_shards: u8,
    /// For how many proving periods.
    #[arg(long, default_value_t = 180)]
    term: u64,
    /// Code here and send every shard from here, instead of through one storage node.
    #[arg(long)]
    direct: bool,
    /// Let it take the place of what is stored under the same name.
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
pub async fn run(args: PutArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    let options = PutOptions {
        name: args.name,
        terms: StorageTerms {
            data_shards: args.data_shards,
            total_shards: args.total_shards,
            term: Periods(args.term),
        },
        direct: args.direct,
        replace: args.replace,
    };
    let meter = Meter::on_terminal();
    let done = put(&session, &args.path, &options, &meter).await;
    drop(meter);
    session.close().await;
    output.result(&done.map_err(told)?, describe)
}

fn describe(stored: &Stored) -> String {
    let shards: u64 = stored
        .packs
        .iter()
        .map(|pack| pack.shards.len() as u64)
        .sum();
    let mut providers: Vec<u64> = stored
        .packs
        .iter()
        .flat_map(|pack| pack.shards.iter().map(|shard| shard.provider.0))
        .collect();
    providers.sort_unstable();
    providers.dedup();
    let mut text = format!(
        "stored {} ({} in {}) as {}\n{} in {} at {}; {} in escrow\nreceipt: {}",
        stored.name,
        bytes(stored.bytes.0),
        count(stored.files, "file"),
        stored.id,
        count(shards, "shard"),
        count(stored.packs.len() as u64, "pack"),
        count(providers.len() as u64, "provider"),
        stored.escrow,
        stored.receipt.display(),
    );
    for fault in &stored.around {
        text.push_str(&format!("\nwent around {fault}"));
    }
    if stored.resumed {
        text.push_str("\nthis finished an upload that was interrupted");
    }
    text
}
