//! The catalog in PostgreSQL: only what SQL must say differently there.

use super::table::Table;
use super::{CatalogShape, Stored, entry_params, read_entry};
use crate::database::{Database, DatabaseError, FieldError, Line, Param};

/// A rough choice by index, never too narrow; [`Entry::coverage`](crate::model::Entry::coverage)
/// makes the exact one.
pub(super) fn entries(table: &Table) -> String {
    format!(
        "select {} from {}
         where repository = $1 and data_source = $2 and collection_date < $3
           and (collection_end > $5 or collection_end is null and collection_date > $4)",
        super::COLUMNS,
        table.quoted()
    )
}

/// The oldest entry's collection date.
pub(super) fn oldest(table: &Table) -> String {
    format!(
        "select collection_date from {} where repository = $1 and data_source = $2
         order by collection_date limit 1",
        table.quoted()
    )
}

pub(super) fn stored(table: &Table) -> String {
    format!(
        "select {}, cast(metadata as text) from {}
         where collection_date = $1 and repository = $2 and data_source = $3
           and id_base = $4 and id_ext = $5",
        super::COLUMNS,
        table.quoted()
    )
}

pub(super) fn read_stored(line: &Line) -> Result<Stored, FieldError> {
    let entry = read_entry(line)?;
    let mut fields = entry_params(&entry);
    fields[8] = line.maybe::<String>(9)?.map_or(Param::Null, Param::Text);
    Ok(Stored { entry, fields })
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
