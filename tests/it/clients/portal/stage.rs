//! A small portal that keeps rows and answers honestly. It has its own socket, so that a test can
//! also cut, reset and stall connections. A test replaces single answers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

pub const ID: &str = "sh59-i6y9";
const DIGEST: &str = "3aBcDeFgHiJkLmNoPqRsTuVwXyZ";

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Metadata,
    Count,
    Survey,
    Page,
    List,
    Write,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Ask {
    pub kind: Kind,
    /// The number of earlier requests of the same kind.
    pub nth: usize,
    pub method: String,
    pub target: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn is(&self, kind: Kind, nth: usize) -> bool {
        (self.kind, self.nth) == (kind, nth)
    }

    /// Whether it treats the day column as a date.
    fn cuts_dates(&self) -> bool {
        self.query["$select"].starts_with("date_trunc_ymd(")
    }
}

/// What happens to an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Whole,
    /// The connection closes before the first byte.
    Reset,
    /// The connection closes after this many bytes of the body, in the middle of a chunk.
    Cut(usize),
    /// The body ends after this many bytes, as if it were complete.
    CleanCut(usize),
    /// The whole answer, with this delay.
    Late(Duration),
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub fate: Fate,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: body.into(),
            fate: Fate::Whole,
        }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json;charset=utf-8", body.to_string())
    }

    pub fn html(status: u16) -> Self {
        Self::new(
            status,
            "text/html",
            "<html><body>Please log in</body></html>",
        )
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(given, _)| *given != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| *given != name);
        self
    }

    pub fn fate(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub fn gzipped(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self.with("Content-Encoding", "gzip")
    }
}

#[derive(Clone, Debug)]
pub struct Row {
    pub key: Option<String>,
    pub counter: u64,
    pub at: String,
    pub updated: u64,
    pub volume: String,
}

impl Row {
    /// Like an encrypted counter: the text does not sort like the counter.
    fn sid(&self) -> String {
        format!("row-{:04x}'", self.counter * 40_503 % 65_536)
    }
}

/// What is on the portal.
#[derive(Clone, Debug)]
pub struct World {
    pub rows: Vec<Row>,
    pub identifier: Option<&'static str>,
    pub day_type: &'static str,
    pub version: u64,
    counter: u64,
}

