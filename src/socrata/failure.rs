//! What can go wrong between us and a portal, and what its error bodies say.
//!
//! Errors come in two JSON shapes, from the portal's front and from the server behind it, as HTML
//! from the load balancer, and as nothing at all. Their text is foreign: it is cut to 300
//! characters and its control characters are escaped before anyone sees it.

use std::borrow::Cow;

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde::Deserialize;

use super::portal::Answer;
use super::write::WriteSummary;
use crate::model::DatasetId;

/// The portal cannot be used as the settings describe it.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// Not the root of a portal, or plain HTTP to another machine.
    #[error("use portal {0:?}: want https://host/ (http:// for this machine only), nothing else")]
    Url(String),
    /// The app token has characters that no header can carry.
    #[error("use socrata.app_token: it has characters that cannot be sent")]
    AppToken,
    /// No HTTP client, for want of certificate authorities as a rule.
    #[error("prepare the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A secret that writing needs is not given.
    #[error("write to the portal without {0}")]
    MissingSecret(&'static str),
}

/// A table that cannot be read or written as the settings describe it.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table has no such column.
    #[error("find column {column:?} in {id}")]
    NoColumn {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
    },
    /// A name that cannot stand in a query.
    #[error("use column name {column:?} of {id} in a query")]
    Name {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
    },
    /// Keys must be text; days must be dates or text.
    #[error("use column {column:?} of {id}: its type is {found}, want {wanted}")]
    Type {
        /// The table.
        id: DatasetId,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The types that would do.
        wanted: &'static str,
    },
}

/// One request failed, after all its tries.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent.
    #[error("connect to the portal")]
    Connect(#[source] reqwest::Error),
    /// It was sent, or may have been, and no whole answer came.
    #[error("hear the portal's answer to its end")]
    Lost(#[source] reqwest::Error),
    /// An answer that says no.
    #[error("get more than status {status} from the portal: {message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The portal's code for it, such as `permission_denied`.
        code: Option<String>,
        /// The portal's words, cut and escaped.
        message: String,
    },
    /// We follow no redirects.
    #[error("read an answer that redirects to {target}")]
    Redirect {
        /// Where to, cut and escaped.
        target: String,
    },
    /// Not JSON, or not to its end.
    #[error("read the portal's answer as JSON: it is {what}")]
    NotJson {
        /// What it is.
        what: &'static str,
    },
    /// An answer larger than any page should be.
    #[error("read an answer of more than {limit} bytes")]
    TooBig {
        /// The limit.
        limit: usize,
    },
    /// Nothing but 202 for as long as we had patience.
    #[error("wait for the portal to finish what it accepted")]
    StillWorking,
    /// Nothing was sent: the time in which it may begin was over.
    #[error("begin a request while there is time for it: the lease may be over before it is")]
    TooLate,
}

/// Why a read proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A request failed.
    #[error("read {what} of {id}")]
    Request {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// How it failed.
        source: RequestError,
    },
    /// Every answer came from a replica that is behind.
    #[error("read {what} of {id} from an up-to-date replica in {tries} tries")]
    OutOfDate {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// How often it was asked.
        tries: u32,
    },
    /// The data changed under the read, each time it was begun.
    #[error("read {what} of {id} while it stands still, in {starts} starts: {why}")]
    Unsteady {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// How often it was begun.
        starts: u32,
        /// What changed last.
        why: String,
    },
    /// The portal's answers cannot all be true.
    #[error("believe what the portal says of {what} of {id}: {why}")]
    Contradiction {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
        /// How they contradict.
        why: String,
    },
    /// Columns or row identifier are not what they were when the table was looked up.
    #[error("read {what} of {id}: its columns or row identifier changed")]
    Reshaped {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
    },
    /// A 2.0 table: other rules for order, case and limits.
    #[error("read {what} of {id}: it stands on the portal's old backend")]
    Legacy {
        /// The table.
        id: DatasetId,
        /// What was read.
        what: String,
    },
    /// A key that no URL can hold.
    #[error("ask {id} for a key of {bytes} bytes")]
    KeyTooLong {
        /// The table.
        id: DatasetId,
        /// Its length.
        bytes: usize,
    },
}

