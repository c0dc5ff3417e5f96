//! `holdfast renew`: keep what is stored for longer.

use super::client::{Place, told};
use crate::output::{CommandError, Output};
use holdfast_client::error::ClientError;
use holdfast_client::meter::Meter;
use holdfast_client::published::current_or_local;
use holdfast_client::renew::{Renewed, named, renew};
use holdfast_client::session::Session;
use holdfast_client::words::count;
use holdfast_market_core::units::Periods;
use serde::Serialize;

/// Keep what is stored for longer: its providers are paid on at the prices of its deals.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast renew photos --network my-net\n  holdfast renew --term 360 --network my-net\n\nWhat is kept for so long already costs nothing: the same command again pays nothing twice."
)]
pub struct RenewArgs {
    /// Names or ids of objects; by default all.
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// For at least how many proving periods from now.
    #[arg(long, default_value_t = 180)]
    term: u64,
}

#[derive(Serialize)]
struct Answer {
    term: u64,
    objects: Vec<Renewed>,
}

/// Runs the command.
pub async fn run(args: RenewArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    let renewed = renewed(&session, &args.names, Periods(args.term)).await;
    session.close().await;
    let answer = Answer {
        term: args.term,
        objects: renewed.map_err(told)?,
    };
    output.result(&answer, describe)
}

async fn renewed(
    session: &Session,
    names: &[String],
    term: Periods,
) -> Result<Vec<Renewed>, ClientError> {
    let catalogue = current_or_local(session).await?;
    let objects = named(&catalogue, names)?;
    renew(session, &objects, term, &Meter::on_terminal()).await
}

fn describe(answer: &Answer) -> String {
    if answer.objects.is_empty() {
        return "nothing is stored yet".into();
    }
    let mut lines = Vec::new();
    for object in &answer.objects {
        if object.packs.is_empty() {
            lines.push(format!(
                "{} is kept for {} periods or more already",
                object.name, answer.term
            ));
            continue;
        }
        let shards: usize = object.packs.iter().map(|pack| pack.kept).sum();
        lines.push(format!(
            "{} is kept for {} periods from now: {} in {}, {} more in escrow",
            object.name,
            answer.term,
            count(shards as u64, "shard"),
            count(object.packs.len() as u64, "pack"),
            object.escrow,
        ));
        for pack in &object.packs {
            for provider in &pack.left_out {
                lines.push(format!(
                    "provider {provider} does not go on with its shard of pack {}",
                    pack.pack
                ));
            }
        }
    }
    lines.join("\n")
}
