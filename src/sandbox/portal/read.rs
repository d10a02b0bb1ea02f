//! Answers to reads. The query is bound and run on one random replica, rows are written as JSON or
//! CSV, and the headers describe fields and freshness as on a real portal.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a reply and ends the request"
)]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Portal;
use super::cell::Cell;
use super::decimal::Decimal;
use super::faults::{CutAt, Fault};
use super::metadata;
use super::reply::{Reply, STALE_FLAG};
use super::rowid::RowIds;
use super::soql::{self, Answer, Query, SoqlError};
use super::store::{Row, Schema, State, Table};
use super::transport::Delivery;
use super::write::{self, Target};

/// A read of rows.
pub(super) struct Read<'a> {
    pub dataset: &'a str,
    pub csv: bool,
    /// Percent-decoded parameters, in order.
    pub params: &'a [(String, String)],
    pub if_modified_since: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
    pub gzip: bool,
    pub fault: Option<&'a Fault>,
}

const MAX_LEGACY_ROWS: u64 = 50_000;

/// The JSON form of a stored row.
pub(super) fn published(schema: &Schema, row: &Row) -> Map<String, Value> {
    let system = [
        (":id", Cell::RowId(row.sid)),
        (":version", Cell::Version(row.version)),
        (":created_at", Cell::Fixed(row.created)),
        (":updated_at", Cell::Fixed(row.updated)),
    ];
    let system = system.iter().map(|(name, cell)| (*name, cell));
    let user = schema
        .columns
        .iter()
        .map(|column| column.field.as_str())
        .zip(row.cells.iter());
    system
        .chain(user)
        .filter_map(|(name, cell)| Some((name.to_owned(), cell.json(&schema.ids)?)))
        .collect()
}

/// The query in a request's parameters.
fn query(params: &[(String, String)]) -> Result<Query, Reply> {
    let mut query = Query::default();
    for (name, value) in params {
        let known = if name == "$query" {
            query = soql::parse_statement(value).map_err(|error| Reply::from(&error))?;
            true
        } else if name.starts_with("$$") || name == "queryTimeoutSeconds" {
            true
        } else if name.starts_with('$') {
            soql::parse_clause(&mut query, name, value).map_err(|error| Reply::from(&error))?
        } else {
            soql::simple_filter(&mut query, name, value);
            true
        };
        if !known {
            return Err(unrecognized(name));
        }
    }
    Ok(query)
}

fn unrecognized(name: &str) -> Reply {
    let message = Value::from(format!("Unrecognized arguments [{name}]"));
    let body = format!("{{\n  \"error\" : true,\n  \"message\" : {message}\n}}\n");
    Reply::with(400, "application/json;charset=utf-8", body)
}

impl Portal {
    /// Answers `/resource/{id}` and the other paths that read rows.
    pub(super) fn read(&self, read: &Read<'_>) -> Reply {
        self.try_read(read).unwrap_or_else(|refusal| refusal)
    }

    fn try_read(&self, read: &Read<'_>) -> Result<Reply, Reply> {
        let table = self
            .table(read.dataset)
            .ok_or_else(|| Reply::no_dataset(read.dataset))?;
        let query = query(read.params)?;
        if self.inner.options.legacy && query.limit.is_some_and(|limit| limit > MAX_LEGACY_ROWS) {
            return Err(Reply::refused(
                400,
                "invalid_request",
                "length must be <= 50000",
            ));
        }
        let schema = Arc::clone(&table.read().schema);
        let bound =
            soql::bind(&schema, &query).map_err(|error| plain_filter(read.params, &error))?;
        let index = soql::wanted_index(&bound, schema.key);
        let (replica, options) = self.pick_replica();
        let wanted: Vec<usize> = index.into_iter().collect();
        table
            .write()
            .prepare(replica, &options, self.now_ms(), &wanted);
        let mut rng = StdRng::seed_from_u64(self.inner.rng.lock().random());
        let (answer, freshness) = {
            let table = table.read();
            let state = table.seen_by(replica);
            let freshness = self.freshness(&table, state, options.lies);
            if let Some(unchanged) = freshness.unchanged(read) {
                return Ok(unchanged);
            }
            (
                soql::evaluate(&bound, state, schema.key, &mut rng),
                freshness,
            )
        };
        let shown: Vec<u64> = answer.sids.clone();
        let mut reply = rendered(&with_fault(answer, read.fault), &schema.ids, read);
        freshness.describe(read, &mut reply);
        reply.replica = Some(replica);
        if self.inner.options.legacy {
            reply
                .headers
                .push(("x-soda2-legacy-types", "true".to_owned()));
        }
        self.change_after(&mut table.write(), read.fault, &shown);
        Ok(reply)
    }

