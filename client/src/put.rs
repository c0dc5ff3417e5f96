//! Storing an object: plan, quote, upload, pay, publish. Interrupted anywhere, the same command
//! goes on; what is paid is never paid again.

use crate::catalogue::{Catalogue, ObjectId, ObjectRecord};
use crate::error::ClientError;
use crate::journal::{Funded, Journal, PackProgress, Plan, StorageTerms};
use crate::meter::Meter;
use crate::packing::{check_name, plan, record, seal_pack};
use crate::placement::{LiveProvider, Quote, Survey};
use crate::published::{carrier_nonce, publish, published, read_current};
use crate::receipt::{Anchor, PackReceipt, PortableReceipt, RECEIPT_VERSION, WorkerReceipt};
use crate::session::Session;
use crate::upload::{Upload, upload};
use crate::walk::Source;
use bytes::{Buf, Bytes};
use holdfast_market_core::message::{Body, DealSetProposal, ShardTerms};
use holdfast_market_core::quote::{fee_of_size, shard_escrow, shard_length};
use holdfast_market_core::state::DealStatus;
use holdfast_market_core::units::{
    Amount, Blocks, ByteCount, Height, PackId, ProviderId, ShardIndex,
};
use holdfast_proofs::crash::crash_point;
use holdfast_wire::ledger::{LedgerError, SendError};
use holdfast_wire::pack::PackLayout;
use holdfast_wire::pack::encode::commit;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A receipt that ends sooner than this is asked for anew: the proposal must still be included.
const FUNDING_TIME: Blocks = Blocks(10);
/// Bytes of a proposal beside its shards, and a shard's, at most: for the quote.
const PROPOSAL_BYTES: usize = 700;
const PROPOSAL_SHARD_BYTES: usize = 200;

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

fn check_terms(terms: StorageTerms) -> Result<(), ClientError> {
    PackLayout::new(terms.data_shards, terms.total_shards, ByteCount(1)).map_err(|error| {
        ClientError::failed(
            error.to_string(),
            "give --data-shards and --total-shards, for example 3 and 6",
        )
    })?;
    if terms.term.0 == 0 {
        return Err(ClientError::failed(
            "a term of no periods stores nothing",
            "give --term in proving periods, for example 180",
        ));
    }
    Ok(())
}

