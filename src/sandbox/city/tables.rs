//! The five published tables: their ids, columns and row identifiers as on the city's portal, the
//! datasets as the settings would define them, and an interface to change a stand-in portal without
//! HTTP.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use super::{Source, ZONE, bluetooth, gridsmart, wavetronix};
use crate::model::{ColumnType, Dataset, KeyPolicy};

/// The rows of a stand-in portal, read and changed directly, with times chosen by the caller.
pub trait Tables {
    /// Adds rows to the table `id`. A row with an existing key changes the columns it contains.
    /// `at` becomes the time the rows were written (UTC).
    fn upsert(&self, id: &str, rows: Vec<Map<String, Json>>, at: DateTime<Utc>);

    /// Removes the rows with these keys from the table `id`.
    fn delete(&self, id: &str, keys: &[String]);

    /// All rows of the table `id`, including the key column.
    fn rows(&self, id: &str) -> Vec<Map<String, Json>>;
}

/// One of the five tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Camera Traffic Counts, `sh59-i6y9`.
    CameraCounts,
    /// Travel times per segment, `v7zg-5jg9`.
    TravelTimes,
    /// Trips between two readers, `x44q-icha`.
    MatchedTrips,
    /// Single reads of a Bluetooth device, `qnpj-zrb9`.
    DeviceReads,
    /// Radar Traffic Counts, `i626-g7ub`.
    RadarCounts,
}

/// The definition of a published table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its four-by-four.
    pub id: &'static str,
    /// Its display name.
    pub name: &'static str,
    /// Field names and types, the row identifier first.
    pub columns: Vec<(&'static str, ColumnType)>,
    /// The field that holds the row key.
    pub row_identifier: &'static str,
}

