//! Which providers get the shards: those that answer, have room, and ask least.

use crate::error::ClientError;
use crate::layout::PACK_LIMIT;
use crate::stream::{CHUNK_BYTES, SEALED_CHUNK_BYTES};
use crate::words::{size, sizes};
use futures::future::join_all;
use holdfast_market_core::quote::shard_length;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::state::Provider;
use holdfast_market_core::units::{Address, Amount, ByteCount, Periods, ProviderId};
use holdfast_proofs::sector::UNIT_DATA_BYTES;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::{NodeStatus, Request, Response, ShardOffer, ShardTarget};
use holdfast_wire::quic::{CallError, Peers};
use holdfast_wire::transfer::PutTarget;
use std::time::Duration;

/// A provider that says nothing for so long gets nothing.
const ANSWER_TIME: Duration = Duration::from_secs(6);

/// What the lists of files and objects take of a small network's room, about.
const LISTS: ByteCount = ByteCount(32 << 10);

/// A provider that answers, and what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveProvider {
    /// Its number.
    pub id: ProviderId,
    /// Signs its receipts.
    pub worker: Address,
    /// Where it is and on what terms.
    pub target: ShardTarget,
    /// What it can still promise.
    pub free: ByteCount,
    /// The longest shard that one of its sectors has room for.
    pub largest: ByteCount,
}

impl LiveProvider {
    fn of(provider: Provider, status: &NodeStatus) -> Self {
        let price = provider.offer.price.max(status.price);
        Self {
            id: provider.id,
            worker: provider.worker,
            target: ShardTarget {
                provider: provider.id,
                node: provider.offer.node,
                endpoint: provider.offer.endpoint,
                offer: ShardOffer {
                    tier: Tier::Hot,
                    price,
                    term: Periods(0),
                },
            },
            free: status.free,
            largest: status.largest.min(status.free),
        }
    }

    /// Where a shard goes, for so long.
    pub fn put_target(&self, term: Periods) -> PutTarget {
        let mut target = self.target.clone();
        target.offer.term = term;
        PutTarget {
            target,
            worker: self.worker,
        }
    }

    fn takes(&self, shard: ByteCount) -> bool {
        padded(shard) <= self.free && shard <= self.largest
    }

    fn take(&mut self, shard: ByteCount) {
        self.free = ByteCount(self.free.0.saturating_sub(padded(shard).0));
        self.largest = self.largest.min(self.free);
    }
}

/// What a shard takes of a sector: whole units.
fn padded(shard: ByteCount) -> ByteCount {
    ByteCount(
        shard
            .0
            .div_ceil(UNIT_DATA_BYTES)
            .saturating_mul(UNIT_DATA_BYTES),
    )
}

/// Who answers now.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    live: Vec<LiveProvider>,
    silent: Vec<(ProviderId, String)>,
}

impl Survey {
    /// Asks every provider of the ledger how it is, all at once.
    ///
    /// # Errors
    /// The ledger does not answer. Providers that do not are in the result.
    pub async fn ask(ledger: &LedgerClient, peers: &Peers) -> Result<Self, ClientError> {
        let providers = ledger.providers().await?;
        // One that retires takes nothing new, and its receipts cannot be funded for long.
        let staying = providers.into_iter().filter(|one| one.retiring.is_none());
        let asked = staying.map(|provider| async move {
            let id = provider.id;
            match tokio::time::timeout(ANSWER_TIME, status(peers, &provider)).await {
                Ok(Ok(status)) => Ok(LiveProvider::of(provider, &status)),
                Ok(Err(reason)) => Err((id, reason)),
                Err(_) => Err((id, "it gave no answer in time".to_owned())),
            }
        });
        let mut survey = Self::default();
        for answer in join_all(asked).await {
            match answer {
                Ok(live) => survey.live.push(live),
                Err(silent) => survey.silent.push(silent),
            }
        }
        Ok(survey)
    }

    /// Who answered.
    pub fn live(&self) -> &[LiveProvider] {
        &self.live
    }

    /// The most that one pack may hold so that n of them have room for its shards.
    ///
    /// # Errors
    /// Fewer than n answer; the error says what would fit.
    pub fn pack_capacity(&self, k: u8, n: u8) -> Result<ByteCount, ClientError> {
        if self.live.len() < usize::from(n) {
            return Err(self.too_few(k, n));
        }
        let least = self.nth_best(n, |live| live.largest);
        Ok(ByteCount(
            least.0.saturating_mul(u64::from(k)).min(PACK_LIMIT.0),
        ))
    }

