//! Maps paths and methods to what they do.

use axum::http::request::Parts;
use axum::http::{Method, header};
use serde_json::{Value, json};
use tracing::error;

use super::Portal;
use super::faults::{Fault, Operation};
use super::http::{accepts_gzip, text};
use super::publish::Post;
use super::read::Read;
use super::reply::Reply;

/// A request, split into its parts.
pub(super) struct Call<'a> {
    pub(super) parts: &'a Parts,
    pub(super) segments: Vec<String>,
    pub(super) params: Vec<(String, String)>,
    pub(super) body: &'a [u8],
    pub(super) fault: Option<Fault>,
}

impl Portal {
    pub(super) fn dispatch(&self, call: &Call<'_>) -> Reply {
        let path: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        let method = match call.parts.method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        match path.as_slice() {
            ["resource", file] => self.resource(method, file, call),
            ["resource", id, row] => self.row(method, id, row, call),
            ["api", "views.json"] if method == "GET" => self.list_metadata(),
            ["api", "views", file] => self.view(method, stem(file)),
            ["api", "views", id, file] if stem(file) == "rows" => deprecated(id),
            ["api", "id", file] if method == "GET" => self.get(file, &call.params, call),
            ["api", "v3", "views", id, file] if stem(file) == "query" => {
                self.v3(method, id, file, call)
            }
            _ => Reply::not_found(),
        }
    }

    fn resource(&self, method: &str, file: &str, call: &Call<'_>) -> Reply {
        match method {
            "GET" => self.get(file, &call.params, call),
            "DELETE" => self.truncate(stem(file)),
            "POST" | "PUT" => {
                let kind = text(&call.parts.headers, header::CONTENT_TYPE);
                // sodapy sends no content type, and the real portal then assumes JSON.
                let kind = kind.unwrap_or("application/json");
                let csv = kind.starts_with("text/csv");
                if !csv && !kind.starts_with("application/json") {
                    return wrong_content_type(kind);
                }
                self.post(&Post {
                    dataset: stem(file),
                    body: call.body,
                    csv,
                    replace: method == "PUT",
                    fault: call.fault.as_ref(),
                })
            }
            _ => Reply::wrong_method("GET, POST, PUT, DELETE"),
        }
    }

    fn row(&self, method: &str, id: &str, row: &str, call: &Call<'_>) -> Reply {
        let known = row.strip_suffix(".json").unwrap_or(row);
        match method {
            "GET" => self.read_row(id, known),
            "POST" => self.post_row(id, known, call.body),
            "DELETE" => self.delete_row(id, known, call.fault.as_ref()),
            _ => Reply::wrong_method("GET, POST, DELETE"),
        }
    }

    fn view(&self, method: &str, id: &str) -> Reply {
        match method {
            "GET" => self.read_metadata(id),
            "DELETE" => {
                // On the real portal this removes the dataset. A client sends it by mistake when it
                // deletes a row with an empty identifier.
                error!(dataset = %id, "refused to delete the whole dataset {id}");
                let message = "The sandbox refuses to delete a whole dataset";
                Reply::refused(403, "permission_denied", message)
            }
            _ => Reply::wrong_method("GET, DELETE"),
        }
    }

    fn v3(&self, method: &str, id: &str, file: &str, call: &Call<'_>) -> Reply {
        let statement = match method {
            "GET" => param(&call.params, "query").map(str::to_owned),
            _ => serde_json::from_slice::<Value>(call.body)
                .ok()
                .and_then(|sent| sent["query"].as_str().map(str::to_owned)),
        };
        let Some(statement) = statement else {
            return Reply::failed(
                400,
                "req.no-query-specified",
                "No query specified",
                &json!({}),
            );
        };
        let params = [("$query".to_owned(), statement)];
        self.get(&file.replacen("query", id, 1), &params, call)
    }

    fn get(&self, file: &str, params: &[(String, String)], call: &Call<'_>) -> Reply {
        let headers = &call.parts.headers;
        let accept = text(headers, header::ACCEPT).unwrap_or_default();
        let csv = match file.split_once('.') {
            Some((_, extension)) if !matches!(extension, "json" | "csv") => {
                let message = "The schema is not compatible with the mime type";
                return Reply::failed(406, "schema-invalid-for-mime-type", message, &json!({}));
            }
            Some((_, extension)) => extension == "csv",
            None => accept.starts_with("text/csv"),
        };
        self.read(&Read {
            dataset: stem(file),
            csv,
            params,
            if_modified_since: text(headers, header::IF_MODIFIED_SINCE),
            if_none_match: text(headers, header::IF_NONE_MATCH),
            gzip: accepts_gzip(headers),
            fault: call.fault.as_ref(),
        })
    }
}

fn wrong_content_type(kind: &str) -> Reply {
    Reply::failed(
        415,
        "req.content-type.not-json",
        "Not JSON",
        &json!({"content-type": kind}),
    )
}

fn deprecated(id: &str) -> Reply {
    let message = format!("This way of downloading {id} is no longer offered");
    Reply::refused(410, "feature_deprecated", &message)
        .header("sunset", "Tue, 22 Dec 2026 00:00:00 GMT")
}

pub(super) fn param<'p>(params: &'p [(String, String)], name: &str) -> Option<&'p str> {
    params
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

pub(super) fn segments(path: &str) -> Vec<String> {
    // A plus in a path is a plus. Form decoding would change it.
    let decoded = |segment: &str| {
        let mut pairs = url::form_urlencoded::parse(segment.as_bytes());
        pairs
            .next()
            .map_or(String::new(), |(name, _)| name.into_owned())
    };
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            decoded(
                &segment
                    .replace('+', "%2B")
                    .replace('=', "%3D")
                    .replace('&', "%26"),
            )
        })
        .collect()
}

fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

pub(super) fn dataset(segments: &[String]) -> Option<&str> {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["resource", id, ..] | ["api", "views" | "id", id, ..] | ["api", "v3", "views", id, ..] => {
            Some(stem(id))
        }
        _ => None,
    }
}

pub(super) fn operation(method: &Method, segments: &[String]) -> Operation {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api", "v3", ..] => Operation::Read,
        ["api", "views" | "views.json", ..] if reads => Operation::Metadata,
        _ if reads => Operation::Read,
        _ => Operation::Write,
    }
}
