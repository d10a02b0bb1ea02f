//! Errors between us and a portal, and the parsing of its error bodies.
//!
//! Errors come in two JSON formats, from the portal's front end and from the server behind it, as
//! HTML from the load balancer, or with an empty body. Their text is untrusted: it is cut to 300
//! characters and its control characters are escaped before it is shown.

use std::borrow::Cow;

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde::Deserialize;

use super::denial::Denial;
use super::portal::Answer;
use super::write::WriteSummary;
use crate::model::DatasetId;

/// The portal cannot be used with these settings.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// Not the root of a portal, or plain HTTP to another machine.
    #[error("socrata.url is {0:?}; expected https://host/ (http:// only for this machine)")]
    Url(String),
    /// The app token contains characters that are not allowed in a header.
    #[error("socrata.app_token contains characters that cannot be sent")]
    AppToken,
    /// The HTTP client could not be created, usually because there are no certificate authorities.
    #[error("cannot create the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A secret required for writing is not set.
    #[error("{0} is not set; writing to the portal needs it")]
    MissingSecret(&'static str),
    /// A secret required for reading with a login is not set.
    #[error("{0} is not set; socrata.read_as = \"login\" needs it")]
    MissingReadLogin(&'static str),
}

/// A table cannot be read or written with these settings.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table has no such column.
    #[error("{id} has no column {column:?}")]
    NoColumn {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
    },
    /// A name that cannot be used in a query.
    #[error("the name of column {column:?} of {id} cannot be used in a query")]
    Name {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
    },
    /// A key column must be text; a day column must be a date or text.
    #[error("column {column:?} of {id} has type {found}; expected {wanted}")]
    Type {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The types that are allowed.
        wanted: &'static str,
    },
}

/// One request failed, after all its attempts.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent.
    #[error("cannot connect to the portal")]
    Connect(#[source] reqwest::Error),
    /// The request was sent, or may have been, and no complete answer was received.
    #[error("the portal's answer broke off")]
    Lost(#[source] reqwest::Error),
    /// An answer with an error status.
    #[error("the portal answered with status {status}: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The portal's error code, such as `permission_denied`.
        code: Option<String>,
        /// The portal's message, cut and escaped.
        message: String,
    },
    /// An answer that denies access, or says that the table does not exist.
    #[error("{denial} (status {status}: {message}); {}", denial.todo())]
    Denied {
        /// What it means.
        denial: Denial,
        /// HTTP status: 401, 403 or 404.
        status: u16,
        /// The portal's message, cut and escaped.
        message: String,
    },
    /// A redirect, which is not followed.
    #[error("the portal redirects to {target}, and redirects are not followed")]
    Redirect {
        /// Its target, cut and escaped.
        target: String,
    },
    /// The answer is not JSON, or not complete.
    #[error("the portal's answer is not JSON: it is {what}")]
    NotJson {
        /// What it is instead.
        what: &'static str,
    },
    /// The answer is larger than any page should be.
    #[error("the portal's answer is longer than {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
    /// The portal answered only 202 until the time limit.
    #[error("the portal accepted the request but did not finish it in time")]
    StillWorking,
    /// Nothing was sent: there was not enough time left to start the request.
    #[error(
        "not enough time is left for another request: the lease might expire before the answer arrives"
    )]
    TooLate,
}

/// A read that is inconclusive.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A request failed.
    #[error("cannot read {what} of {id}")]
    Request {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// The cause.
        source: RequestError,
    },
    /// Every answer came from a replica that is behind.
    #[error("cannot read {what} of {id}: no replica was up to date in {tries} attempts")]
    OutOfDate {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// Number of attempts.
        tries: u32,
    },
    /// Some answers did not say whether they are up to date, which the caller requires.
    #[error(
        "cannot rely on {what} of {id}: the portal does not confirm that its answers are up to date"
    )]
    FreshnessUnknown {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
    },
    /// The data changed during every attempt to read it.
    #[error("cannot read {what} of {id}: the data changed during each of {starts} attempts: {why}")]
    Unsteady {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// Number of attempts.
        starts: u32,
        /// What changed during the last one.
        why: String,
    },
    /// The portal's answers contradict each other.
    #[error("the portal's answers about {what} of {id} contradict each other: {why}")]
    Contradiction {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// The contradiction.
        why: String,
    },
    /// The columns or the row identifier have changed since the table's metadata were read.
    #[error("cannot read {what} of {id}: its columns or its row identifier changed")]
    Reshaped {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
    },
    /// A table on the 2.0 backend, which has other rules for order, case and limits.
    #[error("cannot read {what} of {id}: the dataset is on the portal's old backend")]
    Legacy {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
    },
    /// A key that is too long for a URL.
    #[error("a key of {bytes} bytes is too long to be requested from {id}")]
    KeyTooLong {
        /// The table.
        id: DatasetId,
        /// Its length in bytes.
        bytes: usize,
    },
}

