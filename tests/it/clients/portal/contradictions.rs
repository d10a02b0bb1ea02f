//! Answers that cannot be true: dropped, repeated or unordered rows, and counts that do not agree.

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
        "the portal's answers about keys of 2020-10-01 of sh59-i6y9 contradict each other: 9 rows were received, 10 were counted"
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
async fn an_empty_page_of_a_day_with_rows_is_a_contradiction() {
    let error = fails(Kind::Page, |_, honest| honest.body("[]\n")).await;
    assert!(
        error
            .to_string()
            .ends_with("0 rows were received, 10 were counted"),
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
        error
            .to_string()
            .ends_with("10 keys were received, 9 were counted"),
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
async fn invalid_counts_are_a_contradiction() {
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
async fn a_value_of_the_wrong_type_is_refused_and_truncated_in_the_error() {
    let error = fails(Kind::Page, |_, honest| {
        let long = "x".repeat(5_000);
        edited(honest, move |rows| rows[1] = json!({"record_id": [long]}))
    })
    .await;
    assert!(matches!(error, ReadError::Contradiction { .. }));
    assert!(error.to_string().contains("[\"xxx"), "{error}");
    assert!(error.to_string().len() < 300, "{error}");
}

#[tokio::test]
async fn metadata_of_another_table_is_refused() {
    let stage = ten(|_, _, honest| {
        let mut view: Value = serde_json::from_slice(&honest.body).unwrap();
        view["id"] = json!("abcd-1234");
        Reply::json(200, &view)
    })
    .await;
    let read = reader(&stage).shape(&ID.parse().unwrap()).await;
    assert!(matches!(read, Err(ReadError::Contradiction { .. })));
}

#[tokio::test]
async fn an_invalid_survey_line_affects_only_its_own_day() {
    let days = ["2020-10-02", "2020-10-03", "2020-10-04", "2020-10-05"];
    let mut world = World::of(hex(5));
    for (row, day) in world.rows.iter_mut().skip(1).zip(days) {
        row.at = format!("{day}T00:15:00.000");
    }
    let stage = Stage::playing(world, |ask, world| {
        let honest = world.answer(ask);
        if ask.kind != Kind::Survey {
            return honest;
        }
        edited(honest, |lines| {
            lines[1]["sl_rows"] = json!("many");
            lines[2]["sl_newest"] = json!("yesterday");
            let again = lines[3].clone();
            lines.push(again);
            lines.push(json!({"sl_rows": "7"}));
            lines.push(json!({"sl_day": "10/01/2020", "sl_rows": "2"}));
            lines.push(json!({"sl_day": 20_201_001, "sl_rows": null}));
        })
    })
    .await;
    let range = DayRange {
        from: day(),
        to: day().plus(30),
    };
    let survey = reader(&stage).survey(&known_table().await, range).await;
    let survey = survey.unwrap();
    let clear: Vec<String> = survey.days.keys().map(ToString::to_string).collect();
    assert_eq!(clear, ["2020-10-01", "2020-10-05"]);
    let unclear: Vec<String> = survey.unclear.iter().map(ToString::to_string).collect();
    assert_eq!(unclear, days[..3]);
    assert_eq!((survey.undated, survey.requests), (9, 1));
}
