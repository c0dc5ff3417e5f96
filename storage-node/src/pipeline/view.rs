//! The ledger as one height of the pipeline sees it.

use super::Pipeline;
use crate::error::NodeError;
use crate::outbox::ledger;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::state::{DealStatus, Provider, Sector, SectorStatus};
use holdfast_market_core::units::{Address, DealId, Height, SectorNumber};
use holdfast_wire::ledger::{AccountView, ProviderDeal};
use std::collections::BTreeMap;

/// What the ledger shows of this provider.
#[derive(Clone, Debug)]
pub struct View {
    /// At least at this height.
    pub height: Height,
    /// The provider, once it is registered.
    pub provider: Option<Provider>,
    /// Its sectors.
    pub sectors: BTreeMap<SectorNumber, Sector>,
    /// Its deals, those that are over too.
    pub deals: BTreeMap<DealId, ProviderDeal>,
    /// The owner's account.
    pub owner: AccountView,
    /// The worker's account.
    pub worker: AccountView,
    /// The rules' numbers as they stand.
    pub parameters: Parameters,
}

impl View {
    /// Whether a deal still binds: its piece must stay where it is.
    pub fn is_living(&self, deal: DealId) -> bool {
        self.deals.get(&deal).is_some_and(|deal| {
            matches!(
                deal.deal.status,
                DealStatus::Proposed | DealStatus::Accepted | DealStatus::Proven { .. }
            )
        })
    }

    /// Whether the node is leaving and has no sector any more.
    pub fn has_left(&self) -> bool {
        let over = |sector: &Sector| matches!(sector.status, SectorStatus::Terminated { .. });
        let provider = self.provider.as_ref();
        provider.is_some_and(|provider| provider.retiring.is_some())
            && self.sectors.values().all(over)
    }

    /// The sectors' layouts as they are or are about to be: an embed's groups stand for the old
    /// ones.
    pub fn layouts(
        sector: &Sector,
    ) -> impl Iterator<Item = &holdfast_market_core::message::GroupLayout> {
        let coming = sector.embed.iter().flat_map(|embed| &embed.groups);
        let rewritten: Vec<_> = coming.clone().map(|group| group.layout.group).collect();
        sector
            .groups
            .iter()
            .filter(move |layout| !rewritten.contains(&layout.group))
            .chain(coming.map(|group| &group.layout))
    }
}

impl Pipeline {
    /// Reads what the ledger shows now.
    pub(crate) async fn read_view(&mut self, height: Height) -> Result<View, NodeError> {
        let owner = Address(self.owner.verifying_key().to_bytes());
        let worker = Address(self.shared.worker.verifying_key().to_bytes());
        let known = *self.provider.borrow();
        let provider = match known {
            Some(id) => Some(self.ledger.provider(id).await.map_err(ledger)?),
            None => self
                .ledger
                .providers()
                .await
                .map_err(ledger)?
                .into_iter()
                .find(|provider| provider.owner == owner),
        };
        let (mut sectors, mut deals) = (BTreeMap::new(), BTreeMap::new());
        if let Some(provider) = &provider {
            for sector in self.ledger.sectors(provider.id).await.map_err(ledger)? {
                sectors.insert(sector.id.number, sector);
            }
            let listed = self.ledger.provider_deals(provider.id).await;
            for deal in listed.map_err(ledger)? {
                deals.insert(deal.id, deal);
            }
        }
        let genesis = &self.shared.parameters;
        let economy = self.ledger.economy(genesis).await;
        Ok(View {
            height,
            provider,
            sectors,
            deals,
            owner: self.ledger.account(owner).await.map_err(ledger)?,
            worker: self.ledger.account(worker).await.map_err(ledger)?,
            parameters: Parameters {
                economy: economy.map_err(ledger)?,
                ..genesis.clone()
            },
        })
    }
}
