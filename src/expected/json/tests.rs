//! Tests against Python itself, and with hostile bytes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::check::MAX_DEPTH;
use super::*;
use crate::expected::text::value;
use crate::model::Value;

fn read(json: &str) -> Result<Value, Fault> {
    Document::read(json.as_bytes(), []).map(|document: Document<'_, 0>| value(document.root))
}

fn offset(json: &[u8]) -> usize {
    let document: Result<Document<'_, 0>, Fault> = Document::read(json, []);
    document.unwrap_err().offset
}

#[test]
fn integers_floats_and_texts_stay_distinct() {
    assert_eq!(read("15").unwrap(), Value::Int("15".into()));
    assert_eq!(read("15.0").unwrap(), Value::Float(15.0));
    assert_eq!(read("15e0").unwrap(), Value::Float(15.0));
    assert_eq!(read("\"15\"").unwrap(), Value::Text("15".into()));
    assert_eq!(read("-0").unwrap(), Value::Int("0".into()));
    assert_eq!(read("-0.0").unwrap().text().unwrap(), "-0.0");
    let long = "9".repeat(400);
    assert_eq!(read(&long).unwrap(), Value::Int(long));
    assert_eq!(read("-Infinity").unwrap(), Value::Float(f64::NEG_INFINITY));
    assert_eq!(read("1e999").unwrap(), Value::Float(f64::INFINITY));
}

#[test]
fn a_lone_surrogate_is_kept_and_a_pair_is_joined() {
    assert_eq!(
        read(r#""\ud83d\ude00\u00e9""#).unwrap(),
        Value::Text("😀é".into())
    );
    let lone = |json: &str| Value::LoneSurrogate(json.into());
    assert_eq!(read(r#""\uD83D""#).unwrap(), lone(r#""\ud83d""#));
    assert_eq!(
        read(r#""\ude00\ud83dé""#).unwrap(),
        lone(r#""\ude00\ud83d\u00e9""#)
    );
}

#[test]
fn of_equal_names_the_last_counts() {
    let json = br#"{"a": 1, "b": [], "\u0061": 2, "data": {"data": 4}}"#;
    let document = Document::read(json, ["a", "data", "c"]).unwrap();
    let [a, data, c] = document.members;
    assert_eq!(a.unwrap().json(), "2");
    assert_eq!(data.unwrap().member("data").unwrap().json(), "4");
    assert!(c.is_none());
    let nested = read(r#"[{"a": 1, "b": null, "a": [true]}]"#).unwrap();
    assert_eq!(nested.text().unwrap(), "[{'a': [True], 'b': None}]");
}

#[test]
fn errors_report_their_position() {
    for (json, at) in [
        ("", 0),
        ("{\"a\": 1} x", 9),
        ("{\"a\": 1,}", 8),
        ("[1 2]", 3),
        ("[1, \"abc", 4),
        ("\"a\u{1}\"", 2),
        ("\"\\ud8\"", 1),
        ("01", 1),
        ("-NaN", 1),
        ("1.", 2),
        ("\u{feff}1", 0),
    ] {
        assert_eq!(offset(json.as_bytes()), at, "{json:?}");
    }
    assert_eq!(offset(b"[\"a\xff\"]"), 3);
}

#[test]
fn hostile_nesting_is_refused() {
    let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(offset(nested(MAX_DEPTH + 1).as_bytes()), MAX_DEPTH);
    assert_eq!(
        offset("{\"a\":".repeat(1_000_000).as_bytes()),
        5 * MAX_DEPTH
    );
}

/// A member in any spelling: white space of all kinds, escaped names, values of every kind.
fn member() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "\\u0061", ""]);
    let value = prop::sample::select(vec![
        "1",
        "-0.5e3",
        "NaN",
        "null",
        "\"\"",
        "\"x\\\"y\"",
        "\"é, \"",
        "[1, {\"a\": 2}]",
        "{}",
    ]);
    let blank = || prop::sample::select(vec!["", "", " ", "\n\t"]);
    (blank(), name, blank(), blank(), value, blank())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}\"{name}\"{b}:{c}{value}{d}"))
}

fn entry() -> impl Strategy<Value = String> {
    let object = prop::collection::vec(member(), 0..5);
    prop_oneof![
        9 => object.prop_map(|members| format!("{{{}}}", members.join(","))),
        1 => prop::sample::select(vec!["1", "null", "\"{\"", "[{}]"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn an_entrys_fields_do_not_depend_on_the_entry_before(
        entries in prop::collection::vec(entry(), 0..6), again in 1usize..3,
    ) {
        let list: Vec<&str> = entries.iter().flat_map(|entry| vec![&**entry; again]).collect();
        let json = format!("{{\"d\": [{}], \"data\": [ {} ]}}", list.join(","), list.join(" ,\n"));
        let document: Document<'_, 1, 2> =
            Document::with_entries(json.as_bytes(), ["data"], Some("data"), ["a", "b"]).unwrap();
        prop_assert_eq!(document.entries.len(), list.len());
        let mut cursor = document.members[0].unwrap().enter();
        for found in document.entries.iter() {
            prop_assert!(cursor.next_element());
            let entry = cursor.value();
            let shown = |raw: Option<Raw<'_>>| raw.map(|raw| (raw.json().to_owned(), raw.plain().map(str::to_owned)));
            match found {
                Ok([a, b]) => {
                    prop_assert_eq!(shown(a), shown(entry.member("a")));
                    prop_assert_eq!(shown(b), shown(entry.member("b")));
                }
                Err(kind) => prop_assert!(kind == entry.kind() && kind != Kind::Object),
            }
        }
        prop_assert!(!cursor.next_element());
    }

    #[test]
    fn errors_in_entries_are_found_like_any_others(
        entries in prop::collection::vec(entry(), 1..5), at in any::<prop::sample::Index>(), with in 0u8..128,
    ) {
        let mut json = format!("{{\"data\": [{}]}}", entries.join(", ")).into_bytes();
        let place = at.index(json.len());
        json[place] = with;
        let plain: Result<Document<'_, 1>, Fault> = Document::read(&json, ["data"]);
        let noted: Result<Document<'_, 1, 2>, Fault> =
            Document::with_entries(&json, ["data"], Some("data"), ["a", "b"]);
        let fault = |fault: Fault| (fault.offset, fault.what);
        prop_assert_eq!(plain.map(|_| ()).map_err(fault), noted.map(|_| ()).map_err(fault));
    }
}

/// Pieces of JSON, of the extensions that Python accepts, and of neither.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\t",
    "\u{b}",
    "\u{a0}",
    "\"a\"",
    "\"b\"",
    "\"\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ude00\\ud83d\"",
    "\"\\u0061\"",
    "\"\\u00e9'\"",
    "\"é\u{7f}\u{ad}\"",
    "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
    "\"\\x\"",
    "\"\\u12g4\"",
    "\"\t\"",
    "\"",
    "\\",
    "'",
    "NaN",
    "Infinity",
    "-Infinity",
    "-NaN",
    "nan",
    "null",
    "true",
    "false",
    "None",
    "nul",
    "0",
    "-0",
    "-",
    "01",
    "15",
    "15.0",
    "1.",
    ".5",
    "1e5",
    "1E+2",
    "1e",
    "1e400",
    "-0.0",
    "5e-324",
    "0.30000000000000004",
    "1e22",
    "1e23",
    "1e16",
    "123456789012345678901234",
    "0.0001",
    "0.00001",
    "2.5e-7",
    "+1",
    "0x1",
    "1_0",
    "\u{feff}",
    "/*",
    "\u{1}",
    "\u{1f600}",
];

/// Documents that Python accepts.
fn good() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(PIECES)
            .prop_filter("a value", |piece| read(piece).is_ok())
            .prop_map(str::to_owned),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        any::<i64>().prop_map(|number| number.to_string()),
        "\"[ -!#-\\[\\]-~éß語😀]{0,12}\"",
    ];
    let name = prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\\ud83d\"", "\"\""]);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        let object = prop::collection::vec((name.clone(), inner), 0..5);
        prop_oneof![
            list.prop_map(|entries| format!("[{}]", entries.join(" , "))),
            object.prop_map(|members| {
                let members = members
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                format!("{{ {} }}", members.collect::<Vec<_>>().join(",\n"))
            }),
        ]
    })
}

