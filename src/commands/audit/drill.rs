//! The audit put to the test on the ledger at hand.

use super::Place;
use super::{progress, told};
use crate::output::{CommandError, Output};
use holdfast_market::audit::drill::{self, Drill, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

/// Put the audit to the test: audit the ledger as it is, and then with one byte changed in each of
/// twelve places, of which every one must be refused. The ledger itself is only read.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast audit drill --network FOLDER\n  holdfast audit drill --network FOLDER --ledger DIR\n\nExits 0 if the ledger holds as it is and no changed one does."
)]
pub struct DrillArgs {
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(super) async fn run(args: DrillArgs, output: &Output) -> Result<(), CommandError> {
    let (folder, source) = args.place.open()?;
    let keys = super::super::verifying_keys(&folder)?;
    let (bar, watch) = progress("audit")?;
    let style = "drill {bar:30} place {pos} of {len}, {elapsed} so far, {eta} left";
    let places = ProgressBar::hidden().with_style(ProgressStyle::with_template(style)?);
    let step = |done: usize, all: usize| {
        if done == 0 {
            bar.finish_and_clear();
            places.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
        places.set_length(u64::try_from(all).unwrap_or(u64::MAX));
        places.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    };
    let result = drill::drill(folder.genesis(), &keys, source, watch, step).await;
    bar.finish_and_clear();
    places.finish_and_clear();
    let drilled = result.map_err(told)?;
    output.result(&drilled, describe)?;
    match drilled.missed().as_slice() {
        [] => Ok(()),
        missed => Err(CommandError::failed(
            format!("the audit has not named a change of {}", missed.join(", ")),
            "do not rely on this version's audits; report this, with the network's folder and the ledger",
        )),
    }
}

fn describe(drilled: &Drill) -> String {
    let unchanged = &drilled.unchanged;
    let mut text = format!(
        "As it is, everything holds from the genesis to block {}, {} proofs verified again.\n",
        unchanged.height,
        unchanged.proofs.total(),
    );
    for (number, place) in (1..).zip(&drilled.places) {
        let at = match place.byte {
            Some(byte) if byte.block.0 > 0 => {
                format!(", byte {} of block {}", byte.offset, byte.block)
            }
            Some(byte) => format!(", its byte {}", byte.offset),
            None => String::new(),
        };
        let said = match &place.verdict {
            Verdict::Refused {
                block: Some(block),
                reason,
                ..
            } => format!("refused at block {block}: {reason}"),
            Verdict::Refused { reason, .. } => format!("refused: {reason}"),
            Verdict::Passed => "NOT SEEN by the audit".into(),
            Verdict::Astray { block, reason } => {
                format!("NOT NAMED by the audit, which refused block {block}: {reason}")
            }
            Verdict::Absent => "this ledger has none".into(),
        };
        text.push_str(&format!("\n{number:>2}  {}{at}\n    {said}", place.part));
    }
    let tried = drilled.refused().saturating_add(drilled.missed().len());
    text.push_str(&format!(
        "\n\n{} of {tried} changed bytes were refused.",
        drilled.refused()
    ));
    text
}