    fn pick_replica(&self) -> (usize, super::ReplicaOptions) {
        let replicas = self.inner.replicas.read();
        let at = self.inner.rng.lock().random_range(0..replicas.each.len());
        (at, replicas.each[at].clone())
    }

    fn freshness(&self, table: &Table, state: &State, lies: bool) -> Freshness {
        let flag_lag = i64::try_from(self.inner.replicas.read().flag_lag_ms).unwrap_or(i64::MAX);
        let reported = table.reported_version(self.now_ms().saturating_sub(flag_lag));
        Freshness {
            name: format!(
                "alpha.{}",
                1000 + table.schema.id.bytes().map(u32::from).sum::<u32>()
            ),
            version: state.version,
            modified: http_date(state.modified),
            modified_seconds: state.modified.div_euclid(1000),
            out_of_date: !lies && reported > state.version,
        }
    }

    fn change_after(&self, table: &mut Table, fault: Option<&Fault>, shown: &[u64]) {
        let (rows, deletes) = match fault {
            Some(Fault::DeletesAfter { rows }) => (*rows, true),
            Some(Fault::TouchesAfter { rows }) => (*rows, false),
            _ => return,
        };
        let target = |sid: &u64| match table.schema.key {
            None => Target::Sid(Some(*sid)),
            Some(key) => {
                let row = table.truth.rows.get(sid);
                row.map_or(Target::Nothing, |row| Target::Key(row.cells[key].clone()))
            }
        };
        let operations = shown.iter().take(rows).map(target).map(|target| {
            if deletes {
                write::Operation::Delete { target }
            } else {
                write::Operation::Upsert {
                    cells: Vec::new(),
                    target,
                }
            }
        });
        let operations = operations.collect();
        let (_, changes) = write::carry_out(table, operations, self.now_ms());
        table.commit(self.now_ms(), false, changes);
    }

    /// Answers `/resource/{id}/{row}`.
    pub(super) fn read_row(&self, dataset: &str, row: &str) -> Reply {
        let Some(table) = self.table(dataset) else {
            return Reply::no_dataset(dataset);
        };
        let (replica, options) = self.pick_replica();
        table.write().prepare(replica, &options, self.now_ms(), &[]);
        let table = table.read();
        let state = table.seen_by(replica);
        let sid = match write::named_row(&table.schema, row) {
            Target::Key(key) => state.by_key.get(&key).copied(),
            Target::Sid(sid) => sid,
            Target::Nothing => None,
        };
        let Some(found) = sid.and_then(|sid| state.rows.get(&sid)) else {
            return Reply::no_row(row);
        };
        let mut fields = published(&table.schema, found);
        fields.retain(|name, _| !name.starts_with(':'));
        let mut reply = Reply::json(200, &Value::Object(fields));
        reply.replica = Some(replica);
        let flag = self.freshness(&table, state, options.lies).out_of_date;
        reply.header(STALE_FLAG, flag.to_string())
    }

    /// Answers `/api/views/{id}.json`.
    pub(super) fn read_metadata(&self, dataset: &str) -> Reply {
        let Some(table) = self.table(dataset) else {
            return Reply::no_dataset(dataset);
        };
        let table = table.read();
        Reply::json(200, &metadata::document(&table, &table.truth))
    }

    /// Answers `/api/views.json`.
    pub(super) fn list_metadata(&self) -> Reply {
        let tables = self.inner.tables.read();
        let documents = tables.values().map(|table| {
            let table = table.read();
            metadata::document(&table, &table.truth)
        });
        Reply::json(200, &documents.collect())
    }
}

