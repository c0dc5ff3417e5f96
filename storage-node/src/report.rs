//! The node as `holdfast node status` shows it: a file beside the journal, written at each height.

use crate::error::NodeError;
use crate::pipeline::{Pipeline, View};
use crate::prover::ProofReport;
use crate::work::Lane;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{DealStatus, SectorStatus};
use holdfast_market_core::units::{
    Address, Amount, ByteCount, Height, NodeKey, Period, ProviderId, SectorNumber,
};
use holdfast_proofs::checked::{with_check, without_check};
use holdfast_proofs::durable::Unfinished;
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::protocol::NodeStatus;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The report's file in the data folder.
pub const REPORT_FILE: &str = "status.json";
/// A report is a few sectors and proofs; more is not ours.
const REPORT_LIMIT: u64 = 4 << 20;

/// How a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Whether the node is running; said by whoever reads the report.
    #[serde(default)]
    pub running: bool,
    /// What peers are told.
    pub status: NodeStatus,
    /// Its number on the ledger, once it is registered.
    pub provider: Option<ProviderId>,
    /// Since when it is leaving the network, where it is.
    pub retiring: Option<Height>,
    /// Its QUIC identity.
    pub node: NodeKey,
    /// Where it answers.
    pub endpoint: String,
    /// The owner's address.
    pub owner: Address,
    /// What the owner can spend.
    pub balance: Amount,
    /// The worker's address.
    pub worker: Address,
    /// What the worker can spend on fees.
    pub worker_balance: Amount,
    /// Collateral, locked and free.
    pub collateral: Amount,
    /// What of it is locked.
    pub locked: Amount,
    /// Rewards that vest.
    pub vesting: Amount,
    /// Paid out of escrow so far.
    pub paid: Amount,
    /// Minted for it so far.
    pub rewarded: Amount,
    /// Taken from it so far.
    pub fined: Amount,
    /// What it takes for reading a GiB.
    pub read_price: Amount,
    /// What readers have signed for, all channels together; what of it was redeemed is the owner's
    /// already.
    pub vouchers: Amount,
    /// Its sectors.
    pub sectors: Vec<SectorReport>,
    /// Shards received whose deals are not proven yet.
    pub staged: u32,
    /// Shards embedded and proven.
    pub stored: u32,
    /// The height at which its next deadline opens.
    pub next_deadline: Option<Height>,
    /// The last proofs that it made, oldest first.
    pub proofs: Vec<ProofReport>,
    /// What it is doing in the background.
    pub working: Vec<String>,
    /// What could not be done, in sentences.
    pub troubles: Vec<String>,
    /// Damage that was put right since the node started, the newest last, in sentences.
    pub healed: Vec<String>,
}

/// One sector of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SectorReport {
    /// Its number.
    pub number: SectorNumber,
    /// Its size.
    pub class: SectorClass,
    /// `sealing`, `sealed`, `pre-committed`, `active`, `faulty`, `recovering` or `terminated`.
    pub state: String,
    /// Deals whose pieces lie in it.
    pub deals: u32,
    /// Groups that hold data.
    pub groups: u32,
    /// The step of an embed that is under way.
    pub embed: Option<String>,
    /// The last period that it was proven for.
    pub proven: Option<Period>,
}

