//! The wire: which path and method means what, logins and app tokens, throttling, compression, the
//! request log, and the faults that strike before anything is done.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is an answer, and ends the request"
)]

use std::io::{Read as _, Write as _};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tracing::error;
use uuid::Uuid;

use super::faults::{Fault, Hint, Operation};
use super::publish::Post;
use super::read::{Read, http_date};
use super::reply::Reply;
use super::transport::{Delivery, Line, body};
use super::{Arrival, Portal, RequestRecord, User};

/// The portal as something axum can serve.
pub(super) fn service(portal: Portal) -> IntoMakeServiceWithConnectInfo<Router, Line> {
    Router::new()
        .fallback(handle)
        .with_state(portal)
        .into_make_service_with_connect_info::<Line>()
}

async fn handle(
    State(portal): State<Portal>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, incoming) = request.into_parts();
    let most = portal.inner.options.max_body_bytes;
    let received = to_bytes(incoming, most).await.ok();
    let gzip = accepts_gzip(&parts.headers);
    let request_id = request_id(&parts.headers);
    let head_only = parts.method == Method::HEAD;
    let peer = line.peer.ip().to_string();
    // queries over many rows must not hold up the other connections
    let answered =
        tokio::task::spawn_blocking(move || portal.answer(&parts, received.as_deref(), &peer))
            .await;
    let reply = answered.unwrap_or_else(|_| Reply::gateway(502));
    if reply.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(reply.delay_ms)).await;
    }
    if reply.delivery == Delivery::Unsent {
        line.cut();
    }
    response(reply, gzip && !head_only, &request_id)
}

