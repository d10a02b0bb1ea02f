//! One error harms one day. A key, a listing, a refusal or an answer that concerns one day stops no
//! other, neither in a command nor in the daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{Request, Response, StatusCode};
use chrono::Utc;
use reqwest::Method;
use serde_json::Value as Json;
use sodalake::lake::Lake;
use sodalake::model::{Day, DayRange};
use sodalake::reconcile;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, PortalOptions, Rule};
use tokio::net::TcpListener;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{Ran, run, with};
use crate::support::running::{Running, until};
use crate::support::s3::{S3Bucket, move_lake};

/// The dataset that is affected. A file of its day contains only rows of that day.
const TABLE: Table = Table::RadarCounts;

/// Often enough for a test, and limited to the days that the city has published.
const SCHEDULE: &str = "schedule.survey = \"*/2 * * * * *\"\n\
     schedule.check = \"0 0 0 1 1 *\"\n\
     schedule.audit = \"0 0 0 1 1 *\"\n\
     schedule.window_days = 6\n\
     schedule.settle_days = 3\n";

/// A day of the current window; its neighbours are published too.
fn lately() -> Day {
    Day::at(Utc::now(), chrono_tz::America::Chicago).plus(-5)
}

async fn scheduled_city() -> TestCity {
    TestCity::with(lately(), SCHEDULE, PortalOptions::default(), &[]).await
}

fn folder(day: Day) -> String {
    day.date().format("%Y/%m/%d/wt").to_string()
}

/// A lake on S3, and the environment that makes the program use it.
struct OnS3 {
    bucket: S3Bucket,
    env: Vec<(&'static str, String)>,
}

impl OnS3 {
    async fn of(city: &TestCity) -> Self {
        let bucket = S3Bucket::create().await;
        move_lake(&city.stage.lake(), &bucket).await;
        let endpoint = bucket.endpoint.to_string();
        let env = vec![
            ("SODALAKE__LAKE__URL", bucket.url.to_string()),
            ("SODALAKE__LAKE__ENDPOINT", endpoint),
            ("SODALAKE__LAKE__REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ];
        Self { bucket, env }
    }

    fn env(&self) -> Vec<(&str, &str)> {
        let pairs = self.env.iter();
        pairs.map(|(key, value)| (*key, value.as_str())).collect()
    }

    async fn put(&self, key: &str) {
        let put = self.bucket.request(Method::PUT, key).body("{}").send();
        let put = put.await.unwrap();
        assert!(put.status().is_success(), "{key}: {}", put.status());
    }

    /// Puts a server between the program and the bucket that answers `status` to requests whose
    /// path contains `what`.
    async fn refuse(&mut self, what: &str, status: StatusCode) {
        let between = Between {
            bucket: self.bucket.endpoint.to_string(),
            what: what.to_owned(),
            status,
        };
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::new(between));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        self.env
            .retain(|(name, _)| *name != "SODALAKE__LAKE__ENDPOINT");
        let endpoint = format!("http://{address}/");
        self.env.push(("SODALAKE__LAKE__ENDPOINT", endpoint));
    }
}

struct Between {
    bucket: String,
    what: String,
    status: StatusCode,
}

async fn pass_on(Shared(between): Shared<Arc<Between>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let asked = parts.uri.to_string().replace("%2F", "/");
    if asked.contains(&between.what) {
        let refusal = "<Error><Code>Odd</Code></Error>";
        let answer = Response::builder().status(between.status);
        return answer.body(refusal.into()).unwrap();
    }
    let url = format!("{}{}", between.bucket.trim_end_matches('/'), parts.uri);
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut headers = parts.headers;
    headers.remove("host");
    let passed = crate::support::http::client()
        .request(parts.method, url)
        .headers(headers)
        .body(body);
    let answer = passed.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" {
            response = response.header(name, value);
        }
    }
    response.body(answer.bytes().await.unwrap().into()).unwrap()
}

/// The state of each day that a run reported, and the reason.
fn states(ran: &Ran) -> Vec<(String, String)> {
    let lines = ran.out.lines().map(|line| {
        let line: Json = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("state"), text("why"))
    });
    lines.collect()
}

/// Of three days in one command only the second, which is affected, is unproven, with its reason.
#[track_caller]
fn only_the_second_is_unproven(ran: &Ran, why: &str) {
    let states = states(ran);
    let named: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(
        named,
        ["in-sync", "unproven", "in-sync"],
        "{}\n{}",
        ran.out,
        ran.err
    );
    assert!(states[1].1.contains(why), "no {why:?} in {states:?}");
    assert_eq!(ran.code, 4, "{}", ran.err);
}

