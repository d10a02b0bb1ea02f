//! JSON as Python's `json` module reads it, over the bytes of the file.
//!
//! The lake's files are written and read by Python, so what that module takes is what counts: the
//! bare tokens `NaN`, `Infinity` and `-Infinity`, integers of any length, told apart from floats
//! by their token, lone surrogates such as `"\ud83d"`, and of equal keys the last. No library does
//! it: `serde_json` refuses the first and the last but one, and those that take them build a tree
//! of the file, which for a day of 300,000 rows is several times its size.
//!
//! There are two steps. [`Document::read`] checks the whole file once, to its last byte, and notes
//! where the wanted members of its top level stand. A [`Cursor`] then walks what has been checked,
//! which cannot fail any more. Nesting is limited, so that no file can exhaust the stack.

use std::borrow::Cow;

use rustpython_wtf8::{CodePoint, Wtf8Buf};

/// How many lists and objects may stand inside each other. Ready files have about ten.
const DEEPEST: usize = 128;

/// Why bytes are not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, from 0.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Kind {
    /// The kind with its article: `a list`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// One value of a checked document: its text, from its first to its last byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    json: &'a str,
    escaped: bool,
}

impl<'a> Raw<'a> {
    /// `null`.
    pub const NULL: Self = Self {
        json: "null",
        escaped: false,
    };

    /// The value as it stands in the file.
    pub fn json(self) -> &'a str {
        self.json
    }

    /// What kind of value it is.
    pub fn kind(self) -> Kind {
        match self.json.as_bytes().first() {
            Some(b'"') => Kind::Text,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::List,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The content of a string without escapes: the usual one.
    pub fn plain(self) -> Option<&'a str> {
        if self.escaped {
            return None;
        }
        self.json.strip_prefix('"')?.strip_suffix('"')
    }

    /// The content of any string, which may hold lone surrogates.
    pub fn decoded(self) -> Option<Wtf8Buf> {
        let inner = self.json.strip_prefix('"')?.strip_suffix('"')?;
        Some(decode(inner))
    }

    /// The content of a string that has UTF-8.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => Some(Cow::Owned(self.decoded()?.into_string().ok()?)),
        }
    }

    /// Whether Python takes the value for false: null, false, zero, or empty.
    pub fn is_falsy(self) -> bool {
        match self.kind() {
            Kind::Null => true,
            Kind::Bool => self.json == "false",
            Kind::Number => self.is_zero(),
            Kind::Text => self.json == "\"\"",
            Kind::List | Kind::Object => {
                let inner = &self.json.as_bytes()[1..self.json.len() - 1];
                inner.iter().all(|&byte| is_blank(byte))
            }
        }
    }

    /// Whether the value is a number equal to 0.
    pub fn is_zero(self) -> bool {
        self.kind() == Kind::Number && self.json.parse::<f64>().is_ok_and(|number| number == 0.0)
    }

    /// A cursor inside this list or object, before its first entry.
    pub fn enter(self) -> Cursor<'a> {
        Cursor {
            text: self.json,
            at: 1,
        }
    }

    /// The member of an object with this name, the last if there are several.
    pub fn member(self, name: &str) -> Option<Raw<'a>> {
        if self.kind() != Kind::Object {
            return None;
        }
        let mut cursor = self.enter();
        let mut found = None;
        while let Some(key) = cursor.next_member() {
            let value = cursor.value();
            if key.is(name) {
                found = Some(value);
            }
        }
        found
    }

    /// Whether a string's content is this text.
    pub fn is(self, text: &str) -> bool {
        match self.plain() {
            Some(plain) => plain == text,
            None => self.text().is_some_and(|decoded| decoded == text),
        }
    }
}

/// The content of a checked string with its escapes undone.
fn decode(inner: &str) -> Wtf8Buf {
    let mut content = Wtf8Buf::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        content.push_str(&rest[..at]);
        let (code, length) = escape(&rest[at..]);
        content.push(code);
        rest = &rest[at + length..];
    }
    content.push_str(rest);
    content
}

/// The code point of the escape that checked text begins with, and its length in bytes.
fn escape(text: &str) -> (CodePoint, usize) {
    let plain = |c: char| (CodePoint::from_char(c), 2);
    match text.as_bytes().get(1) {
        Some(b'n') => plain('\n'),
        Some(b't') => plain('\t'),
        Some(b'r') => plain('\r'),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'u') => surrogates(text),
        Some(&other) => plain(char::from(other)),
        None => (CodePoint::from_char('\\'), 1),
    }
}

