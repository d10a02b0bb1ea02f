//! Splits text into tokens, like the server's `SoQLLexer.flex`: `'it''s'` and `"it\"s"` are both
//! text, backticks quote names, names may start with `:` or `:@`, and comments are skipped.

use super::SoqlError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword, as written.
    Word(String),
    /// A name in backticks, never a keyword.
    Quoted(String),
    Text(String),
    Number(String),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 17] = [
    "<=", ">=", "!=", "<>", "==", "||", "|>", "=", "<", ">", "(", ")", ",", "*", "-", "+", ":*",
];

/// The tokens with the position (from 1) of their first character. The last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SoqlError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = if letter.is_whitespace() {
            letter.len_utf8()
        } else if let Some(comment) = comment(rest) {
            comment
        } else {
            let (token, length) = token(rest, letter).ok_or_else(|| SoqlError::Parse {
                text: text.to_owned(),
                at: at + 1,
                what: format!("Unexpected character `{letter}'"),
            })?;
            found.push((token, at + 1));
            length
        };
        at += length;
    }
    found.push((Token::End, text.len() + 1));
    Ok(found)
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("--") {
        return Some(rest.find('\n').map_or(rest.len(), |end| end + 1));
    }
    rest.starts_with("/*")
        .then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

fn token(rest: &str, letter: char) -> Option<(Token, usize)> {
    match letter {
        '\'' => doubled(rest),
        '"' => escaped(rest),
        '`' => {
            let end = rest[1..].find('`')?;
            Some((Token::Quoted(rest[1..=end].to_owned()), end + 2))
        }
        '0'..='9' | '.' => number(rest),
        ':' if rest.starts_with(":*") => Some((Token::Symbol(":*"), 2)),
        letter if letter.is_alphabetic() || letter == '_' || letter == ':' => word(rest),
        _ => SYMBOLS
            .iter()
            .find(|symbol| rest.starts_with(**symbol))
            .map(|symbol| (Token::Symbol(symbol), symbol.len())),
    }
}

fn doubled(rest: &str) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '\'' {
            text.push(letter);
        } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
            text.push('\'');
        } else {
            return Some((Token::Text(text), at + 1));
        }
    }
    None
}

fn escaped(rest: &str) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((Token::Text(text), at + 1)),
            '\\' => text.push(match letters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            other => text.push(other),
        }
    }
    None
}

fn number(rest: &str) -> Option<(Token, usize)> {
    let bytes = rest.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let sign_of_exponent =
            end > 0 && matches!(bytes[end], b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
        let part = bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'e' | b'E');
        if !part && !sign_of_exponent {
            break;
        }
        end += 1;
    }
    super::super::decimal::Decimal::parse(&rest[..end])
        .map(|_| (Token::Number(rest[..end].to_owned()), end))
}

fn word(rest: &str) -> Option<(Token, usize)> {
    let prefix = if rest.starts_with(":@") {
        2
    } else {
        usize::from(rest.starts_with(':'))
    };
    let length = rest[prefix..]
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .map_or(rest.len(), |end| end + prefix);
    (length > prefix).then(|| (Token::Word(rest[..length].to_owned()), length))
}