fn three_days(depth: &str) -> String {
    let (from, to) = (wednesday(), wednesday().plus(3));
    format!("check radar-counts --from {from} --to {to} --depth {depth} --format json")
}

async fn state(city: &TestCity, table: Table, day: Day) -> Option<(String, String)> {
    let name = table.dataset_name().parse().unwrap();
    let record = city.world.ledger.day(&name, day).await.unwrap()?;
    Some((record.state, record.why.unwrap_or_default()))
}

/// Waits until the daemon has judged every day of the window: `bad` is unproven, all others are in
/// sync, and a row that was missing elsewhere is published again.
async fn all_but(city: &TestCity, daemon: &Running, bad: Day, why: &str) {
    for table in Table::ALL {
        for day in (-1..2).map(|days| lately().plus(days)) {
            let expected = if table == TABLE && day == bad {
                "unproven"
            } else {
                "in-sync"
            };
            let what = format!("{expected} of {table:?} {day}, in\n{}", daemon.log());
            let (_, said) = until(&what, async || {
                let found = state(city, table, day).await?;
                (found.0 == expected).then_some(found)
            })
            .await;
            assert!(expected == "in-sync" || said.contains(why), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unaddressable_key_stops_no_other_day_of_the_daemon() {
    let city = scheduled_city().await;
    let whole = city.rows(TABLE);
    let base = city.bases(TABLE, lately()).remove(0);
    city.damage(Breakage::TailLost, TABLE, lately(), &base);
    assert_ne!(city.rows(TABLE), whole);
    let lake = OnS3::of(&city).await;
    let bad = lately().plus(1);
    let key = format!("{}//x.json", folder(bad));
    lake.put(&key).await;
    let mut daemon = Running::ready(&city, &lake.env()).await;
    daemon.logs("repaired radar-counts", 1).await;
    assert_eq!(city.rows(TABLE), whole);
    all_but(&city, &daemon, bad, &format!("{}//", folder(bad))).await;
    let name = TABLE.dataset_name().parse().unwrap();
    until("a survey that is done", async || {
        let all = city.world.ledger.schedules().await.unwrap();
        let mut all = all.into_iter();
        all.find(|one| one.dataset == name && one.done_at.is_some() && one.failure.is_none())
    })
    .await;
    assert!(!daemon.log().contains("for the lake"), "{}", daemon.log());
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unaddressable_keys_are_named_as_doubts_of_their_folder() {
    let city = TestCity::around(wednesday(), "").await;
    let lake = OnS3::of(&city).await;
    let bad = folder(wednesday().next());
    for odd in ["/x.json", "a\u{1}b.json"] {
        let key = format!("{bad}/{odd}");
        lake.put(&key).await;
        for depth in ["content", "survey"] {
            let ran = with(&city, &three_days(depth), &lake.env()).await;
            let named = format!("{bad}/{odd}");
            let named = named.trim_end_matches("x.json").escape_debug().to_string();
            if depth == "content" {
                only_the_second_is_unproven(&ran, &named);
            } else {
                assert_eq!(states(&ran)[1].0, "unproven", "{}", ran.out);
                assert_eq!(states(&ran)[0].0, "skipped", "{}", ran.out);
            }
        }
        let gone = lake.bucket.request(Method::DELETE, &key).send().await;
        assert!(gone.unwrap().status().is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unaddressable_file_is_a_doubt_of_its_folder() {
    use std::os::unix::ffi::OsStrExt as _;

    let city = TestCity::around(wednesday(), "").await;
    let bad = city.stage.lake().join(folder(wednesday().next()));
    for name in [&b"a\nb.json"[..], b"a\xffb.json"] {
        let file = bad.join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&file, "{}").unwrap();
        only_the_second_is_unproven(&run(&city, &three_days("keys")).await, "wt/a");
        // a file that is still being written does not count
        std::fs::write(bad.join("another.json#1"), "{}").unwrap();
        std::fs::remove_file(&file).unwrap();
        run(&city, &three_days("keys")).await.ends(0, "in-sync");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_failing_folder_affects_only_its_own_day() {
    let bad = folder(wednesday().next());
    for (status, why) in [
        (StatusCode::FORBIDDEN, bad.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, bad.as_str()),
    ] {
        let city = TestCity::around(wednesday(), "").await;
        let mut lake = OnS3::of(&city).await;
        lake.refuse(&bad, status).await;
        for depth in ["content", "survey"] {
            let ran = with(&city, &three_days(depth), &lake.env()).await;
            let states = states(&ran);
            assert_eq!(states[1].0, "unproven", "{}", ran.out);
            assert!(states[1].1.contains(why), "{states:?}");
            for one in [&states[0], &states[2]] {
                assert!(["in-sync", "skipped"].contains(&&*one.0), "{states:?}");
            }
            assert_eq!(ran.code, 4, "{}", ran.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_folder_stops_no_other_day_of_the_daemon() {
    let city = scheduled_city().await;
    let mut lake = OnS3::of(&city).await;
    let bad = lately().plus(1);
    lake.refuse(&folder(bad), StatusCode::INTERNAL_SERVER_ERROR)
        .await;
    let mut daemon = Running::ready(&city, &lake.env()).await;
    all_but(&city, &daemon, bad, &folder(bad)).await;
    assert!(!daemon.log().contains("for the lake"), "{}", daemon.log());
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_lake_is_an_error_and_no_doubt_of_any_day() {
    let city = TestCity::around(wednesday(), "").await;
    let mut lake = OnS3::of(&city).await;
    lake.refuse("", StatusCode::INTERNAL_SERVER_ERROR).await;
    let env = lake.env();
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let mut settings = (*city.world.settings).clone();
    settings.lake.url = lake.bucket.url.clone();
    let endpoint = lake.env.last().unwrap().1.parse().unwrap();
    settings.lake.endpoint = Some(endpoint);
    settings.lake.region = Some("us-east-1".into());
    let lake = Lake::open_with(&settings.lake, &env.collect()).unwrap();
    let mut world = city.world;
    world.lake = lake;
    let dataset = Arc::clone(&world.settings.datasets[0].dataset);
    let range = DayRange {
        from: wednesday(),
        to: wednesday().plus(3),
    };
    let error = reconcile::survey(&world, &dataset, range)
        .await
        .unwrap_err();
    assert_eq!(error.service(), Some(reconcile::Service::Lake), "{error:?}");
}

/// This fault for every request of a dataset.
fn refused(table: Table, fault: Fault) -> Faults {
    let rule = Rule {
        dataset: Some(table.spec().id.to_owned()),
        ..Rule::always(fault)
    };
    Faults {
        rules: vec![rule],
        replicas: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_dataset_is_reported_and_does_not_pause_the_daemon() {
    let city = scheduled_city().await;
    let faults = refused(TABLE, Fault::Gateway { status: 403 });
    city.stage.portal.set_faults(faults);
    let mut daemon = Running::ready(&city, &[]).await;
    for table in Table::ALL.into_iter().filter(|table| *table != TABLE) {
        until("a state of every other dataset", async || {
            let found = state(&city, table, lately()).await?;
            (found.0 == "in-sync").then_some(())
        })
        .await;
    }
    daemon.logs("cannot survey radar-counts", 1).await;
    assert!(!daemon.log().contains("for the portal"), "{}", daemon.log());
    let ran = run(&city, "status").await.ends(0, "radar-counts");
    assert!(ran.out.contains("survey"), "{}", ran.out);
    assert!(ran.out.contains("403"), "{}", ran.out);
    daemon.signal("TERM").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_for_one_day_stops_no_other_day_of_a_command() {
    let city = TestCity::around(wednesday(), "").await;
    let bad = wednesday().next();
    let rule = Rule {
        on: Operation::Read,
        query_contains: Some(format!("'{bad}T00:00:00")),
        ..Rule::always(Fault::Gateway { status: 400 })
    };
    city.stage.portal.set_faults(Faults {
        rules: vec![rule],
        replicas: None,
    });
    let ran = run(&city, &three_days("keys")).await;
    let states = states(&ran);
    assert_eq!(states.len(), 3, "{}", ran.err);
    assert_eq!(states[2].0, "in-sync", "{states:?}");
    assert_eq!(states[1].0, "unproven", "{states:?}");
}

/// A portal address on which nothing listens.
const NOWHERE: (&str, &str) = ("SODALAKE__SOCRATA__URL", "http://127.0.0.1:1/");

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_only_once_for_an_unreachable_portal() {
    let city = TestCity::around(wednesday(), "").await;
    for line in [
        "check --from 2020-09-01 --to 2020-10-01",
        "plan --from 2020-09-01 --to 2020-10-01",
        "repair --all --from 2020-09-01 --to 2020-10-01",
        "check --depth survey --from 2020-09-01 --to 2020-10-01",
    ] {
        let started = Instant::now();
        let ended = tokio::time::timeout(
            std::time::Duration::from_secs(150),
            with(&city, line, &[NOWHERE]),
        );
        let ran = ended.await.unwrap_or_else(|_| panic!("{line} goes on"));
        let took = started.elapsed();
        let ran = ran.ends(7, "http://127.0.0.1:1/");
        assert!(took.as_secs() < 100, "{line}: {took:?}");
        assert!(ran.err.contains("of 150 dataset-days"), "{}", ran.err);
        assert!(ran.err.contains("the portal"), "{}", ran.err);
    }
}
