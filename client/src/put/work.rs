//! An upload under way: each pack is sent, paid and proven to be funded, and in the end published.

use super::{Stored, StoredPack, StoredShard};
use crate::catalogue::{Catalogue, ObjectId};
use crate::error::ClientError;
use crate::journal::{Funded, Journal, PackProgress};
use crate::meter::Meter;
use crate::packing::{record, seal_pack};
use crate::placement::{LiveProvider, Survey};
use crate::published::{carrier_nonce, publish, published};
use crate::receipt::{Anchor, PackReceipt, PortableReceipt, RECEIPT_VERSION, WorkerReceipt};
use crate::session::Session;
use crate::upload::{Upload, upload};
use bytes::{Buf, Bytes};
use holdfast_market_core::message::{Body, DealSetProposal, ShardTerms};
use holdfast_market_core::state::DealStatus;
use holdfast_market_core::units::{Amount, Blocks, ByteCount, Height, PackId};
use holdfast_proofs::crash::crash_point;
use holdfast_wire::ledger::{LedgerError, SendError};
use holdfast_wire::pack::encode::commit;
use std::path::PathBuf;

/// A receipt that ends sooner than this is asked for anew: the proposal must still be included.
const FUNDING_TIME: Blocks = Blocks(10);

/// An upload under way.
pub(super) struct Work<'a> {
    pub(super) session: &'a Session,
    pub(super) survey: &'a Survey,
    pub(super) journal: Journal,
    pub(super) direct: bool,
    pub(super) meter: &'a Meter,
    pub(super) around: Vec<String>,
}

