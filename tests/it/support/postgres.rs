//! PostgreSQL for tests: one server per run, one database per test.
//!
//! `tests/run` starts the server and passes its address in `SODALAKE_TEST_POSTGRES`. Without it,
//! each test process starts its own server with `tests/postgres`, which ends with the process, even
//! if that is killed.

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
    /// Address of the database `postgres`, for the superuser.
    pub url: Url,
    /// The server's certificate, valid only for `localhost`.
    pub certificate: PathBuf,
}

impl Server {
    /// Starts a server for one test.
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
        let mut orders = self.orders.as_ref().expect("the server is running");
        writeln!(orders, "{order}").expect("tests/postgres listens");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("tests/postgres answers");
        assert_eq!(line.trim(), answer);
    }

    /// Stops it immediately, and closes all connections.
    pub fn stop(&mut self) {
        self.order("stop", "stopped");
    }

    /// Starts it again at the same address.
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

/// Address of the server shared by all tests.
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
