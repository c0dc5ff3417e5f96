//! The explorer: the ledger as pages for people. Plain HTML made here, no script; wide tables
//! scroll in their own box, so that a page reads at 390 pixels.

mod chart;
mod message;
mod pages;
mod show;

use crate::api::Shared;
use axum::Router;
use axum::routing::get;

/// The pages' routes.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(pages::overview))
        .route("/blocks", get(pages::blocks))
        .route("/blocks/{height}", get(pages::block))
        .route("/providers", get(pages::providers))
        .route("/providers/{id}", get(pages::provider))
        .route("/sectors/{provider}/{number}", get(pages::sector))
        .route("/deal-sets", get(pages::deal_sets))
        .route("/deal-sets/{pack}", get(pages::deal_set))
        .route("/accounts/{address}", get(pages::account))
}
