//! One line of the catalog: an entry, or what is known of a line that cannot be read.
//!
//! Other programs write the table too, and in SQLite any column may contain any value. An
//! unreadable line must not make the other lines unusable. Such a line is kept with the time and
//! extension it could belong to, and becomes a doubt there.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::table::COLUMN_NAMES;
use crate::database::{FieldError, Line, Param, earliest_and_latest};
use crate::model::{Coverage, Entry, EntryKey, OPEN_BEGIN, OPEN_END};

/// Maximum length of a value shown in a message, in characters.
const MAX_CHARS: usize = 40;

/// A line of the catalog that cannot be read, and which entries it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLine {
    /// Describes the line, its table, the column and the value, for a message.
    what: String,
    key: Option<EntryKey>,
    id_ext: Option<String>,
    earliest_begin: DateTime<Utc>,
    latest_begin: DateTime<Utc>,
    latest_end: DateTime<Utc>,
}

impl fmt::Display for UnreadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl UnreadLine {
    /// Whether the line has this key, and only its other columns cannot be read.
    #[must_use]
    pub fn has_key(&self, key: &EntryKey) -> bool {
        self.key.as_ref() == Some(key)
    }

    /// Whether its `id_ext` could be this one.
    #[must_use]
    pub fn may_be(&self, ext: &str) -> bool {
        self.id_ext.as_deref().is_none_or(|known| known == ext)
    }

    /// Whether its time could begin in the window.
    #[must_use]
    pub fn may_begin_in(&self, window: Coverage) -> bool {
        self.earliest_begin < window.end && window.start <= self.latest_begin
    }

    /// Whether it could cover an instant of the window.
    #[must_use]
    pub fn may_cover(&self, window: Coverage) -> bool {
        self.earliest_begin < window.end && window.start < self.latest_end
    }
}

fn read_key(line: &Line) -> Result<EntryKey, FieldError> {
    Ok(EntryKey {
        collection_date: line.instant(0)?.ok_or_else(|| FieldError::null(0))?,
        repository: line.get(1)?,
        data_source: line.get(2)?,
        id_base: line.get(3)?,
        id_ext: line.get(4)?,
    })
}

fn read_entry(line: &Line) -> Result<Entry, FieldError> {
    Ok(Entry {
        key: read_key(line)?,
        pointer: line.maybe(5)?.unwrap_or_default(),
        collection_end: line.instant(6)?,
        processing_date: line.instant(7)?,
        metadata: line.json(8)?,
    })
}

/// Reads the columns of [`COLUMN_NAMES`]. `table` is the table's name, for messages.
pub(super) fn read(line: &Line, table: &str, zone: Tz) -> Result<Entry, Box<UnreadLine>> {
    read_entry(line).map_err(|error| Box::new(unread(line, &error, table, zone)))
}

fn unread(line: &Line, error: &FieldError, table: &str, zone: Tz) -> UnreadLine {
    let span = |index| {
        let text: Option<String> = line.maybe(index).ok().flatten();
        text.and_then(|text| earliest_and_latest(&text))
            .unwrap_or((OPEN_BEGIN, OPEN_END))
    };
    let (earliest_begin, latest_begin) = span(0);
    let latest_end = if line.is_null(6) {
        Coverage::one_day_from(latest_begin, zone).end
    } else {
        span(6).1
    };
    UnreadLine {
        what: describe(line, error.index(), table),
        key: read_key(line).ok(),
        id_ext: line.get(4).ok(),
        earliest_begin,
        latest_begin,
        latest_end,
    }
}

fn describe(line: &Line, column: usize, table: &str) -> String {
    let shown = |index| cut(&line.shown(index));
    let expected = match column {
        0 | 6 | 7 => "an instant such as 2020-10-01T05:00:00Z",
        8 => "JSON",
        _ => "text",
    };
    format!(
        "catalog line {} {} {} {} of {} in {table}: cannot read {} {}, expected {expected}",
        shown(1),
        shown(2),
        shown(3),
        shown(4),
        shown(0),
        COLUMN_NAMES[column],
        shown(column),
    )
}

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let kept: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        kept + "\u{2026}"
    } else {
        kept
    }
}

/// An entry as it is currently stored in the table.
pub(super) struct Stored {
    pub(super) entry: Entry,
    /// The fields as they are written, in the order of [`COLUMN_NAMES`]; a null pointer is an empty
    /// text.
    pub(super) fields: Vec<Param>,
}

/// Like [`read`], and keeps every field as it is written.
pub(super) fn read_stored(line: &Line, table: &str, zone: Tz) -> Result<Stored, Box<UnreadLine>> {
    let entry = read(line, table, zone)?;
    let text = |index| line.maybe::<String>(index).ok().flatten();
    let mut fields: Vec<Param> = (0..COLUMN_NAMES.len())
        .map(|index| text(index).map_or(Param::Null, Param::Text))
        .collect();
    fields[5] = Param::from(&entry.pointer);
    Ok(Stored { entry, fields })
}
