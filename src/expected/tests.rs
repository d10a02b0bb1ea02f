//! Cases that the golden vectors do not cover: unusual fields, and failures of rows and files.

use super::*;

/// A row, or the reason why there is none, by its ordinal; and the totals of the file.
struct Derived {
    rows: Vec<(u32, String, Vec<Value>)>,
    doubts: Vec<(u32, String)>,
    outcome: FileOutcome,
}

fn derive_with(
    name: &str,
    json: &str,
    companion: Option<&str>,
    keys: KeyScheme,
    counter: Counter,
) -> Result<Derived, String> {
    let (path, other) = (LakePath("file".into()), LakePath("other".into()));
    let file = FileText {
        path: &path,
        bytes: json.as_bytes(),
        companion: companion.map(|json| (&other, json.as_bytes())),
    };
    let (mut rows, mut doubts) = (Vec::new(), Vec::new());
    let outcome = recipe(name)
        .unwrap()
        .derive(&file, Variant { keys, counter }, &mut |line| match line {
            Line::Row(row) => rows.push((row.ordinal, row.key.to_string(), row.values.to_vec())),
            Line::Unpublishable(row) => doubts.push((row.ordinal, row.why)),
        })
        .map_err(|error| error.to_string())?;
    assert_eq!(
        (outcome.rows, outcome.unpublishable),
        (rows.len() as u64, doubts.len() as u64)
    );
    Ok(Derived {
        rows,
        doubts,
        outcome,
    })
}

fn derive(name: &str, json: &str) -> Result<Derived, String> {
    derive_with(name, json, None, KeyScheme::Row, Counter::Shared)
}

/// The error of a file that cannot be derived.
fn error(name: &str, json: &str) -> String {
    derive(name, json).map(|_| ()).unwrap_err()
}

/// The published texts of one column.
fn column(derived: &Derived, recipe: &str, name: &str) -> Vec<String> {
    let facts = super::recipe(recipe).unwrap().facts();
    let at = facts
        .columns
        .iter()
        .position(|column| *column == name)
        .unwrap();
    let text = |values: &[Value]| values[at].text().unwrap().into_owned();
    derived
        .rows
        .iter()
        .map(|(_, _, values)| text(values))
        .collect()
}

const GS: &str = "gridsmart-agg15";
const WT: &str = "wavetronix";
const SUMMARY: &str = "bluetooth-summary";
const MATCHED: &str = "bluetooth-matched";
const UNMATCHED: &str = "bluetooth-unmatched";

const DEVICE: &str = r#"{"atd_device_id": 1, "primary_st": " A ST", "cross_st": "B ST\u3000"}"#;

fn camera_row(more: &str) -> String {
    format!(
        r#"{{"timestamp": "2019-06-05 00:00:00-05:00", "zone_approach": "Eastbound", "turn": "L",
        "heavy_vehicle": 0, "volume": 2, "speed_avg": 11.0, "speed_std": 5.657,
        "seconds_in_zone_avg": 8.25, "seconds_in_zone_std": 9.829{more}}}"#
    )
}

