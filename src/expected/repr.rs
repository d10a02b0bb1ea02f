//! Python's `repr()` of a text, lone surrogates included.
//!
//! Which characters count as printable depends on the Unicode version of the Python at hand. It
//! differs only for characters that were not yet assigned in the older one.

use std::fmt::Write as _;

use rustpython_wtf8::{CodePoint, Wtf8};
use unicode_general_category::{GeneralCategory, get_general_category};

/// The text in quotes, with escapes for what cannot be printed.
pub(super) fn repr(text: &Wtf8) -> String {
    let has = |quote: char| text.code_points().any(|one| one == quote);
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    let mut repr = String::with_capacity(text.len() + 2);
    repr.push(quote);
    for point in text.code_points() {
        put(&mut repr, point, quote);
    }
    repr.push(quote);
    repr
}

fn put(repr: &mut String, point: CodePoint, quote: char) {
    match point.to_char() {
        Some('\t') => repr.push_str("\\t"),
        Some('\n') => repr.push_str("\\n"),
        Some('\r') => repr.push_str("\\r"),
        Some(letter) if letter == quote || letter == '\\' => repr.extend(['\\', letter]),
        Some(letter) if is_printable(letter) => repr.push(letter),
        _ => put_escaped(repr, point.to_u32()),
    }
}

fn put_escaped(repr: &mut String, point: u32) {
    // Writing to a String cannot fail.
    let _ = match point {
        0..=0xff => write!(repr, "\\x{point:02x}"),
        0x100..=0xffff => write!(repr, "\\u{point:04x}"),
        _ => write!(repr, "\\U{point:08x}"),
    };
}

/// What `str.isprintable()` says of a character.
fn is_printable(letter: char) -> bool {
    use GeneralCategory as Category;
    letter == ' '
        || !matches!(
            get_general_category(letter),
            Category::Control
                | Category::Format
                | Category::Surrogate
                | Category::PrivateUse
                | Category::Unassigned
                | Category::LineSeparator
                | Category::ParagraphSeparator
                | Category::SpaceSeparator
        )
}

#[cfg(test)]
mod tests {
    use rustpython_wtf8::Wtf8Buf;

    use super::*;

    fn of(text: &str) -> String {
        repr(Wtf8::new(text))
    }

    #[test]
    fn quotes_and_escapes_are_pythons() {
        assert_eq!(of("a b"), "'a b'");
        assert_eq!(of("it's"), "\"it's\"");
        assert_eq!(of("'\""), "'\\'\"'");
        assert_eq!(of("\t\n\r\\"), r"'\t\n\r\\'");
        assert_eq!(of("\0\x1f\x7f\u{a0}"), r"'\x00\x1f\x7f\xa0'");
        assert_eq!(of("\u{200b}\u{e000}\u{2028}"), r"'\u200b\ue000\u2028'");
        assert_eq!(of("\u{10ffff}"), r"'\U0010ffff'");
        assert_eq!(of("é 雪 😀"), "'é 雪 😀'");
    }

    #[test]
    fn a_lone_surrogate_is_escaped() {
        let mut text = Wtf8Buf::new();
        text.push(CodePoint::from_u32(0xd83d).expect("a code point"));
        assert_eq!(repr(&text), r"'\ud83d'");
    }
}
