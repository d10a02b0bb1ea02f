//! The daemon as a process, with the socket of a service manager that receives its notifications.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use super::city::TestCity;
use super::program::command;

/// Maximum time to wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Waits for a state. Fails with `what` if it is not reached.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A running daemon.
pub struct Running {
    pub child: Child,
    log: PathBuf,
    notifications: Arc<Mutex<String>>,
    _dir: tempfile::TempDir,
}

/// Reads all notifications continuously, as a service manager does. A full socket would block the
/// daemon.
async fn receive(socket: UnixDatagram, notifications: Arc<Mutex<String>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = socket.recv(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..read]);
        notifications.lock().push_str(&text);
    }
}

impl Running {
    /// Starts the daemon with the city's settings.
    pub fn start(city: &TestCity, env: &[(&str, &str)]) -> Self {
        Self::start_with(city, env, |_, _| ())
    }

    /// The same, with the command changed before it runs. The folder is for the caller's files.
    pub fn start_with(
        city: &TestCity,
        env: &[(&str, &str)],
        change: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        Self::start_in(dir, socket, address.to_str().unwrap(), city, env, change)
    }

    /// The same, with a service manager's socket at this address.
    pub fn with_socket(
        socket: UnixDatagram,
        address: &str,
        city: &TestCity,
        env: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, socket, address, city, env, |_, _| ())
    }

    fn start_in(
        dir: tempfile::TempDir,
        socket: UnixDatagram,
        address: &str,
        city: &TestCity,
        env: &[(&str, &str)],
        change: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let notifications = Arc::default();
        tokio::spawn(receive(socket, Arc::clone(&notifications)));
        let log = dir.path().join("log");
        let mut command: Command = command(city, "run -v --log-format text", env);
        let file = std::fs::File::create(&log).unwrap();
        change(&mut command, dir.path());
        let child = command
            .env("NOTIFY_SOCKET", address)
            .env("WATCHDOG_USEC", "30000000")
            .env("SODALAKE__HTTP__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            notifications,
            _dir: dir,
        }
    }

    /// The same, then waits until the daemon reports that it is ready.
    pub async fn ready(city: &TestCity, env: &[(&str, &str)]) -> Self {
        let mut running = Self::start(city, env);
        running.tells("READY=1").await;
        running
    }

    /// Waits until the daemon sends this to the service manager, after what was awaited before.
    pub async fn tells(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let notifications = {
                let mut notifications = self.notifications.lock();
                if let Some(at) = notifications.find(what) {
                    *notifications = notifications.split_off(at + what.len());
                    return;
                }
                notifications.clone()
            };
            assert!(
                Instant::now() < deadline,
                "no {what:?} in {notifications}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the daemon has logged this at least `times` times.
    pub async fn logs(&self, what: &str, times: usize) {
        let enough = async || (self.log().matches(what).count() >= times).then_some(());
        let logged = tokio::time::timeout(PATIENCE, async {
            while enough().await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(logged.await.is_ok(), "no {what:?} in\n{}", self.log());
    }

    /// Sends the daemon a signal by name: `TERM`, `HUP`, `KILL`.
    pub async fn signal(&self, name: &str) {
        let process = self.child.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-s", name, &process]).status();
        assert!(kill.await.unwrap().success());
    }

    /// Waits until the daemon exits.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("the daemon does not end:\n{}", self.log()));
        ended.unwrap()
    }
}