/// Reads `\uXXXX`, and the pair if another such escape completes it.
fn surrogates(text: &str) -> (CodePoint, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    if let (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) = (first, unit(6)) {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        if let Some(code) = CodePoint::from_u32(code) {
            return (code, 12);
        }
    }
    let alone = CodePoint::from_u32(first).unwrap_or(CodePoint::from_char('\u{fffd}'));
    (alone, 6)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The place of the next quote, backslash or control character from `at` on; the end if there is
/// none. Eight bytes at a time: most of a file's bytes are looked at here.
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)) | control;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// A file that is JSON to its end.
#[derive(Debug)]
pub(super) struct Document<'a, const N: usize> {
    /// The whole value.
    pub root: Raw<'a>,
    /// The members asked for, if the value is an object that has them.
    pub members: [Option<Raw<'a>>; N],
}

impl<'a, const N: usize> Document<'a, N> {
    /// Checks `bytes` to their end and finds the top level's members of these names.
    ///
    /// # Errors
    /// At the first byte at which Python would stop, or where nesting goes too deep.
    pub fn read(bytes: &'a [u8], names: [&str; N]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|error| Fault {
            offset: error.valid_up_to(),
            what: "the bytes are not UTF-8",
        })?;
        let mut checker = Checker { text, at: 0 };
        if text.starts_with('\u{feff}') {
            return Err(checker.fault("there is a byte order mark"));
        }
        checker.blanks();
        let start = checker.at;
        let mut members = [None; N];
        let escaped = if checker.peek() == b'{' {
            checker.root(names, &mut members)?;
            false
        } else {
            checker.value(0)?
        };
        let root = Raw {
            json: &text[start..checker.at],
            escaped,
        };
        checker.blanks();
        if checker.at < text.len() {
            return Err(checker.fault("there is more after the end of the value"));
        }
        Ok(Self { root, members })
    }
}

/// The first pass: nothing is trusted.
struct Checker<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Checker<'a> {
    fn fault(&self, what: &'static str) -> Fault {
        Fault {
            offset: self.at,
            what,
        }
    }

    /// The byte at hand; 0, which no JSON holds outside strings, at the end.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while is_blank(self.peek()) {
            self.at += 1;
        }
    }

    /// Checks the object of the top level and notes the wanted members.
    fn root<const N: usize>(
        &mut self,
        names: [&str; N],
        members: &mut [Option<Raw<'a>>; N],
    ) -> Result<(), Fault> {
        if self.is_empty(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            let start = self.at;
            let escaped = self.value(1)?;
            if let Some(slot) = names.iter().position(|wanted| name.is(wanted)) {
                let json = &self.text[start..self.at];
                members[slot] = Some(Raw { json, escaped });
            }
            if self.is_last(b'}')? {
                return Ok(());
            }
        }
    }

    /// Checks one value; true if it is a string with escapes.
    fn value(&mut self, depth: usize) -> Result<bool, Fault> {
        match self.peek() {
            b'"' => return self.string(),
            b'{' | b'[' if depth >= DEEPEST => return Err(self.fault("nesting is too deep")),
            b'{' => self.object(depth + 1)?,
            b'[' => self.list(depth + 1)?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word(&["null", "true", "false", "NaN", "Infinity"])?,
        }
        Ok(false)
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        if self.is_empty(b'}') {
            return Ok(());
        }
        loop {
            self.name()?;
            self.value(depth)?;
            if self.is_last(b'}')? {
                return Ok(());
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), Fault> {
        if self.is_empty(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.is_last(b']')? {
                return Ok(());
            }
        }
    }

    /// Steps over the opening bracket, and over the closing one if nothing stands between.
    fn is_empty(&mut self, close: u8) -> bool {
        self.at += 1;
        self.blanks();
        let empty = self.peek() == close;
        self.at += usize::from(empty);
        empty
    }

    /// Steps over what follows an entry: true if that is the closing bracket.
    fn is_last(&mut self, close: u8) -> Result<bool, Fault> {
        self.blanks();
        let byte = self.peek();
        if byte != b',' && byte != close {
            return Err(self.fault("a comma or closing bracket is missing"));
        }
        self.at += 1;
        if byte == b',' {
            self.blanks();
        }
        Ok(byte == close)
    }

    /// A member's name, its colon, and the blanks around.
    fn name(&mut self) -> Result<Raw<'a>, Fault> {
        if self.peek() != b'"' {
            return Err(self.fault("a member's name in double quotes is missing"));
        }
        let start = self.at;
        let escaped = self.string()?;
        let json = &self.text[start..self.at];
        self.blanks();
        if self.peek() != b':' {
            return Err(self.fault("a colon is missing"));
        }
        self.at += 1;
        self.blanks();
        Ok(Raw { json, escaped })
    }

    fn string(&mut self) -> Result<bool, Fault> {
        let opened = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = next_special(self.text.as_bytes(), self.at);
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("there is a control character in a string")),
                None => {
                    self.at = opened;
                    return Err(self.fault("a string does not end"));
                }
            }
            escaped = true;
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        let length = match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return Err(self.fault("there is an unknown escape")),
        };
        let digits = bytes.get(self.at + 2..self.at + length);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(self.fault("an escape does not have four hex digits"));
        }
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == b'-' {
            self.at += 1;
            if self.peek() == b'I' {
                return self.word(&["Infinity"]);
            }
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return Err(self.fault("a digit is missing"));
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, words: &[&str]) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let found = words.iter().find(|word| rest.starts_with(word.as_bytes()));
        let word = found.ok_or_else(|| self.fault("a value is missing"))?;
        self.at += word.len();
        Ok(())
    }
}

