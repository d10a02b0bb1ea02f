//! Radar: one `json` file per day, and sometimes a `unit_data.json` that no publisher reads.
//!
//! The quirks of real files are: seconds off the quarter hour; readings in the minutes 53 to 59,
//! whose time bin becomes `:60`; detector names without an underscore or with nothing before it;
//! null measures; two rows of each detector around 03:30; and the hour that is repeated in autumn,
//! with only the wall time known.

use chrono::{DateTime, Duration, Timelike, Utc};

use super::bluetooth::BASE;
use super::chance::Chance;
use super::clock::{Stamp, is_repeated, quarters};
use super::text::Text;
use super::{City, GeneratedFile, Quirks, Source, generated, put_header_times, stray};
use crate::model::Day;

/// The `id_ext` of the file that the publisher reads.
pub(super) const EXT: &str = "json";

const CROSSINGS: [&str; 9] = [
    "LAMARMANCHACA",
    "KINNEYLAMAR",
    "BURNETRUTLAND",
    "LAMARZENNIA",
    "LOOP360CEDAR",
    "CONGRESSJOHANNA",
    "LAMARSHOALCREEK",
    "ROBERTELEE",
    "BURNETPALMWAY",
];
/// The detectors of one crossing.
const DETECTORS: [&str; 4] = ["NB_in", "NB_out", "SB_in", "SB"];
/// The same, including a name with nothing before its underscore.
const ODD_DETECTORS: [&str; 4] = ["NB_in", "_out", "SB_in", "SB"];
/// How far readings are off their quarter hour, in seconds. The large ones lead to the bin `:60`.
const OFF: [i64; 8] = [0, 1, 36, 59, -1, -60, -240, 20];

/// A detector at its crossing.
#[derive(Clone, Copy)]
struct Detector {
    number: u32,
    crossing: u32,
    name: &'static str,
}

fn detector(city: &City, number: u32) -> Detector {
    let crossing = number / 4;
    let odd = crossing % 4 == 1 && city.quirks == Quirks::Real;
    let names = if odd { &ODD_DETECTORS } else { &DETECTORS };
    Detector {
        number,
        crossing,
        name: names[number as usize % 4],
    }
}

impl Detector {
    fn crossing_name(self) -> String {
        let place = self.crossing as usize;
        let name = CROSSINGS[place % CROSSINGS.len()];
        match place / CROSSINGS.len() {
            0 => name.into(),
            again => format!("{name}{again}"),
        }
    }

    fn id(self) -> String {
        Chance::new(0, &self.crossing_name()).hex()
    }
}

/// The file of the day, and the files next to it.
pub(super) fn day_files(city: &City, day: Day) -> Vec<GeneratedFile> {
    let mut chance = city.chance("wt", day);
    let mut files = vec![readings(city, day, &mut chance)];
    if city.odd(&mut city.chance("unit data", day), 1_000) {
        files.push(stray(
            Source::Wavetronix,
            BASE,
            "unit_data.json",
            day,
            "{\"header\": {}}",
        ));
    }
    files
}

fn readings(city: &City, day: Day, chance: &mut Chance) -> GeneratedFile {
    let mut text = Text::with_room(4_000 + 280 * city.scale.radar_rows as usize);
    text.raw("{\"header\": {\"data_type\": \"wavetronix\", \"origin_filename\": ")
        .string(&format!("{BASE}_wt_{day}.csv"))
        .raw(", \"target_filename\": ")
        .string(&format!("{BASE}_wt_{day}.json"))
        .raw(", ");
    put_header_times(&mut text, Source::Wavetronix, day);
    text.raw("}, \"data\": [");
    put_rows(&mut text, city, day, chance);
    text.raw("], \"devices\": [");
    for number in (0..city.scale.detectors).step_by(4) {
        text.raw(if number == 0 { "" } else { ", " });
        put_device(&mut text, detector(city, number));
    }
    text.raw("]}");
    generated(Source::Wavetronix, BASE, EXT, day, text)
}

