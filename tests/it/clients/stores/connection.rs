//! Connections: databases that stop and restart, TLS, secrets, and privileges that the database
//! enforces.

use std::time::{Duration, Instant};

use sodalake::catalog::{Catalog, CatalogError};
use sodalake::ledger::Ledger;

use super::{Place, at, sqlite_url};
use crate::support::postgres;

#[tokio::test]
async fn a_stopped_database_fails_quickly_and_works_again_after_its_restart() {
    let mut server = postgres::Server::start();
    let mut place = Place::sqlite();
    place.url = postgres::database_on(&server.url).await;
    let ledger = Ledger::open(&place.ledger()).await.unwrap();
    ledger.ping().await.unwrap();
    server.stop();
    let asked = Instant::now();
    let error = ledger.ping().await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert!(Ledger::open(&place.ledger()).await.is_err());
    server.start_again();
    ledger.ping().await.unwrap();
}

#[tokio::test]
async fn tls_is_verified_down_to_the_name() {
    let server = postgres::Server::start();
    let open = async |host: &str, trusted: bool| {
        let mut settings = Place::sqlite().ledger();
        settings.url = server.url.clone();
        settings.url.set_host(Some(host)).unwrap();
        settings.url.set_query(Some("sslmode=require"));
        settings.ca_file = trusted.then(|| server.certificate.clone());
        Ledger::open(&settings).await.map(|_| ())
    };
    open("localhost", true).await.unwrap();
    assert!(
        open("localhost", false).await.is_err(),
        "an authority nobody trusts"
    );
    assert!(
        open("127.0.0.1", true).await.is_err(),
        "another name than the certificate's"
    );
}

#[tokio::test]
async fn no_error_contains_the_password() {
    let mut settings = Place::sqlite().ledger();
    settings.url = "postgres://u:geheim@127.0.0.1:1/soda".parse().unwrap();
    settings.password = Some("geheim".to_owned().into());
    let error = Ledger::open(&settings).await.unwrap_err();
    let message = format!("{error} {error:?}");
    let message = format!("{message} {:#}", anyhow::Error::new(error));
    assert!(message.contains("ledger 127.0.0.1:1/soda"), "{message}");
    assert!(!message.contains("geheim"), "{message}");
}

#[tokio::test]
async fn the_reading_catalog_cannot_write() {
    let place = Place::postgres().await;
    let settings = place.catalog();
    let catalog = Catalog::open(&settings, chrono_tz::UTC).await.unwrap();
    // The database enforces this, not our code: a select from this view writes, and is refused.
    let client = postgres::client(&place.url).await;
    client
        .batch_execute(
            "create schema api; create table api.touched (n int);
             create function api.touch() returns timestamptz language sql as
               'insert into api.touched values (1) returning now()';
             create view api.data_lake_catalog as select api.touch() as collection_date,
               'socrata' as repository, 'gs' as data_source, 'a' as id_base, 'b' as id_ext,
               'p' as pointer, null::timestamptz as collection_end,
               null::timestamptz as processing_date, null::jsonb as metadata",
        )
        .await
        .unwrap();
    let window = sodalake::model::Coverage {
        start: at("1900-01-01T00:00:00Z"),
        end: at("2900-01-01T00:00:00Z"),
    };
    let refused = catalog.entries("socrata", "gs", window).await.unwrap_err();
    let message = format!("{:#}", anyhow::Error::new(refused));
    assert!(message.contains("read-only"), "{message}");
}

#[tokio::test]
async fn an_impossible_path_or_table_is_refused() {
    let mut settings = Place::sqlite().ledger();
    settings.url = sqlite_url(std::path::Path::new("/nowhere/at/all/ledger.db"));
    let error = Ledger::open(&settings).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all/ledger.db"), "{error}");
    let mut settings = Place::sqlite().catalog();
    settings.table = "a;b".into();
    let error = Catalog::open(&settings, chrono_tz::UTC).await.unwrap_err();
    assert!(matches!(error, CatalogError::Table(_)));
}