/// Reports an unknown plain parameter as an argument rather than as a column.
fn plain_filter(params: &[(String, String)], error: &SoqlError) -> Reply {
    match error {
        SoqlError::NoSuchColumn(name) if params.iter().any(|(param, _)| param == name) => {
            unrecognized(name)
        }
        other => Reply::from(other),
    }
}

fn with_fault(mut answer: Answer, fault: Option<&Fault>) -> Answer {
    let middle = answer.rows.len() / 2;
    match fault {
        Some(Fault::EmptyArray) => answer.rows.clear(),
        Some(Fault::Cut {
            at: CutAt::MissingRows,
        }) => answer.rows.truncate(middle),
        Some(Fault::RepeatedRow) if !answer.rows.is_empty() => {
            let row = answer.rows[middle].clone();
            answer.rows.insert(middle, row);
        }
        Some(Fault::SkippedRow) if !answer.rows.is_empty() => {
            answer.rows.remove(middle);
        }
        Some(Fault::WrongOrder) => answer.rows.reverse(),
        Some(Fault::OneMore) => {
            for cell in answer.rows.first_mut().into_iter().flatten() {
                let more = cell.decimal().and_then(|is| is.plus(Decimal::whole(1)));
                *cell = more.map_or_else(|| cell.clone(), Cell::number);
            }
        }
        _ => {}
    }
    answer
}

fn rendered(answer: &Answer, ids: &RowIds, read: &Read<'_>) -> Reply {
    let mut reply = if read.csv {
        csv(answer, ids, read)
    } else {
        rows_json(answer, ids, read.fault)
    };
    if let Some(Fault::Cut { at }) = read.fault {
        cut(&mut reply, *at);
    }
    let names: Value = answer
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let kinds: Value = answer
        .columns
        .iter()
        .map(|(_, kind)| kind.in_headers())
        .collect();
    let (names, kinds) = (names.to_string(), kinds.to_string());
    let short = names.len() + kinds.len() < 5000;
    if short && !matches!(read.fault, Some(Fault::NoFieldHeaders)) {
        reply.headers.push(("x-soda2-fields", ascii(&names)));
        reply.headers.push(("x-soda2-types", kinds));
    }
    let warning = "X-SODA2-Fields and X-SODA2-Types are deprecated";
    reply.header("x-soda2-warning", warning)
}

fn ascii(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_ascii() { letter } else { '?' })
        .collect()
}

fn rows_json(answer: &Answer, ids: &RowIds, fault: Option<&Fault>) -> Reply {
    let field_twice = fault == Some(&Fault::FieldTwice);
    let middle = answer.rows.len() / 2;
    let odd = |at: usize, name: &str| match fault {
        Some(Fault::OddCell { column, value }) if at == middle && column == name => {
            Some(value.clone())
        }
        _ => None,
    };
    let names: Vec<String> = answer
        .columns
        .iter()
        .map(|(name, _)| json!(name).to_string())
        .collect();
    let mut body = vec![b'['];
    let mut row_ends = Vec::new();
    for (at, row) in answer.rows.iter().enumerate() {
        if at > 0 {
            body.extend(b"\n,");
        }
        body.push(b'{');
        let mut first = true;
        for ((name, (field, _)), value) in names.iter().zip(&answer.columns).zip(row) {
            let Some(value) = odd(at, field).or_else(|| value.json(ids)) else {
                continue;
            };
            if !std::mem::take(&mut first) {
                body.push(b',');
            }
            body.extend(name.as_bytes());
            body.push(b':');
            body.extend(value.to_string().as_bytes());
        }
        let next = &answer.rows[(at + 1) % answer.rows.len()];
        if let (true, Some(name), Some(value)) = (
            field_twice,
            names.first(),
            next.first().and_then(|cell| cell.json(ids)),
        ) {
            body.extend(format!(",{name}:{value}").as_bytes());
        }
        body.push(b'}');
        row_ends.push(body.len());
    }
    body.extend(b"]\n");
    let reply = Reply::with(200, "application/json;charset=utf-8", body);
    Reply { row_ends, ..reply }
}

