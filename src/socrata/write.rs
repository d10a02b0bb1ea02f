//! Writing to a portal: upserts, and deletes by key. The only code that changes one.
//!
//! Both are POSTs of rows to the table; the path that deletes a row, and with a slip the table, is
//! never used. Nothing is sent unless the portal's metadata, read anew, name our key column as the
//! row identifier: only then may an upload be repeated. An upload whose answer was lost is sent
//! again and counted as doubtful. Counts prove nothing; the caller reads back what matters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::is_nfc;

use super::failure::{self, PortalError, RequestError, WriteError};
use super::portal::{Answer, Credentials, Portal};
use super::retry::{Verdict, asked_wait, verdict};
use super::summary::{Act, Counts};
use super::table::{self, Table};
use crate::model::RowKey;
use crate::settings::SocrataSettings;

/// Largest upload.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Says whether a request may begin now. Asked last thing before each is sent, each new try too.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// Changes tables of a portal.
pub struct Writer {
    portal: Arc<Portal>,
    user: String,
    password: SecretString,
    chunk_rows: usize,
    permit: Permit,
}

/// What the portal said of a write, added up. None of it proves what stands there now.
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
    /// Uploads whose answer was lost, so that they were sent again, or contradicts what was sent.
    pub doubtful: u64,
    /// Uploads of which an earlier try was not told to have failed: it may still be carried out.
    pub unsettled: u64,
    /// Uploads answered.
    pub chunks: u64,
}

/// How one upload ended.
enum Upload {
    /// Applied. `None`: the portal says so and counts nothing.
    Applied {
        counts: Option<Counts>,
        was_lost: bool,
    },
    TooLarge(RequestError),
}

/// An upload that failed, and whether it may have been applied all the same.
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
    /// A writer that sends through `portal`. Sends nothing yet.
    ///
    /// # Errors
    /// If the user name or the password is missing, by its settings key.
    pub fn new(portal: Arc<Portal>, settings: &SocrataSettings) -> Result<Self, PortalError> {
        let missing = PortalError::MissingSecret;
        let user = settings.username.clone().filter(|user| !user.is_empty());
        let password = settings.password.clone();
        Ok(Self {
            portal,
            user: user.ok_or(missing("socrata.username"))?,
            password: password.ok_or(missing("socrata.password"))?,
            chunk_rows: usize::try_from(settings.chunk_rows)
                .unwrap_or(usize::MAX)
                .max(1),
            permit: Arc::new(|| true),
        })
    }

    /// The same writer, which begins no request unless `permit` says that it may.
    #[must_use]
    pub fn only_while(&self, permit: Permit) -> Self {
        Self {
            portal: Arc::clone(&self.portal),
            user: self.user.clone(),
            password: self.password.clone(),
            chunk_rows: self.chunk_rows,
            permit,
        }
    }

    /// Creates or updates rows by their key. Fields that a row leaves out stay as they are; `null`
    /// clears them. Of rows with one key the last stands.
    ///
    /// # Errors
    /// If the row identifier is not the key column or a row has no key (nothing is sent), or an
    /// upload fails; uploads before it stay applied.
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

    /// Deletes the rows that have these keys. Keys without a row count as errors, and are fine.
    ///
    /// # Errors
    /// If the row identifier is not the key column or a key is empty (nothing is sent), or an
    /// upload fails; uploads before it stay applied.
    pub async fn delete(&self, table: &Table, keys: &[RowKey]) -> Result<WriteSummary, WriteError> {
        for (ordinal, key) in keys.iter().enumerate() {
            let RowKey::Text(text) = key else {
                continue; // an MD5 is a key that no portal takes for another
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

    /// The row identifier is the key column: by the table as it was looked up, and by metadata
    /// read now.
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

    /// Sends one chunk, again and again where that may help.
    async fn upload(&self, table: &Table, act: Act, body: Bytes) -> Result<Upload, Failed> {
        let (operation, url) = (act.operation(), self.portal.rows_url(&table.id));
        let credentials = Credentials {
            user: &self.user,
            password: &self.password,
        };
        let (mut tries, mut was_lost) = (self.portal.tries(), false);
        loop {
            let sent = self
                .portal
                .post(operation, &url, credentials, body.clone(), &self.permit)
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

    /// What to do after one try. `was_lost` becomes true if the upload may have been applied
    /// without our being told so.
    fn judge(&self, sent: Result<Answer, RequestError>, was_lost: &mut bool) -> Step {
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                *was_lost |= !matches!(error, RequestError::Connect(_) | RequestError::TooLate);
                return if error.may_pass() {
                    Step::Again(error, "transport", None)
                } else {
                    Step::Failed(error)
                };
            }
        };
        let asked = asked_wait(&answer.headers);
        match verdict(answer.status) {
            Verdict::Done => {
                if let Some(counts) = Counts::read(&answer.body) {
                    return Step::Ended(Upload::Applied {
                        counts: Some(counts),
                        was_lost: *was_lost,
                    });
                }
                *was_lost = true;
                let what = "no summary of a write";
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
            Verdict::Final if failure::saved_nonetheless(&answer) => Step::Ended(Upload::Applied {
                counts: None,
                was_lost: *was_lost,
            }),
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

/// What to do after one try of an upload.
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
    /// Whether nothing of what was sent can still be carried out.
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

/// As many of the first items as one upload may have, as a JSON list, and how many they are.
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
    serde_json::to_writer(body, value).expect("memory takes any text, and names are texts");
}

/// A row must have a key, and no field that is an order to the portal, such as `:deleted`.
fn check_row(table: &Table, row: &Map<String, Value>) -> Result<(), &'static str> {
    match row.get(&table.key_column) {
        Some(Value::String(key)) => check_key(key)?,
        Some(_) => return Err("its key is no text"),
        None => return Err("it has no key"),
    }
    if row.keys().any(|name| name.starts_with(':')) {
        return Err("it has a system field");
    }
    Ok(())
}

/// A portal drops NUL characters and composes the others, so that some keys would hit the row of
/// another key, or none.
fn check_key(key: &str) -> Result<(), &'static str> {
    if key.trim().is_empty() {
        Err("its key is empty")
    } else if key.contains('\0') || !is_nfc(key) {
        Err("a portal would take its key for another")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_bounded_by_rows_and_by_bytes() {
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
    fn keys_that_a_portal_takes_for_none_or_for_others_are_refused() {
        for key in ["", " ", "\0", "\u{a0}\t", "a\0", "e\u{301}"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        for key in ["0", "\u{e9}", "a b"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }
}
