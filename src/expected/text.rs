//! Converts JSON to values, and values to key texts, as Python does.
//!
//! A row's key is the MD5 of the texts of its key fields, without separators. The text of a value
//! is that of Python's `str()`; for lists and objects it is their `repr()`. The chained scheme
//! never resets the hasher within a file, so a row's key hashes every row before it. The values of
//! a row overwrite those of the previous row, because a day has hundreds of thousands of rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use md5::{Digest, Md5};
use rustpython_wtf8::{CodePoint, Wtf8, Wtf8Buf};

use super::json::{Kind, Raw};
use super::time::Moment;
use super::{DeriveError, Facts, FileText};
use crate::model::{KeyScheme, Md5Key, Value};

/// The value of a piece of JSON.
pub(super) fn value(raw: Raw<'_>) -> Value {
    match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Bool(raw.json() == "true"),
        Kind::Number => number(raw.json()),
        Kind::Text => match (raw.plain(), raw.decoded()) {
            (Some(text), _) => Value::Text(text.into()),
            (None, decoded) => text_value(&decoded.unwrap_or_default()),
        },
        Kind::List | Kind::Object => Value::Nested {
            json: raw.json().into(),
            text: repr(raw).into(),
        },
    }
}

/// The value of a number: an integer if its token has neither a point nor an exponent.
fn number(token: &str) -> Value {
    match token {
        "NaN" => Value::Float(f64::NAN),
        "Infinity" => Value::Float(f64::INFINITY),
        "-Infinity" => Value::Float(f64::NEG_INFINITY),
        "-0" => Value::Int("0".into()),
        _ if token.bytes().any(|c| matches!(c, b'.' | b'e' | b'E')) => {
            Value::Float(token.parse().unwrap_or(f64::NAN))
        }
        _ => Value::Int(token.into()),
    }
}

/// The value of a string, which may hold lone surrogates.
pub(super) fn text_value(text: &Wtf8) -> Value {
    match text.as_str() {
        Ok(text) => Value::Text(text.into()),
        Err(_) => Value::LoneSurrogate(token(text)),
    }
}

/// The JSON token that Python writes for a string.
fn token(text: &Wtf8) -> String {
    let mut token = String::from('"');
    for code in text.code_points() {
        match code.to_char() {
            Some(c @ ('"' | '\\')) => token.extend(['\\', c]),
            Some(c @ ' '..='~') => token.push(c),
            _ => push_units(&mut token, code),
        }
    }
    token.push('"');
    token
}

fn push_units(token: &mut String, code: CodePoint) {
    let mut units = [0; 2];
    let lone = u16::try_from(code.to_u32()).unwrap_or_default();
    let units = match code.to_char() {
        Some(c) => &*c.encode_utf16(&mut units),
        None => &[lone],
    };
    for unit in units {
        // Writing to a String cannot fail.
        let _ = write!(token, "\\u{unit:04x}");
    }
}

/// Python's `repr()` of a value.
pub(super) fn repr(raw: Raw<'_>) -> String {
    match raw.kind() {
        Kind::Text => {
            let content = raw.decoded().unwrap_or_default();
            super::repr::repr(&content)
        }
        Kind::List => repr_list(raw),
        Kind::Object => repr_object(raw),
        Kind::Null | Kind::Bool | Kind::Number => {
            value(raw).text().map_or_else(String::new, Cow::into_owned)
        }
    }
}

fn repr_list(raw: Raw<'_>) -> String {
    let mut cursor = raw.enter();
    let mut entries = Vec::new();
    while cursor.next_element() {
        entries.push(repr(cursor.value()));
    }
    format!("[{}]", entries.join(", "))
}

/// If names are equal, the last value is used, in the position of the first.
fn repr_object(raw: Raw<'_>) -> String {
    let mut cursor = raw.enter();
    let mut places: HashMap<Wtf8Buf, usize> = HashMap::new();
    let mut entries: Vec<String> = Vec::new();
    while let Some(name) = cursor.next_member() {
        let entry = format!("{}: {}", repr(name), repr(cursor.value()));
        let place = *places
            .entry(name.decoded().unwrap_or_default())
            .or_insert(entries.len());
        match entries.get_mut(place) {
            Some(earlier) => *earlier = entry,
            None => entries.push(entry),
        }
    }
    format!("{{{}}}", entries.join(", "))
}

/// Writes the value of `raw` over `slot`.
pub(super) fn put(slot: &mut Value, raw: Raw<'_>) {
    match raw.plain() {
        Some(text) => put_text(slot, text),
        None => *slot = value(raw),
    }
}

/// Writes a text over `slot`, in place if there is room.
pub(super) fn put_text(slot: &mut Value, text: &str) {
    match slot {
        Value::Text(old) => text.clone_into(old),
        other => *other = Value::Text(text.into()),
    }
}

/// Writes a whole number over `slot`.
pub(super) fn put_int(slot: &mut Value, number: u32) {
    let mut digits = [0; 10];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let text = std::str::from_utf8(&digits[start..]).unwrap_or_default();
    match slot {
        Value::Int(old) => text.clone_into(old),
        other => *other = Value::Int(text.into()),
    }
}