fn csv(answer: &Answer, ids: &RowIds, read: &Read<'_>) -> Reply {
    let mut body = Vec::new();
    if read
        .params
        .iter()
        .any(|(name, value)| name == "$$bom" && value == "true")
    {
        body.extend("\u{feff}".as_bytes());
    }
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let header: Vec<String> = answer
        .columns
        .iter()
        .map(|(name, _)| quoted(name))
        .collect();
    body.extend(header.join(",").as_bytes());
    body.push(b'\n');
    let mut row_ends = Vec::new();
    for row in &answer.rows {
        let fields: Vec<String> = row
            .iter()
            .map(|cell| {
                cell.plain(ids)
                    .map_or_else(String::new, |text| quoted(&text))
            })
            .collect();
        body.extend(fields.join(",").as_bytes());
        body.push(b'\n');
        row_ends.push(body.len());
    }
    let reply = Reply::with(200, "text/csv;charset=utf-8", body);
    Reply { row_ends, ..reply }
}

fn cut(reply: &mut Reply, at: CutAt) {
    let middle = reply
        .row_ends
        .get(reply.row_ends.len().saturating_sub(1) / 2)
        .copied();
    let middle = middle.unwrap_or(1);
    let last = reply.row_ends.last().copied().unwrap_or(1);
    match at {
        CutAt::RowBoundary => reply.delivery = Delivery::Broken(middle),
        // The last character but one of a row is within its last value, or the closing quote of
        // that.
        CutAt::InString => reply.delivery = Delivery::Broken(middle.saturating_sub(3)),
        CutAt::BeforeBracket => reply.delivery = Delivery::Broken(last),
        CutAt::MissingBracket => reply.body.truncate(last),
        CutAt::MissingRows => {}
    }
}

/// How current a reply is, according to its headers.
struct Freshness {
    name: String,
    version: u64,
    modified: String,
    modified_seconds: i64,
    out_of_date: bool,
}

impl Freshness {
    fn etag(&self, read: &Read<'_>) -> String {
        let mut hash = Sha256::new();
        for (name, value) in read.params {
            hash.update(format!("{name}={value}&"));
        }
        let digest = URL_SAFE_NO_PAD.encode(hash.finalize()).replace('-', "_");
        let head = format!("{}_2_{}{}", self.name, self.version, &digest[..27]);
        let encoded = URL_SAFE_NO_PAD.encode(head);
        if read.gzip {
            format!("W/\"{encoded}--gzip\"")
        } else {
            format!("\"{encoded}-{}\"", &digest[27..])
        }
    }

    /// Returns 304 for `If-Modified-Since`. `If-None-Match` works only without compression, as on
    /// the real portal.
    fn unchanged(&self, read: &Read<'_>) -> Option<Reply> {
        let unchanged = match (read.if_none_match, read.if_modified_since) {
            (Some(tag), _) => !read.gzip && tag == self.etag(read),
            (None, Some(since)) => DateTime::parse_from_rfc2822(since)
                .is_ok_and(|since| self.modified_seconds <= since.timestamp()),
            (None, None) => false,
        };
        unchanged.then(|| {
            Reply {
                status: 304,
                ..Reply::default()
            }
            .header("etag", self.etag(read))
        })
    }

    fn describe(&self, read: &Read<'_>, reply: &mut Reply) {
        let out_of_date = match read.fault {
            Some(Fault::Flag { out_of_date }) => *out_of_date,
            _ => self.out_of_date,
        };
        reply.headers.extend([
            (STALE_FLAG, out_of_date.to_string()),
            ("x-soda2-truth-last-modified", self.modified.clone()),
            ("x-soda2-secondary-last-modified", self.modified.clone()),
            ("last-modified", self.modified.clone()),
            ("etag", self.etag(read)),
        ]);
        if matches!(read.fault, Some(Fault::NoSodaHeaders)) {
            reply
                .headers
                .retain(|(name, _)| !name.starts_with("x-soda2-"));
        }
    }
}

/// Formats a time like `Thu, 06 Aug 2026 09:20:17 GMT`.
pub(super) fn http_date(at: i64) -> String {
    let time = DateTime::from_timestamp_millis(at).unwrap_or_default();
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
