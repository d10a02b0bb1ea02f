//! Lines of the catalog with unexpected values: `infinity` has its meaning, and a line that
//! cannot be read harms only the days it could belong to, and is named.

use std::collections::BTreeMap;

use crate::support::city::{TestCity, wednesday};
use crate::support::lake_catalog::{databases, move_catalog};
use crate::support::postgres;
use crate::support::program::{Ran, with};

const DAYS: &str = "check --from 2020-10-13 --to 2020-10-16 --format json";

/// A published entry of a kind that belongs to no configured dataset.
const STRAY: &str = "'socrata', 'gs', 'Stray', 'unit_data.json', 'p'";

/// A city whose catalog accepts arbitrary entries, in either kind of database.
enum Scene {
    Sqlite(TestCity),
    Postgres(
        TestCity,
        tokio_postgres::Client,
        Vec<(&'static str, String)>,
    ),
}

impl Scene {
    async fn sqlite() -> Self {
        Self::Sqlite(TestCity::around(wednesday(), "").await)
    }

    async fn postgres() -> Self {
        let city = TestCity::around(wednesday(), "").await;
        let (catalog, ledger) = (postgres::database().await, postgres::database().await);
        let client = postgres::client(&catalog).await;
        move_catalog(&city, &client).await;
        Self::Postgres(city, client, databases(&catalog, &ledger))
    }

    async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(city) => {
                let path = city.stage.dir().join("catalog.db");
                let file = rusqlite::Connection::open(path).unwrap();
                file.execute_batch(sql).unwrap();
            }
            Self::Postgres(_, client, _) => {
                let sql = sql.replace("into data_lake", "into api.data_lake");
                let sql = sql.replace("update data_lake", "update api.data_lake");
                client.batch_execute(&sql).await.unwrap();
            }
        }
    }

    /// Adds an entry; `key` is its repository, source, base, ext and pointer.
    async fn add(&self, key: &str, begin: &str, end: &str) {
        let sql = format!(
            "insert into data_lake_catalog (repository, data_source, id_base, id_ext, pointer,
               collection_date, collection_end) values ({key}, {begin}, {end})"
        );
        self.execute(&sql).await;
    }

    async fn check(&self) -> Ran {
        match self {
            Self::Sqlite(city) => with(city, DAYS, &[]).await,
            Self::Postgres(city, _, env) => {
                let env: Vec<_> = env
                    .iter()
                    .map(|(name, url)| (*name, url.as_str()))
                    .collect();
                with(city, DAYS, &env).await
            }
        }
    }
}

/// The state by dataset and day.
fn states(ran: &Ran) -> BTreeMap<(String, String), String> {
    let text = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap().to_owned();
    let lines = ran.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line| {
            let key = (text(&line, "dataset"), text(&line, "day"));
            (key, text(&line, "state"))
        })
        .collect()
}

/// The unproven dataset-days. Asserts that every other one is in sync.
#[track_caller]
fn unproven(ran: &Ran) -> Vec<String> {
    let states = states(ran);
    assert_eq!(states.len(), 15, "{}{}", ran.out, ran.err);
    let mut unproven = Vec::new();
    for ((dataset, day), state) in states {
        match state.as_str() {
            "in-sync" => {}
            "unproven" => unproven.push(format!("{dataset} {day}")),
            other => panic!("{dataset} {day} is {other}: {}", ran.out),
        }
    }
    unproven
}

macro_rules! on_both {
    ($($claim:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $claim() {
                super::$claim(super::Scene::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $claim() {
                super::$claim(super::Scene::postgres().await).await;
            })*
        }
    };
}

on_both!(
    an_open_end_or_begin_is_valid,
    distant_times_are_valid,
    an_unreadable_entry_affects_only_its_own_day,
);

async fn an_open_end_or_begin_is_valid(scene: Scene) {
    scene
        .add(STRAY, "'2020-10-13 05:00:00+00'", "'infinity'")
        .await;
    scene.add(STRAY, "'-infinity'", "'infinity'").await;
    scene.add(STRAY, "'infinity'", "null").await;
    let ready = STRAY.replace("socrata", "atd-datalake-ready");
    scene
        .add(&ready, "'2020-10-14 05:00:00+00'", "'infinity'")
        .await;
    scene.add(&ready, "'-infinity'", "'-infinity'").await;
    // A published entry without an end refers to its own file like any other entry.
    scene
        .execute(
            "update data_lake_catalog set collection_end = 'infinity'
             where repository = 'socrata' and data_source = 'wt'",
        )
        .await;
    let ran = scene.check().await.ends(0, "");
    assert_eq!(unproven(&ran), Vec::<String>::new());
}

async fn distant_times_are_valid(scene: Scene) {
    let far = "'294276-12-31 23:59:59.999999+00'";
    let old = "'4713-01-01 00:00:00+00 BC'";
    scene.add(STRAY, "'2020-10-13 05:00:00+00'", far).await;
    scene.add(STRAY, old, far).await;
    scene.add(STRAY, "'12000-01-01 00:00:00+00'", "null").await;
    scene.add(STRAY, "'2020-10-14 05:00:00+00'", old).await;
    scene
        .execute(
            "update data_lake_catalog set processing_date = '-infinity'
             where data_source = 'wt'",
        )
        .await;
    let ran = scene.check().await.ends(0, "");
    assert_eq!(unproven(&ran), Vec::<String>::new());
}

/// A number that the program cannot represent, as JSON.
const METADATA: &str = "'{\"n\": 1e999}'";

async fn an_unreadable_entry_affects_only_its_own_day(scene: Scene) {
    let begin = match &scene {
        Scene::Sqlite(_) => "collection_date like '2020-10-14T05:%'",
        Scene::Postgres(..) => "collection_date = '2020-10-14T05:00:00Z'",
    };
    // Rows of the day before may be in the day's file.
    let matched = [
        "bluetooth-matched 2020-10-13",
        "bluetooth-matched 2020-10-14",
    ];
    // The file of unmatched readings is derived with that of matched trips beside it.
    let with_companion = [matched[0], matched[1], "bluetooth-unmatched 2020-10-14"];
    for (repository, harmed) in [
        ("socrata", &matched[..]),
        ("atd-datalake-ready", &with_companion[..]),
    ] {
        let sql = |metadata: &str| {
            format!(
                "update data_lake_catalog set metadata = {metadata}
                 where repository = '{repository}' and id_ext = 'matched.json' and {begin}"
            )
        };
        scene.execute(&sql(METADATA)).await;
        let ran = scene.check().await.ends(4, "metadata");
        assert_eq!(unproven(&ran), harmed, "{repository}");
        for part in ["matched.json", "metadata", "data_lake_catalog"] {
            assert!(ran.out.contains(part), "{part}: {}", ran.out);
        }
        scene.execute(&sql("null")).await;
        scene.check().await.ends(0, "");
    }
}
