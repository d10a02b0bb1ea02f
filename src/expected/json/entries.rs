//! The long list of a file: where the wanted fields of each of its entries stand.
//!
//! Noted while the file is checked, so that the rows need not be looked for a second time. One
//! program wrote all entries of a list, so what stands between two values, names and marks, is
//! nearly always what stood there in the entry before: it was checked then, and is compared now.
//! Where it is anything else it is checked like the rest of the file.

use super::check::Checker;
use super::{Fault, Kind, Raw};

/// What is noted of all entries may take as many bytes as the file and these: a real row is longer
/// than what is noted of it, and a list of millions of empty entries must not take all memory.
const SPARE_BYTES: usize = 16 << 20;
/// Members of an entry that are remembered for the next one. Real ones have some twenty.
const MOST_REMEMBERED: usize = 1_000;

/// Where a field's value stands in the document.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
    escaped: bool,
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

    /// Every entry's fields in the order of their names, or what it is if it is no object.
    pub fn iter(&self) -> impl Iterator<Item = Result<[Option<Raw<'a>>; F], Kind>> {
        let raw = |span: Span| Raw {
            json: &self.text[span.start as usize..span.end as usize],
            escaped: span.escaped,
        };
        self.list.iter().map(move |entry| match entry {
            Entry::Object(fields) => Ok(fields.map(|field| field.map(raw))),
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
        let place = |at: usize| {
            u32::try_from(at).map_err(|_| self.fault("a list of rows goes on beyond 4 GiB"))
        };
        Ok(Span {
            start: place(start)?,
            end: place(self.at)?,
            escaped,
        })
    }
}
