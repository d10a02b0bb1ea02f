//! Parses the bytes of a file as JSON, as Python's `json` module does.
//!
//! The lake's files are written and read by Python, so we must accept what that module accepts: the
//! bare tokens `NaN`, `Infinity` and `-Infinity`, integers of any length, which differ from floats
//! by their token, lone surrogates such as `"\ud83d"`, and repeated keys, of which the last counts.
//! No library does all of this. `serde_json` refuses the bare tokens and lone surrogates, and those
//! that accept them build a tree of the file, which for a day of 300,000 rows is several times its
//! size.
//!
//! There are two steps. A [`Document`] is checked once, to its last byte. This records the
//! positions of the requested members of its top level, and of the requested fields of its long
//! list ([`Entries`]). A [`Cursor`] then reads other parts of the checked text, which cannot fail.
//! Nesting is limited, so that no file can exhaust the stack.

mod check;
mod entries;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use rustpython_wtf8::{CodePoint, Wtf8Buf};

pub(super) use check::Document;
pub(super) use entries::Entries;

/// Why bytes are not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Position in bytes, from 0.
    pub offset: usize,
    /// What is wrong at that position.
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
    /// The kind, with its article: `a list`.
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

/// One value of a checked document: its text, from the first to the last byte.
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

    /// The value as written in the file.
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

    /// The content of a string without escapes, which is the usual case.
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

    /// The content of a string, if it has a UTF-8 form.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => Some(Cow::Owned(self.decoded()?.into_string().ok()?)),
        }
    }

    /// Whether Python treats the value as false: null, false, zero, or empty.
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

    /// The member of an object with this name. If there are several, the last.
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

/// The content of a checked string with its escapes decoded.
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

/// The code point of the escape at the start of checked text, and the escape's length in bytes.
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

/// Decodes `\uXXXX`, and the surrogate pair if another such escape completes it.
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

/// The high bit of the first byte of `word` that equals `byte`. Higher bits are undefined.
#[inline]
fn marks(word: u64, byte: u8) -> u64 {
    let zeros = word ^ (ONES * u64::from(byte));
    zeros.wrapping_sub(ONES) & !zeros & HIGHS
}

/// The high bit of the first control character of `word`. Higher bits are undefined.
#[inline]
fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}

/// The position of the next quote or backslash at or after `at` or, if `strict`, of the next
/// control character; the end if there is none. It works on eight bytes at a time, because most of
/// a file's bytes pass through here twice.
#[inline]
fn next_special(bytes: &[u8], mut at: usize, strict: bool) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let mut special = marks(word, b'"') | marks(word, b'\\');
        if strict {
            special |= controls(word);
        }
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || (strict && byte < 0x20);
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// Reads a list or object that has been checked.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Moves to the next entry. Returns false, and moves past the closing bracket, if there is
    /// none.
    #[inline]
    pub fn next_element(&mut self) -> bool {
        while is_blank(self.peek()) || self.peek() == b',' {
            self.at += 1;
        }
        let more = !matches!(self.peek(), b']' | b'}' | 0);
        self.at += usize::from(!more);
        more
    }

    /// The name of an object's next member. The cursor moves to its value.
    #[inline]
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

    /// Returns the current value, and moves past it.
    #[inline]
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

    /// Returns true if the string has escapes.
    #[inline]
    fn skip_string(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = next_special(bytes, self.at, false);
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
