//! `holdfast ls`: what is stored.

use super::client::{Place, told};
use super::status::Statuses;
use crate::output::{CommandError, Output, Table, bytes};
use holdfast_client::error::ClientError;
use holdfast_client::get::find;
use holdfast_client::listing::{Listing, listing};
use holdfast_client::published::current_or_local;
use holdfast_client::status::all;

/// List what is stored, or the files of one object.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast ls --network my-net\n  holdfast ls photos --network my-net"
)]
pub struct LsArgs {
    /// The name or id of an object whose files to list; its manifest is fetched.
    name: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub async fn run(args: LsArgs, output: &Output) -> Result<(), CommandError> {
    let session = args.place.open()?;
    let Some(name) = args.name else {
        let statuses = async {
            let catalogue = current_or_local(&session).await?;
            let objects = all(&session, &catalogue).await?;
            Ok::<_, ClientError>(Statuses { objects })
        };
        let statuses = statuses.await;
        session.close().await;
        return output.result(&statuses.map_err(told)?, table);
    };
    let listed = async {
        let catalogue = current_or_local(&session).await?;
        listing(&session, find(&catalogue, &name)?).await
    };
    let listed = listed.await;
    session.close().await;
    output.result(&listed.map_err(told)?, files)
}

fn table(statuses: &Statuses) -> String {
    if statuses.objects.is_empty() {
        return "nothing is stored yet".into();
    }
    let mut table = Table::new(["name", "state", "files", "size", "id"]);
    for object in &statuses.objects {
        table.row([
            object.name.clone(),
            object.state.to_string(),
            object.files.to_string(),
            bytes(object.bytes.0),
            object.id.map_or_else(|| "-".into(), |id| id.to_string()),
        ]);
    }
    table.to_string()
}

fn files(listing: &Listing) -> String {
    let mut table = Table::new(["kind", "mode", "size", "path"]);
    for entry in &listing.entries {
        table.row([
            entry.kind.to_owned(),
            format!("{:o}", entry.mode),
            bytes(entry.size.0),
            entry.path.clone(),
        ]);
    }
    table.to_string()
}
