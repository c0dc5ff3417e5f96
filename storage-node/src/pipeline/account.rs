//! Registration, collateral and the worker's fees.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::units::{Address, Amount};

/// The worker is refilled when it can pay fewer than so many large messages …
const LOW: u128 = 50;
/// … and then to so many.
const FULL: u128 = 400;
/// Bytes of a large message.
const LARGE_MESSAGE: usize = 16 << 10;

impl Pipeline {
    /// Registers the provider, and keeps its offer, its collateral and its worker's balance as
    /// they should be.
    pub(crate) async fn keep_account(&mut self, view: &View) -> Result<(), NodeError> {
        let worker = Address(self.shared.worker.verifying_key().to_bytes());
        let needed =
            quote::provider_collateral(&view.parameters, self.goal.class, self.goal.sectors.max(1))
                .map_err(|error| NodeError::State(error.to_string()))?;
        let fee = quote::fee_of_size(&view.parameters.economy, LARGE_MESSAGE);
        let reserve = Amount(fee.0.saturating_mul(FULL));
        let Some(provider) = &view.provider else {
            if self.goal.retire {
                return Err(NodeError::State(
                    "this node is to leave the network and is not registered on it; run it without --retire"
                        .into(),
                ));
            }
            let wanted = Amount(needed.0.saturating_add(reserve.0));
            if view.owner.balance < wanted {
                return Err(NodeError::State(format!(
                    "the owner {} has {} and registering takes {wanted}; send it the rest",
                    Address(self.owner.verifying_key().to_bytes()),
                    view.owner.balance
                )));
            }
            let body = Body::RegisterProvider {
                worker,
                offer: self.offer.clone(),
                collateral: needed,
            };
            self.post(view.height, Signer::Owner, "register", body, None)
                .await?;
            return Ok(());
        };
        if provider.worker != worker || provider.offer != self.offer {
            let body = Body::UpdateProvider {
                provider: provider.id,
                worker,
                offer: self.offer.clone(),
            };
            self.post(view.height, Signer::Owner, "update", body, None)
                .await?;
        }
        if view.worker.balance < Amount(fee.0.saturating_mul(LOW)) {
            let amount = reserve.saturating_sub(view.worker.balance);
            if view.owner.balance < amount {
                return Err(NodeError::State(format!(
                    "the worker has {} left for fees and the owner {}, too little for the {amount} that it should get; send the owner more",
                    view.worker.balance, view.owner.balance
                )));
            }
            let body = Body::Transfer { to: worker, amount };
            self.post(view.height, Signer::Owner, "fund", body, None)
                .await?;
        }
        let missing = needed.saturating_sub(provider.collateral);
        // Fines nibble at the collateral; a gap is filled before it keeps a sector from its embed.
        let economy = &view.parameters.economy;
        let short = missing >= economy.embed_deposit && !view.has_left();
        if short && view.owner.balance > missing {
            let body = Body::AddCollateral {
                provider: provider.id,
                amount: missing,
            };
            self.post(view.height, Signer::Owner, "collateral", body, None)
                .await?;
        }
        Ok(())
    }
}
