//! The format of an archive: gzip-compressed JSON lines.
//!
//! ```text
//! {"header":{"format":1,"of":{"pass":"..","portal":"..","dataset":"..","day":"..",..}}}
//! {"row":{"why":"duplicate","row":{"key":"..","sid":"..","created_at":"..","updated_at":"..","fields":{..}}}}
//! {"entry":{"entry":{"key":{..},"pointer":"..",..}}}
//! {"mark":{"rows":20,"entries":0,"sha256":".."}}
//! {"trailer":{"rows":1,"entries":1,"sha256":".."}}
//! ```
//!
//! A checksum covers every uncompressed byte before its line. The trailer's checksum proves the
//! whole archive. A mark after every 20 lines proves the lines before it, so that the rows of a
//! damaged archive that can be trusted are known. Values are kept exactly: a null column is
//! distinct from an absent one, numbers keep their last digit (`serde_json` with
//! `float_roundtrip`), and text keeps its trailing blanks.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{ArchiveHeader, ArchivedRow, hex};
use crate::model::Entry;

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// Maximum length of a line, in bytes. A portal row has a few kilobytes.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// An archive may unpack to this many bytes plus this many times its size. Keys do not compress, so
/// real rows reach a ratio of about 20 to 1, while gzip can reach 1,000 to 1.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
const MAX_UNPACKED_RATIO: u64 = 50;
/// Number of lines between two marks.
const LINES_PER_MARK: u64 = 20;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line<'a> {
    Header {
        format: u32,
        of: Cow<'a, ArchiveHeader>,
    },
    Row(Cow<'a, ArchivedRow>),
    Entry {
        entry: Cow<'a, Entry>,
        /// JSON has one null for both "no metadata" and "metadata that is null".
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        null_metadata: bool,
    },
    Mark(Seal),
    Trailer(Seal),
}

/// The number of lines before it, and their checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    rows: u64,
    entries: u64,
    sha256: String,
}

/// The first line, in any format.
#[derive(Deserialize)]
struct AnyHeader {
    header: AnyFormat,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// Writes an archive, line by line.
pub(super) struct Packer {
    lines: GzEncoder<Vec<u8>>,
    hash: Sha256,
    rows: u64,
    entries: u64,
}

impl Packer {
    pub(super) fn new(header: &ArchiveHeader) -> io::Result<Self> {
        let mut packer = Self {
            lines: GzEncoder::new(Vec::new(), Compression::default()),
            hash: Sha256::new(),
            rows: 0,
            entries: 0,
        };
        let of = Cow::Borrowed(header);
        packer.line(&Line::Header { format: FORMAT, of })?;
        Ok(packer)
    }

    pub(super) fn row(&mut self, row: &ArchivedRow) -> io::Result<()> {
        self.rows += 1;
        self.line(&Line::Row(Cow::Borrowed(row)))?;
        self.mark()
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.entries += 1;
        let null_metadata = entry.metadata == Some(Json::Null);
        let entry = Cow::Borrowed(entry);
        self.line(&Line::Entry {
            entry,
            null_metadata,
        })?;
        self.mark()
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let trailer = Line::Trailer(self.seal());
        self.line(&trailer)?;
        self.lines.finish()
    }

    fn mark(&mut self) -> io::Result<()> {
        if !(self.rows + self.entries).is_multiple_of(LINES_PER_MARK) {
            return Ok(());
        }
        let mark = Line::Mark(self.seal());
        self.line(&mark)
    }

    fn seal(&self) -> Seal {
        Seal {
            rows: self.rows,
            entries: self.entries,
            sha256: hex(&self.hash.clone().finalize()),
        }
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if text.len() as u64 > MAX_LINE_BYTES {
            return Err(io::Error::other(format!("a line of {} bytes", text.len())));
        }
        self.hash.update(&text);
        self.lines.write_all(&text)
    }
}

/// What is wrong with an archive, as a phrase, and how many rows before the damage are proven.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) what: String,
    pub(super) rows: u64,
}

/// A line between header and trailer.
#[derive(Debug)]
pub(super) enum Content {
    Row(ArchivedRow),
    Entry(Entry),
}