/// The second pass, over a list or object that has been checked.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Moves to the next entry; false, behind the closing bracket, if there is none.
    pub fn next_element(&mut self) -> bool {
        while is_blank(self.peek()) || self.peek() == b',' {
            self.at += 1;
        }
        let more = !matches!(self.peek(), b']' | b'}' | 0);
        self.at += usize::from(!more);
        more
    }

    /// The name of an object's next member, with the cursor moved to its value.
    pub fn next_member(&mut self) -> Option<Raw<'a>> {
        if !self.next_element() {
            return None;
        }
        let name = self.value();
        while is_blank(self.peek()) || self.peek() == b':' {
            self.at += 1;
        }
        Some(name)
    }

    /// Steps into the object at hand, if it is one.
    pub fn step_into_object(&mut self) -> bool {
        let object = self.peek() == b'{';
        self.at += usize::from(object);
        object
    }

    /// Takes the value at hand, and moves behind it.
    pub fn value(&mut self) -> Raw<'a> {
        let start = self.at;
        let escaped = match self.peek() {
            b'"' => self.skip_string(),
            b'{' | b'[' => {
                self.skip_nested();
                false
            }
            _ => {
                while !matches!(self.peek(), b',' | b']' | b'}' | 0) && !is_blank(self.peek()) {
                    self.at += 1;
                }
                false
            }
        };
        Raw {
            json: &self.text[start..self.at],
            escaped,
        }
    }

    /// True if the string has escapes.
    fn skip_string(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = next_special(bytes, self.at);
            if bytes.get(self.at) != Some(&b'\\') {
                self.at = (self.at + 1).min(bytes.len());
                return escaped;
            }
            escaped = true;
            self.at += 2;
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                0 => return,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::super::text::value;
    use super::*;
    use crate::model::Value;

    fn read(json: &str) -> Result<Value, Fault> {
        Document::read(json.as_bytes(), []).map(|document: Document<'_, 0>| value(document.root))
    }

    fn offset(json: &[u8]) -> usize {
        let document: Result<Document<'_, 0>, Fault> = Document::read(json, []);
        document.unwrap_err().offset
    }

    #[test]
    fn integers_floats_and_texts_are_told_apart() {
        assert_eq!(read("15").unwrap(), Value::Int("15".into()));
        assert_eq!(read("15.0").unwrap(), Value::Float(15.0));
        assert_eq!(read("15e0").unwrap(), Value::Float(15.0));
        assert_eq!(read("\"15\"").unwrap(), Value::Text("15".into()));
        assert_eq!(read("-0").unwrap(), Value::Int("0".into()));
        assert_eq!(read("-0.0").unwrap().text().unwrap(), "-0.0");
        let long = "9".repeat(400);
        assert_eq!(read(&long).unwrap(), Value::Int(long.into()));
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
    fn of_equal_names_the_last_stands() {
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
    fn faults_are_found_where_they_are() {
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
    fn hostile_nesting_is_refused_and_not_followed() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(DEEPEST)).is_ok());
        assert_eq!(offset(nested(DEEPEST + 1).as_bytes()), DEEPEST);
        assert_eq!(offset("{\"a\":".repeat(1_000_000).as_bytes()), 5 * DEEPEST);
    }

    /// Pieces of JSON, of what Python takes for it, and of neither.
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

    /// Documents that Python takes.
    fn good() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(PIECES)
                .prop_filter("a value", |piece| read(piece).is_ok())
                .prop_map(str::to_owned),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            any::<i64>().prop_map(|number| number.to_string()),
            "\"[ -!#-\\[\\]-~éß語😀]{0,12}\"",
        ];
        let name =
            prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\\ud83d\"", "\"\""]);
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

    /// Reads documents as hex, a line each; answers with the hex of each one's `str()`.
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
        let writer =
            std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
        let output = python.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn python_reads_the_same_out_of_odd_documents() {
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
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), odd in odd()) {
            for bytes in [bytes, odd] {
                if let Ok(document) = Document::read(&bytes, ["a"]) {
                    let _ = value(document.root);
                    let _ = document.root.is_falsy();
                }
            }
        }
    }
}
