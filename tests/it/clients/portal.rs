//! The portal client against a portal that sends false, outdated, truncated or no answers. A read
//! is complete and correct, or an error. A write is applied once, or reported as doubtful.

mod contradictions;
mod freshness;
mod reading;
mod secrets;
mod stage;
mod transport;
mod understanding;
mod writing;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sodalake::model::{Day, DayRange, KeySet, PublishedRow, RowKey};
use sodalake::settings::{ReadAs, SocrataSettings};
use sodalake::socrata::{
    Freshness, Patience, Portal, PortalError, PublishedKeys, ReadError, Reader, RequestError,
    Table, WriteError, Writer,
};
use url::Url;

use stage::{Ask, Fate, ID, Kind, Reply, Stage, World};

const PASSWORD: &str = "hunter2-secret";
const TOKEN: &str = "app-token-1";

fn settings(url: &Url) -> SocrataSettings {
    SocrataSettings {
        url: url.clone(),
        read_as: ReadAs::Anonymous,
        username: Some("publisher".into()),
        password: Some(PASSWORD.into()),
        app_token: Some(TOKEN.into()),
        page_rows: 4,
        chunk_rows: 4,
        max_in_flight: 4,
        requests_per_second: 10_000,
        confirm_within: Duration::from_secs(1),
        request_timeout: Duration::from_secs(2),
    }
}

fn hasty() -> Patience {
    let brief = Duration::from_millis(1);
    Patience {
        first_pause: brief,
        longest_pause: Duration::from_millis(20),
        tries: 4,
        total: Duration::from_secs(10),
        poll_pause: brief,
        polls: 5,
        stale_pause: brief,
        stale_tries: 4,
        starts: 3,
        seed: 1,
        ..Patience::default()
    }
}

fn portal(stage: &Stage) -> Arc<Portal> {
    Portal::open_with(&settings(&stage.url), hasty()).unwrap()
}

fn reader(stage: &Stage) -> Reader {
    Reader::new(portal(stage))
}

fn writer(stage: &Stage) -> Writer {
    Writer::new(portal(stage), &settings(&stage.url)).unwrap()
}

fn day() -> Day {
    "2020-10-01".parse().unwrap()
}

fn hex(count: u32) -> Vec<String> {
    (1..=count)
        .map(|n| format!("{:032x}", u128::from(n) << 64))
        .collect()
}

fn keys(texts: &[String]) -> Vec<RowKey> {
    texts.iter().map(|text| RowKey::new(text)).collect()
}

fn set(texts: &[String]) -> KeySet {
    keys(texts).into_iter().collect()
}

async fn table(stage: &Stage) -> Table {
    let id = ID.parse().unwrap();
    let shape = reader(stage).shape(&id).await.unwrap();
    Table::new(id, "record_id", "read_date", shape).unwrap()
}

/// The table as an honest portal describes it, without a request to the tested one.
async fn known_table() -> Table {
    table(&Stage::honest(World::of(hex(0))).await).await
}

async fn read_keys(stage: &Stage) -> Result<PublishedKeys, ReadError> {
    reader(stage).keys(&known_table().await, day()).await
}

async fn read_rows(stage: &Stage) -> Result<Vec<PublishedRow>, ReadError> {
    let table = known_table().await;
    let read = reader(stage).rows(&table, day(), &Some).await?;
    Ok(read.kept)
}

/// A day of 10 keys on a portal whose answers `play` may replace.
async fn ten(mut play: impl FnMut(&Ask, &mut World, Reply) -> Reply + Send + 'static) -> Stage {
    Stage::playing(World::of(hex(10)), move |ask, world| {
        let honest = world.answer(ask);
        play(ask, world, honest)
    })
    .await
}

/// Asserts that a read of 10 keys is complete although the `nth` answer of a kind is `bad`.
async fn survives(kind: Kind, nth: usize, bad: impl Fn(Reply) -> Reply + Send + 'static) -> Stage {
    let stage = ten(move |ask, _, honest| {
        if ask.is(kind, nth) {
            bad(honest)
        } else {
            honest
        }
    })
    .await;
    let read = read_keys(&stage).await.unwrap();
    assert_eq!(read.keys, set(&hex(10)));
    stage
}

/// Asserts that reads of keys and of rows fail if all answers of a kind are `bad`.
async fn fails(
    kind: Kind,
    bad: impl Fn(&Ask, Reply) -> Reply + Send + Clone + 'static,
) -> ReadError {
    let corrupt = bad.clone();
    let stage = ten(move |ask, _, honest| {
        if ask.kind == kind {
            corrupt(ask, honest)
        } else {
            honest
        }
    })
    .await;
    let error = read_keys(&stage).await.unwrap_err();
    let stage = ten(move |ask, _, honest| {
        if ask.kind == kind {
            bad(ask, honest)
        } else {
            honest
        }
    })
    .await;
    assert!(read_rows(&stage).await.is_err());
    error
}
