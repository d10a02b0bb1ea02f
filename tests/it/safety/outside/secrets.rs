//! Secrets are never printed. Runs every command of the real program at every log level, with
//! correct and incorrect settings, and searches all output for every secret in every encoding.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{CommandFactory as _, Parser as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sodalake::cli::Cli;
use sodalake::sandbox::city::{Breakage, Table};
use tokio::process::Command;

use crate::support::city::{TestCity, wednesday};
use crate::support::postgres;
use crate::support::program::command;
use crate::support::running::until;

const PORTAL: &str = "writer-password";
const WRONG: &str = "wr0ng-and/secret:too";
const APP_TOKEN: &str = "app-T0ken-of-ours";
const LEDGER: &str = "l3dger/p@ss word";
const HOOK: &str = "B00K-T0/x0xb-secret";
const ACCESS_KEY: &str = "AKIAEXAMPLESECRET01";
const SECRET_KEY: &str = "s3cret/Access+Key";
const SESSION: &str = "sessi0n//Token==";
const HTTP_TOKEN: &str = "http-T0ken-of-ours";

/// Every secret as it is, as URLs and headers encode it, and as debug output would quote it.
fn needles() -> Vec<String> {
    let secrets = [
        PORTAL, WRONG, APP_TOKEN, LEDGER, HOOK, SECRET_KEY, SESSION, HTTP_TOKEN,
    ];
    let encoded = |secret: &str| utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let mut needles: Vec<String> = secrets.iter().map(ToString::to_string).collect();
    needles.extend(secrets.iter().map(|secret| encoded(secret)));
    needles.extend(secrets.iter().map(|secret| STANDARD.encode(secret)));
    needles.extend([PORTAL, WRONG].map(|word| STANDARD.encode(format!("writer:{word}"))));
    needles
}