/// A write that was not completed. `done` is what was sent and answered before.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The metadata could not be read, so nothing was sent.
    #[error("cannot verify the row identifier of {id}")]
    Unread {
        /// The table.
        id: DatasetId,
        /// The cause.
        source: Box<ReadError>,
    },
    /// Without the right row identifier a write is not idempotent. Nothing was sent.
    #[error("cannot write to {id}: its row identifier is {found:?}, expected {wanted:?}")]
    RowIdentifier {
        /// The table.
        id: DatasetId,
        /// The portal's row identifier.
        found: Option<String>,
        /// Our key column.
        wanted: String,
    },
    /// A row or key that must not be sent. Nothing was sent.
    #[error("cannot send row {ordinal} to {id}: {why}")]
    Row {
        /// The table.
        id: DatasetId,
        /// Its index in the call, from 0.
        ordinal: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The portal refused a chunk as a whole: none of it was applied.
    #[error("cannot write to {id}; {} rows had already been written", done.sent)]
    Refused {
        /// The table.
        id: DatasetId,
        /// What was written before.
        done: Box<WriteSummary>,
        /// The refusal.
        source: RequestError,
    },
    /// It is unknown whether a chunk was applied. Only reading the rows shows it.
    #[error("it is unknown whether {id} applied the chunk that was sent after {} rows", done.sent)]
    Unknown {
        /// The table.
        id: DatasetId,
        /// What was written before.
        done: Box<WriteSummary>,
        /// The error of the last attempt.
        source: RequestError,
    },
}

impl WriteError {
    /// Whether none of the requests sent can still be carried out.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Unread { .. } | Self::RowIdentifier { .. } | Self::Row { .. } => true,
            Self::Refused { done, .. } => done.is_settled(),
            Self::Unknown { .. } => false,
        }
    }
}

impl RequestError {
    pub(super) fn of_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            Self::Connect(error)
        } else {
            Self::Lost(error)
        }
    }

    pub(super) fn of_body(error: reqwest::Error) -> Self {
        Self::Lost(error.without_url())
    }

    pub(super) fn redirected(target: &str) -> Self {
        Self::Redirect {
            target: harmless(target),
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn may_succeed_later(&self) -> bool {
        match self {
            Self::Connect(error) => !error.is_builder(),
            Self::Lost(_) | Self::NotJson { .. } | Self::StillWorking => true,
            Self::Status { .. }
            | Self::Denied { .. }
            | Self::Redirect { .. }
            | Self::TooBig { .. }
            | Self::TooLate => false,
        }
    }

    /// Whether the portal seems to be down, as opposed to refusing this request.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        let again = |status| matches!(status, 408 | 429 | 500..=599);
        self.may_succeed_later() || self.status().is_some_and(again)
    }

    /// The HTTP status, if that is the error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Denied { status, .. } => Some(*status),
            Self::Connect(_)
            | Self::Lost(_)
            | Self::Redirect { .. }
            | Self::NotJson { .. }
            | Self::TooBig { .. }
            | Self::StillWorking
            | Self::TooLate => None,
        }
    }
}

/// Both JSON formats at once: `code` from the front end, `errorCode` from the server behind it.
#[derive(Default, Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "errorCode")]
    error_code: Option<Cow<'a, str>>,
}

/// The error in an answer that is not a success.
pub(super) fn of_answer(answer: &Answer) -> RequestError {
    if answer.status.is_redirection()
        && let Some(target) = answer.headers.get(LOCATION)
    {
        return RequestError::redirected(&String::from_utf8_lossy(target.as_bytes()));
    }
    let status = answer.status.as_u16();
    let (code, message) = code_and_message(&answer.body);
    let message = message.unwrap_or_else(|| reason(answer.status));
    match Denial::of(answer, &message) {
        Some(denial) => RequestError::Denied {
            denial,
            status,
            message,
        },
        None => RequestError::Status {
            status,
            code,
            message,
        },
    }
}

