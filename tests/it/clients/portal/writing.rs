//! What is written, how often, and what is reported about it.

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
async fn rows_are_sent_once_in_chunks_with_the_credentials() {
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
async fn deletes_are_posts_of_marked_keys_and_absent_keys_are_no_error() {
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
async fn nothing_is_written_unless_the_key_is_the_current_row_identifier() {
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
async fn rows_without_a_key_or_with_system_fields_are_not_sent() {
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

/// Upserts one row while the first answers to writes are broken.
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
async fn a_write_with_a_lost_answer_is_sent_again_and_reported_as_doubtful() {
    for fate in [Fate::Reset, Fate::Cut(5), Fate::CleanCut(5)] {
        let (stage, written) = upsert_one(move |ask, world| match ask.nth {
            0 => world.answer(ask).fate(fate), // applied, but the answer is lost
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
        let summary = written.unwrap();
        assert_eq!(summary.doubtful, doubtful, "{status}");
        assert_eq!(summary.is_settled(), doubtful == 0, "{status}");
    }
}

#[tokio::test]
async fn a_write_that_ends_in_doubt_is_unknown_and_a_refused_one_is_not() {
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
async fn a_failed_write_reports_what_was_applied_before() {
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

/// The first block is sent once or twice, and the last request is refused.
#[tokio::test]
async fn a_refusal_does_not_settle_an_earlier_doubtful_write() {
    for lost in [true, false] {
        let stage = ten(move |ask, _, honest| {
            if lost && ask.is(Kind::Write, 0) {
                return honest.fate(Fate::Reset);
            }
            let refused = if lost { 2 } else { 1 };
            if ask.is(Kind::Write, refused) {
                Reply::html(403)
            } else {
                honest
            }
        })
        .await;
        let gone = writer(&stage)
            .delete(&known_table().await, &keys(&hex(10)))
            .await
            .unwrap_err();
        assert!(matches!(gone, WriteError::Refused { .. }), "{gone:?}");
        assert_eq!(gone.is_settled(), !lost);
    }
}

#[tokio::test]
async fn rows_saved_despite_a_400_count_as_applied() {
    let (stage, written) = upsert_one(|ask, world| {
        world.answer(ask);
        Reply::json(
            400,
            &json!({"error": true, "message": "Row data was saved. Metadata was not refreshed"}),
        )
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
async fn a_chunk_that_is_too_large_is_halved_until_it_fits() {
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