impl TableSpec {
    /// The type of the column, if the table has it.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnType> {
        let column = self.columns.iter().find(|(field, _)| *field == name);
        column.map(|(_, kind)| kind)
    }
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 5] = [
        Self::CameraCounts,
        Self::TravelTimes,
        Self::MatchedTrips,
        Self::DeviceReads,
        Self::RadarCounts,
    ];

    /// The table in which the source's files of this ext are published, if any.
    #[must_use]
    pub fn of(source: Source, ext: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|table| table.source() == source && table.ext() == ext)
    }

    /// The sensors its rows come from.
    #[must_use]
    pub fn source(self) -> Source {
        match self {
            Self::CameraCounts => Source::Gridsmart,
            Self::TravelTimes | Self::MatchedTrips | Self::DeviceReads => Source::Bluetooth,
            Self::RadarCounts => Source::Wavetronix,
        }
    }

    /// The `id_ext` of its files.
    #[must_use]
    pub fn ext(self) -> &'static str {
        match self {
            Self::CameraCounts => gridsmart::EXT,
            Self::TravelTimes => bluetooth::SUMMARY,
            Self::MatchedTrips => bluetooth::MATCHED,
            Self::DeviceReads => bluetooth::UNMATCHED,
            Self::RadarCounts => wavetronix::EXT,
        }
    }

    /// The `id_ext` of the file whose addresses are numbered before those of this one.
    pub(super) fn companion_ext(self) -> Option<&'static str> {
        match self {
            Self::DeviceReads => Some(bluetooth::MATCHED),
            Self::CameraCounts | Self::TravelTimes | Self::MatchedTrips | Self::RadarCounts => None,
        }
    }

    /// The name of its recipe.
    #[must_use]
    pub fn recipe(self) -> &'static str {
        match self {
            Self::CameraCounts => "gridsmart-agg15",
            Self::TravelTimes => "bluetooth-summary",
            Self::MatchedTrips => "bluetooth-matched",
            Self::DeviceReads => "bluetooth-unmatched",
            Self::RadarCounts => "wavetronix",
        }
    }

    /// The name of its dataset in the settings.
    #[must_use]
    pub fn dataset_name(self) -> &'static str {
        match self {
            Self::CameraCounts => "camera-counts",
            Self::TravelTimes => "bluetooth-summary",
            Self::MatchedTrips => "bluetooth-matched",
            Self::DeviceReads => "bluetooth-unmatched",
            Self::RadarCounts => "radar-counts",
        }
    }

    fn key_column(self) -> &'static str {
        match self {
            Self::RadarCounts => "row_id",
            Self::CameraCounts | Self::TravelTimes | Self::MatchedTrips | Self::DeviceReads => {
                "record_id"
            }
        }
    }

    /// The column whose wall time decides on which day a row is published.
    #[must_use]
    pub fn day_column(self) -> &'static str {
        match self {
            Self::CameraCounts => "read_date",
            Self::TravelTimes => "timestamp",
            Self::MatchedTrips => "start_time",
            Self::DeviceReads => "host_read_time",
            Self::RadarCounts => "curdatetime",
        }
    }

    /// A column outside the key that a corrected file would change.
    pub(super) fn correctable_column(self) -> &'static str {
        match self {
            Self::CameraCounts | Self::RadarCounts => "volume",
            Self::TravelTimes => "average_speed_mph",
            Self::MatchedTrips => "speed_miles_per_hour",
            Self::DeviceReads => "field_device_read_time",
        }
    }

    /// Its definition.
    #[must_use]
    pub fn spec(self) -> TableSpec {
        let (id, name) = match self {
            Self::CameraCounts => ("sh59-i6y9", "Camera Traffic Counts"),
            Self::TravelTimes => (
                "v7zg-5jg9",
                "Bluetooth Travel Sensors - Traffic Match Summary Records",
            ),
            Self::MatchedTrips => (
                "x44q-icha",
                "Bluetooth Travel Sensors - Individual Traffic Match Files",
            ),
            Self::DeviceReads => (
                "qnpj-zrb9",
                "Bluetooth Travel Sensors - Individual Address Files",
            ),
            Self::RadarCounts => ("i626-g7ub", "Radar Traffic Counts"),
        };
        TableSpec {
            id,
            name,
            columns: self.columns(),
            row_identifier: self.key_column(),
        }
    }

    fn columns(self) -> Vec<(&'static str, ColumnType)> {
        let mut columns = vec![(self.key_column(), ColumnType::Text)];
        let (texts, numbers, times) = self.columns_by_type();
        columns.extend(texts.iter().map(|name| (*name, ColumnType::Text)));
        columns.extend(numbers.iter().map(|name| (*name, ColumnType::Number)));
        columns.extend(times.iter().map(|name| (*name, ColumnType::CalendarDate)));
        if self == Self::CameraCounts {
            columns.push(("heavy_vehicle", ColumnType::Checkbox));
        }
        columns
    }

    /// Names of its text, number and time columns.
    fn columns_by_type(
        self,
    ) -> (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    ) {
        match self {
            Self::CameraCounts => (
                &["intersection_name", "direction", "movement"],
                &[
                    "atd_device_id",
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
                &["read_date"],
            ),
            Self::TravelTimes => (
                &[
                    "origin_reader_identifier",
                    "destination_reader_identifier",
                    "origin_roadway",
                    "origin_cross_street",
                    "origin_direction",
                    "destination_roadway",
                    "destination_cross_street",
                    "destination_direction",
                ],
                &[
                    "segment_length_miles",
                    "average_travel_time_seconds",
                    "average_speed_mph",
                    "summary_interval_minutes",
                    "number_samples",
                    "standard_deviation",
                ],
                &["timestamp"],
            ),
            Self::MatchedTrips => (
                &[
                    "device_address",
                    "origin_reader_identifier",
                    "destination_reader_identifier",
                    "match_validity",
                    "filter_identifier",
                    "day_of_week",
                ],
                &["travel_time_seconds", "speed_miles_per_hour"],
                &["start_time", "end_time"],
            ),
            Self::DeviceReads => (
                &["device_address", "reader_identifier"],
                &[],
                &["host_read_time", "field_device_read_time"],
            ),
            Self::RadarCounts => (
                &["intname", "detname", "timebin", "direction"],
                &[
                    "detid",
                    "int_id",
                    "volume",
                    "occupancy",
                    "speed",
                    "month",
                    "day",
                    "year",
                    "hour",
                    "minute",
                    "day_of_week",
                ],
                &["curdatetime"],
            ),
        }
    }

    /// The dataset as the settings would define it.
    ///
    /// # Panics
    /// Never: the city's names and ids are valid.
    #[must_use]
    pub fn dataset(self) -> Dataset {
        let spec = self.spec();
        Dataset {
            name: self
                .dataset_name()
                .parse()
                .expect("the city's names are valid"),
            id: spec.id.parse().expect("the city's ids are valid"),
            recipe: self.recipe().into(),
            source: self.source().code().into(),
            ext: self.ext().into(),
            key_column: spec.row_identifier.into(),
            day_column: self.day_column().into(),
            zone: ZONE,
            keys: KeyPolicy::Accept,
        }
    }
}

/// The five datasets of the city, in its zone.
#[must_use]
pub fn datasets() -> Vec<Dataset> {
    Table::ALL.map(Table::dataset).into()
}