    /// What n of them have at least.
    fn nth_best(&self, n: u8, of: impl Fn(&LiveProvider) -> ByteCount) -> ByteCount {
        let mut rooms: Vec<ByteCount> = self.live.iter().map(of).collect();
        rooms.sort_unstable_by(|a, b| b.cmp(a));
        let least = rooms.get(usize::from(n).saturating_sub(1)).copied();
        least.unwrap_or_default()
    }

    /// Plain bytes that fit now, about: whole chunks in packs that n of them have room for, less
    /// what the lists of files and objects take.
    fn fitting(&self, k: u8, n: u8) -> ByteCount {
        let Ok(capacity) = self.pack_capacity(k, n) else {
            return ByteCount(0);
        };
        let shard = shard_length(k, capacity).0.max(1);
        let packs = self.nth_best(n, |live| live.free).0 / shard;
        let plain = capacity.0 / SEALED_CHUNK_BYTES as u64 * CHUNK_BYTES as u64;
        ByteCount(packs.saturating_mul(plain).saturating_sub(LISTS.0))
    }

    fn too_few(&self, k: u8, n: u8) -> ClientError {
        let live = self.live.len();
        let known = live + self.silent.len();
        let answering = match (live, known) {
            (_, 0) => "the network has none".into(),
            (_, 1) => format!(
                "the network's only one {}",
                if live == 1 {
                    "answers"
                } else {
                    "does not answer"
                }
            ),
            (1, _) => format!("1 of the network's {known} answers"),
            _ => format!("{live} of the network's {known} answer"),
        };
        let sentence = format!(
            "{n} different providers are needed and {answering}{}",
            self.silent_text()
        );
        let fits = u8::try_from(live).unwrap_or(u8::MAX);
        if fits < 2 {
            return ClientError::refused(
                sentence,
                "start more providers, or wait until they answer; nothing was paid",
            );
        }
        // The same share of shards may be lost, and at least one.
        let scaled = u16::from(fits) * u16::from(k) / u16::from(n.max(1));
        let data = u8::try_from(scaled).unwrap_or(1).clamp(1, fits - 1);
        ClientError::refused(
            sentence,
            format!(
                "give --data-shards {data} --total-shards {fits}, for which enough answer, or wait for the others; nothing was paid"
            ),
        )
    }

    fn silent_text(&self) -> String {
        match self.silent.first() {
            None => String::new(),
            Some((id, reason)) => format!(" (provider {id}: {reason})"),
        }
    }

    /// Chooses n different providers for each pack of these lengths: the cheapest with room, among
    /// equals the one with most.
    ///
    /// # Errors
    /// Not enough room; the error has the figures.
    pub fn assign(
        &self,
        (k, n): (u8, u8),
        packs: &[ByteCount],
    ) -> Result<Vec<Vec<LiveProvider>>, ClientError> {
        let mut rooms = self.live.clone();
        let mut assigned = Vec::with_capacity(packs.len());
        for length in packs {
            let shard = shard_length(k, *length);
            rooms.sort_by(|a, b| {
                let price = a.target.offer.price.cmp(&b.target.offer.price);
                price.then(b.free.cmp(&a.free)).then(a.id.cmp(&b.id))
            });
            let mut chosen = Vec::with_capacity(usize::from(n));
            for room in &mut rooms {
                if chosen.len() < usize::from(n) && room.takes(shard) {
                    chosen.push(room.clone());
                    room.take(shard);
                }
            }
            if chosen.len() < usize::from(n) {
                return Err(self.too_little_room((k, n), packs));
            }
            assigned.push(chosen);
        }
        Ok(assigned)
    }

