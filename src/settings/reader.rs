//! Reads one key at a time out of the layers, and keeps a list of everything that is wrong.
//!
//! A read that fails has already noted why and yields only [`Noted`], so that a section is read to
//! its end before it gives up, and all faults are told at once. Secrets may come from a file; the later layer wins
//! where a secret and its file are both given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::ValueKind;
use secrecy::SecretString;

use super::keys;
use super::layers::{Found, Layers};
use super::problem::{Origin, Origins, Problem};
use super::values::{self, Raw};
use crate::limits::{SECRET_BYTES, read_text};

/// What a parser says: the value, or what would be allowed.
pub(super) type Parsed<T> = Result<T, String>;

/// The value cannot be had, and the reader's list says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// What a read yields.
pub(super) type Read<T> = Result<T, Noted>;

/// Reads keys, and notes what is wrong with them.
pub(super) struct Reader {
    layers: Layers,
    /// Secret files and the like are found from here.
    folder: PathBuf,
    problems: Vec<Problem>,
    origins: BTreeMap<String, Origin>,
}

impl Reader {
    pub(super) fn new(mut layers: Layers, file: &Path) -> Self {
        Self {
            problems: layers.take_problems(),
            layers,
            folder: file.parent().unwrap_or(Path::new("")).into(),
            origins: BTreeMap::new(),
        }
    }

    /// All problems and origins, at the end. A fault of a general section was met again by every
    /// dataset without a key of its own, and is told once.
    pub(super) fn finish(self) -> (Vec<Problem>, Origins) {
        let mut once: Vec<Problem> = Vec::new();
        for problem in self.problems {
            if !once.contains(&problem) {
                once.push(problem);
            }
        }
        (once, Origins(self.origins))
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Where the value at `place` came from.
    pub(super) fn origin(&self, place: &str) -> Option<Origin> {
        self.layers.find(place).map(|found| found.origin)
    }

    /// Notes that the value at `place` is wrong.
    pub(super) fn refuse(&mut self, place: &str, what: impl Into<String>) {
        self.problems.push(Problem {
            key: self.layers.full_name(place),
            origin: self.origin(place),
            what: what.into(),
        });
    }

    /// Whether anything is wrong with this very key already.
    pub(super) fn is_refused(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// Notes a problem that is not one value's.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Records where a key came from that no layer names.
    pub(super) fn came_from(&mut self, place: &str, origin: Origin) {
        self.origins.insert(self.layers.full_name(place), origin);
    }

    /// A key that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        place: &str,
        parse: impl Fn(&Raw) -> Parsed<T>,
    ) -> Read<Option<T>> {
        let Some(Found { value, origin }) = self.layers.find(place) else {
            return Ok(None);
        };
        if value == ValueKind::Nil {
            return Ok(None);
        }
        let raw = Raw::new(value, &origin);
        match parse(&raw) {
            Ok(value) => {
                self.came_from(place, origin);
                Ok(Some(value))
            }
            Err(want) => {
                let found = if keys::is_secret(place) {
                    "****".into()
                } else {
                    raw.shown()
                };
                self.refuse(place, format!("found {found}; want {want}"));
                Err(Noted)
            }
        }
    }

    /// A key that must be there, by itself or by its default.
    pub(super) fn required<T>(
        &mut self,
        place: &str,
        parse: impl Fn(&Raw) -> Parsed<T>,
    ) -> Read<T> {
        if let Some(value) = self.optional(place, &parse)? {
            return Ok(value);
        }
        let want = parse(&Raw::Absent).err().unwrap_or_default();
        self.refuse(place, format!("not set; want {want}"));
        Err(Noted)
    }

    /// A text that is secret or may lie in a file of its own, `KEY_file`.
    pub(super) fn secret(&mut self, place: &str) -> Read<Option<SecretString>> {
        let file_place = format!("{place}_file");
        let own = self.origin(place);
        let filed = self.origin(&file_place);
        match (own, filed) {
            (Some(own), Some(filed)) if own.layer() == filed.layer() => {
                let name = self.layers.full_name(place);
                self.refuse(
                    place,
                    format!("given twice; want either {name} or {name}_file"),
                );
                Err(Noted)
            }
            (Some(own), Some(filed)) if own.layer() > filed.layer() => self.plain_secret(place),
            (_, Some(_)) => self.filed_secret(place, &file_place),
            (_, None) => self.plain_secret(place),
        }
    }

    fn plain_secret(&mut self, place: &str) -> Read<Option<SecretString>> {
        let text = self.optional(place, values::secret)?;
        Ok(text.map(SecretString::from))
    }

    fn filed_secret(&mut self, place: &str, file_place: &str) -> Read<Option<SecretString>> {
        let Some(path) = self.optional(file_place, values::path)? else {
            return Ok(None);
        };
        let path = self.folder.join(path);
        let text = match read_text(&path, SECRET_BYTES) {
            Ok(text) => text,
            Err(error) => {
                let shown = path.to_string_lossy().escape_debug().to_string();
                self.refuse(file_place, format!("cannot read {shown}: {error}"));
                return Err(Noted);
            }
        };
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(char::is_control) {
            let shown = path.to_string_lossy().escape_debug().to_string();
            self.refuse(
                file_place,
                format!("{shown} does not hold one line of text"),
            );
            return Err(Noted);
        }
        self.came_from(place, Origin::SecretFile(path));
        Ok(Some(line.to_owned().into()))
    }

    /// A path, found from the folder of the settings file.
    pub(super) fn path(&mut self, place: &str) -> Read<Option<PathBuf>> {
        let path = self.optional(place, values::path)?;
        Ok(path.map(|path| self.folder.join(path)))
    }
}
