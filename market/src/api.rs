//! The HTTP API: the ledger for clients, nodes and auditors; JSON of the core's own types, DAG-CBOR
//! where bytes count.

mod answer;
mod messages;
mod objects;
mod stake;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Failure, blocking, parse};

use crate::current::Current;
use crate::explorer;
use crate::forward::Forwarder;
use crate::headers;
use crate::ledger::{Ledger, MOST_BLOCK_BYTES, MOST_BLOCKS};
use answer::Answer;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_market_core::message::encode;
use holdfast_market_core::query;
use holdfast_market_core::units::Height;
use holdfast_wire::ledger::{BeaconView, LedgerStatus};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A long poll is held this long.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Any request is answered in this time.
const ANSWER_TIME: Duration = Duration::from_secs(25);

/// Requests that read the ledger at once.
const MOST_REQUESTS: usize = 64;

/// Bodies that are read at once: each may take [`messages::LONGEST_BODY`] of memory.
const MOST_BODIES: usize = 64;

/// Longer answers need room until they are sent: a peer may take its time with one.
const LONG_ANSWER: usize = 256 << 10;

/// KiB of long answers that are being sent at once.
const SENDING_ROOM: usize = 256 << 10;

/// A body is there in this time.
const BODY_TIME: Duration = Duration::from_secs(5);

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) current: Arc<Current>,
    /// Where messages go on to.
    forwarder: Forwarder,
    /// Turns true when the process is asked to stop, so that long polls end.
    stop: watch::Receiver<bool>,
    working: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    sending: Arc<Semaphore>,
}

impl Shared {
    fn new(current: Arc<Current>, forwarder: Forwarder, stop: watch::Receiver<bool>) -> Self {
        Self {
            current,
            forwarder,
            stop,
            working: Arc::new(Semaphore::new(MOST_REQUESTS)),
            reading: Arc::new(Semaphore::new(MOST_BODIES)),
            sending: Arc::new(Semaphore::new(SENDING_ROOM)),
        }
    }
}

/// All routes, explorer included.
pub fn router(current: Arc<Current>, forwarder: Forwarder, stop: watch::Receiver<bool>) -> Router {
    let shared = Shared::new(current, forwarder, stop);
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/genesis", get(genesis))
        .route("/v1/verifying-keys", get(verifying_keys))
        .route("/v1/wait", get(wait))
        .route("/v1/blocks", get(blocks))
        .route("/v1/headers", get(light_blocks))
        .route("/v1/headers/{height}", get(light_block))
        .route("/v1/outcomes/{height}", get(outcomes))
        .route("/v1/beacon/{height}", get(beacon))
        .route("/v1/messages", post(messages::submit))
        .route("/v1/messages/{id}", get(messages::look_up))
        .route("/v1/accounts/{address}", get(objects::account))
        .route("/v1/providers", get(objects::providers))
        .route("/v1/providers/{id}", get(objects::provider))
        .route("/v1/providers/{id}/sectors", get(objects::sectors))
        .route("/v1/providers/{id}/deals", get(objects::deals))
        .route("/v1/sectors/{provider}/{number}", get(objects::sector))
        .route("/v1/deal-sets", get(objects::deal_sets))
        .route("/v1/deal-sets/{pack}", get(objects::deal_set))
        .route("/v1/providers/{id}/channels", get(objects::channels_to))
        .route("/v1/channels", get(objects::channels))
        .route(
            "/v1/channels/{provider}/{payer}/{reader}",
            get(objects::channel),
        )
        .route("/v1/names/{owner}/{label}", get(objects::name))
        .route("/v1/economy", get(stake::economy))
        .route("/v1/validators", get(stake::validators))
        .route("/v1/validators/{key}", get(stake::validator))
        .route("/v1/stakes/{address}", get(stake::stakes))
        .route("/v1/proposals", get(stake::proposals))
        .route("/v1/supply", get(objects::supply))
        .route("/v1/proofs/{key}", get(objects::proof))
        .merge(explorer::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(messages::LONGEST_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), bounded))
        .with_state(shared)
}

/// Bounds the time of every request, and what its body and its answer take. What works on the ledger
/// takes its turn in [`blocking`].
async fn bounded(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    // A body that says it is too long is refused before any of it is read; one that does not say
    // so is cut at the limit.
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|text| text.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > messages::LONGEST_BODY) {
        let sentence = format!("a message has at most {} bytes", messages::LONGEST_BODY);
        return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, sentence).into_response();
    }
    let answered = async {
        // A body is read before the request takes its turn, so that one that dribbles keeps nobody
        // from being answered.
        let request = match request.method() {
            &Method::POST => match with_body(&shared, request).await {
                Ok(request) => request,
                Err(failure) => return failure.into_response(),
            },
            _ => request,
        };
        let response = next.run(request).await;
        with_room(&shared.sending, response).await
    };
    let late = || {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the market is busy; try again",
        )
    };
    let mut response = match tokio::time::timeout(ANSWER_TIME, answered).await {
        Ok(response) => response,
        Err(_) => late().into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// The bytes of a long answer, and the room that they take until the system has the last of them.
struct Sent {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same answer, where there is room to send it.
async fn with_room(room: &Arc<Semaphore>, response: Response) -> Response {
    let length = response.body().size_hint().exact().unwrap_or(u64::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length <= LONG_ANSWER {
        return response;
    }
    let kibibytes = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(permit) = Arc::clone(room).try_acquire_many_owned(kibibytes) else {
        let sentence = "the market is sending too many long answers; try again in a moment";
        return Failure::new(StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
    };
    let (parts, body) = response.into_parts();
    match axum::body::to_bytes(body, length).await {
        Ok(bytes) => {
            let sent = Bytes::from_owner(Sent {
                bytes,
                _room: permit,
            });
            Response::from_parts(parts, Body::from(sent))
        }
        Err(error) => Failure::inside(&error).into_response(),
    }
}

/// The same request with its body in memory.
async fn with_body(shared: &Shared, request: Request) -> Result<Request, Failure> {
    let _permit = shared.reading.acquire().await.ok();
    let (parts, body) = request.into_parts();
    let reading = axum::body::to_bytes(body, messages::LONGEST_BODY);
    let bytes = match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let sentence = format!(
                "the body broke off, or has more than {} bytes",
                messages::LONGEST_BODY
            );
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, sentence));
        }
        Err(_) => {
            let sentence = format!("the body was not there in {} s", BODY_TIME.as_secs());
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, sentence));
        }
    };
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn nothing_here() -> Failure {
    Failure::not_found("there is nothing at this address")
}

