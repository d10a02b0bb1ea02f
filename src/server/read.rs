//! The API's reading half.

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
use crate::reconcile::World;
use crate::settings::DatasetSettings;

/// How many days back are told where nobody says.
const DAYS: i64 = 90;
/// Most corrections of one answer.
const MOST_CORRECTIONS: u32 = 10_000;

/// A dataset and how its days stand.
#[derive(Serialize)]
pub(super) struct DatasetLine {
    dataset: String,
    id: String,
    recipe: String,
    zone: String,
    window_days: u32,
    settle_days: u32,
    /// Days by state.
    days: BTreeMap<String, u64>,
}

/// `GET /api/v1/datasets`.
pub(super) async fn datasets(
    Shared(state): Shared<State>,
) -> Result<Json<Vec<DatasetLine>>, Problem> {
    let world = state.world()?;
    let standing = world.ledger.standing().await?;
    let line = |one: &DatasetSettings| {
        let dataset = &one.dataset;
        let ours = standing.iter().filter(|days| days.dataset == dataset.name);
        DatasetLine {
            dataset: dataset.name.to_string(),
            id: dataset.id.to_string(),
            recipe: dataset.recipe.clone(),
            zone: dataset.zone.to_string(),
            window_days: one.schedule.window_days,
            settle_days: one.schedule.settle_days,
            days: ours.map(|days| (days.state.clone(), days.days)).collect(),
        }
    };
    Ok(Json(world.settings.datasets.iter().map(line).collect()))
}

/// Which days are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    dataset: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// A day out of a path or query.
///
/// # Errors
/// With what it should be.
pub(super) fn parse_day(text: &str) -> Result<Day, Problem> {
    (text.parse()).map_err(|error: crate::model::DayError| Problem::bad_request(error.to_string()))
}

type Ranged = Result<Query<Range>, QueryRejection>;

fn asked(query: Ranged) -> Result<Range, Problem> {
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
    let Range { dataset, from, to } = asked(query)?;
    let world = state.world()?;
    let today = Day::at(state.now(), world.settings.timezone);
    let range = range(from.as_deref(), to.as_deref(), today)?;
    let mut lines = Vec::new();
    for one in wanted(&state, &world, dataset.as_deref())? {
        let days = world.ledger.days(Some(&one.dataset.name), Some(range));
        let days = days.await?.into_iter();
        lines.extend(days.map(|record| DayLine::of(&one.dataset, record)));
    }
    Ok(Json(lines))
}

fn wanted(
    state: &State,
    world: &World,
    dataset: Option<&str>,
) -> Result<Vec<DatasetSettings>, Problem> {
    match dataset {
        Some(name) => Ok(vec![state.dataset(name)?.1]),
        None => Ok(world.settings.datasets.clone()),
    }
}

/// A dataset-day out of a path.
pub(super) type DayPath = Result<Path<(String, String)>, PathRejection>;

/// The dataset and the day that a path names.
///
/// # Errors
/// If it names none.
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
    let never = || Problem::not_found(format!("{name} {day} was never looked at"));
    facts.map(Json).ok_or_else(never)
}

/// The pass that a path names.
///
/// # Errors
/// If it names none.
pub(super) fn pass_id(path: Result<Path<String>, PathRejection>) -> Result<uuid::Uuid, Problem> {
    let Path(text) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let id = uuid::Uuid::try_parse(&text);
    id.map_err(|error| Problem::bad_request(format!("read pass {text:?}: {error}")))
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
    let (pass, journal) = found.ok_or_else(|| Problem::not_found(format!("no pass is {id}")))?;
    Ok(Json(PassFacts { pass, journal }))
}

/// `GET /api/v1/corrections?dataset=&from=&to=`: JSON lines, the newest correction first.
pub(super) async fn corrections(
    Shared(state): Shared<State>,
    query: Ranged,
) -> Result<Response<Body>, Problem> {
    let Range { dataset, from, to } = asked(query)?;
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
    let corrections = ledger.corrections(name.as_ref(), range, MOST_CORRECTIONS);
    let mut lines = Vec::new();
    for correction in corrections.await? {
        serde_json::to_writer(&mut lines, &correction).expect("it has no keys but texts");
        lines.push(b'\n');
    }
    let mut response = Response::new(Body::from(lines));
    let lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, lines);
    Ok(response)
}
