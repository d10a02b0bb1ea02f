//! Writes to a portal: upserts, and deletes by key. This is the only code that changes a portal.
//!
//! Both are POSTs of rows to the table; the path that deletes a row, or by mistake the whole table,
//! is never used. Nothing is sent unless the portal's metadata, read again, name our key column as
//! the row identifier: only then may an upload be repeated. An upload whose answer was lost is sent
//! again and counted as doubtful. Counts prove nothing; the caller reads back what matters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::is_nfc;

use super::failure::{self, PortalError, RequestError, WriteError};
use super::login::Login;
use super::portal::{Answer, Portal};
use super::retry::{Verdict, verdict};
use super::summary::{Act, Counts};
use super::table::{self, Table};
use crate::model::RowKey;
use crate::outgoing::asked_wait;
use crate::settings::SocrataSettings;

/// Maximum size of an upload in bytes.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Decides whether a request may start. Called immediately before each request is sent, including
/// repeated ones.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// Changes tables of a portal.
pub struct Writer {
    portal: Arc<Portal>,
    login: Login,
    chunk_rows: usize,
    permit: Permit,
}

/// The portal's counts for a write, added up. They do not prove what is published now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Rows or keys sent and answered.
    pub sent: u64,
    /// Rows created, as counted by the portal.
    pub created: u64,
    /// Rows updated, as counted by the portal.
    pub updated: u64,
    /// Rows deleted, as counted by the portal.
    pub deleted: u64,
    /// Rows refused, as counted by the portal. For deletes: keys that had no row.
    pub errors: u64,
    /// Uploads whose answer was lost, so that they were sent again, or whose answer contradicts
    /// what was sent.
    pub doubtful: u64,
    /// Uploads of which an earlier attempt is not known to have failed and may still be carried
    /// out.
    pub unsettled: u64,
    /// Number of uploads answered.
    pub chunks: u64,
}

/// How one upload ended.
enum Upload {
    /// Applied. `counts` is `None` if the portal says so but gives no counts.
    Applied {
        counts: Option<Counts>,
        was_lost: bool,
    },
    TooLarge(RequestError),
}

/// An upload that failed, and whether it may nevertheless have been applied.
struct Failed {
    error: RequestError,
    may_be_applied: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("portal", &self.portal)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer that uses `portal`. Sends nothing yet.
    ///
    /// # Errors
    /// If the user name or the password is not set; the error names the settings key.
    pub fn new(portal: Arc<Portal>, settings: &SocrataSettings) -> Result<Self, PortalError> {
        Ok(Self {
            portal,
            login: Login::of(settings, PortalError::MissingSecret)?,
            chunk_rows: usize::try_from(settings.chunk_rows)
                .unwrap_or(usize::MAX)
                .max(1),
            permit: Arc::new(|| true),
        })
    }

    /// The same writer, which starts a request only if `permit` allows it.
    #[must_use]
    pub fn only_while(&self, permit: Permit) -> Self {
        Self {
            portal: Arc::clone(&self.portal),
            login: self.login.clone(),
            chunk_rows: self.chunk_rows,
            permit,
        }
    }

    /// Creates or updates rows by their key. Fields missing in a row keep their values; `null`
    /// clears them. If several rows have the same key, the last one counts.
    ///
    /// # Errors
    /// If the row identifier is not the key column or a row has no key (then nothing is sent), or
    /// if an upload fails; earlier uploads remain applied.
    pub async fn upsert(
        &self,
        table: &Table,
        rows: &[Map<String, Value>],
    ) -> Result<WriteSummary, WriteError> {
        for (ordinal, row) in rows.iter().enumerate() {
            check_row(table, row).map_err(|why| {
                let id = table.id.clone();
                WriteError::Row { id, ordinal, why }
            })?;
        }
        let put = |row: &Map<String, Value>, body: &mut Vec<u8>| put_json(row, body);
        self.write(table, Act::Upsert, rows, &put).await
    }

    /// Deletes the rows with these keys. Keys without a row are counted as errors, which is fine.
    ///
    /// # Errors
    /// If the row identifier is not the key column or a key is empty (then nothing is sent), or if
    /// an upload fails; earlier uploads remain applied.
    pub async fn delete(&self, table: &Table, keys: &[RowKey]) -> Result<WriteSummary, WriteError> {
        for (ordinal, key) in keys.iter().enumerate() {
            let RowKey::Text(text) = key else {
                continue; // no portal confuses an MD5 with another key
            };
            check_key(text).map_err(|why| {
                let id = table.id.clone();
                WriteError::Row { id, ordinal, why }
            })?;
        }
        let mut keys: Vec<&RowKey> = keys.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let column = table.key_column.as_str();
        let put = |key: &&RowKey, body: &mut Vec<u8>| {
            body.push(b'{');
            put_json(column, body);
            body.push(b':');
            put_json(key, body);
            body.extend(b",\":deleted\":true}");
        };
        self.write(table, Act::Delete, &keys, &put).await
    }

