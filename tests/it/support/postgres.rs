//! PostgreSQL for tests: one server per run, one database per test.
//!
//! `tests/run` starts the server and names it in `SODALAKE_TEST_POSTGRES`. Without that, each test
//! process starts one of its own by `tests/postgres`, which ends with the process however it ends.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use tokio_postgres::{Client, NoTls};
use url::Url;
use uuid::Uuid;

/// A server that can be stopped and started.
pub struct Server {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Superuser's address of its database `postgres`.
    pub url: Url,
    /// Certificate that it shows, good for `localhost` only.
    pub certificate: PathBuf,
}

impl Server {
    /// Starts a server of the test's own.
    pub fn start() -> Self {
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/postgres runs");
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        answers
            .read_line(&mut line)
            .expect("tests/postgres answers");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, port, folder] = words[..] else {
            panic!("tests/postgres did not start a server: {line:?}");
        };
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        Self {
            url: url.parse().expect("an address"),
            certificate: PathBuf::from(folder).join("server.crt"),
            child,
            orders,
            answers,
        }
    }

    fn order(&mut self, order: &str, answer: &str) {
        let mut orders = self.orders.as_ref().expect("orders end with the server");
        writeln!(orders, "{order}").expect("tests/postgres listens");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("tests/postgres answers");
        assert_eq!(line.trim(), answer);
    }

    /// Stops it at once, connections and all.
    pub fn stop(&mut self) {
        self.order("stop", "stopped");
    }

    /// Starts it again, at the same address.
    pub fn start_again(&mut self) {
        self.order("start", "started");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.child.wait().expect("tests/postgres ends");
    }
}

/// Address of the server that the tests share.
fn shared() -> Url {
    static OWN: OnceLock<Server> = OnceLock::new();
    match std::env::var("SODALAKE_TEST_POSTGRES") {
        Ok(url) => url.parse().expect("SODALAKE_TEST_POSTGRES is an address"),
        Err(_) => OWN.get_or_init(Server::start).url.clone(),
    }
}

/// Connects as the tests' superuser.
pub async fn client(url: &Url) -> Client {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls)
        .await
        .expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// A new, empty database on the shared server.
pub async fn database() -> Url {
    database_on(&shared()).await
}

/// A new, empty database on a server.
pub async fn database_on(server: &Url) -> Url {
    let name = format!("t{}", Uuid::now_v7().simple());
    client(server)
        .await
        .batch_execute(&format!("create database {name}"))
        .await
        .expect("a database is created");
    let mut url = server.clone();
    url.set_path(&name);
    url
}
