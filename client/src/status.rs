//! What became of what was stored.

use crate::catalogue::{Catalogue, ObjectId, ObjectRecord};
use crate::error::ClientError;
use crate::journal::Journal;
use crate::session::Session;
use crate::states::{ObjectState, PackHealth, Sectors, object_state};
use holdfast_market_core::units::{ByteCount, ProviderId};
use holdfast_wire::ledger::LedgerError;
use serde::Serialize;
use std::collections::BTreeSet;

/// How one object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectStatus {
    /// Its name.
    pub name: String,
    /// Its id; an upload that is not finished has none yet.
    pub id: Option<ObjectId>,
    /// Its state.
    pub state: ObjectState,
    /// How many files it has.
    pub files: u64,
    /// Their plain bytes.
    pub bytes: ByteCount,
    /// Shards that suffice.
    pub data_shards: u8,
    /// Shards in all.
    pub total_shards: u8,
    /// When it was stored, in seconds since the Unix epoch.
    pub stored: u64,
    /// Its packs.
    pub packs: Vec<PackHealth>,
}

/// How the objects of a catalogue are, and the uploads that are not finished.
///
/// # Errors
/// The ledger does not answer.
pub async fn all(
    session: &Session,
    catalogue: &Catalogue,
) -> Result<Vec<ObjectStatus>, ClientError> {
    let mut statuses = Vec::new();
    let mut sectors = KnownSectors::default();
    for record in catalogue.objects() {
        statuses.push(status(session, record, &mut sectors).await?);
    }
    let journals = session.wallet().journal()?;
    for journal in Journal::list(&journals, || session.wallet().wrapping_key())? {
        statuses.push(unfinished(&journal));
    }
    Ok(statuses)
}

/// How one object is.
///
/// # Errors
/// The ledger does not answer.
pub async fn one(session: &Session, record: &ObjectRecord) -> Result<ObjectStatus, ClientError> {
    status(session, record, &mut KnownSectors::default()).await
}

/// Sectors asked for so far: all of a provider's at once, and each provider once.
#[derive(Default)]
struct KnownSectors {
    asked: BTreeSet<ProviderId>,
    sectors: Sectors,
}

impl KnownSectors {
    async fn ask(&mut self, session: &Session, provider: ProviderId) -> Result<(), ClientError> {
        if self.asked.insert(provider) {
            for sector in session.ledger().sectors(provider).await? {
                self.sectors.insert(sector.id, sector);
            }
        }
        Ok(())
    }
}

async fn status(
    session: &Session,
    record: &ObjectRecord,
    sectors: &mut KnownSectors,
) -> Result<ObjectStatus, ClientError> {
    let mut packs = Vec::with_capacity(record.packs.len());
    for pack in record.packs.iter().flatten() {
        packs.push(match session.ledger().deal_set(*pack).await {
            Ok(set) => {
                for deal in &set.deals {
                    sectors.ask(session, deal.provider).await?;
                }
                PackHealth::of(&set, &sectors.sectors)
            }
            Err(LedgerError::NotFound(_)) => PackHealth::unknown(*pack, record.data_shards),
            Err(error) => return Err(error.into()),
        });
    }
    Ok(ObjectStatus {
        name: record.name.clone(),
        id: Some(record.id),
        state: object_state(&packs),
        files: record.files,
        bytes: record.bytes,
        data_shards: record.data_shards,
        total_shards: record.total_shards,
        stored: record.stored,
        packs,
    })
}

/// An upload that was interrupted: the same `put` again finishes it.
fn unfinished(journal: &Journal) -> ObjectStatus {
    let plan = &journal.plan;
    let sent = journal
        .progress
        .packs
        .iter()
        .any(|pack| !pack.receipts.is_empty());
    ObjectStatus {
        name: plan.name.clone(),
        id: None,
        state: if sent {
            ObjectState::Uploading
        } else {
            ObjectState::Local
        },
        files: plan.source.files(),
        bytes: plan.source.bytes(),
        data_shards: plan.terms.data_shards,
        total_shards: plan.terms.total_shards,
        stored: plan.begun,
        packs: Vec::new(),
    }
}
