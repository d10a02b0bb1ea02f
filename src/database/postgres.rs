//! PostgreSQL: a small pool of checked connections.
//!
//! What `sslmode` in the URL means here, stricter than elsewhere because these tables decide what
//! is deleted from a public portal:
//!
//! | `sslmode` | to a unix socket or loopback | to any other host |
//! | --- | --- | --- |
//! | none, `prefer` | plain | TLS, certificate and name verified |
//! | `disable` | plain | refused |
//! | `require`, `verify-full` | TLS, certificate and name verified | the same |
//!
//! A connection is tried for 5 seconds, a statement runs for 60 at most, and each connection is
//! asked whether it lives before it is used: after a restart of the server the next call has a
//! fresh one. For reading, every session is read only, so that the server refuses changes. A commit
//! is on the server's disk before it is answered, also where the server's default is otherwise.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts,
};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::ExposeSecret;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::{
    Access, Address, BoxError, Broken, DatabaseError, Line, Param, Place, Script, Statement,
};
use crate::limits::{SECRET_BYTES, read_text};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);
/// For a whole transaction, and for a server that went silent: the statements' own limit does not
/// reach us then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECTIONS: usize = 8;
/// Held while tables are brought up to date. Any number that others do not use.
const MIGRATION_LOCK: i64 = 0x50da_1a4e;

pub(super) struct Postgres {
    pool: Pool,
}

/// Host and database of the URL, without user or password.
pub(super) fn place(address: &Address<'_>) -> Place {
    let url = address.url;
    let query_host = url.query_pairs().find(|(name, _)| name == "host");
    let host = match (url.host_str(), &query_host) {
        (Some(host), _) if !host.is_empty() => host.replace("%2F", "/").replace("%2f", "/"),
        (_, Some((_, host))) => host.to_string(),
        _ => "localhost".into(),
    };
    let port = url.port().map(|port| format!(":{port}"));
    let path = url.path();
    Place {
        role: address.role,
        name: format!("{host}{}{path}", port.unwrap_or_default()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn wire(sslmode: Option<&str>, config: &Config) -> Result<Wire, String> {
    let local = config.get_hosts().iter().all(is_this_machine)
        && config
            .get_hostaddrs()
            .iter()
            .all(std::net::IpAddr::is_loopback);
    match (sslmode, local) {
        (None | Some("disable" | "prefer"), true) => Ok(Wire::Plain),
        (None | Some("prefer"), false) | (Some("require" | "verify-full"), _) => Ok(Wire::Tls),
        (Some("disable"), false) => Err(
            "sslmode=disable is allowed to this machine only, want require or verify-full".into(),
        ),
        (Some(other), _) => Err(format!(
            "sslmode={other:?} is unknown, want disable, prefer, require or verify-full"
        )),
    }
}

/// The URL as the driver takes it, which knows fewer values of `sslmode`, and that `sslmode`.
fn without_sslmode(url: &Url) -> (Url, Option<String>) {
    let (modes, rest): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| name == "sslmode");
    let mut bare = url.clone();
    bare.set_query(None);
    if !rest.is_empty() {
        bare.query_pairs_mut().extend_pairs(rest);
    }
    (bare, modes.into_iter().next_back().map(|(_, mode)| mode))
}

fn settings(address: &Address<'_>) -> Result<(Config, Wire), String> {
    let (url, sslmode) = without_sslmode(address.url);
    // The driver's text is left out: it may repeat parts of the URL.
    let mut config: Config = url
        .as_str()
        .parse()
        .map_err(|_| "the URL is not understood, want postgres://user@host/database")?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host("localhost");
    }
    if config.get_user().is_none() {
        return Err("the URL names no user, want postgres://user@host/database".into());
    }
    let wire = wire(sslmode.as_deref(), &config)?;
    config.ssl_mode(match wire {
        Wire::Plain => SslMode::Disable,
        Wire::Tls => SslMode::Require,
    });
    if let Some(password) = address.password {
        config.password(password.expose_secret());
    }
    config
        .application_name("sodalake")
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(ANSWER_TIMEOUT);
    Ok((config, wire))
}

fn tls(address: &Address<'_>) -> Result<ClientConfig, BoxError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    let Some(path) = address.ca_file else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    let unread =
        |error: &dyn std::fmt::Display| format!("read ca_file {}: {error}", path.display());
    let text = read_text(path, SECRET_BYTES).map_err(|error| unread(&error))?;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        roots.add(certificate.map_err(|error| unread(&error))?)?;
    }
    if roots.is_empty() {
        return Err(format!("ca_file {} holds no certificate", path.display()).into());
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn session(access: Access) -> String {
    let limit = STATEMENT_TIMEOUT.as_millis();
    let rights = match access {
        Access::Read => "on",
        Access::Write => "off",
    };
    format!(
        "set statement_timeout = {limit}; set lock_timeout = {limit}; \
         set idle_in_transaction_session_timeout = {limit}; \
         set default_transaction_read_only = {rights}; \
         select set_config('synchronous_commit', 'on', false) \
         where current_setting('synchronous_commit') = 'off'"
    )
}

fn pool(manager: Manager, access: Access) -> Result<Pool, BoxError> {
    let session = session(access);
    let set_session = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let session = session.clone();
        Box::pin(async move {
            client
                .batch_execute(&session)
                .await
                .map_err(HookError::Backend)
        })
    });
    Ok(Pool::builder(manager)
        .max_size(CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(ANSWER_TIMEOUT),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        })
        .post_create(set_session)
        .build()?)
}

