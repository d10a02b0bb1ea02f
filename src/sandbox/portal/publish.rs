//! Answers to writes. A body becomes operations, one transaction, and a summary in the configured
//! form. Also handles single rows by path, truncate and replace.

use serde_json::{Value, json};

use super::faults::Fault;
use super::reply::{Reply, WriteEffects};
use super::transport::Delivery;
use super::write::{self, BodyError, Operation, Report};
use super::{Portal, SummaryForm};

/// A write of a whole body.
pub(super) struct Post<'a> {
    pub dataset: &'a str,
    pub body: &'a [u8],
    pub csv: bool,
    /// Whether all other rows are deleted, as for a PUT.
    pub replace: bool,
    pub fault: Option<&'a Fault>,
}

impl Portal {
    /// Answers POST and PUT on `/resource/{id}`.
    pub(super) fn post(&self, post: &Post<'_>) -> Reply {
        let reply = self.post_once(post);
        let reply = match post.fault {
            Some(Fault::DeliveredTwice) => self.post_once(post),
            _ => reply,
        };
        after_write(reply, post.fault)
    }

    fn post_once(&self, post: &Post<'_>) -> Reply {
        let Some(table) = self.table(post.dataset) else {
            return Reply::no_dataset(post.dataset);
        };
        let mut table = table.write();
        let operations = match read_body(&table.schema, post) {
            Ok(operations) => operations,
            Err(error) => return Reply::from(&error),
        };
        let refused = match post.fault {
            Some(Fault::RowsRefused { rows }) => (*rows).min(operations.len()),
            _ => 0,
        };
        let kept = operations.len() - refused;
        let operations = operations.into_iter().take(kept).collect();
        let mut cleared = Vec::new();
        if post.replace {
            write::clear(&mut table, &mut cleared);
        }
        let now = self.now_ms();
        let (reports, changes) = write::carry_out(&mut table, operations, now);
        cleared.extend(changes);
        table.commit(now, false, cleared);
        let mut effects = effects(&reports);
        effects.errors += refused;
        let shown = match post.fault {
            Some(Fault::WrongCounts) => WriteEffects::default(),
            _ => effects,
        };
        let mut reply = self.summary(shown, &reports);
        reply.effects = Some(effects);
        reply
    }

    fn summary(&self, counts: WriteEffects, reports: &[Report]) -> Reply {
        let WriteEffects {
            created,
            updated,
            deleted,
            errors,
        } = counts;
        let per_row = || reports.iter().map(Report::json).collect::<Value>();
        match self.inner.options.summary {
            SummaryForm::Four => Reply::with(
                200,
                "application/json;charset=utf-8",
                format!(
                    "{{\n  \"Errors\" : {errors},\n  \"Rows Created\" : {created},\n  \
                     \"Rows Updated\" : {updated},\n  \"Rows Deleted\" : {deleted}\n}}\n"
                ),
            ),
            SummaryForm::Six => Reply::json(
                200,
                &json!({"Errors": errors, "Rows Deleted": deleted, "Rows Updated": updated,
                    "By SID": 0, "Rows Created": created, "By RowIdentifier": updated}),
            ),
            SummaryForm::SnakeCase => {
                let errors: Vec<Value> = reports
                    .iter()
                    .enumerate()
                    .filter_map(|(at, report)| match report {
                        Report::Error { error, id } => {
                            Some(json!({"error": error, "input_index": at, "primary_key": id}))
                        }
                        _ => None,
                    })
                    .collect();
                Reply::json(
                    200,
                    &json!({"rows_created": created, "rows_updated": updated,
                        "rows_deleted": deleted, "errors": errors}),
                )
            }
            SummaryForm::PerRow => Reply::json(200, &per_row()),
        }
    }

