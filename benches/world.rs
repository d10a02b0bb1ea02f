//! The benchmarks of docs/performance.md that need a portal: reading and writing over HTTP with the
//! stand-in portal, each compared with a minimal client that sends the same requests, and whole
//! checks by the real binary with their memory use.
//!
//! `cargo bench --bench world` prints a Markdown line per target. A word after `--` selects `keys`,
//! `writes`, `looks` (whole checks), `large`, `clean` or `daemon`. `days=3` makes the checks
//! shorter, and `looks=6000` makes the daemon run longer. Everything but memory is measured by
//! wall-clock time, so the machine should be idle. curl must be installed.

#[path = "support/small.rs"]
mod small;
#[path = "support/stage.rs"]
mod stage;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "used by other benchmarks for measuring")]
mod turns;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use small::{CHUNK_ROWS, ID, day, key, row, small};
use sodalake::model::{Day, RowKey};
use sodalake::sandbox::city::{Scale, Table as CityTable};
use stage::{Built, curl};
use turns::{by_clock, chosen, medians, words};

fn main() {
    let Some(words) = words() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    println!("| what | measured | bar |\n|---|---|---|");
    if chosen(&words, "keys") {
        keys(&runtime, 1_000_000);
    }
    if chosen(&words, "writes") {
        writes(&runtime, 100_000);
    }
    if chosen(&words, "looks") {
        looks(&runtime, given(&words, "days=").unwrap_or(30));
    }
    if chosen(&words, "large") {
        large(&runtime, 1_000_000, "content", 256);
        large(&runtime, 10_000_000, "keys", 512);
    }
    if chosen(&words, "clean") {
        let took = [30, 90, 270].map(|days| (days, clean(&runtime, days, 1)));
        let points = took.map(|(days, millis)| format!("{days} {millis}\n"));
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("survey.txt");
        fs::write(&file, points.concat()).expect("target/tmp can be written");
        for times in [10, 100] {
            clean(&runtime, 30, times);
        }
    }
    if chosen(&words, "daemon") {
        daemon(&runtime, given(&words, "looks=").unwrap_or(1_500));
    }
}

/// The number given as `name`, such as `days=3`.
fn given(words: &[String], name: &str) -> Option<u64> {
    let number = words.iter().find_map(|word| word.strip_prefix(name))?;
    Some(number.parse().expect("it is a number"))
}

/// Reads every key of a day. Compared with curl, which sends the same requests and discards the
/// answers.
fn keys(runtime: &tokio::runtime::Runtime, rows: u32) {
    let small = runtime.block_on(small(rows));
    let mut read = || {
        let read = runtime.block_on(small.reader.keys(&small.table, day()));
        assert_eq!(read.expect("whole").keys.len(), rows as usize);
    };
    small.portal.clear_requests();
    read();
    let asked = small.portal.requests();
    let mut wire = 0;
    let mut fetch = || wire = curl(&small.serving.url, &asked);
    let [ours, bare] = medians(by_clock, [&mut read, &mut fetch]);
    let requests = asked.len();
    println!(
        "| keys of a day of {rows} rows, {requests} requests | {ours:.0} ms against curl {bare:.0} ms: {:.2} | 1.3 |",
        ours / bare
    );
    let each = f64::from(u32::try_from(wire).expect("the bytes fit in 32 bits")) / f64::from(rows);
    println!("| the same: bytes on the wire per row | {each:.1} | 24 |");
}

/// Publishes and purges rows. Compared with a minimal client that sends the same bodies in a loop.
fn writes(runtime: &tokio::runtime::Runtime, rows: u32) {
    let small = runtime.block_on(small(1));
    let new: Vec<Map<String, Value>> = (1..=rows).map(row).collect();
    let gone: Vec<RowKey> = (1..=rows).map(|n| key(n).into()).collect();
    let deleted: Vec<Value> = gone
        .iter()
        .map(|key| json!({"row_id": key, ":deleted": true}))
        .collect();
    let bodies = |lines: Vec<String>| -> Vec<String> {
        let chunks = lines.chunks(CHUNK_ROWS as usize);
        chunks
            .map(|chunk| format!("[{}]", chunk.join(",\n")))
            .collect()
    };
    let upserts = bodies(new.iter().map(|row| json!(row).to_string()).collect());
    let deletes = bodies(deleted.iter().map(Value::to_string).collect());
    let bare = sodalake::outgoing::client(sodalake::outgoing::Wire::Plain).build();
    let bare = bare.expect("a client can be had");
    let url = format!("{}/resource/{ID}.json", small.serving.url);
    let post = |bodies: &[String]| {
        runtime.block_on(async {
            for body in bodies {
                let request = bare.post(&url).basic_auth("writer", Some("secret"));
                let request = request.header("content-type", "application/json");
                let answer = request
                    .body(body.clone())
                    .send()
                    .await
                    .expect("the portal answers");
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await.expect("the answer is complete");
            }
        });
    };
    let posts = || {
        small
            .portal
            .requests()
            .iter()
            .filter(|one| one.method == "POST")
            .count()
    };
    small.portal.clear_requests();
    // Published rows remain until they are purged, by either client.
    let [publish, purge, bare_publish, bare_purge] = medians(
        by_clock,
        [
            &mut || {
                let done = runtime.block_on(small.writer.upsert(&small.table, &new));
                assert_eq!(done.expect("the rows are written").created, u64::from(rows));
            },
            &mut || {
                let done = runtime.block_on(small.writer.delete(&small.table, &gone));
                assert_eq!(done.expect("the rows are written").deleted, u64::from(rows));
            },
            &mut || post(&upserts),
            &mut || post(&deletes),
        ],
    );
    let each = posts() / (4 * turns::TURNS);
    for (what, ours, bare) in [
        ("publish", publish, bare_publish),
        ("purge", purge, bare_purge),
    ] {
        println!(
            "| {what} {rows} rows, {each} requests of {CHUNK_ROWS} rows | {ours:.0} ms against {bare:.0} ms: {:.2} of its speed | 0.8 |",
            bare / ours
        );
    }
}

