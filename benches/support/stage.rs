//! A city on stage for benchmarks: its lake in a folder, its portal in this process, looked at by
//! the real binary and asked by curl.

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

/// The real binary, as `cargo bench` built it.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sodalake");

/// Fetches what was asked of a portal once more, one after the other over one connection, and
/// throws it away. Returns the bytes of the bodies on the wire.
pub fn curl(portal: &str, asked: &[RequestRecord]) -> u64 {
    let mut reads = String::new();
    for one in asked.iter().filter(|one| one.method == "GET") {
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
    let mut stdin = curl.stdin.take().expect("it is piped");
    stdin.write_all(reads.as_bytes()).expect("curl reads it");
    drop(stdin);
    let done = curl.wait_with_output().expect("curl ends");
    assert!(done.status.success(), "curl ends with {}", done.status);
    let sizes = String::from_utf8_lossy(&done.stdout);
    sizes
        .lines()
        .filter_map(|line| line.parse::<u64>().ok())
        .sum()
}

/// What a look took.
pub struct Looked {
    pub millis: f64,
    /// Time on processors, in steps of 10 ms.
    pub busy_millis: u64,
    pub peak_bytes: u64,
}

/// A city whose days are published as its lake says.
pub struct Built {
    pub stage: Stage,
    pub rows: u64,
    days: DayRange,
    tables: Vec<Table>,
    _folder: tempfile::TempDir,
}

impl Built {
    /// So many days of these tables, of which `from` is the first.
    pub async fn of(scale: Scale, tables: &[Table], from: Day, days: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let city = City::new(1, scale).with_quirks(Quirks::None);
        let listen = "127.0.0.1:0".parse().expect("it is an address");
        let stage = Stage::set_up(folder.path(), city, PortalOptions::default(), listen).await;
        let stage = stage.expect("the stage stands");
        let to = from.plus(i64::try_from(days).expect("it is not that many"));
        let days = DayRange { from, to };
        let recipes = recipes();
        // Files of the days behind hold rows of the last one.
        let spill = |table: &Table| {
            let recipe = sodalake::expected::recipe(table.recipe());
            i64::from(recipe.expect("it is known").facts().spill_days)
        };
        let spill = tables.iter().map(spill).max().unwrap_or(0);
        let filled = DayRange {
            from,
            to: to.plus(spill),
        };
        stage.fill(filled).expect("the lake is filled");
        let mut sources: Vec<_> = tables.iter().map(|table| table.source()).collect();
        sources.dedup();
        let (mut rows, mut all) = (0, 0);
        for day in filled.days() {
            for source in &sources {
                let at = day.next().start(sodalake::sandbox::city::ZONE);
                let places = (&stage.portal as _, &stage.catalog);
                let sent = publish_directly(&stage.city, *source, day, &recipes, places, at);
                let sent = sent.expect("it is published").rows;
                rows += if days.contains(day) { sent } else { 0 };
                all += sent;
            }
        }
        let ids = Table::ALL.iter().map(|table| table.spec().id);
        let stand: usize = ids.map(|id| stage.portal.row_count(id)).sum();
        assert!(
            stand as u64 * 100 > all * 99,
            "of {all} rows {stand} stand: many have the same key"
        );
        let settings = stage.settings("socrata.max_in_flight = 4\n");
        fs::write(folder.path().join("sodalake.toml"), settings).expect("it is written");
        Self {
            stage,
            rows,
            days,
            tables: tables.to_vec(),
            _folder: folder,
        }
    }

    /// Looks at all of it with the real binary, which must find nothing.
    pub fn check(&self, depth: &str) -> Looked {
        let config = self.stage.dir().join("sodalake.toml");
        let (from, to) = (self.days.from.to_string(), self.days.to.to_string());
        let names: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.dataset_name())
            .collect();
        let said = self.stage.dir().join("said");
        let begun = Instant::now();
        let mut check = Command::new(PROGRAM)
            .arg("--config")
            .arg(config)
            .arg("check")
            .args(&names)
            .args(["--from", &from, "--to", &to, "--depth", depth, "--quiet"])
            .stdout(fs::File::create(&said).expect("it can be written"))
            .spawn()
            .expect("the program starts");
        let (mut peak_bytes, mut busy_millis) = (0, 0);
        let ended = loop {
            let status = fs::read_to_string(format!("/proc/{}/status", check.id()));
            let peak = status.map_or(0, |status| memory(&status, "VmHWM:"));
            peak_bytes = peak_bytes.max(peak);
            let stat = fs::read_to_string(format!("/proc/{}/stat", check.id()));
            busy_millis = busy_millis.max(stat.map_or(0, |stat| busy(&stat)));
            if let Some(ended) = check.try_wait().expect("it can be asked") {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = fs::read_to_string(said).unwrap_or_default();
        assert!(ended.success(), "the look ends with {ended}:\n{said}");
        Looked {
            millis: begun.elapsed().as_secs_f64() * 1e3,
            busy_millis,
            peak_bytes,
        }
    }

    /// Runs the daemon, which checks the last `days` days every few seconds, until it has looked at
    /// `looks` dataset-days. Returns how many it had looked at, and its resident bytes then, about
    /// ten times on the way.
    pub async fn run(&self, days: u64, looks: u64) -> Vec<(u64, u64)> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let listen = free.local_addr().expect("it has an address").to_string();
        drop(free);
        let mut daemon = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.stage.dir().join("sodalake.toml"))
            .args(["run", "--quiet"])
            // As deploy/systemd and the Dockerfile have it.
            .env("MALLOC_ARENA_MAX", "1")
            .env("SODALAKE__HTTP__LISTEN", &listen)
            .env("SODALAKE__SCHEDULE__CHECK", "*/5 * * * * *")
            .env("SODALAKE__SCHEDULE__WINDOW_DAYS", days.to_string())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut seen: Vec<(u64, u64)> = Vec::new();
        while seen.last().is_none_or(|(done, _)| *done < looks) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let Ok(answer) = reqwest::get(format!("http://{listen}/metrics")).await else {
                continue;
            };
            let metrics = answer.text().await.expect("it is text");
            let done = (metrics.lines())
                .filter(|line| line.starts_with("sodalake_checks_total"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            if done >= seen.len() as u64 * looks / 10 {
                let status = fs::read_to_string(format!("/proc/{}/status", daemon.id()));
                seen.push((done, memory(&status.expect("it runs"), "VmRSS:")));
            }
        }
        daemon.kill().expect("it runs");
        daemon.wait().expect("it ends");
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
                        let bytes = fs::read(file).expect("it can be read");
                        let _: IgnoredAny = serde_json::from_slice(&bytes).expect("it is JSON");
                    }
                });
            }
        });
    }
}

/// Time on processors that a process's stat tells: its 14th and 15th field, in hundredths of a
/// second, counted from behind its name.
fn busy(stat: &str) -> u64 {
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>()
        * 10
}

/// Bytes that a process's status tells under this name.
fn memory(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
