//! The portal client against a portal that lies, lags, cuts and loses: whatever happens on the
//! way, a read is the whole truth or an error, and a write is applied once or told as doubtful.

mod stage;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sodalake::model::{Day, DayRange, KeySet, PublishedRow, RowKey};
use sodalake::settings::SocrataSettings;
use sodalake::socrata::{
    Freshness, Patience, Portal, PortalError, PublishedKeys, ReadError, Reader, RequestError,
    Table, WriteError, Writer,
};
use url::Url;

use stage::{Ask, Fate, ID, Kind, Reply, Stage, World};

const PASSWORD: &str = "hunter2-secret";
const TOKEN: &str = "app-token-1";

fn settings(url: &Url) -> SocrataSettings {
    SocrataSettings {
        url: url.clone(),
        username: Some("publisher".into()),
        password: Some(PASSWORD.into()),
        app_token: Some(TOKEN.into()),
        page_rows: 4,
        chunk_rows: 4,
        max_in_flight: 4,
        requests_per_second: 10_000,
        confirm_within: Duration::from_secs(1),
        request_timeout: Duration::from_secs(2),
    }
}

fn hasty() -> Patience {
    let brief = Duration::from_millis(1);
    Patience {
        first_pause: brief,
        longest_pause: Duration::from_millis(20),
        tries: 4,
        total: Duration::from_secs(10),
        poll_pause: brief,
        polls: 5,
        stale_pause: brief,
        stale_tries: 4,
        starts: 3,
        seed: 1,
        ..Patience::default()
    }
}

fn portal(stage: &Stage) -> Arc<Portal> {
    Portal::open_with(&settings(&stage.url), hasty()).unwrap()
}

fn reader(stage: &Stage) -> Reader {
    Reader::new(portal(stage))
}

fn writer(stage: &Stage) -> Writer {
    Writer::new(portal(stage), &settings(&stage.url)).unwrap()
}

fn day() -> Day {
    "2020-10-01".parse().unwrap()
}

fn hex(count: u32) -> Vec<String> {
    (1..=count)
        .map(|n| format!("{:032x}", u128::from(n) << 64))
        .collect()
}

fn keys(texts: &[String]) -> Vec<RowKey> {
    texts.iter().map(|text| RowKey::new(text)).collect()
}

fn set(texts: &[String]) -> KeySet {
    keys(texts).into_iter().collect()
}

async fn table(stage: &Stage) -> Table {
    let id = ID.parse().unwrap();
    let shape = reader(stage).shape(&id).await.unwrap();
    Table::new(id, "record_id", "read_date", shape).unwrap()
}

/// The table as an honest portal describes it, without asking the one at hand.
async fn known_table() -> Table {
    table(&Stage::honest(World::of(hex(0))).await).await
}

async fn read_keys(stage: &Stage) -> Result<PublishedKeys, ReadError> {
    reader(stage).keys(&known_table().await, day()).await
}

async fn read_rows(stage: &Stage) -> Result<Vec<PublishedRow>, ReadError> {
    let mut rows = Vec::new();
    let table = known_table().await;
    reader(stage)
        .rows(&table, day(), &mut |row| rows.push(row))
        .await?;
    Ok(rows)
}

/// A day of 10 keys on a portal whose answers `play` may replace.
async fn ten(mut play: impl FnMut(&Ask, &mut World, Reply) -> Reply + Send + 'static) -> Stage {
    Stage::playing(World::of(hex(10)), move |ask, world| {
        let honest = world.answer(ask);
        play(ask, world, honest)
    })
    .await
}

/// A read of 10 keys must come out whole although the `nth` answer of a kind is `bad`.
async fn survives(kind: Kind, nth: usize, bad: impl Fn(Reply) -> Reply + Send + 'static) -> Stage {
    let stage = ten(move |ask, _, honest| {
        if ask.is(kind, nth) {
            bad(honest)
        } else {
            honest
        }
    })
    .await;
    let read = read_keys(&stage).await.unwrap();
    assert_eq!(read.keys, set(&hex(10)));
    stage
}

/// A read of keys and of rows must fail if all answers of a kind are `bad`; no row is let out.
async fn fails(
    kind: Kind,
    bad: impl Fn(&Ask, Reply) -> Reply + Send + Clone + 'static,
) -> ReadError {
    let spoil = bad.clone();
    let stage = ten(move |ask, _, honest| {
        if ask.kind == kind {
            spoil(ask, honest)
        } else {
            honest
        }
    })
    .await;
    let error = read_keys(&stage).await.unwrap_err();
    let stage = ten(move |ask, _, honest| {
        if ask.kind == kind {
            bad(ask, honest)
        } else {
            honest
        }
    })
    .await;
    let mut let_out = 0;
    let table = known_table().await;
    let read = reader(&stage)
        .rows(&table, day(), &mut |_| let_out += 1)
        .await;
    assert!(read.is_err());
    assert_eq!(let_out, 0, "rows of a failed read were handed over");
    error
}

mod reading {
    use super::*;

    #[tokio::test]
    async fn looks_and_writes_may_move_between_threads() {
        fn sendable(_: impl Send) {}
        let stage = Stage::honest(World::of(hex(0))).await;
        let (reader, writer, table) = (reader(&stage), writer(&stage), known_table().await);
        sendable(reader.shape(&table.id));
        sendable(reader.survey(&table, DayRange::one(day())));
        sendable(reader.keys(&table, day()));
        sendable(reader.rows(&table, day(), &mut |_| {}));
        sendable(reader.rows_by_key(&table, &[]));
        sendable(reader.keys_present(&table, &[]));
        sendable(writer.upsert(&table, &[]));
        sendable(writer.delete(&table, &[]));
    }

    #[tokio::test]
    async fn a_day_is_read_whole_by_keyset() {
        let stage = Stage::honest(World::of(hex(10))).await;
        let read = read_keys(&stage).await.unwrap();
        assert_eq!(read.keys, set(&hex(10)));
        assert_eq!((read.count, read.freshness), (10, Freshness::Proven));
        assert_eq!(read.version, Some(7));
        assert_eq!(read.requests, stage.asks().len() as u64);
        let pages = stage.asked(Kind::Page);
        assert_eq!(pages.len(), 3);
        for page in &pages {
            assert_eq!(page.query["$select"], "record_id");
            assert_eq!(page.query["$order"], "record_id");
            assert_eq!(page.query["$limit"], "4");
            assert!(!page.query.contains_key("$offset"));
            assert!(page.headers["accept-encoding"].contains("gzip"));
        }
        assert!(pages[1].query["$where"].ends_with(&format!("record_id > '{}'", hex(4)[3])));
    }