async fn other_method() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take this method",
    )
}

fn status_of(ledger: &Ledger) -> LedgerStatus {
    let head = ledger.head();
    LedgerStatus {
        network: ledger.network(),
        name: ledger.genesis().name.clone(),
        height: head.height,
        time: head.time,
        header_id: head.block,
        pending: u64::try_from(ledger.pending()).unwrap_or(u64::MAX),
    }
}

async fn status(State(shared): State<Shared>) -> Answer<LedgerStatus> {
    Ok(Json(status_of(&*shared.current.ledger()?)))
}

fn cbor(bytes: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/vnd.ipld.dag-cbor");
    ([(header::CONTENT_TYPE, kind)], Body::from(bytes)).into_response()
}

async fn genesis(State(shared): State<Shared>) -> Result<Response, Failure> {
    Ok(cbor(encode(shared.current.genesis())?))
}

async fn verifying_keys(State(shared): State<Shared>) -> Response {
    cbor(shared.current.verifying_keys().to_vec())
}

#[derive(Deserialize)]
struct WaitFor {
    height: String,
}

/// Answers the status once the height is there, the time is up, or the market stops.
async fn wait(
    State(mut shared): State<Shared>,
    query: Result<Query<WaitFor>, axum::extract::rejection::QueryRejection>,
) -> Answer<LedgerStatus> {
    let Query(asked) = query?;
    let height: Height = parse("height", &asked.height)?;
    // Ends early where the ledger is closed meanwhile.
    let mut heads = shared.current.ledger()?.follow();
    tokio::select! {
        _ = heads.wait_for(|head| head.height >= height) => {}
        _ = shared.stop.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(LONGEST_WAIT) => {}
    }
    Ok(Json(status_of(&*shared.current.ledger()?)))
}

#[derive(Deserialize)]
struct Range {
    from: String,
    limit: Option<String>,
}

impl Range {
    fn read(&self) -> Result<(Height, usize), Failure> {
        let limit: u64 = match &self.limit {
            Some(limit) => parse("limit", limit)?,
            None => u64::MAX,
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok((parse("height", &self.from)?, limit))
    }
}

async fn blocks(
    State(shared): State<Shared>,
    query: Result<Query<Range>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let (from, limit) = query?.0.read()?;
    blocking(&shared, move |ledger| {
        let range = from..=ledger.head().height;
        let count = limit.min(MOST_BLOCKS);
        let blocks = ledger.store().blocks(range, count, MOST_BLOCK_BYTES)?;
        let lengths = blocks.iter().map(|(_, block)| block.len());
        let size = lengths.fold(2, usize::saturating_add);
        // A DAG-CBOR array: its head, then the blocks as they are stored.
        let mut bytes = Vec::with_capacity(size);
        match u8::try_from(blocks.len()).unwrap_or(u8::MAX) {
            few @ 0..24 => bytes.push(0x80 | few),
            more => bytes.extend([0x98, more]),
        }
        blocks.iter().for_each(|(_, block)| bytes.extend(block));
        Ok(cbor(bytes))
    })
    .await
}

/// Blocks as they are followed by who reads no messages.
async fn light_blocks(
    State(shared): State<Shared>,
    query: Result<Query<Range>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let (from, limit) = query?.0.read()?;
    blocking(&shared, move |ledger| {
        Ok(cbor(encode(&headers::after(ledger, from, limit)?)?))
    })
    .await
}

/// One such block, to begin at.
async fn light_block(
    State(shared): State<Shared>,
    Path(height): Path<String>,
) -> Result<Response, Failure> {
    let height: Height = parse("height", &height)?;
    blocking(&shared, move |ledger| match headers::one(ledger, height)? {
        Some(block) => Ok(cbor(encode(&block)?)),
        None => Err(Failure::not_found(format!(
            "there is no block at height {height} yet"
        ))),
    })
    .await
}

async fn outcomes(
    State(shared): State<Shared>,
    Path(height): Path<String>,
) -> Answer<Vec<holdfast_market_core::block::Outcome>> {
    let height: Height = parse("height", &height)?;
    blocking(&shared, move |ledger| {
        let outcomes = ledger.store().outcomes(height)?;
        outcomes
            .map(Json)
            .ok_or_else(|| Failure::not_found(format!("there is no block at height {height} yet")))
    })
    .await
}

async fn beacon(State(shared): State<Shared>, Path(height): Path<String>) -> Answer<BeaconView> {
    let height: Height = parse("height", &height)?;
    blocking(&shared, move |ledger| {
        let beacon = query::beacon(&ledger.view(), height)?;
        beacon
            .map(|beacon| Json(BeaconView { beacon }))
            .ok_or_else(|| {
                Failure::not_found(format!(
                    "the ledger does not have the beacon of height {height}"
                ))
            })
    })
    .await
}
