//! Answers that are outdated, or that mix several versions of the data.

use super::*;

#[tokio::test]
async fn an_outdated_answer_is_requested_again() {
    for kind in [Kind::Count, Kind::Page] {
        let stage = survives(kind, 1, |honest| {
            honest.with("X-SODA2-Data-Out-Of-Date", "true").body("[]")
        })
        .await;
        assert!(stage.asked(kind).len() > 2);
    }
}

#[tokio::test]
async fn replicas_that_stay_outdated_are_inconclusive() {
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
async fn answers_without_freshness_headers_are_accepted_and_marked() {
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
    assert_eq!(stage.asked(Kind::Page).len(), 6, "the scan was begun again");
}

#[tokio::test]
async fn a_lagging_replica_that_claims_to_be_fresh_is_detected() {
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
async fn a_version_change_between_pages_restarts_the_scan() {
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
async fn rows_of_an_abandoned_scan_are_never_returned() {
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
async fn data_that_keeps_changing_is_reported_as_unsteady() {
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
async fn last_modified_distinguishes_versions_if_tags_do_not() {
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
async fn a_count_change_during_a_scan_restarts_it() {
    let stage = Stage::playing(World::of(hex(10)), |ask, world| {
        if ask.is(Kind::Count, 1) {
            world.add(Some(&hex(11)[10])); // the version does not change
        }
        world.answer(ask)
    })
    .await;
    assert_eq!(read_keys(&stage).await.unwrap().count, 11);
}

#[tokio::test]
async fn a_row_rewritten_during_a_scan_restarts_it() {
    let stage = Stage::playing(World::of(hex(10)), |ask, world| {
        if ask.is(Kind::Count, 1) {
            world.rows[0].updated += 1; // the version does not change
        }
        world.answer(ask)
    })
    .await;
    read_keys(&stage).await.unwrap();
    assert_eq!(stage.asked(Kind::Count).len(), 4);
}

#[tokio::test]
async fn a_metadata_change_during_a_scan_restarts_it() {
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

#[tokio::test]
async fn a_read_by_key_reports_whether_the_answers_were_up_to_date() {
    let table = known_table().await;
    let wanted = keys(&hex(11));
    let stage = Stage::honest(World::of(hex(10))).await;
    let present = reader(&stage).keys_present(&table, &wanted).await.unwrap();
    assert_eq!(
        (present.found.len(), present.freshness),
        (10, Freshness::Proven)
    );
    for kind in [Kind::List, Kind::Count] {
        let silent = move |ask: &Ask, _: &mut World, honest: Reply| {
            if ask.kind == kind {
                honest.without("X-SODA2-Data-Out-Of-Date")
            } else {
                honest
            }
        };
        let stage = ten(silent).await;
        let present = reader(&stage).keys_present(&table, &wanted).await.unwrap();
        assert_eq!(present.freshness, Freshness::Assumed, "{kind:?}");
        assert!(matches!(
            present.proven(&table),
            Err(ReadError::FreshnessUnknown { .. })
        ));
        let rows = reader(&stage).rows_by_key(&table, &wanted).await.unwrap();
        assert_eq!((rows.found.len(), rows.freshness), (10, Freshness::Assumed));
    }
}
