//! Messages that come in at one market handed on to the others, so that whoever's turn it is has
//! them. Each hands on only what is new to it, so that nothing goes round.

use holdfast_market_core::message::SignedMessage;
use holdfast_wire::ledger::{LedgerClient, LedgerError};
use std::sync::Arc;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Messages that wait to be handed on to one market, at most.
const MOST_WAITING: usize = 1024;

/// Where messages are handed on to.
#[derive(Clone, Debug, Default)]
pub struct Forwarder {
    markets: Vec<mpsc::Sender<Arc<SignedMessage>>>,
}

impl Forwarder {
    /// Hands on to the markets whose APIs these are, until it is dropped.
    ///
    /// # Errors
    /// What is no address of an API.
    pub fn start(apis: &[String]) -> Result<Self, LedgerError> {
        let mut markets = Vec::new();
        for api in apis {
            let client = LedgerClient::new(api)?;
            let (sender, waiting) = mpsc::channel(MOST_WAITING);
            tokio::spawn(hand_on(client, waiting));
            markets.push(sender);
        }
        Ok(Self { markets })
    }

    /// Hands a message on. Whom it does not reach gets it in a block.
    pub fn send(&self, message: SignedMessage) {
        let message = Arc::new(message);
        for market in &self.markets {
            if let Err(TrySendError::Full(_)) = market.try_send(Arc::clone(&message)) {
                tracing::debug!("another market is slow: a message is not handed on to it");
            }
        }
    }
}

async fn hand_on(market: LedgerClient, mut waiting: mpsc::Receiver<Arc<SignedMessage>>) {
    while let Some(message) = waiting.recv().await {
        // It may have it already, refuse it, or be away.
        if let Err(error) = market.submit(&message).await {
            tracing::debug!("{} does not take a message: {error}", market.api());
        }
    }
}
