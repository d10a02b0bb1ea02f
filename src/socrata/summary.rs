//! Parses the portal's summary of a write, in all formats that it is known to use.
//!
//! There may be three counts or six, with or without errors, with spaces or underscores in their
//! names, errors as a number or as a list, or one report per row. Counts have been wrong for
//! successful writes, so they are reported and compared with what was sent, but prove nothing.

use serde_json::{Map, Value};

/// The counts in the answer to one upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
    pub(super) errors: u64,
}

/// The kind of write that the counts belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Upsert,
    Delete,
}

impl Counts {
    /// Parses an answer's body. `None` if it is not complete JSON: then the answer counts as lost.
    /// JSON in another format counts nothing, which is doubtful for any upload.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        Some(match serde_json::from_slice(body).ok()? {
            Value::Object(totals) => Self::of_totals(&totals),
            Value::Array(reports) => Self::of_reports(&reports),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::default(),
        })
    }

    fn of_totals(totals: &Map<String, Value>) -> Self {
        let mut counts = Self::default();
        for (name, value) in totals {
            let name = name.to_lowercase().replace([' ', '_'], "");
            let Some(number) = number(value) else {
                continue;
            };
            match &*name {
                "rowscreated" => counts.created = number,
                "rowsupdated" => counts.updated = number,
                "rowsdeleted" => counts.deleted = number,
                "errors" => counts.errors = number,
                _ => {}
            }
        }
        counts
    }

    fn of_reports(reports: &[Value]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            match report.get("typ").and_then(Value::as_str) {
                Some("insert") => counts.created += 1,
                Some("update") => counts.updated += 1,
                Some("delete") => counts.deleted += 1,
                Some(_) | None => counts.errors += 1,
            }
        }
        counts
    }

    /// Whether the counts cannot be right for `sent` rows, or report refused rows. For a delete,
    /// errors are rows that did not exist, which is fine.
    pub(super) fn are_doubtful(self, act: Act, sent: u64) -> bool {
        let Self {
            created,
            updated,
            deleted,
            errors,
        } = self;
        let sum = |numbers: [u64; 2]| numbers[0].saturating_add(numbers[1]);
        match act {
            Act::Upsert => sum([created, updated]) != sent || sum([deleted, errors]) > 0,
            Act::Delete => sum([deleted, errors]) != sent || sum([created, updated]) > 0,
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Array(list) => Some(list.len() as u64),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(created: u64, updated: u64, deleted: u64, errors: u64) -> Counts {
        Counts {
            created,
            updated,
            deleted,
            errors,
        }
    }

    #[test]
    fn all_known_shapes_are_read() {
        for (body, expected) in [
            (
                r#"{"Rows Deleted":1,"Rows Updated":2,"Rows Created":3}"#,
                counts(3, 2, 1, 0),
            ),
            (
                r#"{"Errors":0,"Rows Deleted":0,"Rows Updated":0,"By SID":0,"Rows Created":1,"By RowIdentifier":9}"#,
                counts(1, 0, 0, 0),
            ),
            (
                "{\n  \"Errors\" : 83,\n  \"Rows Created\" : 0,\n  \"Rows Updated\" : 9917,\n  \"Rows Deleted\" : 0\n}\n",
                counts(0, 9917, 0, 83),
            ),
            (
                r#"{"rows_created":1,"rows_updated":"2","rows_deleted":0,"errors":[{"error":"x"},{"error":"y"}]}"#,
                counts(1, 2, 0, 2),
            ),
            (
                r#"[{"typ":"insert","id":"a","ver":"v"},{"typ":"update"},{"typ":"delete"},{"typ":"error","err":"x"},5]"#,
                counts(1, 1, 1, 2),
            ),
        ] {
            assert_eq!(Counts::read(body.as_bytes()), Some(expected), "{body}");
        }
    }

    #[test]
    fn an_answer_without_counts_is_doubtful_and_without_json_lost() {
        for body in [
            "{}",
            "[]",
            "null",
            r#"{"error":true,"message":"x"}"#,
            r#"{"Rows Created":-1}"#,
        ] {
            let read = Counts::read(body.as_bytes()).unwrap();
            assert!(read.are_doubtful(Act::Upsert, 1), "{body}");
        }
        for body in ["", "<html>", r#"{"Rows Created":1"#] {
            assert_eq!(Counts::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn errors_are_doubtful_for_an_upsert_and_fine_for_a_delete() {
        assert!(!counts(3, 2, 0, 0).are_doubtful(Act::Upsert, 5));
        assert!(counts(3, 1, 0, 1).are_doubtful(Act::Upsert, 5));
        assert!(counts(3, 1, 0, 0).are_doubtful(Act::Upsert, 5));
        assert!(counts(5, 0, 1, 0).are_doubtful(Act::Upsert, 5));
        assert!(!counts(0, 0, 3, 2).are_doubtful(Act::Delete, 5));
        assert!(counts(0, 0, 3, 1).are_doubtful(Act::Delete, 5));
        assert!(counts(1, 0, 3, 2).are_doubtful(Act::Delete, 5));
        assert!(counts(u64::MAX, 1, 0, 0).are_doubtful(Act::Upsert, 0));
    }
}
