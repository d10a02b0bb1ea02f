//! The catalog in SQLite: the SQL that differs from PostgreSQL.
//!
//! Other programs may write an instant as text in several formats, so instants are compared
//! roughly, with `unixepoch`: a text without an offset may be off by hours. Values that it cannot
//! read are selected too, so that they are not mistaken for absent.

use super::CatalogShape;
use super::table::{COLUMN_NAMES, OLDEST_LINES, Table};
use crate::database::{Access, Address, Database, DatabaseError, Statement};

/// More than the difference between any local clock and UTC, in seconds.
const SLACK: u32 = 24 * 60 * 60;

/// A text that begins with a date matches this pattern.
const DATE: &str = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*";

/// The seconds since 1970 of a column, or null. Without the check, `unixepoch` would accept `now`
/// as a time and numbers as days.
fn seconds(column: &str) -> String {
    format!(
        "case when typeof({column}) = 'text' and {column} glob '{DATE}'
           then unixepoch({column}) end"
    )
}

fn create(table: &Table) -> [String; 2] {
    let name = table.quoted_name();
    let index = format!("\"{}_by_date\"", table.name());
    [
        format!(
            "create table if not exists {name} (
               id integer primary key,
               repository text not null, data_source text not null,
               id_base text not null, id_ext text not null,
               pointer text,
               collection_date text not null, collection_end text, processing_date text,
               metadata text,
               unique (collection_date, repository, data_source, id_base, id_ext))"
        ),
        format!("create index if not exists {index} on {name} (repository, data_source)"),
    ]
}

/// Creates the file and the table if they do not exist.
pub(super) async fn create_if_absent(
    address: &Address<'_>,
    table: &Table,
) -> Result<(), DatabaseError> {
    if let Ok(database) = Database::open(address, Access::Read).await
        && !columns(&database, table).await?.is_empty()
    {
        return Ok(());
    }
    let statements = create(table)
        .into_iter()
        .map(|sql| Statement::new(sql, Vec::new()))
        .collect();
    Database::open(address, Access::Write)
        .await?
        .transaction("create the table", statements)
        .await
        .map(|_| ())
}

/// A rough selection that never misses a line. [`Entry::coverage`](crate::model::Entry::coverage)
/// makes the exact one.
pub(super) fn entries(table: &Table) -> String {
    let (begin, end) = (seconds("collection_date"), seconds("collection_end"));
    format!(
        "select {} from {}
         where repository = $1 and data_source = $2
           and coalesce({begin} <= unixepoch($3) + {SLACK}, true)
           and case when collection_end is null
             then coalesce({begin} >= unixepoch($4) - {SLACK}, true)
             else coalesce({end} >= unixepoch($5) - {SLACK}, true) end",
        COLUMN_NAMES.join(", "),
        table.quoted_name()
    )
}

/// The collection dates of the oldest entries that are valid dates, in order.
pub(super) fn oldest(table: &Table) -> String {
    format!(
        "select collection_date from {} where repository = $1 and data_source = $2
           and typeof(collection_date) = 'text' and collection_date glob '{DATE}'
         order by collection_date limit {OLDEST_LINES}",
        table.quoted_name()
    )
}

pub(super) fn select_stored(table: &Table) -> String {
    let begin = seconds("collection_date");
    format!(
        "select {} from {}
         where coalesce({begin} = unixepoch($1), true) and repository = $2
           and data_source = $3 and id_base = $4 and id_ext = $5",
        COLUMN_NAMES.join(", "),
        table.quoted_name()
    )
}

async fn columns(
    database: &Database,
    table: &Table,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let sql = "select name, type from pragma_table_info($1)";
    let params = vec![table.name().into()];
    database
        .query("inspect the table", sql, params, |line| {
            Ok((line.get(0)?, line.get(1)?))
        })
        .await
}

const UNIQUE_OF: &str = "select group_concat(c.name, ' ')
     from pragma_index_list($1) i join pragma_index_info(i.name) c
     where i.\"unique\" = 1 and i.partial = 0
     group by i.name";

pub(super) async fn inspect(
    database: &Database,
    table: &Table,
) -> Result<CatalogShape, DatabaseError> {
    let columns = columns(database, table).await?;
    let params = vec![table.name().into()];
    let unique = database
        .query("inspect the table", UNIQUE_OF, params, |line| {
            line.get::<String>(0)
        })
        .await?;
    Ok(CatalogShape {
        table: table.quoted_name(),
        exists: !columns.is_empty(),
        typed: false,
        columns: columns.into_iter().collect(),
        unique: unique
            .iter()
            .map(|columns| columns.split(' ').map(Into::into).collect())
            .collect(),
        is_view: false,
        rights: ["select", "insert", "update", "delete"]
            .map(Into::into)
            .into(),
    })
}
