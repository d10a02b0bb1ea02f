//! Writes ready files as the lake's Python programs do, directly as bytes: `", "` and `": "` as
//! separators, `\u` escapes for everything but ASCII, floats that keep their `.0`, the bare token
//! `NaN`, and times as `2019-06-05 00:15:00-05:00`.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::clock::Stamp;

/// The text of a file that is being written.
#[derive(Debug, Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// An empty text with room for `bytes`.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes text that is already JSON.
    pub(super) fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// Writes a string in quotes.
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        for letter in text.chars() {
            match letter {
                '"' | '\\' => self.0.extend([b'\\', letter as u8]),
                ' '..='~' => self.0.push(letter as u8),
                other => self.escape(other),
            }
        }
        self.0.push(b'"');
        self
    }

    fn escape(&mut self, letter: char) {
        for unit in letter.encode_utf16(&mut [0; 2]) {
            self.raw(&format!("\\u{unit:04x}"));
        }
    }

    /// Writes an integer.
    pub(super) fn int(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.0.push(b'-');
        }
        self.digits(number.unsigned_abs())
    }

    fn digits(&mut self, number: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut rest = number;
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = digit(rest % 10);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
    }

    /// Writes a number of thousandths as Python prints the float: `11.0`, `8.25`, `21.667`.
    pub(super) fn thousandths(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.0.push(b'-');
        }
        let number = number.unsigned_abs();
        self.digits(number / 1000);
        self.0.push(b'.');
        let fraction = number % 1000;
        self.0.push(digit(fraction / 100));
        if !fraction.is_multiple_of(100) {
            self.0.push(digit(fraction / 10 % 10));
        }
        if !fraction.is_multiple_of(10) {
            self.0.push(digit(fraction % 10));
        }
        self
    }

    /// Writes a time in quotes.
    pub(super) fn time(&mut self, stamp: Stamp) -> &mut Self {
        self.0.push(b'"');
        self.wall(stamp.wall);
        self.0.extend(b"-0");
        self.0.push(digit(u64::from(stamp.west)));
        self.0.extend(b":00\"");
        self
    }

    fn wall(&mut self, wall: NaiveDateTime) {
        self.digits(u64::from(wall.year().unsigned_abs()));
        let parts = [
            (b'-', wall.month()),
            (b'-', wall.day()),
            (b' ', wall.hour()),
            (b':', wall.minute()),
            (b':', wall.second()),
        ];
        for (before, number) in parts {
            let number = u64::from(number);
            self.0
                .extend([before, digit(number / 10), digit(number % 10)]);
        }
    }
}

fn digit(number: u64) -> u8 {
    b"0123456789"[usize::try_from(number % 10).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        write(&mut text);
        String::from_utf8(text.into_bytes()).unwrap()
    }

    #[test]
    fn strings_are_ascii_with_surrogate_pairs() {
        let text = put(|text| {
            text.string("Ch\u{e1}vez \"\\\u{1}\u{1f600}");
        });
        assert_eq!(text, "\"Ch\\u00e1vez \\\"\\\\\\u0001\\ud83d\\ude00\"");
    }

    #[test]
    fn thousandths_are_printed_like_python_floats() {
        for (number, printed) in [
            (11_000, "11.0"),
            (8_250, "8.25"),
            (21_667, "21.667"),
            (5, "0.005"),
            (50, "0.05"),
            (-1_000, "-1.0"),
        ] {
            let text = put(|text| {
                text.thousandths(number);
            });
            assert_eq!(text, printed);
        }
    }
}