    async fn write<T: Sync>(
        &self,
        table: &Table,
        act: Act,
        items: &[T],
        put: &(dyn Fn(&T, &mut Vec<u8>) + Sync),
    ) -> Result<WriteSummary, WriteError> {
        let mut done = WriteSummary::default();
        if items.is_empty() {
            return Ok(done);
        }
        self.check_identifier(table).await?;
        let (mut rest, mut most) = (items, self.chunk_rows);
        while !rest.is_empty() {
            let (body, taken) = chunk(rest, most, put);
            let uploaded = self.upload(table, act, body).await;
            match uploaded.map_err(|failed| failed.after(table, done))? {
                Upload::Applied { counts, was_lost } => {
                    done.add(act, taken, counts, was_lost);
                    rest = &rest[taken..];
                }
                Upload::TooLarge(_) if taken > 1 => {
                    self.portal.count_retry("too_large");
                    most = taken / 2;
                }
                Upload::TooLarge(error) => {
                    return Err(Failed::new(error, false).after(table, done));
                }
            }
        }
        Ok(done)
    }

    /// Checks that the row identifier is the key column, both in the table's metadata as read
    /// before and in metadata read now.
    async fn check_identifier(&self, table: &Table) -> Result<(), WriteError> {
        let wanted = &table.key_column;
        let refuse = |found: Option<String>| WriteError::RowIdentifier {
            id: table.id.clone(),
            found,
            wanted: wanted.clone(),
        };
        if !table.is_keyed() {
            return Err(refuse(table.shape.row_identifier.clone()));
        }
        let read = table::shape(&self.portal, &table.id).await;
        let (shape, _) = read.map_err(|source| WriteError::Unread {
            id: table.id.clone(),
            source: Box::new(source),
        })?;
        if shape.row_identifier.as_ref() == Some(wanted) {
            Ok(())
        } else {
            Err(refuse(shape.row_identifier))
        }
    }

    /// Sends one chunk, repeatedly if that may help.
    async fn upload(&self, table: &Table, act: Act, body: Bytes) -> Result<Upload, Failed> {
        let (operation, url) = (act.operation(), self.portal.rows_url(&table.id));
        let (mut tries, mut was_lost) = (self.portal.tries(), false);
        loop {
            let sent = self
                .portal
                .post(operation, &url, &self.login, body.clone(), &self.permit)
                .await;
            let reason = match self.judge(sent, &mut was_lost) {
                Step::Ended(upload) => return Ok(upload),
                Step::WithoutToken => continue,
                Step::Poll(asked) if tries.poll(asked).await => "accepted",
                Step::Poll(_) => return Err(Failed::new(RequestError::StillWorking, was_lost)),
                Step::Again(_, reason, asked) if tries.again(asked).await => reason,
                Step::Failed(error) | Step::Again(error, _, _) => {
                    return Err(Failed::new(error, was_lost));
                }
            };
            self.portal.count_retry(reason);
        }
    }

    /// What to do after one attempt. Sets `was_lost` if the upload may have been applied without an
    /// answer that says so.
    fn judge(&self, sent: Result<Answer, RequestError>, was_lost: &mut bool) -> Step {
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                *was_lost |= !matches!(error, RequestError::Connect(_) | RequestError::TooLate);
                return if error.may_succeed_later() {
                    Step::Again(error, "transport", None)
                } else {
                    Step::Failed(error)
                };
            }
        };
        let asked = asked_wait(&answer.headers, None);
        match verdict(answer.status) {
            Verdict::Done => {
                if let Some(counts) = Counts::read(&answer.body) {
                    return Step::Ended(Upload::Applied {
                        counts: Some(counts),
                        was_lost: *was_lost,
                    });
                }
                *was_lost = true;
                let what = "not a summary of a write";
                Step::Again(RequestError::NotJson { what }, "body", None)
            }
            Verdict::Poll => {
                *was_lost = true;
                Step::Poll(asked)
            }
            Verdict::Again(reason) => {
                *was_lost |= answer.status != StatusCode::TOO_MANY_REQUESTS;
                Step::Again(failure::of_answer(&answer), reason, asked)
            }
            Verdict::Final if self.portal.drop_token(&answer) => Step::WithoutToken,
            Verdict::Final if failure::says_rows_were_saved(&answer) => {
                Step::Ended(Upload::Applied {
                    counts: None,
                    was_lost: *was_lost,
                })
            }
            Verdict::Final => {
                let error = failure::of_answer(&answer);
                if answer.status == StatusCode::PAYLOAD_TOO_LARGE && !*was_lost {
                    Step::Ended(Upload::TooLarge(error))
                } else {
                    Step::Failed(error)
                }
            }
        }
    }
}

