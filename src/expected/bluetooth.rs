//! Bluetooth readers: three files per day, for three datasets.
//!
//! Rows refer to readers by device id, and are published with the reader's name from the file's own
//! list. Device addresses are private: they are published as 1, 2, 3, ... in the order in which the
//! publisher met them. Whether `unmatched` continues the numbering of `matched` depended on the
//! publisher's run and is not recorded, so there are two [`Counter`]s. `matched` is always read
//! first, so its rows do not depend on the counter.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::json::{Entries, Kind, Raw};
use super::rows::{Fault, Field, Fields, Made, entries, list, open, shape, walk};
use super::text::{put_int, put_text, put_value, repr, value};
use super::{Counter, DeriveError, Facts, FileOutcome, FileText, Line, Recipe, Variant};
use crate::model::{KeyScheme, LakePath, Value};

/// Travel times between two readers per quarter of an hour.
pub(super) struct Summary;
/// One device seen at two readers.
pub(super) struct Matched;
/// One device seen at one reader.
pub(super) struct Unmatched;

const KEY_SCHEMES: &[KeyScheme] = &[KeyScheme::Row, KeyScheme::Chained];

static SUMMARY: Facts = Facts {
    name: "bluetooth-summary",
    source: "bt",
    ext: "traf_match_summary.json",
    companion: None,
    key_column: "record_id",
    day_column: "timestamp",
    columns: &[
        "origin_reader_identifier",
        "destination_reader_identifier",
        "origin_roadway",
        "origin_cross_street",
        "origin_direction",
        "destination_roadway",
        "destination_cross_street",
        "destination_direction",
        "segment_length_miles",
        "timestamp",
        "average_travel_time_seconds",
        "average_speed_mph",
        "summary_interval_minutes",
        "number_samples",
        "standard_deviation",
    ],
    identity: &[
        "timestamp",
        "origin_reader_identifier",
        "destination_reader_identifier",
        "segment_length_miles",
    ],
    spill_days: 0,
    key_schemes: KEY_SCHEMES,
    counters: &[Counter::Shared],
};

/// The used fields of a summary. Those published unchanged come first, in the order of the columns.
const SUMMARY_FIELDS: [&str; 15] = [
    "origin_road",
    "origin_cross_st",
    "origin_dir",
    "dest_road",
    "dest_cross_st",
    "dest_dir",
    "seg_length",
    "timestamp",
    "avg_travel_time",
    "avg_speed",
    "interval",
    "samples",
    "std_dev",
    "origin_device_id",
    "dest_device_id",
];
const SUMMARY_TIME: usize = 7;

static MATCHED: Facts = Facts {
    name: "bluetooth-matched",
    source: "bt",
    ext: "matched.json",
    companion: None,
    key_column: "record_id",
    day_column: "start_time",
    columns: &[
        "device_address",
        "origin_reader_identifier",
        "destination_reader_identifier",
        "travel_time_seconds",
        "speed_miles_per_hour",
        "match_validity",
        "filter_identifier",
        "start_time",
        "end_time",
        "day_of_week",
    ],
    identity: &[
        "start_time",
        "end_time",
        "origin_reader_identifier",
        "destination_reader_identifier",
        "device_address",
    ],
    spill_days: 1,
    key_schemes: KEY_SCHEMES,
    counters: &[Counter::Shared],
};

const MATCHED_FIELDS: [&str; 9] = [
    "dev_addr",
    "start_time",
    "end_time",
    "travel_time_secs",
    "speed",
    "match_validity",
    "filter_id",
    "origin_device_id",
    "dest_device_id",
];
const MATCHED_ADDRESS: usize = 0;

static UNMATCHED: Facts = Facts {
    name: "bluetooth-unmatched",
    source: "bt",
    ext: "unmatched.json",
    companion: Some(MATCHED.ext),
    key_column: "record_id",
    day_column: "host_read_time",
    columns: &[
        "host_read_time",
        "field_device_read_time",
        "reader_identifier",
        "device_address",
    ],
    identity: &["host_read_time", "reader_identifier", "device_address"],
    spill_days: 0,
    key_schemes: KEY_SCHEMES,
    counters: &[Counter::Shared, Counter::Separate],
};

const UNMATCHED_FIELDS: [&str; 4] = ["host_timestamp", "field_timestamp", "dev_addr", "device_id"];
const UNMATCHED_ADDRESS: usize = 2;

