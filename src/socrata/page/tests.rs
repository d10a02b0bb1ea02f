//! Pages that are parsed, and pages that are refused.

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn read_keys(body: &str) -> Result<Vec<KeyLine>, String> {
    let mut lines = Vec::new();
    keys(body.as_bytes(), "record_id", &mut |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

fn read_rows(body: &str) -> Result<Vec<PublishedRow>, String> {
    let shape = TableShape {
        title: "t".into(),
        row_identifier: None,
        columns: [
            ("record_id".to_owned(), ColumnType::Text),
            ("volume".to_owned(), ColumnType::Number),
            ("read_date".to_owned(), ColumnType::CalendarDate),
            ("at".to_owned(), ColumnType::new("point")),
        ]
        .into(),
        rows_updated_at: 0,
    };
    let mut lines = Vec::new();
    rows(body.as_bytes(), "record_id", &shape, &mut |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok(lines)
}

#[test]
fn the_last_row_is_found_at_the_end_whatever_it_contains() {
    let found = |body: &str| last(body.as_bytes(), "record_id");
    for end in [
        r#"{"record_id":"b"}]"#,
        "{\"record_id\":\"b\"}\n]\n",
        r#"{"record_id":"b","at":{"type":"Point","record_id":"c"}}]"#,
        r#"{"at":{"x":[{},{"record_id":"c"}]},"record_id":"b"}]"#,
        r#"{"volume":"]}{\"record_id\":\"c\"}","record_id":"b"}]"#,
    ] {
        let page = format!(r#"[{{"record_id":"a"}},{end}"#);
        assert_eq!(found(&page).as_deref(), Some("b"), "{page}");
    }
    for nothing in [
        "",
        "[]",
        r#"[{"record_id":null}]"#,
        r#"[{"volume":"1"}]"#,
        "[{",
        "]{",
    ] {
        assert_eq!(found(nothing), None, "{nothing}");
    }
    let inner = format!("{}1{}", r#"[{"x":"#.repeat(30), "}]".repeat(30));
    let deep = format!(r#"[{{"record_id":"b","at":{inner}}}]"#);
    assert!(serde_json::from_str::<Value>(&deep).is_ok());
    assert_eq!(found(&deep), None, "given up after some brackets");
}

#[test]
fn keys_are_read_with_escapes_and_without() {
    let page = format!(
        r#"[{{"record_id":"{KEY}"}}{}{{":id":"row-a","record_id":"\u0061'b"}},{{}}]"#,
        "\n,"
    );
    let lines = read_keys(&page).unwrap();
    assert_eq!(lines[0].key, Some(RowKey::new(KEY)));
    assert_eq!(lines[1].key, Some(RowKey::new("a'b")));
    assert_eq!(lines[1].sid.as_deref(), Some("row-a"));
    assert_eq!(
        lines[2],
        KeyLine {
            key: None,
            sid: None
        }
    );
    assert_eq!(read_keys("[]\n").unwrap(), []);
}

#[test]
fn what_was_not_requested_is_refused_without_quoting_it() {
    for page in [
        r#"[{"record_id":"secret-a"},{"volume":"secret-b"}]"#,
        r#"[{"record_id":"secret-a"},{"record_id":"secret-b","record_id":"x"}]"#,
        r#"[{"record_id":"secret-a"},["secret-b"]]"#,
        r#"[{"record_id":"secret-a"},{"record_id":"secret-b""#,
        r#"[{"record_id":"secret-a"}"#,
    ] {
        let why = read_keys(page).unwrap_err();
        assert_eq!(why, "row 1 of a page is not what was requested", "{page}");
    }
}

#[test]
fn whole_rows_keep_all_fields_and_omit_nulls() {
    let page = r#"[{":id":"row-a",":created_at":"2020-10-02T08:31:00.000Z",":updated_at":"2020-10-02T08:47:00.123Z",
        "record_id":"k","volume":"4.50","read_date":null,"at":{"type":"Point","coordinates":[1,2]}}]"#;
    let rows = read_rows(page).unwrap();
    assert_eq!(rows[0].key, Some(RowKey::new("k")));
    assert_eq!(
        rows[0].fields.keys().collect::<Vec<_>>(),
        ["at", "record_id", "volume"]
    );
    assert_eq!(rows[0].updated_at.timestamp_subsec_millis(), 123);
}

#[test]
fn a_row_needs_its_system_fields_and_matching_types() {
    let stamps =
        r#"":created_at":"2020-10-02T08:31:00.000Z",":updated_at":"2020-10-02T08:47:00.123Z""#;
    for row in [
        ["{", stamps, "}"].concat(),
        r#"{":id":"row-a","record_id":"k"}"#.to_owned(),
        format!(r#"{{":id":"row-a",{stamps},"volume":true}}"#),
        format!(r#"{{":id":"row-a",{stamps},"read_date":5}}"#),
        format!(r#"{{":id":"row-a",{stamps},"unrequested":"x"}}"#),
        format!(r#"{{":id":"row-a",":id":"row-b",{stamps}}}"#),
    ] {
        assert!(read_rows(&format!("[{row}]")).is_err(), "{row}");
    }
}
