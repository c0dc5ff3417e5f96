//! Leaving the network: nothing new is promised, what is promised is kept, and each sector ends when
//! it holds nothing that anybody has a claim to.

use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{Provider, Sector, SectorStatus};
use holdfast_market_core::units::{Amount, Blocks, Height};

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
        // What was signed for may still be funded, and what is funded still has to be embedded.
        let records = self.shared.journal.shards()?;
        let waits = |id| {
            let deal = view.deals.get(&id);
            deal.is_none_or(|deal| view.is_living(id) && deal.deal.sector.is_none())
        };
        if records.iter().any(|(id, _)| waits(*id)) {
            return Ok(());
        }
        let mut done = Ok(());
        for sector in view.sectors.values() {
            if self.may_leave(view, sector) {
                let purpose = format!("leave/{}", sector.id.number);
                let body = Body::TerminateSector { sector: sector.id };
                let sent = self
                    .post(view.height, Signer::Worker, &purpose, body, None)
                    .await;
                done = done.and(sent.map(|_| ()));
            }
        }
        done?;
        self.withdraw(view, provider, since).await
    }

    /// Whether the sector holds nothing, and the next challenge of it is not known yet.
    fn may_leave(&self, view: &View, sector: &Sector) -> bool {
        let parameters = &self.shared.parameters;
        let window = schedule::window(parameters, sector.next, sector.deadline);
        let in_time = view.height.after(INCLUSION) <= schedule::last_choice(parameters, window);
        let claimed = sector.deals().into_iter().any(|id| {
            let deal = view.deals.get(&id);
            view.is_living(id) || deal.is_some_and(|deal| deal.deal.locked != Amount::ZERO)
        });
        let active = matches!(sector.status, SectorStatus::Active { .. });
        active && sector.embed.is_none() && in_time && !claimed
    }

    /// Takes the collateral home once no sector is left and nothing can be claimed any more.
    async fn withdraw(
        &mut self,
        view: &View,
        provider: &Provider,
        since: Height,
    ) -> Result<(), NodeError> {
        let parameters = &self.shared.parameters;
        let over = |sector: &Sector| matches!(sector.status, SectorStatus::Terminated { .. });
        let free = quote::free_collateral(provider)
            .map_err(|error| NodeError::State(error.to_string()))?
            .min(provider.collateral);
        if free == Amount::ZERO
            || !view.sectors.values().all(over)
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
