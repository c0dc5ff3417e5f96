//! Storing an object: plan, quote, upload, pay, publish. Interrupted anywhere, the same command
//! goes on; what is paid is never paid again.

mod begin;
mod work;

use begin::{Earlier, begin, check_terms, earlier};
use work::Work;

use crate::catalogue::ObjectId;
use crate::error::ClientError;
use crate::journal::StorageTerms;
use crate::meter::Meter;
use crate::packing::check_name;
use crate::placement::Survey;
use crate::published::read_current;
use crate::session::Session;
use crate::walk::Source;
use holdfast_market_core::units::{Amount, ByteCount, Height, PackId, ProviderId, ShardIndex};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How an object is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOptions {
    /// What to call it; by default as the file is called.
    pub name: Option<String>,
    /// Shards and term.
    pub terms: StorageTerms,
    /// Whether to code and send every shard from here, instead of through one node.
    pub direct: bool,
    /// Whether an object of the same name may be forgotten for this one.
    pub replace: bool,
}

/// What was stored where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// The object's name.
    pub name: String,
    /// Its id.
    pub id: ObjectId,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: ByteCount,
    /// Its packs.
    pub packs: Vec<StoredPack>,
    /// In escrow for it.
    pub escrow: Amount,
    /// The portable receipt's file.
    pub receipt: PathBuf,
    /// Whether this finished an upload that was interrupted.
    pub resumed: bool,
    /// Whether the wallet's name now points at a catalogue that has it.
    pub published: bool,
    /// Who failed or lied on the way, in sentences; it went around them.
    pub around: Vec<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// One pack of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredPack {
    /// Its name, and that of its deal set.
    pub pack: PackId,
    /// Bytes of ciphertext.
    pub length: ByteCount,
    /// The block of its deal set.
    pub height: Height,
    /// Its shards.
    pub shards: Vec<StoredShard>,
}

/// One shard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StoredShard {
    /// Which.
    pub shard: ShardIndex,
    /// Who has it.
    pub provider: ProviderId,
}

/// Stores a file or folder.
///
/// # Errors
/// A source that cannot be read, too few providers, too little room or money (before anything is
/// sent or paid), or a network that fails on the way (then the same command goes on from there).
pub async fn put(
    session: &Session,
    path: &Path,
    options: &PutOptions,
    meter: &Meter,
) -> Result<Stored, ClientError> {
    let began = Instant::now();
    check_terms(options.terms)?;
    let source = tokio::task::block_in_place(|| Source::walk(path))?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => source
            .found
            .first()
            .map(|found| found.name.to_text())
            .unwrap_or_default(),
    };
    check_name(&name)?;
    let _held = session.wallet().lock(session.network_id())?;
    meter.wait("asking the network");
    let mut catalogue = read_current(session).await?;
    let earlier = earlier(session, &catalogue, &source, &name, options.terms).await?;
    let survey = Survey::ask(session.ledger(), session.peers()).await?;
    let work = |journal| Work {
        session,
        survey: &survey,
        journal,
        direct: options.direct,
        meter,
        around: Vec::new(),
    };
    let resumed = matches!(earlier, Earlier::Same(_));
    let mut as_it_was = "";
    let journal = match earlier {
        Earlier::Same(journal) => Some(journal),
        Earlier::Nothing => None,
        Earlier::Paid(journal) => {
            work(journal).finish(&mut catalogue).await?;
            as_it_was = ", as it was when its upload was interrupted";
            None
        }
    };
    let journal = match journal {
        Some(journal) => journal,
        None => {
            if !options.replace && catalogue.objects().iter().any(|object| object.name == name) {
                return Err(ClientError::failed(
                    format!("`{name}` is stored already{as_it_was}"),
                    "give another name with --name, or --replace to let this take its place",
                ));
            }
            begin(session, source, &name, options.terms, &survey, &catalogue).await?
        }
    };
    let mut work = work(journal);
    work.packs(&catalogue).await?;
    let mut stored = work.finish(&mut catalogue).await?;
    stored.resumed = resumed;
    stored.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(stored)
}
