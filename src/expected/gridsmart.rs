//! GRIDSMART cameras: `agg15.json`, one file per intersection and day, for Camera Traffic Counts.
//!
//! A row is a quarter of an hour of one approach, turn and class of vehicle. The name of the
//! intersection comes from the device that the ready stage matched to the camera. A file without a
//! device is skipped. Approaches other than the five known ones are left out, as the publisher
//! does.

use rustpython_wtf8::Wtf8Buf;

use super::json::{Kind, Raw};
use super::rows::{Fault, Fields, Made, list, open, shape, walk};
use super::text::{put_int, put_text, put_value, strip, text_value, value};
use super::{Counter, DeriveError, Facts, FileOutcome, FileText, Line, Recipe, Variant};
use crate::model::{KeyScheme, LakePath, Value};

/// Counts per quarter of an hour.
pub(super) struct Agg15;

static FACTS: Facts = Facts {
    name: "gridsmart-agg15",
    source: "gs",
    ext: "agg15.json",
    companion: None,
    key_column: "record_id",
    day_column: "read_date",
    columns: &[
        "atd_device_id",
        "read_date",
        "intersection_name",
        "direction",
        "movement",
        "heavy_vehicle",
        "volume",
        "speed_average",
        "speed_stddev",
        "seconds_in_zone_average",
        "seconds_in_zone_stddev",
        "month",
        "day",
        "year",
        "hour",
        "minute",
        "day_of_week",
        "bin_duration",
    ],
    identity: &[
        "intersection_name",
        "read_date",
        "heavy_vehicle",
        "direction",
        "movement",
    ],
    spill_days: 0,
    key_schemes: &[KeyScheme::Row, KeyScheme::Chained],
    counters: &[Counter::Shared],
};

/// The used fields of a row, in their usual order in the file.
const FIELDS: [&str; 9] = [
    "timestamp",
    "zone_approach",
    "turn",
    "heavy_vehicle",
    "volume",
    "speed_avg",
    "speed_std",
    "seconds_in_zone_avg",
    "seconds_in_zone_std",
];
const ZONE_APPROACH: usize = 1;

/// Bin duration, 15 minutes in seconds. It is an option of the publisher and not in the file.
const BIN_DURATION: u32 = 900;

impl Recipe for Agg15 {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let names = ["data", "device", "site"];
        let ([data, device, site], rows) = open(file.path, file.bytes, names, FIELDS)?;
        // Check this first, although the publisher does not: a file that lost its rows cannot be
        // trusted.
        list(file.path, "data", data)?;
        let Some(device) = device.filter(|device| !device.is_falsy()) else {
            return skip(file.path, site);
        };
        let camera = Camera::of(device);
        walk(&FACTS, file, variant, &rows, each, |fields, values| {
            make(&camera, fields, values)
        })
    }
}

/// Skips a file without a device, if its site says where it is from.
fn skip(path: &LakePath, site: Option<Raw<'_>>) -> Result<FileOutcome, DeriveError> {
    let location = site
        .and_then(|site| site.member("site"))
        .and_then(|site| site.member("Location"));
    let street = |name| location.and_then(|location| location.member(name));
    if street("Street1").is_none() || street("Street2").is_none() {
        return Err(shape(
            path,
            "it has neither a device nor the location of its site",
        ));
    }
    Ok(FileOutcome {
        passed_by: Some("no device".into()),
        ..FileOutcome::default()
    })
}

/// The values that every row takes from the device.
struct Camera {
    atd_device_id: Value,
    intersection_name: Value,
}

impl Camera {
    /// Reads the device. An error matters only for the first published row: a file that publishes
    /// none does not need its device.
    fn of(device: Raw<'_>) -> Result<Self, String> {
        if device.kind() != Kind::Object {
            return Err(format!("device is {}, not an object", device.kind().name()));
        }
        let id = device.member("atd_device_id");
        let mut name = street(device, "primary_st")?;
        name.push_str(" / ");
        name.push_wtf8(&street(device, "cross_st")?);
        Ok(Self {
            atd_device_id: value(id.ok_or("device has no atd_device_id")?),
            intersection_name: text_value(&name),
        })
    }
}

fn street(device: Raw<'_>, name: &str) -> Result<Wtf8Buf, String> {
    let street = device
        .member(name)
        .ok_or_else(|| format!("device has no {name}"))?;
    let text = street.decoded().ok_or_else(|| {
        format!(
            "{name} of the device is {}, not a text",
            street.kind().name()
        )
    })?;
    Ok(strip(&text).to_owned())
}

fn make(
    camera: &Result<Camera, String>,
    fields: &Fields<'_, { FIELDS.len() }>,
    values: &mut [Value],
) -> Result<Made, Fault> {
    let Some(direction) = direction(fields.one(ZONE_APPROACH)?.raw) else {
        return Ok(Made::Skipped);
    };
    let camera = camera.as_ref().map_err(|what| Fault::File(what.clone()))?;
    let [time, _, turn, heavy, measures @ ..] = fields.all()?;
    put_value(&mut values[0], &camera.atd_device_id);
    let moment = time.put_time(&mut values[1])?;
    put_value(&mut values[2], &camera.intersection_name);
    put_text(&mut values[3], direction);
    match movement(turn.raw) {
        Some(movement) => put_text(&mut values[4], movement),
        None => turn.put(&mut values[4]),
    }
    values[5] = Value::Bool(!is_light(heavy.raw));
    for (measure, slot) in measures.into_iter().zip(&mut values[6..11]) {
        measure.put(slot);
    }
    for (number, slot) in moment.parts().into_iter().zip(&mut values[11..17]) {
        put_int(slot, number);
    }
    put_int(&mut values[17], BIN_DURATION);
    Ok(Made::Row(moment))
}

/// The published direction of an approach; `None` if its rows are left out.
fn direction(approach: Raw<'_>) -> Option<&'static str> {
    [
        ("Southbound", "SOUTHBOUND"),
        ("Northbound", "NORTHBOUND"),
        ("Eastbound", "EASTBOUND"),
        ("Westbound", "WESTBOUND"),
        ("Unassigned", "UNASSIGNED"),
    ]
    .into_iter()
    .find_map(|(name, direction)| approach.is(name).then_some(direction))
}

/// The published movement of the known turns. Others are published unchanged.
fn movement(turn: Raw<'_>) -> Option<&'static str> {
    [
        ("S", "THRU"),
        ("L", "LEFT TURN"),
        ("R", "RIGHT TURN"),
        ("U", "U-TURN"),
    ]
    .into_iter()
    .find_map(|(name, movement)| turn.is(name).then_some(movement))
}

/// Whether the value equals 0 in Python, as `false` does.
fn is_light(heavy: Raw<'_>) -> bool {
    heavy.is_zero() || heavy.json() == "false"
}
