//! A city for benchmarks: its lake is in a folder and its portal in this process. The real binary
//! checks it, and curl repeats the requests.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use sodalake::model::{Day, DayRange};
use sodalake::sandbox::city::{City, Quirks, Scale, Table, publish_directly, recipes};
use sodalake::sandbox::portal::{PortalOptions, RequestRecord};
use sodalake::sandbox::stage::Stage;

/// The real binary, built by `cargo bench`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sodalake");

/// Repeats requests to a portal one after the other over one connection, and discards the answers.
/// Returns the size of their bodies on the wire, in bytes.
pub fn curl(portal: &str, requests: &[RequestRecord]) -> u64 {
    let mut reads = String::new();
    for one in requests.iter().filter(|one| one.method == "GET") {
        let mut url = url::Url::parse(portal).expect("it is a URL");
        url.set_path(&one.path);
        let parts = one.query.split('&').filter_map(|part| part.split_once('='));
        url.query_pairs_mut().extend_pairs(parts);
        reads.extend(["url = \"", url.as_str(), "\"\noutput = \"/dev/null\"\n"]);
    }
    let mut curl = Command::new("curl")
        .args(["--silent", "--fail", "--header", "Accept-Encoding: gzip"])
        .args(["--write-out", "%{size_download}\n", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut stdin = curl.stdin.take().expect("stdin is piped");
    stdin.write_all(reads.as_bytes()).expect("curl reads it");
    drop(stdin);
    let done = curl.wait_with_output().expect("curl has ended");
    assert!(done.status.success(), "curl ended with {}", done.status);
    let sizes = String::from_utf8_lossy(&done.stdout);
    sizes
        .lines()
        .filter_map(|line| line.parse::<u64>().ok())
        .sum()
}

/// The cost of a check.
pub struct CheckCost {
    pub millis: f64,
    /// CPU time, in steps of 10 ms.
    pub busy_millis: u64,
    pub peak_bytes: u64,
}

/// A city whose days are published as in its lake.
pub struct Built {
    pub stage: Stage,
    pub rows: u64,
    days: DayRange,
    tables: Vec<Table>,
    _folder: tempfile::TempDir,
}

impl Built {
    /// Publishes a number of days of these tables, starting with `from`.
    pub async fn of(scale: Scale, tables: &[Table], from: Day, days: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let city = City::new(1, scale).with_quirks(Quirks::None);
        let listen = "127.0.0.1:0".parse().expect("it is an address");
        let stage = Stage::set_up(folder.path(), city, PortalOptions::default(), listen).await;
        let stage = stage.expect("the city can be set up");
        let to = from.plus(i64::try_from(days).expect("the number of days fits"));
        let days = DayRange { from, to };
        let recipes = recipes();
        // Files of following days hold rows of the last one.
        let spill = |table: &Table| {
            let recipe = sodalake::expected::recipe(table.recipe());
            i64::from(recipe.expect("the recipe is registered").facts().spill_days)
        };
        let spill = tables.iter().map(spill).max().unwrap_or(0);
        let filled = DayRange {
            from,
            to: to.plus(spill),
        };
        stage.fill(filled).expect("the lake can be filled");
        let mut sources: Vec<_> = tables.iter().map(|table| table.source()).collect();
        sources.dedup();
        let (mut rows, mut all) = (0, 0);
        for day in filled.days() {
            for source in &sources {
                let at = day.next().start(sodalake::sandbox::city::ZONE);
                let places = (&stage.portal as _, &stage.catalog);
                let sent = publish_directly(&stage.city, *source, day, &recipes, places, at);
                let sent = sent.expect("the day can be published").rows;
                rows += if days.contains(day) { sent } else { 0 };
                all += sent;
            }
        }
        let ids = Table::ALL.iter().map(|table| table.spec().id);
        let published: usize = ids.map(|id| stage.portal.row_count(id)).sum();
        assert!(
            published as u64 * 100 > all * 99,
            "only {published} of {all} rows are published: many have the same key"
        );
        let settings = stage.settings("socrata.max_in_flight = 4\n");
        fs::write(folder.path().join("sodalake.toml"), settings)
            .expect("the settings can be written");
        Self {
            stage,
            rows,
            days,
            tables: tables.to_vec(),
            _folder: folder,
        }
    }

    /// Checks all of it with the real binary, which must find nothing.
    pub fn check(&self, depth: &str) -> CheckCost {
        let config = self.stage.dir().join("sodalake.toml");
        let (from, to) = (self.days.from.to_string(), self.days.to.to_string());
        let names: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.dataset_name())
            .collect();
        let output = self.stage.dir().join("output");
        let started = Instant::now();
        let mut check = Command::new(PROGRAM)
            .arg("--config")
            .arg(config)
            .arg("check")
            .args(&names)
            .args(["--from", &from, "--to", &to, "--depth", depth, "--quiet"])
            .stdout(fs::File::create(&output).expect("the file can be written"))
            .spawn()
            .expect("the program starts");
        let (mut peak_bytes, mut busy_millis) = (0, 0);
        let ended = loop {
            let status = fs::read_to_string(format!("/proc/{}/status", check.id()));
            let peak = status.map_or(0, |status| memory(&status, "VmHWM:"));
            peak_bytes = peak_bytes.max(peak);
            let stat = fs::read_to_string(format!("/proc/{}/stat", check.id()));
            busy_millis = busy_millis.max(stat.map_or(0, |stat| busy(&stat)));
            if let Some(ended) = check.try_wait().expect("the process can be polled") {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let output = fs::read_to_string(output).unwrap_or_default();
        assert!(ended.success(), "the check ended with {ended}:\n{output}");
        CheckCost {
            millis: started.elapsed().as_secs_f64() * 1e3,
            busy_millis,
            peak_bytes,
        }
    }

    /// Runs the daemon, which checks the last `days` days every few seconds, until it has checked
    /// `looks` dataset-days. Returns about ten pairs: the number checked so far, and the resident
    /// bytes then.
    pub async fn run(&self, days: u64, looks: u64) -> Vec<(u64, u64)> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let listen = free
            .local_addr()
            .expect("the socket has an address")
            .to_string();
        drop(free);
        let mut daemon = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.stage.dir().join("sodalake.toml"))
            .args(["run", "--quiet"])
            // The same setting as in deploy/systemd and the Dockerfile.
            .env("MALLOC_ARENA_MAX", "1")
            .env("SODALAKE__HTTP__LISTEN", &listen)
            .env("SODALAKE__SCHEDULE__CHECK", "*/5 * * * * *")
            .env("SODALAKE__SCHEDULE__WINDOW_DAYS", days.to_string())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let http = sodalake::outgoing::client(sodalake::outgoing::Wire::Plain).build();
        let http = http.expect("the client is configured correctly");
        let mut seen: Vec<(u64, u64)> = Vec::new();
        while seen.last().is_none_or(|(done, _)| *done < looks) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let request = http.get(format!("http://{listen}/metrics"));
            let Ok(answer) = request.send().await else {
                continue;
            };
            let metrics = answer.text().await.expect("the metrics are text");
            let done = (metrics.lines())
                .filter(|line| line.starts_with("sodalake_checks_total"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            if done >= seen.len() as u64 * looks / 10 {
                let status = fs::read_to_string(format!("/proc/{}/status", daemon.id()));
                seen.push((
                    done,
                    memory(&status.expect("the daemon is running"), "VmRSS:"),
                ));
            }
        }
        daemon.kill().expect("the daemon is running");
        daemon.wait().expect("the daemon has ended");
        seen
    }

    /// Reads every file of the lake and scans it as JSON, on all cores.
    pub fn scan(&self) {
        let mut files = Vec::new();
        list(&self.stage.lake(), &mut files);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for part in files.chunks(files.len().div_ceil(cores)) {
                scope.spawn(move || {
                    for file in part {
                        let bytes = fs::read(file).expect("the file can be read");
                        let _: IgnoredAny =
                            serde_json::from_slice(&bytes).expect("the file is JSON");
                    }
                });
            }
        });
    }
}

/// CPU time from a process's `stat`: its 14th and 15th fields, in hundredths of a second, counted
/// after its name.
fn busy(stat: &str) -> u64 {
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        * 10
}

/// Bytes from the line with this name in a process's `status`.
fn memory(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
