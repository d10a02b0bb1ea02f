//! The catalog in PostgreSQL: the SQL that differs from SQLite.

use super::CatalogShape;
use super::table::{COLUMN_NAMES, OLDEST_LINES, Table};
use crate::database::{Database, DatabaseError, Param};

/// Selects every column as the bytes of its text, which can be read whatever the text contains. A
/// database with the encoding `SQL_ASCII` may contain invalid text, and would otherwise refuse the
/// whole query.
fn columns() -> String {
    let bytes = COLUMN_NAMES.map(|name| {
        format!(
            "convert_to(cast({name} as text),
               case getdatabaseencoding() when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end)"
        )
    });
    bytes.join(", ")
}

/// A rough selection using an index, which never misses a line.
/// [`Entry::coverage`](crate::model::Entry::coverage) makes the exact one.
pub(super) fn entries(table: &Table) -> String {
    format!(
        "select {} from {}
         where repository = $1 and data_source = $2
           and collection_date < cast($3 as timestamptz)
           and (collection_end > cast($5 as timestamptz)
             or collection_end is null and collection_date > cast($4 as timestamptz))",
        columns(),
        table.quoted()
    )
}

/// The collection dates of the oldest entries, in order.
pub(super) fn oldest(table: &Table) -> String {
    format!(
        "select cast(collection_date as text) from {}
         where repository = $1 and data_source = $2 and isfinite(collection_date)
         order by collection_date limit {OLDEST_LINES}",
        table.quoted()
    )
}

pub(super) fn select_stored(table: &Table) -> String {
    format!(
        "select {} from {}
         where collection_date = $1 and repository = $2 and data_source = $3
           and id_base = $4 and id_ext = $5",
        columns(),
        table.quoted()
    )
}

const COLUMNS_OF: &str = "select cast(attname as text), format_type(atttypid, null)
     from pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped";

const UNIQUE_OF: &str = "select string_agg(cast(a.attname as text), ' ')
     from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
     where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid
       and i.indpred is null and i.indexprs is null
     group by i.indexrelid";

const KIND_OF: &str = "select cast(relkind as text) from pg_class where oid = to_regclass($1)";

const RIGHTS_TO: &str = "select r from unnest(array['select', 'insert', 'update', 'delete']) r
     where has_table_privilege(to_regclass($1), r)";

pub(super) async fn inspect(
    database: &Database,
    table: &Table,
) -> Result<CatalogShape, DatabaseError> {
    let name = table.quoted();
    let act = "inspect the table";
    let params = || vec![Param::from(&name)];
    let kind = database
        .query(act, KIND_OF, params(), |line| line.get::<String>(0))
        .await?;
    let columns = database
        .query(act, COLUMNS_OF, params(), |line| {
            Ok((line.get(0)?, line.get(1)?))
        })
        .await?;
    let unique = database
        .query(act, UNIQUE_OF, params(), |line| line.get::<String>(0))
        .await?;
    let rights = database
        .query(act, RIGHTS_TO, params(), |line| line.get(0))
        .await?;
    Ok(CatalogShape {
        table: name,
        exists: !kind.is_empty(),
        typed: true,
        columns: columns.into_iter().collect(),
        unique: unique
            .iter()
            .map(|columns| columns.split(' ').map(Into::into).collect())
            .collect(),
        is_view: kind.iter().any(|kind| kind == "v"),
        rights: rights.into_iter().collect(),
    })
}
