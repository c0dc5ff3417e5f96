//! Embedding: commit the layout -> rho -> write the groups beside the old -> commit their roots ->
//! challenges -> proof -> the new groups count.

use super::layout::{next_embed, roots_of};
use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::journal::{EmbedRecord, SectorRecord};
use crate::sectors::SectorHandle;
use crate::service::Shared;
use crate::work::Lane;
use holdfast_market_core::message::{Body, GroupLayout, GroupRoot, ReplicaCommit};
use holdfast_market_core::state::{DealStatus, Embed, EmbedReplica, Sector, SectorStatus};
use holdfast_market_core::units::{Beacon, Blocks, SectorNumber};
use holdfast_market_core::{challenge, schedule};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::embed::{EmbeddedRoots, GroupData};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{PieceShape, pack};
use holdfast_proofs::proof::{Circuit, CircuitId};
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sector::{Group, UNIT_DATA_BYTES, UNIT_LEVELS, UNIT_NODES};
use holdfast_proofs::statement::Statement;
use holdfast_proofs::tree::lanes_of_groups;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// Accepted deals wait this long, from their inclusion, for others that are about to be accepted.
const BATCH: Blocks = Blocks(8);

impl Pipeline {
    /// Takes the next step of every sector's embed.
    pub(crate) async fn embed_all(&mut self, view: &View) -> Result<(), NodeError> {
        let mut first = Ok(());
        for (number, record) in self.shared.journal.sectors()? {
            let Some(sector) = view.sectors.get(&number) else {
                continue;
            };
            let lives = matches!(
                sector.status,
                SectorStatus::Active { .. } | SectorStatus::Faulty { .. }
            );
            if !lives {
                continue;
            }
            // One sector's trouble does not hold the others up.
            let done = match self.sectors.open(number, &record) {
                Ok(handle) => self.embed_step(view, sector, record, handle).await,
                Err(error) => Err(error),
            };
            first = first.and(done);
        }
        first
    }

    async fn embed_step(
        &mut self,
        view: &View,
        sector: &Sector,
        record: SectorRecord,
        handle: SectorHandle,
    ) -> Result<(), NodeError> {
        match &sector.embed {
            None => {
                if !self.settle(view, sector, record, &handle)? {
                    return Ok(());
                }
                self.commit_embed(view, sector, &handle).await
            }
            Some(embed) => {
                let ours = record
                    .embed
                    .as_ref()
                    .filter(|written| written.committed == embed.committed);
                match (&embed.replica, ours) {
                    (None, Some(_)) => {
                        self.commit_replica(view, sector, embed, record, handle)
                            .await
                    }
                    (Some(replica), Some(written)) => {
                        let proofs = written.proofs.clone();
                        self.prove_embed(view, sector, (embed, replica), record, proofs, handle)
                            .await
                    }
                    // Not written yet, or the journal of it was lost: the same bytes come again.
                    (_, None) => self.write_groups(view, sector, embed, record, handle).await,
                }
            }
        }
    }

    /// No embed is under way on the ledger: what lies written counts, or is dropped. Answers
    /// whether the sector is ready for another.
    fn settle(
        &self,
        view: &View,
        sector: &Sector,
        mut record: SectorRecord,
        handle: &SectorHandle,
    ) -> Result<bool, NodeError> {
        let number = sector.id.number;
        // Proofs hold it for reading: it is taken for writing only where there is something to do.
        let is_staged = !handle.read().staged().is_empty();
        if is_staged {
            let mut sealed = handle.write();
            // Where only the staged groups make what the ledger has, they count whatever the
            // journal says.
            let after = lanes_of_groups(&sealed.replica_groups_after());
            let complete = after == sector.replica_lanes
                && (record.embed.is_some() || sealed.replica_lanes() != after);
            if complete {
                // The deadline of an open window still challenges the old bytes.
                let old_roots = sector.window.as_ref().is_some_and(|window| {
                    window.period == sector.next && sector.proven != Some(window.period)
                });
                if old_roots {
                    return Ok(false);
                }
                sealed
                    .finish_embed()
                    .map_err(|error| handle.error(&error))?;
                crash_point("node.embed.finished");
                tracing::info!(sector = %number, height = %view.height, "embedded");
            } else {
                sealed
                    .abandon_embed()
                    .map_err(|error| handle.error(&error))?;
                tracing::warn!(sector = %number, "an embed was given up; its bytes are dropped");
            }
        }
        if record.embed.take().is_some() {
            self.shared.journal.put_sector(number, &record)?;
        }
        if handle.read().replica_lanes() != sector.replica_lanes {
            return Err(NodeError::State(format!(
                "sector {} on this disk has other roots than on the ledger; it was restored from an old copy and cannot be proven",
                sector.id
            )));
        }
        Ok(true)
    }

