//! Cells, counts, days and timestamps that are not valid for their column: the read is an error
//! that names the cell. Valid values in an unusual spelling are accepted.

use super::*;

/// Sets one field of the second row of every answer of this kind.
fn with_field(
    kind: Kind,
    field: &'static str,
    value: Value,
) -> impl FnMut(&Ask, &mut World, Reply) -> Reply + Send {
    move |ask, _, honest| {
        let mut rows: Vec<Value> = match ask.kind {
            found if found == kind => serde_json::from_slice(&honest.body).unwrap(),
            _ => return honest,
        };
        let at = 1.min(rows.len() - 1);
        match value.clone() {
            Value::Null => rows[at].as_object_mut().unwrap().remove(field),
            value => rows[at]
                .as_object_mut()
                .unwrap()
                .insert(field.to_owned(), value),
        };
        honest.body(Value::from(rows).to_string())
    }
}

/// The reason for which a read was refused. It must be a contradiction in the answer.
fn contradiction<T: std::fmt::Debug>(what: &str, read: Result<T, ReadError>) -> String {
    match read {
        Err(ReadError::Contradiction { id, why, .. }) if id.as_str() == ID => why,
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn an_invalid_cell_is_named_with_its_row() {
    let (key, long) = (hex(10)[1].clone(), "9".repeat(500));
    for (column, cell) in [
        ("volume", json!("12,000")),
        ("volume", json!("")),
        ("volume", json!("1e99999999999999999999")),
        ("volume", json!(format!("{long},0"))),
        ("volume", json!(true)),
        ("volume", json!({"amount": 5})),
        ("volume", json!(["15"])),
        ("read_date", json!("2020-10-01T00:15:00.000Z")),
        ("read_date", json!("2020-10-01T00:15:00-05:00")),
        ("read_date", json!("2020-10-01 00:15:00")),
        ("read_date", json!("2020-10-32T00:15:00.000")),
        ("read_date", json!(1_601_500_000)),
        ("read_date", json!({"date": "2020-10-01"})),
        (":created_at", json!("2020-10-02T08:31:00.000")),
        (":created_at", json!(1_601_500_000)),
        (":updated_at", json!("yesterday")),
        (":updated_at", json!({})),
    ] {
        let stage = ten(with_field(Kind::Page, column, cell.clone())).await;
        let why = contradiction(column, read_rows(&stage).await);
        let shown: String = cell.to_string().chars().take(20).collect();
        for part in [&key, column, &shown] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert!(why.chars().count() < 300, "{why}");
        let stage = ten(with_field(Kind::List, column, cell)).await;
        let (table, wanted) = (known_table().await, keys(&hex(4)));
        let read = reader(&stage).rows_by_key(&table, &wanted).await;
        assert!(contradiction(column, read).contains(column));
    }
}

#[tokio::test]
async fn a_key_that_is_not_text_is_named() {
    for cell in [
        json!(7),
        json!(1.5),
        json!(true),
        json!(["a"]),
        json!({"a": 1}),
    ] {
        let shown = cell.to_string();
        let page = ten(with_field(Kind::Page, "record_id", cell.clone())).await;
        let list = ten(with_field(Kind::List, "record_id", cell)).await;
        let table = known_table().await;
        let wanted = keys(&hex(4));
        let present = reader(&list).keys_present(&table, &wanted).await;
        for why in [
            contradiction("keys", read_keys(&page).await),
            contradiction("rows", read_rows(&page).await),
            contradiction("keys present", present),
        ] {
            assert!(why.contains("record_id") && why.contains(&shown), "{why}");
        }
    }
}

#[tokio::test]
async fn a_value_in_an_unusual_spelling_is_accepted() {
    for (column, cell) in [
        ("volume", json!("15.000")),
        ("volume", json!("1.5E+1")),
        ("volume", json!(15)),
        ("volume", json!(15.0)),
        ("volume", json!("-0")),
        ("read_date", json!("2020-10-01T00:15:00")),
        ("read_date", json!("2020-10-01T00:15:00.000000")),
        (":updated_at", json!("2020-10-02T03:31:07.000-05:00")),
    ] {
        let stage = ten(with_field(Kind::Page, column, cell.clone())).await;
        let rows = read_rows(&stage).await;
        assert_eq!(rows.unwrap().len(), 10, "{column} {cell}");
    }
}

#[tokio::test]
async fn an_invalid_count_or_timestamp_is_refused_and_in_a_survey_unclear() {
    for (field, value) in [
        ("sl_rows", json!("12,000")),
        ("sl_rows", json!("-1")),
        ("sl_rows", json!("1e1")),
        ("sl_rows", json!(10.5)),
        ("sl_rows", json!(true)),
        ("sl_rows", json!({"n": 10})),
        ("sl_rows", Value::Null),
        ("sl_keys", json!("ten")),
        ("sl_newest", json!("2020-10-02T08:31:07.000")),
        ("sl_newest", json!(1_601_500_000)),
        ("sl_newest", Value::Null),
    ] {
        for kind in [Kind::Count, Kind::Survey] {
            if (kind, field) == (Kind::Survey, "sl_keys") {
                continue;
            }
            let stage = ten(with_field(kind, field, value.clone())).await;
            let what = format!("{kind:?} {field} {value}");
            if kind == Kind::Survey {
                let range = DayRange::one(day());
                let read = reader(&stage).survey(&known_table().await, range).await;
                let survey = read.expect(&what);
                assert!(survey.days.is_empty(), "{what}");
                assert!(survey.unclear.contains(&day()), "{what}");
            } else {
                contradiction(&what, read_keys(&stage).await);
                contradiction(&what, read_rows(&stage).await);
            }
        }
    }
}

#[tokio::test]
async fn an_invalid_day_in_a_survey_counts_for_no_day() {
    for value in [
        json!("2020-10-01T00:00:00.000Z"),
        json!("2020-10-01T05:00:00.000"),
        json!("2020-10-01 and more"),
        json!("October"),
        json!(20_201_001),
        json!({"day": "2020-10-01"}),
    ] {
        let stage = ten(with_field(Kind::Survey, "sl_day", value.clone())).await;
        let range = DayRange::one(day());
        let read = reader(&stage).survey(&known_table().await, range).await;
        // The day is without rows there, so it is not as it was and is checked in full.
        let survey = read.expect("the answer is a list of lines");
        assert!(survey.days.is_empty(), "{value}");
        assert_eq!(survey.undated, 10, "{value}");
    }
}