impl World {
    /// A day with these keys.
    pub fn of<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut world = Self {
            rows: Vec::new(),
            identifier: Some("record_id"),
            day_type: "calendar_date",
            version: 7,
            counter: 0,
        };
        for key in keys {
            world.add(Some(&key.into()));
        }
        world
    }

    pub fn add(&mut self, key: Option<&str>) {
        self.counter += 1;
        self.rows.push(Row {
            key: key.map(str::to_owned),
            counter: self.counter,
            at: "2020-10-01T00:15:00.000".into(),
            updated: self.version,
            volume: "15".into(),
        });
    }

    /// The honest answer.
    pub fn answer(&mut self, ask: &Ask) -> Reply {
        match ask.kind {
            Kind::Metadata => Reply::json(200, &self.metadata()),
            Kind::Count => self.served(&json!([Self::tally(&self.chosen(ask))])),
            Kind::Survey if self.day_type == "text" && ask.cuts_dates() => Reply::json(
                400,
                &json!({"code": "query.soql.type-mismatch", "error": true}),
            ),
            Kind::Survey => self.served(&self.survey(ask)),
            Kind::Page | Kind::List => self.served(&self.page(ask)),
            Kind::Write => self.write(ask),
        }
    }

    /// An answer with the headers of the current version of the data.
    pub fn served(&self, body: &Value) -> Reply {
        let tag = URL_SAFE_NO_PAD.encode(format!("alpha.1_1_{}{DIGEST}", self.version));
        Reply::json(200, body)
            .with("ETag", &format!("W/\"{tag}--gzip\""))
            .with("Last-Modified", "Thu, 01 Oct 2020 12:00:00 GMT")
            .with("X-SODA2-Data-Out-Of-Date", "false")
    }

    fn metadata(&self) -> Value {
        let mut view = json!({
            "id": ID, "name": "Camera Counts", "newBackend": true,
            "rowsUpdatedAt": 1_601_500_000 + self.version,
            "columns": [
                {"id": 1, "fieldName": "record_id", "dataTypeName": "text"},
                {"id": 2, "fieldName": "read_date", "dataTypeName": self.day_type},
                {"id": 3, "fieldName": "volume", "dataTypeName": "number"},
                {"id": 4, "fieldName": ":@computed_region_x", "dataTypeName": "number"},
            ],
        });
        match self.identifier {
            Some("record_id") => view["rowIdentifierColumnId"] = json!(1),
            Some(_) => view["rowIdentifierColumnId"] = json!(3),
            None => {}
        }
        view
    }

    fn tally(rows: &[&Row]) -> Value {
        let keys: std::collections::BTreeSet<_> =
            rows.iter().filter_map(|r| r.key.as_ref()).collect();
        let mut tally =
            json!({"sl_rows": rows.len().to_string(), "sl_keys": keys.len().to_string()});
        if let Some(newest) = rows.iter().map(|row| row.updated).max() {
            tally["sl_newest"] = json!(stamp(newest));
        }
        tally
    }

    fn survey(&self, ask: &Ask) -> Value {
        let mut days: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in self.chosen(ask) {
            days.entry(&row.at[..10]).or_default().push(row);
        }
        let line = |(day, rows): (&str, Vec<&Row>)| {
            let mut line = Self::tally(&rows);
            line["sl_day"] = json!(format!("{day}T00:00:00.000"));
            line.as_object_mut().unwrap().remove("sl_keys");
            line
        };
        days.into_iter().map(line).collect()
    }

    fn page(&self, ask: &Ask) -> Value {
        let mut rows = self.chosen(ask);
        match ask.query["$order"].as_str() {
            ":id" => rows.sort_by_key(|row| row.counter),
            _ => rows.sort_by(|a, b| a.key.cmp(&b.key)),
        }
        rows.truncate(ask.query["$limit"].parse().unwrap());
        let select: Vec<&str> = ask.query["$select"].split(',').collect();
        let mut page: Vec<Value> = rows.into_iter().map(|row| shown(row, &select)).collect();
        if ask.query.contains_key("$group") {
            page.dedup();
        }
        page.into()
    }

    /// The rows that match the request's `$where`.
    fn chosen(&self, ask: &Ask) -> Vec<&Row> {
        let filter = &ask.query["$where"];
        let texts = literals(filter);
        let is_chosen = |row: &&Row| {
            if filter.contains(" in (") {
                return row.key.as_ref().is_some_and(|key| texts.contains(key));
            }
            let is_on_day = row.at >= texts[0] && row.at < texts[1];
            let is_after = match texts.get(2) {
                None => true,
                Some(sid) if filter.contains("AND :id > ") => {
                    let last = self.rows.iter().find(|row| row.sid() == *sid);
                    row.counter > last.expect("an :id that was served").counter
                }
                Some(last) => row.key.as_ref().is_some_and(|key| key > last),
            };
            is_on_day && is_after
        };
        self.rows.iter().filter(is_chosen).collect()
    }

    fn write(&mut self, ask: &Ask) -> Reply {
        self.version += 1;
        let (mut created, mut updated, mut deleted, mut errors) = (0, 0, 0, 0);
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(&ask.body).unwrap();
        for row in rows {
            let key = row["record_id"].as_str().unwrap();
            let found = self
                .rows
                .iter()
                .position(|row| row.key.as_deref() == Some(key));
            match (row.get(":deleted"), found) {
                (Some(_), Some(at)) => {
                    self.rows.remove(at);
                    deleted += 1;
                }
                (Some(_), None) => errors += 1,
                (None, Some(at)) => {
                    self.rows[at].updated = self.version;
                    updated += 1;
                }
                (None, None) => {
                    self.add(Some(key));
                    created += 1;
                }
            }
        }
        let summary = json!({"Errors": errors, "Rows Created": created, "Rows Updated": updated, "Rows Deleted": deleted});
        Reply::json(200, &summary).with("X-SODA2-Truth-Version", &self.version.to_string())
    }
}

fn stamp(version: u64) -> String {
    format!("2020-10-02T08:31:{:02}.000Z", version % 60)
}

fn shown(row: &Row, select: &[&str]) -> Value {
    let mut fields = Map::new();
    for name in select {
        let value = match *name {
            ":id" => Some(row.sid()),
            ":created_at" => Some(stamp(0)),
            ":updated_at" => Some(stamp(row.updated)),
            "record_id" => row.key.clone(),
            "read_date" => Some(row.at.clone()),
            "volume" => Some(row.volume.clone()),
            other => panic!("{other} was selected"),
        };
        if let Some(value) = value {
            fields.insert((*name).to_owned(), value.into());
        }
    }
    fields.into()
}

/// The text literals of a statement, unquoted.
fn literals(statement: &str) -> Vec<String> {
    let (mut texts, mut rest) = (Vec::new(), statement);
    while let Some(start) = rest.find('\'') {
        rest = &rest[start + 1..];
        let mut text = String::new();
        loop {
            let end = rest.find('\'').expect("a literal ends");
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            if !rest.starts_with('\'') {
                break;
            }
            text.push('\'');
            rest = &rest[1..];
        }
        texts.push(text);
    }
    texts
}