impl Recipe for Summary {
    fn facts(&self) -> &'static Facts {
        &SUMMARY
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let (data, readers) = frame(file.path, file.bytes, SUMMARY_FIELDS)?;
        walk(&SUMMARY, file, variant, &data, each, |fields, values| {
            let [as_is @ .., origin, destination] = fields.all()?;
            readers.put_name(origin, &mut values[0])?;
            readers.put_name(destination, &mut values[1])?;
            for (field, slot) in as_is.into_iter().zip(&mut values[2..]) {
                field.put(slot);
            }
            let moment = as_is[SUMMARY_TIME].put_time(&mut values[9])?;
            Ok(Made::Row(moment))
        })
    }
}

impl Recipe for Matched {
    fn facts(&self) -> &'static Facts {
        &MATCHED
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let (data, readers) = frame(file.path, file.bytes, MATCHED_FIELDS)?;
        let numbers = Addresses::for_rows(&data).number_all(&data, MATCHED_ADDRESS);
        walk(&MATCHED, file, variant, &data, each, |fields, values| {
            let address = numbers.of(fields, MATCHED_ADDRESS)?;
            let [_, start, end, as_is @ .., origin, destination] = fields.all()?;
            put_int(&mut values[0], address);
            readers.put_name(origin, &mut values[1])?;
            readers.put_name(destination, &mut values[2])?;
            for (field, slot) in as_is.into_iter().zip(&mut values[3..7]) {
                field.put(slot);
            }
            let moment = start.put_time(&mut values[7])?;
            end.put_time(&mut values[8])?;
            put_text(&mut values[9], moment.day_name());
            Ok(Made::Row(moment))
        })
    }
}

impl Recipe for Unmatched {
    fn facts(&self) -> &'static Facts {
        &UNMATCHED
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let (data, readers) = frame(file.path, file.bytes, UNMATCHED_FIELDS)?;
        let addresses = match (variant.counter, file.companion) {
            (Counter::Shared, Some((path, bytes))) => Addresses::of_matched(path, bytes)?,
            (Counter::Shared, None) | (Counter::Separate, _) => Addresses::for_rows(&data),
        };
        let numbers = addresses.number_all(&data, UNMATCHED_ADDRESS);
        walk(&UNMATCHED, file, variant, &data, each, |fields, values| {
            let address = numbers.of(fields, UNMATCHED_ADDRESS)?;
            let [host, field, _, device] = fields.all()?;
            readers.put_name(device, &mut values[2])?;
            let moment = host.put_time(&mut values[0])?;
            field.put_time(&mut values[1])?;
            put_int(&mut values[3], address);
            Ok(Made::Row(moment))
        })
    }
}

/// The rows and readers of a file.
fn frame<'a, const F: usize>(
    path: &LakePath,
    bytes: &'a [u8],
    fields: [&'static str; F],
) -> Result<(Entries<'a, F>, Readers<'a>), DeriveError> {
    let ([data, devices], entries) = open(path, bytes, ["data", "devices"], fields)?;
    let devices = list(path, "devices", devices)?;
    let readers = Readers::of(devices).map_err(|what| shape(path, what))?;
    list(path, "data", data)?;
    Ok((entries, readers))
}

/// Number of addresses that are read together before any of them is looked up.
const TOGETHER: usize = 64;

/// Maximum length of a short id: enough for an address (a MAC address in base 64 has 24
/// characters).
const SHORT: usize = 24;

/// A value as Python compares keys of a `dict`.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Id<'a> {
    /// A short text as numbers, padded with a byte that no text contains. It is stored inline: a
    /// day has about 100,000 addresses, and reading each again from the file would take most of the
    /// time.
    Short([u64; SHORT / 8]),
    /// A longer text.
    Text(Cow<'a, str>),
    /// Any other value, in a form in which equal values are equal: 1, 1.0 and true are one value.
    Other(Box<str>),
}

impl<'a> Id<'a> {
    /// `None` for lists and objects, which Python cannot use as keys.
    fn of(raw: Raw<'a>) -> Option<Self> {
        Some(match raw.kind() {
            Kind::List | Kind::Object => return None,
            Kind::Text => match raw.text() {
                Some(text) => Self::of_text(text),
                None => Self::Other(repr(raw).into()),
            },
            Kind::Bool => Self::Other(if raw.json() == "true" { "1" } else { "0" }.into()),
            Kind::Null | Kind::Number => Self::Other(number(raw).into()),
        })
    }
}

impl<'a> Id<'a> {
    fn of_text(text: Cow<'a, str>) -> Self {
        let mut short = [0xff; SHORT];
        match short.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text.as_bytes());
                let (words, _) = short.as_chunks::<8>();
                Self::Short(std::array::from_fn(|at| u64::from_ne_bytes(words[at])))
            }
            None => Self::Text(text),
        }
    }
}