    /// Answers POST on `/resource/{id}/{row}`. The path names the row, even if the body has another
    /// key.
    pub(super) fn post_row(&self, dataset: &str, row: &str, body: &[u8]) -> Reply {
        let Some(table) = self.table(dataset) else {
            return Reply::no_dataset(dataset);
        };
        let mut table = table.write();
        let target = write::named_row(&table.schema, row);
        let cells = match write::read_json(&table.schema, body).as_deref() {
            Ok([Operation::Upsert { cells, .. }]) => cells.clone(),
            Ok(_) => return Reply::from(&BodyError::NotAnObject),
            Err(error) => return Reply::from(error),
        };
        let mut cells = cells;
        if let (Some(key), write::Target::Key(cell)) = (table.schema.key, &target) {
            cells.push((key, cell.clone()));
        }
        let now = self.now_ms();
        let operations = vec![Operation::Upsert { cells, target }];
        let (reports, changes) = write::carry_out(&mut table, operations, now);
        table.commit(now, false, changes);
        let mut reply = Reply::json(200, &reports.iter().map(Report::json).collect());
        reply.effects = Some(effects(&reports));
        reply
    }

    /// Answers DELETE on `/resource/{id}/{row}`. Unlike in a POST, a row that does not exist is a
    /// 404.
    pub(super) fn delete_row(&self, dataset: &str, row: &str, fault: Option<&Fault>) -> Reply {
        let Some(table) = self.table(dataset) else {
            return Reply::no_dataset(dataset);
        };
        let mut table = table.write();
        let target = write::named_row(&table.schema, row);
        if write::find(&table, &target).is_none() {
            return Reply::no_row(row);
        }
        let now = self.now_ms();
        let (reports, changes) =
            write::carry_out(&mut table, vec![Operation::Delete { target }], now);
        table.commit(now, false, changes);
        let mut reply = Reply::json(200, &reports.iter().map(Report::json).collect());
        reply.effects = Some(effects(&reports));
        after_write(reply, fault)
    }

    /// Answers DELETE on `/resource/{id}`, which deletes all rows.
    pub(super) fn truncate(&self, dataset: &str) -> Reply {
        let Some(table) = self.table(dataset) else {
            return Reply::no_dataset(dataset);
        };
        let mut table = table.write();
        let deleted = table.truth.rows.len();
        let mut changes = Vec::new();
        write::clear(&mut table, &mut changes);
        table.commit(self.now_ms(), false, changes);
        let mut reply = Reply::json(200, &json!({"Rows Deleted": deleted}));
        reply.effects = Some(WriteEffects {
            deleted,
            ..WriteEffects::default()
        });
        reply
    }
}

fn read_body(schema: &super::Schema, post: &Post<'_>) -> Result<Vec<Operation>, BodyError> {
    if post.csv {
        let text = std::str::from_utf8(post.body).map_err(|_| BodyError::MalformedCsv)?;
        return write::read_csv(schema, text);
    }
    write::read_json(schema, post.body)
}

/// The reply of an applied write after a fault has lost or garbled it.
fn after_write(reply: Reply, fault: Option<&Fault>) -> Reply {
    let Some(effects) = reply.effects else {
        return reply;
    };
    let replaced = match fault {
        Some(Fault::AppliedThenReset) => Reply {
            delivery: Delivery::Unsent,
            ..reply
        },
        Some(Fault::AppliedThenGateway { status }) => Reply::gateway(*status),
        Some(Fault::SavedButRefused) => Reply::refused(
            400,
            "invalid_request",
            "Row data was saved. Column metadata could not be refreshed.",
        ),
        _ => reply,
    };
    Reply {
        effects: Some(effects),
        ..replaced
    }
}

/// Counts the effects of a write.
pub(super) fn effects(reports: &[Report]) -> WriteEffects {
    let mut effects = WriteEffects::default();
    for report in reports {
        match report {
            Report::Insert { .. } => effects.created += 1,
            Report::Update { .. } => effects.updated += 1,
            Report::Delete { .. } => effects.deleted += 1,
            Report::Error { .. } => effects.errors += 1,
        }
    }
    effects
}
