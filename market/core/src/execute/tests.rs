//! The rules on a small chain: real headers, real signatures; only proofs' results are put in place
//! by hand, because the verifier here has no keys and refuses every proof.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod account;
mod channel;
mod deadline;
mod deal;
mod economy;
mod embed;
mod forged;
mod governance;
mod matrix;
mod model;
mod name;
mod opening;
mod play;
mod profit;
mod promise;
mod quotes;
mod random;
mod renewal;
mod repair;
mod retirement;
mod sector;
mod stake;
mod validator;
mod withholding;
mod world;

/// Whether the longer form of the tests was asked for: `HOLDFAST_LONG` is set, and not to nothing.
fn long() -> bool {
    std::env::var_os("HOLDFAST_LONG").is_some_and(|value| !value.is_empty())
}