    /// Step 1, for every accepted deal that waits for this sector.
    async fn commit_embed(
        &mut self,
        view: &View,
        sector: &Sector,
        handle: &SectorHandle,
    ) -> Result<(), NodeError> {
        let purpose = format!("embed/{}/commit", sector.id.number);
        if !matches!(sector.status, SectorStatus::Active { .. }) || self.outbox.waits(&purpose) {
            return Ok(());
        }
        let mut homes = BTreeMap::new();
        for (deal, record) in self.shared.journal.shards()? {
            homes.insert(deal, record.sector);
        }
        // Others of ours are about to be accepted: one embed takes them all.
        let ours = |status: &DealStatus| {
            view.deals
                .values()
                .filter(|deal| homes.contains_key(&deal.id) && deal.deal.status == *status)
                .map(|deal| deal.at)
                .min()
        };
        let waiting_since = ours(&DealStatus::Accepted);
        let about_to_come = ours(&DealStatus::Proposed).is_some();
        if about_to_come && waiting_since.is_some_and(|at| view.height < at.after(BATCH)) {
            return Ok(());
        }
        let commit = {
            let sealed = handle.read();
            let commitment = sealed.commitment();
            let keys = (&commitment.keys, &commitment.key_groups);
            next_embed(&self.shared.parameters, view, sector, &homes, keys)?
        };
        if let Some(commit) = commit {
            tracing::info!(sector = %sector.id.number, groups = commit.groups.len(), "an embed begins");
            let body = Body::CommitEmbed(commit);
            self.post(view.height, Signer::Worker, &purpose, body, None)
                .await?;
        }
        Ok(())
    }

    /// Step 3, its first half: key and new replica of each group, beside the old ones.
    async fn write_groups(
        &mut self,
        view: &View,
        sector: &Sector,
        embed: &Embed,
        record: SectorRecord,
        handle: SectorHandle,
    ) -> Result<(), NodeError> {
        let drawn = schedule::rho_height(&self.shared.parameters, embed);
        if view.height < drawn {
            return Ok(());
        }
        let beacon = self.beacon(drawn).await?;
        let (shared, sector, embed) = (self.shared.clone(), sector.clone(), embed.clone());
        let number = sector.id.number;
        let job = move || {
            write_embed(&shared, &sector, &embed, &beacon, &handle)?;
            crash_point("node.embed.written");
            let written = SectorRecord {
                embed: Some(EmbedRecord {
                    committed: embed.committed,
                    proofs: None,
                }),
                ..record
            };
            shared.journal.put_sector(number, &written)?;
            crash_point("node.embed.recorded");
            Ok(())
        };
        let name = format!("embed write {number}");
        self.work.start(Lane::Proof, &name, view.height, job);
        Ok(())
    }

    /// Step 3, its second half.
    async fn commit_replica(
        &mut self,
        view: &View,
        sector: &Sector,
        embed: &Embed,
        record: SectorRecord,
        handle: SectorHandle,
    ) -> Result<(), NodeError> {
        let drawn = schedule::rho_height(&self.shared.parameters, embed);
        let rhos = challenge::rhos(sector, embed, &self.beacon(drawn).await?);
        let body = {
            let sealed = handle.read();
            let after = written_roots(&rhos, |group| sealed.embedded_roots(group))
                .map_err(|error| handle.error(&error))?;
            after.map(|after| {
                Body::CommitReplica(ReplicaCommit {
                    sector: sector.id,
                    before: roots_of(
                        &sealed.replica_lanes(),
                        &sealed.replica_groups(),
                        &rhos.iter().map(|(group, _)| *group).collect(),
                    ),
                    after,
                })
            })
        };
        let Some(body) = body else {
            tracing::warn!(
                sector = %sector.id.number,
                "what lies written was made for another embed's factor: it is written anew"
            );
            return self.write_groups(view, sector, embed, record, handle).await;
        };
        let due = schedule::embed_due(&self.shared.parameters, embed);
        let purpose = format!("embed/{}/replica/{}", sector.id.number, embed.committed);
        self.post(view.height, Signer::Worker, &purpose, body, Some(due))
            .await?;
        Ok(())
    }

