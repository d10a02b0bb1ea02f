//! Iterates over a file's rows. All recipes share this code.
//!
//! It opens the file, passes the used fields of each entry of `data` to the recipe, hashes the
//! resulting values, and counts. It separates failures of a row from failures of the file. After a
//! row that cannot be derived, chained keys of later rows are unknown.

use std::array;

use super::json::{Document, Entries, Kind, Raw};
use super::text::{Keys, put};
use super::time::Moment;
use super::{DeriveError, DerivedRow, Facts, FileOutcome, FileText, Line, Unpublishable, Variant};
use crate::model::{LakePath, Value};

/// Why a recipe cannot derive a row.
#[derive(Debug)]
pub(super) enum Fault {
    /// Only this row is affected. Holds the reason as a phrase.
    Row(String),
    /// The row refers to a device that the file does not list.
    UnknownDevice(String),
    /// The whole file is affected. Holds the reason as a phrase.
    File(String),
}

/// The result of deriving an entry of `data`.
pub(super) enum Made {
    /// A row, with the time of its day column.
    Row(Moment),
    /// No row, on purpose.
    Skipped,
}

/// Checks a whole file, and finds members of its top level and the used fields of its rows.
pub(super) fn open<'a, const N: usize, const F: usize>(
    path: &LakePath,
    bytes: &'a [u8],
    names: [&str; N],
    fields: [&'static str; F],
) -> Result<([Option<Raw<'a>>; N], Entries<'a, F>), DeriveError> {
    let document = Document::with_entries(bytes, names, Some("data"), fields);
    let document = document.map_err(|fault| DeriveError::Parse {
        path: path.clone(),
        offset: fault.offset,
        what: fault.what.into(),
    })?;
    if document.root.kind() == Kind::Object {
        Ok((document.members, document.entries))
    } else {
        Err(shape(
            path,
            format!("it is {}, not an object", document.root.kind().name()),
        ))
    }
}

/// The error of a file with the wrong structure.
pub(super) fn shape(path: &LakePath, what: impl Into<String>) -> DeriveError {
    DeriveError::Shape {
        path: path.clone(),
        what: what.into(),
    }
}

/// The list in a member of the top level.
pub(super) fn list<'a>(
    path: &LakePath,
    name: &str,
    member: Option<Raw<'a>>,
) -> Result<Raw<'a>, DeriveError> {
    match member {
        Some(raw) if raw.kind() == Kind::List => Ok(raw),
        Some(raw) => Err(shape(
            path,
            format!("{name} is {}, not a list", raw.kind().name()),
        )),
        None => Err(shape(path, format!("{name} is missing"))),
    }
}

/// A used field of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its name in the file.
    pub name: &'static str,
    /// Its value.
    pub raw: Raw<'a>,
}

impl Field<'_> {
    /// Writes the value over `slot` unchanged.
    pub fn put(self, slot: &mut Value) {
        put(slot, self.raw);
    }

    /// Writes the value's wall time over `slot`. After an error, the content of `slot` is
    /// undefined.
    pub fn put_time(self, slot: &mut Value) -> Result<Moment, Fault> {
        let mut text = match std::mem::replace(slot, Value::Null) {
            Value::Text(old) => old,
            _ => String::new(),
        };
        let moment = Moment::publish(self.raw, &mut text);
        *slot = Value::Text(text);
        moment.map_err(|why| Fault::Row(format!("{} {why}", self.name)))
    }
}

/// The used fields of one entry of `data`.
#[derive(Debug)]
pub(super) struct Fields<'a, const N: usize> {
    names: [&'static str; N],
    found: [Option<Raw<'a>>; N],
    /// The entry's position in `data`, from 0.
    pub ordinal: u32,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// One field.
    pub fn one(&self, slot: usize) -> Result<Field<'a>, Fault> {
        let name = self.names[slot];
        let raw = self.found[slot].ok_or_else(|| Fault::Row(format!("{name} is missing")))?;
        Ok(Field { name, raw })
    }

    /// All fields, if none is missing.
    pub fn all(&self) -> Result<[Field<'a>; N], Fault> {
        if let Some(slot) = self.found.iter().position(Option::is_none) {
            return Err(Fault::Row(format!("{} is missing", self.names[slot])));
        }
        Ok(array::from_fn(|slot| Field {
            name: self.names[slot],
            raw: self.found[slot].unwrap_or(Raw::NULL),
        }))
    }
}

