//! Gathers what the pages show, and handles their only form.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::{IntoResponse, Redirect};
use chrono::DateTime;
use maud::Markup;
use url::form_urlencoded;

use super::acts::{self, Admitted, Peer};
use super::pages::{self, Consent, DatasetDays, DayView, Overview};
use super::read::{DayPath, named, pass_id};
use super::{Problem, State, access};
use crate::model::Day;
use crate::reconcile::{Evidence, State as DayState, World};
use crate::settings::DatasetSettings;

/// Maximum corrections on the page; the API returns more.
const CORRECTIONS: u32 = 500;

/// A page and its status.
pub(super) struct Page(StatusCode, Markup);

impl Page {
    fn ok(markup: Markup) -> Self {
        Self(StatusCode::OK, markup)
    }
}

impl From<Problem> for Page {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        let title = status.canonical_reason().unwrap_or("Problem");
        Self(status, pages::failure(title, &problem.detail))
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response<Body> {
        let Self(status, markup) = self;
        let mut response = Response::new(Body::from(markup.into_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, html);
        let policy = HeaderValue::from_static(pages::POLICY);
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        // With `no-referrer`, browsers would also hide that the form comes from our own page.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}

/// `GET /`.
pub(super) async fn overview(Shared(state): Shared<State>) -> Result<Page, Page> {
    Ok(overview_page(&state).await?)
}

async fn overview_page(state: &State) -> Result<Page, Problem> {
    let world = state.world()?;
    let mut datasets = Vec::new();
    for one in &world.settings.datasets {
        let days = world.ledger.days(Some(&one.dataset.name), None).await?;
        let promise = one.promise(state.now());
        datasets.push(DatasetDays::of(&one.dataset, days, &promise));
    }
    let activity = state.activity();
    Ok(Page::ok(pages::overview(&Overview {
        now: state.now(),
        zone: world.settings.timezone,
        mode: world.settings.mode,
        activity: &activity,
        datasets,
    })))
}

/// `GET /days/{dataset}/{day}`.
pub(super) async fn day(Shared(state): Shared<State>, path: DayPath) -> Result<Page, Page> {
    let (name, day) = named(path)?;
    let (world, settings) = state.dataset(&name)?;
    Ok(day_page(&world, &settings, day, None).await?)
}

/// The page of a day; `refused` is the reason if a form for it was refused.
async fn day_page(
    world: &World,
    settings: &DatasetSettings,
    day: Day,
    refused: Option<&Problem>,
) -> Result<Page, Problem> {
    let ledger = &world.ledger;
    let name = &settings.dataset.name;
    let record = ledger.day(name, day).await?;
    let evidence = ledger.evidence(name, day).await?;
    let evidence: Option<Evidence> = evidence.and_then(|json| serde_json::from_value(json).ok());
    let marks = ledger.marks(Some(name)).await?;
    let mut passes = ledger.passes(name, day, DateTime::UNIX_EPOCH).await?;
    passes.reverse();
    let held = record
        .as_ref()
        .filter(|one| one.state == DayState::Held.to_string());
    let approval = match held.and_then(|held| held.digest.as_ref()) {
        Some(digest) => ledger.approval(digest).await?,
        None => None,
    };
    let given = approval.filter(|approval| approval.used_at.is_none());
    let consent = match (refused, given, &world.settings.http.token) {
        (Some(refused), _, _) => Consent::Refused(refused.detail.clone()),
        (None, Some(given), _) => Consent::Given(given.at),
        (None, None, Some(_)) => Consent::Offered,
        (None, None, None) => Consent::ReadOnly,
    };
    let markup = pages::day(&DayView {
        zone: settings.dataset.zone,
        portal: &world.settings.socrata.url,
        dataset: &settings.dataset,
        day,
        record: record.as_ref(),
        evidence: evidence.as_ref(),
        rails: &settings.rails,
        mark: marks.iter().find(|mark| mark.day == day),
        acts: &ledger.acts(name, day).await?,
        passes: &passes,
        consent,
    });
    Ok(Page(
        refused.map_or(StatusCode::OK, Problem::status),
        markup,
    ))
}

/// `POST /days/{dataset}/{day}/approve`: the form on the day's page. The token is one of its
/// fields, so that another site cannot submit it on a user's behalf.
pub(super) async fn approve(
    Shared(state): Shared<State>,
    peer: Peer,
    path: DayPath,
    headers: HeaderMap,
    body: acts::Body,
) -> Result<Redirect, Page> {
    let (name, day) = named(path)?;
    let (world, settings) = state.dataset(&name)?;
    let path = Ok(Path((name.clone(), day.to_string())));
    match try_approve(&state, peer, path, &headers, body).await {
        Ok(()) => Ok(Redirect::to(&format!("/days/{name}/{day}"))),
        Err(refused) => Err(day_page(&world, &settings, day, Some(&refused)).await?),
    }
}

async fn try_approve(
    state: &State,
    peer: Peer,
    path: DayPath,
    headers: &HeaderMap,
    body: acts::Body,
) -> Result<(), Problem> {
    access::from_our_own_page(headers)?;
    let body = body.map_err(|error| Problem::bad_request(error.body_text()))?;
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
    };
    let token = field("token");
    let admitted = Admitted::with(state, token.as_deref().map(str::as_bytes), peer, path)?;
    let reason = acts::reason(&field("reason").unwrap_or_default())?;
    acts::consent(&admitted, &field("digest").unwrap_or_default(), reason).await
}

/// `GET /passes/{id}`.
pub(super) async fn pass(
    Shared(state): Shared<State>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Page, Page> {
    let id = pass_id(path)?;
    let world = state.world()?;
    let found = world.ledger.pass(id).await.map_err(Problem::from)?;
    let (pass, steps) =
        found.ok_or_else(|| Problem::not_found(format!("there is no pass {id}")))?;
    let zone = world.settings.timezone;
    Ok(Page::ok(pages::pass(&pass, &steps, zone)))
}

/// `GET /corrections`.
pub(super) async fn corrections(Shared(state): Shared<State>) -> Result<Page, Page> {
    let world = state.world()?;
    let corrections = world.ledger.corrections(None, None, CORRECTIONS).await;
    let corrections = corrections.map_err(Problem::from)?;
    let zone = world.settings.timezone;
    Ok(Page::ok(pages::corrections(&corrections, zone)))
}

/// `GET /style.css`.
pub(super) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], pages::STYLE)
}
