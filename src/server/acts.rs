//! The writing half of the API: check, approve, hold and release, for operators with the token.
//! Every act is recorded in the ledger with its time, origin and reason, before it takes effect or
//! in the same transaction.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access;
use super::read::{DayPath, named, parse_day};
use super::{Problem, State};
use crate::compare::Depth;
use crate::ledger::{Act, Approval, LedgerError, Mark, MarkKind, Reason, ToCheck};
use crate::model::{Dataset, Day};
use crate::plan::Guard;
use crate::reconcile::{State as DayState, World};

/// Maximum length of a reason, in characters.
const MAX_CHARS: usize = 500;

/// The response to a successful act.
#[derive(Serialize)]
pub(super) struct Done {
    act: &'static str,
    dataset: String,
    day: Day,
    at: DateTime<Utc>,
    origin: String,
}

/// An authorized act and its dataset-day.
pub(super) struct Admitted {
    world: std::sync::Arc<World>,
    dataset: std::sync::Arc<Dataset>,
    day: Day,
    at: DateTime<Utc>,
    origin: String,
}

pub(super) type Body = Result<Bytes, BytesRejection>;
pub(super) type Peer = Option<axum::Extension<ConnectInfo<SocketAddr>>>;

impl Admitted {
    /// Requires the token in the header, and a day of a known dataset.
    fn admit(
        state: &State,
        headers: &HeaderMap,
        peer: Peer,
        path: DayPath,
    ) -> Result<Self, Problem> {
        Self::with(state, access::bearer(headers), peer, path)
    }

    /// The same, with the token passed in.
    pub(super) fn with(
        state: &State,
        token: Option<&[u8]>,
        peer: Peer,
        path: DayPath,
    ) -> Result<Self, Problem> {
        access::may(token, state.world()?.settings.http.token.as_ref())?;
        let (name, day) = named(path)?;
        let (world, settings) = state.dataset(&name)?;
        let peer = peer.map(|axum::Extension(ConnectInfo(peer))| peer.ip());
        let origin = peer.map_or_else(|| "api".to_owned(), |ip| format!("api@{ip}"));
        Ok(Self {
            world,
            dataset: settings.dataset,
            day,
            at: state.now(),
            origin,
        })
    }

    fn act(&self, act: &str, reason: &str) -> Act {
        Act {
            at: self.at,
            origin: self.origin.clone(),
            act: act.to_owned(),
            subject: format!("{} {}", self.dataset.name, self.day),
            reason: reason.to_owned(),
        }
    }

    /// Queues the day, so that the daemon checks it as soon as possible.
    async fn queue_check(&self) -> Result<(), LedgerError> {
        let want = ToCheck {
            dataset: self.dataset.name.clone(),
            day: self.day,
            reason: Reason::Requested,
            depth: Depth::Content,
        };
        self.world.ledger.enqueue(&[want], self.at).await
    }

    fn done(self, act: &'static str) -> Json<Done> {
        let (dataset, day) = (self.dataset.name.to_string(), self.day);
        tracing::info!(dataset, %day, origin = self.origin, "{act} of {dataset} {day} over HTTP");
        Json(Done {
            act,
            dataset,
            day,
            at: self.at,
            origin: self.origin,
        })
    }
}

/// The body, parsed as JSON.
fn parsed<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is larger than 16 KiB"),
        _ => Problem::bad_request(error.body_text()),
    })?;
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type("the body must be application/json"));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("cannot read the body: {error}")))
}