/// A number's digits. If it is whole, they are written out without a point.
fn number(raw: Raw<'_>) -> String {
    match value(raw) {
        Value::Float(0.0) => "0".into(),
        Value::Float(number) if number.is_finite() && number.fract() == 0.0 => {
            format!("{number:.0}")
        }
        other => other.text().map_or_else(String::new, Cow::into_owned),
    }
}

/// The readers that a file's rows may refer to.
struct Readers<'a> {
    /// Published name by device id; `None` if the entry has no name.
    names: HashMap<Id<'a>, Option<Value>, RandomState>,
}

impl<'a> Readers<'a> {
    /// Reads `devices`. If ids are equal, the last counts.
    fn of(devices: Raw<'a>) -> Result<Self, String> {
        let mut names = HashMap::default();
        let mut cursor = devices.enter();
        while cursor.next_element() {
            let device = cursor.value();
            let id = device.member("device_id").and_then(Id::of);
            let id = id.ok_or("an entry of devices has no usable device_id")?;
            names.insert(id, device.member("device_name").map(value));
        }
        Ok(Self { names })
    }

    /// Writes the name of the reader whose id is in `field` over `slot`.
    fn put_name(&self, field: Field<'a>, slot: &mut Value) -> Result<(), Fault> {
        let found = Id::of(field.raw).and_then(|id| self.names.get(&id));
        match found {
            Some(Some(name)) => put_value(slot, name),
            Some(None) => {
                return Err(Fault::Row(format!(
                    "the device of {} has no device_name",
                    field.name
                )));
            }
            None => {
                let device = field.raw.text().unwrap_or(field.raw.json().into());
                return Err(Fault::UnknownDevice(device.chars().take(60).collect()));
            }
        }
        Ok(())
    }
}

/// The device addresses in the order in which they were first met; the first has the number 1. Null
/// counts as an address.
struct Addresses<'a> {
    numbers: HashMap<Id<'a>, u32, RandomState>,
}

impl<'a> Addresses<'a> {
    /// An empty table with room for the addresses of these rows. It rarely has to grow, because
    /// most addresses occur several times.
    fn for_rows<const F: usize>(data: &Entries<'_, F>) -> Self {
        Self {
            numbers: HashMap::with_capacity_and_hasher(data.len() / 3, RandomState::default()),
        }
    }

    /// The table after the day's `matched` file was read.
    fn of_matched(path: &LakePath, bytes: &'a [u8]) -> Result<Self, DeriveError> {
        let (data, _) = frame(path, bytes, ["dev_addr"])?;
        let mut addresses = Self::for_rows(&data);
        entries(&data, |ordinal, fields| {
            match fields.and_then(|fields| addresses.number(fields.one(0)?)) {
                Ok(_) => Ok(()),
                Err(Fault::Row(what) | Fault::File(what) | Fault::UnknownDevice(what)) => {
                    Err(shape(path, format!("row {ordinal} has no number: {what}")))
                }
            }
        })?;
        Ok(addresses)
    }

    /// The numbers of every row's address. They are all assigned before the rows are processed: the
    /// table is larger than the faster CPU caches, and lookups in quick succession wait for memory
    /// together instead of one by one.
    fn number_all<const F: usize>(mut self, data: &Entries<'a, F>, address: usize) -> Numbers {
        let mut ids = data.field(address).map(|raw| Id::of(raw?));
        let (mut numbers, mut some) = (Vec::with_capacity(data.len()), Vec::new());
        while numbers.len() < data.len() {
            some.extend(ids.by_ref().take(TOGETHER));
            let number = |id: Option<Id<'a>>| Some(self.number_of(id?));
            numbers.extend(some.drain(..).map(number));
        }
        Numbers(numbers)
    }

    fn number(&mut self, field: Field<'a>) -> Result<u32, Fault> {
        match Id::of(field.raw) {
            Some(id) => Ok(self.number_of(id)),
            None => Err(no_address(field)),
        }
    }

    /// The number of this address. A new address gets the next number.
    fn number_of(&mut self, id: Id<'a>) -> u32 {
        let met = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(id).or_insert(met.saturating_add(1))
    }
}

fn no_address(field: Field<'_>) -> Fault {
    Fault::Row(format!("{} is {}", field.name, field.raw.kind().name()))
}

/// The number of every row's address; `None` if it has none.
struct Numbers(Vec<Option<u32>>);

impl Numbers {
    fn of<const F: usize>(&self, fields: &Fields<'_, F>, address: usize) -> Result<u32, Fault> {
        let field = fields.one(address)?;
        self.0[fields.ordinal as usize].ok_or_else(|| no_address(field))
    }
}