/// Reads an archive, line by line. What it returns counts only if it reaches the end.
pub(super) struct Reader<'a> {
    lines: BufReader<GzDecoder<&'a [u8]>>,
    line: Vec<u8>,
    line_number: u64,
    hash: Sha256,
    room: u64,
    rows: u64,
    entries: u64,
    proven: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn open(packed: &'a [u8]) -> Result<(Self, ArchiveHeader), Damage> {
        let mut reader = Self {
            lines: BufReader::new(GzDecoder::new(packed)),
            line: Vec::new(),
            line_number: 0,
            hash: Sha256::new(),
            room: MAX_UNPACKED_BYTES + MAX_UNPACKED_RATIO * packed.len() as u64,
            rows: 0,
            entries: 0,
            proven: 0,
        };
        reader.read_line()?;
        if let Ok(AnyHeader { header }) = serde_json::from_slice(&reader.line)
            && header.format != FORMAT
        {
            return Err(reader.damage(format!("its format is {}, not {FORMAT}", header.format)));
        }
        match reader.parse()? {
            Line::Header { format: _, of } => {
                reader.hash.update(&reader.line);
                Ok((reader, of.into_owned()))
            }
            Line::Row(_) | Line::Entry { .. } | Line::Mark(_) | Line::Trailer(_) => {
                Err(reader.damage("it does not start with a header"))
            }
        }
    }

    /// The next row or entry; `None` after a trailer that matches everything before it.
    pub(super) fn next(&mut self) -> Result<Option<Content>, Damage> {
        loop {
            self.read_line()?;
            let content = match self.parse()? {
                Line::Header { .. } => return Err(self.damage("it has a second header")),
                Line::Trailer(trailer) => return self.end(&trailer).map(|()| None),
                Line::Mark(mark) => {
                    self.agree(&mark, "a mark")?;
                    self.proven = self.rows;
                    None
                }
                Line::Row(row) => {
                    self.rows += 1;
                    Some(Content::Row(row.into_owned()))
                }
                Line::Entry {
                    entry,
                    null_metadata,
                } => {
                    self.entries += 1;
                    let mut entry = entry.into_owned();
                    if null_metadata {
                        entry.metadata = Some(Json::Null);
                    }
                    Some(Content::Entry(entry))
                }
            };
            self.hash.update(&self.line);
            if content.is_some() {
                return Ok(content);
            }
        }
    }

    fn read_line(&mut self) -> Result<(), Damage> {
        self.line.clear();
        self.line_number += 1;
        let max = self.room.min(MAX_LINE_BYTES);
        let read = self
            .lines
            .by_ref()
            .take(max)
            .read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| self.damage(format!("it cannot be unpacked: {error}")))?;
        self.room -= read as u64;
        if self.line.ends_with(b"\n") {
            return Ok(());
        }
        Err(self.damage(if self.room == 0 {
            "it unpacks to more than an archive of its size can hold".to_string()
        } else if read as u64 == max {
            format!("it has a line over {MAX_LINE_BYTES} bytes")
        } else {
            "it ends before its trailer".to_string()
        }))
    }

    fn parse(&self) -> Result<Line<'static>, Damage> {
        // The position, not the text: row contents are never shown.
        let place = |error: serde_json::Error| {
            let (line, column) = (self.line_number, error.column());
            self.damage(format!("line {line} is invalid at column {column}"))
        };
        serde_json::from_slice(&self.line).map_err(place)
    }

    /// Checks that a seal matches what was read before it.
    fn agree(&self, seal: &Seal, name: &str) -> Result<(), Damage> {
        if (seal.rows, seal.entries) != (self.rows, self.entries) {
            return Err(self.damage(format!(
                "it has {} rows and {} entries, but {name} says {} and {}",
                self.rows, self.entries, seal.rows, seal.entries
            )));
        }
        if seal.sha256 != hex(&self.hash.clone().finalize()) {
            return Err(self.damage(format!("the checksum of {name} does not match")));
        }
        Ok(())
    }

    fn end(&mut self, trailer: &Seal) -> Result<(), Damage> {
        self.agree(trailer, "its trailer")?;
        self.proven = self.rows;
        match self.lines.read(&mut [0]) {
            Ok(0) if self.lines.get_ref().get_ref().is_empty() => Ok(()),
            Ok(_) => Err(self.damage("something follows its trailer")),
            Err(error) => Err(self.damage(format!("it cannot be unpacked: {error}"))),
        }
    }

    fn damage(&self, what: impl Into<String>) -> Damage {
        Damage {
            what: what.into(),
            rows: self.proven,
        }
    }
}

#[cfg(test)]
mod tests;
