//! Cameras: `agg15.json` of every intersection, and next to it `counts.json` and `site.json`, which
//! no publisher reads.
//!
//! The quirks of real files are: street names with a leading blank; an intersection without a cross
//! street; names with accents, `&` and blanks in paths; a camera that is not in the inventory
//! (`"device": []`); days without data; approaches that are skipped or unassigned; turns without
//! one of the four letters; `NaN` and null measures; and the hour that is repeated in autumn, with
//! both offsets.

use chrono::{DateTime, Utc};

use super::chance::Chance;
use super::clock::{Stamp, is_repeated, quarters};
use super::text::Text;
use super::{City, GeneratedFile, Quirks, Source, generated, put_header_times, stray};
use crate::model::Day;

/// The `id_ext` of the file that the publisher reads.
pub(super) const EXT: &str = "agg15.json";

const TURNS: [&str; 3] = ["L", "R", "S"];
const APPROACHES: [&str; 4] = ["Eastbound", "Northbound", "Southbound", "Westbound"];
/// Approaches the publisher skips, as JSON.
const SKIPPED: [&str; 6] = [
    "\"northbound\"",
    "\"NORTHBOUND\"",
    "\"Northeastbound\"",
    "\" Northbound\"",
    "\"\"",
    "null",
];
/// Turns without one of the four letters, as JSON.
const ODD_TURNS: [&str; 4] = ["\"T\"", "\"\"", "null", "\"s\""];

const AVENUES: [(&str, &str); 10] = [
    ("Lamar", "LAMAR BLVD"),
    ("Burnet", "BURNET RD"),
    ("Congress", "CONGRESS AVE"),
    ("Guadalupe", "GUADALUPE ST"),
    ("Airport", "AIRPORT BLVD"),
    ("Manchaca", "MANCHACA RD"),
    ("South 1st", "S 1ST ST"),
    ("Pleasant Valley", "PLEASANT VALLEY RD"),
    ("Loop 360", "LOOP 360"),
    ("Brodie", "BRODIE LN"),
];
const CROSSINGS: [(&str, &str); 10] = [
    ("Oltorf", "OLTORF ST"),
    ("Riverside", "RIVERSIDE DR"),
    ("Braker", "BRAKER LN"),
    ("Kramer", "KRAMER LN"),
    ("Anderson", "ANDERSON LN"),
    ("45th", "45TH ST"),
    ("26th", "26TH ST"),
    ("Slaughter", "SLAUGHTER LN"),
    ("William Cannon", "WILLIAM CANNON DR"),
    ("Stassney", "STASSNEY LN"),
];
/// Camera streets and inventory streets of intersections with odd names, as in a real city.
const ODD_ONES: [[&str; 4]; 6] = [
    ["Burnet", "Richcreek", " BURNET RD", " RICHCREEK RD"],
    [
        "Cesar Ch\u{e1}vez",
        "Comal",
        "CESAR CH\u{c1}VEZ ST",
        " COMAL ST",
    ],
    ["Parmer/FM 734", "McNeil", " PARMER LN FM 734", " MCNEIL DR"],
    ["Slaughter", "Escarpment", "SLAUGHTER LN", ""],
    ["Lamar", "Barton Skyway", " LAMAR BLVD", "BARTON SKYWAY"],
    ["Zzyzx", "Qwfp", "", ""],
];

/// A camera at its intersection.
struct Camera {
    /// The two streets as reported by the camera.
    streets: [String; 2],
    /// The two streets as in the inventory; `None` if the camera is not in the inventory.
    inventory: Option<[String; 2]>,
    /// Its index among the cameras, from 0.
    number: u32,
}

impl Camera {
    fn base(&self) -> String {
        self.streets.join("_").replace('/', "&")
    }

    fn address(&self) -> String {
        format!(
            "172.16.{}.{}",
            26 + self.number / 200,
            20 + self.number % 200
        )
    }
}

fn camera(city: &City, number: u32) -> Camera {
    let place = number as usize;
    let odd = ODD_ONES.get(place).filter(|_| city.quirks == Quirks::Real);
    if let Some([first, second, primary, cross]) = odd {
        let known = !(primary.is_empty() && cross.is_empty());
        return Camera {
            streets: [(*first).into(), (*second).into()],
            inventory: known.then(|| [(*primary).into(), (*cross).into()]),
            number,
        };
    }
    let (avenue, long_avenue) = AVENUES[place / CROSSINGS.len() % AVENUES.len()];
    let (crossing, long_crossing) = CROSSINGS[place % CROSSINGS.len()];
    // A larger city has the same avenues and more crossings.
    let numbered = |name: &str| match place / CROSSINGS.len() / AVENUES.len() {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    };
    let blank = if city.quirks == Quirks::Real { " " } else { "" };
    let known = number % 20 != 19 || city.quirks == Quirks::None;
    Camera {
        streets: [avenue.into(), numbered(crossing)],
        inventory: known.then(|| [format!("{blank}{long_avenue}"), numbered(long_crossing)]),
        number,
    }
}