/// What to do after one attempt of an upload.
enum Step {
    Ended(Upload),
    Failed(RequestError),
    Again(RequestError, &'static str, Option<Duration>),
    Poll(Option<Duration>),
    WithoutToken,
}

impl Act {
    fn operation(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

impl Failed {
    fn new(error: RequestError, may_be_applied: bool) -> Self {
        Self {
            error,
            may_be_applied,
        }
    }

    fn after(self, table: &Table, done: WriteSummary) -> WriteError {
        let (id, done, source) = (table.id.clone(), Box::new(done), self.error);
        if self.may_be_applied {
            WriteError::Unknown { id, done, source }
        } else {
            WriteError::Refused { id, done, source }
        }
    }
}

impl WriteSummary {
    /// Whether none of the requests sent can still be carried out.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    fn add(&mut self, act: Act, rows: usize, counts: Option<Counts>, was_lost: bool) {
        let is_doubtful = was_lost || counts.is_some_and(|c| c.are_doubtful(act, rows as u64));
        let counts = counts.unwrap_or_default();
        self.sent += rows as u64;
        self.created = self.created.saturating_add(counts.created);
        self.updated = self.updated.saturating_add(counts.updated);
        self.deleted = self.deleted.saturating_add(counts.deleted);
        self.errors = self.errors.saturating_add(counts.errors);
        self.doubtful += u64::from(is_doubtful);
        self.unsettled += u64::from(was_lost);
        self.chunks += 1;
    }
}

/// Encodes as many of the first items as fit into one upload as a JSON list, and returns how many
/// there are.
fn chunk<T>(items: &[T], most: usize, put: &dyn Fn(&T, &mut Vec<u8>)) -> (Bytes, usize) {
    let (mut body, mut taken) = (vec![b'['], 0);
    for item in items.iter().take(most) {
        let before = body.len();
        if taken > 0 {
            body.push(b',');
        }
        put(item, &mut body);
        if taken > 0 && body.len() + 1 > MAX_BODY_BYTES {
            body.truncate(before);
            break;
        }
        taken += 1;
    }
    body.push(b']');
    (body.into(), taken)
}

/// Appends a value as JSON.
fn put_json<T: Serialize + ?Sized>(value: &T, body: &mut Vec<u8>) {
    serde_json::to_writer(body, value)
        .expect("writing to memory cannot fail, and names are strings");
}

/// A row must have a key and no system field that a portal would obey, such as `:deleted`.
fn check_row(table: &Table, row: &Map<String, Value>) -> Result<(), &'static str> {
    match row.get(&table.key_column) {
        Some(Value::String(key)) => check_key(key)?,
        Some(_) => return Err("its key is not text"),
        None => return Err("it has no key"),
    }
    if row.keys().any(|name| name.starts_with(':')) {
        return Err("it has a system field");
    }
    Ok(())
}

/// A portal drops NUL characters and composes combining ones, so some keys would match the row of
/// another key, or none.
fn check_key(key: &str) -> Result<(), &'static str> {
    if key.trim().is_empty() {
        Err("its key is empty")
    } else if key.contains('\0') || !is_nfc(key) {
        Err("a portal would confuse its key with another")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_limited_by_rows_and_by_bytes() {
        let put = |row: &String, body: &mut Vec<u8>| put_json(row, body);
        let small = vec!["x".to_owned(); 5];
        let (body, taken) = chunk(&small, 2, &put);
        assert_eq!((&body[..], taken), (&b"[\"x\",\"x\"]"[..], 2));
        let large = vec!["x".repeat(MAX_BODY_BYTES / 3); 5];
        let (body, taken) = chunk(&large, 10, &put);
        assert_eq!(taken, 2);
        assert!(body.len() <= MAX_BODY_BYTES);
        let huge = vec!["x".repeat(MAX_BODY_BYTES + 1); 2];
        assert_eq!(chunk(&huge, 10, &put).1, 1);
    }

    #[test]
    fn keys_that_a_portal_drops_or_confuses_are_refused() {
        for key in ["", " ", "\0", "\u{a0}\t", "a\0", "e\u{301}"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        for key in ["0", "\u{e9}", "a b"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }
}