fn borrowed(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params
        .iter()
        .map(|param| param as &(dyn ToSql + Sync))
        .collect()
}

async fn run_all(client: &mut Client, statements: &[Statement]) -> Result<Vec<u64>, Broken> {
    let transaction = client.transaction().await?;
    let mut changed = Vec::with_capacity(statements.len());
    for (index, statement) in statements.iter().enumerate() {
        let params = borrowed(&statement.params);
        let lines = transaction.execute(statement.sql.as_str(), &params).await?;
        if !statement.is_met(lines) {
            transaction.rollback().await?;
            return Err(Broken::Unmet(index));
        }
        changed.push(lines);
    }
    transaction.commit().await?;
    Ok(changed)
}

/// One step forward. The version, once there is none.
async fn migrate_one(client: &mut Client, script: &Script<'_>) -> Result<Option<i64>, BoxError> {
    let transaction = client.transaction().await?;
    transaction
        .execute("select pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])
        .await?;
    let table = script.version_table;
    let exists: bool = transaction
        .query_one("select to_regclass($1) is not null", &[&table])
        .await?
        .try_get(0)?;
    if !exists {
        transaction.batch_execute(&script.create()).await?;
    }
    let version = transaction.query_one(&script.version(), &[]).await?;
    let version = version.try_get(0)?;
    let Some(next) = script.next(version) else {
        return Ok(Some(version));
    };
    transaction.batch_execute(&next).await?;
    transaction.commit().await?;
    Ok(None)
}

async fn within<T>(
    client: Object,
    work: impl AsyncFnOnce(&mut Object) -> T,
) -> Result<T, BoxError> {
    let mut client = client;
    if let Ok(done) = tokio::time::timeout(ANSWER_TIMEOUT, work(&mut client)).await {
        return Ok(done);
    }
    // The server may still be at it: nobody shall wait behind it on this connection.
    drop(Object::take(client));
    Err(format!("no answer for {} seconds", ANSWER_TIMEOUT.as_secs()).into())
}

impl Postgres {
    pub(super) async fn open(
        place: &Place,
        address: &Address<'_>,
        access: Access,
    ) -> Result<Self, DatabaseError> {
        let (config, wire) = settings(address).map_err(|what| DatabaseError::Settings {
            place: place.clone(),
            what,
        })?;
        let failed = |source: BoxError| DatabaseError::Connect {
            place: place.clone(),
            source,
        };
        let checked = ManagerConfig {
            recycling_method: RecyclingMethod::Verified,
        };
        let manager = match wire {
            Wire::Plain => Manager::from_config(config, NoTls, checked),
            Wire::Tls => {
                let tls = MakeRustlsConnect::new(tls(address).map_err(failed)?);
                Manager::from_config(config, tls, checked)
            }
        };
        let pool = pool(manager, access).map_err(failed)?;
        let first = pool.get().await.map_err(|error| failed(error.into()))?;
        drop(first);
        Ok(Self { pool })
    }

    async fn client(&self) -> Result<Object, PoolError> {
        self.pool.get().await
    }

    pub(super) async fn query(&self, sql: &str, params: &[Param]) -> Result<Vec<Line>, BoxError> {
        let client = self.client().await?;
        let params = borrowed(params);
        let rows = within(client, async |client| client.query(sql, &params).await).await??;
        Ok(rows.into_iter().map(Line::Postgres).collect())
    }

    pub(super) async fn transaction(&self, statements: Vec<Statement>) -> Result<Vec<u64>, Broken> {
        let client = self.client().await?;
        within(client, async |client| run_all(client, &statements).await)
            .await
            .map_err(Broken::Failed)?
    }

    pub(super) async fn migrate(&self, script: &Script<'_>) -> Result<i64, BoxError> {
        loop {
            let client = self.client().await?;
            let version =
                within(client, async |client| migrate_one(client, script).await).await??;
            if let Some(version) = version {
                return Ok(version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &Url) -> Address<'_> {
        Address {
            role: "catalog",
            url,
            password: None,
            ca_file: None,
        }
    }

    fn wire_of(url: &str) -> Result<Wire, String> {
        settings(&address(&url.parse().unwrap())).map(|(_, wire)| wire)
    }

    #[test]
    fn nothing_leaves_this_machine_without_verified_tls() {
        for url in [
            "postgres://u@db.example/d",
            "postgres://u@db.example/d?sslmode=prefer",
            "postgres://u@db.example/d?sslmode=require",
            "postgres://u@10.0.0.1/d?sslmode=verify-full",
            "postgres://u@127.0.0.1/d?sslmode=require",
            "postgres://u@localhost,db.example/d",
            "postgres://u@localhost/d?hostaddr=10.0.0.1",
            "postgres://u@localhost/d?host=db.example",
        ] {
            assert_eq!(wire_of(url), Ok(Wire::Tls), "{url}");
        }
        for url in [
            "postgres://u@127.0.0.1/d",
            "postgres://u@[::1]/d",
            "postgres://u@localhost:5433/d?sslmode=disable",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/d?sslmode=prefer",
            "postgres:///d?user=u&host=/tmp",
        ] {
            assert_eq!(wire_of(url), Ok(Wire::Plain), "{url}");
        }
    }

    #[test]
    fn an_sslmode_that_promises_less_is_refused() {
        for mode in ["disable", "allow", "verify-ca", ""] {
            assert!(wire_of(&format!("postgres://u@db.example/d?sslmode={mode}")).is_err());
        }
    }

    #[test]
    fn a_place_and_a_refusal_hold_no_secret() {
        let url: Url = "postgres://u:geheim@db.example:5433/soda?sslmode=disable&password=geheim"
            .parse()
            .unwrap();
        let address = address(&url);
        assert_eq!(place(&address).to_string(), "catalog db.example:5433/soda");
        assert!(!settings(&address).unwrap_err().contains("geheim"));
        let broken: Url = "postgres://u:geheim@db.example/d?geheim=geheim"
            .parse()
            .unwrap();
        let refused = settings(&super::tests::address(&broken)).unwrap_err();
        assert!(!refused.contains("geheim"), "{refused}");
    }

    #[test]
    fn a_socket_is_named_by_its_folder() {
        let url: Url = "postgres://u@%2Frun%2Fpg/soda".parse().unwrap();
        assert_eq!(place(&address(&url)).name, "/run/pg/soda");
        let url: Url = "postgres:///soda?user=u&host=/tmp".parse().unwrap();
        assert_eq!(place(&address(&url)).name, "/tmp/soda");
    }
}
