//! A small PgBouncer in front of the test server, with default settings except those that a test
//! sets.
//!
//! It ends with the test's thread, even if the thread panics.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use url::Url;

use super::running::until;

/// Server sessions per database.
pub const POOL_SIZE: usize = 2;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

pub struct PgBouncer {
    child: Child,
    port: u16,
    folder: TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// PgBouncer refuses to run as root.
fn program(config: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    let mut command = if id.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        command
    } else {
        Command::new("setpriv")
    };
    command.args(["--pdeathsig", "TERM", "--", PROGRAM]);
    command.arg(config);
    command
}

impl PgBouncer {
    /// Starts PgBouncer in front of the server of `database`.
    pub async fn start(database: &Url, pool_mode: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: install pgbouncer"
        );
        let folder = tempfile::tempdir().unwrap();
        let (port, server) = (free_port(), database.port().unwrap());
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let config = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = {POOL_SIZE}\n"
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = program(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bouncer = Self {
            child,
            port,
            folder,
        };
        let url = bouncer.url(database);
        until("PgBouncer", async || connect(&url).await).await;
        bouncer
    }

    /// The address of the database through the pool.
    pub fn url(&self, database: &Url) -> Url {
        let mut url = database.clone();
        url.set_port(Some(self.port)).unwrap();
        url
    }

    /// A client of the pool that does not belong to the program.
    pub async fn client(&self, database: &Url) -> Client {
        connect(&self.url(database)).await.unwrap_or_else(|| {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            panic!("PgBouncer does not answer: {log:?}")
        })
    }
}

async fn connect(url: &Url) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.kill().expect("PgBouncer runs");
        self.child.wait().expect("PgBouncer ends");
    }
}
