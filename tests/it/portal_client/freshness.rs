//! Answers that are out of date, or of several versions of the data.

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
