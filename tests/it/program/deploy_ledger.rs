//! Moving a ledger from SQLite to PostgreSQL, as described in docs/operations.md.

use std::path::Path;
use std::process::{Command, Output};

use chrono::{DateTime, Utc};
use serde_json::json;
use sodalake::ledger::{DayRecord, Ledger, Mark, MarkKind, PassKind, PassRecord, Tell};
use sodalake::model::{DatasetName, Day};
use sodalake::settings::LedgerSettings;
use url::Url;
use uuid::Uuid;

use crate::support::postgres;

async fn open(url: &Url) -> Ledger {
    let settings = LedgerSettings {
        url: url.clone(),
        password: None,
        ca_file: None,
    };
    Ledger::open(&settings).await.unwrap()
}

fn moved(from: &Path, to: &Url) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/move-ledger");
    let mut command = Command::new(script);
    command.arg(from).arg(to.as_str()).output().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn awkward() -> DayRecord {
    DayRecord {
        dataset: "camera-counts".parse().unwrap(),
        day: "2020-10-01".parse().unwrap(),
        state: "differs".into(),
        since: at("2020-10-02T08:31:00.123456Z"),
        checked_at: at("2020-10-03T12:00:00Z"),
        why: Some(String::new()),
        cause: Some("two lines,\n\"quoted\", 'BURNET RD / RICHCREEK RD' \\ ñ".into()),
        counts: json!({"duplicate": 40_322, "note": "a \"b\", c"}),
        fingerprint: None,
        digest: Some("9f86d081".into()),
        expected: Some(40_322),
        published: None,
        guards: vec!["purge-rows".into(), "recheck".into()],
        open_since: Some(at("2020-10-02T08:31:00Z")),
        pass: None,
        drafted: None,
        compared: sodalake::ledger::Compared::default(),
    }
}

/// A ledger with data of every kind.
async fn fill(ledger: &Ledger) {
    let day = awkward();
    ledger.set_day(&day, Tell::Change).await.unwrap();
    let mark = Mark {
        dataset: day.dataset.clone(),
        day: day.day,
        kind: MarkKind::Hold,
        reason: "detector, swap".into(),
        until: None,
        at: day.checked_at,
        by: "ada@desk".into(),
    };
    ledger.mark(&mark).await.unwrap();
    let pass = PassRecord {
        id: Uuid::now_v7(),
        dataset: day.dataset,
        day: day.day,
        kind: PassKind::Repair,
        started_at: day.checked_at,
        digest: "d1".into(),
        summary: json!({"purge": 3}),
        end: None,
    };
    ledger.begin_pass(&pass).await.unwrap();
}

async fn dump(ledger: &Ledger) -> String {
    let dataset: DatasetName = "camera-counts".parse().unwrap();
    let day: Day = "2020-10-01".parse().unwrap();
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}",
        ledger.days(None, None).await.unwrap(),
        ledger.marks(None).await.unwrap(),
        ledger
            .passes(&dataset, day, at("2020-01-01T00:00:00Z"))
            .await
            .unwrap(),
        ledger.acts(&dataset, day).await.unwrap(),
    )
}

#[tokio::test]
async fn a_ledger_moves_completely_to_postgresql_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let old = open(&format!("sqlite://{}", file.display()).parse().unwrap()).await;
    fill(&old).await;
    let url = postgres::database().await;
    let new = open(&url).await;

    let output = moved(&file, &url);
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(
        lines.lines().any(|line| line == "ledger_days: 1"),
        "{lines}"
    );
    assert_eq!(dump(&new).await, dump(&old).await);

    let again = moved(&file, &url);
    assert!(!again.status.success());
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("is not empty"), "{said}");
    assert_eq!(dump(&new).await, dump(&old).await);

    // The next act gets a new number.
    let mut mark = new.marks(None).await.unwrap().remove(0);
    mark.reason = "longer".into();
    new.mark(&mark).await.unwrap();
}
