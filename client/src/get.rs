//! Getting an object back.

use crate::catalogue::{Catalogue, ObjectRecord};
use crate::error::ClientError;
use crate::meter::Meter;
use crate::reader::{ContentReader, OpenObject};
use crate::restore::Restoration;
use crate::session::Session;
use holdfast_market_core::units::{Amount, ByteCount};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Got {
    /// The object's name.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: ByteCount,
    /// Paid for reading.
    pub paid: Amount,
    /// Who failed or lied on the way, in sentences; it went around them.
    pub around: Vec<String>,
}

/// The object of a name or id.
///
/// # Errors
/// There is none; the error says how to list what there is.
pub fn find<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a ObjectRecord, ClientError> {
    catalogue.find(name).ok_or_else(|| {
        ClientError::not_found(
            format!("nothing named `{name}` is stored"),
            "`holdfast ls` lists what is",
        )
    })
}

/// Fetches an object into `folder`, under its own file name. Every byte is verified; nothing is
/// under the name until all of it is on the disk.
///
/// # Errors
/// Providers or bytes that cannot be had, or a target that is there already.
pub async fn get(
    session: &Session,
    record: &ObjectRecord,
    folder: &Path,
    force: bool,
    meter: &Meter,
) -> Result<Got, ClientError> {
    meter.wait("asking its providers");
    let object = OpenObject::open(session, record).await?;
    let restoration = Restoration::begin(&object.manifest, folder, force)?;
    meter.begin("fetching", record.bytes);
    let mut files = 0;
    let mut bytes = 0u64;
    for (index, entry) in object.manifest.entries().iter().enumerate() {
        if !matches!(entry.kind, crate::manifest::Kind::File { .. }) {
            continue;
        }
        let (mut file, path) = restoration.create(index)?;
        if let Some(content) = object.content(index)? {
            write(&content, &mut file, &path, meter).await?;
        }
        files += 1;
        bytes = bytes.saturating_add(entry.size().0);
    }
    meter.wait("writing it to the disk");
    let path = restoration.finish()?;
    Ok(Got {
        name: record.name.clone(),
        path,
        files,
        bytes: ByteCount(bytes),
        paid: session.purse().spent(),
        around: object.reader.around(),
    })
}

/// Plain bytes that are asked for at once.
const STEP: usize = 1 << 20;

async fn write(
    content: &ContentReader,
    file: &mut File,
    path: &Path,
    meter: &Meter,
) -> Result<(), ClientError> {
    let size = content.chunks().plain_length().0;
    let mut at = 0u64;
    while at < size {
        let plain = content.read(at, STEP).await?;
        if plain.is_empty() {
            return Err(ClientError::failed(
                format!("{} ends before its end", path.display()),
                "this object cannot be read; run `holdfast status`",
            ));
        }
        // A disk is faster than what fills it here; the little wait is in the same task.
        tokio::task::block_in_place(|| file.write_all(&plain)).map_err(ClientError::io(path))?;
        at = at.saturating_add(plain.len() as u64);
        meter.add(ByteCount(plain.len() as u64));
    }
    Ok(())
}
