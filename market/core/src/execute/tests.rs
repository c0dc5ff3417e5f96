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
mod governance;
mod name;
mod opening;
mod promise;
mod random;
mod renewal;
mod repair;
mod retirement;
mod sector;
mod stake;
mod validator;
mod withholding;
mod world;
