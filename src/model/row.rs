//! Rows as the publisher's program held them, and the keys that identify them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The form of key that every recipe makes: an MD5. MD5s are ordered like their hex texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5Key(pub [u8; 16]);

/// The key of a published row.
///
/// Nearly every key is the lower-case hex of an MD5. It is kept as 16 bytes, so that ten million
/// keys fit in memory. Any other text on a portal is kept as text. Keys are ordered like their
/// texts; for hex that is the order of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// 32 lower-case hex digits.
    Md5(Md5Key),
    /// Any other text.
    Text(Box<str>),
}

impl RowKey {
    /// The key of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::md5_of(text.as_bytes()).unwrap_or_else(|| Self::Text(text.into()))
    }

    fn md5_of(text: &[u8]) -> Option<Self> {
        let digits: &[u8; 32] = text.try_into().ok()?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self::Md5(Md5Key(bytes)))
    }
}

impl Md5Key {
    /// Its first eight bytes, as a number with the same order.
    #[must_use]
    pub fn first_half(self) -> u64 {
        let half = self.0.first_chunk().expect("16 bytes have a first half");
        u64::from_be_bytes(*half)
    }
}

impl fmt::Display for Md5Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex(*self);
        f.pad(std::str::from_utf8(&digits).expect("hex digits are ASCII"))
    }
}

impl Serialize for Md5Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Md5Key> for RowKey {
    fn from(key: Md5Key) -> Self {
        Self::Md5(key)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex(Md5Key(bytes): Md5Key) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(key) => key.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Md5(a), Self::Md5(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Md5(a), Self::Text(b)) => hex(*a).as_slice().cmp(b.as_bytes()),
            (Self::Text(a), Self::Md5(b)) => a.as_bytes().cmp(hex(*b).as_slice()),
        }
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for RowKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

/// A value as the publisher's Python program held it. Row keys were made from these values, so
/// `15`, `15.0` and `"15"` are three different ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number of any length without `.`, `e` or `E`: its digits as Python prints them.
    Int(String),
    /// Any other number, and the bare tokens `NaN`, `Infinity`, `-Infinity`.
    Float(f64),
    /// A string.
    Text(String),
    /// A string with a lone surrogate, as its JSON token with quotes and escapes. It has no UTF-8
    /// form, so it can be neither hashed nor stored.
    LoneSurrogate(String),
    /// A list or an object: its JSON token, and its text as Python's `str()` prints it.
    Nested {
        /// The JSON as it is in the file.
        json: Box<str>,
        /// The text that `str()` makes of it.
        text: Box<str>,
    },
}

impl Value {
    /// The text that Python's `str()` makes of the value. It goes into row keys, and the upload
    /// library puts it into text columns. `None` if it has no UTF-8 form.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Float(number) => float_repr(*number).into(),
            Self::Int(text) | Self::Text(text) => Cow::Borrowed(text),
            Self::Nested { text, .. } => Cow::Borrowed(text),
            Self::LoneSurrogate(_) => return None,
        })
    }

    /// The value as Python's JSON writer prints it, including the bare tokens `NaN` and `Infinity`.
    #[must_use]
    pub fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Null => "null".into(),
            Self::Bool(yes) => if *yes { "true" } else { "false" }.into(),
            Self::Float(number) if number.is_nan() => "NaN".into(),
            Self::Float(number) if number.is_infinite() => if *number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            }
            .into(),
            Self::Float(number) => float_repr(*number).into(),
            Self::Int(token) | Self::LoneSurrogate(token) => Cow::Borrowed(token),
            Self::Nested { json, .. } => Cow::Borrowed(json),
            Self::Text(text) => serde_json::Value::from(&**text).to_string().into(),
        }
    }
}

/// Python's `repr()` of a float: the shortest digits that read back as the same number. Of two
/// equally short and equally near candidates Python takes the even one, as Rust does only when it
/// is given the number of digits.
fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    let usual = format!("{number:?}");
    if number.is_infinite() || (usual.len() <= 16 && !usual.contains('e')) {
        return usual;
    }
    let shortest = format!("{number:e}");
    let digits = shortest.bytes().take_while(|c| *c != b'e');
    let decimals = digits.filter(u8::is_ascii_digit).count() - 1;
    let even = format!("{number:.decimals$e}");
    let chosen = if even.parse() == Ok(number) {
        even
    } else {
        shortest
    };
    let (mantissa, exponent) = chosen.split_once('e').expect("Rust writes an exponent");
    let exponent: i32 = exponent.parse().expect("Rust writes exponents as integers");
    if !(-4..16).contains(&exponent) {
        // Python signs every exponent and writes it with at least two digits.
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    positional(mantissa, exponent)
}

/// The number `mantissa` times ten to the `exponent`, with at least one decimal.
fn positional(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let Ok(before_point) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or_default());
        return format!("{sign}0.{zeros}{digits}");
    };
    if before_point == 0 {
        return format!("{sign}0.{digits}");
    }
    let (whole, fraction) = digits.split_at(before_point.min(digits.len()));
    let zeros = "0".repeat(before_point - whole.len());
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{sign}{whole}{zeros}.{fraction}")
}

/// How a row's key is made. Over the years there were three ways (docs/data.md says how).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScheme {
    /// The current one: the MD5 of the row's own key fields.
    Row,
    /// Until December 2020: the MD5 of all rows of the file up to this one.
    Chained,
    /// Radar rows before the lake existed: detector, Unix seconds and detector name.
    Kits,
}

impl fmt::Display for KeyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Row => "row",
            Self::Chained => "chained",
            Self::Kits => "kits",
        })
    }
}

/// A row that should be published, with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The key.
    pub key: RowKey,
    /// The values in the order of the recipe's columns, without the key column.
    pub values: Vec<Value>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_have_the_text_python_gives_them() {
        let float = |number: f64| Value::Float(number).text().unwrap().into_owned();
        for (number, text) in [
            (15.0, "15.0"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0.0"),
            (0.300_000_000_000_000_04, "0.30000000000000004"),
            (0.5, "0.5"),
            (123_456.75, "123456.75"),
            (0.001_25, "0.00125"),
            // As near to ...820.3: Python takes the even digit.
            (1_827_367_572_163_820.2, "1827367572163820.2"),
            (5e-324, "5e-324"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), text);
        }
        assert_eq!(Value::Null.text().unwrap(), "None");
        assert_eq!(Value::Bool(true).text().unwrap(), "True");
        assert_eq!(Value::LoneSurrogate("\"\\ud83d\"".into()).text(), None);
    }

    proptest! {
        #[test]
        fn a_key_keeps_its_text_and_its_order(a in "[0-9a-f]{32}|[ -~]{0,40}", b in "[0-9a-f]{32}|[ -~]{0,40}") {
            prop_assert_eq!(RowKey::new(&a).to_string(), a.as_str());
            prop_assert_eq!(RowKey::new(&a).cmp(&RowKey::new(&b)), a.as_bytes().cmp(b.as_bytes()));
        }
    }
}