fn odd() -> impl Strategy<Value = Vec<u8>> {
    let soup = prop::collection::vec(prop::sample::select(PIECES), 1..7);
    let piece = prop::sample::select(PIECES);
    prop_oneof![
        good().prop_map(String::into_bytes),
        soup.prop_map(|pieces| pieces.concat().into_bytes()),
        (good(), any::<prop::sample::Index>(), piece).prop_map(|(json, at, piece)| {
            let mut bytes = json.into_bytes();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, piece.bytes());
            bytes
        }),
        (good(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(json, at, byte)| {
            let mut bytes = json.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

/// Reads hex-encoded documents, one per line. Answers with the hex of each one's `str()`.
const PYTHON: &str = r"
import json, sys
if hasattr(sys, 'set_int_max_str_digits'):
    sys.set_int_max_str_digits(0)
for line in sys.stdin:
    try:
        text = str(json.loads(bytes.fromhex(line).decode('utf-8')))
    except ValueError:
        print('refused')
    else:
        try:
            print(text.encode('utf-8').hex())
        except UnicodeEncodeError:
            print('surrogate')
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn ask_python(documents: &[Vec<u8>]) -> Vec<String> {
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed to compare with it");
    let lines: Vec<String> = documents.iter().map(|bytes| hex(bytes)).collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn python_reads_odd_documents_the_same_way() {
    let mut runner = TestRunner::deterministic();
    let strategy = odd();
    let documents: Vec<Vec<u8>> = (0..6000)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let answers = ask_python(&documents);
    assert_eq!(answers.len(), documents.len());
    let (mut taken, mut refused) = (0, 0);
    for (bytes, answer) in documents.iter().zip(answers) {
        let document: Result<Document<'_, 0>, Fault> = Document::read(bytes, []);
        let ours = match document {
            Err(_) => "refused".into(),
            Ok(document) => value(document.root)
                .text()
                .map_or("surrogate".into(), |text| hex(text.as_bytes())),
        };
        assert_eq!(ours, answer, "{:?}", String::from_utf8_lossy(bytes));
        *(if ours == "refused" {
            &mut refused
        } else {
            &mut taken
        }) += 1;
    }
    assert!(
        taken > 1000 && refused > 1000,
        "{taken} taken, {refused} refused"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), odd in odd()) {
        for bytes in [bytes, odd] {
            if let Ok(document) = Document::read(&bytes, ["a"]) {
                let _ = value(document.root);
                let _ = document.root.is_falsy();
            }
        }
    }
}
