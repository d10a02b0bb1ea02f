//! Bluetooth readers: `matched.json`, `traf_match_summary.json` and `unmatched.json` of a day.
//!
//! The quirks of real files are: numbers as JSON strings, and as JSON numbers before 2019; the same
//! addresses in `matched` and `unmatched`, so that their numbering matters; occasional null
//! addresses; trips that begin, and some that end, on the evening before; readers whose clocks are
//! hours off; occasional repeated lines; and the hour that is repeated in autumn, with only the
//! wall time known, so that readings share keys.

use chrono::{DateTime, Datelike, Duration, Utc};

use super::chance::Chance;
use super::clock::{Stamp, is_repeated, is_second_pass, quarters};
use super::text::Text;
use super::{City, GeneratedFile, Quirks, Source, ZONE, generated, put_header_times};
use crate::model::Day;

/// The file of trips between two readers.
pub(super) const MATCHED: &str = "matched.json";
/// The file of travel times per segment and quarter hour.
pub(super) const SUMMARY: &str = "traf_match_summary.json";
/// The file of single reads.
pub(super) const UNMATCHED: &str = "unmatched.json";
/// First half of the identity of all Bluetooth and radar files.
pub(super) const BASE: &str = "Austin";

/// From this year on, numbers are JSON strings.
const NUMBERS_AS_STRINGS_SINCE: i32 = 2019;

const ROADS: [&str; 8] = [
    "51st",
    "lamar",
    "burnet",
    "congress",
    "anderson_mill",
    "riverside",
    "slaughter",
    "airport",
];
const CROSSES: [&str; 8] = [
    "manor",
    "mlk",
    "us183",
    "springdale",
    "6th",
    "bethany",
    "oltorf",
    "barton_skyway",
];
const DIRECTIONS: [&str; 4] = ["Northbound", "Southbound", "Eastbound", "Westbound"];

/// A reader, and the parts of a row that describe it, as JSON.
struct Reader {
    name: String,
    road: &'static str,
    cross: &'static str,
    ip: String,
    id: String,
    number: u32,
}

fn readers(city: &City) -> Vec<Reader> {
    (0..city.scale.readers.max(2))
        .map(|number| reader(city, number))
        .collect()
}

fn reader(city: &City, number: u32) -> Reader {
    let place = number as usize;
    let (mut road, mut cross) = (ROADS[place % 8], CROSSES[(place / 8 + place) % 8]);
    if number == 3 && city.quirks == Quirks::Real {
        (road, cross) = ("pe\u{f1}a", "blanca");
    }
    let again = if place < 64 {
        String::new()
    } else {
        format!("_{}", place / 64)
    };
    let name = format!("{road}_{cross}{again}");
    Reader {
        road,
        cross,
        ip: format!("172.16.{}.{}", 29 + number / 200, 10 + number % 200),
        id: Chance::new(city.seed, &name).hex(),
        name,
        number,
    }
}

/// A phone's address as in the lake: Base64 of its last five bytes in hex. Empty means null.
type Address = String;

fn addresses(city: &City, day: Day) -> Vec<Address> {
    let reads = city.scale.unmatched_rows + city.scale.matched_rows;
    let mut chance = city.chance("addresses", day);
    (0..reads / 3 + 2).map(|_| address(&mut chance)).collect()
}

fn address(chance: &mut Chance) -> Address {
    let bytes = chance.next().to_be_bytes();
    let pairs = bytes[..5].iter().map(|byte| format!("{byte:02X}"));
    base64(pairs.collect::<Vec<_>>().join(":").as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().map_or(0, usize::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (digit, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let padding = digit > group.len();
            text.push(if padding {
                '='
            } else {
                DIGITS[bits >> shift & 63].into()
            });
        }
    }
    text
}

/// The data from which a day's rows are generated.
struct Sight<'a> {
    city: &'a City,
    day: Day,
    readers: Vec<Reader>,
    addresses: Vec<Address>,
    numbers_as_strings: bool,
}