/// Why a write did not come to its end. `done` is what was sent and answered before.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The metadata could not be read, so nothing was sent.
    #[error("make sure of the row identifier of {id}")]
    Unread {
        /// The table.
        id: DatasetId,
        /// Why not.
        source: Box<ReadError>,
    },
    /// Without the right row identifier a write is not idempotent. Nothing was sent.
    #[error("write to {id}: its row identifier is {found:?}, want {wanted:?}")]
    RowIdentifier {
        /// The table.
        id: DatasetId,
        /// The portal's.
        found: Option<String>,
        /// Our key column.
        wanted: String,
    },
    /// A row or key that must not be sent. Nothing was sent.
    #[error("send row {ordinal} to {id}: {why}")]
    Row {
        /// The table.
        id: DatasetId,
        /// Its place in the call, from 0.
        ordinal: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The portal refused a chunk whole: nothing of it is applied.
    #[error("write to {id}, after {} rows", done.sent)]
    Refused {
        /// The table.
        id: DatasetId,
        /// What was done before.
        done: Box<WriteSummary>,
        /// The refusal.
        source: RequestError,
    },
    /// Nobody knows whether a chunk is applied. Reading back tells.
    #[error("learn whether a chunk written to {id}, after {} rows, was applied", done.sent)]
    Unknown {
        /// The table.
        id: DatasetId,
        /// What was done before.
        done: Box<WriteSummary>,
        /// How the last try ended.
        source: RequestError,
    },
}

impl WriteError {
    /// Whether nothing of what was sent can still be carried out.
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

    /// Whether the same request may succeed another time.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect(error) => !error.is_builder(),
            Self::Lost(_) | Self::NotJson { .. } | Self::StillWorking => true,
            Self::Status { .. } | Self::Redirect { .. } | Self::TooBig { .. } | Self::TooLate => {
                false
            }
        }
    }

    /// The HTTP status, if that is what went wrong.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
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

/// Both JSON shapes at once: `code` from the front, `errorCode` from behind.
#[derive(Default, Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "errorCode")]
    error_code: Option<Cow<'a, str>>,
}

/// What an answer says that is no success.
pub(super) fn of_answer(answer: &Answer) -> RequestError {
    if answer.status.is_redirection()
        && let Some(target) = answer.headers.get(LOCATION)
    {
        return RequestError::redirected(&String::from_utf8_lossy(target.as_bytes()));
    }
    let (code, message) = words(&answer.body);
    RequestError::Status {
        status: answer.status.as_u16(),
        code,
        message: message.unwrap_or_else(|| reason(answer.status)),
    }
}

/// Code and message of an error body.
pub(super) fn words(body: &[u8]) -> (Option<String>, Option<String>) {
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
    status.canonical_reason().unwrap_or("no words").to_owned()
}

/// Whether the answer is the portal's no to our app token.
pub(super) fn refuses_token(answer: &Answer) -> bool {
    let (_, message) = words(&answer.body);
    let message = message.unwrap_or_default().to_ascii_lowercase();
    answer.status == StatusCode::FORBIDDEN && message.contains("invalid app_token")
}

/// Whether the answer says that the rows are in, though something after them failed.
pub(super) fn saved_nonetheless(answer: &Answer) -> bool {
    let (_, message) = words(&answer.body);
    answer.status == StatusCode::BAD_REQUEST
        && message.is_some_and(|message| message.starts_with("Row data was saved."))
}

/// Foreign text as it may be shown: at most 300 characters, control characters escaped.
fn harmless(text: &str) -> String {
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

/// Control characters, and those that turn the direction of what follows.
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
        }
    }

    fn said(body: &str) -> (Option<String>, String) {
        match of_answer(&answer(400, body)) {
            RequestError::Status { code, message, .. } => (code, message),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn both_json_shapes_are_read() {
        let (code, message) = said(
            r#"{"code":"dataset.missing","error":true,"message":"Not found","data":{"id":"zzzz-zzzz"}}"#,
        );
        assert_eq!(
            (code.as_deref(), &*message),
            (Some("dataset.missing"), "Not found")
        );
        let (code, message) = said(
            r#"{"message":"No such \u0063olumn: x","errorCode":"query.soql.no-such-column","data":{}}"#,
        );
        assert_eq!(code.as_deref(), Some("query.soql.no-such-column"));
        assert_eq!(message, "No such column: x");
        let (code, message) =
            said("{\n  \"error\" : true,\n  \"message\" : \"Unrecognized arguments [x]\"\n}");
        assert_eq!((code, &*message), (None, "Unrecognized arguments [x]"));
    }

    #[test]
    fn pages_and_nothing_are_told_in_few_words() {
        assert_eq!(said("<html>\n503</html>").1, "a web page");
        assert_eq!(said("").1, "Bad Request");
        assert_eq!(said("try later\n").1, "try later");
    }

    #[test]
    fn hostile_words_are_cut_and_escaped() {
        let body = serde_json::json!({"message": "\u{1b}[2J\r\n\u{202e}evil".to_owned() + &"x".repeat(9_999)});
        let (_, message) = said(&body.to_string());
        assert!(message.starts_with("\\u{1b}[2J\\u{d}\\u{a}\\u{202e}evil"));
        assert_eq!(message.chars().count(), 300);
        assert!(!message.chars().any(is_unseen));
        let (_, message) = said(&"\u{0}".repeat(9_999));
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
