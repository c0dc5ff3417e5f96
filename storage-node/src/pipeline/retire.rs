//! Leaving the network: nothing new is promised, what is promised is kept, and each sector ends when
//! it holds nothing that anybody has a claim to.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{Provider, Sector, SectorStatus};
use holdfast_market_core::units::{Amount, Blocks, Height};
use holdfast_wire::ledger::ProviderDeal;

/// A message is in a block so soon, nearly always.
const INCLUSION: Blocks = Blocks(2);

impl Pipeline {
    /// Takes the next steps out of the network, where the node is to leave it or is leaving.
    pub(crate) async fn leave(&mut self, view: &View) -> Result<(), NodeError> {
        let Some(provider) = &view.provider else {
            return Ok(());
        };
        let Some(since) = provider.retiring else {
            if self.goal.retire {
                let body = Body::Retire {
                    provider: provider.id,
                };
                self.post(view.height, Signer::Owner, "retire", body, None)
                    .await?;
            }
            return Ok(());
        };
        // What is signed for may still be funded, and what is funded still has to be embedded.
        let waits = |deal: &ProviderDeal| view.is_living(deal.id) && deal.deal.sector.is_none();
        if self.shared.room.is_promised() || view.deals.values().any(waits) {
            return Ok(());
        }
        let mut done = Ok(());
        for sector in view.sectors.values() {
            if let Some(last) = self.may_leave(view, sector) {
                let purpose = format!("leave/{}", sector.id.number);
                let body = Body::EndSector { sector: sector.id };
                let sent = self
                    .post(view.height, Signer::Worker, &purpose, body, Some(last))
                    .await;
                done = done.and(sent.map(|_| ()));
            }
        }
        done?;
        self.withdraw(view, provider, since).await
    }

    /// The last height at which a sector that holds nothing may leave.
    fn may_leave(&self, view: &View, sector: &Sector) -> Option<Height> {
        let parameters = &self.shared.parameters;
        let window = schedule::window(parameters, sector.next, sector.deadline);
        let last = schedule::last_choice(parameters, window);
        let in_time = view.height.after(INCLUSION) <= last;
        // By its layouts and by the deals: the two are not read at one moment.
        let placed = sector.deals();
        let claimed = view.deals.values().any(|deal| {
            let here = placed.contains(&deal.id) || deal.deal.sector == Some(sector.id.number);
            here && (view.is_living(deal.id) || deal.deal.locked != Amount::ZERO)
        });
        let active = matches!(sector.status, SectorStatus::Active { .. });
        (active && sector.embed.is_none() && in_time && !claimed).then_some(last)
    }

    /// Takes the collateral home once no sector is left and nothing can be claimed any more.
    async fn withdraw(
        &mut self,
        view: &View,
        provider: &Provider,
        since: Height,
    ) -> Result<(), NodeError> {
        let parameters = &self.shared.parameters;
        let free = quote::free_collateral(provider)
            .map_err(|error| NodeError::State(error.to_string()))?
            .min(provider.collateral);
        if free == Amount::ZERO
            || !view.has_left()
            || view.height <= schedule::past_worker_forgotten(parameters, since)
        {
            return Ok(());
        }
        let body = Body::WithdrawCollateral {
            provider: provider.id,
            amount: free,
        };
        self.post(view.height, Signer::Owner, "withdraw", body, None)
            .await?;
        Ok(())
    }
}