/// The files of all cameras.
pub(super) fn day_files(city: &City, day: Day) -> Vec<GeneratedFile> {
    (0..city.scale.intersections)
        .flat_map(|number| camera_files(city, &camera(city, number), day))
        .collect()
}

fn camera_files(city: &City, camera: &Camera, day: Day) -> Vec<GeneratedFile> {
    let base = camera.base();
    let mut chance = city.chance(&format!("gs {base}"), day);
    let mut files = vec![aggregate(city, camera, day, &mut chance)];
    if city.quirks == Quirks::Real {
        let counts = "{\"header\": {\"data_type\": \"gridsmart\"}, \"counts\": [], \"site\": {}, \"device\": []}";
        files.push(stray(Source::Gridsmart, &base, "counts.json", day, counts));
    }
    if city.odd(&mut chance, 500) {
        let site = "{\"header\": {\"data_type\": \"gs_site\"}, \"site\": {}}";
        files.push(stray(Source::Gridsmart, &base, "site.json", day, site));
    }
    files
}

fn aggregate(city: &City, camera: &Camera, day: Day, chance: &mut Chance) -> GeneratedFile {
    let base = camera.base();
    let rows = city.scale.camera_rows;
    let mut text = Text::with_room(4_000 + 210 * rows as usize);
    text.raw("{\"header\": {\"data_type\": \"gridsmart\", \"zip_name\": ")
        .string(&format!("{day}_{base}.zip"))
        .raw(", ");
    put_header_times(&mut text, Source::Gridsmart, day);
    text.raw(", \"version\": 8, \"agg_interval_sec\": 900}, \"data\": [");
    if !city.odd(chance, 150) {
        put_rows(&mut text, city, day, chance);
    }
    text.raw("], \"site\": ");
    put_site(&mut text, camera, day);
    text.raw(", \"device\": ");
    put_device(&mut text, camera);
    text.raw("}");
    generated(Source::Gridsmart, &base, EXT, day, text)
}

/// A movement of vehicles, and its weight: how often it is seen, in hundredths.
#[derive(Clone, Copy)]
struct Movement {
    approach: &'static str,
    turn: &'static str,
    heavy: bool,
    weight: u32,
}

fn movements(quirks: Quirks) -> Vec<Movement> {
    let mut movements = Vec::new();
    for approach in APPROACHES {
        for turn in TURNS {
            for (heavy, weight) in [(false, 100), (true, 80)] {
                movements.push(Movement {
                    approach,
                    turn,
                    heavy,
                    weight,
                });
            }
        }
        movements.push(Movement {
            approach,
            turn: "U",
            heavy: false,
            weight: 20,
        });
    }
    if quirks == Quirks::Real {
        for heavy in [false, true] {
            movements.push(Movement {
                approach: "Unassigned",
                turn: "S",
                heavy,
                weight: 25,
            });
        }
    }
    movements
}

/// Whether the movement is seen in every quarter of the repeated hour, so that keys are repeated.
fn always_seen(movement: Movement) -> bool {
    movement.approach == "Northbound" && movement.turn == "S" && !movement.heavy
}

fn put_rows(text: &mut Text, city: &City, day: Day, chance: &mut Chance) {
    let movements = movements(city.quirks);
    let weights: u32 = movements.iter().map(|movement| movement.weight).sum();
    let rate = u64::from(city.scale.camera_rows) * 10_000 / (96 * u64::from(weights) / 100);
    let mut between = "";
    for quarter in quarters(day, city.quirks) {
        for movement in &movements {
            let rate = rate * u64::from(movement.weight) / 100;
            let seen = chance.happens(u32::try_from(rate).unwrap_or(u32::MAX));
            if seen || (is_repeated(quarter) && always_seen(*movement)) {
                text.raw(between);
                put_row(text, city, *movement, quarter, chance);
                between = ", ";
            }
        }
    }
}

