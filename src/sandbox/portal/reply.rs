//! A reply of the portal before it becomes HTTP: status, headers, body, how it is delivered, and
//! what the request log records about it. Contains the error bodies in the two forms of the real
//! portal, and the load balancer's pages.

use serde_json::{Value, json};

use super::soql::SoqlError;
use super::transport::Delivery;
use super::write::BodyError;

/// What a write changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteEffects {
    /// Rows created.
    pub created: usize,
    /// Rows overwritten.
    pub updated: usize,
    /// Rows deleted.
    pub deleted: usize,
    /// Rows reported as errors.
    pub errors: usize,
}

/// A reply.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The positions in the body where rows end.
    pub row_ends: Vec<usize>,
    pub delivery: Delivery,
    pub delay_ms: u64,
    pub replica: Option<usize>,
    pub effects: Option<WriteEffects>,
}

/// The header that says whether a read is out of date.
pub(super) const STALE_FLAG: &str = "x-soda2-data-out-of-date";

const JSON: &str = "application/json;charset=utf-8";

impl Reply {
    pub(super) fn with(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
            ..Reply::default()
        }
    }

    pub(super) fn json(status: u16, value: &Value) -> Reply {
        Reply::with(status, JSON, format!("{value}\n"))
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// An error in the form of the portal's front end.
    pub(super) fn refused(status: u16, code: &str, message: &str) -> Reply {
        Reply::json(
            status,
            &json!({"code": code, "error": true, "message": message}),
        )
    }

    /// An error in the form of the open-source server behind the front end.
    pub(super) fn failed(status: u16, code: &str, message: &str, data: &Value) -> Reply {
        Reply::json(
            status,
            &json!({"message": message, "errorCode": code, "data": data}),
        )
    }

    pub(super) fn html(status: u16, title: &str) -> Reply {
        let page = format!(
            "<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n\
             <center><h1>{status} {title}</h1></center>\r\n<hr><center>nginx</center>\r\n\
             </body>\r\n</html>\r\n"
        );
        Reply::with(status, "text/html", page)
    }

    pub(super) fn gateway(status: u16) -> Reply {
        let title = match status {
            502 => "Bad Gateway",
            503 => "Service Temporarily Unavailable",
            504 => "Gateway Time-out",
            _ => "Error",
        };
        Reply::html(status, title)
    }

    pub(super) fn login_page() -> Reply {
        Reply::with(200, "text/html; charset=utf-8", LOGIN_PAGE)
    }

    pub(super) fn no_dataset(id: &str) -> Reply {
        let body = json!({"code": "dataset.missing", "error": true, "message": "Not found",
            "data": {"id": id}});
        Reply::json(404, &body)
    }

    pub(super) fn no_row(id: &str) -> Reply {
        let message = format!("Row with identifier {id} was not found");
        Reply::failed(404, "soda.row.not-found", &message, &json!({"value": id}))
    }

    pub(super) fn not_found() -> Reply {
        Reply::failed(
            404,
            "not-found",
            "The requested resource was not found",
            &json!({}),
        )
    }

    pub(super) fn wrong_method(allowed: &str) -> Reply {
        Reply::failed(405, "method-not-allowed", "Method not allowed", &json!({}))
            .header("allow", allowed)
    }
}

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html>\n<head><title>Sign In</title></head>\n\
    <body><form action=\"/login\">Sign in to continue</form></body>\n</html>\n";

impl From<&SoqlError> for Reply {
    fn from(error: &SoqlError) -> Reply {
        let Some(code) = error.code() else {
            return Reply::refused(400, "query.compiler.malformed", &error.to_string());
        };
        let message = format!("Query coordinator error: {code}; {error}");
        let data = match error {
            SoqlError::NoSuchColumn(column) => json!({"column": column}),
            _ => json!({}),
        };
        Reply::failed(400, code, &message, &data)
    }
}

impl From<&BodyError> for Reply {
    fn from(error: &BodyError) -> Reply {
        let failed = |code, message: &str| Reply::failed(400, code, message, &json!({}));
        match error {
            BodyError::Malformed(source) => failed(
                "req.body.malformed-json",
                &format!("Malformed JSON body: {source}"),
            ),
            BodyError::MalformedCsv => failed("invalid-request", "Malformed CSV body"),
            BodyError::NotAnObject => failed(
                "soda.row.upsert-row-not-an-object",
                "Row data is not a JSON object",
            ),
            BodyError::UnknownField(field) => {
                let message = format!("Illegal field name sent: {field}");
                Reply::refused(400, "invalid_request", &message)
            }
            BodyError::Maltyped {
                field,
                expected,
                got,
            } => failed(
                "soda.column.maltyped",
                &format!(
                    "Column is maltyped; for field '{field}' we expected '{expected}' but got '{got}'"
                ),
            ),
            BodyError::DeleteWithoutKey => failed(
                "soda.row.delete-without-primary-key",
                "Delete without a row identifier",
            ),
        }
    }
}
