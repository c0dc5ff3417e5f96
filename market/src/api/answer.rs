//! How handlers answer: JSON, or one sentence with a status.

use super::Shared;
use crate::current::Paused;
use crate::ledger::{Ledger, LedgerError, SubmitError};
use crate::mempool::PoolRefusal;
use crate::store::StoreError;
use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use holdfast_market_core::admit::AdmitError;
use holdfast_market_core::message::{Undecodable, Unencodable};
use holdfast_market_core::refusal::Refusal;
use holdfast_market_core::view::ViewError;
use holdfast_wire::ledger::ApiError;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use std::sync::Arc;

/// JSON or a failure.
pub type Answer<T> = Result<Json<T>, Failure>;

/// An answer that says in one sentence why there is no other.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    /// That status with that sentence.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
        }
    }

    /// Something asked for that is not there.
    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// A request that cannot be understood.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// What went wrong inside; the log has it in full, the asker has no use for it.
    pub(super) fn inside(error: &dyn std::error::Error) -> Self {
        tracing::error!("an answer failed: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the market could not read its ledger; its log says why",
        )
    }

    /// The sentence.
    pub fn sentence(&self) -> &str {
        &self.error
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(ApiError { error: self.error })).into_response()
    }
}

impl From<Paused> for Failure {
    fn from(paused: Paused) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, paused.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::inside(&error)
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::inside(&error)
    }
}

impl From<Unencodable> for Failure {
    fn from(error: Unencodable) -> Self {
        Self::inside(&error)
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::inside(&error)
    }
}

impl From<Undecodable> for Failure {
    fn from(error: Undecodable) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<QueryRejection> for Failure {
    fn from(error: QueryRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl From<BytesRejection> for Failure {
    fn from(error: BytesRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::Admit(AdmitError::Refused(
                Refusal::NonceUsed { .. } | Refusal::NonceGap { .. },
            )) => Self::new(StatusCode::CONFLICT, error.to_string()),
            SubmitError::Admit(AdmitError::Refused(_)) => Self::bad(error.to_string()),
            SubmitError::Admit(AdmitError::State(error)) => Self::inside(error),
            SubmitError::Pool(PoolRefusal::Full) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            SubmitError::Pool(PoolRefusal::SenderFull(_)) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
            }
            SubmitError::Pool(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            SubmitError::Ledger(error) => Self::inside(error),
        }
    }
}

/// Reads a part of an address: hexadecimal for byte strings, decimal for numbers.
pub fn parse<T: FromText>(what: &'static str, text: &str) -> Result<T, Failure> {
    T::from_text(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Failure::bad(format!("`{shown}` is not a {what}"))
    })
}

/// What an address may name.
pub trait FromText: Sized {
    /// Reads it.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! from_number {
    ($($name:ty => $make:expr),* $(,)?) => {
        $(impl FromText for $name {
            fn from_text(text: &str) -> Option<Self> {
                // `parse` takes a sign and leading zeros; a number has one name here.
                let number: u64 = text.parse().ok()?;
                (number.to_string() == text).then(|| $make(number))
            }
        })*
    };
}

macro_rules! from_hex {
    ($($name:ty),* $(,)?) => {
        $(impl FromText for $name {
            fn from_text(text: &str) -> Option<Self> {
                hexadecimal(text)
            }
        })*
    };
}

fn hexadecimal<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<ValueError>::new(text)).ok()
}

from_number!(
    u64 => |number| number,
    holdfast_market_core::units::Height => holdfast_market_core::units::Height,
    holdfast_market_core::units::ProviderId => holdfast_market_core::units::ProviderId,
    holdfast_market_core::units::ProposalId => holdfast_market_core::units::ProposalId,
    holdfast_market_core::units::SectorNumber => holdfast_market_core::units::SectorNumber,
);

from_hex!(
    holdfast_market_core::units::Address,
    holdfast_market_core::units::MessageId,
    holdfast_market_core::units::PackId,
);

/// `PACK/SHARD` with a dot between, as it fits one part of an address.
impl FromText for holdfast_market_core::units::DealId {
    fn from_text(text: &str) -> Option<Self> {
        let (pack, shard) = text.split_once('.')?;
        let shard = u8::try_from(u64::from_text(shard)?).ok()?;
        Some(Self {
            pack: FromText::from_text(pack)?,
            shard: holdfast_market_core::units::ShardIndex(shard),
        })
    }
}

/// Two with a dot between.
impl<A: FromText, B: FromText> FromText for (A, B) {
    fn from_text(text: &str) -> Option<Self> {
        let (first, second) = text.split_once('.')?;
        Some((A::from_text(first)?, B::from_text(second)?))
    }
}

/// Runs `work` where it may wait for the disk. The turn is the work's own: it is not given back when
/// the asker goes away while the work still runs.
pub async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Ledger) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let turn = Arc::clone(&shared.working).acquire_owned().await;
    let ledger = shared.current.ledger()?;
    let working = move || {
        let _turn = turn;
        work(&ledger)
    };
    let done = tokio::task::spawn_blocking(working).await;
    done.unwrap_or_else(|error| Err(Failure::inside(&error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use holdfast_market_core::units::{Address, Height};

    #[test]
    fn a_number_has_one_name() {
        assert_eq!(Height::from_text("17"), Some(Height(17)));
        for text in ["+17", "017", "", "-1", "1e3", "18446744073709551616", " 1"] {
            assert_eq!(Height::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_sixty_four_lower_case_digits() {
        let address = Address([0xab; 32]);
        let read = parse::<Address>("address", &address.to_string());
        assert_eq!(read.ok(), Some(address));
        let upper = address.to_string().to_uppercase();
        for text in ["", "ab", upper.as_str(), "zz"] {
            assert!(parse::<Address>("address", text).is_err(), "{text}");
        }
        let failure = parse::<Address>("address", &"<".repeat(500)).unwrap_err();
        assert!(failure.sentence().len() < 120);
    }
}
