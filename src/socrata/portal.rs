//! One portal over HTTP: the client, the throttle, the counters, and the loop for reads.
//!
//! Reads carry no login unless `socrata.read_as` is `"login"`. An answer is a status, headers and a
//! complete body, which is read in pieces up to a limit while the request holds its place in the
//! throttle. Redirects are never followed, so that credentials are sent only where intended; plain
//! HTTP is for loopback only. The callers interpret bodies, except that the body of a read must be
//! complete JSON: a truncated body or a login page leads to another attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tracing::{debug, warn};
use url::Url;

use super::address::check_url;
use super::failure::{self, PortalError, RequestError};
use super::login::Login;
use super::observer::{Exchange, Observer};
use super::retry::{Patience, Tries, Verdict, verdict};
use super::soql::{Query, encoded};
use super::throttle::Throttle;
use super::write::Permit;
use crate::model::DatasetId;
use crate::outgoing::{self, Wire, asked_wait};
use crate::settings::{ReadAs, SocrataSettings};

const APP_TOKEN: HeaderName = HeaderName::from_static("x-app-token");
/// Maximum size of a body that is not a page of rows, in bytes after decompression.
const SMALL_BODY_BYTES: usize = 8 << 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// The shared HTTP side of a portal: all requests for all datasets go through one of these.
pub struct Portal {
    url: Url,
    http: Client,
    /// Sent with every read, if `socrata.read_as` says so.
    read_login: Option<Login>,
    app_token: Option<HeaderValue>,
    token_refused: AtomicBool,
    throttle: Throttle,
    pub(super) patience: Patience,
    dice: Mutex<StdRng>,
    page_rows: u32,
    counts: Mutex<Counts>,
    observer: OnceLock<Arc<dyn Observer>>,
}

/// The traffic so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent again, by reason.
    pub retries: BTreeMap<&'static str, u64>,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of answers, decompressed.
    pub bytes_received: u64,
    /// Total time that requests waited for the throttle.
    pub throttled: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<(&'static str, u16), u64>,
    traffic: Traffic,
    date: Option<DateTime<Utc>>,
}

