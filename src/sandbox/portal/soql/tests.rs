//! Tests of queries against one small table.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::super::{ColumnType, Portal, PortalOptions, TableSpec};
use super::{Query, SoqlError, bind, evaluate, parse_clause, parse_statement, wanted_index};

fn portal() -> Portal {
    let portal = Portal::new(PortalOptions::default());
    let columns = [
        ("record_id", ColumnType::Text),
        ("read_date", ColumnType::CalendarDate),
        ("volume", ColumnType::Number),
        ("heavy_vehicle", ColumnType::Checkbox),
    ];
    portal.create(TableSpec::new("aaaa-1111", &columns, Some("record_id")));
    let rows = [
        json!({"record_id": "a1", "read_date": "2021-06-01", "volume": 10, "heavy_vehicle": true}),
        json!({"record_id": "a2", "read_date": "2021-06-01T23:59:59.999", "volume": 9}),
        json!({"record_id": "b'3", "read_date": "2021-06-02", "volume": 100}),
        json!({"record_id": "b4", "volume": 0.5, "heavy_vehicle": false}),
    ];
    let rows = rows
        .iter()
        .map(|row| row.as_object().unwrap().clone())
        .collect();
    portal
        .upsert_directly("aaaa-1111", rows, chrono::DateTime::UNIX_EPOCH)
        .unwrap();
    portal
}

fn run(query: &Query) -> Result<Vec<Value>, SoqlError> {
    let portal = portal();
    let table = portal.table("aaaa-1111").unwrap();
    let mut table = table.write();
    let bound = bind(&table.schema, query)?;
    let key = table.schema.key;
    let mut answers = Vec::new();
    for indexed in [false, true] {
        if let Some(column) = wanted_index(&bound, key).filter(|_| indexed) {
            table.truth.keep_index(column);
        }
        let answer = evaluate(&bound, &table.truth, key, &mut StdRng::seed_from_u64(1));
        let rows = answer.rows.iter().map(|row| {
            let cells = answer.columns.iter().zip(row);
            cells
                .filter_map(|((name, _), cell)| Some((name.clone(), cell.json(&table.schema.ids)?)))
                .collect::<Value>()
        });
        answers.push(rows.collect::<Vec<Value>>());
    }
    let last = answers.pop().unwrap();
    if !query.order.is_empty() {
        assert_eq!(
            answers.pop(),
            Some(last.clone()),
            "an index does not change the answer"
        );
    }
    Ok(last)
}

fn keys(filter: &str) -> Result<Vec<String>, SoqlError> {
    let mut query = Query::default();
    for (clause, text) in [
        ("$select", "record_id"),
        ("$where", filter),
        ("$order", "record_id"),
    ] {
        assert!(parse_clause(&mut query, clause, text)?);
    }
    Ok(run(&query)?
        .iter()
        .map(|row| row["record_id"].as_str().unwrap().to_owned())
        .collect())
}

#[test]
fn filters_keep_the_matching_rows() {
    for (filter, kept) in [
        (
            "read_date >= '2021-06-01' AND read_date < '2021-06-02'",
            vec!["a1", "a2"],
        ),
        (
            "read_date between '2021-06-01' and '2021-06-02T00:00'",
            vec!["a1", "a2", "b'3"],
        ),
        (
            "record_id > 'a1' and record_id <= \"b'3\"",
            vec!["a2", "b'3"],
        ),
        ("RECORD_ID = 'b''3' and `record-id` = 'b''3'", vec!["b'3"]),
        ("record_id in ('a1', 'b4', 'zz')", vec!["a1", "b4"]),
        ("record_id not in ('a1', 'b4')", vec!["a2", "b'3"]),
        ("volume > 9", vec!["a1", "b'3"]),
        ("volume = 10.0", vec!["a1"]),
        ("heavy_vehicle", vec!["a1"]),
        ("not heavy_vehicle", vec!["b4"]),
        (
            "heavy_vehicle is null or volume < 1",
            vec!["a2", "b'3", "b4"],
        ),
        (
            "read_date is not null and not (volume = 9)",
            vec!["a1", "b'3"],
        ),
        ("record_id like '%3'", vec!["b'3"]),
        ("record_id like '_2'", vec!["a2"]),
        ("starts_with(record_id, 'b')", vec!["b'3", "b4"]),
        ("upper(substring(record_id, 1, 1)) = 'A'", vec!["a1", "a2"]),
        ("date_trunc_ymd(read_date) = '2021-06-01'", vec!["a1", "a2"]),
        (
            "read_date > '2021-06-03' and read_date < '2021-06-01'",
            vec![],
        ),
        (
            ":created_at = '1970-01-01T01:00:00+01:00' /* all */ -- rest",
            vec!["a1", "a2", "b'3", "b4"],
        ),
    ] {
        assert_eq!(
            keys(filter).as_deref(),
            Ok(kept.map_to_owned().as_slice()),
            "{filter}"
        );
    }
}

