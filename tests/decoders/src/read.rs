//! The laws that most decoders share.

use crate::{Answer, Bounds, CALLS, Decoder, Form, cbor};
use holdfast_market_core::message::{decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A decoder with the usual bounds.
pub(crate) const fn usual(
    name: &'static str,
    form: Form,
    decode: fn(&[u8]) -> Answer,
    seeds: fn() -> Vec<Vec<u8>>,
) -> Decoder {
    Decoder {
        name,
        form,
        decode,
        seeds,
        bounds: Bounds::USUAL,
        calls: CALLS,
    }
}

/// Reads a ledger object. What is taken is written as the very same bytes, and a second reader,
/// which knows nothing of the object, finds them canonical.
pub(crate) fn object<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = decode("value", bytes).ok()?;
    canonical(&value, bytes);
    Some(value)
}

/// What was read of `bytes` is written as the same bytes, in canonical form.
pub(crate) fn canonical<T: Serialize>(value: &T, bytes: &[u8]) {
    assert!(
        encode(value).unwrap() == bytes,
        "it is written as other bytes than it was read from"
    );
    if let Err(fault) = cbor::check(bytes) {
        panic!("bytes that are not canonical were taken: {fault}");
    }
}

/// Whether there was something to read.
pub(crate) fn answer<T>(read: Option<T>) -> Answer {
    match read {
        Some(_) => Answer::Read,
        None => Answer::Refused,
    }
}

/// Reads a ledger object and nothing more.
pub(crate) fn plain<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Answer {
    answer(object::<T>(bytes))
}

/// The encodings of ledger objects.
pub(crate) fn encoded<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    values
        .into_iter()
        .map(|value| encode(&value).unwrap())
        .collect()
}

/// Reads JSON. What is taken says the same when it is written and read again.
pub(crate) fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&text).expect("what was read is written and read again");
    assert!(
        serde_json::to_vec(&again).unwrap() == text,
        "it says something else when it is written and read again"
    );
    Some(value)
}

/// Reads JSON and nothing more.
pub(crate) fn plain_json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Answer {
    answer(json::<T>(bytes))
}

/// The JSON of values.
pub(crate) fn texts<T: Serialize>(values: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    values
        .into_iter()
        .map(|value| serde_json::to_vec(&value).unwrap())
        .collect()
}