/// The three files.
pub(super) fn day_files(city: &City, day: Day) -> Vec<GeneratedFile> {
    let sight = Sight {
        city,
        day,
        readers: readers(city),
        addresses: addresses(city, day),
        numbers_as_strings: day.date().year() >= NUMBERS_AS_STRINGS_SINCE,
    };
    vec![
        sight.file(MATCHED, city.scale.matched_rows, Sight::put_trips),
        sight.file(SUMMARY, city.scale.summary_rows, Sight::put_segments),
        sight.file(UNMATCHED, city.scale.unmatched_rows, Sight::put_reads),
    ]
}

impl Sight<'_> {
    fn file(
        &self,
        ext: &str,
        rows: u32,
        put_rows: fn(&Self, &mut Text, &mut Chance),
    ) -> GeneratedFile {
        let kind = ext.trim_end_matches(".json");
        let mut chance = self.city.chance(ext, self.day);
        let mut text = Text::with_room(20_000 + 500 * rows as usize);
        text.raw("{\"header\": {\"data_type\": \"bluetooth\", \"file_type\": ")
            .string(kind)
            .raw(", \"origin_filename\": ")
            .string(&format!("{BASE}_bt_{}_{kind}.txt", self.day))
            .raw(", \"target_filename\": ")
            .string(&format!("{BASE}_bt_{}_{kind}.json", self.day))
            .raw(", ");
        put_header_times(&mut text, Source::Bluetooth, self.day);
        text.raw("}, \"data\": [");
        put_rows(self, &mut text, &mut chance);
        text.raw("], \"devices\": [");
        for (place, reader) in self.readers.iter().enumerate() {
            text.raw(if place == 0 { "" } else { ", " });
            put_device(&mut text, reader);
        }
        text.raw("]}");
        generated(Source::Bluetooth, BASE, ext, self.day, text)
    }

    /// Instants spread over the day, in order. The second pass of a repeated hour repeats some wall
    /// times of the first.
    fn moments(&self, rows: u32, chance: &mut Chance) -> Vec<(DateTime<Utc>, u64)> {
        let (start, end) = (self.day.start(ZONE), self.day.end(ZONE));
        let span = (end - start).num_seconds();
        let step = |row: u32| span * i64::from(row) / i64::from(rows.max(1));
        let mut moments: Vec<_> = (0..rows)
            .map(|row| {
                let second = chance.between(step(row), step(row + 1).max(step(row) + 1));
                (start + Duration::seconds(second), chance.next())
            })
            .filter(|(at, _)| self.city.quirks == Quirks::Real || !is_second_pass(*at))
            .collect();
        if self.city.quirks == Quirks::Real {
            put_echoes(&mut moments);
        }
        moments
    }

    fn put_address(&self, text: &mut Text, chance: &mut Chance) {
        let address = chance.pick(&self.addresses);
        if self.city.odd(chance, 40) {
            text.raw("null");
        } else {
            text.raw("\"").raw(address).raw("\"");
        }
    }

    fn put_reads(&self, text: &mut Text, chance: &mut Chance) {
        let mut between = "";
        for (at, seen) in self.moments(self.city.scale.unmatched_rows, chance) {
            let twice = self.city.odd(chance, 15);
            for _ in 0..=u8::from(twice) {
                text.raw(between);
                self.put_read(text, at, &mut Chance::new(seen, "read"));
                between = ", ";
            }
        }
    }

    fn put_read(&self, text: &mut Text, at: DateTime<Utc>, chance: &mut Chance) {
        let wall = Stamp::of(at).wall;
        let reader = chance.pick(&self.readers);
        let is_off = self.city.odd(chance, 200);
        let drift = if is_off {
            Duration::minutes(-chance.between(60, 480))
        } else {
            Duration::seconds(chance.between(-4, 13))
        };
        text.raw("{\"host_timestamp\": ")
            .time(Stamp::of_wall(wall))
            .raw(", \"ip_address\": \"")
            .raw(&reader.ip)
            .raw("\", \"field_timestamp\": ")
            .time(Stamp::of_wall(wall + drift))
            .raw(", \"reader_id\": ")
            .string(&reader.name)
            .raw(", \"dev_addr\": ");
        self.put_address(text, chance);
        text.raw(", \"device_id\": \"").raw(&reader.id).raw("\"}");
    }

    /// Trips in the order they began. Those that began on the evening before come first.
    fn put_trips(&self, text: &mut Text, chance: &mut Chance) {
        let mut between = "";
        for (at, seen) in self.trip_starts(chance) {
            text.raw(between);
            self.put_trip(text, at, &mut Chance::new(seen, "trip"));
            between = ", ";
        }
    }

    fn trip_starts(&self, chance: &mut Chance) -> Vec<(DateTime<Utc>, u64)> {
        let rows = self.city.scale.matched_rows;
        let before = if self.city.quirks == Quirks::Real {
            rows.div_ceil(20)
        } else {
            0
        };
        let midnight = self.day.start(ZONE);
        let mut starts: Vec<_> = (0..before)
            .map(|_| {
                (
                    midnight - Duration::seconds(chance.between(20, 1_500)),
                    chance.next(),
                )
            })
            .collect();
        starts.sort_unstable();
        let last = self.day.end(ZONE) - Duration::minutes(27);
        starts.extend(
            self.moments(rows - before, chance)
                .into_iter()
                .filter(|(at, _)| *at < last),
        );
        starts
    }

    fn put_trip(&self, text: &mut Text, start: DateTime<Utc>, chance: &mut Chance) {
        let wall = Stamp::of(start).wall;
        let seconds = chance.between(40, 1_500);
        let (origin, destination) = self.segment(chance.below(4_096));
        text.raw("{\"dev_addr\": ");
        self.put_address(text, chance);
        text.raw(", \"origin_reader_id\": ")
            .string(&origin.name)
            .raw(", \"dest_reader_id\": ")
            .string(&destination.name)
            .raw(", \"start_time\": ")
            .time(Stamp::of_wall(wall))
            .raw(", \"end_time\": ")
            .time(Stamp::of_wall(wall + Duration::seconds(seconds)));
        self.put_number(text, ", \"travel_time_secs\": ", seconds);
        self.put_number(text, ", \"speed\": ", 1 + 6_000 / seconds);
        let valid = if chance.happens(7_000) {
            "valid"
        } else {
            "invalid"
        };
        text.raw(", \"match_validity\": ").string(valid);
        self.put_number(text, ", \"filter_id\": ", 125);
        put_ids(text, origin, destination);
    }

    /// The segment with this number: two different readers.
    fn segment(&self, number: u32) -> (&Reader, &Reader) {
        let count = self.readers.len();
        let origin = number as usize % count;
        let hop = 1 + (number as usize / count) % (count - 1);
        (&self.readers[origin], &self.readers[(origin + hop) % count])
    }

    fn segments(&self) -> u32 {
        let readers = u32::try_from(self.readers.len()).unwrap_or(2);
        (2 * readers).min(readers * (readers - 1))
    }

    fn put_segments(&self, text: &mut Text, chance: &mut Chance) {
        let segments = self.segments();
        let cells = u64::from(96 * segments);
        let rate = u64::from(self.city.scale.summary_rows) * 10_000 / cells;
        // There are more rows than cells, so a segment is measured in several lengths.
        let lengths = u32::try_from(rate / 10_000 + 1).unwrap_or(1);
        let rate = u32::try_from(rate / u64::from(lengths)).unwrap_or(10_000);
        let mut between = "";
        for quarter in quarters(self.day, self.city.quirks) {
            for number in 0..segments * lengths {
                let forced = number == 0 && is_repeated(quarter);
                if chance.happens(rate) || forced {
                    text.raw(between);
                    self.put_segment(text, quarter, number, chance);
                    between = ", ";
                }
            }
        }
    }

    fn put_segment(&self, text: &mut Text, at: DateTime<Utc>, number: u32, chance: &mut Chance) {
        let (origin, destination) = self.segment(number % self.segments());
        let mut fixed = Chance::new(u64::from(number), "segment");
        text.raw("{\"origin_reader_id\": ")
            .string(&origin.name)
            .raw(", \"dest_reader_id\": ")
            .string(&destination.name)
            .raw(", \"origin_road\": ")
            .string(origin.road)
            .raw(", \"origin_cross_st\": ")
            .string(origin.cross)
            .raw(", \"origin_dir\": ")
            .string(fixed.choose(&DIRECTIONS))
            .raw(", \"dest_road\": ")
            .string(destination.road)
            .raw(", \"dest_cross_st\": ")
            .string(destination.cross)
            .raw(", \"dest_dir\": ")
            .string(fixed.choose(&DIRECTIONS));
        let length = 200 + i64::from(number) * 37 % 3_000;
        self.put_fraction(text, ", \"seg_length\": ", length);
        text.raw(", \"timestamp\": ")
            .time(Stamp::of_wall(Stamp::of(at).wall));
        self.put_travel(text, length, chance);
        put_ids(text, origin, destination);
    }

    fn put_travel(&self, text: &mut Text, length: i64, chance: &mut Chance) {
        let samples = chance.between(0, 8);
        let speed = chance.between(4, 60);
        let nothing = samples == 0;
        let time = if nothing {
            -1
        } else {
            length * 18 / (5 * speed)
        };
        self.put_number(text, ", \"avg_travel_time\": ", time);
        self.put_number(text, ", \"avg_speed\": ", if nothing { -1 } else { speed });
        self.put_number(text, ", \"interval\": ", 15);
        self.put_number(text, ", \"samples\": ", samples);
        let name = ", \"std_dev\": ";
        match samples {
            0 => self.put_whole_or_float(text, name, -1),
            1 => self.put_whole_or_float(text, name, 0),
            _ => self.put_fraction(text, name, chance.between(1, 1_500) * 10),
        }
    }

    fn put_number(&self, text: &mut Text, name: &str, number: i64) {
        self.quoted(text, name, |text| {
            text.int(number);
        });
    }

    fn put_fraction(&self, text: &mut Text, name: &str, thousandths: i64) {
        self.quoted(text, name, |text| {
            text.thousandths(thousandths);
        });
    }

    /// A whole number in a column of floats: `"0"` as a string, `0.0` as a number.
    fn put_whole_or_float(&self, text: &mut Text, name: &str, number: i64) {
        if self.numbers_as_strings {
            self.put_number(text, name, number);
        } else {
            self.put_fraction(text, name, number * 1_000);
        }
    }

    fn quoted(&self, text: &mut Text, name: &str, put: impl FnOnce(&mut Text)) {
        let quote = if self.numbers_as_strings { "\"" } else { "" };
        text.raw(name).raw(quote);
        put(text);
        text.raw(quote);
    }
}

