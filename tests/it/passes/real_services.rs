//! Whole passes over production services: the lake on S3, catalog and ledger on PostgreSQL, the
//! portal over HTTP. Each process is the real binary.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use sodalake::app;
use sodalake::compare::Depth;
use sodalake::reconcile::{self, State};
use sodalake::sandbox::city::{Breakage, Source, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};
use sodalake::settings::Settings;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::support::city::{TestCity, wednesday};
use crate::support::lake_catalog::{databases, move_catalog};
use crate::support::postgres;
use crate::support::program::{Ran, command, config, with};
use crate::support::s3::{S3Bucket, move_lake};

/// A city's lake and catalog, moved to where they are in production.
struct Services {
    env: Vec<(&'static str, String)>,
    catalog: Client,
}

impl Services {
    async fn of(city: &TestCity) -> Self {
        let bucket = S3Bucket::create().await;
        move_lake(&city.stage.lake(), &bucket).await;
        let database = postgres::database().await;
        let catalog = postgres::client(&database).await;
        move_catalog(city, &catalog).await;
        let mut env = vec![
            ("SODALAKE__LAKE__URL", bucket.url.to_string()),
            ("SODALAKE__LAKE__ENDPOINT", bucket.endpoint.to_string()),
            ("SODALAKE__LAKE__REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
        ];
        env.extend(databases(&database, &postgres::database().await));
        Self { env, catalog }
    }

    async fn run(&self, city: &TestCity, line: &str) -> Ran {
        with(city, line, &self.env()).await
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.env
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect()
    }

    /// The catalog's published entries of the day, as `source base ext pointer`.
    async fn published(&self) -> Vec<String> {
        let sql = "select concat_ws(' ', data_source, id_base, id_ext, pointer)
             from api.data_lake_catalog
             where repository = 'socrata' and collection_date = '2020-10-14T05:00:00Z'
             order by 1";
        let rows = self.catalog.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The findings of each dataset that is not in sync.
fn findings(ran: &Ran) -> Vec<String> {
    let lines = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap());
    let kinds = ["missing", "duplicates", "miscatalogued", "uncatalogued"];
    let told = lines.filter(|line| line["state"] != "in-sync").map(|line| {
        let found = kinds.iter().filter(|kind| line[**kind] != 0);
        let found: Vec<&str> = found.copied().collect();
        format!("{} {}", line["dataset"].as_str().unwrap(), found.join(" "))
    });
    told.collect()
}

fn camera(city: &TestCity) -> String {
    let mut files = city
        .stage
        .city
        .day_files(Source::Gridsmart, wednesday())
        .into_iter();
    let named = files.find(|file| file.ext == Table::CameraCounts.ext() && !file.bytes.is_empty());
    named.unwrap().base
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_day_is_found_repaired_and_verified() {
    let city = TestCity::around(wednesday(), "").await;
    let whole = Services::of(&TestCity::around(wednesday(), "").await)
        .await
        .published()
        .await;
    for (breakage, table, base) in [
        (
            Breakage::OtherSpelling,
            Table::CameraCounts,
            &*camera(&city),
        ),
        (Breakage::TailLost, Table::RadarCounts, "Austin"),
        (Breakage::NeverPublished, Table::TravelTimes, "Austin"),
        (Breakage::GhostEntry, Table::MatchedTrips, "Austin"),
    ] {
        city.damage(breakage, table, wednesday(), base);
    }
    let services = Services::of(&city).await;
    assert_ne!(services.published().await, whole);

    let day = "--day 2020-10-14 --format json";
    let found = services
        .run(&city, &format!("check {day}"))
        .await
        .ends(1, "");
    assert_eq!(
        findings(&found),
        [
            "camera-counts duplicates",
            "bluetooth-summary missing",
            "bluetooth-matched miscatalogued",
            "radar-counts missing",
        ]
    );
    let repaired = services
        .run(&city, &format!("repair --all {day}"))
        .await
        .ends(0, "repaired");
    assert_eq!(
        repaired.out.matches("\"state\":\"repaired\"").count(),
        4,
        "{}",
        repaired.out
    );
    let again = services
        .run(&city, &format!("check {day} --depth content"))
        .await;
    assert!(findings(&again.ends(0, "in-sync")).is_empty());
    assert_eq!(services.published().await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_programs_gets_the_dataset() {
    let city = TestCity::around(wednesday(), "").await;
    city.damage(
        Breakage::TailLost,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let services = Services::of(&city).await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule {
            on: Operation::Write,
            ..Rule::always(Fault::Reset)
        }],
        replicas: None,
    });
    let line = "repair radar-counts --day 2020-10-14";
    let before = city.stage.portal.requests().len();
    let mut first = command(&city, line, &services.env());
    let first = first
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let writes = || {
        let requests = city.stage.portal.requests();
        requests[before..].iter().any(|one| one.method != "GET")
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !writes() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    services.run(&city, line).await.ends(6, "holds");

    let process = first.id().unwrap().to_string();
    let kill = Command::new("kill")
        .args(["-s", "INT", &process])
        .status()
        .await;
    assert!(kill.unwrap().success());
    let ended = first.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(130));
    city.stage.portal.set_faults(Faults::default());
    services.run(&city, line).await.ends(0, "repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restart_fails_one_run_and_no_more() {
    let city = TestCity::around(wednesday(), "").await;
    let mut server = postgres::Server::start();
    let database = postgres::database_on(&server.url).await;
    move_catalog(&city, &postgres::client(&database).await).await;
    let file = config(&city);
    let env = databases(&database, &postgres::database_on(&server.url).await);
    let env = env.into_iter().map(|(key, value)| (key.to_owned(), value));
    let facts: Vec<_> = sodalake::expected::recipes()
        .iter()
        .map(|one| one.facts())
        .collect();
    let settings = Settings::load(Some(&file), env, &facts).unwrap();
    let world = app::world(Arc::new(settings)).await.unwrap();
    let target = city.target(Table::RadarCounts, wednesday());
    let run_check = async || reconcile::check(&world, &target, Depth::Keys).await;

    assert_eq!(run_check().await.state, State::InSync);
    server.stop();
    let report = run_check().await;
    assert!(report.service_failed, "{:?} {:?}", report.state, report.why);
    server.start_again();
    let report = run_check().await;
    assert_eq!(report.state, State::InSync, "{:?}", report.why);
}
