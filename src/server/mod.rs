//! The daemon's HTTP server.
//!
//! It serves metrics, health and readiness for machines, the JSON API under `/api/v1`, and pages
//! for people. Reading reveals no secrets and needs no token. The acts of the API (check, approve,
//! hold, release) need one, and each is recorded in the ledger with its time, origin and reason. An
//! act is only a request in the ledger: nothing here changes portal, lake or catalog.
//!
//! `listen` limits connections, so that slow or hostile clients do not block us. `access` handles
//! what all requests share. `view` gathers what the API and the pages both show of a day.

mod access;
mod acts;
mod listen;
mod openapi;
pub mod pages;
mod probes;
mod problem;
mod read;
mod site;
mod state;
mod view;

use std::future::Future;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;

pub use problem::Problem;
pub use state::State;
pub use view::{DayFacts, DayLine, read_day};

/// Maximum size of a request body, in bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Serves until `stop` completes, then finishes the running requests.
pub async fn serve(listener: TcpListener, state: State, stop: impl Future<Output = ()>) {
    listen::serve(listener, router(state), stop).await;
}

/// All routes, for [`serve`] and for tests.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(site::overview))
        .route("/days/{dataset}/{day}", get(site::day))
        .route("/days/{dataset}/{day}/approve", post(site::approve))
        .route("/passes/{id}", get(site::pass))
        .route("/corrections", get(site::corrections))
        .route(pages::STYLE_PATH, get(site::style))
        .route("/metrics", get(probes::metrics))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/datasets", get(read::datasets))
        .route("/api/v1/days", get(read::days))
        .route("/api/v1/days/{dataset}/{day}", get(read::day))
        .route("/api/v1/passes/{id}", get(read::pass))
        .route("/api/v1/corrections", get(read::corrections))
        .route("/api/v1/days/{dataset}/{day}/check", post(acts::check))
        .route("/api/v1/days/{dataset}/{day}/approve", post(acts::approve))
        .route("/api/v1/days/{dataset}/{day}/hold", post(acts::hold))
        .route("/api/v1/days/{dataset}/{day}/release", post(acts::release))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(access::guard))
        .with_state(state)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method(format!("{} does not support {method}", uri.path()))
}
