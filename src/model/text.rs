//! Text for people, in a terminal or on a page: readable numbers, and foreign text made harmless.
//! All text from a lake or a portal goes through [`clean`] before it is shown, because it could
//! move the cursor, reverse the line or hide.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A number with a comma at every thousand: `1,248`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text` as one word of a shell: quoted unless it is plain.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', "'\\''")).into()
}

/// Whether a terminal would do something else with it than show it: control characters, and those
/// that turn the direction of writing or are not seen at all.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, with everything escaped that could upset a terminal.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    text.chars()
        .fold(String::new(), |mut clean, c| {
            if is_unsafe(c) {
                clean.extend(c.escape_default());
            } else {
                clean.push(c);
            }
            clean
        })
        .into()
}

/// JSON on one line, with everything escaped in its strings that could upset a terminal. The
/// meaning stays the same: outside strings, control characters are only white space.
#[must_use]
pub fn clean_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return json.into();
    }
    json.chars()
        .fold(String::with_capacity(json.len() + 8), |mut clean, c| {
            if matches!(c, '\t' | '\n' | '\r') {
                clean.push(' ');
            } else if is_unsafe(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(clean, "\\u{unit:04x}");
                }
            } else {
                clean.push(c);
            }
            clean
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_of_a_shell() {
        for plain in ["/etc/sodalake/sodalake.toml", "/srv/a_b-1.toml"] {
            assert_eq!(shell_word(plain), plain);
        }
        assert_eq!(shell_word("my file"), "'my file'");
        assert_eq!(shell_word("it's; rm -rf $HOME"), "'it'\\''s; rm -rf $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn numbers_have_a_comma_at_every_thousand() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_248, "1,248"),
            (100_000, "100,000"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn hostile_text_cannot_move_the_cursor_or_reverse_the_line() {
        assert_eq!(clean("BURNET RD / CH\u{c1}VEZ"), "BURNET RD / CH\u{c1}VEZ");
        assert_eq!(clean("\u{1b}[2Jgone\r\n"), "\\u{1b}[2Jgone\\r\\n");
        assert_eq!(
            clean("a\u{202e}b\u{200b}c\u{9b}"),
            "a\\u{202e}b\\u{200b}c\\u{9b}"
        );
    }

    #[test]
    fn clean_json_keeps_its_meaning() {
        let json = "{\"a\":\n\t[\"x\u{9b}2J\u{202e}\u{e0041}é\"]}";
        let clean = clean_json(json);
        assert_eq!(clean, r#"{"a":  ["x\u009b2J\u202e\udb40\udc41é"]}"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&clean), read(json));
    }
}
