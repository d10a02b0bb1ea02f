//! A private table: `doctor` and `check` report that it is private and what to do. Reading with a
//! login is optional, and every denial of the portal is explained.

use chrono::Utc;
use sodalake::model::Day;
use sodalake::sandbox::city::{Table, ZONE};
use sodalake::sandbox::portal::{PortalOptions, RequestRecord, User};

use crate::support::beside::{Ran, run};
use crate::support::city::TestCity;

const TABLE: Table = Table::RadarCounts;
const NAME: &str = "radar-counts";

fn day() -> Day {
    Day::at(Utc::now(), ZONE).plus(-4)
}

/// A city whose radar counts are private, with an additional user.
async fn city() -> TestCity {
    let mut options = PortalOptions::default();
    let outsider = User::new("outsider", "outsider-password", false);
    options.users.push(outsider.without_private_tables());
    let city = TestCity::with(day(), "", options, &[]).await;
    city.stage.portal.set_private(TABLE.spec().id, true);
    city
}

/// Changes the settings file.
fn set(city: &TestCity, from: &str, to: &str) {
    let file = city.stage.dir().join("sodalake.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    assert!(before.contains(from), "the settings have {from}");
    std::fs::write(file, before.replace(from, to)).unwrap();
}

const URL: &str = "socrata.url = ";

/// Adds a line to the settings file.
fn add(city: &TestCity, line: &str) {
    set(city, URL, &format!("{line}\n{URL}"));
}

fn read_as_login(city: &TestCity, user: &str, password: &str) {
    add(city, "socrata.read_as = \"login\"");
    set(city, "\"writer\"", &format!("\"{user}\""));
    set(city, "\"writer-password\"", &format!("\"{password}\""));
}

async fn doctor(city: &TestCity) -> Ran {
    run(city.stage.dir(), &["doctor"]).await
}

async fn check(city: &TestCity) -> Ran {
    let day = day().to_string();
    run(
        city.stage.dir(),
        &["check", NAME, "--day", &day, "--format", "json"],
    )
    .await
}

fn line<'a>(ran: &'a Ran, what: &str) -> &'a str {
    let mut lines = ran.out.lines().filter(|line| line.contains(what));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("{what}: {}{}", ran.out, ran.err));
    assert_eq!(lines.next(), None, "one line on {what}");
    line
}

/// Why `check` could not judge the day. Asserts that it is unproven and that a service failed.
fn why(ran: &Ran) -> String {
    let lines = ran.json();
    let report = &lines[0];
    assert_eq!(
        (&report["state"], ran.code),
        (&"unproven".into(), 7),
        "{report}"
    );
    report["why"].as_str().unwrap().to_owned()
}

fn assert_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

fn no_secret_in(ran: &Ran) {
    for secret in [
        "writer-password",
        "reader-password",
        "wrong-password",
        "outsider-password",
        "wrong-token",
    ] {
        assert!(
            !ran.out.contains(secret) && !ran.err.contains(secret),
            "{secret}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_table_is_reported_as_private_with_a_remedy() {
    let city = city().await;
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 7, "{}", ran.out);
    let found = line(&ran, &format!("portal {NAME}"));
    assert!(found.starts_with("fail"), "{found}");
    assert_all(
        found,
        &[
            "private",
            "anonymously",
            "-> set socrata.read_as = \"login\"",
        ],
    );
    assert!(!ran.out.contains("is the portal up?"), "{}", ran.out);
    assert_all(
        &why(&check(&city).await),
        &[
            "private",
            "anonymously",
            "set socrata.read_as = \"login\"",
            "403",
        ],
    );

    add(&city, "socrata.app_token = \"sandbox-app-token\"");
    let ran = doctor(&city).await;
    assert_all(
        line(&ran, &format!("portal {NAME}")),
        &["private", "app token"],
    );
    assert_all(&why(&check(&city).await), &["private", "app token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_table_can_be_read_with_a_login() {
    let city = city().await;
    read_as_login(&city, "reader", "reader-password");
    city.stage.portal.clear_requests();
    let ran = doctor(&city).await;
    assert!(
        line(&ran, &format!("portal {NAME}")).starts_with("ok"),
        "{}",
        ran.out
    );
    let ran = check(&city).await;
    assert_eq!(ran.json()[0]["state"], "in-sync", "{}", ran.out);
    let requests = city.stage.portal.requests();
    let as_reader = |request: &RequestRecord| request.user.as_deref() == Some("reader");
    assert!(
        requests.iter().all(as_reader),
        "every read carries the login"
    );
    assert!(
        requests.iter().all(|request| request.method == "GET"),
        "nothing writes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_carries_the_login_unless_configured() {
    let city = TestCity::around(day(), "").await;
    city.stage.portal.clear_requests();
    assert_eq!(check(&city).await.code, 0);
    assert_eq!(doctor(&city).await.code, 0);
    let requests = city.stage.portal.requests();
    assert!(requests.iter().all(|request| request.user.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_wrong_or_has_no_permission_is_reported() {
    for (user, password, meaning, todo) in [
        (
            "writer",
            "wrong-password",
            "does not accept the user name and password",
            "correct socrata.username and socrata.password",
        ),
        (
            "outsider",
            "outsider-password",
            "the account may not view",
            "give the account of socrata.username access",
        ),
    ] {
        let city = city().await;
        read_as_login(&city, user, password);
        let ran = doctor(&city).await;
        let found = line(&ran, &format!("portal {NAME}"));
        assert_all(found, &["fail", meaning, &format!("-> {todo}")]);
        no_secret_in(&ran);
        let ran = check(&city).await;
        assert_all(&why(&ran), &[meaning, todo]);
        no_secret_in(&ran);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_app_token_is_reported_and_reading_continues() {
    let city = TestCity::around(day(), "").await;
    add(&city, "socrata.app_token = \"wrong-token\"");
    let ran = doctor(&city).await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_all(
        line(&ran, "app token"),
        &[
            "warn",
            "does not accept",
            "-> correct or remove socrata.app_token",
        ],
    );
    no_secret_in(&ran);
    let ran = check(&city).await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_all(&ran.err, &["socrata.app_token", "correct or remove it"]);
    no_secret_in(&ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_the_portal_does_not_have_is_reported() {
    let city = TestCity::around(day(), "").await;
    set(&city, TABLE.spec().id, "zzzz-zzzz");
    let parts = [
        "zzzz-zzzz",
        "no dataset with this id",
        "correct the dataset's id",
    ];
    assert_all(
        line(&doctor(&city).await, &format!("portal {NAME}")),
        &parts,
    );
    assert_all(&why(&check(&city).await), &parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_with_a_login_needs_one() {
    let city = TestCity::around(day(), "").await;
    add(&city, "socrata.read_as = \"login\"");
    set(&city, "socrata.password = \"writer-password\"", "");
    let ran = check(&city).await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_all(
        &ran.err,
        &["socrata.read_as", "socrata.username and socrata.password"],
    );
    set(&city, "\"login\"", "\"somehow\"");
    let ran = check(&city).await;
    assert_eq!(ran.code, 2);
    assert_all(&ran.err, &["socrata.read_as", "\"anonymous\" or \"login\""]);
}
