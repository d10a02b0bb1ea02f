//! Records the positions of the requested fields in each entry of a file's long list.
//!
//! This is done while the file is checked, so that the rows need not be searched again. All entries
//! of a list were written by one program, so the text between two values (names and punctuation) is
//! nearly always the same as in the previous entry. It was checked there, and is only compared
//! here. If it differs, it is checked like the rest of the file.

use std::num::NonZeroU32;

use super::check::Checker;
use super::{Fault, Kind, Raw};

/// The recorded positions may take as many bytes as the file, plus these. A real row is longer than
/// its record, and a list of millions of empty entries must not use up the memory.
const SPARE_BYTES: usize = 16 << 20;
/// Maximum members of an entry that are remembered for the next one. Real entries have about
/// twenty.
const MAX_REMEMBERED: usize = 1_000;

/// The position of a field's value in the document, in eight bytes, because a day has a million of
/// them.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Never 0, because the document starts with a bracket.
    start: NonZeroU32,
    /// In bytes. Includes [`ESCAPED`] if the value is a string with escapes.
    length: u32,
}

const ESCAPED: u32 = 1 << 31;

impl Span {
    fn of(start: usize, end: usize, escaped: bool) -> Option<Self> {
        let length = u32::try_from(end - start).ok()?;
        Some(Self {
            start: NonZeroU32::new(u32::try_from(start).ok()?)?,
            length: (length < ESCAPED).then_some(length)? | if escaped { ESCAPED } else { 0 },
        })
    }

    fn raw(self, text: &str) -> Raw<'_> {
        let start = self.start.get() as usize;
        let end = start + (self.length & !ESCAPED) as usize;
        Raw {
            json: &text[start..end],
            escaped: self.length >= ESCAPED,
        }
    }
}

#[derive(Debug)]
enum Entry<const F: usize> {
    Object([Option<Span>; F]),
    Other(Kind),
}

/// The entries of a checked list, each with its requested fields. If names are equal, the last
/// counts.
#[derive(Debug)]
pub(in crate::expected) struct Entries<'a, const F: usize> {
    text: &'a str,
    /// The names of the requested fields.
    pub names: [&'static str; F],
    list: Vec<Entry<F>>,
}

impl<'a, const F: usize> Entries<'a, F> {
    /// An empty list of entries.
    pub(super) fn none(text: &'a str, names: [&'static str; F]) -> Self {
        Self {
            text,
            names,
            list: Vec::new(),
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One field of every entry, by the index of its name.
    pub fn field(&self, slot: usize) -> impl Iterator<Item = Option<Raw<'a>>> {
        self.list.iter().map(move |entry| match entry {
            Entry::Object(fields) => Some(fields[slot]?.raw(self.text)),
            Entry::Other(_) => None,
        })
    }

    /// Every entry's fields in the order of their names, or its kind if it is not an object.
    pub fn iter(&self) -> impl Iterator<Item = Result<[Option<Raw<'a>>; F], Kind>> {
        self.list.iter().map(|entry| match entry {
            Entry::Object(fields) => Ok(fields.map(|field| Some(field?.raw(self.text)))),
            Entry::Other(kind) => Err(*kind),
        })
    }
}

/// The text before each value of the previous entry, and the index of the requested field.
type Layout<'a> = Vec<(&'a str, Option<usize>)>;

impl<'a> Checker<'a> {
    /// Checks the current list, a member of the document's root.
    pub(super) fn entries<const F: usize>(
        &mut self,
        names: [&'static str; F],
    ) -> Result<Entries<'a, F>, Fault> {
        let mut entries = Entries::none(self.text, names);
        let mut layout = Layout::new();
        if self.is_empty(b']') {
            return Ok(entries);
        }
        loop {
            entries.list.push(if self.peek() == b'{' {
                Entry::Object(self.fields(&names, &mut layout)?)
            } else {
                let start = self.at;
                self.value(2)?;
                let (json, escaped) = (&self.text[start..self.at], false);
                Entry::Other(Raw { json, escaped }.kind())
            });
            if size_of_val(entries.list.as_slice()) > self.text.len() + SPARE_BYTES {
                return Err(
                    self.fault("there are more entries than a file of this size can have rows")
                );
            }
            if self.is_last(b']')? {
                return Ok(entries);
            }
        }
    }

    fn fields<const F: usize>(
        &mut self,
        names: &[&'static str; F],
        layout: &mut Layout<'a>,
    ) -> Result<[Option<Span>; F], Fault> {
        let mut fields = [None; F];
        for nth in 0.. {
            let slot = match layout.get(nth) {
                Some((lead, slot)) if self.skip_text(lead) => *slot,
                _ => {
                    let start = self.at;
                    let Some(name) = self.next_name(nth == 0)? else {
                        break;
                    };
                    let slot = names.iter().position(|requested| name.is(requested));
                    layout.truncate(nth);
                    if nth < MAX_REMEMBERED {
                        layout.push((&self.text[start..self.at], slot));
                    }
                    slot
                }
            };
            let start = self.at;
            let escaped = self.value(3)?;
            if let Some(slot) = slot {
                fields[slot] = Some(self.span(start, escaped)?);
            }
        }
        Ok(fields)
    }

    /// Skips this text, and white space after it, if it comes next.
    #[inline]
    fn skip_text(&mut self, lead: &str) -> bool {
        let here = self.text.as_bytes()[self.at..].starts_with(lead.as_bytes());
        if here {
            self.at += lead.len();
            self.blanks();
        }
        here
    }

    /// The name of the object's next member. Also skips the white space and punctuation around it.
    /// `None` after the closing bracket.
    fn next_name(&mut self, first: bool) -> Result<Option<Raw<'a>>, Fault> {
        let ends = if first {
            self.is_empty(b'}')
        } else {
            self.is_last(b'}')?
        };
        if ends {
            Ok(None)
        } else {
            self.name().map(Some)
        }
    }

    fn span(&self, start: usize, escaped: bool) -> Result<Span, Fault> {
        let span = Span::of(start, self.at, escaped);
        span.ok_or_else(|| {
            self.fault("a list of rows is longer than 4 GiB, or a value longer than 2")
        })
    }
}