    #[tokio::test]
    async fn a_last_page_that_is_full_is_followed_by_one_that_proves_the_end() {
        let stage = Stage::honest(World::of(hex(8))).await;
        assert_eq!(read_keys(&stage).await.unwrap().count, 8);
        assert_eq!(stage.asked(Kind::Page).len(), 3);
    }

    #[tokio::test]
    async fn rows_come_whole_with_their_stamps_and_in_order() {
        let stage = Stage::honest(World::of(hex(10))).await;
        let rows = read_rows(&stage).await.unwrap();
        assert_eq!(rows.len(), 10);
        assert_eq!(rows[3].key, Some(RowKey::new(&hex(10)[3])));
        assert_eq!(rows[3].fields["volume"], "15");
        assert_eq!(
            rows[3].fields.keys().collect::<Vec<_>>(),
            ["read_date", "record_id", "volume"]
        );
        let select = &stage.asked(Kind::Page)[0].query["$select"];
        assert_eq!(
            select,
            ":id,:created_at,:updated_at,read_date,record_id,volume"
        );
    }

    #[tokio::test]
    async fn an_empty_day_is_empty_and_not_an_error() {
        let stage = Stage::honest(World::of(hex(0))).await;
        let read = read_keys(&stage).await.unwrap();
        assert_eq!((read.keys.len(), read.count, read.newest), (0, 0, None));
    }