/// Code and message of an error body.
pub(super) fn code_and_message(body: &[u8]) -> (Option<String>, Option<String>) {
    let body = body.trim_ascii();
    if let Ok(ErrorBody {
        message,
        code,
        error_code,
    }) = serde_json::from_slice(body)
    {
        let code = code.or(error_code).map(|code| harmless(&code));
        return (code, message.map(|message| harmless(&message)));
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(2_000)]);
    let is_page = text.starts_with('<');
    let message = (!text.is_empty() && !is_page).then(|| harmless(&text));
    (None, message.or(is_page.then(|| "a web page".to_owned())))
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("no message").to_owned()
}

/// Whether the answer refuses our app token.
pub(super) fn refuses_token(answer: &Answer) -> bool {
    let (_, message) = code_and_message(&answer.body);
    let message = message.unwrap_or_default().to_ascii_lowercase();
    answer.status == StatusCode::FORBIDDEN && message.contains("invalid app_token")
}

/// Whether the answer says that the rows were saved although something failed afterwards.
pub(super) fn says_rows_were_saved(answer: &Answer) -> bool {
    let (_, message) = code_and_message(&answer.body);
    answer.status == StatusCode::BAD_REQUEST
        && message.is_some_and(|message| message.starts_with("Row data was saved."))
}

/// Untrusted text made safe to show: at most 300 characters, control characters escaped.
pub(super) fn harmless(text: &str) -> String {
    let shown = |c: char| -> String {
        if is_unseen(c) {
            c.escape_unicode().collect()
        } else {
            c.into()
        }
    };
    let mut harmless = String::new();
    for piece in text.chars().map(shown) {
        if harmless.chars().count() + piece.chars().count() > 299 {
            harmless.push('…');
            break;
        }
        harmless.push_str(&piece);
    }
    harmless
}

/// Whether a character is a control character or changes the direction of the text after it.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
            requests: 1,
            with_token: true,
            with_login: false,
        }
    }

    fn parsed(body: &str) -> (Option<String>, String) {
        match of_answer(&answer(400, body)) {
            RequestError::Status { code, message, .. } => (code, message),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn both_json_shapes_are_read() {
        let (code, message) = parsed(
            r#"{"code":"dataset.missing","error":true,"message":"Not found","data":{"id":"zzzz-zzzz"}}"#,
        );
        assert_eq!(
            (code.as_deref(), &*message),
            (Some("dataset.missing"), "Not found")
        );
        let (code, message) = parsed(
            r#"{"message":"No such \u0063olumn: x","errorCode":"query.soql.no-such-column","data":{}}"#,
        );
        assert_eq!(code.as_deref(), Some("query.soql.no-such-column"));
        assert_eq!(message, "No such column: x");
        let (code, message) =
            parsed("{\n  \"error\" : true,\n  \"message\" : \"Unrecognized arguments [x]\"\n}");
        assert_eq!((code, &*message), (None, "Unrecognized arguments [x]"));
    }

    #[test]
    fn a_web_page_or_an_empty_body_gets_a_short_message() {
        assert_eq!(parsed("<html>\n503</html>").1, "a web page");
        assert_eq!(parsed("").1, "Bad Request");
        assert_eq!(parsed("try later\n").1, "try later");
    }

    #[test]
    fn hostile_messages_are_cut_and_escaped() {
        let body = serde_json::json!({"message": "\u{1b}[2J\r\n\u{202e}evil".to_owned() + &"x".repeat(9_999)});
        let (_, message) = parsed(&body.to_string());
        assert!(message.starts_with("\\u{1b}[2J\\u{d}\\u{a}\\u{202e}evil"));
        assert_eq!(message.chars().count(), 300);
        assert!(!message.chars().any(is_unseen));
        let (_, message) = parsed(&"\u{0}".repeat(9_999));
        assert!(message.chars().count() <= 300);
    }

    #[test]
    fn an_app_token_is_refused_by_its_message_only() {
        let refusal =
            r#"{"code":"permission_denied","error":true,"message":"Invalid app_token specified"}"#;
        assert!(refuses_token(&answer(403, refusal)));
        assert!(!refuses_token(&answer(401, refusal)));
        assert!(!refuses_token(&answer(
            403,
            r#"{"code":"permission_denied","message":"no"}"#
        )));
    }
}
