//! Catalog and ledger, with the same tests on PostgreSQL and on SQLite.

mod catalog;
mod connection;
mod ledger;
mod outbox;
mod passes;
mod queue;
mod upgrade;

use std::path::Path;

use chrono::{DateTime, Utc};
use sodalake::settings::{CatalogSettings, LedgerSettings};
use tempfile::TempDir;
use url::Url;

use crate::support::postgres;

/// A database of either kind, for one test.
struct Place {
    url: Url,
    _folder: Option<TempDir>,
}

fn sqlite_url(path: &Path) -> Url {
    format!("sqlite://{}", path.display()).parse().unwrap()
}

impl Place {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            url: sqlite_url(&folder.path().join("test.db")),
            _folder: Some(folder),
        }
    }

    async fn postgres() -> Self {
        Self {
            url: postgres::database().await,
            _folder: None,
        }
    }

    fn is_postgres(&self) -> bool {
        self.url.scheme() == "postgres"
    }

    fn ledger(&self) -> LedgerSettings {
        LedgerSettings {
            url: self.url.clone(),
            password: None,
            ca_file: None,
        }
    }

    fn catalog(&self) -> CatalogSettings {
        CatalogSettings {
            url: self.url.clone(),
            password: None,
            ca_file: None,
            table: "api.data_lake_catalog".into(),
            repository: "socrata".into(),
        }
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Runs each test on both kinds of database.
macro_rules! on_both {
    ($($claim:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::clients::stores::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::clients::stores::Place::postgres().await).await;
            })*
        }
    };
}
use on_both;
