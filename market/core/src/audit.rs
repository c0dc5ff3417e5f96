//! Replaying a chain from its genesis: every signature, certificate, root and proof again, and the
//! token's conservation, trusting nobody. Pure and in memory; blocks come one at a time.

use crate::block::{Block, CertifiedBlock, OutcomeResult};
use crate::execute::{ProofTally, execute};
use crate::genesis::Genesis;
use crate::message::SignedMessage;
use crate::query;
use crate::rules::{GenesisError, Rules, genesis_writes};
use crate::state::Supply;
use crate::tree::MemoryTree;
use crate::units::{BlockId, Height, MessageId, NetworkId, TreeRoot};
use crate::view::{MemoryView, ViewError};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::verify::Watch;
use serde::{Deserialize, Serialize};

/// Blocks from one full recount of the books to the next; every block's own movements are checked
/// in every block.
const RECOUNT_EVERY: u64 = 64;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its height.
    pub height: Height,
    /// Its messages.
    pub messages: usize,
    /// Its proofs that held.
    pub proofs: ProofTally,
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
    /// What the audit cannot show, in sentences.
    pub limits: Vec<String>,
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    rules: Rules,
    view: MemoryView,
    tree: MemoryTree,
    state_root: TreeRoot,
    done: u64,
    refused: u64,
    proofs: ProofTally,
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
            state_root,
            done: 0,
            refused: 0,
            proofs: ProofTally::default(),
        })
    }

    /// Replays the next block.
    ///
    /// # Errors
    /// What of it does not hold. The replay then stands where it stood before, except where the books
    /// are found not to add up: that is seen once the block is taken over.
    pub fn push(&mut self, certified: &CertifiedBlock) -> Result<Step, Finding> {
        let block = &certified.block;
        let height = block.header.height;
        let finding = |reason: String| Finding {
            height,
            message: None,
            reason,
        };
        let unreadable = |error: ViewError| finding(error.to_string());
        let validators = query::validators(&self.view).map_err(unreadable)?;
        if !certified.is_final(self.rules.network, &validators.next) {
            return Err(finding(
                "its certificate is not one of this network's validators".into(),
            ));
        }
        if block.header.state_root != self.state_root {
            return Err(finding(format!(
                "it says the state before it has root {}, replaying gives {}",
                block.header.state_root, self.state_root
            )));
        }
        let execution = execute(&self.view, &self.rules, block).map_err(|error| Finding {
            message: error.message().and_then(|index| id_of(block, index)),
            ..finding(error.to_string())
        })?;
        let root = self
            .tree
            .apply(height, &execution.writes)
            .map_err(unreadable)?;
        self.view.apply(&execution.writes);
        self.state_root = root;
        self.proofs = self.proofs.plus(&execution.proofs);
        for outcome in &execution.outcomes {
            let count = match outcome.result {
                OutcomeResult::Done => &mut self.done,
                OutcomeResult::Refused(_) => &mut self.refused,
            };
            *count = count.saturating_add(1);
        }
        if height.0.is_multiple_of(RECOUNT_EVERY) {
            self.recount()?;
        }
        Ok(Step {
            height,
            messages: execution.outcomes.len(),
            proofs: execution.proofs,
        })
    }

    /// Has every proof's verification told to `watch`: a caller with a clock can time it.
    pub fn watch(&mut self, watch: Watch) {
        self.rules.verifier.watch(watch);
    }

    /// The state tree's root after the last block.
    pub fn state_root(&self) -> TreeRoot {
        self.state_root
    }

    /// The state after the last block.
    pub fn view(&self) -> &MemoryView {
        &self.view
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
                "the books say {kept:?}, counting every object gives {counted:?}"
            )));
        }
        if !counted.balances_out() {
            return Err(finding(format!(
                "tokens are not conserved: {counted:?} does not add up"
            )));
        }
        Ok(counted)
    }

    /// Counts every token once more and says what held.
    ///
    /// # Errors
    /// Books that do not add up.
    pub fn finish(self) -> Result<AuditReport, Finding> {
        let supply = self.recount()?;
        let unreadable = |error: ViewError| Finding {
            height: Height(0),
            message: None,
            reason: error.to_string(),
        };
        let chain = query::chain(&self.view).map_err(unreadable)?;
        let validators = query::validators(&self.view).map_err(unreadable)?;
        let mut limits = Vec::new();
        if validators.next.len() == 1 {
            limits.push(
                "One signer orders this network's blocks and knows every challenge before it \
                 signs: proofs of a provider that is this signer, or works with it, show nothing."
                    .into(),
            );
        }
        Ok(AuditReport {
            network: self.rules.network,
            height: chain.height,
            last: chain.last,
            state_root: self.state_root,
            done: self.done,
            refused: self.refused,
            proofs: self.proofs,
            supply,
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
