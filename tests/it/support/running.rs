//! The daemon as a process, with a service manager's socket that hears what it tells.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use super::city::TestCity;
use super::program::command;

/// Longest that anything is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Waits for a state; fails with what was waited for if it does not come.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A running daemon.
pub struct Running {
    pub child: Child,
    log: PathBuf,
    told: Arc<Mutex<String>>,
    _dir: tempfile::TempDir,
}

/// Hears everything, all the time, as a service manager does: a full socket would hold the daemon up.
async fn hear(socket: UnixDatagram, told: Arc<Mutex<String>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = socket.recv(&mut buffer).await {
        let heard = String::from_utf8_lossy(&buffer[..read]);
        told.lock().push_str(&heard);
    }
}

impl Running {
    /// Starts it on the city's settings.
    pub fn start(city: &TestCity, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        let told = Arc::default();
        tokio::spawn(hear(socket, Arc::clone(&told)));
        let log = dir.path().join("log");
        let mut command: Command = command(city, "run -v --log-format text", env);
        let file = std::fs::File::create(&log).unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &address)
            .env("WATCHDOG_USEC", "30000000")
            .env("SODALAKE__HTTP__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            told,
            _dir: dir,
        }
    }

    /// The same, and waits until it says that it is ready.
    pub async fn ready(city: &TestCity, env: &[(&str, &str)]) -> Self {
        let mut running = Self::start(city, env);
        running.tells("READY=1").await;
        running
    }

    /// Waits until it tells the service manager this, after what was waited for before.
    pub async fn tells(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = {
                let mut told = self.told.lock();
                if let Some(at) = told.find(what) {
                    *told = told.split_off(at + what.len());
                    return;
                }
                told.clone()
            };
            assert!(
                Instant::now() < deadline,
                "no {what:?} in {told}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged this so many times.
    pub async fn logs(&self, what: &str, times: usize) {
        let enough = async || (self.log().matches(what).count() >= times).then_some(());
        let came = tokio::time::timeout(PATIENCE, async {
            while enough().await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(came.await.is_ok(), "no {what:?} in\n{}", self.log());
    }

    /// Sends it a signal by name: `TERM`, `HUP`, `KILL`.
    pub async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-s", name, &process]).status();
        assert!(kill.await.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log()));
        ended.unwrap()
    }
}
