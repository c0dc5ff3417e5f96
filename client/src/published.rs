//! The catalogue in the network: read by whoever has the phrase, published with each put.

use crate::catalogue::{BLOCK_LENGTH_BYTES, CATALOGUE_LABEL, Catalogue, CatalogueError, ObjectId};
use crate::error::ClientError;
use crate::reader::PackReader;
use crate::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::state::{DealSet, Name};
use holdfast_wire::ledger::LedgerError;
use holdfast_wire::protocol::ByteRange;

/// What is read of a pack's end at first: most catalogues are no longer.
const FIRST_READ: u64 = 64 << 10;

/// The number of the pack that carries a published catalogue: so that whoever knows the name's
/// CID finds the pack among the wallet's deal sets.
pub fn carrier_nonce(root: &ObjectId) -> u64 {
    let (first, _) = root.digest().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

/// What the wallet's name points at; nothing before the first put.
///
/// # Errors
/// The ledger does not answer.
pub async fn published(session: &Session) -> Result<Option<Name>, ClientError> {
    let name = session.ledger().name(session.address(), CATALOGUE_LABEL);
    match name.await {
        Ok(name) => Ok(Some(name)),
        Err(LedgerError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The wallet's catalogue: what its folder has, and what another machine with the same phrase has
/// published since. New things are written to the folder, unless another command holds it.
///
/// # Errors
/// The ledger does not answer, or what was published cannot be read.
pub async fn current(session: &Session) -> Result<Catalogue, ClientError> {
    let held = session.wallet().try_lock(session.network_id())?;
    let local = session.wallet().catalogue();
    let known = local.map_or(0, |catalogue| catalogue.published);
    let catalogue = read_current(session).await?;
    if held.is_some() && catalogue.published > known {
        session.wallet().save_catalogue(&catalogue)?;
    }
    Ok(catalogue)
}

/// The same, written nowhere. Where the folder's file is damaged, what was published stands for it.
///
/// # Errors
/// As [`current`].
pub async fn read_current(session: &Session) -> Result<Catalogue, ClientError> {
    let local = session.wallet().catalogue();
    let Some(name) = published(session).await? else {
        return local;
    };
    let mut catalogue = match local {
        Ok(catalogue) => catalogue,
        // A file that cannot be read now may be whole: it is not written over.
        Err(error @ ClientError::Io { .. }) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the catalogue is read from the network; what was never published is not in it");
            Catalogue::default()
        }
    };
    if name.version > catalogue.published {
        let mut newer = fetch(session, &name).await?;
        newer.published = name.version;
        catalogue.merge(newer);
    }
    Ok(catalogue)
}

/// The same for a command that only shows: where the network cannot say, what the folder has.
///
/// # Errors
/// A wallet folder that cannot be read.
pub async fn current_or_local(session: &Session) -> Result<Catalogue, ClientError> {
    match current(session).await {
        Ok(catalogue) => Ok(catalogue),
        Err(error) => {
            let local = session.wallet().catalogue()?;
            if local.objects().is_empty() {
                return Err(error);
            }
            tracing::warn!(%error, "showing what the wallet's folder has");
            Ok(local)
        }
    }
}

async fn fetch(session: &Session, name: &Name) -> Result<Catalogue, ClientError> {
    let unreadable = |reason: &str| {
        ClientError::failed(
            format!("the wallet's name points at a catalogue that cannot be read: {reason}"),
            "it was published by another program or from another wallet of this account",
        )
    };
    let root = ObjectId::from_bytes(&name.root).ok_or_else(|| unreadable("no catalogue's CID"))?;
    let nonce = carrier_nonce(&root);
    let sets = session.ledger().deal_sets_of(session.address()).await?;
    let carrier: Option<DealSet> = sets
        .into_iter()
        .find(|set| set.proposal.pack.nonce == nonce);
    let carrier = carrier.ok_or_else(|| unreadable("no deal set carries it"))?;
    let pack = carrier.id;
    let length = carrier.proposal.pack.length.0;
    let reader = PackReader::of_sets(session, vec![carrier]).await?;
    let end = |bytes: u64| ByteRange {
        start: length.saturating_sub(bytes),
        end: length,
    };
    let mut tail = reader.read(0, end(FIRST_READ)).await?;
    let needed = Catalogue::block_length(&tail)?;
    if needed.0 > length || needed.0 <= BLOCK_LENGTH_BYTES as u64 {
        return Err(CatalogueError::TooLarge(needed).into());
    }
    if needed.0 > tail.len() as u64 {
        tail = reader.read(0, end(needed.0)).await?;
    }
    let from = tail
        .len()
        .saturating_sub(usize::try_from(needed.0).unwrap_or(usize::MAX));
    let block = tail.get(from..).unwrap_or_default();
    if ObjectId::of(block) != root {
        return Err(unreadable("its bytes have another CID"));
    }
    Ok(Catalogue::from_block(
        &session.wallet().wrapping_key(),
        block,
        pack,
    )?)
}

/// Points the wallet's name at a catalogue that is stored, as `version`. Pointing it twice at the
/// same is done once.
///
/// # Errors
/// The ledger refuses: another machine with the same phrase published meanwhile.
pub async fn publish(session: &Session, root: &ObjectId, version: u64) -> Result<(), ClientError> {
    let now = published(session).await?;
    if now.is_some_and(|name| name.root == root.to_bytes()) {
        return Ok(());
    }
    session
        .sender()
        .send(Body::PublishName {
            label: CATALOGUE_LABEL.into(),
            version,
            root: root.to_bytes(),
            lease: None,
        })
        .await?;
    Ok(())
}