    /// What does not fit, and what there is.
    pub fn too_little_room(&self, (k, n): (u8, u8), packs: &[ByteCount]) -> ClientError {
        let needed = packs.iter().fold(0u64, |sum, pack| {
            let shard = padded(shard_length(k, *pack)).0;
            sum.saturating_add(shard.saturating_mul(u64::from(n)))
        });
        let free = self
            .live
            .iter()
            .fold(0u64, |sum, live| sum.saturating_add(live.free.0));
        let (needed_text, free_text) = sizes(ByteCount(needed), ByteCount(free));
        let answering = match self.live.len() {
            1 => "the one provider that answers has".into(),
            live => format!("the {live} providers that answer have"),
        };
        let spread = if free >= needed {
            format!(", but not at {n} different ones")
        } else {
            String::new()
        };
        let fitting = self.fitting(k, n);
        let next = if fitting == ByteCount(0) {
            "nothing fits now: wait until there is more capacity, or start more providers; nothing was paid".into()
        } else {
            format!(
                "store at most about {} now, or wait until there is more capacity; nothing was paid",
                size(fitting)
            )
        };
        ClientError::refused(
            format!(
                "this takes {needed_text} on {n} different providers (any {k} of its {n} shards bring it back), and {answering} {free_text} free in all{spread}"
            ),
            next,
        )
    }

    /// A provider that has room for a shard and is not among `taken`.
    pub fn replacement(&self, shard: ByteCount, taken: &[ProviderId]) -> Option<&LiveProvider> {
        self.live
            .iter()
            .filter(|live| live.takes(shard) && !taken.contains(&live.id))
            .min_by_key(|live| (live.target.offer.price, std::cmp::Reverse(live.free)))
    }
}

async fn status(peers: &Peers, provider: &Provider) -> Result<NodeStatus, String> {
    let asking = async {
        let connection = peers
            .connect(&provider.offer.endpoint, provider.offer.node)
            .await?;
        if connection.provider() != Some(provider.id) {
            return Err(CallError::Unexpected("the provider that the ledger names"));
        }
        match connection.ask(&Request::Status).await? {
            Response::Status(status) => Ok(status),
            _ => Err(CallError::Unexpected("Status")),
        }
    };
    asking.await.map_err(|error| error.to_string())
}

/// What a put costs, and what is there to pay it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Quote {
    /// Held in escrow for the whole term; what fails to be proven comes back.
    pub escrow: Amount,
    /// Fees of the messages, at most.
    pub fees: Amount,
    /// What the wallet has.
    pub balance: Amount,
}

impl Quote {
    /// Both together.
    pub const fn total(&self) -> Amount {
        Amount(self.escrow.0.saturating_add(self.fees.0))
    }

