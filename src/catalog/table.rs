//! The catalog's table: its quoted name, and the statements that are the same in both kinds of
//! database.

/// The columns of an entry, in the order in which they are read and written.
pub(super) const COLUMN_NAMES: [&str; 9] = [
    "collection_date",
    "repository",
    "data_source",
    "id_base",
    "id_ext",
    "pointer",
    "collection_end",
    "processing_date",
    "metadata",
];

/// How many of the oldest lines to read to find one with a readable date.
pub(super) const OLDEST_LINES: usize = 100;

/// A validated table name: it needs no escaping within quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

fn is_plain(part: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    part.len() <= 63
        && part.starts_with(letter)
        && part.chars().all(|c| letter(c) || c.is_ascii_digit())
}

impl Table {
    /// Parses `table` or `schema.table`. `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        (is_plain(name) && schema.is_none_or(is_plain)).then(|| Self {
            schema: schema.map(Into::into),
            name: name.into(),
        })
    }

    /// Quoted for PostgreSQL.
    pub(super) fn quoted(&self) -> String {
        match &self.schema {
            Some(schema) => format!("\"{schema}\".\"{}\"", self.name),
            None => self.quoted_name(),
        }
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Quoted without the schema, which SQLite does not have.
    pub(super) fn quoted_name(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// The unquoted name, without the schema.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Adds an entry, or overwrites the one with the same key. Columns not named here are left as they
/// are.
pub(super) fn upsert(table: &str) -> String {
    let columns = COLUMN_NAMES.join(", ");
    format!(
        "insert into {table} as old ({columns})
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (collection_date, repository, data_source, id_base, id_ext) do update set
           pointer = excluded.pointer,
           collection_end = excluded.collection_end,
           processing_date = excluded.processing_date,
           metadata = coalesce(excluded.metadata, old.metadata)"
    )
}

/// Removes an entry if all its fields equal the given ones.
pub(super) fn delete(table: &str) -> String {
    format!(
        "delete from {table}
         where collection_date = $1 and repository = $2 and data_source = $3
           and id_base = $4 and id_ext = $5
           and coalesce(pointer, '') = $6
           and collection_end is not distinct from $7
           and processing_date is not distinct from $8
           and cast(metadata as text) is not distinct from $9"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_part_by_part() {
        let table = Table::parse("api.data_lake_catalog").unwrap();
        assert_eq!(table.quoted(), "\"api\".\"data_lake_catalog\"");
        assert_eq!(table.quoted_name(), "\"data_lake_catalog\"");
        assert_eq!(Table::parse("t").unwrap().quoted(), "\"t\"");
    }

    #[test]
    fn an_invalid_name_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "a b",
            "a;drop table x",
            "a\"b",
            "1a",
            "a-b",
            "t\u{e9}",
            &"a".repeat(64),
        ] {
            assert_eq!(Table::parse(text), None, "{text}");
        }
    }
}