fn request_id(headers: &HeaderMap) -> String {
    let sent = headers
        .get("x-socrata-requestid")
        .and_then(|value| value.to_str().ok());
    sent.filter(|id| id.len() == 32)
        .map_or_else(|| Uuid::now_v7().simple().to_string(), str::to_owned)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    text(headers, header::ACCEPT_ENCODING).is_some_and(|encodings| encodings.contains("gzip"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn response(mut reply: Reply, gzip: bool, request_id: &str) -> Response {
    let plain = !matches!(reply.delivery, Delivery::Whole) || reply.body.is_empty();
    if gzip && !plain {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if encoder.write_all(&reply.body).is_ok()
            && let Ok(packed) = encoder.finish()
        {
            reply.body = packed;
            reply.headers.push(("content-encoding", "gzip".to_owned()));
        }
    }
    let empty = reply.body.is_empty();
    let content = std::mem::take(&mut reply.body);
    let sent = if empty {
        Body::empty()
    } else {
        body(content, &reply.delivery)
    };
    let mut response = Response::new(sent);
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let always = [
        ("server", "nginx"),
        ("access-control-allow-origin", "*"),
        ("vary", "Accept-Encoding"),
        ("age", "0"),
        ("x-socrata-region", "sandbox"),
        ("x-socrata-requestid", request_id),
    ];
    let own = reply
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    for (name, value) in always.into_iter().chain(own) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A request taken apart.
struct Call<'a> {
    parts: &'a Parts,
    segments: Vec<String>,
    params: Vec<(String, String)>,
    body: &'a [u8],
    fault: Option<Fault>,
}

impl Portal {
    fn answer(&self, parts: &Parts, body: Option<&[u8]>, peer: &str) -> Reply {
        let query = parts.uri.query().unwrap_or_default();
        let params: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let shown: Vec<String> = params
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut record = RequestRecord {
            at: self.now(),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: shown.join("&"),
            status: 0,
            request_bytes: body.map_or(0, <[u8]>::len),
            reply_bytes: 0,
            effects: None,
            replica: None,
            fault: None,
            user: None,
        };
        let witness = self.witness();
        if let Some(witness) = &witness {
            witness.arrives(&Arrival {
                method: &record.method,
                path: &record.path,
                query: &record.query,
                body,
            });
        }
        let reply = self
            .admitted(parts, body, peer, params, &mut record)
            .unwrap_or_else(|refusal| refusal);
        record.status = reply.status;
        record.reply_bytes = reply.body.len();
        record.effects = reply.effects;
        record.replica = reply.replica;
        if let Some(witness) = &witness {
            witness.answered(&record);
        }
        self.inner.requests.lock().push(record);
        reply
    }

    fn admitted(
        &self,
        parts: &Parts,
        body: Option<&[u8]>,
        peer: &str,
        params: Vec<(String, String)>,
        record: &mut RequestRecord,
    ) -> Result<Reply, Reply> {
        let target = parts
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if target > self.inner.options.max_uri_bytes {
            return Err(Reply::html(414, "Request-URI Too Large"));
        }
        let body = body.ok_or_else(|| Reply::html(413, "Request Entity Too Large"))?;
        let token = text(&parts.headers, HeaderName::from_static("x-app-token"));
        let token = token.or_else(|| param(&params, "$$app_token"));
        self.throttle(token.unwrap_or(peer))?;
        self.check_token(token)?;
        let user = self.login(&parts.headers)?;
        record.user = user.map(|user| user.name.clone());
        let segments = segments(parts.uri.path());
        let dataset = dataset(&segments);
        let operation = operation(&parts.method, &segments);
        self.permit(operation, dataset, user)?;
        let running = self.enter(dataset)?;
        let fault = self.strike(operation, dataset, &record.query);
        record.fault.clone_from(&fault);
        if let Some(reply) = fault
            .as_ref()
            .and_then(|fault| self.instead(fault, parts, body.len()))
        {
            return Err(reply);
        }
        let unpacked = unpacked(&parts.headers, body, self.inner.options.max_body_bytes)?;
        let call = Call {
            parts,
            segments,
            params,
            body: &unpacked,
            fault,
        };
        if let Some(Fault::Late { ms }) = call.fault {
            // this thread is the request's own, and goes on after a client that gave up
            std::thread::sleep(Duration::from_millis(ms));
        }
        let mut reply = self.dispatch(&call);
        drop(running);
        match call.fault {
            Some(Fault::Delay { ms }) => reply.delay_ms = ms,
            Some(Fault::Drip { bytes, pause_ms }) => {
                reply.delivery = Delivery::Dripped(bytes, Duration::from_millis(pause_ms));
            }
            Some(Fault::Stall { after_bytes }) => reply.delivery = Delivery::Stalled(after_bytes),
            _ => {}
        }
        Ok(reply)
    }

    fn strike(&self, operation: Operation, dataset: Option<&str>, query: &str) -> Option<Fault> {
        let mut rng = self.inner.rng.lock();
        self.inner
            .armed
            .lock()
            .strike(operation, dataset, query, &mut rng)
    }

    /// The reply of a fault that strikes before anything is done.
    fn instead(&self, fault: &Fault, parts: &Parts, received: usize) -> Option<Reply> {
        Some(match fault {
            Fault::Throttled {
                retry_after_seconds,
            } => throttled(*retry_after_seconds),
            Fault::Accepted { hint } => self.accepted(*hint, parts),
            Fault::LockConflict => Reply::failed(
                500,
                "internal-error",
                "Internal error",
                &json!({"tag": Uuid::now_v7().to_string()}),
            ),
            Fault::Gateway { status } => Reply::gateway(*status),
            Fault::EmptyGatewayTimeout => Reply {
                status: 504,
                ..Reply::default()
            },
            Fault::Unavailable => Reply::failed(
                503,
                "service-unavailable",
                "Service unavailable",
                &json!({}),
            ),
            Fault::QueryTimeout => Reply::failed(
                408,
                "request-timeout",
                "Request timed out",
                &json!({"customTimeout": null}),
            ),
            Fault::LoginPage => Reply::login_page(),
            Fault::TooLarge { bytes } if received > *bytes => {
                Reply::html(413, "Request Entity Too Large")
            }
            Fault::Reset => Reply {
                delivery: Delivery::Unsent,
                ..Reply::gateway(502)
            },
            _ => return None,
        })
    }

    fn accepted(&self, hint: Hint, parts: &Parts) -> Reply {
        let mut document = json!({"code": "accepted", "error": false});
        if hint == Hint::Ticket {
            document["ticket"] = json!("sandbox-ticket");
        }
        let reply = Reply::json(202, &document);
        match hint {
            Hint::None | Hint::Ticket => reply,
            Hint::Seconds => reply.header("retry-after", "1"),
            Hint::Date => reply.header("retry-after", http_date(self.now_ms() + 1000)),
            Hint::Location => reply.header("location", parts.uri.to_string()),
        }
    }

    fn throttle(&self, who: &str) -> Result<(), Reply> {
        let Some(throttle) = &self.inner.options.throttle else {
            return Ok(());
        };
        let length = i64::from(throttle.seconds.max(1));
        let now = self.now().timestamp();
        let window = now.div_euclid(length);
        let mut windows = self.inner.windows.lock();
        let seen = windows.entry(who.to_owned()).or_insert((window, 0));
        if seen.0 != window {
            *seen = (window, 0);
        }
        seen.1 += 1;
        if seen.1 <= throttle.requests {
            return Ok(());
        }
        let left = u32::try_from((window + 1) * length - now).unwrap_or(throttle.seconds);
        Err(throttled(throttle.says_when.then_some(left)))
    }

    fn check_token(&self, token: Option<&str>) -> Result<(), Reply> {
        let known = |token: &str| {
            self.inner
                .options
                .app_tokens
                .iter()
                .any(|known| known == token)
        };
        match token {
            Some(token) if !known(token) => Err(Reply::refused(
                403,
                "permission_denied",
                "Invalid app_token specified",
            )),
            _ => Ok(()),
        }
    }

    fn login(&self, headers: &HeaderMap) -> Result<Option<&User>, Reply> {
        let Some(sent) = text(headers, header::AUTHORIZATION) else {
            return Ok(None);
        };
        let decoded = sent
            .strip_prefix("Basic ")
            .and_then(|coded| STANDARD.decode(coded).ok());
        let pair = decoded
            .and_then(|pair| String::from_utf8(pair).ok())
            .unwrap_or_default();
        let (name, password) = pair.split_once(':').unwrap_or_default();
        let mut users = self.inner.options.users.iter();
        let found = users.find(|user| user.name == name && user.password == password);
        found.map(Some).ok_or_else(|| {
            let message = "Invalid username or password";
            Reply::refused(401, "authentication_required", message)
                .header("www-authenticate", "Basic realm=\"Socrata\"")
        })
    }

    fn permit(
        &self,
        operation: Operation,
        dataset: Option<&str>,
        user: Option<&User>,
    ) -> Result<(), Reply> {
        let private = dataset
            .and_then(|id| self.table(id))
            .is_some_and(|table| table.read().schema.private);
        let writes = operation == Operation::Write;
        match user {
            None if writes || private => Err(Reply::refused(
                403,
                "authentication_required",
                "You must be logged in to access this resource",
            )),
            Some(user) if writes && !user.may_write => Err(Reply::refused(
                403,
                "permission_denied",
                "You do not have permission to edit this dataset",
            )),
            _ => Ok(()),
        }
    }

    fn enter(&self, dataset: Option<&str>) -> Result<Option<Running<'_>>, Reply> {
        let (Some(most), Some(id)) = (self.inner.options.max_concurrent, dataset) else {
            return Ok(None);
        };
        let mut running = self.inner.running.lock();
        let count = running.entry(id.to_owned()).or_default();
        if *count >= most {
            return Err(throttled(None));
        }
        *count += 1;
        Ok(Some(Running {
            portal: self,
            dataset: id.to_owned(),
        }))
    }

    fn dispatch(&self, call: &Call<'_>) -> Reply {
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
                // sodapy names no type, and the real portal takes it for JSON
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
                // on the real portal this removes the dataset; a client sends it by mistake when
                // it deletes a row whose identifier is empty
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

/// A request being worked on, as the limit per dataset counts it.
struct Running<'p> {
    portal: &'p Portal,
    dataset: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.portal.inner.running.lock().get_mut(&self.dataset) {
            *count -= 1;
        }
    }
}

fn throttled(retry_after: Option<u32>) -> Reply {
    let reply = Reply::failed(429, "too-many-requests", "Too many requests", &json!({}));
    match retry_after {
        Some(seconds) => reply.header("retry-after", seconds.to_string()),
        None => reply,
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

fn unpacked(headers: &HeaderMap, body: &[u8], most: usize) -> Result<Vec<u8>, Reply> {
    if text(headers, header::CONTENT_ENCODING) != Some("gzip") {
        return Ok(body.to_vec());
    }
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(body).take(limit).read_to_end(&mut unpacked);
    match read {
        Ok(_) if unpacked.len() <= most => Ok(unpacked),
        Ok(_) => Err(Reply::html(413, "Request Entity Too Large")),
        Err(_) => {
            let message = "Malformed gzip body";
            Err(Reply::failed(
                400,
                "req.body.malformed-json",
                message,
                &json!({}),
            ))
        }
    }
}

fn param<'p>(params: &'p [(String, String)], wanted: &str) -> Option<&'p str> {
    params
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_str())
}

fn segments(path: &str) -> Vec<String> {
    // a plus in a path is a plus, which form decoding would not keep
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

fn dataset(segments: &[String]) -> Option<&str> {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["resource", id, ..] | ["api", "views" | "id", id, ..] | ["api", "v3", "views", id, ..] => {
            Some(stem(id))
        }
        _ => None,
    }
}

fn operation(method: &Method, segments: &[String]) -> Operation {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api", "v3", ..] => Operation::Read,
        ["api", "views" | "views.json", ..] if reads => Operation::Metadata,
        _ if reads => Operation::Read,
        _ => Operation::Write,
    }
}
