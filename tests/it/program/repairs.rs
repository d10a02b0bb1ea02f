//! The commands as people and scripts run them: the real binary with a fictional city.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value as Json;
use sodalake::sandbox::city::{Breakage, Table};
use sodalake::sandbox::portal::{Fault, Faults, Operation, Rule};
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{Ran, command, config, run, with};

const RADAR: &str = "radar-counts --day 2020-10-14";

/// A city whose radar day is duplicated.
async fn city_with_duplicates(more: &str) -> TestCity {
    let city = TestCity::around(wednesday(), more).await;
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    city
}

/// The duplicated day's plan, in a file.
async fn planned(city: &TestCity) -> (PathBuf, String) {
    let file = city.stage.dir().join("day.plan");
    let line = format!("plan {RADAR} --out {}", file.display());
    run(city, &line).await.ends(1, "");
    let text = std::fs::read_to_string(&file).unwrap();
    (file, text)
}

async fn apply(city: &TestCity, file: &std::path::Path, more: &str) -> Ran {
    run(city, &format!("apply {}{more}", file.display())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_sync_exits_with_0_and_prints_exactly_the_promised_keys() {
    let city = TestCity::around(wednesday(), "").await;
    let ran = run(&city, &format!("check {RADAR} --format json"))
        .await
        .ends(0, "in-sync");
    assert_eq!(ran.err, "");
    let line = ran.json();
    let mut keys: Vec<&str> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    let mut promised: Vec<&str> =
        "dataset id day depth state expected published missing duplicates \
        orphans altered repeated collided misdated unpublishable miscatalogued uncatalogued keys \
        cause why published_rows purged_rows catalog_changes seconds pass digest"
            .split_whitespace()
            .collect();
    promised.sort_unstable();
    assert_eq!(keys, promised);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_day_is_found_repaired_and_restored() {
    let city = city_with_duplicates("").await;
    let found = run(&city, &format!("check {RADAR} --format json"))
        .await
        .ends(1, "differs");
    let duplicates = found.json()["duplicates"].as_u64().unwrap();
    let repaired = run(&city, &format!("repair {RADAR} --format json"))
        .await
        .ends(0, "repaired");
    assert_eq!(repaired.json()["purged_rows"].as_u64(), Some(duplicates));
    run(&city, &format!("check {RADAR}"))
        .await
        .ends(0, "in-sync");

    let pass = repaired.json()["pass"].as_str().unwrap().to_owned();
    run(&city, &format!("restore {pass}"))
        .await
        .ends(0, &format!("{duplicates} of {duplicates} rows"));
    run(&city, &format!("check {RADAR}"))
        .await
        .ends(1, "duplicates");

    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    run(&city, &format!("restore {unknown}"))
        .await
        .ends(2, "the archive has nothing from pass");
    run(&city, "restore 0189")
        .await
        .ends(2, "'0189' is not a pass id");
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_never_prints_no_escapes_and_always_prints_some() {
    let city = city_with_duplicates("").await;
    let plain = run(&city, &format!("check {RADAR} --color never -v"))
        .await
        .ends(1, "duplicates");
    assert!(
        !plain.out.contains('\u{1b}') && !plain.err.contains('\u{1b}'),
        "{}",
        plain.out
    );
    let painted = run(&city, &format!("check {RADAR} --color always"))
        .await
        .ends(1, "duplicates");
    assert!(painted.out.contains('\u{1b}'), "{}", painted.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_file_can_be_applied() {
    let city = city_with_duplicates("").await;
    let (file, _) = planned(&city).await;
    apply(&city, &file, "").await.ends(0, "repaired");
    run(&city, &format!("check {RADAR}"))
        .await
        .ends(0, "in-sync");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_another_digest_is_refused() {
    let city = city_with_duplicates("").await;
    let (file, text) = planned(&city).await;
    let rows = city.stage.portal.rows("i626-g7ub");

    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let url = city.stage.url().to_owned();
    for (broken, why) in [
        (String::new(), "is empty"),
        ("row,key\n1,2\n".into(), "read line 1 of the plan"),
        (
            text.replacen("\"why\":\"duplicate\"", "\"why\":\"orphan\"", 1),
            "it was edited",
        ),
        (text.replace(&url, "http://127.0.0.1:9"), ""),
        (
            text.lines().take(3).collect::<Vec<_>>().join("\n"),
            "is incomplete",
        ),
    ] {
        assert_ne!(broken, text);
        write(&broken);
        apply(&city, &file, "").await.ends(2, why);
    }
    write(&text);
    apply(&city, &file, " --approve 0123456789ab")
        .await
        .ends(2, "no plan in the file");
    run(&city, "apply /nowhere.plan")
        .await
        .ends(7, "No such file");
    assert_eq!(city.stage.portal.rows("i626-g7ub"), rows);

    city.stage.portal.set_faults(Faults::default());
    city.damage(
        Breakage::Strangers(2),
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    apply(&city, &file, "").await.ends(3, "the plan is stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_another_portal_is_refused() {
    let city = city_with_duplicates("").await;
    let other = city_with_duplicates("").await;
    let (file, _) = planned(&other).await;
    apply(&city, &file, "")
        .await
        .ends(2, "it is for http://127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_the_digest_lifts_the_budget_of_its_plan() {
    let city = city_with_duplicates("rails.max_purge_rows_per_day = 1\n").await;
    let held = run(&city, &format!("repair {RADAR} --format json")).await;
    let held = held.ends(3, "max_purge_rows_per_day").json();
    let digest = held["digest"].as_str().unwrap();
    let (file, _) = planned(&city).await;
    apply(&city, &file, "")
        .await
        .ends(3, "max_purge_rows_per_day");
    apply(&city, &file, &format!(" --approve {}", &digest[..11]))
        .await
        .ends(2, "12 digits");
    apply(&city, &file, &format!(" --approve {}", &digest[..12]))
        .await
        .ends(0, "repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_plan_leaves_no_plan_file() {
    let city = city_with_duplicates("").await;
    let file = city.stage.dir().join("day.plan");
    let line = format!("plan {RADAR} --out {}", file.display());
    let wrong = [("SODALAKE__DATASET__RADAR_COUNTS__ID", "abcd-2345")];
    with(&city, &line, &wrong).await.ends(7, "abcd-2345");
    assert!(!file.exists());
    let line = format!("plan {RADAR} --out /nowhere/day.plan");
    run(&city, &line)
        .await
        .ends(7, "write plan /nowhere/day.plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_holds_and_wrong_settings_are_usage_errors() {
    let city = city_with_duplicates("").await;
    let line = format!("repair {RADAR}");
    with(&city, &line, &[("SODALAKE__MODE", "observe")])
        .await
        .ends(3, "observe");
    with(&city, &line, &[("SODALAKE__MODE", "dream")])
        .await
        .ends(2, "mode");
    run(&city, "check no-such-dataset --day 2020-10-14")
        .await
        .ends(2, "there is no dataset");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_service_is_named() {
    let city = city_with_duplicates("").await;
    let line = format!("check {RADAR}");
    let gone = "postgres://soda@127.0.0.1:1/soda?sslmode=disable";
    for (key, url, why) in [
        ("SODALAKE__CATALOG__URL", gone, "catalog"),
        ("SODALAKE__LEDGER__URL", gone, "ledger"),
        ("SODALAKE__SOCRATA__URL", "http://127.0.0.1:1", "portal"),
    ] {
        with(&city, &line, &[(key, url)]).await.ends(7, why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_write_permission_fails_with_a_reason_and_changes_nothing() {
    let city = city_with_duplicates("").await;
    let rows = city.stage.portal.rows("i626-g7ub");
    let line = format!("repair {RADAR}");
    let password = "SODALAKE__SOCRATA__PASSWORD";
    with(&city, &line, &[(password, "wrong")])
        .await
        .ends(7, "Invalid username");
    let reader = [
        ("SODALAKE__SOCRATA__USERNAME", "reader"),
        (password, "reader-password"),
    ];
    with(&city, &line, &reader).await.ends(7, "");
    assert_eq!(city.stage.portal.rows("i626-g7ub"), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_the_portal_does_not_have_is_reported() {
    let city = city_with_duplicates("").await;
    let wrong = [("SODALAKE__DATASET__RADAR_COUNTS__ID", "abcd-2345")];
    with(&city, &format!("check {RADAR}"), &wrong)
        .await
        .ends(7, "abcd-2345");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_read_is_unproven_and_nothing_is_purged() {
    let city = city_with_duplicates("").await;
    let rows = city.stage.portal.rows("i626-g7ub");
    let line = format!("repair {RADAR}");
    let file = city
        .stage
        .lake()
        .join("2020/10/14/wt/Austin_wt_2020-10-14.json");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    run(&city, &line).await.ends(4, "Austin_wt_2020-10-14.json");
    std::fs::remove_dir_all(city.stage.lake()).unwrap();
    std::fs::create_dir(city.stage.lake()).unwrap();
    run(&city, &line).await.ends(4, "unproven");
    assert_eq!(city.stage.portal.rows("i626-g7ub"), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_row_identifier_nothing_is_written() {
    let city = TestCity::around(wednesday(), "").await;
    let rows = city.stage.portal.rows("i626-g7ub");
    let spec = Table::RadarCounts.spec();
    let columns = sodalake::sandbox::portal::TableSpec::new(spec.id, &[], None);
    let typed = |(name, kind): &(&str, sodalake::model::ColumnType)| {
        let kind = sodalake::sandbox::portal::ColumnType::named(&kind.to_string());
        (
            (*name).to_owned(),
            kind.unwrap_or(sodalake::sandbox::portal::ColumnType::Text),
        )
    };
    city.stage
        .portal
        .create(sodalake::sandbox::portal::TableSpec {
            columns: spec.columns.iter().map(typed).collect(),
            ..columns
        });
    let unsystematic = |mut row: serde_json::Map<String, Json>| {
        row.retain(|name, _| !name.starts_with(':'));
        row
    };
    let rows = rows.into_iter().skip(1).map(unsystematic).collect();
    city.stage
        .portal
        .upsert_directly(spec.id, rows, Utc::now())
        .unwrap();
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    run(&city, &format!("repair {RADAR}"))
        .await
        .ends(3, "row identifier");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_while_another_process_holds_the_lease_exits_with_6() {
    let city = city_with_duplicates("").await;
    let lease = city.world.ledger.lease(
        "repair/radar-counts",
        "other-host:1:x",
        Utc::now(),
        Duration::from_mins(1),
    );
    lease.await.unwrap();
    run(&city, &format!("repair {RADAR}"))
        .await
        .ends(6, "other-host:1:x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_replicas_do_not_show_is_unconfirmed() {
    let city = city_with_duplicates("").await;
    city.stage
        .portal
        .set_replicas(sodalake::sandbox::portal::Replicas {
            each: vec![sodalake::sandbox::portal::ReplicaOptions::lagging(
                3_600_000,
            )],
            ..Default::default()
        });
    let soon = [("SODALAKE__SOCRATA__CONFIRM_WITHIN", "1s")];
    with(&city, &format!("repair {RADAR}"), &soon)
        .await
        .ends(5, "unconfirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_survey_skips_unchanged_days_and_sends_few_requests() {
    let city = TestCity::around(wednesday(), "").await;
    let line = "check radar-counts --depth survey --from 2020-10-13 --to 2020-10-17";
    run(&city, line).await.ends(0, "in-sync");
    city.stage.portal.clear_requests();
    let second = run(&city, &format!("{line} --format json"))
        .await
        .ends(0, "skipped");
    assert_eq!(
        second.out.matches("\"state\":\"skipped\"").count(),
        4,
        "{}",
        second.out
    );
    let requests = city.stage.portal.requests().len();
    assert!(requests <= 4, "{requests} requests for four unchanged days");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_need_no_password_and_no_archive() {
    let city = city_with_duplicates("").await;
    let text = std::fs::read_to_string(config(&city)).unwrap();
    let secretless = |line: &&str| !line.contains("username") && !line.contains("password");
    let text: String = text
        .lines()
        .filter(secretless)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(config(&city), text).unwrap();
    let nowhere = [("SODALAKE__ARCHIVE__URL", "file:///proc/no-archive")];
    with(&city, &format!("check {RADAR}"), &nowhere)
        .await
        .ends(1, "duplicates");
    with(&city, &format!("plan {RADAR}"), &nowhere)
        .await
        .ends(1, "purge");
    with(&city, &format!("repair {RADAR}"), &nowhere)
        .await
        .ends(7, "writing");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_repair_promptly_and_the_next_repair_finishes_it() {
    let city = city_with_duplicates("").await;
    city.stage.portal.set_faults(Faults {
        rules: vec![Rule {
            on: Operation::Write,
            ..Rule::always(Fault::Delay { ms: 60_000 })
        }],
        replicas: None,
    });
    let line = format!("repair {RADAR}");
    for signal in ["INT", "TERM"] {
        let mut child = command(&city, &line, &[]);
        let child = child
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let before = city.stage.portal.requests().len();
        let writes = || {
            let requests = city.stage.portal.requests();
            requests[before..].iter().any(|one| one.method != "GET")
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !writes() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let process = child.id().unwrap().to_string();
        let kill = Command::new("kill")
            .args(["-s", signal, &process])
            .status()
            .await;
        assert!(kill.unwrap().success());
        let asked = Instant::now();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}");
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{:?}",
            asked.elapsed()
        );
        if signal == "INT" {
            city.damage(
                Breakage::ChainedAgain,
                Table::RadarCounts,
                wednesday(),
                "Austin",
            );
        }
    }
    city.stage.portal.set_faults(Faults::default());
    run(&city, &line).await.ends(0, "");
    run(&city, &format!("check {RADAR}"))
        .await
        .ends(0, "in-sync");
}