/// Repeats every tenth instant of the first pass of a repeated hour in the second.
fn put_echoes(moments: &mut Vec<(DateTime<Utc>, u64)>) {
    let first_pass: Vec<_> = moments
        .iter()
        .filter(|(at, _)| is_repeated(*at) && !is_second_pass(*at))
        .copied()
        .collect();
    for (at, seen) in first_pass.iter().step_by(10) {
        let later = *at + Duration::hours(1);
        let place = moments.partition_point(|(other, _)| *other <= later);
        moments.insert(place, (later, *seen));
    }
}

fn put_ids(text: &mut Text, origin: &Reader, destination: &Reader) {
    text.raw(", \"origin_device_id\": \"")
        .raw(&origin.id)
        .raw("\", \"dest_device_id\": \"")
        .raw(&destination.id)
        .raw("\"}");
}

fn put_device(text: &mut Text, reader: &Reader) {
    let number = i64::from(reader.number);
    text.raw("{\"device_type\": \"BLUETOOTH\", \"atd_device_id\": ")
        .int(10 + number)
        .raw(", \"device_name\": ")
        .string(&reader.name)
        .raw(", \"device_status\": \"TURNED_ON\", \"device_ip\": ")
        .string(&reader.ip)
        .raw(", \"ip_comm_status\": \"ONLINE\", \"atd_location_id\": ")
        .string(&format!("LOC16-{:06}", 241 + 11 * number))
        .raw(", \"coa_intersection_id\": ")
        .int(5_157_453 + number)
        .raw(", \"lat\": \"30.2111983\", \"lon\": \"-97.8494667\", \"primary_st\": ")
        .string(&format!(" {} ST", reader.road.to_uppercase()))
        .raw(", \"primary_st_segment_id\": \"2010006\", \"cross_st\": ")
        .string(&format!(" {} ST", reader.cross.to_uppercase()))
        .raw(", \"cross_st_segment_id\": \"2020006\", \"device_id\": \"")
        .raw(&reader.id)
        .raw("\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_base64_of_five_bytes_in_hex() {
        assert_eq!(base64(b"E4:06:E9:4E:18"), "RTQ6MDY6RTk6NEU6MTg=");
    }
}
