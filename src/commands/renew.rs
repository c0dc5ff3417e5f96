//! `holdfast renew`: keep what is stored for longer.

use super::client::{Place, told};
use crate::output::{CommandError, Output};
use holdfast_client::error::ClientError;
use holdfast_client::meter::Meter;
use holdfast_client::published::current_or_local;
use holdfast_client::renew::{Renewed, named, renew};
use holdfast_client::session::Session;
use holdfast_client::words::count;
use holdfast_market_core::units::{Amount, Periods};
use serde::Serialize;

/// Keep what is stored for longer: its providers are paid on at the prices of its deals.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast renew photos --network my-net\n  holdfast renew --term 360 --network my-net\n\nWhat is kept for so long already costs nothing: the same command again pays nothing twice.\nExit codes: 0 all is kept, 1 something cannot be; the others are kept all the same."
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
    output.result(&answer, describe)?;
    let lost: Vec<&str> = answer
        .objects
        .iter()
        .filter(|object| object.refused.is_some())
        .map(|object| object.name.as_str())
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(CommandError::failed(
        format!(
            "not everything can be kept for {} periods: {}",
            answer.term,
            lost.join(", ")
        ),
        "the answer says why of each; `holdfast status` shows how many periods are left",
    ))
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
        if let Some(why) = &object.refused {
            lines.push(format!("{} is not kept for longer: {why}", object.name));
            continue;
        }
        let shards: usize = object.packs.iter().map(|pack| pack.kept).sum();
        let paid = match object.escrow {
            Amount::ZERO => "paid already".to_owned(),
            escrow => format!("{escrow} more in escrow"),
        };
        lines.push(format!(
            "{} is kept for {} periods from now: {} in {}, {paid}",
            object.name,
            answer.term,
            count(shards as u64, "shard"),
            count(object.packs.len() as u64, "pack"),
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
