//! The reading half of the API.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};

use super::view::{DayFacts, DayLine, read_day};
use super::{Problem, State};
use crate::ledger::{JournalStep, PassRecord};
use crate::model::{Day, DayRange};
use crate::reconcile::{World, promises};
use crate::settings::DatasetSettings;

/// How many days back are returned by default.
const DAYS: i64 = 90;
/// Maximum corrections in one response.
const MAX_CORRECTIONS: u32 = 10_000;

/// A dataset and its days by state.
#[derive(Serialize)]
pub(super) struct DatasetLine {
    dataset: String,
    id: String,
    recipe: String,
    zone: String,
    window_days: u32,
    settle_days: u32,
    /// Number of days by state.
    days: BTreeMap<String, u64>,
}

/// `GET /api/v1/datasets`.
pub(super) async fn datasets(
    Shared(state): Shared<State>,
) -> Result<Json<Vec<DatasetLine>>, Problem> {
    let world = state.world()?;
    let promises = promises(&world.settings, state.now());
    let standing = world.ledger.standing(&promises).await?;
    let line = |one: &DatasetSettings| {
        let dataset = &one.dataset;
        let mut ours = promises.iter().filter(|one| one.dataset == dataset.name);
        let days = ours.next().map(|promise| promise.days_by_state(&standing));
        DatasetLine {
            dataset: dataset.name.to_string(),
            id: dataset.id.to_string(),
            recipe: dataset.recipe.clone(),
            zone: dataset.zone.to_string(),
            window_days: one.schedule.window_days,
            settle_days: one.schedule.settle_days,
            days: days.unwrap_or_default(),
        }
    };
    Ok(Json(world.settings.datasets.iter().map(line).collect()))
}

/// The query for a range of days.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    dataset: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// Parses a day from a path or query.
///
/// # Errors
/// If it is not a day; the error names the expected format.
pub(super) fn parse_day(text: &str) -> Result<Day, Problem> {
    (text.parse()).map_err(|error: crate::model::DayError| Problem::bad_request(error.to_string()))
}

type Ranged = Result<Query<Range>, QueryRejection>;

fn parse_range(query: Ranged) -> Result<Range, Problem> {
    let query = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(query.0)
}

fn range(from: Option<&str>, to: Option<&str>, today: Day) -> Result<DayRange, Problem> {
    let to = to.map_or(Ok(today.next()), parse_day)?;
    let from = from.map_or(Ok(to.plus(-DAYS)), parse_day)?;
    Ok(DayRange { from, to })
}

/// `GET /api/v1/days?dataset=&from=&to=`.
pub(super) async fn days(
    Shared(state): Shared<State>,
    query: Ranged,
) -> Result<Json<Vec<DayLine>>, Problem> {
    let Range { dataset, from, to } = parse_range(query)?;
    let world = state.world()?;
    let today = Day::at(state.now(), world.settings.timezone);
    let range = range(from.as_deref(), to.as_deref(), today)?;
    let mut lines = Vec::new();
    for one in selected(&state, &world, dataset.as_deref())? {
        let days = world.ledger.days(Some(&one.dataset.name), Some(range));
        let days = days.await?.into_iter();
        lines.extend(days.map(|record| DayLine::of(&one.dataset, record)));
    }
    Ok(Json(lines))
}

fn selected(
    state: &State,
    world: &World,
    dataset: Option<&str>,
) -> Result<Vec<DatasetSettings>, Problem> {
    match dataset {
        Some(name) => Ok(vec![state.dataset(name)?.1]),
        None => Ok(world.settings.datasets.clone()),
    }
}

/// The dataset and day of a path.
pub(super) type DayPath = Result<Path<(String, String)>, PathRejection>;

/// The dataset and day that a path names.
///
/// # Errors
/// If it does not name them.
pub(super) fn named(path: DayPath) -> Result<(String, Day), Problem> {
    let Path((name, day)) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok((name, parse_day(&day)?))
}

/// `GET /api/v1/days/{dataset}/{day}`.
pub(super) async fn day(
    Shared(state): Shared<State>,
    path: DayPath,
) -> Result<Json<DayFacts>, Problem> {
    let (name, day) = named(path)?;
    let (world, settings) = state.dataset(&name)?;
    let facts = read_day(&world, &settings.dataset, day).await?;
    let never = || Problem::not_found(format!("{name} {day} was never checked"));
    facts.map(Json).ok_or_else(never)
}

/// The pass id in a path.
///
/// # Errors
/// If it is not a pass id.
pub(super) fn pass_id(path: Result<Path<String>, PathRejection>) -> Result<uuid::Uuid, Problem> {
    let Path(text) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let id = uuid::Uuid::try_parse(&text);
    id.map_err(|error| Problem::bad_request(format!("{text:?} is not a pass id: {error}")))
}

/// A pass and its journal.
#[derive(Serialize)]
pub(super) struct PassFacts {
    #[serde(flatten)]
    pass: PassRecord,
    journal: Vec<JournalStep>,
}

/// `GET /api/v1/passes/{id}`.
pub(super) async fn pass(
    Shared(state): Shared<State>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<PassFacts>, Problem> {
    let id = pass_id(path)?;
    let found = state.world()?.ledger.pass(id).await?;
    let (pass, journal) =
        found.ok_or_else(|| Problem::not_found(format!("there is no pass {id}")))?;
    Ok(Json(PassFacts { pass, journal }))
}

/// `GET /api/v1/corrections?dataset=&from=&to=`: JSON lines, newest correction first.
pub(super) async fn corrections(
    Shared(state): Shared<State>,
    query: Ranged,
) -> Result<Response<Body>, Problem> {
    let Range { dataset, from, to } = parse_range(query)?;
    let (world, name) = match dataset {
        Some(name) => {
            let (world, settings) = state.dataset(&name)?;
            (world, Some(settings.dataset.name.clone()))
        }
        None => (state.world()?, None),
    };
    let range = match (&from, &to) {
        (None, None) => None,
        (from, to) => {
            let today = Day::at(state.now(), world.settings.timezone);
            Some(range(from.as_deref(), to.as_deref(), today)?)
        }
    };
    let ledger = &world.ledger;
    let corrections = ledger.corrections(name.as_ref(), range, MAX_CORRECTIONS);
    let mut lines = Vec::new();
    for correction in corrections.await? {
        serde_json::to_writer(&mut lines, &correction).expect("its keys are strings");
        lines.push(b'\n');
    }
    let mut response = Response::new(Body::from(lines));
    let lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, lines);
    Ok(response)
}
