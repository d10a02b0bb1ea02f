//! Reads one key at a time from the layers, and collects all problems.
//!
//! A read that fails records the reason and returns only [`Noted`], so that the rest of the section
//! is read before it gives up and all problems are reported at once. Secrets may come from a file;
//! if both a secret and its file are given, the later layer wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::ValueKind;
use secrecy::SecretString;

use super::keys;
use super::layers::{Found, Layers};
use super::problem::{Origin, Origins, Problem};
use super::values::{self, Raw};
use crate::limits::{SECRET_BYTES, read_text};

/// The result of a parser: the value, or a description of what is allowed.
pub(super) type Parsed<T> = Result<T, String>;

/// The value could not be read; the reader's list says why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// The result of a read.
pub(super) type Read<T> = Result<T, Noted>;

/// Reads keys and records problems with them.
pub(super) struct Reader {
    layers: Layers,
    /// Relative paths of secret files are resolved from here.
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

    /// All problems and origins. A problem of a general section was found again for every dataset
    /// without a key of its own; it is returned only once.
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

    /// The origin of the value at `place`.
    pub(super) fn origin(&self, place: &str) -> Option<Origin> {
        self.layers.find(place).map(|found| found.origin)
    }

    /// Records that the value at `place` is wrong.
    pub(super) fn refuse(&mut self, place: &str, what: impl Into<String>) {
        self.problems.push(Problem {
            key: self.layers.full_name(place),
            origin: self.origin(place),
            what: what.into(),
        });
    }

    /// Whether a problem with this key was already recorded.
    pub(super) fn is_refused(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// Records a problem that does not concern a single value.
    pub(super) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Records an origin that is not a layer.
    pub(super) fn record_origin(&mut self, place: &str, origin: Origin) {
        self.origins.insert(self.layers.full_name(place), origin);
    }

    /// An optional key.
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
                self.record_origin(place, origin);
                Ok(Some(value))
            }
            Err(want) => {
                let found = if keys::is_secret(place) {
                    "****".into()
                } else {
                    raw.shown()
                };
                self.refuse(place, format!("found {found}; expected {want}"));
                Err(Noted)
            }
        }
    }

    /// A key that must have a value, possibly by its default.
    pub(super) fn required<T>(
        &mut self,
        place: &str,
        parse: impl Fn(&Raw) -> Parsed<T>,
    ) -> Read<T> {
        if let Some(value) = self.optional(place, &parse)? {
            return Ok(value);
        }
        let want = parse(&Raw::Absent).err().unwrap_or_default();
        self.refuse(place, format!("not set; expected {want}"));
        Err(Noted)
    }

    /// A secret text, which may be in a file of its own, `KEY_file`.
    pub(super) fn secret(&mut self, place: &str) -> Read<Option<SecretString>> {
        let file_place = format!("{place}_file");
        let own = self.origin(place);
        let filed = self.origin(&file_place);
        match (own, filed) {
            (Some(own), Some(filed)) if own.layer() == filed.layer() => {
                let name = self.layers.full_name(place);
                self.refuse(
                    place,
                    format!("given twice; expected either {name} or {name}_file"),
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
        self.record_origin(place, Origin::SecretFile(path));
        Ok(Some(line.to_owned().into()))
    }

    /// A path, resolved from the folder of the settings file.
    pub(super) fn path(&mut self, place: &str) -> Read<Option<PathBuf>> {
        let path = self.optional(place, values::path)?;
        Ok(path.map(|path| self.folder.join(path)))
    }
}
