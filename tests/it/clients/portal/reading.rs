//! The requests that read a table, and the results of honest answers.

use super::*;

#[tokio::test]
async fn reads_and_writes_can_move_between_threads() {
    fn sendable(_: impl Send) {}
    let stage = Stage::honest(World::of(hex(0))).await;
    let (reader, writer, table) = (reader(&stage), writer(&stage), known_table().await);
    sendable(reader.shape(&table.id));
    sendable(reader.survey(&table, DayRange::one(day())));
    sendable(reader.keys(&table, day()));
    sendable(reader.rows(&table, day(), &Some));
    sendable(reader.rows_by_key(&table, &[]));
    sendable(reader.keys_present(&table, &[]));
    sendable(writer.upsert(&table, &[]));
    sendable(writer.delete(&table, &[]));
}

#[tokio::test]
async fn a_day_is_read_completely_by_keyset_paging() {
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
async fn a_full_last_page_is_followed_by_an_empty_one() {
    let stage = Stage::honest(World::of(hex(8))).await;
    assert_eq!(read_keys(&stage).await.unwrap().count, 8);
    assert_eq!(stage.asked(Kind::Page).len(), 3);
}

#[tokio::test]
async fn rows_are_complete_with_timestamps_and_in_order() {
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
        .unwrap()
        .found;
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
async fn a_text_day_is_selected_by_substring_and_bounded_by_bare_dates() {
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
    assert!(stage.asked(Kind::Survey)[0].query["$select"].starts_with("substring(read_date,1,10)"));
    assert_eq!(reader(&stage).keys(&table, day()).await.unwrap().count, 3);
}

#[tokio::test]
async fn a_survey_without_metadata_returns_none_if_it_needs_metadata() {
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
async fn without_a_row_identifier_repeated_and_missing_keys_are_reported_by_id() {
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
    let repeats: Vec<_> = read
        .repeated
        .iter()
        .map(|(key, sids)| (key.clone(), sids.len()))
        .collect();
    assert_eq!(repeats, [(None, 2), (Some(RowKey::new(&texts[1])), 2)]);
    let pages = stage.asked(Kind::Page);
    assert!(pages[1].query["$where"].contains(" AND :id > 'row-"));
    assert_eq!(pages[1].query["$order"], ":id");
    let whole = reader(&stage).rows(&table, day(), &Some).await.unwrap();
    assert_eq!((whole.kept.len(), whole.rows), (8, 8));
    let both = reader(&stage)
        .rows_by_key(&table, &keys(&texts[1..2]))
        .await
        .unwrap()
        .found;
    assert_eq!(both.len(), 2);
    let present = reader(&stage)
        .keys_present(&table, &keys(&texts))
        .await
        .unwrap()
        .found;
    assert_eq!(present.len(), 5);
}

#[tokio::test]
async fn an_id_returned_twice_is_a_contradiction() {
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
async fn rows_by_key_are_requested_in_urls_under_7_kb() {
    let texts = hex(500);
    // One key of the first list is absent, so that a list of the maximum length is counted.
    let stand = [&texts[..9], &texts[10..]].concat();
    let stage = Stage::honest(World::of(stand)).await;
    let table = known_table().await;
    let mut wanted = keys(&texts);
    wanted.push(wanted[0].clone());
    let rows = reader(&stage)
        .rows_by_key(&table, &wanted)
        .await
        .unwrap()
        .found;
    assert_eq!(rows.len(), 499);
    assert!(rows.iter().map(|row| &row.key).is_sorted());
    let present = reader(&stage)
        .keys_present(&table, &wanted)
        .await
        .unwrap()
        .found;
    assert_eq!(present.len(), 499);
    let lists = stage.asked(Kind::List);
    let counts = stage.asked(Kind::Count);
    assert_eq!(counts.len(), 2, "what is absent is counted, both times");
    assert!(
        (lists.iter().chain(&counts))
            .all(|ask| stage.url.as_str().len() + ask.target.len() <= 7_001)
    );
    assert!((4..12).contains(&lists.len()), "{}", lists.len());
    assert!(lists[0].target.len() > 6_000, "lists are filled up");
}

#[tokio::test]
async fn no_keys_send_no_request_and_a_key_too_long_for_a_url_is_refused() {
    let stage = Stage::honest(World::of(hex(1))).await;
    let table = known_table().await;
    assert_eq!(
        reader(&stage).rows_by_key(&table, &[]).await.unwrap().found,
        []
    );
    let long = [RowKey::new(&"'".repeat(2_000))];
    let read = reader(&stage).keys_present(&table, &long).await;
    assert!(matches!(read, Err(ReadError::KeyTooLong { .. })));
    assert_eq!(stage.asks().len(), 0);
}

#[tokio::test]
async fn a_row_that_was_not_requested_is_a_contradiction() {
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
async fn a_row_missing_from_one_answer_is_not_taken_for_absent() {
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
        let present = reader(&stage)
            .keys_present(&table, &wanted)
            .await
            .unwrap()
            .found;
        assert_eq!(present.len(), 3, "{identifier:?}");
        let rows = reader(&stage)
            .rows_by_key(&table, &wanted)
            .await
            .unwrap()
            .found;
        assert_eq!(rows.len(), 3, "{identifier:?}");
        assert_eq!(stage.asked(Kind::List).len(), 4, "{identifier:?}");
    }
}

#[tokio::test]
async fn only_absent_keys_are_counted() {
    let stage = Stage::honest(World::of(hex(9))).await;
    let table = known_table().await;
    let mut wanted = keys(&hex(9));
    reader(&stage).keys_present(&table, &wanted).await.unwrap();
    assert_eq!(stage.asked(Kind::Count).len(), 0);
    wanted.push(RowKey::new("absent"));
    let present = reader(&stage)
        .keys_present(&table, &wanted)
        .await
        .unwrap()
        .found;
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
        .unwrap()
        .found;
    assert_eq!(present.len(), 299);
}

#[tokio::test]
async fn changed_columns_are_detected() {
    let mut world = World::of(hex(3));
    world.identifier = None;
    let error = read_keys(&Stage::honest(world).await).await.unwrap_err();
    assert!(matches!(error, ReadError::Reshaped { .. }));
}

#[tokio::test]
async fn a_table_on_the_old_backend_is_refused() {
    let error = fails(Kind::Count, |_, honest| {
        honest.with("X-SODA2-Legacy-Types", "true")
    })
    .await;
    assert!(matches!(error, ReadError::Legacy { .. }));
}

/// The first page is wrong. The error shows only when that page is parsed, and by then the next
/// page has been requested.
#[tokio::test]
async fn the_next_page_is_requested_before_a_page_is_parsed() {
    let stage = ten(|ask, _, honest| {
        if !ask.is(Kind::Page, 0) {
            return honest;
        }
        let mut rows: Vec<Value> = serde_json::from_slice(&honest.body).unwrap();
        rows.swap(0, 1);
        honest.body(Value::from(rows).to_string())
    })
    .await;
    assert_eq!(read_keys(&stage).await.unwrap().keys.len(), 10);
    let pages = stage.asked(Kind::Page);
    let behind = |page: usize| pages[page].query["$where"].contains("record_id > ");
    // Each page has four rows: two pages are from the first attempt, three from the second.
    assert_eq!(pages.len(), 5);
    assert_eq!(
        [0, 1, 2, 3, 4].map(behind),
        [false, true, false, true, true]
    );
}
