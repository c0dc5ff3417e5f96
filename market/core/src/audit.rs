//! Replaying a chain from its genesis: every signature, certificate, root and proof again, and the
//! token's conservation, trusting nobody. Pure and in memory.
//!
//! [`Replay::push`] takes one block after the other and verifies what is in it. [`Replay::ahead`]
//! executes several, believes their proofs, and gives them out, so that whoever has several cores can
//! verify them together; where one does not hold, [`Replay::take_back`] goes back, and `push` says what
//! is wrong. So both come to the same.

mod explain;
mod history;
mod saved;

pub use history::{Event, History, Mark, PeriodMark, SectorHistory, Subject, What};
pub use saved::{RestoreError, Saved};

use crate::block::{Block, CertifiedBlock, OutcomeResult};
use crate::execute::{Claim, ProofTally, Proofs, execute_given};
use crate::facts::{Checked, Facts};
use crate::genesis::Genesis;
use crate::message::SignedMessage;
use crate::query;
use crate::rules::{GenesisError, Rules, genesis_writes};
use crate::state::Supply;
use crate::tree::{MemoryTree, TreeUndo};
use crate::units::{BlockId, Height, MessageId, NetworkId, TreeRoot};
use crate::view::{MemoryView, ViewError, Writes};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::verify::{Verifier, Watch};
use serde::{Deserialize, Serialize};

/// Blocks from one full recount of the books to the next, at least; every block's own movements are
/// checked in every block.
const RECOUNT_EVERY: u64 = 64;
/// Objects that a recount looks at for each block since the last one: the work stays in proportion.
const RECOUNTED_PER_BLOCK: u64 = 64;

/// What of a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("block {height}: {reason}")]
pub struct Finding {
    /// In which block; 0 is genesis.
    pub height: Height,
    /// In which message of it, where it is one.
    pub message: Option<MessageId>,
    /// In one sentence.
    pub reason: String,
}

/// What one block added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its height.
    pub height: Height,
    /// Its messages.
    pub messages: usize,
    /// Its proofs that held.
    pub proofs: ProofTally,
    /// What it did with what is followed ([`Replay::follow`]).
    pub events: Vec<Event>,
}

/// What a replay found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Of which network.
    pub network: NetworkId,
    /// The last block.
    pub height: Height,
    /// Its name.
    pub last: BlockId,
    /// The state tree's root after it.
    pub state_root: TreeRoot,
    /// Messages done.
    pub done: u64,
    /// Messages refused, their fee paid.
    pub refused: u64,
    /// Proofs verified again, by kind.
    pub proofs: ProofTally,
    /// The books, recounted over every object.
    pub supply: Supply,
    /// What each kind of proof binds, in sentences.
    pub binds: Vec<String>,
    /// What the audit cannot show, in sentences.
    pub limits: Vec<String>,
}

/// Where a replay stands, its state aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    state_root: TreeRoot,
    done: u64,
    refused: u64,
    proofs: ProofTally,
    recounted: Height,
    /// The first message that the last block's rules refused, for saying why roots differ.
    refusal: Option<(MessageId, String)>,
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    rules: Rules,
    view: MemoryView,
    tree: MemoryTree,
    place: Place,
    subject: Option<Subject>,
}

/// What takes one block back.
#[derive(Debug)]
struct Undo {
    view: Writes,
    tree: TreeUndo,
    place: Place,
}

/// Blocks that were executed and whose proofs were believed.
#[derive(Debug)]
pub struct Ahead {
    /// What each block added, where the proofs hold.
    pub steps: Vec<Step>,
    /// What is to be verified.
    pub claims: Vec<Claim>,
    undo: Vec<Undo>,
}

impl Replay {
    /// Begins at the genesis.
    ///
    /// # Errors
    /// A genesis that no network can begin with, or keys that are not its.
    pub fn new(genesis: &Genesis, keys: &VerifyingKeys) -> Result<Self, GenesisError> {
        Self::under(genesis, Rules::new(genesis, keys)?)
    }