/// A valid reason: neither empty nor too long, and safe to show anywhere.
pub(super) fn reason(text: &str) -> Result<String, Problem> {
    let length = text.chars().count();
    if length == 0 || length > MAX_CHARS || text.chars().any(char::is_control) {
        let wanted = "the reason must be 1 to 500 characters, without control characters";
        return Err(Problem::bad_request(wanted));
    }
    Ok(text.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    reason: String,
}

/// `POST /api/v1/days/{dataset}/{day}/check`: check the day as soon as possible.
pub(super) async fn check(
    Shared(state): Shared<State>,
    peer: Peer,
    path: DayPath,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let admitted = Admitted::admit(&state, &headers, peer, path)?;
    let CheckBody { reason: why } = parsed(&headers, body)?;
    let act = admitted.act("check", &reason(&why)?);
    admitted.world.ledger.record_act(&act).await?;
    admitted.queue_check().await?;
    Ok((StatusCode::ACCEPTED, admitted.done("check")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApproveBody {
    digest: String,
    reason: String,
}

/// `POST /api/v1/days/{dataset}/{day}/approve`: approves exactly the plan that is held.
pub(super) async fn approve(
    Shared(state): Shared<State>,
    peer: Peer,
    path: DayPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let admitted = Admitted::admit(&state, &headers, peer, path)?;
    let ApproveBody {
        digest,
        reason: why,
    } = parsed(&headers, body)?;
    consent(&admitted, &digest, reason(&why)?).await?;
    Ok(admitted.done("approve"))
}

/// Approves the plan with this digest, if it is the held one and its guards can be overridden.
pub(super) async fn consent(
    admitted: &Admitted,
    digest: &str,
    reason: String,
) -> Result<(), Problem> {
    let Admitted {
        world,
        dataset,
        day,
        at,
        origin,
    } = admitted;
    let record = world.ledger.day(&dataset.name, *day).await?;
    let held = record.filter(|record| record.state == DayState::Held.to_string());
    let held = held.ok_or_else(|| Problem::conflict(format!("{} {day} is not held", dataset.name)));
    let held = held?;
    if held.digest.as_deref() != Some(digest) {
        return Err(Problem::conflict(
            "the held plan has changed; reload the day and approve the new plan",
        ));
    }
    if !Guard::names_are_approvable(&held.guards) {
        let names = held.guards.join(", ");
        let text = format!("this plan cannot be approved; it is held by {names}");
        return Err(Problem::conflict(text));
    }
    let approval = Approval {
        digest: digest.to_owned(),
        at: *at,
        by: origin.clone(),
        reason: reason.clone(),
        used_at: None,
    };
    world.ledger.approve(&approval).await?;
    let act = admitted.act("approve", &reason);
    world.ledger.record_act(&act).await?;
    Ok(admitted.queue_check().await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    reason: String,
    until: Option<String>,
}

/// `POST /api/v1/days/{dataset}/{day}/hold`: nothing is repaired on the day.
pub(super) async fn hold(
    Shared(state): Shared<State>,
    peer: Peer,
    path: DayPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let admitted = Admitted::admit(&state, &headers, peer, path)?;
    let HoldBody { reason: why, until } = parsed(&headers, body)?;
    let mark = Mark {
        dataset: admitted.dataset.name.clone(),
        day: admitted.day,
        kind: MarkKind::Hold,
        reason: reason(&why)?,
        until: until.as_deref().map(parse_day).transpose()?,
        at: admitted.at,
        by: admitted.origin.clone(),
    };
    admitted.world.ledger.mark(&mark).await?;
    Ok(admitted.done("hold"))
}

/// `POST /api/v1/days/{dataset}/{day}/release`: removes a mark, and closes the day's breaker.
pub(super) async fn release(
    Shared(state): Shared<State>,
    peer: Peer,
    path: DayPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let admitted = Admitted::admit(&state, &headers, peer, path)?;
    let CheckBody { reason: why } = parsed(&headers, body)?;
    let why = reason(&why)?;
    let (name, day) = (&admitted.dataset.name, admitted.day);
    let ledger = &admitted.world.ledger;
    ledger
        .unmark(name, day, admitted.at, &admitted.origin, &why)
        .await?;
    admitted.queue_check().await?;
    Ok(admitted.done("release"))
}
