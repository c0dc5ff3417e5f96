//! What is known of a running testnet: processes from the system, the rest from its ledger.

use crate::error::TestnetError;
use crate::network::Testnet;
use crate::process::memory_peak;
use crate::record::Role;
use holdfast_market_core::state::{
    Deal, DealSet, DealStatus, Provider, Sector, SectorStatus, Supply,
};
use holdfast_market_core::units::{
    Address, Amount, Height, NetworkId, PackId, ProviderId, SectorNumber, ShardIndex,
};
use holdfast_wire::ledger::{LedgerClient, LedgerError};
use serde::Serialize;
use std::path::PathBuf;

/// A testnet at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct TestnetView {
    /// Its folder: what `--network` takes.
    pub folder: PathBuf,
    /// The network's id.
    pub network: NetworkId,
    /// Where its ledger's API and explorer answer.
    pub api: String,
    /// Its processes.
    pub processes: Vec<ProcessView>,
    /// What its ledger says; nothing where the market does not run.
    pub ledger: Option<LedgerView>,
}

/// A process at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its number, while it runs.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: u16,
    /// The most memory that it has held, in bytes.
    pub peak_memory: Option<u64>,
    /// Its log.
    pub log: PathBuf,
}

/// What the ledger says at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerView {
    /// Up to which block.
    pub height: Height,
    /// The testnet's own wallet.
    pub wallet: AccountLine,
    /// The providers, in order.
    pub providers: Vec<ProviderView>,
    /// The wallet's deal sets.
    pub deal_sets: Vec<DealSetView>,
    /// The token's books.
    pub supply: Supply,
}

/// An account and its balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountLine {
    /// Whose, as people write it.
    pub address: String,
    /// How much.
    pub balance: Amount,
}

/// A provider and its sectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProviderView {
    /// Its number.
    pub id: ProviderId,
    /// The name of its process, where it is one of the testnet's.
    pub name: Option<String>,
    /// Where it is reached.
    pub endpoint: String,
    /// Its owner's account.
    pub owner: AccountLine,
    /// Its worker's balance: what pays the fees.
    pub worker: Amount,
    /// Its collateral.
    pub collateral: Amount,
    /// Deadlines met.
    pub proven: u64,
    /// Deadlines missed.
    pub missed: u64,
    /// Minted for it.
    pub rewarded: Amount,
    /// Paid to it out of escrow.
    pub paid: Amount,
    /// Taken from it.
    pub fined: Amount,
    /// Its sectors.
    pub sectors: Vec<SectorView>,
}

/// A sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectorView {
    /// Its number.
    pub number: SectorNumber,
    /// One word: `sealing`, `active`, `faulty`, `terminated`.
    pub state: &'static str,
    /// Whether an embed is under way.
    pub embedding: bool,
}

/// A deal set and its deals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DealSetView {
    /// The pack.
    pub pack: PackId,
    /// Shards that suffice.
    pub k: u8,
    /// Shards in all.
    pub n: u8,
    /// Bytes of ciphertext.
    pub length: u64,
    /// Bytes of each shard.
    pub shard_length: u64,
    /// The deals, by shard.
    pub deals: Vec<DealView>,
}

/// A deal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DealView {
    /// Which shard.
    pub shard: ShardIndex,
    /// Whose.
    pub provider: ProviderId,
    /// One word: `proposed`, `accepted`, `proven`, `expired`, `cancelled`, `broken`, `failed`.
    pub state: &'static str,
    /// In which of the provider's sectors, once proven.
    pub sector: Option<SectorNumber>,
    /// Periods paid so far.
    pub paid_periods: u64,
    /// What of the escrow is still held for it.
    pub escrow: Amount,
}

impl TestnetView {
    /// Looks at a testnet.
    ///
    /// # Errors
    /// A network folder that is not right, and a ledger that answers nonsense; a market that does
    /// not run is not an error.
    pub async fn read(testnet: &Testnet) -> Result<Self, TestnetError> {
        let network = testnet.network()?;
        let ledger = match LedgerView::read(testnet, &testnet.ledger()?).await {
            Ok(view) => Some(view),
            Err(TestnetError::Ledger(LedgerError::Unreachable { .. })) => None,
            Err(error) => return Err(error),
        };
        let processes = testnet
            .record()
            .processes
            .iter()
            .map(|process| {
                let pid = process
                    .process
                    .as_ref()
                    .filter(|id| id.alive())
                    .map(|id| id.pid);
                ProcessView {
                    name: process.name.clone(),
                    role: process.role,
                    pid,
                    port: process.port,
                    peak_memory: pid.and_then(memory_peak),
                    log: testnet.layout().log(&process.name),
                }
            })
            .collect();
        Ok(Self {
            folder: testnet.layout().folder().to_owned(),
            network: network.network(),
            api: network.api().to_owned(),
            processes,
            ledger,
        })
    }
}

