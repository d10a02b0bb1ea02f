//! HTTP: requests and replies with their headers and compression, the request log, and the faults
//! that happen before anything is done.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a reply and ends the request"
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
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use uuid::Uuid;

use super::admission::throttled;
use super::faults::{Fault, Hint, Operation};
use super::read::http_date;
use super::reply::{Reply, STALE_FLAG};
use super::routes::{self, Call, param};
use super::transport::{Delivery, Line, body};
use super::{Arrival, Portal, RequestRecord};

/// The portal as an axum service.
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
    let max = portal.inner.options.max_body_bytes;
    let received = to_bytes(incoming, max).await.ok();
    let gzip = accepts_gzip(&parts.headers);
    let request_id = request_id(&parts.headers);
    let head_only = parts.method == Method::HEAD;
    let peer = line.peer.ip().to_string();
    // Queries over many rows must not block the other connections.
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

pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    text(headers, header::ACCEPT_ENCODING).is_some_and(|encodings| encodings.contains("gzip"))
}

pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
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
            is_marked_stale: false,
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
        let stale = |(name, value): &(&str, String)| *name == STALE_FLAG && value == "true";
        record.is_marked_stale = reply.headers.iter().any(stale);
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
        let segments = routes::segments(parts.uri.path());
        let dataset = routes::dataset(&segments);
        let operation = routes::operation(&parts.method, &segments);
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
            // This thread belongs to the request, and continues after a client that gave up.
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

    /// The reply of a fault that happens before anything is done.
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
}

fn unpacked(headers: &HeaderMap, body: &[u8], max: usize) -> Result<Vec<u8>, Reply> {
    if text(headers, header::CONTENT_ENCODING) != Some("gzip") {
        return Ok(body.to_vec());
    }
    let mut unpacked = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(body).take(limit).read_to_end(&mut unpacked);
    match read {
        Ok(_) if unpacked.len() <= max => Ok(unpacked),
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
