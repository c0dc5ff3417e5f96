//! What is in one object.

use crate::catalogue::ObjectRecord;
use crate::error::ClientError;
use crate::manifest::{Kind, Timestamp};
use crate::reader::OpenObject;
use crate::session::Session;
use holdfast_market_core::units::ByteCount;
use serde::Serialize;

/// The files, folders and links of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The object's name.
    pub name: String,
    /// What is in it, the object itself first.
    pub entries: Vec<ListedEntry>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedEntry {
    /// Its path, the object's file name first.
    pub path: String,
    /// `file`, `folder` or `link`.
    pub kind: &'static str,
    /// Plain bytes.
    pub size: ByteCount,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified: Timestamp,
}

/// Fetches an object's manifest and lists what it names.
///
/// # Errors
/// Providers or bytes that cannot be had.
pub async fn listing(session: &Session, record: &ObjectRecord) -> Result<Listing, ClientError> {
    let object = OpenObject::open(session, record).await?;
    let entries = object.manifest.entries().iter().enumerate();
    let entries = entries.map(|(index, entry)| ListedEntry {
        path: object.manifest.path_text(index),
        kind: match entry.kind {
            Kind::Directory => "folder",
            Kind::Symlink { .. } => "link",
            Kind::File { .. } => "file",
        },
        size: entry.size(),
        mode: entry.mode,
        modified: entry.modified,
    });
    Ok(Listing {
        name: record.name.clone(),
        entries: entries.collect(),
    })
}
