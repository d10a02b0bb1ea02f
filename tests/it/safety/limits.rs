//! Huge and endless input under a memory cap on the real process. The program must end with an
//! error that names what was too large, not with exhausted memory. The cap (`RLIMIT_DATA`) limits
//! the memory that a process can write to.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use sodalake::compare::Depth;
use sodalake::sandbox::city::{Breakage, Table};
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday};
use crate::support::program::{Ran, config};

const MIB: u64 = 1 << 20;
/// For everything that is refused because of its size or shape.
const TIGHT: u64 = 256 * MIB;
/// For a page of rows, which may be up to 256 MiB.
const PAGE: u64 = 1024 * MIB;

/// Runs the program with at most `most` bytes of memory.
async fn capped(city: &TestCity, most: u64, line: &str, env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--data={most}"))
        .arg(env!("CARGO_BIN_EXE_sodalake"))
        .args(line.split(' '))
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("SODALAKE_CONFIG", config(city))
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    // On one line, so that no searched message is broken by a line wrap.
    let text = |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (out, err) = (text(output.stdout), text(output.stderr));
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("{line}: {:?}\n{out}\n{err}", output.status));
    Ran { code, out, err }
}

fn radar_file(city: &TestCity) -> std::path::PathBuf {
    let lake = city.stage.lake();
    lake.join("2020/10/14/wt/Austin_wt_2020-10-14.json")
}

/// Writes a file that starts with `begin`, repeats `part` up to about `bytes`, and finishes with
/// `end`.
fn write_long(file: &Path, begin: &str, part: &str, end: &str, bytes: u64) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    file.write_all(begin.as_bytes()).unwrap();
    for _ in 0..bytes / part.len() as u64 {
        file.write_all(part.as_bytes()).unwrap();
    }
    file.write_all(end.as_bytes()).unwrap();
    file.flush().unwrap();
}