fn camera_file(device: &str, rows: &[String]) -> String {
    format!(r#"{{"data": [{}], "device": {device}}}"#, rows.join(", "))
}

#[test]
fn every_recipe_has_its_own_name_and_known_columns() {
    let mut names: Vec<&str> = recipes().iter().map(|recipe| recipe.facts().name).collect();
    names.sort_unstable();
    assert_eq!(names, [MATCHED, SUMMARY, UNMATCHED, GS, WT]);
    for recipe in recipes() {
        let facts = recipe.facts();
        assert!(facts.columns.contains(&facts.day_column), "{}", facts.name);
        assert!(!facts.columns.contains(&facts.key_column), "{}", facts.name);
        assert!(
            facts
                .identity
                .iter()
                .all(|column| facts.columns.contains(column))
        );
        assert_eq!(facts.key_schemes[0], KeyScheme::Row);
    }
    assert!(recipe("gridsmart-agg60").is_none());
}

#[test]
fn a_published_key_is_reproduced() {
    let device =
        r#"{"atd_device_id": 1, "primary_st": "ANDERSON LN", "cross_st": " SHOAL CREEK BLVD"}"#;
    let row =
        camera_row(r#", "timestamp": "2023-05-20 22:00:00-05:00", "zone_approach": "Southbound""#);
    let derived = derive(GS, &camera_file(device, &[row])).unwrap();
    assert_eq!(derived.rows[0].1, "5e7c8b1f9ea3ddd27f0637d430adf042");
}

#[test]
fn members_are_found_in_any_order_and_spelling() {
    let row = camera_row(r#", "t\u0075rn": "\u0052", "zone_\u0061pproach": "\u0057estbound""#);
    let rows = format!(r#"{{"data": 1, "device": {DEVICE}, "\u0064ata": [{row}]}}"#);
    let derived = derive(GS, &rows).unwrap();
    assert_eq!(column(&derived, GS, "movement"), ["RIGHT TURN"]);
    assert_eq!(column(&derived, GS, "direction"), ["WESTBOUND"]);
    assert_eq!(column(&derived, GS, "intersection_name"), ["A ST / B ST"]);
}

#[test]
fn a_bad_row_does_not_affect_the_others() {
    let rows = [
        camera_row(""),
        "7".into(),
        camera_row(r#", "timestamp": null"#),
        camera_row("").replace("\"volume\"", "\"vol\""),
        camera_row(r#", "turn": "\ud83d""#),
        camera_row(r#", "volume": "\ud83d""#),
        camera_row(r#", "zone_approach": null, "timestamp": null"#),
        camera_row("").replace("zone_approach", "approach"),
    ];
    let derived = derive(GS, &camera_file(DEVICE, &rows)).unwrap();
    let ordinals: Vec<u32> = derived.rows.iter().map(|row| row.0).collect();
    assert_eq!(ordinals, [0, 5]);
    assert_eq!(derived.outcome.skipped, 1);
    let doubts = [
        (1, "the row is a number, not an object"),
        (2, "timestamp is null, not a time"),
        (3, "volume is missing"),
        (4, "movement has a lone surrogate"),
        (7, "zone_approach is missing"),
    ];
    assert_eq!(
        derived.doubts,
        doubts.map(|(row, why)| (row, why.to_owned()))
    );
}

#[test]
fn any_value_other_than_zero_is_heavy() {
    let heavy = [
        "0", "-0", "0.0", "-0.0", "0e9", "false", "1", "true", "null", "NaN", "\"0\"", "[]",
    ];
    let rows = heavy.map(|heavy| camera_row(&format!(r#", "heavy_vehicle": {heavy}"#)));
    let derived = derive(GS, &camera_file(DEVICE, &rows)).unwrap();
    let texts = column(&derived, GS, "heavy_vehicle");
    assert_eq!(texts[..6], ["False"; 6]);
    assert_eq!(texts[6..], ["True"; 6]);
}

#[test]
fn a_camera_without_a_device_is_skipped_if_its_site_is_known() {
    let site = r#"{"site": {"Location": {"Street1": null, "Street2": "B"}}}"#;
    for device in ["null", "[ ]", "{\n}", "\"\"", "0", "false"] {
        let json = format!(r#"{{"data": [7], "device": {device}, "site": {site}}}"#);
        let derived = derive(GS, &json).unwrap();
        assert_eq!(derived.outcome.passed_by.as_deref(), Some("no device"));
        assert!(derived.rows.is_empty() && derived.doubts.is_empty());
    }
    let rowless = format!(r#"{{"device": null, "site": {site}}}"#);
    assert_eq!(
        error(GS, &rowless),
        "cannot read lake file file: data is missing"
    );
    let nowhere = error(
        GS,
        r#"{"data": [], "site": {"site": {"Location": {"Street1": "A"}}}}"#,
    );
    assert!(nowhere.contains("neither a device nor"), "{nowhere}");
}

#[test]
fn a_camera_without_a_name_is_an_error_only_if_rows_are_published() {
    for (device, what) in [
        (
            r#"{"atd_device_id": 1, "primary_st": null, "cross_st": "B"}"#,
            "primary_st of the device is null",
        ),
        (
            r#"{"atd_device_id": 1, "primary_st": "A", "cross_st": 5}"#,
            "cross_st of the device is a number",
        ),
        (
            r#"{"atd_device_id": 1, "primary_st": "A"}"#,
            "device has no cross_st",
        ),
        (
            r#"{"primary_st": "A", "cross_st": "B"}"#,
            "device has no atd_device_id",
        ),
        ("[1]", "device is a list"),
    ] {
        let message = error(GS, &camera_file(device, &[camera_row("")]));
        assert!(message.contains(what), "{message}");
        let skipped = camera_row(r#", "zone_approach": "northbound""#);
        assert_eq!(
            derive(GS, &camera_file(device, &[skipped]))
                .unwrap()
                .outcome
                .skipped,
            1
        );
    }
    let lone = r#"{"atd_device_id": null, "primary_st": "\ud83d ", "cross_st": " B"}"#;
    let derived = derive(GS, &camera_file(lone, &[camera_row("")])).unwrap();
    assert_eq!(
        derived.doubts,
        [(0, "intersection_name has a lone surrogate".into())]
    );
}

#[test]
fn a_wrong_structure_is_an_error_of_the_file() {
    for (name, json, what) in [
        (WT, "[]", "it is a list, not an object"),
        (WT, "{}", "data is missing"),
        (WT, r#"{"data": {}}"#, "data is an object, not a list"),
        (GS, r#"{"device": {"a": 1}}"#, "data is missing"),
        (SUMMARY, r#"{"data": []}"#, "devices is missing"),
        (
            MATCHED,
            r#"{"data": [], "devices": null}"#,
            "devices is null, not a list",
        ),
        (
            UNMATCHED,
            r#"{"data": [], "devices": [{"device_name": "x"}]}"#,
            "no usable device_id",
        ),
        (UNMATCHED, r#"{"data": [], "devices": []"#, "at byte 26"),
    ] {
        let message = error(name, json);
        assert!(message.contains(what), "{message}");
        assert!(message.contains("lake file file"), "{message}");
    }
    let kits = derive_with(
        GS,
        &camera_file(DEVICE, &[]),
        None,
        KeyScheme::Kits,
        Counter::Shared,
    );
    assert!(
        kits.map(|_| ())
            .unwrap_err()
            .contains("never keyed by kits")
    );
}

fn radar(rows: &[&str]) -> String {
    let row = |more: &&str| {
        format!(
            r#"{{"detID": 1, "intID": 2, "curDateTime": "2019-06-05 00:53:36-05:00", "intName": "X",
            "detName": "NB_in", "volume": 1, "occupancy": 1, "speed": 1{more}}}"#
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!(r#"{{"data": [{}]}}"#, rows.join(", "))
}

#[test]
fn a_row_without_a_detector_name_is_unpublishable() {
    let json = radar(&[
        "",
        r#", "detName": "_x""#,
        r#", "detName": "N\u005fB""#,
        r#", "detName": null"#,
        r#", "detName": 5"#,
        r#", "detName": "a\ud83d_b""#,
    ]);
    let derived = derive(WT, &json).unwrap();
    let directions: Vec<&Value> = derived.rows.iter().map(|(_, _, row)| &row[15]).collect();
    let text = |text: &str| Value::Text(text.into());
    let lone = Value::LoneSurrogate(r#""a\ud83d""#.into());
    assert_eq!(directions, [&text("NB"), &text(""), &text("N"), &lone]);
    assert_eq!(derived.rows[0].2[14], text("00:60"));
    let doubts = [
        "detName is null, not a text",
        "detName is a number, not a text",
    ];
    assert_eq!(
        derived.doubts,
        [(3, doubts[0].into()), (4, doubts[1].into())]
    );
}

#[test]
fn the_oldest_radar_keys_hash_the_true_instant() {
    let kits = |json: &str| derive_with(WT, json, None, KeyScheme::Kits, Counter::Shared).unwrap();
    let json = radar(&[
        "",
        r#", "curDateTime": "2019-06-05 05:53:36Z""#,
        r#", "detName": "\ud83d""#,
    ]);
    let derived = kits(&json);
    // md5 of "11559714016NB_in"
    assert_eq!(derived.rows[0].1, "5a5631f8f0b678888b0d1fd4aa2c9b90");
    assert_eq!(derived.rows[0].1, derived.rows[1].1);
    assert_eq!(derived.doubts, [(2, "detname has a lone surrogate".into())]);
}

fn unmatched(addresses: &[&str]) -> String {
    let row = |address: &&str| {
        format!(
            r#"{{"host_timestamp": "2019-06-05 00:03:33-05:00", "field_timestamp": "2019-06-05 00:03:35-05:00",
            "dev_addr": {address}, "device_id": "d"}}"#
        )
    };
    let rows: Vec<String> = addresses.iter().map(row).collect();
    format!(
        r#"{{"devices": [{{"device_id": "d", "device_name": "old"}}, {{"device_name": "51st_manor", "device_id": "\u0064"}}],
        "data": [{}]}}"#,
        rows.join(", ")
    )
}

#[test]
fn addresses_are_numbered_as_they_appear_after_those_of_matched_if_shared() {
    let file = unmatched(&[r#""c""#, r#""a""#, r#""d""#, r#""\u0063""#]);
    let companion =
        r#"{"data": [{"dev_addr": "a"}, {"dev_addr": null}, {"dev_addr": "a"}], "devices": []}"#;
    let numbers = |companion, counter| {
        let derived = derive_with(UNMATCHED, &file, companion, KeyScheme::Row, counter).unwrap();
        column(&derived, UNMATCHED, "device_address").join(" ")
    };
    assert_eq!(numbers(Some(companion), Counter::Shared), "3 1 4 3");
    assert_eq!(numbers(Some(companion), Counter::Separate), "1 2 3 1");
    assert_eq!(numbers(None, Counter::Shared), "1 2 3 1");
    let derived = derive(UNMATCHED, &unmatched(&[r#""x""#])).unwrap();
    assert_eq!(derived.rows[0].1, "0454e799e2bc1e202c8251d1e40e3bfc");
}

#[test]
fn a_broken_companion_is_an_error_of_the_file_that_needs_it() {
    let file = unmatched(&[r#""c""#]);
    for (companion, what) in [
        (r#"{"data": [], "devices": []"#, "parse lake file other"),
        (r#"{"data": []}"#, "lake file other: devices is missing"),
        (
            r#"{"data": [{"dev_addr": 1}, {}], "devices": []}"#,
            "row 1 has no number: dev_addr is missing",
        ),
        (
            r#"{"data": [{"dev_addr": [1]}], "devices": []}"#,
            "row 0 has no number: dev_addr is a list",
        ),
    ] {
        let derive = |counter| {
            derive_with(UNMATCHED, &file, Some(companion), KeyScheme::Row, counter).map(|_| ())
        };
        assert!(derive(Counter::Shared).unwrap_err().contains(what));
        assert!(derive(Counter::Separate).is_ok());
    }
}

#[test]
fn addresses_that_are_equal_in_python_share_a_number() {
    let equal = [
        "1", "1.0", "true", "\"1\"", "null", "NaN", "NaN", "0", "-0.0", "false",
    ];
    let big = [
        "100000000000000000000000",
        "1e23",
        "99999999999999991611392",
        "\"\\ud83d\"",
        "\"\\uD83D\"",
    ];
    let derived = derive(UNMATCHED, &unmatched(&[&equal[..], &big[..]].concat())).unwrap();
    let numbers = column(&derived, UNMATCHED, "device_address").join(" ");
    assert_eq!(numbers, "1 1 1 2 3 4 4 5 5 5 6 7 7 8 8");
}

#[test]
fn the_address_of_an_unpublishable_row_still_counts() {
    let file = unmatched(&[r#""a", "host_timestamp": null"#, r#""b""#, "{}", r#""c""#]);
    let derived = derive(UNMATCHED, &file).unwrap();
    assert_eq!(column(&derived, UNMATCHED, "device_address"), ["2", "3"]);
    let doubts = [
        "host_timestamp is null, not a time",
        "dev_addr is an object",
    ];
    assert_eq!(
        derived.doubts,
        [(0, doubts[0].into()), (2, doubts[1].into())]
    );
}

#[test]
fn an_unknown_device_is_an_error_of_the_file() {
    let file = unmatched(&[r#""a""#, r#""b""#]);
    let file = file.replace(r#""device_id": "d"}]}"#, r#""device_id": "e\u001b"}]}"#);
    let message = error(UNMATCHED, &file);
    assert_eq!(
        message,
        "lake file file has no device \"e\\u{1b}\", which its row 1 names"
    );
    let nameless = unmatched(&[r#""a""#]).replace("device_name", "name");
    let derived = derive(UNMATCHED, &nameless).unwrap();
    assert_eq!(
        derived.doubts,
        [(0, "the device of device_id has no device_name".into())]
    );
}

#[test]
fn a_chained_key_hashes_every_published_row_before_it() {
    let json = radar(&["", r#", "detID": 2"#, r#", "detID": "\ud83d""#, ""]);
    let chained = derive_with(WT, &json, None, KeyScheme::Chained, Counter::Shared).unwrap();
    let row = derive(WT, &json).unwrap();
    assert_eq!(row.rows.len(), 3);
    assert_eq!(chained.rows.len(), 2);
    assert_eq!(chained.rows[0].1, row.rows[0].1);
    // md5 of "X2019-06-05T00:53:361X2019-06-05T00:53:362"
    assert_eq!(chained.rows[1].1, "2224953b6f824ce7a202d85e11eb9eb1");
    assert_eq!(chained.doubts[0], (2, "detid has a lone surrogate".into()));
    assert!(chained.doubts[1].1.starts_with("row 2 cannot be derived"));
}
