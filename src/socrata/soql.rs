//! `SoQL` queries, quoted and encoded.
//!
//! A 2.1 portal has no bind parameters, so every text becomes a literal in the statement: in single
//! quotes, with its own quotes doubled; then the whole parameter is percent-encoded. Every query
//! names its columns, its order and its limit: without them a portal leaves out columns, returns
//! rows in any order, and silently stops at 1,000.

use std::borrow::Cow;

use url::{Url, form_urlencoded};

use crate::model::{ColumnType, DayRange};

/// Words that must be in backticks to be used as a column name.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "false",
    "from",
    "full",
    "group",
    "having",
    "hint",
    "in",
    "inner",
    "intersect",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "minus",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "right",
    "search",
    "select",
    "then",
    "true",
    "union",
    "when",
    "where",
];

/// A text literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether the name can be used as a column in a query: what portals call a field name.
pub(super) fn is_identifier(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    !name.is_empty() && name.bytes().all(fits) && !name.as_bytes()[0].is_ascii_digit()
}

/// The column as written in a query.
pub(super) fn column(name: &str) -> Cow<'_, str> {
    if KEYWORDS.contains(&name) {
        format!("`{name}`").into()
    } else {
        name.into()
    }
}

/// The condition that the day column is within the range.
///
/// The bounds of a text column are plain dates: `2020-10-01T00:00:00` is less than
/// `2020-10-01T00:00:00.000` as text, and would be excluded from its own day.
pub(super) fn in_range(day_column: &str, kind: &ColumnType, range: DayRange) -> String {
    let column = column(day_column);
    let midnight = match kind {
        ColumnType::CalendarDate => "T00:00:00.000",
        ColumnType::Text | ColumnType::Number | ColumnType::Checkbox | ColumnType::Other(_) => "",
    };
    let from = literal(&format!("{}{midnight}", range.from));
    let to = literal(&format!("{}{midnight}", range.to));
    format!("{column} >= {from} AND {column} < {to}")
}

/// The date part of the day column.
pub(super) fn date_of(day_column: &str, kind: &ColumnType) -> String {
    let column = column(day_column);
    match kind {
        ColumnType::CalendarDate => format!("date_trunc_ymd({column})"),
        ColumnType::Text | ColumnType::Number | ColumnType::Checkbox | ColumnType::Other(_) => {
            format!("substring({column},1,10)")
        }
    }
}

/// One query. Order and limit are left out only if a query yields a single row.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) select: String,
    pub(super) filter: String,
    pub(super) group: Option<String>,
    pub(super) order: Option<String>,
    pub(super) limit: Option<u64>,
}

impl Query {
    /// Adds the query to `url`.
    pub(super) fn put_on(&self, url: &mut Url) {
        let Self {
            select,
            filter,
            group,
            order,
            limit,
        } = self;
        let limit = limit.map(|rows| rows.to_string());
        let parts = [
            ("$select", Some(select)),
            ("$where", Some(filter)),
            ("$group", group.as_ref()),
            ("$order", order.as_ref()),
            ("$limit", limit.as_ref()),
        ];
        let given = parts
            .into_iter()
            .filter_map(|(name, text)| Some(format!("{name}={}", encoded(text?))));
        url.set_query(Some(&given.collect::<Vec<_>>().join("&")));
    }
}

/// Percent-encoded, spaces as `%20`.
pub(super) fn encoded(text: &str) -> String {
    let plus = form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    plus.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Day;

    fn october() -> DayRange {
        DayRange::one("2020-10-01".parse::<Day>().unwrap())
    }

    #[test]
    fn a_quote_does_not_end_a_literal() {
        assert_eq!(literal("x' OR '1'='1"), "'x'' OR ''1''=''1'");
        assert_eq!(literal(r"back\slash"), r"'back\slash'");
    }

    #[test]
    fn a_day_is_half_open_and_a_text_day_has_bare_dates() {
        assert_eq!(
            in_range("read_date", &ColumnType::CalendarDate, october()),
            "read_date >= '2020-10-01T00:00:00.000' AND read_date < '2020-10-02T00:00:00.000'"
        );
        assert_eq!(
            in_range("start_time", &ColumnType::Text, october()),
            "start_time >= '2020-10-01' AND start_time < '2020-10-02'"
        );
    }

    #[test]
    fn only_field_names_are_identifiers() {
        assert!(is_identifier("record_id") && is_identifier("_2020"));
        for name in [
            "", "2020", "a b", "a-b", "a'", ":id", "Record", "naïve", "a,b",
        ] {
            assert!(!is_identifier(name), "{name}");
        }
        assert_eq!(column("order"), "`order`");
    }

    proptest! {
        #[test]
        fn a_query_on_a_url_decodes_to_the_same_text(text in "\\PC*|[ '+&=%#?\u{0}-\u{20}]*") {
            let mut url = Url::parse("https://city.example/resource/abcd-1234.json").unwrap();
            let query = Query { select: "a".into(), filter: literal(&text), ..Query::default() };
            query.put_on(&mut url);
            prop_assert!(!url.as_str().contains(['+', ' ', '\'', '#']));
            let back = url.query_pairs().find(|(name, _)| name == "$where").unwrap().1.into_owned();
            prop_assert_eq!(back, literal(&text));
        }
    }
}