const CHECK: &str = "check radar-counts --day 2020-10-14";

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_cap_is_effective() {
    let city = TestCity::around(wednesday(), "").await;
    let ran = capped(&city, TIGHT, CHECK, &[]).await;
    ran.ends(0, "in-sync");
    // Under a cap that is too small for anything, the same command fails.
    let line = Command::new("prlimit")
        .arg(format!("--data={}", 64 << 10))
        .arg(env!("CARGO_BIN_EXE_sodalake"))
        .arg("--version")
        .output();
    assert!(!line.await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_file_of_two_gigabytes_is_never_opened() {
    let city = TestCity::around(wednesday(), "").await;
    let file = std::fs::File::create(radar_file(&city)).unwrap();
    file.set_len(2 << 30).unwrap();
    let ran = capped(&city, TIGHT, CHECK, &[]).await;
    ran.ends(4, "lake.max_file_bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_file_needs_little_more_memory_than_its_size_for_any_content() {
    let city = TestCity::around(wednesday(), "").await;
    let file = radar_file(&city);
    let hundred = 100 * MIB;
    let data = "{\"header\":{},\"data\":";
    for (what, begin, part, end, bytes) in [
        (
            "one line of one text",
            data,
            "aaaaaaaaaaaaaaaa",
            "",
            hundred,
        ),
        (
            "a text that ends",
            "{\"header\":{},\"data\":\"",
            "aaaaaaaaaaaaaaaa",
            "\"}",
            hundred,
        ),
        (
            "ten million elements",
            "{\"header\":{},\"data\":[0",
            ",0",
            "]}",
            20 * MIB,
        ),
        (
            "ten million empty lists",
            "{\"header\":{},\"data\":[[]",
            ",[]",
            "]}",
            30 * MIB,
        ),
        ("ten million members", "{\"a\":0", ",\"a\":0", "}", 60 * MIB),
        ("nesting without end", data, "[", "", 50 * MIB),
        ("nesting of objects", data, "{\"a\":", "", 50 * MIB),
        (
            "escapes",
            "{\"header\":{},\"data\":[{\"detName\":\"",
            "\\u0041",
            "\"}]}",
            hundred,
        ),
        (
            "a number of many digits",
            data,
            "1234567890123456",
            "}",
            hundred,
        ),
    ] {
        write_long(&file, begin, part, end, bytes);
        let ran = capped(&city, TIGHT, CHECK, &[]).await;
        assert!(
            matches!(ran.code, 1 | 4),
            "{what}: {}\n{}{}",
            ran.code,
            ran.out,
            ran.err
        );
    }
}

/// Serves the same endless body to every request below `path`, and a valid table to others.
async fn endless(head: &'static str, part: &'static str, gzip: bool) -> SocketAddr {
    let body = move |_: Request| async move {
        let block = part.repeat((1 << 20) / part.len());
        let stream = if gzip {
            // Concatenated gzip members unpack to one body, a thousand times larger than what is
            // sent.
            let packed = |text: &str| {
                let mut gz = GzEncoder::new(Vec::new(), Compression::best());
                gz.write_all(text.as_bytes()).unwrap();
                Bytes::from(gz.finish().unwrap())
            };
            let first = packed(&format!("{head}{}", block.repeat(512)));
            futures::stream::iter([first])
                .chain(futures::stream::repeat(packed(&block)))
                .boxed()
        } else {
            let first = Bytes::from_static(head.as_bytes());
            let rest = futures::stream::repeat(Bytes::from(block));
            futures::stream::iter([first]).chain(rest).boxed()
        };
        let body = Body::from_stream(stream.map(Ok::<_, std::io::Error>));
        let encoding = if gzip { "gzip" } else { "identity" };
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CONTENT_ENCODING, encoding),
        ];
        (headers, body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(body);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_portal_answer_is_abandoned_with_or_without_compression() {
    let city = TestCity::around(wednesday(), "").await;
    for (head, part) in [
        ("{\"id\":\"", "x"),
        ("[", "[],"),
        ("", " "),
        ("{\"a\":", "["),
    ] {
        for gzip in [false, true] {
            let portal = format!("http://{}", endless(head, part, gzip).await);
            let env = [("SODALAKE__SOCRATA__URL", portal.as_str())];
            let ran = capped(&city, TIGHT, CHECK, &env).await;
            let ran = ran.ends(7, "longer than");
            assert!(ran.out.contains("bytes"), "{head}{part}: {}", ran.out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_page_of_rows_is_abandoned() {
    use sodalake::reconcile;
    let city = TestCity::around(wednesday(), "").await;
    // Requests for anything but a page go on to the stand-in portal.
    let portal = city.stage.url().to_owned();
    let http = crate::support::http::client();
    let relay = move |request: Request| {
        let (portal, http) = (portal.clone(), http.clone());
        async move {
            let query = request.uri().query().unwrap_or_default();
            let is_page = query.contains("row_id") && !query.contains("sl_rows");
            if is_page {
                let row = "{\"row_id\":\"00000000000000000000000000000000\"},";
                let block = Bytes::from(row.repeat(20_000));
                let first = futures::stream::iter([Bytes::from_static(b"[")]);
                let rest = first.chain(futures::stream::repeat(block));
                return axum::response::Response::new(Body::from_stream(
                    rest.map(Ok::<_, std::io::Error>),
                ));
            }
            let path = request.uri().path_and_query().unwrap().as_str().to_owned();
            let url = format!("{}{path}", portal.trim_end_matches('/'));
            let answer = http.get(url).send().await.unwrap();
            let mut response = axum::response::Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                if name != header::TRANSFER_ENCODING && name != header::CONTENT_LENGTH {
                    response = response.header(name, value);
                }
            }
            response
                .body(Body::from(answer.bytes().await.unwrap()))
                .unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(relay))
            .await
            .unwrap();
    });
    let url = format!("http://{address}");
    let ran = capped(&city, PAGE, CHECK, &[("SODALAKE__SOCRATA__URL", &url)]).await;
    ran.ends(7, "longer than 268435456 bytes");
    let target = city.target(Table::RadarCounts, wednesday());
    let honest = reconcile::check(&city.world, &target, Depth::Keys).await;
    assert_eq!(honest.state, reconcile::State::InSync);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_files_are_refused_in_every_setting_and_argument() {
    let city = TestCity::around(wednesday(), "").await;
    let zero = "/dev/zero";
    for (line, env, code, words) in [
        (
            "config check",
            ("SODALAKE_CONFIG", zero),
            2,
            "longer than 1048576 bytes",
        ),
        (
            "config check",
            ("SODALAKE__SOCRATA__APP_TOKEN_FILE", zero),
            2,
            "longer than",
        ),
        (
            "apply /dev/zero",
            ("X", ""),
            2,
            "longer than 33554432 bytes",
        ),
    ] {
        capped(&city, TIGHT, line, &[env]).await.ends(code, words);
    }
    let plan = city.stage.dir().join("long.plan");
    std::fs::File::create(&plan)
        .unwrap()
        .set_len(2 << 30)
        .unwrap();
    let line = format!("apply {}", plan.display());
    capped(&city, TIGHT, &line, &[])
        .await
        .ends(2, "longer than");
    write_long(&plan, "", "[", "", 20 * MIB);
    capped(&city, TIGHT, &line, &[])
        .await
        .ends(2, "read line 1 of the plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_unpacks_endlessly_is_refused() {
    let city = TestCity::around(wednesday(), "").await;
    city.damage(
        Breakage::ChainedAgain,
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let report = city
        .repair(Table::RadarCounts, wednesday(), Depth::Keys)
        .await;
    let pass = report.pass.unwrap();
    let folder = city.world.settings.archive.url.to_file_path().unwrap();
    let folder = folder.join(format!("passes/{pass}"));
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut gz = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::best());
    let block = vec![b' '; 1 << 20];
    for _ in 0..2_048 {
        gz.write_all(&block).unwrap();
    }
    gz.finish().unwrap();
    let line = format!("restore {pass}");
    capped(&city, TIGHT, &line, &[])
        .await
        .ends(7, "a line over 16777216 bytes");
}