impl NodeReport {
    /// The report of a running node.
    pub(crate) fn of(pipeline: &Pipeline, view: &View) -> Result<Self, NodeError> {
        let shared = &pipeline.shared;
        let parameters = &shared.parameters;
        let mut sectors = Vec::new();
        for (number, record) in shared.journal.sectors()? {
            let on_ledger = view.sectors.get(&number);
            sectors.push(SectorReport {
                number,
                class: record.class,
                state: match on_ledger.map(|sector| &sector.status) {
                    None if record.sealed => "sealed",
                    None => "sealing",
                    Some(SectorStatus::PreCommitted { .. }) => "pre-committed",
                    Some(SectorStatus::Active { .. }) => "active",
                    Some(SectorStatus::Faulty { recovering: true }) => "recovering",
                    Some(SectorStatus::Faulty { recovering: false }) => "faulty",
                    Some(SectorStatus::Terminated { .. }) => "terminated",
                }
                .into(),
                deals: count(
                    view.deals
                        .values()
                        .filter(|deal| deal.deal.sector == Some(number) && view.is_living(deal.id)),
                ),
                groups: on_ledger.map_or(0, |sector| count(sector.groups.iter())),
                embed: on_ledger
                    .and_then(|sector| sector.embed.as_ref())
                    .map(|embed| {
                        let step = match (&embed.replica, &record.embed) {
                            (None, None) => "writing",
                            (None, Some(_)) => "written",
                            (Some(_), _) => "proving",
                        };
                        step.into()
                    }),
                proven: on_ledger.and_then(|sector| sector.proven),
            });
        }
        let state = |name: &str| {
            u32::try_from(sectors.iter().filter(|sector| sector.state == name).count())
                .unwrap_or(u32::MAX)
        };
        let (mut staged, mut stored) = (Vec::new(), Vec::new());
        for (deal, record) in shared.journal.shards()? {
            let length = record.receipt.receipt.length;
            match view.deals.get(&deal).map(|deal| &deal.deal.status) {
                Some(DealStatus::Proven { .. }) => stored.push(length),
                None | Some(DealStatus::Proposed | DealStatus::Accepted) => staged.push(length),
                Some(_) => {}
            }
        }
        let provider = view.provider.as_ref();
        let capacity = view
            .sectors
            .values()
            .filter(|sector| matches!(sector.status, SectorStatus::Active { .. }))
            .map(|sector| sector.class.data_bytes())
            .fold(0, u64::saturating_add);
        let status = NodeStatus {
            provider: provider.map(|provider| provider.id),
            capacity: ByteCount(capacity),
            free: shared.room.free(),
            largest: shared.room.largest(parameters.piece_levels),
            staged: sum(&staged),
            stored: sum(&stored),
            sealing: state("sealing")
                .saturating_add(state("sealed"))
                .saturating_add(state("pre-committed")),
            active: state("active"),
            faulty: state("faulty").saturating_add(state("recovering")),
            price: shared.price,
            height: view.height,
        };
        let amounts = |amount: fn(&holdfast_market_core::state::Provider) -> Amount| {
            provider.map_or(Amount::ZERO, amount)
        };
        let mut troubles: Vec<String> = pipeline
            .troubles
            .iter()
            .map(|(step, trouble)| format!("{step}: {trouble}"))
            .collect();
        troubles.extend(pipeline.outbox.refusals());
        troubles.extend(pipeline.work.faults());
        for (shard, reason) in shared.shards.damaged() {
            troubles.push(format!("shard {shard} is damaged: {reason}"));
        }
        for number in pipeline.sectors.damaged().into_keys() {
            troubles.push(format!(
                "sector {number} has damaged files, which are being put right"
            ));
        }
        Ok(Self {
            running: true,
            provider: status.provider,
            status,
            retiring: provider.and_then(|provider| provider.retiring),
            node: shared.node,
            endpoint: pipeline.offer.endpoint.clone(),
            owner: Address(pipeline.owner.verifying_key().to_bytes()),
            balance: view.owner.balance,
            worker: Address(shared.worker.verifying_key().to_bytes()),
            worker_balance: view.worker.balance,
            collateral: amounts(|provider| provider.collateral),
            locked: amounts(|provider| provider.locked),
            vesting: amounts(|provider| {
                let vesting = provider.vesting.iter();
                Amount(vesting.fold(0, |sum, part| part.amount.0.saturating_add(sum)))
            }),
            paid: amounts(|provider| provider.record.paid),
            rewarded: amounts(|provider| provider.record.rewarded),
            fined: amounts(|provider| provider.record.fined),
            read_price: shared.till.price(),
            vouchers: Amount(
                (shared.journal.vouchers()?.iter())
                    .fold(0, |sum, signed| signed.voucher.amount.0.saturating_add(sum)),
            ),
            sectors,
            staged: count(staged.iter()),
            stored: count(stored.iter()),
            next_deadline: view
                .sectors
                .values()
                .filter_map(|sector| schedule::next_window(parameters, sector))
                .map(|(_, window)| window.open)
                .min(),
            proofs: pipeline.prover.reports(),
            working: [Lane::Deadline, Lane::Proof, Lane::Seal, Lane::Heal]
                .into_iter()
                .flat_map(|lane| pipeline.work.running(lane))
                .collect(),
            troubles,
            healed: pipeline.healed.list(),
        })
    }

    /// Replaces the report's file. It is for eyes only, so it is not synced; eyes should not be told
    /// what a flipped bit made of it, so it has its hash in it.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn write(&self, path: &Path) -> Result<(), NodeError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| NodeError::State(format!("the report: {error}")))?;
        let new = path.with_extension("json.new");
        let unfinished = Unfinished(&new);
        std::fs::write(&new, with_check(&text)).map_err(NodeError::file(&new))?;
        std::fs::rename(&new, path).map_err(NodeError::file(path))?;
        unfinished.finished();
        Ok(())
    }

    /// Reads the report that a node left in its data folder.
    ///
    /// # Errors
    /// A file that is missing, too long, or no report.
    pub fn read(path: &Path) -> Result<Self, NodeError> {
        let text = holdfast_wire::atomic::read_bounded(path, REPORT_LIMIT)
            .map_err(NodeError::file(path))?;
        without_check(&text)
            .and_then(|text| serde_json::from_slice(&text).ok())
            .ok_or_else(|| NodeError::Report { path: path.into() })
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn sum(lengths: &[ByteCount]) -> ByteCount {
    let all = lengths.iter().map(|length| length.0);
    ByteCount(all.fold(0, u64::saturating_add))
}