    /// Refuses what the wallet cannot pay, and says what is missing.
    ///
    /// # Errors
    /// The wallet has less than the total.
    pub fn check(&self, address: &str) -> Result<(), ClientError> {
        let missing = self.total().saturating_sub(self.balance);
        if missing == Amount::ZERO {
            return Ok(());
        }
        Err(ClientError::refused(
            format!(
                "this costs {} ({} for the whole term and at most {} of fees) and the wallet has {}: {missing} are missing",
                self.total(),
                self.escrow,
                self.fees,
                self.balance
            ),
            format!("send {missing} or more to {address}; nothing was sent or paid"),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use holdfast_market_core::units::NodeKey;

    fn live(id: u64, free: u64, price: u128) -> LiveProvider {
        LiveProvider {
            id: ProviderId(id),
            worker: Address([1; 32]),
            target: ShardTarget {
                provider: ProviderId(id),
                node: NodeKey([2; 32]),
                endpoint: "127.0.0.1:1".into(),
                offer: ShardOffer {
                    tier: Tier::Hot,
                    price: Amount(price),
                    term: Periods(0),
                },
            },
            free: ByteCount(free),
            largest: ByteCount(free),
        }
    }

    fn survey(live: Vec<LiveProvider>) -> Survey {
        Survey {
            live,
            silent: vec![(ProviderId(77), "it is gone".into())],
        }
    }

    fn ids(chosen: &[LiveProvider]) -> Vec<u64> {
        chosen.iter().map(|live| live.id.0).collect()
    }

    #[test]
    fn fewer_live_providers_than_shards_is_refused_with_what_would_fit() {
        let survey = survey((0..4).map(|id| live(id, 1 << 20, 1)).collect());
        let error = survey.pack_capacity(3, 6).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("6 different providers") && text.contains("4 of the network's 5"),
            "{text}"
        );
        assert!(text.contains("provider 77: it is gone"), "{text}");
        assert!(
            error
                .next()
                .starts_with("give --data-shards 2 --total-shards 4"),
            "{}",
            error.next()
        );
        let survey = Survey {
            live: vec![live(0, 1, 1)],
            silent: vec![],
        };
        assert!(
            survey
                .pack_capacity(3, 6)
                .unwrap_err()
                .next()
                .contains("more providers")
        );
    }

    #[test]
    fn a_pack_is_as_large_as_the_nth_best_sector_allows() {
        let rooms = [9, 4, 7, 5, 8, 6, 1];
        let survey = survey(
            rooms
                .iter()
                .map(|room| live(*room, room << 20, 1))
                .collect(),
        );
        assert_eq!(
            survey.pack_capacity(3, 6).unwrap(),
            ByteCount(3 * (4 << 20))
        );
        assert_eq!(
            survey.pack_capacity(3, 7).unwrap(),
            ByteCount(3 * (1 << 20))
        );
        let large = Survey {
            live: (0..6).map(|id| live(id, 1 << 40, 1)).collect(),
            silent: vec![],
        };
        assert_eq!(large.pack_capacity(3, 6).unwrap(), PACK_LIMIT);
    }

    #[test]
    fn the_cheapest_with_room_are_chosen_and_the_load_is_spread_among_equals() {
        let survey = survey(vec![
            live(0, 5 << 20, 9),
            live(1, 5 << 20, 1),
            live(2, 4 << 20, 1),
            live(3, 1 << 10, 0),
        ]);
        let length = ByteCount(2 << 20);
        let assigned = survey.assign((2, 2), &[length, length, length]).unwrap();
        assert_eq!(ids(&assigned[0]), [1, 2]);
        let survey = self::survey((0..4).map(|id| live(id, 4 << 20, 1)).collect());
        let assigned = survey.assign((2, 2), &[length, length]).unwrap();
        assert_eq!(
            (ids(&assigned[0]), ids(&assigned[1])),
            (vec![0, 1], vec![2, 3])
        );
    }

    #[test]
    fn more_than_the_free_room_is_refused_with_the_figures() {
        let survey = survey((0..6).map(|id| live(id, 1 << 20, 1)).collect());
        let error = survey.assign((3, 6), &[ByteCount(6 << 20)]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("takes 12.0 MiB on 6 different providers")
                && text.contains("the 6 providers that answer have 6.0 MiB free in all"),
            "{text}"
        );
        assert!(
            error.next().starts_with("store at most about 2.9 MiB now"),
            "{}",
            error.next()
        );
        survey.assign((3, 6), &[ByteCount(2 << 20)]).unwrap();
    }

    #[test]
    fn where_nothing_fits_it_says_so_and_names_no_size() {
        let full = survey((0..6).map(|id| live(id, 0, 1)).collect());
        let error = full.too_little_room((3, 6), &[ByteCount(100)]);
        assert!(error.next().starts_with("nothing fits now"), "{error:?}");
        assert!(
            error.to_string().ends_with("have 0 bytes free in all"),
            "{error}"
        );
        let mut uneven: Vec<_> = (0..5).map(|id| live(id, 0, 1)).collect();
        uneven.push(live(5, 1 << 30, 1));
        let error = survey(uneven).too_little_room((3, 6), &[ByteCount(100)]);
        assert!(
            error
                .to_string()
                .ends_with("1.0 GiB free in all, but not at 6 different ones"),
            "{error}"
        );
    }

    #[test]
    fn a_network_without_providers_is_not_counted() {
        let none = Survey::default().pack_capacity(3, 6).unwrap_err();
        assert_eq!(
            none.to_string(),
            "6 different providers are needed and the network has none"
        );
        let gone = survey(vec![]).pack_capacity(3, 6).unwrap_err();
        assert_eq!(
            gone.to_string(),
            "6 different providers are needed and the network's only one does not answer (provider 77: it is gone)"
        );
        let one = survey(vec![live(1, 9, 1)]).pack_capacity(3, 6).unwrap_err();
        assert!(
            one.to_string().contains("1 of the network's 2 answers"),
            "{one}"
        );
    }

    #[test]
    fn a_wallet_without_funds_is_told_what_is_missing() {
        let quote = Quote {
            escrow: Amount::hold(3),
            fees: Amount::hold(1),
            balance: Amount(500_000_000),
        };
        let error = quote.check("thold1abc").unwrap_err();
        assert!(
            error.to_string().contains("3.5 HOLD are missing"),
            "{error}"
        );
        assert!(error.next().contains("send 3.5 HOLD or more to thold1abc"));
        let enough = Quote {
            balance: Amount::hold(4),
            ..quote
        };
        enough.check("thold1abc").unwrap();
    }
}
