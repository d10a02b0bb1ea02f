//! A real Prometheus that scrapes the daemon by our own rules, a real Alertmanager, and a receiver
//! of its messages. All of them end with the test, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json as Body;
use axum::extract::State;
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::process::{Child, Command};

/// For how long a state is waited for, on a machine that does much else besides.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// So many rows purged at once are a surge here.
pub const SURGE: u64 = 150;

/// What Alertmanager has told: `firing` or `resolved`, of which alert.
type Told = Arc<Mutex<Vec<(String, Alert)>>>;

/// An alert by its name and its dataset; the latter is empty where it has none.
pub type Alert = (String, String);

pub fn alerts<const N: usize>(named: [(&str, &str); N]) -> BTreeSet<Alert> {
    let owned = |(name, dataset): (&str, &str)| (name.to_owned(), dataset.to_owned());
    named.into_iter().map(owned).collect()
}

/// An address that was free a moment ago.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A program that dies with the thread that starts it.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The rules with what takes a night cut to half a minute: an hour that an alert waits is two
/// seconds, one that it looks back on is ten. And a surge is what a made-up city can make. That a
/// busy machine answers a few scrapes late, which come every second here, is no daemon that is gone.
fn hurried(rules: &str) -> String {
    let (mut hurried, mut least) = (String::new(), 4);
    for line in rules.lines() {
        if let Some((_, alert)) = line.split_once("alert: ") {
            least = if alert == "SodalakeDown" { 20 } else { 4 };
        }
        let line = match line.split_once("for: ") {
            Some((indent, length)) => format!("{indent}for: {}s", cut(length, 1_800).max(least)),
            None => ranges(line),
        };
        hurried.push_str(&line.replace("> 50000", &format!("> {SURGE}")));
        hurried.push('\n');
    }
    hurried
}

/// The line with every `[15m]` in it cut short.
fn ranges(line: &str) -> String {
    let mut pieces = line.split('[');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |line, piece| {
        let (length, rest) = piece.split_once(']').expect("a range ends");
        format!("{line}[{}s]{rest}", cut(length, 360).max(10))
    })
}

fn cut(length: &str, by: u64) -> u64 {
    let length = humantime::parse_duration(length).expect("a length of time");
    length.as_secs() / by
}

/// Everything that watches.
pub struct Watch {
    prometheus: SocketAddr,
    told: Told,
    _programs: [Child; 2],
}

impl Watch {
    /// Starts it, to scrape `target`; its files lie in `folder`.
    pub async fn start(folder: &Path, target: SocketAddr) -> Self {
        let told: Told = Arc::default();
        let hook = receive(Arc::clone(&told)).await;
        let (prometheus, manager) = (free(), free());
        let programs = [
            alertmanager(folder, manager, hook),
            start_prometheus(folder, prometheus, manager, target),
        ];
        let watch = Self {
            prometheus,
            told,
            _programs: programs,
        };
        watch
            .until("Prometheus has reached the daemon", async || {
                let up = watch.query("up").await.unwrap_or_default();
                up.iter().any(|one| one["value"][1] == "1")
            })
            .await;
        watch
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Json, String> {
        let url = format!("http://{}/api/v1/{path}", self.prometheus);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(url).query(query);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let answer: Json = answer.json().await.map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// What an expression yields now.
    ///
    /// # Errors
    /// What Prometheus has against it.
    pub async fn query(&self, expression: &str) -> Result<Vec<Json>, String> {
        let data = self.ask("query", &[("query", expression)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The names of all metrics that were ever scraped.
    pub async fn names(&self) -> BTreeSet<String> {
        let data = self.ask("label/__name__/values", &[]).await.unwrap();
        serde_json::from_value(data).unwrap()
    }

    /// The alerts that fire now.
    pub async fn firing(&self) -> BTreeSet<Alert> {
        let data = self.ask("alerts", &[]).await.unwrap();
        let all = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = all.iter().filter(|alert| alert["state"] == "firing");
        firing.map(named).collect()
    }

    /// Waits until these alerts fire and no other, not even those in `going`.
    pub async fn fires(&self, wanted: &BTreeSet<Alert>, going: &BTreeSet<Alert>) {
        self.until_firing(wanted, going, |firing| firing == wanted)
            .await;
    }

    /// Waits until these alerts fire, beside which `others` may.
    pub async fn fires_beside(&self, wanted: &BTreeSet<Alert>, others: &BTreeSet<Alert>) {
        self.until_firing(wanted, others, |firing| firing.is_superset(wanted))
            .await;
    }

    /// Waits until that holds. An alert that is neither wanted nor in `others` fails the test at once.
    async fn until_firing(
        &self,
        wanted: &BTreeSet<Alert>,
        others: &BTreeSet<Alert>,
        holds: impl Fn(&BTreeSet<Alert>) -> bool,
    ) {
        let begun = Instant::now();
        loop {
            let firing = self.firing().await;
            let foreign: Vec<&Alert> = (firing.iter())
                .filter(|alert| !wanted.contains(*alert) && !others.contains(*alert))
                .collect();
            assert!(foreign.is_empty(), "{foreign:?} fires, wanted {wanted:?}");
            if holds(&firing) {
                eprintln!("{firing:?} after {:.0?}", begun.elapsed());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{firing:?}, wanted {wanted:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until Alertmanager has told that each of these fires, and that it is over.
    pub async fn told(&self, alerts: &BTreeSet<Alert>) {
        for status in ["firing", "resolved"] {
            for alert in alerts {
                let message = (status.to_owned(), alert.clone());
                self.until(&format!("message {message:?}"), async || {
                    self.told.lock().contains(&message)
                })
                .await;
            }
        }
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn named(alert: &Json) -> Alert {
    let label = |name| {
        alert["labels"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (label("alertname"), label("dataset"))
}

/// Takes Alertmanager's messages.
async fn receive(told: Told) -> SocketAddr {
    let take = |State(told): State<Told>, Body(body): Body<Json>| async move {
        for alert in body["alerts"].as_array().into_iter().flatten() {
            let status = alert["status"].as_str().unwrap_or_default().to_owned();
            told.lock().push((status, named(alert)));
        }
    };
    let router = axum::Router::new().route("/", post(take)).with_state(told);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn alertmanager(folder: &Path, listen: SocketAddr, hook: SocketAddr) -> Child {
    let config = format!(
        "route: {{receiver: hook, group_by: [alertname, dataset], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://{hook}/', send_resolved: true}}]}}]\n"
    );
    let config = written(folder, "alertmanager.yml", &config);
    bound("prometheus-alertmanager")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.join("am").display()))
        .arg(format!("--web.listen-address={listen}"))
        .args(["--cluster.listen-address=", "--log.level=error"])
        .spawn()
        .expect("prometheus-alertmanager runs, see tests/run")
}

fn start_prometheus(
    folder: &Path,
    listen: SocketAddr,
    manager: SocketAddr,
    target: SocketAddr,
) -> Child {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yml");
    written(
        folder,
        "alerts.yml",
        &hurried(&fs::read_to_string(rules).unwrap()),
    );
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}}\n\
         rule_files: [alerts.yml]\n\
         scrape_configs: [{{job_name: sodalake, static_configs: [{{targets: ['{target}']}}]}}]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{manager}']}}]}}]}}\n"
    );
    let config = written(folder, "prometheus.yml", &config);
    bound("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={listen}"))
        .args(["--rules.alert.resend-delay=1s", "--log.level=error"])
        .spawn()
        .expect("prometheus runs, see tests/run")
}
