//! The catalog as in production: a PostgreSQL table owned by the lake.

use sodalake::model::Entry;
use tokio_postgres::Client;
use url::Url;

use super::city::TestCity;

/// The schema from the lake's documentation.
const TABLE: &str = "create schema api;
    create table api.data_lake_catalog (
      id serial, repository text, data_source text, id_base text, id_ext text, pointer text,
      collection_date timestamptz, collection_end timestamptz, processing_date timestamptz,
      metadata jsonb,
      primary key (collection_date, repository, data_source, id_base, id_ext));
    create index on api.data_lake_catalog (collection_date)";

/// Settings that make the program use these two databases.
pub fn databases(catalog: &Url, ledger: &Url) -> Vec<(&'static str, String)> {
    vec![
        ("SODALAKE__CATALOG__URL", catalog.to_string()),
        ("SODALAKE__CATALOG__TABLE", "api.data_lake_catalog".into()),
        ("SODALAKE__LEDGER__URL", ledger.to_string()),
    ]
}

/// Creates the table and fills it with the city's entries.
pub async fn move_catalog(city: &TestCity, client: &Client) {
    client.batch_execute(TABLE).await.unwrap();
    fill(client, &city.stage.catalog.entries().unwrap()).await;
}

/// Inserts the entries.
pub async fn fill(client: &Client, entries: &[Entry]) {
    let sql = "insert into api.data_lake_catalog (repository, data_source, id_base, id_ext,
         pointer, collection_date, collection_end, processing_date)
         values ($1, $2, $3, $4, $5, $6, $7, $8)";
    for entry in entries {
        let key = &entry.key;
        client
            .execute(
                sql,
                &[
                    &key.repository,
                    &key.data_source,
                    &key.id_base,
                    &key.id_ext,
                    &entry.pointer,
                    &key.collection_date,
                    &entry.collection_end,
                    &entry.processing_date,
                ],
            )
            .await
            .unwrap();
    }
}
