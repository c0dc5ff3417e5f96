//! `holdfast mount`: what is stored, as a drive.

use super::client::{Place, told};
use crate::output::{CommandError, Output};
use holdfast_client::published::current_or_local;
use holdfast_client::words::count;
use holdfast_fuse::mount::mount;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether somebody else has unmounted the drive.
const LOOK: Duration = Duration::from_millis(500);

/// Mount what is stored as a read-only drive, until Ctrl-C.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  mkdir drive && holdfast mount drive --network my-net\n\nIt shows what was stored when it was mounted. `fusermount3 -u drive` unmounts it too."
)]
pub struct MountArgs {
    /// An empty folder.
    folder: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Unmounted {
    folder: PathBuf,
    objects: usize,
    skipped: Vec<String>,
}

/// Runs the command.
pub async fn run(args: MountArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    let catalogue = current_or_local(&session).await.map_err(told)?;
    // Before it is mounted: a signal in between must not leave it so.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mounted = mount(&session, &catalogue, &args.folder).await?;
    println!(
        "ready {} on {}{}",
        count(mounted.objects() as u64, "object"),
        args.folder.display(),
        if mounted.skipped().is_empty() {
            String::new()
        } else {
            format!(" (not readable now: {})", mounted.skipped().join(", "))
        }
    );
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(LOOK) => {
                if mounted.is_over() {
                    break;
                }
            }
        }
    }
    let unmounted = Unmounted {
        folder: args.folder,
        objects: mounted.objects(),
        skipped: mounted.skipped().to_vec(),
    };
    tokio::task::block_in_place(|| mounted.unmount())?;
    session.close().await;
    output.result(&unmounted, |unmounted| {
        format!("unmounted {}", unmounted.folder.display())
    })
}