/// The flags added to the command line, the log format, and the log level.
type Loudness = (&'static str, &'static str, &'static str);

const LOUDNESSES: [Loudness; 3] = [
    ("", "text", ""),
    (" -vv", "text", ""),
    (" --format json", "json", "trace"),
];

struct Hunt {
    city: TestCity,
    ledger: String,
    needles: Vec<String>,
    runs: usize,
}

impl Hunt {
    async fn new() -> Self {
        let city = TestCity::around(wednesday(), "rails.max_orphan_rows_per_day = 4\n").await;
        let mut url = postgres::database().await;
        url.set_password(Some(LEDGER)).unwrap();
        url.set_query(Some("sslmode=disable"));
        std::fs::write(city.stage.dir().join("token"), HTTP_TOKEN).unwrap();
        Self {
            city,
            ledger: url.to_string(),
            needles: needles(),
            runs: 0,
        }
    }

    /// The program, with every possible secret set.
    fn program(&self, line: &str, (loudness, log, level): Loudness) -> Command {
        let hook = format!("http://127.0.0.1:1/{HOOK}");
        // A command without a choice of form has its log in JSON alone.
        let loud = format!("{line}{loudness}");
        let words = std::iter::once("sodalake").chain(loud.split(' '));
        let is_taken = Cli::try_parse_from(words).is_ok();
        let mut program = command(&self.city, if is_taken { &loud } else { line }, &[]);
        program
            .env("SODALAKE__LEDGER__URL", &self.ledger)
            .env("SODALAKE__SOCRATA__APP_TOKEN", APP_TOKEN)
            .env("SODALAKE__NOTIFY__WEBHOOK", hook)
            .env("SODALAKE__HTTP__LISTEN", "127.0.0.1:0")
            .env(
                "SODALAKE__HTTP__TOKEN_FILE",
                self.city.stage.dir().join("token"),
            )
            .env("SODALAKE_LOG_FORMAT", log)
            .env("RUST_LOG", level)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_SESSION_TOKEN", SESSION);
        program
    }

    fn search(&self, line: &str, origin: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let found = self.needles.iter().find(|needle| text.contains(*needle));
        assert!(found.is_none(), "{line}: {found:?} on {origin}:\n{text}");
    }

    /// Runs it with default output, with maximum verbosity, and in JSON.
    async fn run(&mut self, line: &str, more: &[(&str, &str)]) {
        for loudness in LOUDNESSES {
            let mut program = self.program(line, loudness);
            let output = program.envs(more.iter().copied()).output().await.unwrap();
            self.runs += 1;
            self.search(line, "stdout", &output.stdout);
            self.search(line, "stderr", &output.stderr);
        }
    }

    /// Serves until every page has been requested, then interrupts it. Returns how many bytes it
    /// printed.
    async fn serve(&mut self, line: &str, pages: &[&str]) -> usize {
        let mut said = 0;
        for loudness in LOUDNESSES {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let listen = free.local_addr().unwrap().to_string();
            drop(free);
            let line = line.replace("LISTEN", &listen);
            let program = self
                .program(&line, loudness)
                .env("SODALAKE__HTTP__LISTEN", &listen)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let process = program.id().unwrap().to_string();
            let output = tokio::spawn(program.wait_with_output());
            for page in pages {
                let url = format!("http://{listen}{page}");
                let http = crate::support::http::client();
                let answer = until(page, async || http.get(&url).send().await.ok()).await;
                self.search(&line, page, format!("{:?}", answer.headers()).as_bytes());
                self.search(&line, page, &answer.bytes().await.unwrap());
            }
            let kill = Command::new("kill").args(["-s", "TERM", &process]).status();
            assert!(kill.await.unwrap().success());
            let output = output.await.unwrap().unwrap();
            self.runs += 1;
            self.search(&line, "stdout", &output.stdout);
            self.search(&line, "stderr", &output.stderr);
            said += output.stdout.len() + output.stderr.len();
        }
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_of_any_command_contains_a_secret() {
    let mut hunt = Hunt::new().await;
    for table in [Table::RadarCounts, Table::TravelTimes] {
        let broken = hunt
            .city
            .try_damage(Breakage::Strangers(5), table, wednesday());
        assert!(broken.is_some());
    }
    let plan = hunt.city.stage.dir().join("day.plan");
    let plan = plan.display();
    let lines = [
        "config show".to_owned(),
        "config check".into(),
        "doctor".into(),
        "check --day 2020-10-14".into(),
        "explain radar-counts 2020-10-14".into(),
        "derive radar-counts --day 2020-10-14".into(),
        format!("plan radar-counts --day 2020-10-14 --out {plan}"),
        "repair radar-counts --day 2020-10-14".into(),
        format!("apply {plan}"),
        "mark radar-counts 2020-10-13 hold --reason why".into(),
        "status".into(),
        "archive check".into(),
        "archive expire".into(),
        "restore 01890a5d-ac96-774b-bcce-b302099a8057".into(),
        "healthcheck".into(),
        "nonsense".into(),
    ];
    let served = ["run", "sandbox"];
    // These commands read no settings.
    let tools = ["completions", "man", "demo"];
    let pages = [
        "/readyz",
        "/",
        "/days/radar-counts/2020-10-14",
        "/corrections",
        "/metrics",
        "/api/v1/datasets",
        "/api/v1/days",
        "/nowhere",
    ];
    for known in Cli::command().get_subcommands() {
        let name = known.get_name();
        let is_run = lines
            .iter()
            .any(|line| line.split(' ').next() == Some(name));
        let elsewhere = served.contains(&name) || tools.contains(&name);
        assert!(is_run || elsewhere, "{name}: run it here too");
    }
    for line in &lines {
        hunt.run(line, &[]).await;
    }
    assert!(hunt.serve("run", &pages).await > 1_000);
    hunt.serve(
        "sandbox --listen LISTEN",
        &["/api/views/sh59-i6y9.json", "/nowhere"],
    )
    .await;
    assert_eq!(hunt.runs, 3 * (lines.len() + served.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_message_contains_a_secret() {
    let mut hunt = Hunt::new().await;
    hunt.city.damage(
        Breakage::Strangers(2),
        Table::RadarCounts,
        wednesday(),
        "Austin",
    );
    let encoded = utf8_percent_encode(WRONG, NON_ALPHANUMERIC).to_string();
    let bad_port = format!("postgres://u:{encoded}@127.0.0.1:nonsense/x");
    let no_host = format!("postgres://u:{encoded}@/x?host=");
    let away = format!("postgres://u:{encoded}@127.0.0.1:1/x?sslmode=disable");
    let in_query = format!("postgres://u@127.0.0.1:1/x?sslmode=disable&password={encoded}");
    let portal = format!("http://u:{encoded}@127.0.0.1:1/");
    let plain_hook = format!("http://hooks.example/{HOOK}");
    let bad_hook = format!("ftp://u:{encoded}@hooks.example/{HOOK}");
    let bucket = format!("s3://u:{encoded}@bucket/lake");
    let faults = [
        ("SODALAKE__SOCRATA__PASSWORD", WRONG),
        (
            "SODALAKE__SOCRATA__PASSWORD",
            "wr0ng-and/secret:too\nsecond",
        ),
        ("SODALAKE__SOCRATA__APP_TOKEN", "wr0ng-and/secret:too\u{7}"),
        ("SODALAKE__SOCRATA__PASSWORD_FILE", "/nowhere/at/all"),
        ("SODALAKE__SOCRATA__URL", &portal),
        ("SODALAKE__LEDGER__URL", &bad_port),
        ("SODALAKE__LEDGER__URL", &no_host),
        ("SODALAKE__LEDGER__URL", &away),
        ("SODALAKE__LEDGER__URL", &in_query),
        ("SODALAKE__LEDGER__PASSWORD", WRONG),
        ("SODALAKE__CATALOG__URL", &away),
        ("SODALAKE__CATALOG__URL", &bad_port),
        ("SODALAKE__NOTIFY__WEBHOOK", &plain_hook),
        ("SODALAKE__NOTIFY__WEBHOOK", &bad_hook),
        ("SODALAKE__LAKE__URL", &bucket),
        ("SODALAKE__ARCHIVE__URL", &bucket),
        ("SODALAKE__LAKE__ENDPOINT", &portal),
        ("SODALAKE__SOCRATA__PASSWORDS", WRONG),
    ];
    for fault in faults {
        for line in [
            "config check",
            "config show",
            "repair radar-counts --day 2020-10-14",
        ] {
            hunt.run(line, &[fault]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_bucket_is_reported_without_its_keys() {
    let mut hunt = Hunt::new().await;
    let settings = [
        ("SODALAKE__LAKE__URL", "s3://lake/ready"),
        ("SODALAKE__LAKE__ENDPOINT", "http://127.0.0.1:1"),
        ("SODALAKE__LAKE__REGION", "us-east-1"),
    ];
    hunt.run("check radar-counts --day 2020-10-14", &settings)
        .await;
}
