//! Sends messages of one account: nonce, fee, signature, submission, outcome.

use super::{LedgerClient, LedgerError, MessageStatus, SENTENCE_LIMIT};
use crate::protocol::truncate;
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::{Body, Message, SignedMessage, Unencodable};
use holdfast_market_core::parameters::{Economy, Parameters};
use holdfast_market_core::quote;
use holdfast_market_core::units::{Address, Amount, Blocks, Height, MessageId, NetworkId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A message that is not in a block after so many is given up.
const VALIDITY: Blocks = Blocks(120);
/// Another process with the same key may take a nonce first; each try takes the next one.
const NONCE_TRIES: u32 = 8;
/// Pause before a ledger that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often in a row a ledger may fail to answer while a message waits for its block.
const PATIENCE: u32 = 60;

/// Why a message did not do what it asks.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The ledger could not be asked, or did not admit the message.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Executed and refused; the fee is paid.
    #[error("the ledger refused it at height {height}: {sentence}")]
    Refused {
        /// In which block.
        height: Height,
        /// Why.
        sentence: String,
    },
    /// In no block until its expiry.
    #[error("the message was in no block until height {0}; nothing was paid, send it again")]
    Expired(Height),
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// A message that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its id.
    pub id: MessageId,
    /// In which block.
    pub height: Height,
}

/// Sends messages of one account. Clones share the order of nonces.
#[derive(Clone)]
pub struct Sender {
    client: LedgerClient,
    network: NetworkId,
    parameters: Arc<Parameters>,
    key: SigningKey,
    // Held from reading the nonce until the message is with the ledger.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// A sender for the account of `key`.
    pub fn new(
        client: LedgerClient,
        network: NetworkId,
        parameters: Parameters,
        key: SigningKey,
    ) -> Self {
        Self {
            client,
            network,
            parameters: Arc::new(parameters),
            key,
            turn: Arc::default(),
        }
    }

    /// Whose messages it sends.
    pub fn address(&self) -> Address {
        Address(self.key.verifying_key().to_bytes())
    }

    /// The ledger that it sends to.
    pub fn client(&self) -> &LedgerClient {
        &self.client
    }

    /// Signs and submits a message with this body and waits until it has been executed.
    ///
    /// # Errors
    /// A ledger that does not answer or does not admit it, a refusal, an expiry.
    pub async fn send(&self, body: Body) -> Result<Executed, SendError> {
        let signed = self.submit(body).await?;
        self.outcome(&signed).await
    }

    /// Signs and submits; the outcome is not waited for.
    async fn submit(&self, body: Body) -> Result<SignedMessage, SendError> {
        let _turn = self.turn.lock().await;
        let mut tries = NONCE_TRIES;
        loop {
            let status = self.client.status().await?;
            let account = self.client.account(self.address()).await?;
            let economy = self.client.economy(&self.parameters).await?;
            let signed = self.sign(
                &economy,
                body.clone(),
                account.next_nonce,
                status.height.after(VALIDITY),
            )?;
            tries = tries.saturating_sub(1);
            match self.client.submit(&signed).await {
                Ok(_) => return Ok(signed),
                // 409: the nonce is taken or not yet due; another of the same key was first.
                Err(LedgerError::Refused { status: 409, .. }) if tries > 0 => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn sign(
        &self,
        economy: &Economy,
        body: Body,
        nonce: u64,
        expiry: Height,
    ) -> Result<SignedMessage, Unencodable> {
        let mut message = Message {
            sender: self.address(),
            nonce,
            fee: Amount::ZERO,
            expiry,
            body,
        };
        message.fee = quote::fee(economy, &message)?;
        SignedMessage::new(self.network, &self.key, message)
    }

    /// Waits for the outcome. A ledger that forgot the message (it was restarted) gets it again:
    /// the same bytes, so that it is executed once at most.
    async fn outcome(&self, signed: &SignedMessage) -> Result<Executed, SendError> {
        let id = signed.id()?;
        let mut failures = 0u32;
        let mut seen = Height(0);
        loop {
            match self.step(signed, id, &mut seen).await {
                Ok(Some(executed)) => return executed,
                Ok(None) => failures = 0,
                Err(error) if error.is_transient() && failures < PATIENCE => {
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn step(
        &self,
        signed: &SignedMessage,
        id: MessageId,
        seen: &mut Height,
    ) -> Result<Option<Result<Executed, SendError>>, LedgerError> {
        let height = self.client.wait(seen.after(Blocks(1))).await?.height;
        *seen = height;
        let expiry = signed.message.expiry;
        match self.client.message(id).await? {
            MessageStatus::Included { height, result } => Ok(Some(match result {
                OutcomeResult::Done => Ok(Executed { id, height }),
                OutcomeResult::Refused(mut sentence) => {
                    truncate(&mut sentence, SENTENCE_LIMIT);
                    Err(SendError::Refused { height, sentence })
                }
            })),
            _ if height > expiry => Ok(Some(Err(SendError::Expired(expiry)))),
            MessageStatus::Pending => Ok(None),
            MessageStatus::Unknown => {
                match self.client.submit(signed).await {
                    // Included between the two questions: the next round finds it.
                    Ok(_) | Err(LedgerError::Refused { status: 409, .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}
