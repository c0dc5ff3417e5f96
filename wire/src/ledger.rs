//! The ledger's HTTP API, typed: one method an end point, and a sender that fetches nonces,
//! computes fees, signs, submits and waits.

pub mod sender;
#[cfg(test)]
pub(crate) mod tests;
pub mod types;

pub use sender::{SendError, Sender};
pub use types::{
    AccountView, ApiError, BeaconView, DEAL_SET_PAGE, HEADER_PAGE, LIST_PAGE, LedgerStatus,
    MessageStatus, ProvenState, ProviderDeal, StakeView, StakesView, Submitted, UnbondingView,
};

use holdfast_market_core::block::{CertifiedBlock, Outcome};
use holdfast_market_core::channel::{Channel, Parties};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::governance::Proposal;
use holdfast_market_core::light::LightBlock;
use holdfast_market_core::message::{SignedMessage, Undecodable, Unencodable, decode, encode};
use holdfast_market_core::parameters::{Economy, Parameters};
use holdfast_market_core::proven::LONGEST_OBJECT;
use holdfast_market_core::stake::ValidatorRecord;
use holdfast_market_core::state::{DealSet, Name, Provider, Sector, Supply};
use holdfast_market_core::tree::LONGEST_STATE_PROOF;
use holdfast_market_core::units::{
    Address, Beacon, Height, MessageId, PackId, ProviderId, SectorId,
};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The most bytes of one answer that are read: a page of blocks is 16 MiB at most.
const ANSWER_LIMIT: usize = 24 << 20;
/// The most bytes of a page of headers: the market sends 4 MiB, or one block with the certificate and
/// the list of as many validators as a network may have.
const HEADERS_LIMIT: usize = 8 << 20;
/// The most bytes of a state object with its proof, both in hexadecimal.
const PROOF_LIMIT: usize = (LONGEST_OBJECT + LONGEST_STATE_PROOF) * 2 + 1024;
/// The most elements of a list that are read, page by page: a ledger that never ends one is broken.
const LIST_LIMIT: usize = 1_000_000;
/// The most bytes of a sentence of the ledger that are shown.
const SENTENCE_LIMIT: usize = 1000;
/// The ledger holds a long poll for 20 s; this leaves it time to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A ledger that does not take a connection in this time is not there.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Why the ledger gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The address of the API is no URL.
    #[error("`{0}` is not an address of a ledger's API; one looks like http://127.0.0.1:8000")]
    Address(String),
    /// Nobody answers.
    #[error(
        "the ledger at {api} does not answer ({reason}); see whether `holdfast market run` is running there"
    )]
    Unreachable {
        /// Where.
        api: String,
        /// What the connection says.
        reason: String,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The ledger refuses; its own sentence.
    #[error("{sentence}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the ledger says.
        sentence: String,
    },
    /// An answer that is none.
    #[error(
        "the ledger at {api} gave an answer that cannot be understood ({reason}); see whether it is of the same version"
    )]
    Malformed {
        /// Where.
        api: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

impl LedgerError {
    /// Whether asking again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // 429: too much of one account waits already.
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// A client of one ledger's API.
#[derive(Clone, Debug)]
pub struct LedgerClient {
    http: reqwest::Client,
    api: String,
}

impl LedgerClient {
    /// A client of the API at `api`, for example `http://127.0.0.1:8000`. Nothing is asked yet.
    ///
    /// # Errors
    /// Text that is no `http` address.
    pub fn new(api: &str) -> Result<Self, LedgerError> {
        let bad_address = || LedgerError::Address(api.chars().take(200).collect());
        let url = reqwest::Url::parse(api).map_err(|_| bad_address())?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(bad_address());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(ANSWER_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| bad_address())?;
        Ok(Self {
            http,
            api: api.trim_end_matches('/').to_owned(),
        })
    }

    /// Where it asks.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Where the ledger stands.
    ///
    /// # Errors
    /// Those of every method here: no answer, a refusal, or an answer that cannot be understood.
    pub async fn status(&self) -> Result<LedgerStatus, LedgerError> {
        self.json("/v1/status").await
    }

    /// Where the ledger stands once it has reached a height, or after 20 s.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn wait(&self, height: Height) -> Result<LedgerStatus, LedgerError> {
        self.json(&format!("/v1/wait?height={height}")).await
    }

    /// Waits for a height, however long it takes; failing answers are errors.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn wait_until(&self, height: Height) -> Result<LedgerStatus, LedgerError> {
        loop {
            let status = self.wait(height).await?;
            if status.height >= height {
                return Ok(status);
            }
        }
    }

    /// The genesis.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn genesis(&self) -> Result<Genesis, LedgerError> {
        let bytes = self.get("/v1/genesis").await?;
        decode("genesis", &bytes).map_err(|error| self.undecodable(&error))
    }

    /// The DAG-CBOR of the verifying keys.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn verifying_keys(&self) -> Result<Vec<u8>, LedgerError> {
        self.get("/v1/verifying-keys").await
    }

    /// Blocks from a height on, at most `limit` (64 at most), fewer where they are large.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn blocks(
        &self,
        from: Height,
        limit: u32,
    ) -> Result<Vec<CertifiedBlock>, LedgerError> {
        let bytes = self
            .get(&format!("/v1/blocks?from={from}&limit={limit}"))
            .await?;
        let blocks: Vec<CertifiedBlock> =
            decode("list of blocks", &bytes).map_err(|error| self.undecodable(&error))?;
        match u32::try_from(blocks.len()).is_ok_and(|count| count <= limit) {
            true => Ok(blocks),
            false => Err(self.malformed(format!("it has more than {limit} blocks"))),
        }
    }

    /// Blocks from a height on as they are followed without their messages, at most `limit`
    /// ([`HEADER_PAGE`] at most), fewer where they are large.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn headers(
        &self,
        from: Height,
        limit: usize,
    ) -> Result<Vec<LightBlock>, LedgerError> {
        let path = format!("/v1/headers?from={from}&limit={limit}");
        let bytes = self.get_within(&path, HEADERS_LIMIT).await?;
        let blocks: Vec<LightBlock> =
            decode("list of light blocks", &bytes).map_err(|error| self.undecodable(&error))?;
        match blocks.len() <= limit {
            true => Ok(blocks),
            false => Err(self.malformed(format!("it has more than {limit} blocks"))),
        }
    }

    /// One block with its certificate and the validators that it names, to begin at.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn header(&self, height: Height) -> Result<LightBlock, LedgerError> {
        let path = format!("/v1/headers/{height}");
        let bytes = self.get_within(&path, HEADERS_LIMIT).await?;
        decode("light block", &bytes).map_err(|error| self.undecodable(&error))
    }

    /// What came of the messages of a block.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn outcomes(&self, height: Height) -> Result<Vec<Outcome>, LedgerError> {
        self.json(&format!("/v1/outcomes/{height}")).await
    }

    /// Hands a message to the ledger; it is not executed yet.
    ///
    /// # Errors
    /// As [`LedgerClient::status`]; a message that is not admitted is [`LedgerError::Refused`].
    pub async fn submit(&self, message: &SignedMessage) -> Result<MessageId, LedgerError> {
        let request = self
            .http
            .post(format!("{}/v1/messages", self.api))
            .body(encode(message)?);
        let bytes = self.answer(request).await?;
        self.parse::<Submitted>(&bytes)
            .map(|submitted| submitted.id)
    }

    /// What became of a message.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn message(&self, id: MessageId) -> Result<MessageStatus, LedgerError> {
        self.json(&format!("/v1/messages/{id}")).await
    }

    /// An account; one that was never paid is empty.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn account(&self, address: Address) -> Result<AccountView, LedgerError> {
        self.json(&format!("/v1/accounts/{address}")).await
    }

    /// The beacon of a height.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn beacon(&self, height: Height) -> Result<Beacon, LedgerError> {
        let view: BeaconView = self.json(&format!("/v1/beacon/{height}")).await?;
        Ok(view.beacon)
    }

    /// Every provider.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn providers(&self) -> Result<Vec<Provider>, LedgerError> {
        let number = |one: &Provider| one.id.to_string();
        self.pages("/v1/providers", LIST_PAGE, number).await
    }

    /// One provider.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn provider(&self, id: ProviderId) -> Result<Provider, LedgerError> {
        self.json(&format!("/v1/providers/{id}")).await
    }

    /// A provider's sectors.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn sectors(&self, id: ProviderId) -> Result<Vec<Sector>, LedgerError> {
        let number = |one: &Sector| one.id.number.to_string();
        self.pages(&format!("/v1/providers/{id}/sectors"), LIST_PAGE, number)
            .await
    }

    /// A provider's deals.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn provider_deals(&self, id: ProviderId) -> Result<Vec<ProviderDeal>, LedgerError> {
        let name = |one: &ProviderDeal| format!("{}.{}", one.id.pack, one.id.shard);
        self.pages(&format!("/v1/providers/{id}/deals"), LIST_PAGE, name)
            .await
    }

    /// One sector.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn sector(&self, id: SectorId) -> Result<Sector, LedgerError> {
        self.json(&format!("/v1/sectors/{id}")).await
    }

    /// One deal set.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn deal_set(&self, pack: PackId) -> Result<DealSet, LedgerError> {
        self.json(&format!("/v1/deal-sets/{pack}")).await
    }

    /// The deal sets of an owner.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn deal_sets_of(&self, owner: Address) -> Result<Vec<DealSet>, LedgerError> {
        let name = |one: &DealSet| one.id.to_string();
        self.pages(&format!("/v1/deal-sets?owner={owner}"), DEAL_SET_PAGE, name)
            .await
    }

    /// The channel of these to a provider.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn channel(
        &self,
        provider: ProviderId,
        parties: Parties,
    ) -> Result<Channel, LedgerError> {
        let Parties { payer, reader } = parties;
        self.json(&format!("/v1/channels/{provider}/{payer}/{reader}"))
            .await
    }

    /// The channels to a provider.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn channels_to(&self, provider: ProviderId) -> Result<Vec<Channel>, LedgerError> {
        let parties = |one: &Channel| format!("{}.{}", one.id.payer, one.id.reader);
        self.pages(
            &format!("/v1/providers/{provider}/channels"),
            LIST_PAGE,
            parties,
        )
        .await
    }

    /// The channels of a payer.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn channels_of(&self, payer: Address) -> Result<Vec<Channel>, LedgerError> {
        let end = |one: &Channel| format!("{}.{}", one.id.provider, one.id.reader);
        self.pages(&format!("/v1/channels?payer={payer}"), LIST_PAGE, end)
            .await
    }

    /// What a name points at.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn name(&self, owner: Address, label: &str) -> Result<Name, LedgerError> {
        let mut url =
            reqwest::Url::parse(&self.api).map_err(|_| LedgerError::Address(self.api.clone()))?;
        url.path_segments_mut()
            .map_err(|()| LedgerError::Address(self.api.clone()))?
            .pop_if_empty()
            .extend(["v1", "names", &owner.to_string(), label]);
        let bytes = self.answer(self.http.get(url)).await?;
        self.parse(&bytes)
    }

    /// What things cost and pay now, on a network of that genesis. Where votes move nothing, nothing
    /// is asked.
    ///
    /// # Errors
    /// As [`LedgerClient::status`], and numbers that no vote can have made.
    pub async fn economy(&self, genesis: &Parameters) -> Result<Economy, LedgerError> {
        if genesis.governance.is_none() {
            return Ok(genesis.economy.clone());
        }
        let economy = self.json("/v1/economy").await?;
        if !genesis.allows(&economy) {
            return Err(self.malformed(
                "it states prices beyond the bounds that this network's genesis has for votes"
                    .into(),
            ));
        }
        Ok(economy)
    }

    /// Every validator that ever registered.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn validators(&self) -> Result<Vec<ValidatorRecord>, LedgerError> {
        let key = |one: &ValidatorRecord| one.key.to_string();
        self.pages("/v1/validators", LIST_PAGE, key).await
    }

    /// One validator.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn validator(&self, key: Address) -> Result<ValidatorRecord, LedgerError> {
        self.json(&format!("/v1/validators/{key}")).await
    }

    /// What an account has at stake.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn stakes(&self, by: Address) -> Result<StakesView, LedgerError> {
        self.json(&format!("/v1/stakes/{by}")).await
    }

    /// Every proposal to change a number.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn proposals(&self) -> Result<Vec<Proposal>, LedgerError> {
        let number = |one: &Proposal| one.id.to_string();
        self.pages("/v1/proposals", LIST_PAGE, number).await
    }

    /// The token's books.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn supply(&self) -> Result<Supply, LedgerError> {
        self.json("/v1/supply").await
    }

    /// The state object under a key ([`holdfast_market_core::keys`]), or its absence, with what shows
    /// it under the state root.
    ///
    /// # Errors
    /// As [`LedgerClient::status`].
    pub async fn state(&self, key: &[u8]) -> Result<ProvenState, LedgerError> {
        let path = format!("/v1/proofs/{}", hex::encode(key));
        let bytes = self.get_within(&path, PROOF_LIMIT).await?;
        self.parse(&bytes)
    }

    /// A list page by page: a page that is not full is the last. `name` says after which element
    /// the next page begins.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        page: usize,
        name: impl Fn(&T) -> String,
    ) -> Result<Vec<T>, LedgerError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut all: Vec<T> = Vec::new();
        loop {
            let found: Vec<T> = match all.last() {
                None => self.json(path).await?,
                Some(last) => {
                    let after = name(last);
                    self.json(&format!("{path}{separator}after={after}"))
                        .await?
                }
            };
            let is_last = found.len() < page;
            all.extend(found);
            if is_last {
                return Ok(all);
            }
            if all.len() > LIST_LIMIT {
                return Err(self.malformed(format!("its list is longer than {LIST_LIMIT}")));
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, LedgerError> {
        let bytes = self.get(path).await?;
        self.parse(&bytes)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, LedgerError> {
        self.get_within(path, ANSWER_LIMIT).await
    }

    async fn get_within(&self, path: &str, limit: usize) -> Result<Vec<u8>, LedgerError> {
        let request = self.http.get(format!("{}{path}", self.api));
        self.answer_within(request, limit).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, LedgerError> {
        self.answer_within(request, ANSWER_LIMIT).await
    }

    /// Asks, reads at most `limit` bytes, and turns a failing status into its sentence.
    async fn answer_within(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<Vec<u8>, LedgerError> {
        let unreachable = |error: reqwest::Error| LedgerError::Unreachable {
            api: self.api.clone(),
            reason: root_cause(&error),
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len().saturating_add(chunk.len()) > limit {
                return Err(self.malformed(format!("it is longer than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let mut sentence = serde_json::from_slice::<ApiError>(&bytes).map_or_else(
            |_| format!("the ledger answers {status}"),
            |body| body.error,
        );
        crate::protocol::truncate(&mut sentence, SENTENCE_LIMIT);
        Err(match status.as_u16() {
            404 => LedgerError::NotFound(sentence),
            status => LedgerError::Refused { status, sentence },
        })
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LedgerError> {
        serde_json::from_slice(bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn undecodable(&self, error: &Undecodable) -> LedgerError {
        self.malformed(error.to_string())
    }

    fn malformed(&self, reason: String) -> LedgerError {
        LedgerError::Malformed {
            api: self.api.clone(),
            reason,
        }
    }
}

/// The innermost reason: `connection refused` rather than `error sending request`.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
