//! Whether providers still hold what they signed for: random places of every shard are opened under
//! both its roots, and what is found is brought before the ledger. A provider that signed two roots
//! of different bytes is shown a fraud, one that broke its promise is claimed from, and one that
//! opens nothing can be made to open on the ledger, where silence is fraud.

mod claims;
mod sample;

use crate::catalogue::ObjectRecord;
use crate::error::ClientError;
use crate::meter::Meter;
use crate::receipt::PortableReceipt;
use crate::session::Session;
use futures::stream::{self, StreamExt};
use holdfast_market_core::schedule;
use holdfast_market_core::state::{Deal, DealSet, DealStatus, Provider};
use holdfast_market_core::units::{
    Amount, ByteCount, DealId, Height, PackId, ProviderId, ShardIndex,
};
use holdfast_wire::atomic::read_bounded;
use holdfast_wire::ledger::LedgerError;
use holdfast_wire::protocol::MAX_QUADS;
use sample::Sampled;
use serde::Serialize;
use std::collections::BTreeMap;

/// Places of each shard that are opened where nothing else is said: a provider that lacks a tenth
/// of a shard's bytes is found in a third of all checks, and in nearly all of ten.
pub const DEFAULT_SAMPLES: usize = 4;
/// The most that one question may ask for.
pub const MOST_SAMPLES: usize = MAX_QUADS;
/// Shards that are asked about at a time.
const AT_ONCE: usize = 16;
/// A receipt has a few KiB a pack; this is more than ten thousand packs.
const RECEIPT_LIMIT: u64 = 256 << 20;

/// What was found of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Every opened place lies under both roots.
    Fine,
    /// Every opened place lies under the root that its provider signed; it has not accepted the
    /// deal yet, so there is no other.
    Waiting,
    /// The deal is over: nobody owes anything for it.
    Over,
    /// Its two roots are of different bytes.
    Fraud,
    /// Its provider opens nothing: it refuses, is silent, or sends what shows nothing.
    Unopened,
    /// It was not proven by the promised height.
    Broken,
    /// The ledger knows no such deal any more, or could not be asked for it.
    Unknown,
}

impl Finding {
    /// Whether it is as it should be.
    pub const fn is_in_order(&self) -> bool {
        matches!(self, Self::Fine | Self::Waiting | Self::Over)
    }
}

/// What was done about it on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// The fraud stands on the ledger.
    FraudShown {
        /// In which block.
        height: Height,
        /// The finder's share, for this wallet.
        reward: Amount,
        /// What was still in escrow for the shard: back with its owner.
        refund: Amount,
    },
    /// The broken promise was claimed.
    PromiseClaimed {
        /// In which block.
        height: Height,
        /// The finder's share, for this wallet.
        reward: Amount,
    },
    /// An opening was demanded.
    OpeningDemanded {
        /// Of which place.
        quad: u64,
        /// What this wallet has deposited: returned where there is no answer.
        deposit: Amount,
        /// The last height for the answer; after it, silence is fraud.
        due: Height,
    },
    /// It was tried, and the ledger refused.
    Refused(String),
    /// It was tried, and the ledger did not answer or had no room: another check tries again.
    Failed(String),
}

/// One shard, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedShard {
    /// The pack that it belongs to.
    pub pack: PackId,
    /// Which shard of it.
    pub shard: ShardIndex,
    /// Who has it.
    pub provider: ProviderId,
    /// The places that were opened: runs of 127 bytes.
    pub sampled: Vec<u64>,
    /// What was found.
    pub finding: Finding,
    /// The same in words, with its reason.
    pub words: String,
    /// What was done about it.
    pub done: Option<Done>,
    /// Whether its provider has accepted the deal, and so must open on the ledger.
    #[serde(skip)]
    accepted: bool,
    /// Whether this wallet has demanded an opening that is not due yet.
    #[serde(skip)]
    demanded: bool,
}

/// An object, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// At which height of the ledger.
    pub height: Height,
    /// Its shards, pack by pack.
    pub shards: Vec<CheckedShard>,
}

impl Checked {
    /// Shards that are not as they should be.
    pub fn found(&self) -> usize {
        let found = self.shards.iter().filter(|one| !one.finding.is_in_order());
        found.count()
    }

    /// Shards whose providers opened nothing, and can be made to.
    pub fn unopened(&self) -> usize {
        let unopened = self.shards.iter().filter(|one| can_be_demanded(one));
        unopened.count()
    }
}

