//! Tests of each kind of row in a body, and of what replicas show afterwards.

use std::sync::Arc;

use super::ColumnType;
use super::replicas::{ReplicaOptions, Replicas};
use super::rowid::RowIds;
use super::store::{Column, Schema, Table};
use super::write::{self, BodyError, Report};

fn table(key: Option<usize>, replicas: &Replicas) -> Table {
    let columns = [("k", ColumnType::Text), ("n", ColumnType::Number)];
    let columns = columns.map(|(field, kind)| Column {
        field: field.to_owned(),
        kind,
    });
    let schema = Schema {
        id: "aaaa-1111".to_owned(),
        name: String::new(),
        columns: columns.into(),
        key,
        ids: RowIds::new("aaaa-1111"),
        computed_region: false,
        private: false,
        created_at: 0,
    };
    Table::new(schema, replicas)
}

fn post(table: &mut Table, body: &str, at: i64) -> Result<String, BodyError> {
    let operations = write::read_json(&Arc::clone(&table.schema), body.as_bytes())?;
    let (reports, changes) = write::carry_out(table, operations, at);
    table.commit(at, false, changes);
    let words = reports.iter().map(|report| match report {
        Report::Insert { .. } => "insert",
        Report::Update { .. } => "update",
        Report::Delete { .. } => "delete",
        Report::Error { error, .. } => error,
    });
    Ok(words.collect::<Vec<_>>().join(","))
}

#[test]
fn with_a_row_identifier_rows_are_applied_as_on_the_real_server() {
    let mut table = table(Some(0), &Replicas::default());
    for (body, did) in [
        (r#"[{"k":"a","n":1},{"k":"b","n":1}]"#, "insert,insert"),
        (r#"[{"k":"a","n":1}]"#, "update"),
        (r#"[{"n":1},{"k":null}]"#, "no_primary_key,no_primary_key"),
        (r#"[{":id":"row-zzzz-zzzz-zzzz","k":"a"}]"#, "update"),
        (r#"[{"k":"x",":deleted":true}]"#, "no_such_row_to_delete"),
        (r#"[{"k":null,":deleted":true}]"#, "no_such_row_to_delete"),
        (
            r#"[{"k":"c",":deleted":"true"},{"k":"c",":deleted":false}]"#,
            "insert,update",
        ),
        (
            r#"[{"k":"c",":deleted":true},{"k":"c",":deleted":true}]"#,
            "delete,no_such_row_to_delete",
        ),
        (r#"[["b"]]"#, "delete"),
        (r#"[{"k":"d","n":1},{"K":"d","n":2}]"#, "insert,update"),
        (
            r#"[{"k":"d",":deleted":true},{"k":"d","n":3}]"#,
            "delete,insert",
        ),
        ("[]", ""),
        (r#"{"k":"a",":created_at":"x"}"#, "update"),
    ] {
        let version = table.truth.version;
        assert_eq!(post(&mut table, body, 5).unwrap(), did, "{body}");
        assert_eq!(
            table.truth.version,
            version + 1,
            "every accepted body creates a version: {body}"
        );
    }
    assert_eq!(table.truth.by_key.len(), 2);
}

#[test]
fn without_a_row_identifier_rows_are_identified_by_id() {
    let mut table = table(None, &Replicas::default());
    assert_eq!(
        post(&mut table, r#"[{"k":"a"},{"k":"a",":id":null}]"#, 1).unwrap(),
        "insert,insert"
    );
    let known = table.schema.ids.row(1);
    let body = format!(r#"[{{":id":"{known}","n":2}},{{":id":"row-zzzz-zzzz-zzzz","n":2}}]"#);
    assert_eq!(
        post(&mut table, &body, 2).unwrap(),
        "update,no_such_row_to_update"
    );
    let body = format!(r#"[{{":id":"{known}",":deleted":true}}]"#);
    assert_eq!(post(&mut table, &body, 3).unwrap(), "delete");
    assert!(matches!(
        post(&mut table, r#"[{"k":"a",":deleted":true}]"#, 4),
        Err(BodyError::DeleteWithoutKey)
    ));
}

#[test]
fn one_bad_row_refuses_the_whole_body() {
    let mut table = table(Some(0), &Replicas::default());
    for body in [
        r#"[{"k":"a"},{"k":"b","n":"many"}]"#,
        r#"[{"k":"a"},{"k":"b","other":1}]"#,
        r#"[{"k":"a"},{"n":1,":deleted":true}]"#,
        r#"[{"k":"a"},7]"#,
        r#"[{"k":"a"},{"k":"b","n":NaN}]"#,
        r#"[{"k":"a"}"#,
    ] {
        assert!(post(&mut table, body, 1).is_err(), "{body}");
        assert!(table.truth.rows.is_empty(), "{body}");
        assert_eq!(table.truth.version, 1, "{body}");
    }
}

#[test]
fn an_update_merges_columns_clears_nulls_and_changes_updated_at() {
    let mut table = table(Some(0), &Replicas::default());
    post(&mut table, r#"[{"k":"a","n":4.50}]"#, 1).unwrap();
    post(&mut table, r#"[{"k":"a"}]"#, 2).unwrap();
    let row = Arc::clone(&table.truth.rows[&1]);
    assert_eq!(
        row.cells[1].plain(&table.schema.ids).as_deref(),
        Some("4.50")
    );
    assert_eq!((row.created, row.updated), (1, 2));
    post(&mut table, r#"[{"k":"a","n":null}]"#, 3).unwrap();
    assert!(table.truth.rows[&1].cells[1].is_null());
}

#[test]
fn a_replica_shows_a_write_only_after_its_lag() {
    let each = vec![
        ReplicaOptions::default(),
        ReplicaOptions::lagging(1000),
        ReplicaOptions::stuck(),
    ];
    let replicas = Replicas {
        each,
        flag_lag_ms: 0,
    };
    let mut table = table(Some(0), &replicas);
    post(&mut table, r#"[{"k":"a"}]"#, 5000).unwrap();
    let shown = |table: &mut Table, now: i64| -> Vec<usize> {
        (0..3)
            .map(|at| {
                table.prepare(at, &replicas.each[at], now, &[1]);
                table.seen_by(at).rows.len()
            })
            .collect()
    };
    assert_eq!(shown(&mut table, 5999), [1, 0, 0]);
    assert_eq!(shown(&mut table, 6000), [1, 1, 0]);
    assert_eq!(shown(&mut table, 9_000_000), [1, 1, 0]);
    assert_eq!(table.reported_version(5000), table.truth.version);
    assert_eq!(table.reported_version(4999), 0);
    table.set_replicas(&Replicas::default());
    assert_eq!(table.seen_by(0).rows.len(), 1);
}