/// Writes a copy of `value` over `slot`.
pub(super) fn put_value(slot: &mut Value, value: &Value) {
    match value {
        Value::Text(text) => put_text(slot, text),
        _ => slot.clone_from(value),
    }
}

/// Whether Python's `str.strip()` removes it: Unicode white space and U+001C to U+001F.
fn is_python_blank(code: CodePoint) -> bool {
    code.is_char_and(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// Python's `str.strip()`.
pub(super) fn strip(text: &Wtf8) -> &Wtf8 {
    text.trim_start_matches(is_python_blank)
        .trim_end_matches(is_python_blank)
}

/// One part of what a key hashes.
#[derive(Clone, Copy, Debug)]
enum Part {
    Column(usize),
    UnixSeconds,
}

/// The names of the columns hashed for radar rows before the lake existed (docs/data.md). No other
/// recipe uses this scheme.
const KITS: [&str; 2] = ["detid", "detname"];

/// Computes the keys of one file's rows.
pub(super) struct Keys {
    columns: &'static [&'static str],
    parts: Vec<Part>,
    chain: Option<Md5>,
    text: String,
}

impl Keys {
    /// The keys of `file` under a key scheme.
    pub fn new(
        facts: &'static Facts,
        scheme: KeyScheme,
        file: &FileText<'_>,
    ) -> Result<Self, DeriveError> {
        let part = |name: &&str| facts.columns.iter().position(|column| column == name);
        let hashed = |names: &[&str]| -> Vec<Part> {
            names.iter().filter_map(part).map(Part::Column).collect()
        };
        let mut parts = hashed(match scheme {
            KeyScheme::Row | KeyScheme::Chained => facts.identity,
            KeyScheme::Kits => &KITS,
        });
        if scheme == KeyScheme::Kits {
            parts.insert(1.min(parts.len()), Part::UnixSeconds);
        }
        if !facts.key_schemes.contains(&scheme) {
            return Err(DeriveError::Shape {
                path: file.path.clone(),
                what: format!("its rows were never keyed by {scheme}"),
            });
        }
        Ok(Self {
            columns: facts.columns,
            parts,
            chain: (scheme == KeyScheme::Chained).then(Md5::new),
            text: String::new(),
        })
    }

    /// The key of the next published row.
    ///
    /// # Errors
    /// If a hashed value has no UTF-8 form. Holds the reason as a phrase.
    pub fn key(&mut self, values: &[Value], moment: Moment) -> Result<Md5Key, String> {
        self.text.clear();
        for part in &self.parts {
            match *part {
                Part::UnixSeconds => {
                    let _ = write!(self.text, "{}", moment.unix());
                }
                Part::Column(column) => {
                    let text = values[column].text();
                    let missing = || format!("{} has a lone surrogate", self.columns[column]);
                    self.text.push_str(&text.ok_or_else(missing)?);
                }
            }
        }
        Ok(Md5Key(match &mut self.chain {
            None => Md5::digest(&self.text).into(),
            Some(chain) => {
                chain.update(&self.text);
                chain.clone().finalize().into()
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Document;
    use super::*;

    fn of(json: &str) -> Value {
        let document: Document<'_, 0> = Document::read(json.as_bytes(), []).unwrap();
        value(document.root)
    }

    #[test]
    fn lists_and_objects_have_the_same_text_as_in_python() {
        for (json, text) in [
            ("[]", "[]"),
            ("{ }", "{}"),
            (
                r#"[1, 1.0, "1", null, true, NaN]"#,
                "[1, 1.0, '1', None, True, nan]",
            ),
            (
                r#"{"a": {"b": -0, "c": -0.0}}"#,
                "{'a': {'b': 0, 'c': -0.0}}",
            ),
            (
                r#"["it's", "\"", "\n\u007f\u00e9\ud83d"]"#,
                r#"["it's", '"', '\n\x7fé\ud83d']"#,
            ),
        ] {
            let value = of(json);
            assert_eq!(value.text().unwrap(), text);
            assert_eq!(value.json(), json);
        }
    }

    #[test]
    fn stripping_removes_what_python_removes() {
        let blank = "\u{1c}\u{1f}\u{a0}\u{3000}\u{85}\t \n";
        let text = format!("{blank}A{blank}B{blank}");
        assert_eq!(
            strip(Wtf8::new(text.as_str())),
            Wtf8::new(format!("A{blank}B").as_str())
        );
        assert_eq!(strip(Wtf8::new("\u{200b}")), Wtf8::new("\u{200b}"));
        assert!(strip(Wtf8::new(blank)).is_empty());
    }

    #[test]
    fn an_overwritten_value_leaves_no_trace() {
        let mut slot = Value::Null;
        for text in ["", "abc", "xyz", "é", "abcdef", ""] {
            put_text(&mut slot, text);
            assert_eq!(slot, Value::Text(text.into()));
        }
        for number in [0, 9, 10, 1_000_000, u32::MAX] {
            put_int(&mut slot, number);
            assert_eq!(slot, Value::Int(number.to_string()));
        }
        put_value(&mut slot, &Value::Null);
        assert_eq!(slot, Value::Null);
    }
}
