//! A real Prometheus that scrapes the daemon with our rules, a real Alertmanager, and a receiver of
//! its messages. All of them end with the test, even if it fails.

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

/// Maximum time to wait for a state, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// In this test, purging this many rows at once is a surge.
pub const SURGE: u64 = 150;

/// The messages from Alertmanager: `firing` or `resolved`, and the alert.
type Messages = Arc<Mutex<Vec<(String, Alert)>>>;

/// An alert's name and dataset; the dataset is empty if it has none.
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

/// A program that is killed with the thread that starts it.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The rules, sped up so that a night takes half a minute: a pending hour becomes two seconds, and
/// an hour of look-back becomes ten seconds. The surge threshold is lowered to what a fictional
/// city can produce. Missing a few scrapes, which come every second here, must not count as a
/// daemon that is down.
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

/// The line with every range such as `[15m]` shortened.
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

/// The whole monitoring.
pub struct Watch {
    prometheus: SocketAddr,
    notified: Messages,
    _programs: [Child; 2],
}

impl Watch {
    /// Starts it to scrape `target`, with its files in `folder`.
    pub async fn start(folder: &Path, target: SocketAddr) -> Self {
        let notified: Messages = Arc::default();
        let hook = receive(Arc::clone(&notified)).await;
        let (prometheus, manager) = (free(), free());
        let programs = [
            alertmanager(folder, manager, hook),
            start_prometheus(folder, prometheus, manager, target),
        ];
        let watch = Self {
            prometheus,
            notified,
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
        let client = crate::support::http::client();
        let request = client.get(url).query(query);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let answer: Json = answer.json().await.map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The current result of an expression.
    ///
    /// # Errors
    ///
    /// The error that Prometheus reports.
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

    /// Waits until exactly these alerts fire. `going` may still be clearing.
    pub async fn fires(&self, wanted: &BTreeSet<Alert>, going: &BTreeSet<Alert>) {
        self.until_firing(wanted, going, |firing| firing == wanted)
            .await;
    }

    /// Waits until these alerts fire; `others` may fire too.
    pub async fn fires_beside(&self, wanted: &BTreeSet<Alert>, others: &BTreeSet<Alert>) {
        self.until_firing(wanted, others, |firing| firing.is_superset(wanted))
            .await;
    }

    /// Waits until the condition holds. An alert in neither `wanted` nor `others` fails the test
    /// immediately.
    async fn until_firing(
        &self,
        wanted: &BTreeSet<Alert>,
        others: &BTreeSet<Alert>,
        holds: impl Fn(&BTreeSet<Alert>) -> bool,
    ) {
        let started = Instant::now();
        loop {
            let firing = self.firing().await;
            let foreign: Vec<&Alert> = (firing.iter())
                .filter(|alert| !wanted.contains(*alert) && !others.contains(*alert))
                .collect();
            assert!(foreign.is_empty(), "{foreign:?} fires, wanted {wanted:?}");
            if holds(&firing) {
                eprintln!("{firing:?} after {:.0?}", started.elapsed());
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{firing:?}, wanted {wanted:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until Alertmanager has reported each of these as firing and as resolved.
    pub async fn notified(&self, alerts: &BTreeSet<Alert>) {
        for status in ["firing", "resolved"] {
            for alert in alerts {
                let message = (status.to_owned(), alert.clone());
                self.until(&format!("message {message:?}"), async || {
                    self.notified.lock().contains(&message)
                })
                .await;
            }
        }
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let started = Instant::now();
        while !holds().await {
            assert!(
                started.elapsed() < PATIENCE,
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

/// Receives Alertmanager's messages.
async fn receive(notified: Messages) -> SocketAddr {
    let take = |State(notified): State<Messages>, Body(body): Body<Json>| async move {
        for alert in body["alerts"].as_array().into_iter().flatten() {
            let status = alert["status"].as_str().unwrap_or_default().to_owned();
            notified.lock().push((status, named(alert)));
        }
    };
    let router = axum::Router::new()
        .route("/", post(take))
        .with_state(notified);
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
