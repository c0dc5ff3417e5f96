//! `holdfast status`: how what is stored is, and whether a receipt holds.

use super::client::{Place, told};
use crate::output::{CommandError, Output, Table, bytes};
use holdfast_client::error::ClientError;
use holdfast_client::get::find;
use holdfast_client::published::current_or_local;
use holdfast_client::receipt::PortableReceipt;
use holdfast_client::session::Session;
use holdfast_client::status::{ObjectStatus, all, one};
use holdfast_client::words::count;
use holdfast_market_core::units::Height;
use holdfast_wire::atomic::read_bounded;
use holdfast_wire::network::NetworkFolder;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A receipt has a few KiB a pack; this is more than ten thousand packs.
const RECEIPT_LIMIT: u64 = 256 << 20;

/// Show how what is stored is: who has it, what is proven, what failed.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast status --network my-net\n  holdfast status photos --network my-net\n  holdfast status --receipt FILE --network my-net\n  holdfast status --receipt FILE --follow --network my-net\n\nStates: local, uploading, stored (signed and paid), proven (on the chain), degraded, lost."
)]
pub struct StatusArgs {
    /// The name or id of one object; by default all.
    name: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Check a portable receipt instead: offline, by the network's folder alone.
    #[arg(long, conflicts_with = "name")]
    receipt: Option<PathBuf>,
    /// Ask a market, and follow its chain to the receipt's blocks instead of trusting the network's
    /// first validators.
    #[arg(long, requires = "receipt")]
    follow: bool,
}

/// How objects are.
#[derive(Serialize)]
pub struct Statuses {
    /// By name.
    pub objects: Vec<ObjectStatus>,
}

#[derive(Serialize)]
struct Checked {
    object: String,
    packs: usize,
    shards: usize,
    holds: bool,
    /// Up to which block the chain was followed; none where the network's first validators were
    /// trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    followed: Option<Height>,
}

/// Runs the command.
pub async fn run(args: StatusArgs, output: &Output) -> Result<(), CommandError> {
    if let Some(path) = &args.receipt {
        return check_receipt(args.place.network(), path, args.follow, output).await;
    }
    let session = args.place.open()?;
    let objects = statuses(&session, args.name.as_deref()).await;
    session.close().await;
    let objects = objects.map_err(told)?;
    output.result(&Statuses { objects }, describe)
}

async fn statuses(session: &Session, name: Option<&str>) -> Result<Vec<ObjectStatus>, ClientError> {
    let catalogue = current_or_local(session).await?;
    let Some(name) = name else {
        return all(session, &catalogue).await;
    };
    if catalogue.find(name).is_none() {
        // It may be an upload that is not finished.
        let mut unfinished = all(session, &catalogue).await?;
        unfinished.retain(|object| object.name == name);
        if !unfinished.is_empty() {
            return Ok(unfinished);
        }
    }
    Ok(vec![one(session, find(&catalogue, name)?).await?])
}

fn describe(statuses: &Statuses) -> String {
    if statuses.objects.is_empty() {
        return "nothing is stored yet".into();
    }
    let mut parts = Vec::new();
    for object in &statuses.objects {
        let mut text = format!(
            "{}: {} ({} in {}, {} of {})",
            object.name,
            object.state,
            bytes(object.bytes.0),
            count(object.files, "file"),
            object.data_shards,
            object.total_shards,
        );
        for pack in &object.packs {
            text.push_str(&format!(
                "\npack {}: {}, {} healthy of which {} suffice\n",
                pack.pack,
                pack.state,
                count(pack.healthy as u64, "shard"),
                pack.data_shards
            ));
            let mut table = Table::new([
                "shard",
                "provider",
                "sector",
                "paid periods",
                "left",
                "status",
            ]);
            for shard in &pack.shards {
                table.row([
                    shard.shard.to_string(),
                    shard.provider.to_string(),
                    shard
                        .sector
                        .map_or_else(|| "-".into(), |sector| sector.to_string()),
                    shard.paid_periods.to_string(),
                    shard.periods_left.to_string(),
                    shard.status.clone(),
                ]);
            }
            text.push_str(&table.to_string());
        }
        parts.push(text);
    }
    parts.join("\n\n")
}

/// Checks a receipt by itself and the network's folder; a market is asked only where the chain is to be
/// followed.
pub(super) async fn check_receipt(
    network: &Path,
    path: &Path,
    follow: bool,
    output: &Output,
) -> Result<(), CommandError> {
    let network = NetworkFolder::open(network)?;
    let text = read_bounded(path, RECEIPT_LIMIT).map_err(|error| {
        CommandError::failed(
            format!("{} cannot be read: {error}", path.display()),
            "`holdfast put` prints where it wrote the receipt",
        )
    })?;
    let receipt = PortableReceipt::parse(&text)?;
    let followed = if follow {
        let (mut light, bar) = super::light::open(&network)?;
        let shown = receipt.verify_on(&mut light).await;
        bar.finish_and_clear();
        shown.map_err(told)?;
        Some(light.chain().height())
    } else {
        receipt.verify(network.network(), &network.genesis().validators)?;
        None
    };
    let checked = Checked {
        object: receipt.object.to_string(),
        packs: receipt.packs.len(),
        shards: receipt.packs.iter().map(|pack| pack.signed.len()).sum(),
        holds: true,
        followed,
    };
    output.result(&checked, |checked| {
        format!(
            "the receipt holds: {} in {} of {} are promised, and their deals are on the chain{}",
            count(checked.shards as u64, "shard"),
            count(checked.packs as u64, "pack"),
            checked.object,
            match checked.followed {
                Some(height) => format!(" that was followed to block {height}"),
                None => " by the network's first validators".into(),
            }
        )
    })
}
