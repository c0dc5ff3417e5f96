//! One pack to its providers: through one node that codes it, and around whoever fails.

use crate::error::ClientError;
use crate::meter::Meter;
use crate::placement::Survey;
use crate::session::Session;
use bytes::{Buf, Bytes};
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{ByteCount, Height, Periods, ProviderId};
use holdfast_wire::protocol::ShardTarget;
use holdfast_wire::quic::CallError;
use holdfast_wire::quic::body::WriteError;
use holdfast_wire::transfer::{PeerFault, PutError, PutPlan, PutTarget, assisted_put, direct_put};
use std::time::Duration;

/// Nodes that are asked to assist, one after the other, before every shard is sent from here.
const ASSISTANTS: usize = 3;
/// Shards that were refused go to other providers, or where there are none to the same again, after
/// these pauses. Together they outlast a connection of before an interruption, whose other end is
/// gone: until it is given up, its shard is still being received.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// What is uploaded, and how.
pub struct Upload<'a> {
    /// On which network.
    pub session: &'a Session,
    /// Who answers.
    pub survey: &'a Survey,
    /// The pack.
    pub header: PackHeader,
    /// Where its shards are to go.
    pub targets: Vec<ShardTarget>,
    /// For how long.
    pub term: Periods,
    /// Receipts must hold at least until then.
    pub fund_by: Height,
    /// The pack's bytes.
    pub sealed: Bytes,
    /// Whether every shard is sent from here.
    pub direct: bool,
    /// Told how far it is.
    pub meter: &'a Meter,
}

/// A pack that all its providers signed for.
pub struct Uploaded {
    /// Where its shards are.
    pub targets: Vec<ShardTarget>,
    /// What was signed, in shard order.
    pub receipts: Vec<SignedReceipt>,
    /// Who failed or lied on the way, in sentences; it went around them.
    pub around: Vec<String>,
}

/// Uploads a pack. A provider that fails is replaced by another that has room, where there is one.
///
/// # Errors
/// Some shard found nobody; who failed how is in the sentence. Nothing is paid.
pub async fn upload(upload: Upload<'_>) -> Result<Uploaded, ClientError> {
    let mut targets = Vec::with_capacity(upload.targets.len());
    let mut taken: Vec<ProviderId> = upload
        .targets
        .iter()
        .map(|target| target.provider)
        .collect();
    for target in &upload.targets {
        targets.push(choose(&upload, target, &mut taken)?);
    }
    let mut receipts: Vec<Option<SignedReceipt>> = vec![None; targets.len()];
    let mut faults = Vec::new();
    let mut around = Vec::new();
    let mut again = false;
    for (round, pause) in PAUSES.into_iter().enumerate() {
        if again && !pause.is_zero() {
            upload.meter.wait("waiting for busy providers");
            tokio::time::sleep(pause).await;
        }
        let plan = PutPlan {
            header: upload.header.clone(),
            targets: targets.clone(),
            fund_by: upload.fund_by,
        };
        let assisted = round == 0 && !upload.direct;
        let results = send(&upload, &plan, assisted, &mut around).await?;
        faults.clear();
        again = false;
        for ((result, receipt), target) in results.into_iter().zip(&mut receipts).zip(&mut targets)
        {
            match result {
                Ok(signed) => *receipt = Some(signed),
                // It signed in an earlier round for exactly this, and what it has it keeps.
                Err(_) if receipt.is_some() => {}
                Err(fault) => {
                    tracing::warn!(%fault, "a provider did not take its shard");
                    note(&mut around, fault.to_string());
                    // What an assisting node says of others is heard from themselves first.
                    if fault.told_by.is_none() {
                        again |= !replace(&upload, target, &mut taken);
                    }
                    faults.push(fault);
                }
            }
        }
        if faults.is_empty() {
            break;
        }
    }
    let complete: Option<Vec<SignedReceipt>> = receipts.into_iter().collect();
    let receipts = complete.ok_or_else(|| refused(&faults))?;
    Ok(Uploaded {
        targets: targets.into_iter().map(|target| target.target).collect(),
        receipts,
        around,
    })
}

/// Sentences that are kept, at most.
const NOTED: usize = 32;

fn note(around: &mut Vec<String>, sentence: String) {
    if around.len() < NOTED && !around.contains(&sentence) {
        around.push(sentence);
    }
}

fn refused(faults: &[PeerFault]) -> ClientError {
    let reasons: Vec<String> = faults.iter().take(4).map(ToString::to_string).collect();
    ClientError::refused(
        format!("not every shard found a provider: {}", reasons.join("; ")),
        "run the same command again in a while: it goes on from here, and nothing is paid twice",
    )
}

/// The target with its worker's key; one that does not answer any more gives way to another.
fn choose(
    upload: &Upload<'_>,
    target: &ShardTarget,
    taken: &mut Vec<ProviderId>,
) -> Result<PutTarget, ClientError> {
    let live = upload.survey.live();
    if let Some(live) = live.iter().find(|live| live.id == target.provider) {
        return Ok(PutTarget {
            target: target.clone(),
            worker: live.worker,
        });
    }
    let shard = upload.header.shard_length;
    let other = upload.survey.replacement(shard, taken).ok_or_else(|| {
        ClientError::refused(
            format!(
                "provider {} does not answer and no other has room",
                target.provider
            ),
            "run the same command again when it is up",
        )
    })?;
    taken.push(other.id);
    Ok(other.put_target(upload.term))
}

/// Another provider for the shard, where there is one; otherwise the same again, and false.
fn replace(upload: &Upload<'_>, target: &mut PutTarget, taken: &mut Vec<ProviderId>) -> bool {
    let shard = upload.header.shard_length;
    let Some(other) = upload.survey.replacement(shard, taken) else {
        return false;
    };
    taken.push(other.id);
    *target = other.put_target(upload.term);
    true
}

fn kept_waiting(error: &PutError) -> bool {
    let PutError::Assistant { source, .. } = error else {
        return false;
    };
    matches!(
        **source,
        CallError::Slow(_) | CallError::Dawdled(_) | CallError::Write(WriteError::Stalled)
    )
}

async fn send(
    upload: &Upload<'_>,
    plan: &PutPlan,
    assisted: bool,
    around: &mut Vec<String>,
) -> Result<Vec<Result<SignedReceipt, PeerFault>>, ClientError> {
    let failed = |error: PutError| {
        ClientError::failed(
            format!("the upload failed: {error}"),
            "run the same command again: it goes on from here, and nothing is paid twice",
        )
    };
    let peers = upload.session.peers();
    let progress = |done: ByteCount| upload.meter.set(done);
    if assisted {
        for assistant in plan.targets.iter().take(ASSISTANTS) {
            upload.meter.begin("uploading", plan.header.length);
            let source = upload.sealed.clone().reader();
            match assisted_put(peers, plan, &assistant.target, source, progress).await {
                Ok(results) => return Ok(results),
                Err(error @ PutError::Assistant { .. }) => {
                    tracing::warn!(%error, "trying another assistant");
                    note(
                        around,
                        format!("provider {}: {error}", assistant.target.provider),
                    );
                    // Who fails at once costs nothing; who keeps us waiting is followed by no other
                    // that may do the same.
                    if kept_waiting(&error) {
                        break;
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }
    upload.meter.begin("uploading directly", plan.header.length);
    let source = upload.sealed.clone().reader();
    direct_put(peers, plan, source, progress)
        .await
        .map_err(failed)
}