    /// Step 5.
    async fn prove_embed(
        &mut self,
        view: &View,
        sector: &Sector,
        (embed, replica): (&Embed, &EmbedReplica),
        record: SectorRecord,
        proofs: Option<Vec<holdfast_proofs::proof::ProofBytes>>,
        handle: SectorHandle,
    ) -> Result<(), NodeError> {
        let parameters = &self.shared.parameters;
        let number = sector.id.number;
        if let Some(proofs) = proofs {
            let due = schedule::embed_due(parameters, embed);
            let purpose = format!("embed/{number}/prove/{}", embed.committed);
            let body = Body::ProveEmbed {
                sector: sector.id,
                proofs,
            };
            self.post(view.height, Signer::Worker, &purpose, body, Some(due))
                .await?;
            return Ok(());
        }
        let drawn = schedule::embed_challenge_height(parameters, replica);
        let rho_height = schedule::rho_height(parameters, embed);
        if view.height < drawn {
            return Ok(());
        }
        let rho = self.beacon(rho_height).await?;
        let beacon = self.beacon(drawn).await?;
        let statement =
            challenge::embed_statement(&self.shared.parameters, sector, embed, &rho, &beacon)
                .map_err(|error| NodeError::State(error.to_string()))?;
        let id = CircuitId {
            circuit: Circuit::Embed,
            class: sector.class,
            per_proof: self.shared.parameters.embed_challenges_per_proof,
        };
        let (shared, prover, height) = (self.shared.clone(), self.prover.clone(), view.height);
        let committed = embed.committed;
        let job = move || {
            let statement = Statement::Embed(statement);
            let proofs = prover.prove(id, (number, &handle), &statement, height)?;
            let proven = SectorRecord {
                embed: Some(EmbedRecord {
                    committed,
                    proofs: Some(proofs),
                }),
                ..record
            };
            crash_point("node.embed-proof.made");
            shared.journal.put_sector(number, &proven)?;
            crash_point("node.embed-proof.recorded");
            Ok(())
        };
        let name = format!("embed proof {number}");
        self.work.start(Lane::Proof, &name, height, job);
        Ok(())
    }
}

/// The new roots of an embed's groups, or none where one was written with another factor than the
/// ledger fixed: such a replica cannot be proven.
fn written_roots(
    rhos: &[(Group, Node)],
    roots_of: impl Fn(Group) -> Result<EmbeddedRoots, SealError>,
) -> Result<Option<Vec<GroupRoot>>, SealError> {
    let mut after = Vec::with_capacity(rhos.len());
    for (group, rho) in rhos {
        let roots = roots_of(*group)?;
        if roots.rho != *rho {
            return Ok(None);
        }
        after.push(GroupRoot {
            group: *group,
            root: roots.replica,
        });
    }
    Ok(Some(after))
}

/// Lays the data of every group beside the sector and writes its new replica.
fn write_embed(
    shared: &Arc<Shared>,
    sector: &Sector,
    embed: &Embed,
    beacon: &Beacon,
    handle: &SectorHandle,
) -> Result<(), NodeError> {
    let rhos: BTreeMap<_, _> = challenge::rhos(sector, embed, beacon).into_iter().collect();
    // What is staged is of an attempt that was killed, or of an embed that was given up.
    let abandoned = handle.write().abandon_embed();
    abandoned.map_err(|error| handle.error(&error))?;
    for group in &embed.groups {
        let layout = &group.layout;
        let data = group_data(shared, sector, layout)?;
        // Held for one group at a time: a deadline's proof may come in between.
        let mut sealed = handle.write();
        let root = sealed.stage(data).map_err(|error| handle.error(&error))?;
        if root != group.data_root {
            drop(sealed);
            check_shards(shared, layout)?;
            return Err(NodeError::State(format!(
                "the data of group {} of sector {} has another root than was accepted",
                layout.group.index(),
                sector.id
            )));
        }
        let rho = rhos
            .get(&layout.group)
            .ok_or_else(|| NodeError::State("a group of the embed has no rho".into()))?;
        sealed
            .embed(layout.group, *rho)
            .map_err(|error| handle.error(&error))?;
    }
    Ok(())
}

