//! The catalog in SQLite: only what SQL must say differently there.
//!
//! Other programs may write an instant as text in more than one way, so instants are compared by
//! `unixepoch`, to the second; a text it cannot read is chosen too, so that reading it fails aloud.

use super::table::Table;
use super::{CatalogShape, Stored, read_entry};
use crate::database::{
    Access, Address, Database, DatabaseError, FieldError, Line, Param, Statement,
};

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

/// Creates file and table, if they are not there.
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

/// A rough choice, never too narrow; [`Entry::coverage`](crate::model::Entry::coverage) makes the
/// exact one.
pub(super) fn entries(table: &Table) -> String {
    format!(
        "select {} from {}
         where repository = $1 and data_source = $2
           and coalesce(unixepoch(collection_date) <= unixepoch($3), true)
           and case when collection_end is null
             then coalesce(unixepoch(collection_date) >= unixepoch($4), true)
             else coalesce(unixepoch(collection_end) >= unixepoch($5), true) end",
        super::COLUMNS,
        table.quoted_name()
    )
}

/// The oldest entry's collection date, of those that are dates.
pub(super) fn oldest(table: &Table) -> String {
    format!(
        "select collection_date from {} where repository = $1 and data_source = $2
           and unixepoch(collection_date) is not null
         order by unixepoch(collection_date) limit 1",
        table.quoted_name()
    )
}

pub(super) fn stored(table: &Table) -> String {
    format!(
        "select {}, collection_date, coalesce(pointer, ''), collection_end, processing_date,
           cast(metadata as text)
         from {}
         where unixepoch(collection_date) = unixepoch($1) and repository = $2
           and data_source = $3 and id_base = $4 and id_ext = $5",
        super::COLUMNS,
        table.quoted_name()
    )
}

pub(super) fn read_stored(line: &Line) -> Result<Stored, FieldError> {
    let text = |index| {
        line.maybe::<String>(index)
            .map(|text| text.map_or(Param::Null, Param::Text))
    };
    let key = [text(9)?, text(1)?, text(2)?, text(3)?, text(4)?];
    let rest = [text(10)?, text(11)?, text(12)?, text(13)?];
    Ok(Stored {
        entry: read_entry(line)?,
        fields: key.into_iter().chain(rest).collect(),
    })
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
