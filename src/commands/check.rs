//! `holdfast check`: whether providers still hold what they signed for.

use super::client::{Place, told};
use crate::output::{CommandError, Output, Table};
use holdfast_client::check::{
    Checked, DEFAULT_SAMPLES, Done, Finding, MOST_SAMPLES, check, demand, deposit,
};
use holdfast_client::error::ClientError;
use holdfast_client::get::find;
use holdfast_client::meter::Meter;
use holdfast_client::published::current_or_local;
use holdfast_client::session::Session;
use holdfast_client::words::count;

/// Sample what providers hold of an object, and bring frauds and broken promises before the ledger.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast check photos --network my-net\n  holdfast check photos --samples 16 --demand --network my-net\n\nExit codes: 0 all in order, 1 something was found; the table says what was done about it.\nA demand takes a deposit: half of it pays for an answer and half burns; where there is none it\ncomes back, and the provider is fined."
)]
pub struct CheckArgs {
    /// Its name or id.
    name: String,
    #[command(flatten)]
    place: Place,
    /// Places of each shard that are opened, chosen by chance: 1 to 16.
    #[arg(long, default_value_t = DEFAULT_SAMPLES, value_parser = samples)]
    samples: usize,
    /// Make providers that open nothing open on the ledger, where silence is fraud.
    #[arg(long)]
    demand: bool,
}

fn samples(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(samples) if (1..=MOST_SAMPLES).contains(&samples) => Ok(samples),
        _ => Err(format!("give a number from 1 to {MOST_SAMPLES}")),
    }
}

/// Runs the command.
pub async fn run(args: CheckArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    let checked = look(&session, &args, output).await;
    let each = deposit(&session).await;
    session.close().await;
    let checked = checked.map_err(told)?;
    output.result(&checked, describe)?;
    let found = checked.found();
    if found == 0 {
        return Ok(());
    }
    let can_be_demanded = checked.unopened() > 0;
    let next = if can_be_demanded && !args.demand {
        format!(
            "`holdfast check {} --demand` makes providers open on the ledger, for a deposit of {} each",
            args.name,
            each.map_err(|error| told(error.into()))?
        )
    } else {
        format!(
            "`holdfast status {}` shows how many shards are left",
            args.name
        )
    };
    let of = count(checked.shards.len() as u64, "shard");
    let sentence = format!("{found} of {of} of {} not in order", checked.name);
    Err(CommandError::failed(sentence, next).reported())
}

async fn look(
    session: &Session,
    args: &CheckArgs,
    output: &Output,
) -> Result<Checked, ClientError> {
    let catalogue = current_or_local(session).await?;
    let record = find(&catalogue, &args.name)?;
    let meter = Meter::on_terminal();
    let mut checked = check(session, record, args.samples, &meter).await?;
    let unopened = checked.unopened();
    if args.demand && unopened > 0 {
        output.line(format!(
            "demanding {}, for a deposit of {} each",
            count(unopened as u64, "opening"),
            deposit(session).await?
        ));
        demand(session, &mut checked, &meter).await;
    }
    Ok(checked)
}

fn describe(checked: &Checked) -> String {
    let mut table = Table::new(["pack", "shard", "provider", "sampled", "found", "done"]);
    for shard in &checked.shards {
        let known = shard.finding != Finding::Unknown;
        let number = |number: String| if known { number } else { "-".into() };
        table.row([
            shard.pack.to_string().chars().take(12).collect(),
            number(shard.shard.to_string()),
            number(shard.provider.to_string()),
            shard.sampled.len().to_string(),
            shard.words.clone(),
            shard.done.as_ref().map_or_else(|| "-".into(), said),
        ]);
    }
    let mut text = table.to_string();
    if checked.found() == 0 {
        let shards = count(checked.shards.len() as u64, "shard");
        text.push_str(&format!("\n{}: {shards}, all in order", checked.name));
    }
    text
}

fn said(done: &Done) -> String {
    match done {
        Done::FraudShown {
            height,
            reward,
            refund,
        } => format!(
            "fraud shown at height {height}: {reward} for this wallet, {refund} back from escrow"
        ),
        Done::PromiseClaimed { height, reward } => {
            format!("claimed at height {height}: {reward} for this wallet")
        }
        Done::OpeningDemanded { deposit, due, .. } => {
            format!("opening demanded by height {due}, {deposit} deposited")
        }
        Done::Refused(sentence) => format!("the ledger refused: {sentence}"),
        Done::Failed(sentence) => format!("not done, run the command again: {sentence}"),
    }
}
