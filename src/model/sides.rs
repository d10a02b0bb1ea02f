//! The data of the three sides, as their clients return it: lake files, catalog entries, published
//! rows, and the columns of a published table.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Days, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{ColumnType, Day, RowKey};

/// The path of a file in the lake, as in the catalog's `pointer`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LakePath(pub String);

impl fmt::Display for LakePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// Identifies one version of a lake file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Size in bytes.
    pub size: u64,
    /// The store's entity tag, if it has one.
    pub etag: Option<String>,
    /// When it was last written (UTC).
    pub modified: DateTime<Utc>,
}

/// The identity of a catalog entry: the primary key of its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryKey {
    /// Start of the time the file covers: an instant, usually local midnight.
    pub collection_date: DateTime<Utc>,
    /// The layer: the lake's ready layer, or the name for published files.
    pub repository: String,
    /// Kind of sensor: `gs`, `bt`, `wt`.
    pub data_source: String,
    /// First half of the file's identity, such as `Burnet_Richcreek`.
    pub id_base: String,
    /// Second half, such as `agg15.json`.
    pub id_ext: String,
}

/// One line of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its identity.
    pub key: EntryKey,
    /// Object key in the layer's bucket; for published files the dataset's four-by-four.
    pub pointer: String,
    /// End of what the file covers, exclusive; `None`: one local day; [`OPEN_END`]: it has none.
    pub collection_end: Option<DateTime<Utc>>,
    /// When the file was made or published.
    pub processing_date: Option<DateTime<Utc>>,
    /// Free-form; kept unchanged.
    pub metadata: Option<serde_json::Value>,
}

/// The begin of what has always been: `-infinity` in the catalog. So far away that no day of a
/// dataset lies before it, and near enough for calendar and zones.
pub const OPEN_BEGIN: DateTime<Utc> =
    DateTime::from_timestamp(-6_000_000_000_000, 0).expect("a year of the calendar");

/// The end of what never ends: `infinity` in the catalog.
pub const OPEN_END: DateTime<Utc> =
    DateTime::from_timestamp(6_000_000_000_000, 0).expect("a year of the calendar");

/// A half-open stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// First instant.
    pub start: DateTime<Utc>,
    /// First instant after the interval.
    pub end: DateTime<Utc>,
}

impl Coverage {
    /// The local day `day`.
    #[must_use]
    pub fn of_day(day: Day, zone: Tz) -> Self {
        Self {
            start: day.start(zone),
            end: day.end(zone),
        }
    }

    /// One day of local wall time from `start` on, which is 23 or 25 hours where the clock changes.
    #[must_use]
    pub fn one_day_from(start: DateTime<Utc>, zone: Tz) -> Self {
        let wall = start.with_timezone(&zone).naive_local() + Days::new(1);
        let end = zone
            .from_local_datetime(&wall)
            .earliest()
            .map_or_else(|| Day::of(wall).start(zone), |end| end.with_timezone(&Utc));
        Self { start, end }
    }

    /// Whether the two have an instant in common. Touching ends have none.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl Entry {
    /// The time the entry covers. An entry without an end covers one local day.
    #[must_use]
    pub fn coverage(&self, zone: Tz) -> Coverage {
        let start = self.key.collection_date;
        match self.collection_end {
            Some(end) => Coverage { start, end },
            None => Coverage::one_day_from(start, zone),
        }
    }

    /// The local day it starts on.
    #[must_use]
    pub fn day(&self, zone: Tz) -> Day {
        Day::at(self.key.collection_date, zone)
    }
}

/// A file of the ready layer that is both catalogued and in the lake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadyFile {
    /// Its catalog entry in the ready layer.
    pub entry: Entry,
    /// Its path in the lake.
    pub path: LakePath,
    /// The local day it belongs to, from its entry.
    pub day: Day,
    /// The version that was listed.
    pub stamp: FileStamp,
}

/// A row as the portal stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedRow {
    /// Its key; `None` if the key column is null.
    pub key: Option<RowKey>,
    /// The portal's own `:id` of the row.
    pub sid: String,
    /// When the row was first written (UTC, start of the request).
    pub created_at: DateTime<Utc>,
    /// When it was last written (UTC, start of the request).
    pub updated_at: DateTime<Utc>,
    /// Every column that is not null, including the key column, as the portal's JSON.
    pub fields: BTreeMap<String, serde_json::Value>,
}

/// The description of a table in a portal's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// The table's display name.
    pub title: String,
    /// Field name of the row identifier, if one is set.
    pub row_identifier: Option<String>,
    /// Type of each column by field name, without computed regions.
    pub columns: BTreeMap<String, ColumnType>,
    /// When rows were last written, in Unix seconds.
    pub rows_updated_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: &str, end: Option<&str>) -> Entry {
        Entry {
            key: EntryKey {
                collection_date: start.parse().unwrap(),
                repository: "socrata".into(),
                data_source: "gs".into(),
                id_base: "Burnet_Richcreek".into(),
                id_ext: "agg15.json".into(),
            },
            pointer: "sh59-i6y9".into(),
            collection_end: end.map(|end| end.parse().unwrap()),
            processing_date: None,
            metadata: None,
        }
    }

    const ZONE: Tz = chrono_tz::America::Chicago;

    #[test]
    fn an_entry_without_an_end_covers_one_local_day() {
        for (day, start) in [
            ("2020-11-01", "2020-11-01T05:00:00Z"),
            ("2020-03-08", "2020-03-08T06:00:00Z"),
            ("2020-06-01", "2020-06-01T05:00:00Z"),
        ] {
            let day: Day = day.parse().unwrap();
            assert_eq!(
                entry(start, None).coverage(ZONE),
                Coverage::of_day(day, ZONE)
            );
        }
    }

    #[test]
    fn an_open_end_covers_every_later_day_and_keeps_its_form() {
        let open = Entry {
            collection_end: Some(OPEN_END),
            ..entry("2020-06-01T05:00:00Z", None)
        };
        let covers = |day: &str| {
            let day = Coverage::of_day(day.parse().unwrap(), ZONE);
            open.coverage(ZONE).overlaps(day)
        };
        assert!(!covers("2020-05-31"));
        assert!(covers("2020-06-01"));
        assert!(covers("9999-12-31"));
        let json = serde_json::to_string(&open).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), open);
        for zone in [chrono_tz::Pacific::Kiritimati, chrono_tz::Etc::GMTPlus12] {
            for instant in [OPEN_BEGIN, OPEN_END] {
                let day = Day::at(instant, zone);
                assert!(day.start(zone) <= instant && instant < day.end(zone));
                assert!(Coverage::one_day_from(instant, zone).end > instant);
            }
        }
    }

    #[test]
    fn touching_ends_do_not_overlap() {
        let day: Day = "2020-06-01".parse().unwrap();
        let day = Coverage::of_day(day, ZONE);
        let before = entry("2020-05-31T05:00:00Z", Some("2020-06-01T05:00:00Z"));
        assert!(!before.coverage(ZONE).overlaps(day));
        let reaching = entry("2020-05-30T05:00:00Z", Some("2020-06-01T05:00:01Z"));
        assert!(reaching.coverage(ZONE).overlaps(day));
    }
}