/// Checks five datasets over a number of days. Compared with the larger of two parts of that work:
/// curl reading the same from the portal, and a bare scan of the lake's bytes on all cores.
fn looks(runtime: &tokio::runtime::Runtime, days: u64) {
    let scale = Scale {
        intersections: 40,
        camera_rows: 2_000,
        unmatched_rows: 80_000,
        matched_rows: 20_000,
        summary_rows: 17_000,
        radar_rows: 3_000,
        ..Scale::city()
    };
    let built = runtime.block_on(Built::of(scale, &CityTable::ALL, summer(), days));
    let mut times = [0.0; 2];
    for (depth, time) in ["keys", "content"].into_iter().zip(&mut times) {
        built.stage.portal.clear_requests();
        let look = built.check(depth);
        let asked = built.stage.portal.requests();
        let fetch = by_clock(&mut || _ = curl(built.stage.url(), &asked));
        let scan = by_clock(&mut || built.scan());
        *time = look.millis;
        println!(
            "| check {days} days of 5 datasets, {} rows, depth {depth}, {} requests | {:.0} ms against curl {fetch:.0}, scan {scan:.0} ms: {:.2}; peak {} MB | {} |",
            built.rows,
            asked.len(),
            look.millis,
            look.millis / fetch.max(scan),
            look.peak_bytes / 1_000_000,
            if depth == "keys" { "1.3" } else { "" }
        );
    }
    println!(
        "| depth content against depth keys | {:.2} | 2.5 |",
        times[1] / times[0]
    );
}

/// Surveys days that were checked and are in sync, with `times` the demo's rows. Returns the CPU
/// time in milliseconds.
fn clean(runtime: &tokio::runtime::Runtime, days: u64, times: u32) -> u64 {
    let demo = Scale::demo();
    let scale = Scale {
        camera_rows: demo.camera_rows * times,
        unmatched_rows: demo.unmatched_rows * times,
        matched_rows: demo.matched_rows * times,
        summary_rows: demo.summary_rows * times,
        radar_rows: demo.radar_rows * times,
        ..demo
    };
    let built = runtime.block_on(Built::of(scale, &CityTable::ALL, summer(), days));
    built.check("keys");
    built.stage.portal.clear_requests();
    let survey = built.check("survey");
    let asked = built.stage.portal.requests();
    let bytes: usize = asked.iter().map(|request| request.reply_bytes).sum();
    println!(
        "| survey of {days} days in sync of 5 datasets, {} rows | {} ms CPU time, {} requests, {bytes} bytes of answers | independent of rows |",
        built.rows,
        survey.busy_millis,
        asked.len(),
    );
    survey.busy_millis
}

fn summer() -> Day {
    "2019-06-01".parse().expect("it is a day")
}

/// Measures the daemon's memory while it checks the last month repeatedly.
fn daemon(runtime: &tokio::runtime::Runtime, looks: u64) {
    let days = 30;
    let first = Day::of(chrono::Utc::now().naive_utc()).plus(-32);
    let built = runtime.block_on(Built::of(Scale::demo(), &CityTable::ALL, first, days));
    for (done, bytes) in runtime.block_on(built.run(days, looks)) {
        println!(
            "| daemon after {done} checks of dataset-days | {} MB resident | flat |",
            bytes / 1_000_000
        );
    }
}

/// Checks one large day of camera counts, and measures the memory it takes.
fn large(runtime: &tokio::runtime::Runtime, rows: u32, depth: &str, megabytes: u32) {
    let scale = Scale {
        // A camera's file has at most about 2,600 rows.
        intersections: rows / 2_000,
        camera_rows: 2_000,
        ..Scale::demo()
    };
    let built = runtime.block_on(Built::of(scale, &[CityTable::CameraCounts], summer(), 1));
    let look = built.check(depth);
    println!(
        "| check a day of {} rows, depth {depth} | {:.0} ms, peak {} MB | {megabytes} MB |",
        built.rows,
        look.millis,
        look.peak_bytes / 1_000_000
    );
}
