//! Text layout for people: colors, numbers, tables, and making hostile text harmless.
//!
//! Text is always written with colors; they are stripped on the way to stdout if they are not
//! wanted ([`choose`]: `--color`, `NO_COLOR`, no terminal). Text from a lake or a portal goes
//! through [`clean`] before it is printed, since it could move the cursor or reverse the line.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::model::text::{clean, clean_json, thousands};

/// Width of text for people, in columns.
pub const WIDTH: usize = 80;

/// The meaning of a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// In sync, done.
    Good,
    /// Needs attention: held, unproven, not confirmed yet.
    Warn,
    /// Differs, failed.
    Bad,
    /// Less important, such as the origin of a value.
    Faint,
    /// A heading.
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// Decides for the whole process whether stdout and stderr get colors. `auto` depends on
/// `NO_COLOR`, `CLICOLOR`, `TERM` and whether the stream is a terminal.
pub fn choose(color: ColorChoice) {
    let choice = match color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// `text` in the color of `tone`, for [`anstream::stdout`].
pub fn paint(tone: Tone, text: impl fmt::Display) -> String {
    let style = tone.style();
    format!("{style}{text}{style:#}")
}

/// Writes `text` to stdout. A broken pipe is not an error: a reader such as `head` may stop early.
///
/// # Errors
/// If stdout cannot be written for any other reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// A value as one line of JSON that is safe to print on a terminal.
///
/// # Panics
/// If the value cannot be serialized.
#[must_use]
pub fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("a report can be serialized");
    format!("{}\n", clean_json(&json))
}

/// How many terminal columns `text` takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to `columns`; the last column is `…` if anything was cut off.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let mut left = columns.saturating_sub(1);
    let mut short = String::new();
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        short.push(c);
    }
    if columns > 0 {
        short.push('…');
    }
    short.into()
}

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// The text of a cell, and its color if it has one.
type TableCell = (String, Option<Tone>);

/// A table whose columns are as wide as their text; the last column is cut to fit the width.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<TableCell>>,
}

impl Table {
    /// An empty table with these headings.
    #[must_use]
    pub fn new(columns: &[(&str, Side)]) -> Self {
        let named = |(name, side): &(&str, Side)| ((*name).to_owned(), *side);
        Self {
            columns: columns.iter().map(named).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. The texts are cleaned; missing cells stay empty.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (T, Option<Tone>)>) {
        let cell = |(text, tone): (T, Option<Tone>)| (clean(text.as_ref()).into_owned(), tone);
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Whether the table has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table's lines. The last column is cut to keep them within `columns`.
    #[must_use]
    pub fn render(&self, columns: usize) -> String {
        let widths = self.widths(columns);
        let mut text = String::new();
        let head = self
            .columns
            .iter()
            .map(|(name, _)| (name.clone(), Some(Tone::Strong)));
        self.line(&mut text, &widths, &head.collect::<Vec<_>>());
        for row in &self.rows {
            self.line(&mut text, &widths, row);
        }
        text
    }

    fn widths(&self, columns: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (most, (text, _)) in widths.iter_mut().zip(row) {
                *most = (*most).max(width(text));
            }
        }
        if let Some((last, others)) = widths.split_last_mut() {
            let taken: usize = others.iter().map(|one| one + 2).sum();
            *last = (*last).min(columns.saturating_sub(taken).max(10));
        }
        widths
    }

    fn line(&self, text: &mut String, widths: &[usize], cells: &[TableCell]) {
        let start = text.len();
        for (at, ((cell, tone), most)) in cells.iter().zip(widths).enumerate() {
            let short = cut(cell, *most);
            let pad = " ".repeat(most - width(&short));
            let painted = tone.map_or_else(|| short.to_string(), |tone| paint(tone, &short));
            let gap = if at > 0 { "  " } else { "" };
            let _ = match self.columns.get(at).map(|(_, side)| *side) {
                Some(Side::Right) => write!(text, "{gap}{pad}{painted}"),
                Some(Side::Left) | None => write!(text, "{gap}{painted}{pad}"),
            };
        }
        let end = text[start..].trim_end_matches(' ').len();
        text.truncate(start + end);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_align_by_displayed_width() {
        let mut table = Table::new(&[
            ("dataset", Side::Left),
            ("rows", Side::Right),
            ("why", Side::Left),
        ]);
        table.row([
            ("camera-counts", Some(Tone::Good)),
            ("1,248", None),
            ("北京 Ch\u{e1}vez", None),
        ]);
        table.row([("radar", None), ("7", None), ("\u{1b}[2J", None)]);
        insta::assert_snapshot!(plain(&table.render(WIDTH)), @r"
        dataset         rows  why
        camera-counts  1,248  北京 Chávez
        radar              7  \u{1b}[2J
        ");
    }

    #[test]
    fn the_last_column_is_cut_to_fit() {
        let mut table = Table::new(&[("day", Side::Left), ("why", Side::Left)]);
        table.row([("2020-10-01", None), (&*"long ".repeat(40), None)]);
        let text = plain(&table.render(40));
        assert!(text.lines().all(|line| width(line) <= 40), "{text}");
        assert!(text.contains('…'));
    }

    proptest! {
        #[test]
        fn cut_text_never_exceeds_the_width(text in "\\PC{0,30}", columns in 0usize..20) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }
}