/// The expected kind of JSON in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Array,
    Object,
}

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Number of requests needed.
    pub(super) requests: u64,
    /// Whether the request had the app token.
    pub(super) with_token: bool,
    /// Whether the request had a login.
    pub(super) with_login: bool,
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Portal {
    /// Prepares the client. Sends nothing.
    ///
    /// # Errors
    /// If the URL is not the root of an `https` portal (`http` on loopback), if the app token is
    /// not allowed in a header, or if reading requires a login that is not set.
    pub fn open(settings: &SocrataSettings) -> Result<Arc<Self>, PortalError> {
        Self::open_with(settings, Patience::default())
    }

    /// Like [`Portal::open`], with different retries and time limits.
    ///
    /// # Errors
    /// Like [`Portal::open`].
    pub fn open_with(
        settings: &SocrataSettings,
        patience: Patience,
    ) -> Result<Arc<Self>, PortalError> {
        check_url(&settings.url)?;
        let app_token = settings.app_token.as_ref().map(token_header).transpose()?;
        let read_login = match settings.read_as {
            ReadAs::Anonymous => None,
            ReadAs::Login => Some(Login::of(settings, PortalError::MissingReadLogin)?),
        };
        Ok(Arc::new(Self {
            url: settings.url.clone(),
            http: client(settings)?,
            read_login,
            app_token,
            token_refused: AtomicBool::new(false),
            throttle: Throttle::new(settings.max_in_flight, settings.requests_per_second),
            dice: patience.dice(),
            patience,
            page_rows: settings.page_rows.max(1),
            counts: Mutex::default(),
            observer: OnceLock::new(),
        }))
    }

    /// The portal's address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Registers an observer for all traffic from now on. Only the first one counts.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer); // an observer that is already set is kept
    }

    /// Number of requests sent so far, by operation and HTTP status; 0 is the status of requests
    /// without an answer.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.counts().requests.clone()
    }

    /// The traffic so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let traffic = self.counts().traffic.clone();
        Traffic {
            throttled: self.throttle.waited(),
            ..traffic
        }
    }

    /// Whether the portal has refused the app token.
    #[must_use]
    pub fn refused_token(&self) -> bool {
        self.token_refused.load(Ordering::Relaxed)
    }

    /// The portal's clock, from the `Date` header of its last answer.
    #[must_use]
    pub fn date(&self) -> Option<DateTime<Utc>> {
        self.counts().date
    }

    /// Rows per page.
    pub(super) fn page_rows(&self) -> u64 {
        self.page_rows.into()
    }

    /// URL of a dataset's rows.
    pub(super) fn rows_url(&self, id: &DatasetId) -> Url {
        self.at(&format!("/resource/{id}.json"))
    }

    /// URL of a query on a dataset's rows.
    pub(super) fn query_url(&self, id: &DatasetId, query: &Query) -> Url {
        let mut url = self.rows_url(id);
        query.put_on(&mut url);
        url
    }

    /// URL of a dataset's metadata.
    pub(super) fn metadata_url(&self, id: &DatasetId) -> Url {
        self.at(&format!("/api/views/{id}.json"))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    pub(super) fn tries(&self) -> Tries<'_> {
        Tries::new(&self.patience, &self.dice)
    }

    /// Reads a JSON document, and retries if a failure may be temporary.
    pub(super) async fn read(
        &self,
        operation: &'static str,
        url: Url,
        frame: Frame,
    ) -> Result<Answer, RequestError> {
        let (mut tries, mut requests, mut url) = (self.tries(), 0, url);
        loop {
            requests += 1;
            let (failed, reason, asked) = match self.get(operation, &url).await {
                Err(error) if error.may_succeed_later() => (error, "transport", None),
                Err(error) => return Err(error),
                Ok(answer) => match verdict(answer.status) {
                    Verdict::Done => match check_frame(&answer, frame) {
                        Ok(()) => return Ok(Answer { requests, ..answer }),
                        Err(error) => (error, "body", None),
                    },
                    Verdict::Poll => {
                        self.count_retry("accepted");
                        if !tries.poll(asked_wait(&answer.headers, None)).await {
                            return Err(RequestError::StillWorking);
                        }
                        url = self.poll_url(url, &answer)?;
                        continue;
                    }
                    Verdict::Again(reason) => {
                        let asked = asked_wait(&answer.headers, None);
                        (failure::of_answer(&answer), reason, asked)
                    }
                    Verdict::Final if self.drop_token(&answer) => continue,
                    Verdict::Final => return Err(failure::of_answer(&answer)),
                },
            };
            if !tries.again(asked).await {
                return Err(failed);
            }
            self.count_retry(reason);
        }
    }

    pub(super) async fn get(&self, what: &'static str, url: &Url) -> Result<Answer, RequestError> {
        let login = self.read_login.as_ref();
        self.send(what, Method::GET, url, login, None).await
    }

    /// Uploads a JSON document in one attempt, if `permit` still allows it once the throttle lets
    /// it through.
    pub(super) async fn post(
        &self,
        operation: &'static str,
        url: &Url,
        login: &Login,
        body: Bytes,
        permit: &Permit,
    ) -> Result<Answer, RequestError> {
        let upload = Some((body, permit));
        self.send(operation, Method::POST, url, Some(login), upload)
            .await
    }

    async fn send(
        &self,
        operation: &'static str,
        method: Method,
        url: &Url,
        login: Option<&Login>,
        upload: Option<(Bytes, &Permit)>,
    ) -> Result<Answer, RequestError> {
        let mut request = self.http.request(method, url.clone());
        let token = self.token();
        let with_token = token.is_some();
        if let Some(token) = token {
            request = request.header(APP_TOKEN, token);
        }
        if let Some(login) = login {
            request = login.put_on(request);
        }
        let sent = upload.as_ref().map_or(0, |(body, _)| body.len());
        let permit = upload.as_ref().map(|(_, permit)| *permit);
        if let Some((body, _)) = upload {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let (_place, waited) = self.throttle.enter().await;
        if permit.is_some_and(|permit| !permit()) {
            return Err(RequestError::TooLate);
        }
        let started = Instant::now();
        let max_bytes = self.max_body_bytes(operation);
        let result = self.exchange(request, max_bytes).await;
        let took = started.elapsed();
        self.count(operation, sent, &result);
        let (status, bytes) = status_and_bytes(&result);
        if let Some(observer) = self.observer.get() {
            observer.throttled(waited);
            observer.exchanged(Exchange {
                operation,
                status: (status > 0).then_some(status),
                took,
                sent: sent as u64,
                received: bytes as u64,
            });
        }
        let millis = took.as_millis();
        debug!(
            operation,
            status, bytes, millis, "portal request: {operation}, status {status}"
        );
        result.map(|answer| Answer {
            with_token,
            with_login: login.is_some(),
            ..answer
        })
    }

    /// Pages of rows are large; everything else is small and parsed into a tree.
    fn max_body_bytes(&self, operation: &str) -> usize {
        match operation {
            "keys" | "rows" | "rows_by_key" | "keys_present" => self.patience.max_body_bytes,
            _ => SMALL_BODY_BYTES.min(self.patience.max_body_bytes),
        }
    }

    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        max_bytes: usize,
    ) -> Result<Answer, RequestError> {
        let mut response = request.send().await.map_err(RequestError::of_transport)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let refused = !status.is_success();
        let limit = max_bytes.min(if refused { SMALL_BODY_BYTES } else { max_bytes });
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(RequestError::of_body)? {
            if body.len() + piece.len() > limit {
                return Err(RequestError::TooBig { limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer {
            status,
            headers,
            body,
            requests: 1,
            with_token: false,
            with_login: false,
        })
    }

    fn token(&self) -> Option<HeaderValue> {
        let usable = !self.token_refused.load(Ordering::Relaxed);
        self.app_token.clone().filter(|_| usable)
    }

    /// Whether the portal refused our app token, so that the request must be sent without it. A
    /// wrong token prevents access even to public data, and trying it again does not help.
    pub(super) fn drop_token(&self, answer: &Answer) -> bool {
        if !answer.with_token || !failure::refuses_token(answer) {
            return false;
        }
        if !self.token_refused.swap(true, Ordering::Relaxed) {
            warn!(
                "the portal does not accept socrata.app_token: reading continues without it; \
                 correct or remove it"
            );
        }
        true
    }

    /// Where to send the next request after a 202: to the given location, with the given ticket, or
    /// to the same URL.
    fn poll_url(&self, url: Url, answer: &Answer) -> Result<Url, RequestError> {
        let location = answer
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        if let Some(location) = location {
            let target = self.url.join(location).ok();
            return target
                .filter(|target| target.origin() == self.url.origin())
                .ok_or_else(|| RequestError::redirected(location));
        }
        let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let ticket = body.as_ref().and_then(|body| body.get("ticket")?.as_str());
        Ok(match ticket {
            Some(ticket) => with_ticket(url, ticket),
            None => url,
        })
    }

    pub(super) fn count_retry(&self, reason: &'static str) {
        *self.counts().traffic.retries.entry(reason).or_default() += 1;
        if let Some(observer) = self.observer.get() {
            observer.retried(reason);
        }
    }

    fn count(&self, operation: &'static str, sent: usize, result: &Result<Answer, RequestError>) {
        let (status, bytes) = status_and_bytes(result);
        let mut counts = self.counts();
        *counts.requests.entry((operation, status)).or_default() += 1;
        counts.traffic.bytes_sent += sent as u64;
        counts.traffic.bytes_received += bytes as u64;
        if let Ok(answer) = result {
            counts.date = date_of(&answer.headers);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status_and_bytes(result: &Result<Answer, RequestError>) -> (u16, usize) {
    result
        .as_ref()
        .map_or((0, 0), |answer| (answer.status.as_u16(), answer.body.len()))
}

fn date_of(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?);
    date.ok().map(|date| date.to_utc())
}

fn with_ticket(mut url: Url, ticket: &str) -> Url {
    let kept = url.query().unwrap_or_default().split('&');
    let mut parts: Vec<String> = kept
        .filter(|part| !part.is_empty() && !part.starts_with("ticket="))
        .map(str::to_owned)
        .collect();
    parts.push(format!("ticket={}", encoded(ticket)));
    url.set_query(Some(&parts.join("&")));
    url
}

fn token_header(token: &SecretString) -> Result<HeaderValue, PortalError> {
    let mut value =
        HeaderValue::from_str(token.expose_secret()).map_err(|_| PortalError::AppToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(settings: &SocrataSettings) -> Result<Client, PortalError> {
    outgoing::client(Wire::of(settings.url.scheme()))
        .connect_timeout(CONNECT_WITHIN.min(settings.request_timeout))
        .timeout(settings.request_timeout)
        .build()
        .map_err(PortalError::Client)
}

/// Checks that a read's body is complete JSON of the right kind.
fn check_frame(answer: &Answer, frame: Frame) -> Result<(), RequestError> {
    let text = answer.body.trim_ascii();
    let is_framed = match frame {
        Frame::Array => text.starts_with(b"[") && text.ends_with(b"]"),
        Frame::Object => text.starts_with(b"{") && text.ends_with(b"}"),
    };
    if !text.is_empty() && !matches!(text[0], b'[' | b'{') {
        return Err(RequestError::NotJson {
            what: "something else",
        });
    }
    if !is_framed || serde_json::from_slice::<IgnoredAny>(text).is_err() {
        return Err(RequestError::NotJson {
            what: "cut short or broken",
        });
    }
    Ok(())
}
