//! The served pages, and their only form.

use reqwest::header::{CONTENT_TYPE, LOCATION, ORIGIN};
use reqwest::{Method, Response, StatusCode};
use sodalake::compare::Depth;
use sodalake::reconcile::State as DayState;
use sodalake::sandbox::city::Table;

use super::running::{Running, TOKEN, with_token};
use super::with_duplicates;
use crate::support::city::wednesday;

const PAGE: &str = "/days/radar-counts/2020-10-14";

async fn html(answer: Response, status: StatusCode) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(policy.contains("style-src 'self'") && !policy.contains("script"));
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_the_ledgers_data() {
    let running = with_duplicates("").await;
    let (table, day) = (Table::RadarCounts, wednesday());
    let unseen = html(running.get(PAGE).await, StatusCode::OK).await;
    assert!(unseen.contains("has not been checked"), "{unseen}");
    let report = running.city.repair(table, day, Depth::Keys).await;
    assert_eq!(report.state, DayState::Repaired);
    let pass = report.pass.unwrap();
    for (path, said) in [
        ("/".to_owned(), "radar-counts".to_owned()),
        (PAGE.to_owned(), pass.to_string()),
        (format!("/passes/{pass}"), "archived".to_owned()),
        ("/corrections".to_owned(), "radar-counts".to_owned()),
    ] {
        let page = html(running.get(&path).await, StatusCode::OK).await;
        assert!(page.contains(&said), "{path}: {page}");
    }
    let style = running.get("/style.css").await;
    assert_eq!(style.headers()[CONTENT_TYPE], "text/css; charset=utf-8");
    for path in [
        "/days/nobody/2020-10-14",
        "/passes/018f0000-0000-7000-8000-000000000000",
    ] {
        html(running.get(path).await, StatusCode::NOT_FOUND).await;
    }
}

/// Sends the form on the held day's page.
async fn approve(running: &Running, origin: &str, token: &str, digest: &str) -> Response {
    let request = crate::support::http::client()
        .request(Method::POST, format!("{}{PAGE}/approve", running.url));
    let body = format!("token={token}&digest={digest}&reason=seen+by+two");
    let kind = "application/x-www-form-urlencoded";
    let request = request.header(CONTENT_TYPE, kind).header(ORIGIN, origin);
    request.body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_approves_only_with_the_token_and_from_our_own_page() {
    let limit = format!("{}rails.max_purge_rows_per_day = 1\n", with_token());
    let running = with_duplicates(&limit).await;
    let (table, day) = (Table::RadarCounts, wednesday());
    let held = running.city.repair(table, day, Depth::Keys).await;
    let digest = held.refusal.unwrap().digest;
    let ledger = &running.city.world.ledger;
    let page = html(running.get(PAGE).await, StatusCode::OK).await;
    assert!(page.contains("<form") && page.contains(&digest), "{page}");

    let ours = running.url.clone();
    for (origin, token, status) in [
        (ours.as_str(), "wrong", StatusCode::UNAUTHORIZED),
        (ours.as_str(), "", StatusCode::UNAUTHORIZED),
        ("https://elsewhere.example", TOKEN, StatusCode::FORBIDDEN),
        ("null", TOKEN, StatusCode::FORBIDDEN),
    ] {
        let answer = approve(&running, origin, token, &digest).await;
        let page = html(answer, status).await;
        assert!(!page.contains(TOKEN));
        assert_eq!(
            ledger.approval(&digest).await.unwrap(),
            None,
            "{origin} {token}"
        );
    }
    let done = approve(&running, &ours, TOKEN, &digest).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    assert_eq!(done.headers()[LOCATION], PAGE);
    let approval = ledger.approval(&digest).await.unwrap().unwrap();
    assert_eq!(approval.reason, "seen by two");
}