/// Whether what an upload has paid for so far can still be read, or its name points there already: one
/// that was left for so long that its deals are over is begun anew.
async fn stands(session: &Session, journal: &Journal) -> Result<bool, ClientError> {
    let root = ObjectId::of(&journal.progress.catalogue);
    if published(session)
        .await?
        .is_some_and(|name| name.root == root.to_bytes())
    {
        return Ok(true);
    }
    for pack in journal
        .progress
        .packs
        .iter()
        .filter(|pack| pack.funded.is_some())
    {
        let set = session.ledger().deal_set(pack.header.id()?).await?;
        let alive = set.deals.iter().filter(|deal| {
            matches!(
                deal.status,
                DealStatus::Proposed | DealStatus::Accepted | DealStatus::Proven { .. }
            )
        });
        if alive.count() < usize::from(pack.header.k) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What an earlier try left behind.
enum Earlier {
    /// Nothing that matters now.
    Nothing,
    /// The same upload: it goes on.
    Same(Journal),
    /// One of the source as it was before, paid for in whole: its name may be published by now.
    Paid(Journal),
}

/// The interrupted upload of the same source. One of a source that has changed since, and that is
/// not paid for in whole, is cleaned up: what no provider has accepted is taken back.
async fn earlier(
    session: &Session,
    catalogue: &Catalogue,
    source: &Source,
    name: &str,
    terms: StorageTerms,
) -> Result<Earlier, ClientError> {
    let wallet = session.wallet();
    let journals = wallet.journal()?;
    let found = Journal::find(&journals, wallet.wrapping_key(), &source.root, name)?;
    let Some(journal) = found else {
        return Ok(Earlier::Nothing);
    };
    if stands(session, &journal).await? {
        if journal.plan.source == *source && journal.plan.terms == terms {
            return Ok(Earlier::Same(journal));
        }
        if journal.is_paid() {
            // What was stored under its name since is what its owner wants.
            let plan = &journal.plan;
            let own = record(plan, Vec::new(), &wallet.wrapping_key())?.id;
            let since = |object: &ObjectRecord| {
                object.name == plan.name && object.id != own && object.stored >= plan.begun
            };
            if catalogue.objects().iter().any(since) {
                journal.remove()?;
                return Ok(Earlier::Nothing);
            }
            // A catalogue may be read from its last pack: cancelled, the wallet's list would be lost.
            return Ok(Earlier::Paid(journal));
        }
    }
    for pack in &journal.progress.packs {
        let pack = pack.header.id()?;
        if funded(session, pack).await?.is_some() {
            match session.sender().send(Body::CancelDealSet { pack }).await {
                // Accepted already: it runs to its term.
                Ok(_) | Err(SendError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    journal.remove()?;
    Ok(Earlier::Nothing)
}

async fn begin(
    session: &Session,
    source: Source,
    name: &str,
    terms: StorageTerms,
    survey: &Survey,
    catalogue: &Catalogue,
) -> Result<Journal, ClientError> {
    let code = (terms.data_shards, terms.total_shards);
    let capacity = survey.pack_capacity(code.0, code.1)?;
    let bytes = source.bytes();
    if capacity.0 < crate::stream::SEALED_CHUNK_BYTES as u64 {
        // Also an empty file takes something: the list of files, and the list of objects.
        let least = ByteCount(bytes.0.max(crate::stream::SEALED_CHUNK_BYTES as u64));
        return Err(survey.too_little_room(code, &[least]));
    }
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let begun = catalogue.next_moment(clock);
    let plan = plan(source, name, terms, capacity, catalogue, begun)?;
    let lengths: Vec<ByteCount> = plan.packs.iter().map(|pack| pack.length).collect();
    let assigned = survey.assign(code, &lengths)?;
    quote(session, &plan, &assigned)
        .await?
        .check(&session.text_of(session.address()))?;
    let wallet = session.wallet();
    Journal::begin(&wallet.journal()?, wallet.wrapping_key(), plan)
}

/// What the planned object costs at these providers.
async fn quote(
    session: &Session,
    plan: &Plan,
    assigned: &[Vec<LiveProvider>],
) -> Result<Quote, ClientError> {
    let terms = plan.terms;
    let mut escrow = Amount::ZERO;
    for (pack, providers) in plan.packs.iter().zip(assigned) {
        let shard = shard_length(terms.data_shards, pack.length);
        for provider in providers {
            let price = provider.target.offer.price;
            let cost = shard_escrow(price, shard, terms.term).map_err(|error| {
                ClientError::refused(error.to_string(), "give a shorter --term")
            })?;
            escrow = Amount(escrow.0.saturating_add(cost.0));
        }
    }
    let economy = &session.economy().await?;
    let shards = usize::from(terms.total_shards).saturating_mul(PROPOSAL_SHARD_BYTES);
    let proposal = fee_of_size(economy, PROPOSAL_BYTES.saturating_add(shards));
    let packs = u128::try_from(plan.packs.len()).unwrap_or(u128::MAX);
    let name = fee_of_size(economy, PROPOSAL_BYTES);
    let fees = proposal.0.saturating_mul(packs).saturating_add(name.0);
    let account = session.ledger().account(session.address()).await?;
    Ok(Quote {
        escrow,
        fees: Amount(fees),
        balance: account.balance,
    })
}

/// The deal set of a pack, where it stands.
async fn funded(session: &Session, pack: PackId) -> Result<Option<Height>, ClientError> {
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

/// An upload under way.
struct Work<'a> {
    session: &'a Session,
    survey: &'a Survey,
    journal: Journal,
    direct: bool,
    meter: &'a Meter,
    around: Vec<String>,
}

impl Work<'_> {
    /// Brings every pack to the network and its deals to the ledger, in order.
    async fn packs(&mut self, catalogue: &Catalogue) -> Result<(), ClientError> {
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
    async fn finish(mut self, catalogue: &mut Catalogue) -> Result<Stored, ClientError> {
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
