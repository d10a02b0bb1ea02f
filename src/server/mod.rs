//! What the daemon shows of itself over HTTP, and what people may ask of it there.
//!
//! Metrics, health and readiness for machines, the JSON API under `/api/v1`, and the pages for
//! people. Reading shows nothing that is secret and needs no token; the API's acts (check, approve,
//! hold, release) need one, and each is noted in the ledger with its time, origin and reason. An act
//! only leaves a wish in the ledger: nothing here changes portal, lake or catalog.
//!
//! `listen` keeps strangers from holding us up: few connections, each for a short while. `doors`
//! is what every answer and every request passes. `view` is what is told of a day, the same for
//! the API and the pages.

mod acts;
mod doors;
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

/// Largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Serves until `stop` is done, then lets requests under way come to their end.
pub async fn serve(listener: TcpListener, state: State, stop: impl Future<Output = ()>) {
    listen::serve(listener, router(state), stop).await;
}

/// Everything that is served, for [`serve`] and for tests.
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
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(doors::guard))
        .with_state(state)
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::method(format!("{} does not take {method}", uri.path()))
}