trait MapToOwned {
    fn map_to_owned(self) -> Vec<String>;
}

impl MapToOwned for Vec<&str> {
    fn map_to_owned(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn queries_the_real_server_refuses_are_refused_with_its_codes() {
    for (filter, code) in [
        ("xyz = 1", Some("query.soql.no-such-column")),
        (
            "read_date > '2021-06-01T00:00:00Z'",
            Some("query.soql.type-mismatch"),
        ),
        ("record_id = 5", Some("query.soql.type-mismatch")),
        (":id > 'row-1'", Some("query.soql.type-mismatch")),
        ("md5(record_id) = 'x'", Some("query.soql.no-such-function")),
        (
            "count(*) > 1",
            Some("query.soql.aggregate-in-ungrouped-context"),
        ),
        ("volume", Some("query.soql.non-boolean-where")),
        ("volume >", None),
        ("record_id = 'open", None),
        ("volume = 1 garbage", None),
    ] {
        assert_eq!(
            keys(filter).map_err(|error| error.code()),
            Err(code),
            "{filter}"
        );
    }
    let deep = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
    assert!(keys(&deep).is_err());
}

#[test]
fn aggregates_are_returned_as_text() {
    let statement = "select count(*) as n, count(read_date) as d, count(distinct heavy_vehicle) as h, \
                     sum(volume) as s, avg(volume) as a, max(read_date) as m";
    let expected = json!({"n": "4", "d": "3", "h": "2", "s": "119.5", "a": "29.875",
        "m": "2021-06-02T00:00:00.000"});
    assert_eq!(
        run(&parse_statement(statement).unwrap()),
        Ok(vec![expected])
    );
    let empty = parse_statement("select max(volume) as m where volume > 1000").unwrap();
    assert_eq!(run(&empty), Ok(vec![json!({})]));
}

#[test]
fn groups_are_filtered_and_ordered() {
    let statement = "select substring(record_id,1,1) as p, count(*) as n, max(:updated_at) as u \
                     group by p having n > 1 order by p desc limit 1";
    let expected = json!({"p": "b", "n": "2", "u": "1970-01-01T00:00:00.000Z"});
    assert_eq!(
        run(&parse_statement(statement).unwrap()),
        Ok(vec![expected])
    );
    let stray = parse_statement("select volume, count(*) group by record_id").unwrap();
    assert_eq!(
        run(&stray),
        Err(SoqlError::NotInGroupBys("volume".to_owned()))
    );
}

#[test]
fn several_order_columns_apply_with_nulls_last() {
    let statement = "select record_id order by read_date, volume desc offset 1 limit 3";
    assert!(
        parse_statement(statement).is_err(),
        "limit must come before offset"
    );
    let statement = "select record_id order by read_date, volume desc limit 3 offset 1";
    let found = run(&parse_statement(statement).unwrap()).unwrap();
    assert_eq!(
        found,
        [
            json!({"record_id": "a2"}),
            json!({"record_id": "b'3"}),
            json!({"record_id": "b4"})
        ]
    );
}

#[test]
fn paging_by_id_follows_the_order_of_creation() {
    let mut last = None;
    let mut seen = Vec::new();
    loop {
        let filter = last.map_or(String::new(), |id| format!("where :id > '{id}'"));
        let query = parse_statement(&format!(
            "select :id as i, record_id {filter} order by :id limit 1"
        ));
        let rows = run(&query.unwrap()).unwrap();
        let Some(row) = rows.first() else { break };
        seen.push(row["record_id"].as_str().unwrap().to_owned());
        last = Some(row["i"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["a1", "a2", "b'3", "b4"]);
}