fn put_row(
    text: &mut Text,
    city: &City,
    movement: Movement,
    quarter: DateTime<Utc>,
    chance: &mut Chance,
) {
    text.raw("{\"timestamp\": ").time(Stamp::of(quarter));
    text.raw(", \"zone_approach\": ");
    if city.odd(chance, 40) {
        text.raw(chance.choose(&SKIPPED));
    } else {
        text.string(movement.approach);
    }
    text.raw(", \"turn\": ");
    if city.odd(chance, 40) && !is_repeated(quarter) {
        text.raw(chance.choose(&ODD_TURNS));
    } else {
        text.string(movement.turn);
    }
    text.raw(", \"heavy_vehicle\": ").int(movement.heavy.into());
    put_measures(text, city, chance);
    text.raw("}");
}

fn put_measures(text: &mut Text, city: &City, chance: &mut Chance) {
    let volume = 1 + chance.between(0, 6) * chance.between(0, 4);
    let speed = chance.between(3_000, 62_000);
    let odd = city.odd(chance, 20);
    let is_nan = chance.happens(5_000);
    text.raw(", \"volume\": ").int(volume);
    text.raw(", \"speed_avg\": ");
    match (odd, is_nan) {
        (true, true) => text.raw("NaN"),
        (true, false) => text.raw("null"),
        (false, _) => text.thousandths(speed),
    };
    let mut spread = |upto| {
        if volume == 1 {
            0
        } else {
            chance.between(0, upto)
        }
    };
    let (speed_spread, zone_spread) = (spread(24_000), spread(9_000));
    text.raw(", \"speed_std\": ").thousandths(speed_spread);
    text.raw(", \"seconds_in_zone_avg\": ")
        .thousandths(chance.between(100, 20_000));
    text.raw(", \"seconds_in_zone_std\": ")
        .thousandths(zone_spread);
}

fn put_site(text: &mut Text, camera: &Camera, day: Day) {
    let base = camera.base();
    let mut chance = Chance::new(0, &base);
    text.raw("{\"header\": {\"data_type\": \"gs_site\", \"target_filename\": ")
        .string(&format!("{base}_gs_{day}_site.json"))
        .raw(", \"collection_date\": ")
        .time(Stamp::of(day.start(super::ZONE)))
        .raw(", \"device_net_addr\": ")
        .string(&camera.address())
        .raw("}, \"site\": {\"CameraDevices\": [{\"Fisheye\": {\"CameraMasks\": {\"ZoneMasks\": [");
    for approach in ["Northbound", "Southbound", "Eastbound", "Westbound"] {
        text.raw("{\"Vehicle\": {\"ApproachType\": ")
            .string(approach)
            .raw(", \"TurnType\": \"Straight\", \"IncludeInData\": true, \"Name\": \"\", \"Id\": ")
            .string(&chance.hex())
            .raw("}}, ");
    }
    text.raw("{\"Pedestrian\": {\"Name\": \"crosswalk\"}}]}, \"IsConfigured\": true, \"MACAddress\": \"00:30:53:de:86:ad\", \"Name\": ")
        .string(&camera.streets.join(" & "))
        .raw("}}], \"Id\": ")
        .string(&chance.hex())
        .raw(", \"Location\": {\"City\": \"Austin\", \"Latitude\": 30.35, \"Longitude\": -97.73, \"State\": \"TX\", \"Street1\": ")
        .string(&camera.streets[0])
        .raw(", \"Street2\": ")
        .string(&camera.streets[1])
        .raw("}}, \"datetime\": {\"DateTime\": \"6/2/2019 2:31:55 AM\", \"TimeZoneId\": \"(UTC-06:00) Central Time (US & Canada)\", \"HostTimeUTC\": \"06/02/2019 07:31:55 AM\"}}");
}

fn put_device(text: &mut Text, camera: &Camera) {
    let Some([primary, cross]) = &camera.inventory else {
        text.raw("[]");
        return;
    };
    let number = i64::from(camera.number);
    text.raw("{\"device_type\": \"GRIDSMART\", \"atd_device_id\": ")
        .int(6_548 + number)
        .raw(", \"device_ip\": ")
        .string(&camera.address())
        .raw(", \"device_status\": \"OK\", \"ip_comm_status\": \"ONLINE\", \"atd_location_id\": ")
        .string(&format!("LOC16-{:06}", 3_808 + 7 * number))
        .raw(", \"coa_intersection_id\": ")
        .int(5_151_095 + 3 * number)
        .raw(", \"lat\": \"30.3070369\", \"lon\": \"-97.7175430\", \"primary_st\": ")
        .string(primary)
        .raw(", \"primary_st_segment_id\": \"2016583\", \"cross_st\": ")
        .string(cross)
        .raw(", \"cross_st_segment_id\": \"2017276\", \"reversed\": ")
        .raw(if number % 3 == 1 { "true" } else { "false" })
        .raw("}");
}