/// The plain data of a group, from its shards' plain bytes.
pub(crate) fn group_data(
    shared: &Shared,
    sector: &Sector,
    layout: &GroupLayout,
) -> Result<GroupData, NodeError> {
    let mut data = GroupData::new(sector.class, layout.group);
    for placed in &layout.subtrees {
        let nodes = subtree_nodes(shared, sector.id.number, placed)?;
        data.put(u64::from(placed.unit), &nodes)
            .map_err(|error| NodeError::State(format!("sector {}: {error}", sector.id)))?;
    }
    Ok(data)
}

/// Reads every shard of a group against its receipt: one whose file is damaged is named.
pub(crate) fn check_shards(shared: &Shared, layout: &GroupLayout) -> Result<(), NodeError> {
    let deals: BTreeSet<_> = layout.subtrees.iter().map(|placed| placed.deal).collect();
    let mut first = Ok(());
    for deal in deals {
        if let Some(record) = shared.journal.shard(deal)? {
            let receipt = &record.receipt.receipt;
            let read = shared
                .shards
                .read_checked(deal, receipt.root, receipt.length);
            first = first.and(read.map(drop));
        }
    }
    first
}

/// The nodes of one subtree, from its shard's plain bytes.
fn subtree_nodes(
    shared: &Shared,
    number: SectorNumber,
    placed: &holdfast_market_core::message::PlacedSubtree,
) -> Result<Vec<Node>, NodeError> {
    let deal = placed.deal;
    let damaged = |reason: String| shared.shards.damage(deal, reason);
    let record = shared.journal.shard(deal)?.ok_or_else(|| {
        NodeError::State(format!(
            "sector {number} is to hold shard {deal}, of which this node has no bytes"
        ))
    })?;
    let length = record.receipt.receipt.length;
    let shape = PieceShape::of(length.0, shared.parameters.piece_levels)
        .map_err(|error| damaged(error.to_string()))?;
    let units =
        |levels: &u32| 1u64 << (levels.saturating_sub(UNIT_LEVELS).saturating_mul(3)).min(63);
    let index = usize::try_from(placed.subtree).unwrap_or(usize::MAX);
    let levels = shape
        .subtrees()
        .get(index)
        .ok_or_else(|| damaged(format!("it has no subtree {index}")))?;
    let before: u64 = shape.subtrees().iter().take(index).map(units).sum();
    let start = before.saturating_mul(UNIT_DATA_BYTES);
    let end = start
        .saturating_add(units(levels).saturating_mul(UNIT_DATA_BYTES))
        .min(length.0);
    let mut file = shared.shards.file(deal, length)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.take(end.saturating_sub(start)).read_to_end(&mut bytes))
        .map_err(|error| damaged(error.to_string()))?;
    let mut nodes = pack(&bytes);
    let full = units(levels).saturating_mul(UNIT_NODES);
    nodes.resize(usize::try_from(full).unwrap_or(usize::MAX), Node::ZERO);
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roots_that_were_written_with_another_factor_are_not_committed() {
        let node = |name: &[u8]| Node::derive("holdfast test", &[name]);
        let groups = [3, 9].map(|index| Group::new(index).unwrap());
        let rhos = groups.map(|group| (group, node(&[group.index()])));
        let written = |other: Option<Group>| {
            written_roots(&rhos, |group| {
                let rho = if other == Some(group) {
                    group.index() + 1
                } else {
                    group.index()
                };
                Ok(EmbeddedRoots {
                    rho: node(&[rho]),
                    key: node(b"key"),
                    data: node(b"data"),
                    replica: node(&[b'r', group.index()]),
                })
            })
            .unwrap()
        };
        let expected = groups.map(|group| GroupRoot {
            group,
            root: node(&[b'r', group.index()]),
        });
        assert_eq!(written(None), Some(expected.to_vec()));
        for group in groups {
            assert_eq!(written(Some(group)), None);
        }
        let missing = |group| Err(SealError::NotStaged(group));
        assert!(matches!(
            written_roots(&rhos, missing),
            Err(SealError::NotStaged(group)) if group == groups[0]
        ));
    }
}