    #[tokio::test]
    async fn hostile_keys_pass_through_queries_unchanged() {
        let hostile = [
            "'",
            "''",
            "a' OR '1'='1",
            "%27",
            "a+b&c=d#e",
            "z\\'",
            "naïve 😀",
            "\u{1}",
        ];
        let stage = Stage::honest(World::of(hostile)).await;
        let mut expected: Vec<RowKey> = hostile.iter().map(|key| RowKey::new(key)).collect();
        expected.sort();
        let read = read_keys(&stage).await.unwrap().keys;
        assert_eq!(read, expected.iter().cloned().collect());
        let table = known_table().await;
        let present = reader(&stage)
            .keys_present(&table, &expected)
            .await
            .unwrap();
        assert_eq!(present.into_iter().collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn a_survey_is_one_request() {
        let mut world = World::of(hex(3));
        world.rows[2].at = "2020-10-02T23:59:59.999".into();
        let stage = Stage::honest(world).await;
        let range = DayRange {
            from: day(),
            to: day().plus(30),
        };
        let survey = reader(&stage)
            .survey(&known_table().await, range)
            .await
            .unwrap();
        let rows: Vec<_> = survey
            .days
            .iter()
            .map(|(day, seen)| (day.to_string(), seen.rows))
            .collect();
        assert_eq!(rows, [("2020-10-01".into(), 2), ("2020-10-02".into(), 1)]);
        assert!(survey.days[&day()].newest.is_some());
        assert_eq!((survey.requests, stage.asks().len()), (1, 1));
        assert!(stage.asks()[0].query["$select"].starts_with("date_trunc_ymd(read_date) as"));
    }

    #[tokio::test]
    async fn a_text_day_is_cut_by_substring_and_bounded_by_bare_dates() {
        let mut world = World::of(hex(3));
        world.day_type = "text";
        world.rows[0].at = "2020-10-01T00:00:00".into();
        let stage = Stage::honest(world).await;
        let table = table(&stage).await;
        let survey = reader(&stage)
            .survey(&table, DayRange::one(day()))
            .await
            .unwrap();
        assert_eq!(survey.days[&day()].rows, 3);
        assert!(
            stage.asked(Kind::Survey)[0].query["$select"].starts_with("substring(read_date,1,10)")
        );
        assert_eq!(reader(&stage).keys(&table, day()).await.unwrap().count, 3);
    }

    #[tokio::test]
    async fn a_survey_without_metadata_says_where_it_needs_them() {
        let (id, range) = (ID.parse().unwrap(), DayRange::one(day()));
        let stage = Stage::honest(World::of(hex(3))).await;
        let survey = reader(&stage).survey_unread(&id, "read_date", range).await;
        let survey = survey
            .unwrap()
            .expect("a date is what it takes the column for");
        assert_eq!((survey.days[&day()].rows, stage.asks().len()), (3, 1));
        let mut world = World::of(hex(3));
        world.day_type = "text";
        let stage = Stage::honest(world).await;
        let survey = reader(&stage).survey_unread(&id, "read_date", range).await;
        assert_eq!(survey.unwrap(), None);
        let survey = reader(&stage).survey_unread(&id, "x),(y", range).await;
        assert_eq!((survey.unwrap(), stage.asks().len()), (None, 1));
    }

    #[tokio::test]
    async fn without_a_row_identifier_repeats_and_missing_keys_are_told_by_id() {
        let texts = hex(5);
        let mut world = World::of(texts.clone());
        world.identifier = None;
        world.add(Some(&texts[1]));
        world.add(None);
        world.add(None);
        let stage = Stage::honest(world).await;
        let table = table(&stage).await;
        let read = reader(&stage).keys(&table, day()).await.unwrap();
        assert_eq!((read.keys, read.count), (set(&texts), 8));
        let told: Vec<_> = read
            .repeated
            .iter()
            .map(|(key, sids)| (key.clone(), sids.len()))
            .collect();
        assert_eq!(told, [(None, 2), (Some(RowKey::new(&texts[1])), 2)]);
        let pages = stage.asked(Kind::Page);
        assert!(pages[1].query["$where"].contains(" AND :id > 'row-"));
        assert_eq!(pages[1].query["$order"], ":id");
        let mut seen = 0;
        reader(&stage)
            .rows(&table, day(), &mut |_| seen += 1)
            .await
            .unwrap();
        assert_eq!(seen, 8);
        let both = reader(&stage)
            .rows_by_key(&table, &keys(&texts[1..2]))
            .await
            .unwrap();
        assert_eq!(both.len(), 2);
        let present = reader(&stage)
            .keys_present(&table, &keys(&texts))
            .await
            .unwrap();
        assert_eq!(present.len(), 5);
    }

    #[tokio::test]
    async fn an_id_served_twice_is_a_contradiction() {
        let mut world = World::of(hex(3));
        world.identifier = None;
        let stage = Stage::playing(world, |ask, world| {
            let honest = world.answer(ask);
            if ask.kind != Kind::Page {
                return honest;
            }
            let mut rows: Vec<Value> = serde_json::from_slice(&honest.body).unwrap();
            rows[1][":id"] = rows[0][":id"].clone();
            honest.body(Value::from(rows).to_string())
        })
        .await;
        let read = reader(&stage).keys(&table(&stage).await, day()).await;
        assert!(matches!(read, Err(ReadError::Contradiction { .. })));
    }

    #[tokio::test]
    async fn rows_by_key_are_asked_for_in_urls_of_less_than_7_kb() {
        let texts = hex(500);
        let stage = Stage::honest(World::of(texts.clone())).await;
        let table = known_table().await;
        let mut wanted = keys(&texts);
        wanted.push(RowKey::new("absent"));
        wanted.push(wanted[0].clone());
        let rows = reader(&stage).rows_by_key(&table, &wanted).await.unwrap();
        assert_eq!(rows.len(), 500);
        assert!(rows.iter().map(|row| &row.key).is_sorted());
        let present = reader(&stage).keys_present(&table, &wanted).await.unwrap();
        assert_eq!(present.len(), 500);
        let lists = stage.asked(Kind::List);
        assert!(
            lists
                .iter()
                .all(|ask| stage.url.as_str().len() + ask.target.len() <= 7_001)
        );
        assert!((4..12).contains(&lists.len()), "{}", lists.len());
        assert!(lists[0].target.len() > 6_000, "lists are filled up");
    }

    #[tokio::test]
    async fn no_keys_are_no_request_and_a_key_too_long_for_a_url_is_refused() {
        let stage = Stage::honest(World::of(hex(1))).await;
        let table = known_table().await;
        assert_eq!(reader(&stage).rows_by_key(&table, &[]).await.unwrap(), []);
        let long = [RowKey::new(&"'".repeat(2_000))];
        let read = reader(&stage).keys_present(&table, &long).await;
        assert!(matches!(read, Err(ReadError::KeyTooLong { .. })));
        assert_eq!(stage.asks().len(), 0);
    }

    #[tokio::test]
    async fn a_row_that_was_not_asked_for_is_a_contradiction() {
        let stage = ten(|ask, world, honest| match ask.kind {
            Kind::List => world.served(&json!([{"record_id": "stranger"}])),
            _ => honest,
        })
        .await;
        let table = known_table().await;
        let read = reader(&stage).keys_present(&table, &keys(&hex(2))).await;
        assert!(matches!(read, Err(ReadError::Contradiction { .. })));
    }

    #[tokio::test]
    async fn a_row_that_one_answer_lacks_is_not_taken_for_absent() {
        for identifier in [Some("record_id"), None] {
            let mut world = World::of(hex(3));
            world.identifier = identifier;
            let stage = Stage::playing(world, |ask, world| {
                let honest = world.answer(ask);
                if ask.is(Kind::List, 0) || ask.is(Kind::List, 2) {
                    let mut rows: Vec<Value> = serde_json::from_slice(&honest.body).unwrap();
                    rows.remove(1);
                    return honest.body(Value::from(rows).to_string());
                }
                honest
            })
            .await;
            let table = table(&stage).await;
            let wanted = keys(&hex(3));
            let present = reader(&stage).keys_present(&table, &wanted).await.unwrap();
            assert_eq!(present.len(), 3, "{identifier:?}");
            let rows = reader(&stage).rows_by_key(&table, &wanted).await.unwrap();
            assert_eq!(rows.len(), 3, "{identifier:?}");
            assert_eq!(stage.asked(Kind::List).len(), 4, "{identifier:?}");
        }
    }

    #[tokio::test]
    async fn only_what_is_absent_is_counted() {
        let stage = Stage::honest(World::of(hex(9))).await;
        let table = known_table().await;
        let mut wanted = keys(&hex(9));
        reader(&stage).keys_present(&table, &wanted).await.unwrap();
        assert_eq!(stage.asked(Kind::Count).len(), 0);
        wanted.push(RowKey::new("absent"));
        let present = reader(&stage).keys_present(&table, &wanted).await.unwrap();
        assert_eq!((present.len(), stage.asked(Kind::Count).len()), (9, 1));
    }

    #[tokio::test]
    async fn batches_of_two_versions_are_read_again() {
        let stage = Stage::playing(World::of(hex(300)), |ask, world| {
            if ask.is(Kind::List, 1) {
                world.version += 1;
                world.rows.remove(0);
            }
            world.answer(ask)
        })
        .await;
        let table = known_table().await;
        let present = reader(&stage)
            .keys_present(&table, &keys(&hex(300)))
            .await
            .unwrap();
        assert_eq!(present.len(), 299);
    }

    #[tokio::test]
    async fn changed_columns_are_not_read_as_if_they_were_the_same() {
        let mut world = World::of(hex(3));
        world.identifier = None;
        let error = read_keys(&Stage::honest(world).await).await.unwrap_err();
        assert!(matches!(error, ReadError::Reshaped { .. }));
    }

    #[tokio::test]
    async fn a_table_of_the_old_backend_is_refused() {
        let error = fails(Kind::Count, |_, honest| {
            honest.with("X-SODA2-Legacy-Types", "true")
        })
        .await;
        assert!(matches!(error, ReadError::Legacy { .. }));
    }
}

mod freshness {
    use super::*;

    #[tokio::test]
    async fn an_answer_out_of_date_is_asked_for_again() {
        for kind in [Kind::Count, Kind::Page] {
            let stage = survives(kind, 1, |honest| {
                honest.with("X-SODA2-Data-Out-Of-Date", "true").body("[]")
            })
            .await;
            assert!(stage.asked(kind).len() > 2);
        }
    }

    #[tokio::test]
    async fn replicas_that_stay_out_of_date_prove_nothing() {
        for kind in [Kind::Count, Kind::Page] {
            let error = fails(kind, |_, honest| {
                honest.with("X-SODA2-Data-Out-Of-Date", "true")
            })
            .await;
            assert!(
                matches!(error, ReadError::OutOfDate { tries: 4, .. }),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_portal_that_never_says_is_believed_and_that_is_told() {
        let silent = |_: &Ask, _: &mut World, honest: Reply| {
            honest
                .without("X-SODA2-Data-Out-Of-Date")
                .without("ETag")
                .without("Last-Modified")
        };
        let read = read_keys(&ten(silent).await).await.unwrap();
        assert_eq!(
            (read.count, read.freshness, read.version),
            (10, Freshness::Assumed, None)
        );

        let stage = ten(silent).await;
        let strict = Patience {
            trust_unflagged: false,
            ..hasty()
        };
        let portal = Portal::open_with(&settings(&stage.url), strict).unwrap();
        let read = Reader::new(portal).keys(&known_table().await, day()).await;
        assert!(matches!(read, Err(ReadError::OutOfDate { .. })));
    }

    #[tokio::test]
    async fn answers_without_a_version_do_not_hide_that_others_differ() {
        let stage = ten(|ask, world, honest| {
            if ask.is(Kind::Page, 2) {
                world.version += 1;
                return world.answer(ask);
            }
            match ask.kind {
                Kind::Count => honest.without("ETag").without("Last-Modified"),
                _ => honest,
            }
        })
        .await;
        let read = read_keys(&stage).await.unwrap();
        assert_eq!((read.count, read.freshness), (10, Freshness::Assumed));
        assert_eq!(stage.asked(Kind::Page).len(), 6, "the scan was begun anew");
    }

    #[tokio::test]
    async fn a_lagging_replica_that_calls_itself_fresh_is_asked_past() {
        let stage = ten(|ask, world, honest| {
            if !ask.is(Kind::Page, 1) {
                return honest;
            }
            let mut past = world.clone();
            past.version -= 1;
            past.rows.truncate(6);
            past.answer(ask)
        })
        .await;
        assert_eq!(read_keys(&stage).await.unwrap().keys, set(&hex(10)));
        assert_eq!(
            stage.asked(Kind::Page).len(),
            4,
            "one page again, not the whole scan"
        );
    }

    #[tokio::test]
    async fn a_version_that_changes_between_pages_begins_the_scan_anew() {
        let stage = Stage::playing(World::of(hex(10)), |ask, world| {
            if ask.is(Kind::Page, 1) {
                world.version += 1;
                world.rows.remove(0);
            }
            world.answer(ask)
        })
        .await;
        let read = read_keys(&stage).await.unwrap();
        assert_eq!(read.keys, set(&hex(10)[1..]));
        assert_eq!(read.version, Some(8));
        assert_eq!(stage.asked(Kind::Metadata).len(), 3, "two starts, one end");
    }

    #[tokio::test]
    async fn rows_of_a_start_that_came_to_nothing_are_never_handed_over() {
        let stage = Stage::playing(World::of(hex(10)), |ask, world| {
            if ask.is(Kind::Page, 2) {
                world.version += 1;
                world.rows.remove(0);
            }
            world.answer(ask)
        })
        .await;
        let rows = read_rows(&stage).await.unwrap();
        let seen: Vec<_> = rows.into_iter().filter_map(|row| row.key).collect();
        assert_eq!(seen, keys(&hex(10)[1..]));
    }

    #[tokio::test]
    async fn data_that_never_stand_still_are_unsteady() {
        let stage = ten(|_, world, honest| {
            world.version += 1;
            honest
        })
        .await;
        let error = read_keys(&stage).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Unsteady { starts: 3, .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn last_modified_tells_versions_apart_where_tags_do_not() {
        let stage = ten(|ask, _, honest| {
            let minute = if ask.kind == Kind::Page { ask.nth } else { 0 };
            let stamp = format!("Thu, 01 Oct 2020 12:{minute:02}:00 GMT");
            honest
                .with("ETag", "\"opaque\"")
                .with("Last-Modified", &stamp)
        })
        .await;
        let error = read_keys(&stage).await.unwrap_err();
        assert!(matches!(error, ReadError::Unsteady { .. }), "{error}");
    }

    #[tokio::test]
    async fn counts_that_change_meanwhile_begin_the_scan_anew() {
        let stage = Stage::playing(World::of(hex(10)), |ask, world| {
            if ask.is(Kind::Count, 1) {
                world.add(Some(&hex(11)[10])); // the version lies
            }
            world.answer(ask)
        })
        .await;
        assert_eq!(read_keys(&stage).await.unwrap().count, 11);
    }

    #[tokio::test]
    async fn a_row_written_again_meanwhile_begins_the_scan_anew() {
        let stage = Stage::playing(World::of(hex(10)), |ask, world| {
            if ask.is(Kind::Count, 1) {
                world.rows[0].updated += 1; // the version lies
            }
            world.answer(ask)
        })
        .await;
        read_keys(&stage).await.unwrap();
        assert_eq!(stage.asked(Kind::Count).len(), 4);
    }

    #[tokio::test]
    async fn metadata_that_change_meanwhile_begin_the_scan_anew() {
        let stage = ten(|ask, _, honest| {
            if !ask.is(Kind::Metadata, 1) {
                return honest;
            }
            let mut view: Value = serde_json::from_slice(&honest.body).unwrap();
            view["rowsUpdatedAt"] = json!(1);
            Reply::json(200, &view)
        })
        .await;
        assert_eq!(read_keys(&stage).await.unwrap().count, 10);
        assert_eq!(stage.asked(Kind::Metadata).len(), 4);
    }
}

mod contradictions {
    use super::*;

    fn edited(honest: Reply, edit: impl Fn(&mut Vec<Value>)) -> Reply {
        let mut rows: Vec<Value> = serde_json::from_slice(&honest.body).unwrap();
        edit(&mut rows);
        honest.body(Value::from(rows).to_string())
    }

    #[tokio::test]
    async fn a_dropped_row_is_noticed() {
        let error = fails(Kind::Page, |ask, honest| {
            edited(honest, |rows| {
                if ask.nth % 3 == 2 {
                    rows.remove(0);
                }
            })
        })
        .await;
        assert!(matches!(error, ReadError::Contradiction { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "believe what the portal says of keys of 2020-10-01 of sh59-i6y9: 9 rows came, 10 were counted"
        );
    }

    #[tokio::test]
    async fn a_repeated_row_is_noticed_within_a_page_and_across_pages() {
        for nth in [0, 1] {
            let error = fails(Kind::Page, move |ask, honest| {
                edited(honest, |rows| match (ask.nth % 3, nth) {
                    (0, 0) => rows[1] = rows[0].clone(),
                    (1, 1) => rows[0]["record_id"] = json!(hex(4)[3]),
                    _ => {}
                })
            })
            .await;
            assert!(matches!(error, ReadError::Contradiction { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn rows_out_of_order_are_noticed() {
        let error = fails(Kind::Page, |_, honest| {
            edited(honest, |rows| rows.reverse())
        })
        .await;
        assert!(error.to_string().ends_with("keys do not ascend"), "{error}");
    }

    #[tokio::test]
    async fn an_empty_page_of_a_day_with_rows_is_a_lie() {
        let error = fails(Kind::Page, |_, honest| honest.body("[]\n")).await;
        assert!(
            error.to_string().ends_with("0 rows came, 10 were counted"),
            "{error}"
        );
        survives(Kind::Page, 0, |honest| honest.body("[]\n")).await;
    }

    #[tokio::test]
    async fn a_row_identifier_that_is_counted_twice_is_a_contradiction() {
        let error = fails(Kind::Count, |_, honest| {
            edited(honest, |rows| rows[0]["sl_keys"] = json!("9"))
        })
        .await;
        assert!(
            error.to_string().ends_with("10 keys came, 9 were counted"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn rows_older_than_the_newest_counted_are_a_contradiction() {
        let stage = ten(|ask, _, honest| match ask.kind {
            Kind::Count => edited(honest, |rows| {
                rows[0]["sl_newest"] = json!("2021-01-01T00:00:00.000Z");
            }),
            _ => honest,
        })
        .await;
        let error = read_rows(&stage).await.unwrap_err();
        assert!(matches!(error, ReadError::Contradiction { .. }), "{error}");
    }

    #[tokio::test]
    async fn counts_that_are_none_are_a_contradiction() {
        for body in [
            "[]",
            "[{}]",
            r#"[{"sl_rows":"x","sl_keys":"1"}]"#,
            "[{},{}]",
        ] {
            let error = fails(Kind::Count, move |_, honest| honest.body(body)).await;
            assert!(
                matches!(error, ReadError::Contradiction { .. }),
                "{body} {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_page_that_ignores_the_limit_or_the_day_is_refused() {
        let error = fails(Kind::Page, |_, honest| {
            edited(honest, |rows| {
                *rows = hex(12)
                    .into_iter()
                    .map(|key| json!({"record_id": key}))
                    .collect();
            })
        })
        .await;
        assert!(matches!(error, ReadError::Contradiction { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_value_of_the_wrong_type_is_refused_and_not_quoted() {
        let error = fails(Kind::Page, |_, honest| {
            edited(honest, |rows| rows[1] = json!({"record_id": ["private"]}))
        })
        .await;
        assert!(matches!(error, ReadError::Contradiction { .. }));
        assert!(!error.to_string().contains("private"));
    }

    #[tokio::test]
    async fn metadata_of_another_table_are_refused() {
        let stage = ten(|_, _, honest| {
            let mut view: Value = serde_json::from_slice(&honest.body).unwrap();
            view["id"] = json!("abcd-1234");
            Reply::json(200, &view)
        })
        .await;
        let read = reader(&stage).shape(&ID.parse().unwrap()).await;
        assert!(matches!(read, Err(ReadError::Contradiction { .. })));
    }
}

mod transport {
    use super::*;

    #[tokio::test]
    async fn a_body_cut_anywhere_is_read_again() {
        for fate in [
            Fate::Cut(0),
            Fate::Cut(60),
            Fate::CleanCut(0),
            Fate::CleanCut(60),
            Fate::Reset,
        ] {
            survives(Kind::Page, 1, move |honest| honest.fate(fate)).await;
        }
        survives(Kind::Page, 1, |honest| {
            let whole = honest.body.len();
            honest.fate(Fate::CleanCut(whole - 1))
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_broken_in_its_middle_is_read_again_alone() {
        let stage = survives(Kind::Page, 1, |honest| honest.body("[{\"record_id\":]\n")).await;
        assert_eq!(stage.asked(Kind::Page).len(), 4);
        assert_eq!(stage.asked(Kind::Count).len(), 2);
    }

    #[tokio::test]
    async fn a_page_cut_short_for_good_proves_nothing() {
        let error = fails(Kind::Page, |_, honest| honest.fate(Fate::CleanCut(60))).await;
        let ReadError::Request { source, .. } = error else {
            panic!("{error}");
        };
        assert!(matches!(
            source,
            RequestError::NotJson {
                what: "cut short or broken"
            }
        ));
    }

    #[tokio::test]
    async fn a_web_page_behind_a_200_is_not_data() {
        survives(Kind::Page, 0, |_| Reply::html(200)).await;
        survives(Kind::Metadata, 0, |_| Reply::html(200)).await;
        let error = fails(Kind::Count, |_, _| Reply::html(200)).await;
        assert!(matches!(
            error,
            ReadError::Request {
                source: RequestError::NotJson { .. },
                ..
            }
        ));
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again() {
        for status in [408, 429, 500, 502, 503, 504] {
            let stage = survives(Kind::Page, 1, move |_| Reply::html(status)).await;
            assert_eq!(stage.asked(Kind::Page).len(), 4, "{status}");
        }
    }

    #[tokio::test]
    async fn what_cannot_pass_is_not_tried_again() {
        for status in [400, 401, 403, 404, 409, 410, 413, 414] {
            let stage = ten(move |_, _, _| {
                Reply::json(status, &json!({"code": "x.y", "message": "no\u{1b}[2J"}))
            })
            .await;
            let error = read_keys(&stage).await.unwrap_err();
            let source = error.source().unwrap().to_string();
            assert_eq!(
                source,
                format!("get more than status {status} from the portal: no\\u{{1b}}[2J")
            );
            assert_eq!(stage.asks().len(), 1, "{status}");
        }
    }

    #[tokio::test]
    async fn tries_end() {
        let stage = ten(|_, _, _| Reply::html(503)).await;
        let portal = portal(&stage);
        let id = ID.parse().unwrap();
        assert!(Reader::new(Arc::clone(&portal)).shape(&id).await.is_err());
        assert_eq!(stage.asks().len(), 4);
        assert_eq!(portal.requests()[&("metadata", 503)], 4);
        assert_eq!(portal.traffic().retries["server_error"], 3);
    }

    #[tokio::test]
    async fn throttling_is_waited_out_as_long_as_the_portal_asks() {
        for (asked, date) in [
            ("1", "x"),
            (
                "Thu, 01 Oct 2020 12:00:01 GMT",
                "Thu, 01 Oct 2020 12:00:00 GMT",
            ),
        ] {
            let stage = ten(move |ask, _, honest| match ask.nth {
                0 => Reply::html(429)
                    .with("Retry-After", asked)
                    .with("Date", date),
                _ => honest,
            })
            .await;
            let patience = Patience {
                longest_pause: Duration::from_secs(5),
                ..hasty()
            };
            let portal = Portal::open_with(&settings(&stage.url), patience).unwrap();
            let begun = Instant::now();
            Reader::new(portal)
                .shape(&ID.parse().unwrap())
                .await
                .unwrap();
            assert!(begun.elapsed() >= Duration::from_secs(1), "{asked}");
        }
        // the longest pause is ours to set
        survives(Kind::Page, 0, |_| {
            Reply::html(429).with("Retry-After", "86400")
        })
        .await;
    }

    #[tokio::test]
    async fn an_answer_that_is_accepted_only_is_asked_for_again() {
        survives(Kind::Page, 0, |_| {
            Reply::json(202, &json!({})).with("Retry-After", "0")
        })
        .await;
        let stage = survives(Kind::Page, 0, |_| {
            Reply::json(202, &json!({"ticket": "t &1"}))
        })
        .await;
        assert_eq!(stage.asked(Kind::Page)[1].query["ticket"], "t &1");
        let stage = ten(|ask, world, honest| {
            let Kind::Page = ask.kind else { return honest };
            if ask.query.contains_key("later") {
                world.answer(ask)
            } else {
                Reply::json(202, &json!({})).with("Location", &format!("{}&later=1", ask.target))
            }
        })
        .await;
        assert_eq!(read_keys(&stage).await.unwrap().count, 10);
    }

    #[tokio::test]
    async fn a_portal_that_is_never_done_is_given_up() {
        let error = fails(Kind::Page, |_, _| Reply::json(202, &json!({}))).await;
        assert!(matches!(
            error,
            ReadError::Request {
                source: RequestError::StillWorking,
                ..
            }
        ));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_in_time_is_asked_for_again() {
        let stage = ten(|ask, _, honest| match ask.nth {
            0 => honest.fate(Fate::Late(Duration::from_secs(30))),
            _ => honest,
        })
        .await;
        let mut settings = settings(&stage.url);
        settings.request_timeout = Duration::from_millis(100);
        let portal = Portal::open_with(&settings, hasty()).unwrap();
        Reader::new(portal)
            .shape(&ID.parse().unwrap())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn compressed_answers_are_read_and_bounded_by_what_they_unfold_to() {
        survives(Kind::Page, 1, Reply::gzipped).await;
        survives(Kind::Page, 1, |honest| {
            let packed = honest.gzipped();
            let kept = packed.body.len() - 12;
            packed.fate(Fate::CleanCut(kept))
        })
        .await;
        let stage = ten(|_, _, honest| honest.body(" ".repeat(1 << 20)).gzipped()).await;
        let patience = Patience {
            max_body_bytes: 10_000,
            ..hasty()
        };
        let portal = Portal::open_with(&settings(&stage.url), patience).unwrap();
        let read = Reader::new(portal).shape(&ID.parse().unwrap()).await;
        let error = read.unwrap_err();
        assert!(matches!(
            error,
            ReadError::Request {
                source: RequestError::TooBig { limit: 10_000 },
                ..
            }
        ));
    }

    #[tokio::test]
    async fn no_more_requests_are_under_way_than_allowed() {
        let stage =
            Arc::new(ten(|_, _, honest| honest.fate(Fate::Late(Duration::from_millis(10)))).await);
        let mut settings = settings(&stage.url);
        settings.max_in_flight = 2;
        let reader = Reader::new(Portal::open_with(&settings, hasty()).unwrap());
        let look = || {
            let reader = reader.clone();
            tokio::spawn(async move { reader.shape(&ID.parse().unwrap()).await })
        };
        let looks: Vec<_> = (0..10).map(|_| look()).collect();
        for look in looks {
            look.await.unwrap().unwrap();
        }
        assert_eq!(stage.most_under_way(), 2);
    }

    #[tokio::test]
    async fn requests_begin_no_faster_than_allowed() {
        let stage = ten(|_, _, honest| honest).await;
        let mut settings = settings(&stage.url);
        settings.requests_per_second = 20;
        let portal = Portal::open_with(&settings, hasty()).unwrap();
        let reader = Reader::new(Arc::clone(&portal));
        let begun = Instant::now();
        for _ in 0..25 {
            reader.shape(&ID.parse().unwrap()).await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert!(portal.traffic().throttled > Duration::ZERO);
    }
}

mod secrets {
    use super::*;

    #[tokio::test]
    async fn a_reader_sends_the_app_token_and_never_the_password() {
        let stage = Stage::honest(World::of(hex(10))).await;
        read_keys(&stage).await.unwrap();
        read_rows(&stage).await.unwrap();
        for ask in stage.asks() {
            assert_eq!(ask.headers["x-app-token"], TOKEN);
            assert!(!ask.headers.contains_key("authorization"), "{:?}", ask.kind);
            assert!(!ask.target.contains(TOKEN));
        }
    }

    #[tokio::test]
    async fn a_refused_app_token_is_left_out_from_then_on() {
        let stage = ten(|ask, _, honest| {
            if ask.headers.contains_key("x-app-token") {
                Reply::json(403, &json!({"code": "permission_denied", "error": true, "message": "Invalid app_token specified"}))
            } else {
                honest
            }
        })
        .await;
        assert_eq!(read_keys(&stage).await.unwrap().count, 10);
        let with_token = |ask: &&Ask| ask.headers.contains_key("x-app-token");
        assert_eq!(stage.asks().iter().filter(with_token).count(), 1);
    }

    #[tokio::test]
    async fn a_refusal_that_does_not_end_without_the_token_is_not_asked_for_ever() {
        let stage =
            ten(|_, _, _| Reply::json(403, &json!({"message": "Invalid app_token specified"})))
                .await;
        assert!(read_keys(&stage).await.is_err());
        assert_eq!(stage.asks().len(), 2);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_carries_nothing_anywhere() {
        let elsewhere = Arc::new(Stage::honest(World::of(hex(10))).await);
        for status in [301, 302, 303, 307, 308] {
            let target = elsewhere.url.join("/resource/sh59-i6y9.json").unwrap();
            let stage = ten(move |ask, _, honest| match ask.kind {
                Kind::Metadata => honest,
                _ => Reply::html(status).with("Location", target.as_str()),
            })
            .await;
            let table = known_table().await;
            let read = reader(&stage).keys(&table, day()).await.unwrap_err();
            let source = read.source().unwrap().to_string();
            assert!(source.contains(elsewhere.url.as_str()), "{source}");
            let written = writer(&stage).delete(&table, &keys(&hex(1))).await;
            let Err(WriteError::Refused { source, .. }) = written else {
                panic!("{written:?}");
            };
            assert!(matches!(source, RequestError::Redirect { .. }));
        }
        assert_eq!(elsewhere.asks().len(), 0);
    }

    #[tokio::test]
    async fn a_ticket_office_on_another_host_is_not_visited() {
        let elsewhere = Stage::honest(World::of(hex(10))).await;
        let target = elsewhere.url.to_string();
        let error = fails(Kind::Page, move |_, _| {
            Reply::json(202, &json!({})).with("Location", &target)
        })
        .await;
        assert!(matches!(
            error,
            ReadError::Request {
                source: RequestError::Redirect { .. },
                ..
            }
        ));
        assert_eq!(elsewhere.asks().len(), 0);
    }

    #[tokio::test]
    async fn errors_and_debug_output_name_no_secret() {
        let stage = ten(|_, _, _| Reply::html(500).fate(Fate::Reset)).await;
        let error = read_keys(&stage).await.unwrap_err();
        let shown = format!("{error:?} {:?} {:?}", portal(&stage), writer(&stage));
        assert!(
            !shown.contains(TOKEN) && !shown.contains(PASSWORD),
            "{shown}"
        );
        assert!(!shown.contains("$where"), "{shown}");
    }

    #[test]
    fn only_a_safe_address_is_a_portal() {
        let open = |url: &str| Portal::open(&settings(&url.parse().unwrap()));
        for url in [
            "https://data.austintexas.gov",
            "http://127.0.0.1:80/",
            "http://[::1]:80/",
            "http://localhost/",
        ] {
            assert!(open(url).is_ok(), "{url}");
        }
        for url in [
            "http://data.austintexas.gov/",
            "http://localhost.example/",
            "ftp://127.0.0.1/",
            "https://user:hunter2@data.austintexas.gov/",
            "https://data.austintexas.gov/resource",
            "https://data.austintexas.gov/?x=1",
        ] {
            let error = open(url).unwrap_err();
            assert!(matches!(error, PortalError::Url(_)), "{url}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_writer_names_the_secret_it_lacks() {
        let stage = Stage::honest(World::of(hex(0))).await;
        let mut settings = settings(&stage.url);
        settings.password = None;
        let error = Writer::new(portal(&stage), &settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "write to the portal without socrata.password"
        );
        settings.username = None;
        let error = Writer::new(portal(&stage), &settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "write to the portal without socrata.username"
        );
    }
}

mod writing {
    use super::*;

    fn rows(texts: &[String]) -> Vec<Map<String, Value>> {
        let row = |key: &String| {
            json!({"record_id": key, "volume": "15"})
                .as_object()
                .unwrap()
                .clone()
        };
        texts.iter().map(row).collect()
    }

    fn stored(stage: &Stage) -> usize {
        stage.world.lock().unwrap().rows.len()
    }

    #[tokio::test]
    async fn rows_go_in_chunks_with_the_credentials_and_once() {
        let stage = Stage::honest(World::of(hex(3))).await;
        let table = known_table().await;
        let summary = writer(&stage)
            .upsert(&table, &rows(&hex(10)))
            .await
            .unwrap();
        assert_eq!((summary.sent, summary.chunks), (10, 3));
        assert_eq!(
            (summary.created, summary.updated, summary.deleted),
            (7, 3, 0)
        );
        assert_eq!((summary.errors, summary.doubtful), (0, 0));
        assert_eq!(stored(&stage), 10);
        let writes = stage.asked(Kind::Write);
        assert_eq!(writes.len(), 3);
        for ask in writes {
            assert_eq!(
                (&*ask.method, &*ask.target),
                ("POST", "/resource/sh59-i6y9.json")
            );
            assert!(ask.headers["authorization"].starts_with("Basic "));
            assert_eq!(ask.headers["content-type"], "application/json");
        }
    }

    #[tokio::test]
    async fn deletes_are_posts_of_marked_keys_and_absent_ones_are_fine() {
        let stage = Stage::honest(World::of(hex(3))).await;
        let table = known_table().await;
        let mut wanted = keys(&hex(5));
        wanted.push(wanted[0].clone());
        let summary = writer(&stage).delete(&table, &wanted).await.unwrap();
        assert_eq!((summary.sent, summary.deleted, summary.errors), (5, 3, 2));
        assert_eq!((summary.doubtful, stored(&stage)), (0, 0));
        let first = &stage.asked(Kind::Write)[0];
        assert_eq!(first.method, "POST");
        let body: Value = serde_json::from_slice(&first.body).unwrap();
        assert_eq!(body[0], json!({"record_id": hex(1)[0], ":deleted": true}));
    }

    #[tokio::test]
    async fn nothing_is_written_unless_the_key_is_the_row_identifier_now() {
        for identifier in [None, Some("volume")] {
            let mut world = World::of(hex(3));
            world.identifier = identifier;
            let stage = Stage::honest(world).await;
            for table in [known_table().await, table(&stage).await] {
                let written = writer(&stage).upsert(&table, &rows(&hex(1))).await;
                assert!(matches!(written, Err(WriteError::RowIdentifier { .. })));
                let written = writer(&stage).delete(&table, &keys(&hex(1))).await;
                let Err(WriteError::RowIdentifier { found, wanted, .. }) = written else {
                    panic!("{written:?}");
                };
                assert_eq!((found.as_deref(), &*wanted), (identifier, "record_id"));
            }
            assert_eq!(stage.asked(Kind::Write).len(), 0);
        }
    }

    #[tokio::test]
    async fn rows_without_a_key_and_orders_in_disguise_are_not_sent() {
        let stage = Stage::honest(World::of(hex(3))).await;
        let table = known_table().await;
        for row in [
            json!({"volume": "1"}),
            json!({"record_id": null}),
            json!({"record_id": ""}),
            json!({"record_id": " \u{0}"}),
            json!({"record_id": 0}),
            json!({"record_id": "k", ":deleted": true}),
            json!({"record_id": "k", ":id": "row-a"}),
        ] {
            let mut batch = rows(&hex(1));
            batch.push(row.as_object().unwrap().clone());
            let written = writer(&stage).upsert(&table, &batch).await;
            assert!(
                matches!(written, Err(WriteError::Row { ordinal: 1, .. })),
                "{row}"
            );
        }
        for key in ["", " ", "\u{0}"] {
            let written = writer(&stage).delete(&table, &[RowKey::new(key)]).await;
            assert!(matches!(written, Err(WriteError::Row { .. })));
        }
        writer(&stage).upsert(&table, &[]).await.unwrap();
        writer(&stage).delete(&table, &[]).await.unwrap();
        assert_eq!(stage.asks().len(), 0);
    }

    /// Upserts one row while the first answers to writes are spoilt.
    async fn upsert_one(
        mut play: impl FnMut(&Ask, &mut World) -> Reply + Send + 'static,
    ) -> (Stage, Result<sodalake::socrata::WriteSummary, WriteError>) {
        let stage = Stage::playing(World::of(hex(0)), move |ask, world| match ask.kind {
            Kind::Write => play(ask, world),
            _ => world.answer(ask),
        })
        .await;
        let written = writer(&stage)
            .upsert(&known_table().await, &rows(&hex(1)))
            .await;
        (stage, written)
    }

    #[tokio::test]
    async fn a_lost_answer_is_sent_again_and_doubtful_whether_applied_or_not() {
        for fate in [Fate::Reset, Fate::Cut(5), Fate::CleanCut(5)] {
            let (stage, written) = upsert_one(move |ask, world| match ask.nth {
                0 => world.answer(ask).fate(fate), // applied, then lost
                _ => world.answer(ask),
            })
            .await;
            let summary = written.unwrap();
            assert_eq!((summary.sent, summary.doubtful, summary.updated), (1, 1, 1));
            assert_eq!(stored(&stage), 1);

            let (stage, written) = upsert_one(move |ask, world| match ask.nth {
                0 => Reply::html(200).fate(fate), // never applied
                _ => world.answer(ask),
            })
            .await;
            let summary = written.unwrap();
            assert_eq!((summary.doubtful, summary.created), (1, 1));
            assert_eq!(stored(&stage), 1);
        }
    }

    #[tokio::test]
    async fn server_errors_and_web_pages_are_doubtful_and_throttling_is_not() {
        for (status, doubtful) in [
            (500, 1),
            (502, 1),
            (503, 1),
            (504, 1),
            (408, 1),
            (429, 0),
            (202, 1),
            (200, 1),
        ] {
            let (_, written) = upsert_one(move |ask, world| match ask.nth {
                0 => Reply::html(status),
                _ => world.answer(ask),
            })
            .await;
            assert_eq!(written.unwrap().doubtful, doubtful, "{status}");
        }
    }

    #[tokio::test]
    async fn an_end_in_doubt_is_unknown_and_a_refusal_is_not() {
        let (stage, written) = upsert_one(|_, _| Reply::html(502)).await;
        assert!(matches!(written, Err(WriteError::Unknown { .. })));
        assert_eq!(stage.asked(Kind::Write).len(), 4);
        let (_, written) = upsert_one(|_, _| Reply::html(429)).await;
        assert!(matches!(written, Err(WriteError::Refused { .. })));
        for status in [400, 401, 403, 404, 409, 410, 414] {
            let (stage, written) =
                upsert_one(move |_, _| Reply::json(status, &json!({"message": "no"}))).await;
            assert!(
                matches!(written, Err(WriteError::Refused { .. })),
                "{status}"
            );
            assert_eq!(stage.asked(Kind::Write).len(), 1, "{status}");
        }
        let (_, written) = upsert_one(|ask, _| match ask.nth {
            0 => Reply::html(502),
            _ => Reply::json(401, &json!({"message": "no"})),
        })
        .await;
        assert!(matches!(written, Err(WriteError::Unknown { .. })));
    }

    #[tokio::test]
    async fn what_was_done_before_a_failure_is_told() {
        let stage = ten(|ask, _, honest| {
            if ask.is(Kind::Write, 2) {
                Reply::html(403)
            } else {
                honest
            }
        })
        .await;
        let written = writer(&stage)
            .upsert(&known_table().await, &rows(&hex(10)))
            .await;
        let Err(WriteError::Refused { done, .. }) = written else {
            panic!("{written:?}");
        };
        assert_eq!((done.sent, done.chunks), (8, 2));
    }

    #[tokio::test]
    async fn rows_saved_in_spite_of_a_400_are_applied() {
        let (stage, written) = upsert_one(|ask, world| {
            world.answer(ask);
            Reply::json(400, &json!({"error": true, "message": "Row data was saved. Metadata was not refreshed"}))
        })
        .await;
        let summary = written.unwrap();
        assert_eq!((summary.sent, summary.doubtful), (1, 0));
        assert_eq!(stage.asked(Kind::Write).len(), 1);
    }

    #[tokio::test]
    async fn counts_that_contradict_what_was_sent_are_doubtful() {
        for body in [
            json!({"Errors": 1, "Rows Created": 0, "Rows Updated": 0, "Rows Deleted": 0}),
            json!({"Errors": 0, "Rows Created": 0, "Rows Updated": 0, "Rows Deleted": 0}),
            json!({"Rows Created": 1, "Rows Deleted": 1}),
            json!({}),
            json!([]),
            json!([{"typ": "error", "err": "no_primary_key"}]),
        ] {
            let answer = body.clone();
            let (stage, written) = upsert_one(move |_, _| Reply::json(200, &answer)).await;
            assert_eq!(written.unwrap().doubtful, 1, "{body}");
            assert_eq!(stage.asked(Kind::Write).len(), 1, "not sent again");
        }
    }

    #[tokio::test]
    async fn a_chunk_too_large_is_halved_until_it_fits() {
        let stage = Stage::playing(World::of(hex(0)), |ask, world| {
            if ask.kind == Kind::Write && ask.body.len() > 150 {
                return Reply::html(413);
            }
            world.answer(ask)
        })
        .await;
        let table = known_table().await;
        let summary = writer(&stage)
            .upsert(&table, &rows(&hex(10)))
            .await
            .unwrap();
        assert_eq!(
            (summary.sent, summary.created, summary.doubtful),
            (10, 10, 0)
        );
        let mut large = rows(&hex(1));
        large[0].insert("volume".into(), json!("1".repeat(200)));
        let written = writer(&stage).upsert(&table, &large).await;
        let Err(WriteError::Refused { source, .. }) = written else {
            panic!("{written:?}");
        };
        assert_eq!(source.status(), Some(413));
    }

    #[tokio::test]
    async fn a_refused_app_token_does_not_stop_a_write() {
        let (stage, written) = upsert_one(|ask, world| {
            if ask.headers.contains_key("x-app-token") {
                Reply::json(403, &json!({"message": "Invalid app_token specified"}))
            } else {
                world.answer(ask)
            }
        })
        .await;
        let summary = written.unwrap();
        assert_eq!((summary.created, summary.doubtful), (1, 0));
        assert_eq!(stored(&stage), 1);
    }
}
