//! Checks that a file is JSON to its last byte, as Python parses it. Nothing is trusted here. The
//! positions of the requested members of the top level are recorded on the way.

use super::entries::Entries;
use super::{Fault, Raw, is_blank, next_special};

/// Maximum nesting of lists and objects. Ready files have about ten levels.
pub(super) const MAX_DEPTH: usize = 128;

/// A file that is JSON to its end.
#[derive(Debug)]
pub(in crate::expected) struct Document<'a, const N: usize, const F: usize = 0> {
    /// The whole value.
    pub root: Raw<'a>,
    /// The requested members, if the value is an object that has them.
    pub members: [Option<Raw<'a>>; N],
    /// The entries of the requested list, if the value is an object that has it.
    pub entries: Entries<'a, F>,
}

#[cfg(test)]
impl<'a, const N: usize> Document<'a, N> {
    /// Checks all of `bytes` and finds the top level's members with these names.
    pub fn read(bytes: &'a [u8], names: [&str; N]) -> Result<Self, Fault> {
        Self::with_entries(bytes, names, None, [])
    }
}

impl<'a, const N: usize, const F: usize> Document<'a, N, F> {
    /// Checks all of `bytes`. Finds the top level's members with these names, and these fields in
    /// each entry of the top level's list with that name.
    ///
    /// # Errors
    /// At the first byte that Python would refuse, or if nesting is too deep.
    pub fn with_entries(
        bytes: &'a [u8],
        names: [&str; N],
        list: Option<&str>,
        fields: [&'static str; F],
    ) -> Result<Self, Fault> {
        let text = simdutf8::compat::from_utf8(bytes).map_err(|error| Fault {
            offset: error.valid_up_to(),
            what: "the bytes are not UTF-8",
        })?;
        let mut checker = Checker { text, at: 0 };
        if text.starts_with('\u{feff}') {
            return Err(checker.fault("there is a byte order mark"));
        }
        checker.blanks();
        let start = checker.at;
        let mut found = Self {
            root: Raw::NULL,
            members: [None; N],
            entries: Entries::none(text, fields),
        };
        let escaped = if checker.peek() == b'{' {
            checker.root(names, list, &mut found)?;
            false
        } else {
            checker.value(0)?
        };
        found.root = Raw {
            json: &text[start..checker.at],
            escaped,
        };
        checker.blanks();
        if checker.at < text.len() {
            return Err(checker.fault("there is more after the end of the value"));
        }
        Ok(found)
    }
}

/// The first pass over a file.
pub(super) struct Checker<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Checker<'a> {
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault {
            offset: self.at,
            what,
        }
    }

    /// The current byte. At the end it is 0, which JSON never contains outside strings.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    pub(super) fn blanks(&mut self) {
        while is_blank(self.peek()) {
            self.at += 1;
        }
    }

    /// Checks the object of the top level and records the requested members and entries.
    fn root<const N: usize, const F: usize>(
        &mut self,
        names: [&str; N],
        list: Option<&str>,
        found: &mut Document<'a, N, F>,
    ) -> Result<(), Fault> {
        if self.is_empty(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            let start = self.at;
            let is_list = self.peek() == b'[' && list.is_some_and(|requested| name.is(requested));
            let escaped = if is_list {
                found.entries = self.entries(found.entries.names)?;
                false
            } else {
                self.value(1)?
            };
            if let Some(slot) = names.iter().position(|requested| name.is(requested)) {
                let json = &self.text[start..self.at];
                found.members[slot] = Some(Raw { json, escaped });
            }
            if self.is_last(b'}')? {
                return Ok(());
            }
        }
    }

    /// Checks one value. Returns true if it is a string with escapes.
    pub(super) fn value(&mut self, depth: usize) -> Result<bool, Fault> {
        match self.peek() {
            b'"' => return self.string(),
            b'{' | b'[' if depth >= MAX_DEPTH => return Err(self.fault("nesting is too deep")),
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

    /// Skips the opening bracket, and the closing one if there is nothing between them.
    pub(super) fn is_empty(&mut self, close: u8) -> bool {
        self.at += 1;
        self.blanks();
        let empty = self.peek() == close;
        self.at += usize::from(empty);
        empty
    }

    /// Skips what follows an entry. Returns true if that is the closing bracket.
    pub(super) fn is_last(&mut self, close: u8) -> Result<bool, Fault> {
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

    /// A member's name. Also skips its colon and the white space around it.
    pub(super) fn name(&mut self) -> Result<Raw<'a>, Fault> {
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

    #[inline]
    fn string(&mut self) -> Result<bool, Fault> {
        let opened = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = next_special(self.text.as_bytes(), self.at, true);
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