type Play = Box<dyn FnMut(&Ask, &mut World) -> Reply + Send>;

#[derive(Default)]
struct Log {
    asks: Vec<Ask>,
    under_way: usize,
    most_under_way: usize,
}

/// A running portal.
pub struct Stage {
    pub url: Url,
    log: Arc<Mutex<Log>>,
    pub world: Arc<Mutex<World>>,
}

impl Stage {
    /// A portal that answers honestly.
    pub async fn honest(world: World) -> Self {
        Self::playing(world, |ask, world| world.answer(ask)).await
    }

    /// A portal whose answers come from `play`.
    pub async fn playing(
        world: World,
        play: impl FnMut(&Ask, &mut World) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(world));
        let play: Arc<Mutex<Play>> = Arc::new(Mutex::new(Box::new(play)));
        let log = Arc::new(Mutex::new(Log::default()));
        let stage = Self {
            url: url.parse().unwrap(),
            log: Arc::clone(&log),
            world: Arc::clone(&world),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (play, world, log) = (Arc::clone(&play), Arc::clone(&world), Arc::clone(&log));
                tokio::spawn(serve(stream, play, world, log));
            }
        });
        stage
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.log.lock().unwrap().asks.clone()
    }

    pub fn asked(&self, kind: Kind) -> Vec<Ask> {
        let mut asks = self.asks();
        asks.retain(|ask| ask.kind == kind);
        asks
    }

    pub fn most_under_way(&self) -> usize {
        self.log.lock().unwrap().most_under_way
    }
}

async fn serve(
    mut stream: TcpStream,
    play: Arc<Mutex<Play>>,
    world: Arc<Mutex<World>>,
    log: Arc<Mutex<Log>>,
) {
    let Some(mut ask) = receive(&mut stream).await else {
        return;
    };
    {
        let mut log = log.lock().unwrap();
        ask.nth = log.asks.iter().filter(|past| past.kind == ask.kind).count();
        log.asks.push(ask.clone());
        log.under_way += 1;
        log.most_under_way = log.most_under_way.max(log.under_way);
    }
    let reply = play.lock().unwrap()(&ask, &mut world.lock().unwrap());
    if let Fate::Late(pause) = reply.fate {
        tokio::time::sleep(pause).await;
    }
    log.lock().unwrap().under_way -= 1;
    let _ = stream.write_all(&framed(&reply)).await;
    let _ = stream.shutdown().await;
}

fn framed(reply: &Reply) -> Vec<u8> {
    let Reply {
        status,
        headers,
        body,
        fate,
    } = reply;
    if *fate == Fate::Reset {
        return Vec::new();
    }
    let mut bytes =
        format!("HTTP/1.1 {status} x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n")
            .into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes.extend(b"\r\n");
    let kept = match fate {
        Fate::CleanCut(kept) => &body[..*kept],
        Fate::Whole | Fate::Reset | Fate::Cut(_) | Fate::Late(_) => body,
    };
    if !kept.is_empty() {
        bytes.extend(format!("{:x}\r\n", kept.len()).into_bytes());
        if let Fate::Cut(sent) = fate {
            bytes.extend(&kept[..*sent]);
            return bytes;
        }
        bytes.extend(kept);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

async fn receive(stream: &mut TcpStream) -> Option<Ask> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut body = bytes.split_off(head + 4);
    let mut lines = text.lines();
    let mut start = lines.next()?.split(' ');
    let (method, target) = (start.next()?.to_owned(), start.next()?.to_owned());
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: BTreeMap<_, _> = lines.map(header).collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        stream.read_buf(&mut body).await.ok()?;
    }
    let url = Url::parse(&format!("http://x{target}")).ok()?;
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    Some(Ask {
        kind: kind(&method, url.path(), &query),
        nth: 0,
        method,
        target,
        query,
        headers,
        body,
    })
}

fn kind(method: &str, path: &str, query: &BTreeMap<String, String>) -> Kind {
    let has = |part: &str, text: &str| query.get(part).is_some_and(|given| given.contains(text));
    if path.starts_with("/api/views/") {
        Kind::Metadata
    } else if method != "GET" {
        Kind::Write
    } else if has("$select", "sl_day") {
        Kind::Survey
    } else if has("$select", "count(*)") {
        Kind::Count
    } else if has("$where", " in (") {
        Kind::List
    } else {
        Kind::Page
    }
}