fn can_be_demanded(shard: &CheckedShard) -> bool {
    shard.finding == Finding::Unopened && shard.accepted && !shard.demanded && shard.done.is_none()
}

/// A deal that is looked at.
struct Case<'a> {
    id: DealId,
    set: &'a DealSet,
    deal: &'a Deal,
}

/// Opens `samples` random places of every shard of the object, shows frauds and claims broken
/// promises. Nothing here takes a deposit; see [`demand`].
///
/// # Errors
/// The ledger does not answer, or the wallet's folder cannot be read. What is wrong with providers
/// is in the result.
pub async fn check(
    session: &Session,
    record: &ObjectRecord,
    samples: usize,
    meter: &Meter,
) -> Result<Checked, ClientError> {
    if !(1..=MOST_SAMPLES).contains(&samples) {
        return Err(ClientError::failed(
            format!("{samples} places of a shard cannot be asked for at once"),
            format!("give --samples 1 to {MOST_SAMPLES}"),
        ));
    }
    meter.wait("asking the ledger");
    let height = session.ledger().status().await?.height;
    let providers: BTreeMap<ProviderId, Provider> = session
        .ledger()
        .providers()
        .await?
        .into_iter()
        .map(|provider| (provider.id, provider))
        .collect();
    let receipt = receipt_of(session, record)?;
    let mut shards = Vec::new();
    for pack in record.packs.iter().flatten() {
        let set = match session.ledger().deal_set(*pack).await {
            Ok(set) => set,
            Err(LedgerError::NotFound(_)) => {
                let words = "the ledger knows no deals for this pack";
                shards.push(unknown(*pack, words.into()));
                continue;
            }
            Err(error) if shards.is_empty() => return Err(error.into()),
            // What was found and done already is told all the same.
            Err(error) => {
                let words = format!("the ledger could not be asked for this pack: {error}");
                shards.push(unknown(*pack, words));
                continue;
            }
        };
        meter.wait("asking the providers");
        let looks = (0..=u8::MAX).zip(&set.deals).map(|(shard, deal)| {
            let id = DealId {
                pack: *pack,
                shard: ShardIndex(shard),
            };
            let set = &set;
            let provider = providers.get(&deal.provider);
            async move {
                let case = Case { id, set, deal };
                let looked = look(session, &case, provider, samples, height).await;
                (case, looked)
            }
        });
        let looked: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        meter.wait("telling the ledger");
        for (case, (mut shard, fraud)) in looked {
            shard.done = match (&shard.finding, fraud) {
                (Finding::Fraud, Some(opening)) => {
                    Some(claims::show_fraud(session, &case, opening).await)
                }
                (Finding::Broken, _) => {
                    claims::claim(session, &case, receipt.as_ref(), &mut shard.words).await
                }
                _ => None,
            };
            if shard.finding == Finding::Unopened
                && let Some(due) = claims::demanded(session, &case).await
            {
                shard.demanded = true;
                shard.words.push_str(&format!("; demanded, due {due}"));
            }
            shards.push(shard);
        }
    }
    Ok(Checked {
        name: record.name.clone(),
        height,
        shards,
    })
}

/// What one demand takes as a deposit.
///
/// # Errors
/// A ledger that does not answer.
pub async fn deposit(session: &Session) -> Result<Amount, LedgerError> {
    Ok(session.economy().await?.opening_deposit)
}

/// Demands one opening of each shard whose provider opened nothing and of which this wallet demands
/// none yet. Each takes a [`deposit`]: half of it pays for an answer and half burns; without an
/// answer it comes back, with the finder's share of the penalty. What the ledger does not take is
/// said of the shard.
pub async fn demand(session: &Session, checked: &mut Checked, meter: &Meter) {
    meter.wait("demanding openings");
    for shard in checked
        .shards
        .iter_mut()
        .filter(|shard| can_be_demanded(shard))
    {
        if let Some(quad) = shard.sampled.first() {
            let id = DealId {
                pack: shard.pack,
                shard: shard.shard,
            };
            shard.done = Some(claims::demand(session, id, *quad).await);
        }
    }
}

