//! Endpoints for machines: metrics, liveness, readiness.

use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use chrono::TimeDelta;

use super::{Problem, State};
use crate::telemetry::Phase;

/// The loop runs every few seconds; if it has not for this long, it hangs.
const TURNS_WITHIN: TimeDelta = TimeDelta::minutes(1);
/// How long the ledger may take to answer.
const LEDGER_WITHIN: Duration = Duration::from_secs(2);

/// `GET /metrics`.
pub(super) async fn metrics(Shared(state): Shared<State>) -> Result<impl IntoResponse, Problem> {
    let text = state.metrics().await.text();
    let text = text.map_err(|error| Problem::unavailable(error.to_string()))?;
    let prometheus = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(CONTENT_TYPE, prometheus)], text))
}

/// `GET /healthz`: the main loop is alive. Uses no other service.
pub(super) async fn healthz(Shared(state): Shared<State>) -> Result<&'static str, Problem> {
    let picture = state.activity();
    let turns = match (picture.phase, picture.turned) {
        (Phase::Starting, None) => true, // still waiting for a service: no reason to be killed
        (_, Some(turned)) => state.now() - turned < TURNS_WITHIN,
        (Phase::Idle | Phase::Working | Phase::Paused | Phase::Draining, None) => false,
    };
    if turns {
        Ok("ok\n")
    } else {
        Err(Problem::unavailable(
            "the main loop has not run for a minute",
        ))
    }
}

/// `GET /readyz`: settings are loaded and the ledger answers.
pub(super) async fn readyz(Shared(state): Shared<State>) -> Result<&'static str, Problem> {
    let world = state.world()?;
    match tokio::time::timeout(LEDGER_WITHIN, world.ledger.ping()).await {
        Ok(Ok(())) => Ok("ready\n"),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::unavailable("the ledger does not answer in time")),
    }
}
