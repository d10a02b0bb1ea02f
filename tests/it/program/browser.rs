//! The pages in a real browser: wide and narrow, light and dark. Without JavaScript, a person gets
//! from the calendar to the day and to the approval of its plan.
//!
//! `tests/browser/browse.mjs` drives the browser and contains the checks. Screenshots are written
//! to `target/tests/shots` for manual inspection.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use sodalake::compare::Depth;
use sodalake::reconcile::{State as DayState, SystemClock, World};
use sodalake::sandbox::city::{Breakage, Place, Table};
use sodalake::sandbox::portal::PortalOptions;
use sodalake::server::{self, State};
use sodalake::telemetry::Activity;
use sodalake::telemetry::metrics::Metrics;
use tokio::io::AsyncWriteExt as _;

use crate::support::city::{TestCity, wednesday, written_at};

const TOKEN: &str = "a token for the browser";
/// The street as a hostile publisher spells it: markup that would run if it were not escaped.
const HOSTILE: &str =
    "<img src=x onerror=\"globalThis.hacked=1\"><script>globalThis.hacked=1</script>";

/// A city with a held day, one that differs by hostile rows, and one that was repaired.
async fn city() -> TestCity {
    let environment = [("SODALAKE__HTTP__TOKEN", TOKEN)];
    let rails = "rails.max_orphan_rows_per_day = 20";
    let options = PortalOptions::default();
    let city = TestCity::with(wednesday(), rails, options, &environment).await;
    for (table, breakage) in [
        (Table::CameraCounts, Breakage::OtherSpelling),
        (Table::TravelTimes, Breakage::Strangers(30)),
        (Table::RadarCounts, Breakage::TailLost),
    ] {
        let base = city.bases(table, wednesday()).swap_remove(0);
        let place = Place {
            table,
            day: wednesday(),
            base,
        };
        city.stage.damage(breakage, &place, written_at()).unwrap();
    }
    write_hostile_rows(&city);
    city
}

/// Duplicates two rows under keys and a street of their own.
fn write_hostile_rows(city: &TestCity) {
    let spec = Table::CameraCounts.spec();
    let day = wednesday().to_string();
    let of_the_day = |row: &serde_json::Map<String, Json>| {
        row.values()
            .any(|value| value.as_str().is_some_and(|text| text.starts_with(&day)))
    };
    let rows = city
        .stage
        .portal
        .rows(spec.id)
        .into_iter()
        .filter(of_the_day);
    let duplicates = rows.take(2).enumerate().map(|(number, mut row)| {
        row.retain(|field, _| !field.starts_with(':'));
        row.insert("intersection_name".into(), HOSTILE.into());
        row.insert(spec.row_identifier.into(), format!("{number:032x}").into());
        row
    });
    let duplicates: Vec<_> = duplicates.collect();
    assert_eq!(duplicates.len(), 2);
    city.stage
        .portal
        .upsert_directly(spec.id, duplicates, written_at())
        .unwrap();
}

/// Checks everything, repairs the radar day, and tries to repair the held one. Returns the pass.
async fn history(city: &TestCity) -> String {
    for table in [
        Table::CameraCounts,
        Table::MatchedTrips,
        Table::DeviceReads,
        Table::RadarCounts,
    ] {
        for day in [-1, 0, 1].map(|days| wednesday().plus(days)) {
            city.check(table, day, Depth::Content).await;
        }
    }
    let held = city
        .repair(Table::TravelTimes, wednesday(), Depth::Keys)
        .await;
    assert_eq!(held.state, DayState::Held, "{:?}", held.why);
    let repaired = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    assert_eq!(repaired.state, DayState::Repaired, "{:?}", repaired.why);
    repaired.pass.unwrap().to_string()
}

/// Serves the pages of the city's world until the test ends.
async fn serve(world: World) -> String {
    let names = world.settings.datasets.iter().map(|one| &one.dataset.name);
    let metrics = Metrics::new(names);
    let state = State::new(Activity::default(), metrics, Arc::new(SystemClock));
    state.renew(&Arc::new(world), "test");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server::serve(listener, state, std::future::pending()));
    base
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `BROWSER_TOOLS`, or the folder in which `tests/run` installs them.
fn tools() -> PathBuf {
    let named = std::env::var_os("BROWSER_TOOLS").map(PathBuf::from);
    let tools = named.unwrap_or_else(|| root().join("target/tests/browser"));
    let installed = tools.join("node_modules/playwright-core").exists();
    assert!(
        installed,
        "{}: no playwright-core; tests/run installs it",
        tools.display()
    );
    tools
}

async fn inspect(asked: &Json, tools: &Path) {
    let mut node = tokio::process::Command::new("node")
        .arg(root().join("tests/browser/browse.mjs"))
        .env("BROWSER_TOOLS", tools)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed");
    let mut input = node.stdin.take().unwrap();
    input.write_all(asked.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = node.wait_with_output().await.unwrap();
    let faults = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && faults.is_empty(),
        "{faults}\n{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_in_a_browser() {
    let tools = tools();
    let city = city().await;
    let pass = history(&city).await;
    let day = wednesday();
    let held = format!("/days/bluetooth-summary/{day}");
    let base = serve(city.world).await;
    let hostile = crate::support::http::client()
        .get(format!("{base}/days/camera-counts/{day}"))
        .send()
        .await
        .unwrap();
    let hostile = hostile.text().await.unwrap();
    assert!(
        hostile.contains("&lt;script&gt;globalThis.hacked=1"),
        "the hostile street is shown"
    );
    let asked = json!({
        "base": base,
        "token": TOKEN,
        "held": held,
        "shots": root().join("target/tests/shots"),
        "pages": {
            "overview": "/",
            "held": held,
            "differs": format!("/days/camera-counts/{day}"),
            "repaired": format!("/days/radar-counts/{day}"),
            "unknown": format!("/days/radar-counts/{}", day.plus(40)),
            "pass": format!("/passes/{pass}"),
            "corrections": "/corrections",
        },
    });
    inspect(&asked, &tools).await;
}