/// The object's portable receipt, where this wallet's folder has it.
fn receipt_of(
    session: &Session,
    record: &ObjectRecord,
) -> Result<Option<PortableReceipt>, ClientError> {
    let path = session
        .wallet()
        .receipts()?
        .join(format!("{}.json", record.id));
    match read_bounded(&path, RECEIPT_LIMIT) {
        Ok(text) => match PortableReceipt::parse(&text) {
            Ok(receipt) => Ok(Some(receipt)),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a receipt is not used");
                Ok(None)
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClientError::io(&path)(error)),
    }
}

fn unknown(pack: PackId, words: String) -> CheckedShard {
    CheckedShard {
        pack,
        shard: ShardIndex(0),
        provider: ProviderId(0),
        sampled: Vec::new(),
        finding: Finding::Unknown,
        words,
        done: None,
        accepted: false,
        demanded: false,
    }
}

/// Looks at one shard; where a fraud was found, with what shows it.
async fn look(
    session: &Session,
    case: &Case<'_>,
    provider: Option<&Provider>,
    samples: usize,
    height: Height,
) -> (
    CheckedShard,
    Option<holdfast_market_core::message::PieceOpening>,
) {
    let mut shard = CheckedShard {
        pack: case.id.pack,
        shard: case.id.shard,
        provider: case.deal.provider,
        sampled: Vec::new(),
        finding: Finding::Over,
        words: String::new(),
        done: None,
        accepted: matches!(
            case.deal.status,
            DealStatus::Accepted | DealStatus::Proven { .. }
        ),
        demanded: false,
    };
    let promised = schedule::promise_height(session.parameters(), case.set.at);
    let last_claim = promised.after(session.parameters().dispute_window);
    match &case.deal.status {
        // Who repairs it has given this wallet no receipt, and stakes a deposit with the ledger.
        DealStatus::Proposed | DealStatus::Accepted if case.deal.repair.is_some() => {
            shard.words = "being repaired".into();
            return (shard, None);
        }
        // A claim that is sent now is in the next block at the soonest.
        DealStatus::Proposed | DealStatus::Accepted | DealStatus::Broken { claimed: false }
            if height >= last_claim =>
        {
            shard.words = format!("its promise was broken, and not claimed by height {last_claim}");
            return (shard, None);
        }
        DealStatus::Proposed | DealStatus::Accepted if height >= promised => {
            shard.finding = Finding::Broken;
            shard.words = format!("not proven by height {promised}, as was promised");
            return (shard, None);
        }
        DealStatus::Broken { claimed: false } => {
            shard.finding = Finding::Broken;
            shard.words = format!("not proven by height {promised}, as was promised");
            return (shard, None);
        }
        DealStatus::Proposed | DealStatus::Accepted | DealStatus::Proven { .. } => {}
        DealStatus::Broken { claimed: true } => {
            shard.words = "its promise was broken, and claimed already".into();
            return (shard, None);
        }
        DealStatus::Failed { reason } => {
            shard.words = format!("failed: {reason}");
            return (shard, None);
        }
        DealStatus::Expired => {
            shard.words = "its term is over".into();
            return (shard, None);
        }
        DealStatus::Cancelled => {
            shard.words = "cancelled".into();
            return (shard, None);
        }
    }
    let roots = &case.set.proposal.pack.shard_roots;
    let (Some(root), Some(provider)) = (roots.get(case.id.shard.position()), provider) else {
        shard.finding = Finding::Unopened;
        shard.words = "the ledger does not say where its provider is".into();
        return (shard, None);
    };
    shard.sampled = sample::places(case.deal.length, samples);
    let sampled = sample::sample(
        session.peers(),
        provider,
        case,
        *root,
        &shard.sampled,
        session.parameters().piece_levels,
    )
    .await;
    let (finding, words, fraud) = match sampled {
        Sampled::Fine if case.deal.piece_roots.is_empty() => {
            (Finding::Waiting, "right, not accepted yet".into(), None)
        }
        Sampled::Fine => (Finding::Fine, "right under both roots".into(), None),
        Sampled::Fraud(opening) => {
            let words = format!(
                "its two roots are of different bytes in place {}",
                opening.quad
            );
            (Finding::Fraud, words, Some(*opening))
        }
        Sampled::Unopened(reason) => (Finding::Unopened, reason, None),
    };
    shard.finding = finding;
    shard.words = words;
    (shard, fraud)
}

impl Case<'_> {
    const fn length(&self) -> ByteCount {
        self.deal.length
    }
}
