//! Hostile and malformed requests do no harm.

use std::time::{Duration, Instant};

use reqwest::header::{ALLOW, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::DAY;
use super::running::{Running, TOKEN, problem, with_token};

fn is_careful(headers: &HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(headers[name], value);
    }
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_invalid_requests_get_different_statuses() {
    let running = Running::start(&with_token()).await;
    let missing = running.get("/api/v2/days").await;
    is_careful(missing.headers());
    problem(missing, StatusCode::NOT_FOUND).await;
    for (method, path, allowed) in [
        (Method::DELETE, "/metrics", "GET,HEAD"),
        (Method::POST, "/api/v1/datasets", "GET,HEAD"),
        (Method::OPTIONS, "/api/v1/days", "GET,HEAD"),
        (
            Method::GET,
            "/api/v1/days/radar-counts/2020-10-14/hold",
            "POST",
        ),
    ] {
        let answer = running.request(method, path).send().await.unwrap();
        assert_eq!(answer.headers()[ALLOW], allowed, "{path}");
        problem(answer, StatusCode::METHOD_NOT_ALLOWED).await;
    }
    for path in ["/metrics", "/healthz", "/readyz", "/api/v1/datasets"] {
        let answer = running.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        is_careful(answer.headers());
        assert_eq!(answer.text().await.unwrap(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_paths_are_treated_as_text() {
    let running = Running::start(&with_token()).await;
    for path in [
        "/api/v1/days/..%2f..%2fetc/2020-10-14",
        "/api/v1/days/%3Cscript%3Ealert(1)%3C%2Fscript%3E/2020-10-14",
        "/api/v1/days/x%27%20or%201=1--/2020-10-14",
        "/api/v1/days/%00%1b%5b31m/2020-10-14",
        "/api/v1/days/%ff%fe/2020-10-14",
        "/api/v1/days/radar-counts/2020-10-14%00",
        "/api/v1/days/radar-counts/9999999-01-01",
        "/api/v1/days/radar-counts/-001-01-01",
        "/api/v1/passes/..%2f..",
        "/api/v1/passes/%3Cb%3E",
    ] {
        let answer = running.get(path).await;
        let status = answer.status();
        let known = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
        assert!(known.contains(&status), "{path}: {status}");
        is_careful(answer.headers());
        let detail = problem(answer, status).await;
        assert!(!detail.chars().any(char::is_control), "{path}: {detail:?}");
        assert!(detail.chars().count() < 2_000, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_and_validated() {
    let running = Running::start(&with_token()).await;
    let path = format!("{DAY}/hold");
    let post = || running.request(Method::POST, &path).bearer_auth(TOKEN);
    let large = json!({"reason": "x".repeat(20_000)});
    let answer = post().json(&large).send().await.unwrap();
    problem(answer, StatusCode::PAYLOAD_TOO_LARGE).await;
    let form = post().header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body("reason=why").send().await.unwrap();
    problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    for body in [
        "",
        "{",
        "[]",
        "{\"reason\": 1}",
        "{\"reason\": \"\"}",
        "{\"reason\": \"why\", \"rows\": 3}",
        "{\"reason\": \"why\", \"until\": \"soon\"}",
        "{\"reason\": \"bell \\u0007\"}",
        "{\"reason\": \"\\ud800\"}",
    ] {
        let json = post().header("content-type", "application/json");
        let answer = json.body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
        problem(answer, StatusCode::BAD_REQUEST).await;
    }
    let long = json!({"reason": "x".repeat(501)});
    problem(
        post().json(&long).send().await.unwrap(),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert!(
        running
            .city
            .world
            .ledger
            .marks(None)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Whether the server closes the connection within the limit.
async fn is_closed_within(mut stream: TcpStream, limit: Duration) -> bool {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(limit, stream.read_to_end(&mut rest));
    ended.await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_occupy_no_connection_for_long() {
    let running = Running::start("").await;
    let address = running.url.strip_prefix("http://").unwrap();
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
            .await;
        slow.push(stream);
    }
    let started = Instant::now();
    let answer = running.get("/healthz").await; // all connections are taken: it waits its turn
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
    for stream in slow {
        assert!(is_closed_within(stream, Duration::from_secs(40)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_abandoned() {
    let running = Running::start(&with_token()).await;
    let address = running.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {DAY}/hold HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_mins(1), stream.read_exact(&mut answer));
    read.await.expect("it is answered").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_open_requests_and_accepts_no_new_ones() {
    let mut running = Running::start("").await;
    assert_eq!(running.get("/healthz").await.status(), StatusCode::OK);
    running.stop.take().unwrap().send(()).unwrap();
    let served = running.served.take().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), served).await;
    ended.expect("it ends").unwrap();
    let refused = running.request(Method::GET, "/healthz").send().await;
    assert!(refused.is_err());
}