    pub(crate) fn under(genesis: &Genesis, rules: Rules) -> Result<Self, GenesisError> {
        let writes = genesis_writes(genesis)?;
        let (mut view, mut tree) = (MemoryView::default(), MemoryTree::default());
        view.apply(&writes);
        let state_root = tree.apply(Height(0), &writes)?;
        Ok(Self {
            rules,
            view,
            tree,
            place: Place {
                state_root,
                done: 0,
                refused: 0,
                proofs: ProofTally::default(),
                recounted: Height(0),
                refusal: None,
            },
            subject: None,
        })
    }

    /// Notes from now on what blocks do with a provider or a sector.
    pub fn follow(&mut self, subject: Subject) {
        self.subject = Some(subject);
    }

    /// Replays the next block.
    ///
    /// # Errors
    /// What of it does not hold. The replay then stands where it stood before.
    pub fn push(&mut self, certified: &CertifiedBlock) -> Result<Step, Finding> {
        self.push_given(certified, &Facts::default(), None)
    }

    /// The same with a block whose signatures were looked at before.
    ///
    /// # Errors
    /// As [`Replay::push`].
    pub fn push_checked(&mut self, checked: &Checked) -> Result<Step, Finding> {
        self.push_given(&checked.certified, &checked.facts, checked.named)
    }

    fn push_given(
        &mut self,
        certified: &CertifiedBlock,
        facts: &Facts,
        named: Option<BlockId>,
    ) -> Result<Step, Finding> {
        let (step, undo) = self.advance(certified, facts, named, Proofs::Verified)?;
        if let Err(finding) = self.recount_in_turn() {
            self.take_one_back(undo);
            return Err(finding);
        }
        Ok(step)
    }

    /// Executes the next blocks and believes their proofs.
    ///
    /// # Errors
    /// Something of them does not hold, and nothing was done: [`Replay::push_checked`] says what it is,
    /// which need not be what is said here.
    pub fn ahead(&mut self, blocks: &[Checked]) -> Result<Ahead, Finding> {
        let mut ahead = Ahead {
            steps: Vec::with_capacity(blocks.len()),
            claims: Vec::new(),
            undo: Vec::with_capacity(blocks.len()),
        };
        for checked in blocks {
            let taken = Proofs::Believed(&mut ahead.claims);
            let done = self.advance(&checked.certified, &checked.facts, checked.named, taken);
            let counted = done.and_then(|(step, undo)| {
                ahead.steps.push(step);
                ahead.undo.push(undo);
                self.recount_in_turn()
            });
            if let Err(finding) = counted {
                self.take_back(ahead);
                return Err(finding);
            }
        }
        Ok(ahead)
    }

    /// Goes back to where the replay stood before those blocks; they must be the last ones.
    pub fn take_back(&mut self, ahead: Ahead) {
        for undo in ahead.undo.into_iter().rev() {
            self.take_one_back(undo);
        }
    }

    fn take_one_back(&mut self, undo: Undo) {
        self.tree.take_back(undo.tree);
        self.view.apply(&undo.view);
        self.place = undo.place;
    }

    fn advance(
        &mut self,
        certified: &CertifiedBlock,
        facts: &Facts,
        named: Option<BlockId>,
        taken: Proofs<'_>,
    ) -> Result<(Step, Undo), Finding> {
        let block = &certified.block;
        let height = block.header.height;
        let unreadable = |error: ViewError| Finding {
            height,
            message: None,
            reason: error.to_string(),
        };
        let validators = query::validators(&self.view).map_err(unreadable)?;
        let network = self.rules.network;
        let certificate = &certified.certificate;
        if !certificate.is_final_given(&block.header, network, &validators.next, facts) {
            return Err(self.not_final(block, named));
        }
        if block.header.state_root != self.place.state_root {
            return Err(self.other_state(block));
        }
        let execution = execute_given(&self.view, &self.rules, block, facts, taken)
            .map_err(|error| self.not_a_block(block, &error))?;
        let events = match &self.subject {
            Some(subject) => subject
                .events(&self.view, block, &execution)
                .map_err(unreadable)?,
            None => Vec::new(),
        };
        let (root, tree) = self
            .tree
            .exchange(height, &execution.writes)
            .map_err(unreadable)?;
        let undo = Undo {
            view: self.view.exchange(&execution.writes),
            tree,
            place: self.place.clone(),
        };
        let place = &mut self.place;
        place.state_root = root;
        place.proofs = place.proofs.plus(&execution.proofs);
        place.refusal = None;
        for outcome in &execution.outcomes {
            let count = match &outcome.result {
                OutcomeResult::Done => &mut place.done,
                OutcomeResult::Refused(why) => {
                    let first = || (outcome.message, why.clone());
                    place.refusal.get_or_insert_with(first);
                    &mut place.refused
                }
            };
            *count = count.saturating_add(1);
        }
        let step = Step {
            height,
            messages: execution.outcomes.len(),
            proofs: execution.proofs,
            events,
        };
        Ok((step, undo))
    }