impl Work<'_> {
    /// Brings every pack to the network and its deals to the ledger, in order.
    pub(super) async fn packs(&mut self, catalogue: &Catalogue) -> Result<(), ClientError> {
        let terms = self.journal.plan.terms;
        let begun = self.journal.progress.packs.len();
        let left: Vec<ByteCount> = self
            .journal
            .plan
            .packs
            .iter()
            .skip(begun)
            .map(|pack| pack.length)
            .collect();
        let code = (terms.data_shards, terms.total_shards);
        let assigned = self.survey.assign(code, &left).map_err(|error| {
            if begun == 0 {
                return error;
            }
            ClientError::refused(
                format!("the rest has no room now: {error}"),
                "run the same command again when there is more capacity: it goes on from here, and nothing is paid twice",
            )
        })?;
        let mut assigned = assigned.into_iter();
        for number in 0..self.journal.plan.packs.len() {
            let known = self.journal.progress.packs.get(number);
            if known.is_some_and(|pack| pack.funded.is_some()) {
                continue;
            }
            let sealed = self.seal(number, catalogue).await?;
            if self.journal.progress.packs.len() <= number {
                let providers = assigned.next().unwrap_or_default();
                self.commit(number, &sealed, &providers).await?;
            } else {
                self.recommit(number, &sealed).await?;
            }
            self.pay(number, sealed).await?;
        }
        Ok(())
    }

    /// The bytes of a pack; the last one ends with the catalogue.
    async fn seal(&mut self, number: usize, catalogue: &Catalogue) -> Result<Bytes, ClientError> {
        self.meter.wait("encrypting");
        let plan = &self.journal.plan;
        let mut sealed = tokio::task::block_in_place(|| seal_pack(plan, number))?;
        if number + 1 == plan.packs.len() {
            if self.journal.progress.catalogue.is_empty() {
                self.write_catalogue(catalogue).await?;
            }
            sealed.extend_from_slice(&self.journal.progress.catalogue);
        }
        Ok(Bytes::from(sealed))
    }

    /// Makes the catalogue's block: everything that is stored, and this.
    async fn write_catalogue(&mut self, catalogue: &Catalogue) -> Result<(), ClientError> {
        let now = published(self.session).await?;
        let version = now.map_or(0, |name| name.version).max(catalogue.published) + 1;
        let mut packs = Vec::new();
        for pack in &self.journal.progress.packs {
            packs.push(Some(pack.header.id()?));
        }
        packs.push(None);
        let key = self.session.wallet().wrapping_key();
        let mut with_this = catalogue.clone();
        with_this.published = version;
        with_this.insert(record(&self.journal.plan, packs, &key)?);
        self.journal.progress.catalogue = with_this.to_block(&key, &mut rand::rngs::OsRng)?;
        self.journal.progress.version = version;
        Ok(())
    }

    /// Names a pack and writes down where it goes, before a byte of it is sent.
    async fn commit(
        &mut self,
        number: usize,
        sealed: &Bytes,
        providers: &[LiveProvider],
    ) -> Result<(), ClientError> {
        let last = number + 1 == self.journal.plan.packs.len();
        let nonce = if last {
            carrier_nonce(&ObjectId::of(&self.journal.progress.catalogue))
        } else {
            rand::random()
        };
        let header = self.header(nonce, sealed)?;
        let terms = self.journal.plan.terms;
        let targets = providers
            .iter()
            .map(|provider| provider.put_target(terms.term).target)
            .collect();
        self.journal.progress.packs.push(PackProgress {
            header,
            targets,
            receipts: Vec::new(),
            funded: None,
        });
        self.journal.save()
    }

    /// After an interruption: the same bytes must have the same name, or nothing of them is sent.
    async fn recommit(&mut self, number: usize, sealed: &Bytes) -> Result<(), ClientError> {
        let Some(known) = self.journal.progress.packs.get(number) else {
            return Ok(());
        };
        let header = self.header(known.header.nonce, sealed)?;
        if header == known.header {
            return Ok(());
        }
        Err(ClientError::failed(
            format!(
                "{} is not what it was when its upload began, though size and time are the same",
                self.journal.plan.source.root.display()
            ),
            "store it under another name with --name",
        ))
    }

    fn header(
        &self,
        nonce: u64,
        sealed: &Bytes,
    ) -> Result<holdfast_market_core::message::PackHeader, ClientError> {
        let terms = self.journal.plan.terms;
        let code = (terms.data_shards, terms.total_shards);
        let length = ByteCount(sealed.len() as u64);
        let source = sealed.clone().reader();
        let owner = self.session.address();
        tokio::task::block_in_place(|| commit(owner, nonce, code, length, source))
            .map_err(|error| ClientError::failed(error.to_string(), "give other --data-shards"))
    }

    /// Uploads a pack unless its receipts stand, and puts its deals on the ledger unless they are
    /// there.
    async fn pay(&mut self, number: usize, sealed: Bytes) -> Result<(), ClientError> {
        let session = self.session;
        let Some(pack) = self.journal.progress.packs.get_mut(number) else {
            return Ok(());
        };
        let id = pack.header.id()?;
        if let Some(at) = funded(session, id).await? {
            pack.funded = Some(Funded { at, message: None });
            return self.journal.save();
        }
        let now = session.ledger().status().await?.height;
        let soonest = pack
            .receipts
            .iter()
            .map(|signed| signed.receipt.fund_by)
            .min();
        if soonest.is_none_or(|fund_by| fund_by < now.after(FUNDING_TIME)) {
            let done = upload(Upload {
                session,
                survey: self.survey,
                header: pack.header.clone(),
                targets: pack.targets.clone(),
                term: self.journal.plan.terms.term,
                fund_by: now.after(FUNDING_TIME),
                sealed,
                direct: self.direct,
                meter: self.meter,
            })
            .await?;
            crash_point("put.uploaded");
            self.around.extend(done.around);
            pack.targets = done.targets;
            pack.receipts = done.receipts;
            self.journal.save()?;
            crash_point("put.receipts-saved");
        }
        self.meter.wait("paying on the ledger");
        let Some(pack) = self.journal.progress.packs.get_mut(number) else {
            return Ok(());
        };
        let proposal = proposal(pack);
        let paid = session.sender().send(Body::ProposeDealSet(proposal)).await;
        crash_point("put.paid");
        pack.funded = Some(match paid {
            Ok(executed) => Funded {
                at: executed.height,
                message: Some(executed.id),
            },
            // A proposal of before an interruption may have been included meanwhile.
            Err(error) => match funded(session, id).await? {
                Some(at) => Funded { at, message: None },
                None => return Err(error.into()),
            },
        });
        self.journal.save()
    }

    /// Publishes the catalogue, writes it down here, and writes the receipt.
    pub(super) async fn finish(mut self, catalogue: &mut Catalogue) -> Result<Stored, ClientError> {
        let session = self.session;
        self.meter.wait("publishing the catalogue");
        let plan = &self.journal.plan;
        let progress = &self.journal.progress;
        let root = ObjectId::of(&progress.catalogue);
        let published = match publish(session, &root, progress.version).await {
            Ok(()) => true,
            Err(ClientError::Send(error @ SendError::Refused { .. })) => {
                tracing::warn!(%error, "another machine published first; the next put publishes this too");
                false
            }
            Err(error) => return Err(error),
        };
        crash_point("put.published");
        let mut packs = Vec::with_capacity(progress.packs.len());
        let mut shown = Vec::with_capacity(progress.packs.len());
        let mut escrow = Amount::ZERO;
        for pack in &progress.packs {
            shown.push(stored_pack(pack)?);
            packs.push(Some(pack.header.id()?));
            if let Ok(cost) = holdfast_market_core::quote::deal_set(&proposal(pack)) {
                escrow = Amount(escrow.0.saturating_add(cost.0));
            }
        }
        let record = record(plan, packs, &session.wallet().wrapping_key())?;
        let stored = Stored {
            name: record.name.clone(),
            id: record.id,
            files: record.files,
            bytes: record.bytes,
            packs: shown,
            escrow,
            receipt: self.write_receipt(record.id).await?,
            resumed: false,
            published,
            around: std::mem::take(&mut self.around),
            milliseconds: 0,
        };
        catalogue.insert(record);
        if published {
            catalogue.published = progress.version;
        }
        crash_point("put.receipt-written");
        session.wallet().save_catalogue(catalogue)?;
        crash_point("put.catalogue-saved");
        self.journal.remove()?;
        Ok(stored)
    }

    async fn write_receipt(&self, object: ObjectId) -> Result<PathBuf, ClientError> {
        let session = self.session;
        let mut packs = Vec::new();
        for pack in &self.journal.progress.packs {
            let id = pack.header.id()?;
            let mut signed = Vec::with_capacity(pack.receipts.len());
            for receipt in &pack.receipts {
                let provider = receipt.receipt.provider;
                let live = self.survey.live().iter().find(|live| live.id == provider);
                let worker = match live {
                    Some(live) => live.worker,
                    None => session.ledger().provider(provider).await?.worker,
                };
                signed.push(WorkerReceipt {
                    worker,
                    receipt: receipt.clone(),
                });
            }
            let at = pack.funded.map_or(Height(0), |funded| funded.at);
            packs.push(PackReceipt {
                pack: id,
                header: pack.header.clone(),
                signed,
                anchor: Anchor::fetch(session.ledger(), id, at).await?,
            });
        }
        let receipt = PortableReceipt {
            version: RECEIPT_VERSION,
            network: session.network_id(),
            object,
            packs,
        };
        let path = session.wallet().receipts()?.join(format!("{object}.json"));
        let text = serde_json::to_vec_pretty(&receipt).map_err(|error| ClientError::Io {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        // The packs are shown by what is signed; which object they make is not.
        let text = holdfast_proofs::checked::with_check(&text);
        holdfast_wire::atomic::write(&path, &text, 0o600).map_err(ClientError::io(&path))?;
        Ok(path)
    }
}

/// The deal set of a pack, where it stands.
pub(super) async fn funded(session: &Session, pack: PackId) -> Result<Option<Height>, ClientError> {
    match session.ledger().deal_set(pack).await {
        Ok(set) => {
            let stands =
                |deal: &holdfast_market_core::state::Deal| deal.status != DealStatus::Cancelled;
            Ok(set.deals.iter().any(stands).then_some(set.at))
        }
        Err(LedgerError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The deals as their receipts state them.
fn proposal(pack: &PackProgress) -> DealSetProposal {
    let header = &pack.header;
    let terms = pack.receipts.iter().map(|signed| {
        let receipt = &signed.receipt;
        ShardTerms {
            provider: receipt.provider,
            tier: receipt.tier,
            price: receipt.price,
            term: receipt.term,
            fund_by: receipt.fund_by,
        }
    });
    // Repair may begin when half of the spare shards are gone.
    let spare = header.n.saturating_sub(header.k);
    DealSetProposal {
        pack: header.clone(),
        terms: terms.collect(),
        repair_threshold: header.k.saturating_add(spare.div_ceil(2)),
        repair_budget: Amount::ZERO,
    }
}

fn stored_pack(pack: &PackProgress) -> Result<StoredPack, ClientError> {
    let shards = pack.receipts.iter().map(|signed| StoredShard {
        shard: signed.receipt.shard,
        provider: signed.receipt.provider,
    });
    Ok(StoredPack {
        pack: pack.header.id()?,
        length: pack.header.length,
        height: pack.funded.map_or(Height(0), |funded| funded.at),
        shards: shards.collect(),
    })
}