impl LedgerView {
    /// Reads the ledger. The answers are of one height or of neighbouring ones.
    ///
    /// # Errors
    /// A ledger that does not answer.
    pub async fn read(testnet: &Testnet, ledger: &LedgerClient) -> Result<Self, TestnetError> {
        let network = testnet.network()?;
        let prefix = network.genesis().address_prefix();
        let height = ledger.status().await?.height;
        let mut providers = Vec::new();
        for provider in ledger.providers().await? {
            let sectors = ledger.sectors(provider.id).await?;
            let owner = account(ledger, provider.owner, prefix).await?;
            let worker = ledger.account(provider.worker).await?.balance;
            let name = testnet
                .record()
                .nodes()
                .find(|node| provider.offer.endpoint == format!("127.0.0.1:{}", node.port))
                .map(|node| node.name.clone());
            providers.push(provider_view(provider, name, owner, worker, &sectors));
        }
        // The genesis gives the testnet's wallet its balance first.
        let wallet = network
            .genesis()
            .balances
            .first()
            .map_or(Address([0; 32]), |first| first.account);
        let mut deal_sets: Vec<_> = ledger
            .deal_sets_of(wallet)
            .await?
            .into_iter()
            .map(DealSetView::from)
            .collect();
        deal_sets.sort_by_key(|set| set.pack);
        Ok(Self {
            height,
            wallet: account(ledger, wallet, prefix).await?,
            providers,
            deal_sets,
            supply: ledger.supply().await?,
        })
    }

    /// The provider that a node of the testnet has registered as.
    pub fn provider_of(&self, node: &str) -> Option<&ProviderView> {
        self.providers
            .iter()
            .find(|provider| provider.name.as_deref() == Some(node))
    }

    /// Every deal of the wallet's.
    pub fn deals(&self) -> impl Iterator<Item = &DealView> {
        self.deal_sets.iter().flat_map(|set| &set.deals)
    }
}

async fn account(
    ledger: &LedgerClient,
    address: Address,
    prefix: &'static str,
) -> Result<AccountLine, TestnetError> {
    Ok(AccountLine {
        address: address.to_text(prefix),
        balance: ledger.account(address).await?.balance,
    })
}

fn provider_view(
    provider: Provider,
    name: Option<String>,
    owner: AccountLine,
    worker: Amount,
    sectors: &[Sector],
) -> ProviderView {
    ProviderView {
        id: provider.id,
        name,
        endpoint: provider.offer.endpoint,
        owner,
        worker,
        collateral: provider.collateral,
        proven: provider.record.proven,
        missed: provider.record.missed,
        rewarded: provider.record.rewarded,
        paid: provider.record.paid,
        fined: provider.record.fined,
        sectors: sectors
            .iter()
            .map(|sector| SectorView {
                number: sector.id.number,
                state: match sector.status {
                    SectorStatus::PreCommitted { .. } => "sealing",
                    SectorStatus::Active { .. } => "active",
                    SectorStatus::Faulty { .. } => "faulty",
                    SectorStatus::Terminated { .. } => "terminated",
                },
                embedding: sector.embed.is_some(),
            })
            .collect(),
    }
}

impl From<DealSet> for DealSetView {
    fn from(set: DealSet) -> Self {
        let deals = set.deals.iter().enumerate();
        Self {
            pack: set.id,
            k: set.proposal.pack.k,
            n: set.proposal.pack.n,
            length: set.proposal.pack.length.0,
            shard_length: set.proposal.pack.shard_length.0,
            deals: deals.map(|(index, deal)| deal_view(index, deal)).collect(),
        }
    }
}

fn deal_view(index: usize, deal: &Deal) -> DealView {
    let (state, sector) = match &deal.status {
        DealStatus::Proposed => ("proposed", None),
        DealStatus::Accepted => ("accepted", None),
        DealStatus::Proven { sector, .. } => ("proven", Some(*sector)),
        DealStatus::Expired => ("expired", None),
        DealStatus::Cancelled => ("cancelled", None),
        DealStatus::Failed { .. } => ("failed", None),
        DealStatus::Broken { .. } => ("broken", None),
    };
    DealView {
        // A pack has at most 255 shards.
        shard: ShardIndex(u8::try_from(index).unwrap_or(u8::MAX)),
        provider: deal.provider,
        state,
        sector,
        paid_periods: deal.paid.0,
        escrow: deal.escrow,
    }
}