    /// Has every proof's verification told to `watch`: a caller with a clock can time it.
    pub fn watch(&mut self, watch: Watch) {
        self.rules.verifier.watch(watch);
    }

    /// What verifies the claims of [`Ahead`].
    pub fn verifier(&self) -> &Verifier {
        &self.rules.verifier
    }

    /// Of which network the chain is.
    pub fn network(&self) -> NetworkId {
        self.rules.network
    }

    /// The state tree's root after the last block.
    pub fn state_root(&self) -> TreeRoot {
        self.place.state_root
    }

    /// The state after the last block.
    pub fn view(&self) -> &MemoryView {
        &self.view
    }

    /// Its tree.
    pub fn tree(&self) -> &MemoryTree {
        &self.tree
    }

    /// Counts the books where it is their turn.
    fn recount_in_turn(&mut self) -> Result<(), Finding> {
        let unreadable = |error: ViewError| Finding {
            height: Height(0),
            message: None,
            reason: error.to_string(),
        };
        let height = query::chain(&self.view).map_err(unreadable)?.height;
        let objects = u64::try_from(self.view.len()).unwrap_or(u64::MAX);
        let turn = (objects / RECOUNTED_PER_BLOCK).max(RECOUNT_EVERY);
        if height.0.saturating_sub(self.place.recounted.0) >= turn {
            self.recount()?;
            self.place.recounted = height;
        }
        Ok(())
    }

    fn recount(&self) -> Result<Supply, Finding> {
        let chain = query::chain(&self.view);
        let height = chain.map_or(Height(0), |chain| chain.height);
        let finding = |reason: String| Finding {
            height,
            message: None,
            reason,
        };
        let unreadable = |error: ViewError| finding(error.to_string());
        let kept = query::supply(&self.view).map_err(unreadable)?;
        let counted = query::recount(&self.view).map_err(unreadable)?;
        if counted != kept {
            return Err(finding(format!(
                "the books say {kept:?}, counting every object gives {counted:?}; they added up at block {}",
                self.place.recounted
            )));
        }
        if !counted.balances_out() {
            return Err(finding(format!(
                "tokens are not conserved: {counted:?} does not add up; they did at block {}",
                self.place.recounted
            )));
        }
        Ok(counted)
    }

    /// Counts every token once more and says what held.
    ///
    /// # Errors
    /// Books that do not add up.
    pub fn finish(&self) -> Result<AuditReport, Finding> {
        let supply = self.recount()?;
        let unreadable = |error: ViewError| Finding {
            height: Height(0),
            message: None,
            reason: error.to_string(),
        };
        let chain = query::chain(&self.view).map_err(unreadable)?;
        let validators = query::validators(&self.view).map_err(unreadable)?;
        let limits = explain::limits(&validators.next, &self.rules.parameters);
        Ok(AuditReport {
            network: self.rules.network,
            height: chain.height,
            last: chain.last,
            state_root: self.place.state_root,
            done: self.place.done,
            refused: self.place.refused,
            proofs: self.place.proofs,
            supply,
            binds: explain::binds(),
            limits,
        })
    }
}

fn id_of(block: &Block, index: usize) -> Option<MessageId> {
    block
        .messages
        .get(index)
        .and_then(|signed: &SignedMessage| signed.id().ok())
}
