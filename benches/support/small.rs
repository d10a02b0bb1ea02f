//! A stand-in portal with one small table, all of it on one day, and clients for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use sodalake::model::{Day, Md5Key};
use sodalake::sandbox::portal::{ColumnType, Portal, PortalOptions, Serving, TableSpec, User};
use sodalake::settings::{ReadAs, SocrataSettings};
use sodalake::socrata::{self, Reader, Table, Writer};

pub const ID: &str = "i626-g7ub";
pub const CHUNK_ROWS: u32 = 10_000;
const PAGE_ROWS: u32 = 50_000;

pub fn day() -> Day {
    "2020-10-01".parse().expect("it is a day")
}

pub fn key(n: u32) -> Md5Key {
    Md5Key(Md5::digest(n.to_string()).into())
}

pub fn row(n: u32) -> Map<String, Value> {
    let fields = json!({
        "row_id": key(n),
        "curdatetime": "2020-10-01T00:15:00",
        "volume": n % 97,
        "intname": "BURNET RD / RICHCREEK RD",
    });
    fields.as_object().expect("it is an object").clone()
}

fn settings(serving: &Serving) -> SocrataSettings {
    SocrataSettings {
        url: serving.url.parse().expect("it is a URL"),
        read_as: ReadAs::Anonymous,
        username: Some("writer".into()),
        password: Some("secret".into()),
        app_token: None,
        page_rows: PAGE_ROWS,
        chunk_rows: CHUNK_ROWS,
        max_in_flight: 4,
        requests_per_second: 100_000,
        confirm_within: Duration::from_mins(1),
        request_timeout: Duration::from_mins(10),
    }
}

/// A portal with one table of a given number of rows on one day, and clients for it.
pub struct Small {
    pub portal: Portal,
    pub serving: Serving,
    pub reader: Reader,
    pub writer: Writer,
    pub table: Table,
}

pub async fn small(rows: u32) -> Small {
    let portal = Portal::new(PortalOptions {
        users: vec![User::new("writer", "secret", true)],
        ..PortalOptions::default()
    });
    let columns = [
        ("row_id", ColumnType::Text),
        ("curdatetime", ColumnType::CalendarDate),
        ("volume", ColumnType::Number),
        ("intname", ColumnType::Text),
    ];
    portal.create(TableSpec::new(ID, &columns, Some("row_id")));
    let mut first = 0;
    while first < rows {
        let last = rows.min(first + CHUNK_ROWS);
        let block = (first..last).map(row).collect();
        let put = portal.upsert_directly(ID, block, Utc::now());
        put.expect("the rows fit the table");
        first = last;
    }
    let listen = "127.0.0.1:0".parse().expect("it is an address");
    let serving = portal.serve(listen).await.expect("a port is free");
    let settings = settings(&serving);
    let client = socrata::Portal::open(&settings).expect("the settings are right");
    let reader = Reader::new(Arc::clone(&client));
    let writer = Writer::new(client, &settings).expect("the settings are right");
    let id = ID.parse().expect("it is an id");
    let shape = reader.shape(&id).await.expect("the portal answers");
    let table = Table::new(id, "row_id", "curdatetime", shape).expect("it has both columns");
    Small {
        portal,
        serving,
        reader,
        writer,
        table,
    }
}
