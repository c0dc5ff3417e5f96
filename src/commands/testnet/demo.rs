//! `holdfast testnet demo`: what it says on its way, and its table at the end.

use super::{command_error, commands};
use crate::output::{CommandError, Output, Table, bytes};
use holdfast_testnet::demo::{DemoEvent, DemoOptions, DemoReport, STEPS};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;

/// The whole idea on this machine: store, prove, kill half, fetch back, audit.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast testnet demo README.md\n  holdfast testnet demo my-folder --keep\n  holdfast testnet demo --validators 4"
)]
pub struct DemoArgs {
    /// The file or folder to store [default: some files of the clone that it stands in].
    path: Option<PathBuf>,
    /// Leave the network running, and say how to use it.
    #[arg(long)]
    keep: bool,
    /// How many markets, each a validator; of more than one, one is killed half way and comes back.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    validators: u8,
    /// How many storage nodes; half of them are killed.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=32))]
    nodes: u8,
    /// The folder of the network [default: one in ~/.cache/holdfast/demo].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write the seconds of each step to this file, as JSON rows.
    #[arg(long)]
    figures: Option<PathBuf>,
}

/// Runs the demo.
pub(super) async fn run(args: DemoArgs, output: &Output) -> Result<(), CommandError> {
    let options = DemoOptions {
        path: args.path,
        folder: args.folder,
        validators: args.validators,
        nodes: args.nodes,
        keep: args.keep,
    };
    let spinner = spinner();
    let mut say = |event| match event {
        DemoEvent::Began { number, name } => {
            spinner.suspend(|| output.line(format!("{number}/{} {name}", STEPS.len())));
            spinner.set_message(name);
        }
        DemoEvent::Waiting(text) => spinner.set_message(text),
        DemoEvent::Said(text) => spinner.suspend(|| output.line(format!("    {text}"))),
        DemoEvent::Ended { seconds } => {
            spinner.suspend(|| output.line(format!("    done in {seconds:.1} s")));
        }
    };
    let report = holdfast_testnet::demo::run(&options, &commands()?, &mut say)
        .await
        .map_err(command_error)?;
    spinner.finish_and_clear();
    if let Some(failure) = &report.failure {
        let sentence = format!("the step `{}` failed: {}", failure.step, failure.reason);
        let logs = format!("the logs are in {}", failure.logs.display());
        let next = if failure.next.is_empty() {
            logs
        } else {
            format!("{}; {logs}", failure.next)
        };
        if output.json() {
            // The one object is the report; the sentence goes to stderr alone.
            output.result(&report, |_| String::new())?;
            return Err(CommandError::failed(sentence, next).reported());
        }
        return Err(CommandError::failed(sentence, next));
    }
    if let Some(path) = &args.figures {
        let rows = serde_json::to_vec_pretty(&report.figures())?;
        std::fs::write(path, rows).map_err(|error| {
            CommandError::failed(
                format!("{}: {error}", path.display()),
                "name another file with --figures",
            )
        })?;
    }
    output.result(&report, text)
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("    {spinner} {wide_msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn text(report: &DemoReport) -> String {
    let mut parts = vec![String::new()];
    if let Some(stored) = &report.stored {
        parts.push(format!(
            "stored `{}`: {} files, {}; packs: {}, any {} of {} shards suffice",
            stored.name,
            stored.files,
            bytes(stored.bytes),
            report.after.as_ref().map_or(0, |view| view.deal_sets.len()),
            stored.k,
            stored.n
        ));
    }
    parts.push(providers(report));
    parts.push(wallet(report));
    parts.push(proofs(report));
    let mut steps = Table::new(["step", "seconds"]);
    for step in &report.steps {
        steps.row([step.name.to_owned(), format!("{:.1}", step.seconds)]);
    }
    steps.row(["all".into(), format!("{:.1}", report.seconds)]);
    parts.push(steps.to_string());
    if let Some((process, peak)) = report.peak_memory.iter().max_by_key(|(_, peak)| **peak) {
        parts.push(format!(
            "most memory of one process: {} ({process})",
            bytes(*peak)
        ));
    }
    if report.running {
        parts.push(how_to_use(report));
    }
    parts.push("All of it held.".into());
    parts.join("\n\n").trim_start().to_owned()
}

/// Where the shards lie, and what became of each provider.
fn providers(report: &DemoReport) -> String {
    let (Some(before), Some(after)) = (&report.before, &report.after) else {
        return String::new();
    };
    let mut table = Table::new([
        "node",
        "now",
        "shards",
        "sector",
        "met",
        "missed",
        "owner before",
        "owner after",
        "collateral",
        "earned",
        "paid",
        "fined",
    ]);
    let mut providers: Vec<_> = after.providers.iter().collect();
    providers.sort_by(|one, other| one.name.cmp(&other.name));
    for provider in providers {
        let name = provider.name.clone().unwrap_or_default();
        let killed = report.killed.contains(&name);
        let shards: Vec<_> = after
            .deals()
            .filter(|deal| deal.provider == provider.id)
            .map(|deal| format!("{} {}", deal.shard, deal.state))
            .collect();
        let owner_before = before
            .providers
            .iter()
            .find(|earlier| earlier.id == provider.id)
            .map_or_else(|| "-".into(), |earlier| earlier.owner.balance.to_string());
        table.row([
            name,
            if killed { "killed" } else { "alive" }.into(),
            shards.join(", "),
            provider
                .sectors
                .iter()
                .map(|sector| format!("{} {}", sector.number, sector.state))
                .collect::<Vec<_>>()
                .join(", "),
            provider.proven.to_string(),
            provider.missed.to_string(),
            owner_before,
            provider.owner.balance.to_string(),
            provider.collateral.to_string(),
            provider.rewarded.to_string(),
            provider.paid.to_string(),
            provider.fined.to_string(),
        ]);
    }
    table.to_string()
}

fn wallet(report: &DemoReport) -> String {
    let (Some(before), Some(after)) = (&report.before, &report.after) else {
        return String::new();
    };
    format!(
        "the wallet had {} before and has {} now; {} of escrow pays what is still to be proven",
        before.wallet.balance, after.wallet.balance, after.supply.escrow
    )
}

/// Proofs on the ledger by kind, with what verifying them took.
fn proofs(report: &DemoReport) -> String {
    let mut table = Table::new([
        "proof",
        "on the ledger",
        "bytes",
        "made in, each",
        "verified in, all",
    ]);
    for (kind, proofs) in &report.proofs {
        table.row([
            kind.clone(),
            proofs.count.to_string(),
            bytes(proofs.bytes),
            format!("{:.1} s", proofs.making_seconds),
            format!("{:.2} s", proofs.seconds),
        ]);
    }
    table.to_string()
}

fn how_to_use(report: &DemoReport) -> String {
    let folder = report.folder.display();
    let name = report
        .stored
        .as_ref()
        .map_or("NAME", |stored| stored.name.as_str());
    format!(
        "the network runs on; from a second shell (`--json` on each gives an object):\n  \
         holdfast put FILE --network {folder}\n  \
         holdfast get {name} --to somewhere --network {folder}\n  \
         holdfast ls --network {folder}\n  \
         holdfast status --network {folder}\n  \
         holdfast wallet balance --network {folder}\n  \
         holdfast node status --network {folder} --data {folder}/node-0\n  \
         holdfast audit --network {folder}\n  \
         holdfast testnet status {folder}\n  \
         holdfast testnet down {folder}"
    )
}