fn put_rows(text: &mut Text, city: &City, day: Day, chance: &mut Chance) {
    let detectors: Vec<_> = (0..city.scale.detectors)
        .map(|number| detector(city, number))
        .collect();
    let mut totals = vec![0; detectors.len()];
    let rate = city.scale.radar_rows * 10_000 / (96 * city.scale.detectors.max(1));
    let mut between = "";
    for quarter in quarters(day, city.quirks) {
        for (detector, total) in detectors.iter().zip(&mut totals) {
            let seen = chance.happens(rate);
            for at in readings_at(city, *detector, quarter, seen) {
                text.raw(between);
                put_row(text, city, *detector, at, total, chance);
                between = ", ";
            }
        }
    }
}

/// The times at which the detector is read in this quarter hour: usually once if at all, twice
/// around 03:30, and always in the repeated hour, so that keys are repeated.
fn readings_at(
    city: &City,
    detector: Detector,
    quarter: DateTime<Utc>,
    seen: bool,
) -> Vec<DateTime<Utc>> {
    if city.quirks == Quirks::None {
        return if seen { vec![quarter] } else { Vec::new() };
    }
    let wall = Stamp::of(quarter).wall;
    let mut fixed = Chance::new(city.seed, &format!("{} {wall}", detector.crossing));
    let is_midnight = wall.hour() == 0 && wall.minute() == 0;
    let at = match fixed.choose(&OFF) {
        off if off < 0 && (is_midnight || is_repeated(quarter)) => quarter,
        off => quarter + Duration::seconds(off),
    };
    if wall.hour() == 3 && wall.minute() == 30 {
        let again = at + Duration::seconds(fixed.between(30, 61));
        return vec![at, again];
    }
    let forced = is_repeated(quarter) && detector.number == 0;
    if seen || forced { vec![at] } else { Vec::new() }
}

fn put_row(
    text: &mut Text,
    city: &City,
    detector: Detector,
    at: DateTime<Utc>,
    total: &mut i64,
    chance: &mut Chance,
) {
    let volume = chance.between(0, 90);
    *total += volume;
    let is_null = city.odd(chance, 30);
    let put = |text: &mut Text, name: &str, number: i64| {
        text.raw(name);
        if is_null {
            text.raw("null");
        } else {
            text.int(number);
        }
    };
    text.raw("{\"detID\": ")
        .int(i64::from(detector.number) + 1)
        .raw(", \"intID\": ")
        .int(i64::from(detector.crossing) + 1)
        .raw(", \"curDateTime\": ")
        .time(Stamp::of_wall(Stamp::of(at).wall))
        .raw(", \"intName\": ")
        .string(&detector.crossing_name())
        .raw(", \"detName\": ")
        .string(detector.name);
    put(text, ", \"volume\": ", volume);
    put(text, ", \"occupancy\": ", chance.between(0, 31));
    put(text, ", \"speed\": ", chance.between(0, 66));
    text.raw(", \"status\": \"Working\", \"uploadSuccess\": 100, \"detCountComparison\": ")
        .int(chance.between(0, 5))
        .raw(", \"dailyCumulative\": ")
        .int(*total)
        .raw(", \"device_id\": \"")
        .raw(&detector.id())
        .raw("\"}");
}

fn put_device(text: &mut Text, detector: Detector) {
    let number = i64::from(detector.crossing);
    text.raw("{\"device_type\": \"RADAR\", \"atd_device_id\": ")
        .int(151 + number)
        .raw(", \"device_name\": null, \"device_status\": \"TURNED_ON\", \"device_ip\": ")
        .string(&format!("10.1.1.{}", number + 1))
        .raw(", \"ip_comm_status\": \"ONLINE\", \"atd_location_id\": ")
        .string(&format!("LOC17-{:06}", 11_581 + number))
        .raw(", \"coa_intersection_id\": ")
        .int(5_152_001 + number)
        .raw(", \"lat\": \"30.377142\", \"lon\": \"-97.877502\", \"primary_st\": ")
        .string(&format!("{} BLVD", detector.crossing_name()))
        .raw(", \"primary_st_segment_id\": ")
        .int(2_023_801 + number)
        .raw(", \"cross_st\": \"CROSS RD\", \"cross_st_segment_id\": ")
        .int(2_023_901 + number)
        .raw(", \"kits_id\": ")
        .int(number + 1)
        .raw(", \"device_id\": \"")
        .raw(&detector.id())
        .raw("\"}");
}