/// Calls `make` with the fields of every row, in order.
pub(super) fn entries<'a, const N: usize>(
    data: &Entries<'a, N>,
    mut make: impl FnMut(u32, Result<&Fields<'a, N>, Fault>) -> Result<(), DeriveError>,
) -> Result<(), DeriveError> {
    let mut fields = Fields {
        names: data.names,
        found: [None; N],
        ordinal: 0,
    };
    for (ordinal, entry) in (0..).zip(data.iter()) {
        fields.ordinal = ordinal;
        let read = entry.map(|found| {
            fields.found = found;
            &fields
        });
        let not_object = |kind: Kind| format!("the row is {}, not an object", kind.name());
        make(ordinal, read.map_err(|kind| Fault::Row(not_object(kind))))?;
    }
    Ok(())
}

/// Passes the rows of one file to the caller.
struct Rows<'c> {
    keys: Keys,
    chained: bool,
    broken_by: Option<u32>,
    outcome: FileOutcome,
    values: Vec<Value>,
    each: &'c mut dyn FnMut(Line<'_>),
}

impl Rows<'_> {
    fn hand_over(&mut self, ordinal: u32, moment: Moment) {
        if let Some(first) = self.broken_by {
            return self.give_up(
                ordinal,
                format!(
                    "row {first} cannot be derived, and a chained key hashes every row before it"
                ),
            );
        }
        match self.keys.key(&self.values, moment) {
            Ok(key) => {
                self.outcome.rows += 1;
                (self.each)(Line::Row(DerivedRow {
                    ordinal,
                    at: moment.wall,
                    key,
                    values: &self.values,
                }));
            }
            Err(why) => self.give_up(ordinal, why),
        }
    }

    fn give_up(&mut self, ordinal: u32, why: String) {
        if self.chained && self.broken_by.is_none() {
            self.broken_by = Some(ordinal);
        }
        self.outcome.unpublishable += 1;
        (self.each)(Line::Unpublishable(Unpublishable { ordinal, why }));
    }
}

/// Derives every row of `data` and passes it to `each`.
pub(super) fn walk<'a, const N: usize>(
    facts: &'static Facts,
    file: &FileText<'a>,
    variant: Variant,
    data: &Entries<'a, N>,
    each: &mut dyn FnMut(Line<'_>),
    mut make: impl FnMut(&Fields<'a, N>, &mut [Value]) -> Result<Made, Fault>,
) -> Result<FileOutcome, DeriveError> {
    let mut rows = Rows {
        keys: Keys::new(facts, variant.keys, file)?,
        chained: variant.keys == crate::model::KeyScheme::Chained,
        broken_by: None,
        outcome: FileOutcome::default(),
        values: vec![Value::Null; facts.columns.len()],
        each,
    };
    entries(data, |ordinal, fields| {
        match fields.and_then(|fields| make(fields, &mut rows.values)) {
            Ok(Made::Row(moment)) => rows.hand_over(ordinal, moment),
            Ok(Made::Skipped) => rows.outcome.skipped += 1,
            Err(Fault::Row(why)) => rows.give_up(ordinal, why),
            Err(Fault::File(what)) => return Err(shape(file.path, what)),
            Err(Fault::UnknownDevice(device)) => {
                return Err(DeriveError::UnknownDevice {
                    path: file.path.clone(),
                    device,
                    ordinal,
                });
            }
        }
        Ok(())
    })?;
    Ok(rows.outcome)
}
