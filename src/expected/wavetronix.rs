//! Wavetronix radar: `json`, one file per day, for Radar Traffic Counts.
//!
//! A row is a quarter of an hour of one detector. Its time has odd seconds, which are hashed
//! unchanged. `timebin` follows the publisher: the minute is rounded to the nearest quarter and
//! never carried into the next hour, so that 23:53 becomes `23:60`.

use super::json::Raw;
use super::rows::{Fault, Fields, Made, list, open, walk};
use super::text::{put_int, put_text, text_value};
use super::time::Moment;
use super::{Counter, DeriveError, Facts, FileOutcome, FileText, Line, Recipe, Variant};
use crate::model::{KeyScheme, Value};

/// Counts of all detectors of a day.
pub(super) struct Radar;

static FACTS: Facts = Facts {
    name: "wavetronix",
    source: "wt",
    ext: "json",
    companion: None,
    key_column: "row_id",
    day_column: "curdatetime",
    columns: &[
        "detid",
        "int_id",
        "curdatetime",
        "intname",
        "detname",
        "volume",
        "occupancy",
        "speed",
        "month",
        "day",
        "year",
        "hour",
        "minute",
        "day_of_week",
        "timebin",
        "direction",
    ],
    identity: &["intname", "curdatetime", "detid"],
    spill_days: 0,
    key_schemes: &[KeyScheme::Row, KeyScheme::Chained, KeyScheme::Kits],
    counters: &[Counter::Shared],
};

/// The used fields of a row, in their usual order in the file, which is also that of the columns.
const FIELDS: [&str; 8] = [
    "detID",
    "intID",
    "curDateTime",
    "intName",
    "detName",
    "volume",
    "occupancy",
    "speed",
];
const TIME: usize = 2;
const DET_NAME: usize = 4;

impl Recipe for Radar {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let ([data], rows) = open(file.path, file.bytes, ["data"], FIELDS)?;
        list(file.path, "data", data)?;
        walk(&FACTS, file, variant, &rows, each, make)
    }
}

fn make(fields: &Fields<'_, { FIELDS.len() }>, values: &mut [Value]) -> Result<Made, Fault> {
    let all = fields.all()?;
    for (field, slot) in all.into_iter().zip(values.iter_mut()) {
        field.put(slot);
    }
    let moment = all[TIME].put_time(&mut values[TIME])?;
    for (number, slot) in moment.parts().into_iter().zip(&mut values[8..14]) {
        put_int(slot, number);
    }
    put_time_bin(&mut values[14], moment);
    put_direction(&mut values[15], all[DET_NAME].raw)?;
    Ok(Made::Row(moment))
}

/// The hour, and the minute rounded to 0, 15, 30, 45 or 60.
fn put_time_bin(slot: &mut Value, moment: Moment) {
    let [_, _, _, hour, minute, _] = moment.parts();
    let quarter = (2 * minute + 15) / 30 * 15;
    put_text(slot, &format!("{hour:02}:{quarter:02}"));
}

/// The detector's name up to its first underscore.
fn put_direction(slot: &mut Value, name: Raw<'_>) -> Result<(), Fault> {
    let direction = |text: &str| text.split('_').next().map(str::len).unwrap_or_default();
    if let Some(text) = name.text() {
        put_text(slot, &text[..direction(&text)]);
        return Ok(());
    }
    let found = || Fault::Row(format!("detName is {}, not a text", name.kind().name()));
    let text = name.decoded().ok_or_else(found)?;
    let first = text.split("_".as_ref()).next();
    *slot = text_value(first.unwrap_or_default());
    Ok(())
}
