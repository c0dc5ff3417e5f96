//! Messages to the ledger, each for one purpose: journalled before it is submitted, looked up until
//! its outcome is known, submitted again as the same bytes when the ledger forgot it.

use crate::error::NodeError;
use crate::journal::{Journal, OutboxEntry};
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::{Body, Message, SignedMessage};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::quote;
use holdfast_market_core::units::{Address, Amount, Blocks, Height, NetworkId};
use holdfast_proofs::crash::crash_point;
use holdfast_wire::ledger::{LedgerClient, LedgerError, MessageStatus};
use std::collections::{BTreeMap, HashMap};

/// A message is given up when it is in no block after so many.
const PATIENCE: Blocks = Blocks(24);
/// After a refusal the same purpose rests for so many blocks.
const REST: Blocks = Blocks(4);

/// How the purposes of proofs of spacetime begin.
pub(crate) const DEADLINE: &str = "spacetime/";

/// The ledger as the outbox uses it.
pub struct Outbox {
    ledger: LedgerClient,
    network: NetworkId,
    parameters: Parameters,
    waiting: BTreeMap<String, OutboxEntry>,
    resting: HashMap<String, Height>,
    refusals: HashMap<String, String>,
}

impl Outbox {
    /// The outbox with what the journal says is under way.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn open(
        ledger: LedgerClient,
        network: NetworkId,
        parameters: Parameters,
        journal: &Journal,
    ) -> Result<Self, NodeError> {
        Ok(Self {
            ledger,
            network,
            parameters,
            waiting: journal.outbox()?.into_iter().collect(),
            resting: HashMap::new(),
            refusals: HashMap::new(),
        })
    }

    /// Looks up every message under way: what has an outcome is forgotten, what the ledger does
    /// not know is submitted again, what has expired is given up. Done before state is read, so
    /// that state shows the effect of whatever is forgotten here.
    ///
    /// # Errors
    /// A ledger that does not answer, a journal that cannot be written.
    pub async fn refresh(&mut self, journal: &Journal, height: Height) -> Result<(), NodeError> {
        let mut waiting: Vec<(String, OutboxEntry)> = self
            .waiting
            .iter()
            .map(|(purpose, entry)| (purpose.clone(), entry.clone()))
            .collect();
        // A ledger that forgot several takes them again in the order of their numbers only.
        waiting.sort_by_key(|(_, entry)| entry.message.message.nonce);
        // A journal that cannot forget one keeps the others from nothing.
        let mut first = Ok(());
        for (purpose, entry) in waiting {
            match self.ledger.message(entry.id).await.map_err(ledger)? {
                MessageStatus::Included { result, .. } => {
                    if let OutcomeResult::Refused(sentence) = result {
                        self.refused(&purpose, sentence, height);
                    } else {
                        self.refusals.remove(&purpose);
                    }
                    crash_point(&format!("node.message.{}.included", kind(&purpose)));
                    first = first.and(self.forget(journal, &purpose));
                }
                _ if height > entry.message.message.expiry => {
                    tracing::warn!(%purpose, "a message was in no block and is made anew");
                    first = first.and(self.forget(journal, &purpose));
                }
                MessageStatus::Pending => {}
                MessageStatus::Unknown => match self.ledger.submit(&entry.message).await {
                    Ok(_) => crash_point(&format!("node.message.{}.sent", kind(&purpose))),
                    Err(error) if error.is_transient() => return Err(ledger(error)),
                    // Its number was used by another message, so it can never be included.
                    Err(LedgerError::Refused { sentence, .. }) => {
                        tracing::warn!(%purpose, %sentence, "a lost message is made anew");
                        first = first.and(self.forget(journal, &purpose));
                    }
                    Err(error) => return Err(ledger(error)),
                },
            }
        }
        first
    }

    /// Whether a message for this purpose is under way.
    pub fn waits(&self, purpose: &str) -> bool {
        self.waiting.contains_key(purpose)
    }

    /// Whether a message for this purpose was refused a moment ago.
    pub fn rests(&self, purpose: &str, height: Height) -> bool {
        self.resting
            .get(purpose)
            .is_some_and(|until| height < *until)
    }

    /// Whether a message for any purpose that begins so is under way.
    pub fn waits_for_any(&self, prefix: &str) -> bool {
        self.waiting
            .keys()
            .any(|purpose| purpose.starts_with(prefix))
    }

    /// Sends a message for a purpose, unless one is under way or was refused a moment ago. It is
    /// not valid above `last`, where that is given. Answers whether it was sent.
    ///
    /// # Errors
    /// A ledger that does not answer, a journal that cannot be written.
    pub async fn post(
        &mut self,
        journal: &Journal,
        height: Height,
        key: &SigningKey,
        purpose: &str,
        body: Body,
        last: Option<Height>,
    ) -> Result<bool, NodeError> {
        if self.rests(purpose, height) || self.waits(purpose) {
            return Ok(false);
        }
        let sender = Address(key.verifying_key().to_bytes());
        let account = self.ledger.account(sender).await.map_err(ledger)?;
        let economy = self
            .ledger
            .economy(&self.parameters)
            .await
            .map_err(ledger)?;
        let mut message = Message {
            sender,
            nonce: account.next_nonce,
            fee: Amount::ZERO,
            expiry: last.unwrap_or_else(|| height.after(PATIENCE)),
            body,
        };
        let unencodable = |error: holdfast_market_core::message::Unencodable| {
            NodeError::State(format!("the message for {purpose}: {error}"))
        };
        message.fee = quote::fee(&economy, &message).map_err(unencodable)?;
        let signed = SignedMessage::new(self.network, key, message).map_err(unencodable)?;
        let entry = OutboxEntry {
            id: signed.id().map_err(unencodable)?,
            message: signed,
        };
        // The journal first: a message that was submitted is never forgotten.
        match journal.put_outbox(purpose, &entry) {
            // But a deadline does not wait until the disk has room. Should the process die before
            // the proof is in a block, it is made and sent again, and the ledger refuses the second.
            Err(error @ (NodeError::Journal { .. } | NodeError::File { .. }))
                if purpose.starts_with(DEADLINE) =>
            {
                tracing::warn!(%purpose, %error, "a proof is sent that the journal could not note");
            }
            journalled => journalled?,
        }
        crash_point(&format!("node.message.{}.journalled", kind(purpose)));
        self.waiting.insert(purpose.to_owned(), entry.clone());
        match self.ledger.submit(&entry.message).await {
            Ok(_) => {
                crash_point(&format!("node.message.{}.sent", kind(purpose)));
                tracing::debug!(%purpose, "sent");
                Ok(true)
            }
            // Busy or paused, and perhaps it took the message all the same.
            Err(error) if error.is_transient() => Err(ledger(error)),
            Err(LedgerError::Refused { status, sentence }) => {
                self.forget(journal, purpose)?;
                // 409: only the nonce; the next height tries again.
                if status != 409 {
                    self.refused(purpose, sentence, height);
                }
                Ok(false)
            }
            // Whether it arrived is not known: the next refresh finds out.
            Err(error) => Err(ledger(error)),
        }
    }

    /// The last refusal of each purpose that did not succeed since.
    pub fn refusals(&self) -> Vec<String> {
        let mut refusals: Vec<String> = self
            .refusals
            .iter()
            .map(|(purpose, sentence)| format!("{purpose}: {sentence}"))
            .collect();
        refusals.sort();
        refusals
    }

    fn refused(&mut self, purpose: &str, sentence: String, height: Height) {
        tracing::warn!(%purpose, %sentence, "the ledger refused a message");
        self.resting.insert(purpose.to_owned(), height.after(REST));
        self.refusals.insert(purpose.to_owned(), sentence);
        // Purposes carry periods and heights: old ones never come back.
        if self.refusals.len() > 64 {
            self.refusals.clear();
        }
        self.resting.retain(|_, until| height < *until);
    }

    fn forget(&mut self, journal: &Journal, purpose: &str) -> Result<(), NodeError> {
        self.waiting.remove(purpose);
        journal.forget_outbox(purpose)
    }
}

/// A purpose without its numbers: `embed/0/prove/17` is `embed-prove`.
fn kind(purpose: &str) -> String {
    let words: Vec<&str> = purpose
        .split('/')
        .filter(|part| !part.contains(|letter: char| letter.is_ascii_digit()))
        .collect();
    words.join("-")
}

/// A ledger's error as the node's.
pub fn ledger(error: LedgerError) -> NodeError {
    NodeError::Ledger(error.to_string())
}
