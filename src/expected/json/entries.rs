//! The long list of a file: where the wanted fields of each of its entries stand.
//!
//! Noted while the file is checked, so that the rows need not be looked for a second time. One
//! program wrote all entries of a list, so what stands between two values, names and marks, is
//! nearly always what stood there in the entry before: it was checked then, and is compared now.
//! Where it is anything else it is checked like the rest of the file.

use std::num::NonZeroU32;

use super::check::Checker;
use super::{Fault, Kind, Raw};

/// What is noted of all entries may take as many bytes as the file and these: a real row is longer
/// than what is noted of it, and a list of millions of empty entries must not take all memory.
const SPARE_BYTES: usize = 16 << 20;
/// Members of an entry that are remembered for the next one. Real ones have some twenty.
const MOST_REMEMBERED: usize = 1_000;

/// Where a field's value stands in the document, in eight bytes: a day has a million of them.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Never 0: there stands the document's bracket.
    start: NonZeroU32,
    /// In bytes; with [`ESCAPED`] if it is a string with escapes.
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

/// The entries of a checked list, each with its wanted fields: of equal names the last.
#[derive(Debug)]
pub(in crate::expected) struct Entries<'a, const F: usize> {
    text: &'a str,
    /// The wanted fields.
    pub names: [&'static str; F],
    list: Vec<Entry<F>>,
}

impl<'a, const F: usize> Entries<'a, F> {
    /// No entries yet.
    pub(super) fn none(text: &'a str, names: [&'static str; F]) -> Self {
        Self {
            text,
            names,
            list: Vec::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One field of every entry, by the place of its name.
    pub fn field(&self, slot: usize) -> impl Iterator<Item = Option<Raw<'a>>> {
        self.list.iter().map(move |entry| match entry {
            Entry::Object(fields) => Some(fields[slot]?.raw(self.text)),
            Entry::Other(_) => None,
        })
    }

    /// Every entry's fields in the order of their names, or what it is if it is no object.
    pub fn iter(&self) -> impl Iterator<Item = Result<[Option<Raw<'a>>; F], Kind>> {
        self.list.iter().map(|entry| match entry {
            Entry::Object(fields) => Ok(fields.map(|field| Some(field?.raw(self.text)))),
            Entry::Other(kind) => Err(*kind),
        })
    }
}

/// What led to each value of the entry before, and which wanted field the value was.
type Layout<'a> = Vec<(&'a str, Option<usize>)>;

impl<'a> Checker<'a> {
    /// Checks the list at hand, which stands in the document's root.
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
                return Err(self.fault("there are more entries than such a file has room for rows"));
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
                Some((lead, slot)) if self.steps_over(lead) => *slot,
                _ => {
                    let start = self.at;
                    let Some(name) = self.next_name(nth == 0)? else {
                        break;
                    };
                    let slot = names.iter().position(|wanted| name.is(wanted));
                    layout.truncate(nth);
                    if nth < MOST_REMEMBERED {
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

    /// Steps over this text, and blanks behind it, if it stands at hand.
    #[inline]
    fn steps_over(&mut self, lead: &str) -> bool {
        let here = self.text.as_bytes()[self.at..].starts_with(lead.as_bytes());
        if here {
            self.at += lead.len();
            self.blanks();
        }
        here
    }

    /// The name of the object's next member, with the blanks and marks around it; `None` behind
    /// the closing bracket.
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
        span.ok_or_else(|| self.fault("a list of rows goes on beyond 4 GiB, or a value beyond 2"))
    }
}
