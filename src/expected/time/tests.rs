//! Tests against arrow's answers, and with every form that resembles a time.

use proptest::prelude::*;

use super::super::json::Document;
use super::*;

fn read(json: &str) -> Option<(String, i64)> {
    let document: Document<'_, 0> = Document::read(json.as_bytes(), []).unwrap();
    let (mut text, mut published) = (String::new(), String::new());
    let moment = Moment::read(document.root).ok()?;
    moment.write(&mut text);
    let same = Moment::publish(document.root, &mut published);
    assert_eq!((same.as_ref(), &published), (Ok(&moment), &text));
    Some((text, moment.unix()))
}

/// What arrow 0.17.0 makes of JSON values, and the instants they mean. There is one example of each
/// kind.
const ACCEPTED: &str = r#"
"2019-10-04 00:15:00-05:00" 2019-10-04T00:15:00 1570166100
"2019-10-04 00:15:00.600000-05:00" 2019-10-04T00:15:00 1570166100
"2019-10-04T05:15:00Z" 2019-10-04T05:15:00 1570166100
"2019-10-04T00:15:00-0500" 2019-10-04T00:15:00 1570166100
"2019-10-04T00:15:00-05" 2019-10-04T00:15:00 1570166100
"2019-10-04 00:15" 2019-10-04T00:15:00 1570148100
"2019-10-04T07" 2019-10-04T07:00:00 1570172400
"20191004T001500-0500" 2019-10-04T00:15:00 1570166100
"2019-10-04T00:15:00,5-05:00" 2019-10-04T00:15:00 1570166100
"2019-10-04T23:59:59.9999995-05:00" 2019-10-05T00:00:00 1570251600
"2019-10-04T23:59:59.9999985-05:00" 2019-10-04T23:59:59 1570251599
"2019-10-04T23:59:59.9999994-05:00" 2019-10-04T23:59:59 1570251599
"2019-10-04T24:00:00-05:00" 2019-10-05T00:00:00 1570251600
"2019-10-04T24:00:00.0000004-05:00" 2019-10-05T00:00:00 1570251600
"2019-10-04T00:15:00+23:59" 2019-10-04T00:15:00 1570061760
"2019-10-04T00:15:00-00:30" 2019-10-04T00:15:00 1570149900
"2019/1/4" 2019-01-04T00:00:00 1546560000
"2019.10.04" 2019-10-04T00:00:00 1570147200
"20191004" 2019-10-04T00:00:00 1570147200
"2019-277" 2019-10-04T00:00:00 1570147200
"2019277" 2019-10-04T00:00:00 1570147200
"2019-366" 2020-01-01T00:00:00 1577836800
"2019-10" 2019-10-01T00:00:00 1569888000
"2019" 2019-01-01T00:00:00 1546300800
"2019-W40-5" 2019-10-04T00:00:00 1570147200
"2019w405" 2019-10-04T00:00:00 1570147200
"2019-W40" 2019-09-30T00:00:00 1569801600
"2019-W53-7" 2020-01-05T00:00:00 1578182400
"0999-10-10T00:00:00" 999-10-10T00:00:00 -30617395200
1570166100 2019-10-04T05:15:00 1570166100
1570166100.75 2019-10-04T05:15:00 1570166100
1570166101.0 2019-10-04T05:15:01 1570166101
1570166100000 2019-10-04T05:15:00 1570166100
1570166100000000 2019-10-04T05:15:00 1570166100
-1 1969-12-31T23:59:59 -1
-0.5 1969-12-31T23:59:59 -1
-5e-07 1970-01-01T00:00:00 0
-6e-07 1969-12-31T23:59:59 -1
"#;

/// Values that arrow 0.17.0 refuses.
const REFUSED: &str = r#"
""
" 2019-10-04"
"2019-10-04 "
"2019-10-04  00:15:00"
"2019-10-04 00:15:00 -05:00"
"2019-10-04T00:15:00-05:00:00"
"2019-10-04t00:15:00"
"2019-10-04T00:15:00z"
"2019-10-04T00:15:00 UTC"
"2019-10-04T00:15:60"
"2019-10-04T00:60"
"2019-10-04T25:00"
"2019-10-04T24:00:01"
"2019-10-04T24:00:00.9999999"
"2019-02-29"
"2019-13-01"
"0000-01-01"
"10000-01-01"
"9999-12-31T24:00"
"9999-366"
"2019-000"
"2019-367"
"2019-W54-1"
"2019-W40-8"
"1570166100"
"2019-10-04T00:15.5"
"2019-10-04T0015:00"
"2019-10-04T00:15:00."
"2019-10-04T00:15:00+24:00"
"2019-10-04T00:15:00+5:00"
true
NaN
Infinity
-Infinity
1e+18
-62135596801
253402300800
[]
{}
"#;

#[test]
fn every_form_is_read_as_arrow_reads_it() {
    for line in ACCEPTED.trim().lines() {
        let [unix, wall, json] = *line.rsplitn(3, ' ').collect::<Vec<_>>() else {
            panic!("{line}");
        };
        assert_eq!(
            read(json),
            Some((wall.into(), unix.parse().unwrap())),
            "{json}"
        );
    }
}

#[test]
fn values_that_arrow_refuses_are_refused() {
    for json in REFUSED.trim().lines() {
        assert_eq!(read(json), None, "{json}");
    }
}

#[test]
fn the_error_says_what_was_found() {
    let why = |json: &str| {
        let document: Document<'_, 0> = Document::read(json.as_bytes(), []).unwrap();
        Moment::read(document.root).unwrap_err()
    };
    assert_eq!(why("null"), "is null, not a time");
    assert_eq!(why("\"noon\""), "is not a time: \"noon\"");
    assert_eq!(why("\"\u{9b}A\""), "is not a time: \"\\u{9b}A\"");
    assert_eq!(why(&format!("\"{}\"", "9".repeat(1000))).len(), 75);
}

#[test]
fn the_week_begins_on_sunday() {
    let sunday = Moment::new(calendar(2019, 10, 6).unwrap().and_time(NaiveTime::MIN), 0);
    assert_eq!(sunday.parts(), [10, 6, 2019, 0, 0, 0]);
    assert_eq!(sunday.day_name(), "Sunday");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[0-9TWZzé :+.,/-]{0,30}|\\PC{0,30}") {
        let _ = (usual(&text), parse(&text));
    }

    #[test]
    fn the_fast_parser_agrees_with_the_general_one(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9][+-][0-2][0-9]:[0-6][0-9]") {
        prop_assert_eq!(usual(&text), parse(&text));
    }
}
