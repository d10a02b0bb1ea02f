//! The layers of the settings: defaults, the file, the environment; later ones win.
//!
//! The `config` crate merges the values. This file adds what the crate does not know: the line of
//! each key, the variable it came from, and which keys exist at all. Values are parsed elsewhere.
//!
//! The environment addresses a dataset by its name: `SODALAKE__DATASET__CAMERA_COUNTS__KEYS`.
//! An empty variable counts as not set.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use config::{Config, File, FileFormat};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS};
use super::problem::{Origin, Problem, SettingsError};

/// The prefix of our environment variables.
const PREFIX: &str = "SODALAKE__";

/// All layers, and the problems with the names in them.
pub(super) struct Layers {
    config: Config,
    /// The defaults alone, used if the file has something else in place of a section.
    defaults: Config,
    /// Origin of each key that is not at its default, by path: `dataset[0].id`.
    origins: BTreeMap<String, Origin>,
    /// The name of each `[[dataset]]`, if it has one, and the line it starts on.
    datasets: Vec<(Option<String>, Origin)>,
    problems: Vec<Problem>,
}

/// A value of the merged layers.
pub(super) struct Found {
    /// The value.
    pub value: config::ValueKind,
    /// Where it came from.
    pub origin: Origin,
}

impl Layers {
    /// Merges the defaults, `text` (the contents of the file `path`), and `env`; later ones win.
    pub(super) fn new(
        path: &Path,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| syntax(path, text, &error))?;
        let mut walk = Walk::new(path, text);
        walk.top(table.get_ref());
        let Walk {
            mut origins,
            mut problems,
            datasets,
            ..
        } = walk;
        let mut overrides = Vec::new();
        for (name, value) in env {
            if !name.starts_with(PREFIX) || value.is_empty() {
                continue;
            }
            match place_of(&name, &datasets) {
                Ok(place) => {
                    origins.insert(place.clone(), Origin::Environment(name));
                    overrides.push((place, value));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let failed = |error: config::ConfigError| match &problems[..] {
            [] => SettingsError::Syntax {
                path: path.into(),
                line: 1,
                what: error.to_string(),
            },
            known => SettingsError::Refused(known.to_vec()),
        };
        let config = merge(text, overrides).map_err(failed)?;
        let defaults = merge("", Vec::new()).map_err(failed)?;
        Ok(Self {
            config,
            defaults,
            origins,
            datasets,
            problems,
        })
    }

    /// The value at `place`, from any layer.
    pub(super) fn find(&self, place: &str) -> Option<Found> {
        let own = self.config.get::<config::Value>(place);
        let value = own.or_else(|_| self.defaults.get(place)).ok()?;
        let origin = self.origins.get(place).cloned();
        Some(Found {
            value: value.kind,
            origin: origin.unwrap_or(Origin::Default),
        })
    }

    /// The full name of a place for messages: `dataset[0].id` is `dataset.camera-counts.id`.
    pub(super) fn full_name(&self, place: &str) -> String {
        let named = place.strip_prefix("dataset[").and_then(|rest| {
            let (index, last) = rest.split_once("].")?;
            let (name, _) = self.datasets.get(index.parse::<usize>().ok()?)?;
            Some(format!("dataset.{}.{last}", name.as_ref()?))
        });
        named.unwrap_or_else(|| place.into())
    }

    /// How many `[[dataset]]` there are.
    pub(super) fn datasets(&self) -> usize {
        self.datasets.len()
    }

    /// Where the `index`th `[[dataset]]` starts.
    pub(super) fn dataset_origin(&self, index: usize) -> Option<Origin> {
        self.datasets.get(index).map(|(_, origin)| origin.clone())
    }

    /// The problems with the names; returned only once.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }
}

fn merge(text: &str, overrides: Vec<(String, String)>) -> Result<Config, config::ConfigError> {
    let defaults: String = KEYS
        .iter()
        .filter(|key| !key.name.starts_with("dataset."))
        .filter_map(|key| Some(format!("{} = {}\n", key.name, key.default?)))
        .collect();
    let mut builder = Config::builder()
        .add_source(File::from_str(&defaults, FileFormat::Toml))
        .add_source(File::from_str(text, FileFormat::Toml));
    for (place, value) in overrides {
        builder = builder.set_override(place, value)?;
    }
    builder.build()
}

/// The error without the source text around it, since that could contain a secret.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    SettingsError::Syntax {
        path: path.into(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        what: error.message().escape_debug().to_string(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let ends = text.match_indices('\n');
    ends.take_while(|(end, _)| *end < offset).count() + 1
}

/// The place that an environment variable refers to.
fn place_of(name: &str, datasets: &[(Option<String>, Origin)]) -> Result<String, Problem> {
    let rest = name[PREFIX.len()..].to_lowercase();
    let parts: Vec<&str> = rest.split("__").collect();
    let refuse = |what| Problem {
        key: if rest.is_empty() {
            name.into()
        } else {
            rest.replace("__", ".")
        },
        origin: Some(Origin::Environment(name.into())),
        what,
    };
    match parts[..] {
        [key] if keys::is_known("", key) => Ok(key.into()),
        ["dataset", wanted, key] => {
            let same = |have: &String| have.replace('-', "_") == wanted;
            let index = datasets
                .iter()
                .position(|(have, _)| have.as_ref().is_some_and(same))
                .ok_or_else(|| refuse(format!("no [[dataset]] is named {wanted:?}")))?;
            if keys::is_known("dataset", key) && key != "name" {
                return Ok(format!("dataset[{index}].{key}"));
            }
            Err(refuse(unknown(&format!("dataset.{key}"))))
        }
        [section, key] if section != "dataset" && keys::is_known(section, key) => {
            Ok(format!("{section}.{key}"))
        }
        [section] if keys::is_section(section) => {
            Err(refuse(format!("names a section; expected {name}__KEY")))
        }
        _ => Err(refuse(unknown(&rest.replace("__", ".")))),
    }
}

/// The message for an unknown key. Its value is left out: it could be a misspelled secret.
fn unknown(name: &str) -> String {
    match keys::nearest(name) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => "unknown key; config/sodalake.toml lists all keys".into(),
    }
}

/// A walk over the file that records where everything is.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    origins: BTreeMap<String, Origin>,
    datasets: Vec<(Option<String>, Origin)>,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        Self {
            path,
            text,
            origins: BTreeMap::new(),
            datasets: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn at(&self, span: &Range<usize>) -> Origin {
        Origin::File {
            path: self.path.into(),
            line: line_of(self.text, span.start),
        }
    }

    fn refuse(&mut self, key: impl Into<String>, span: &Range<usize>, what: impl Into<String>) {
        let origin = Some(self.at(span));
        self.problems.push(Problem {
            key: key.into(),
            origin,
            what: what.into(),
        });
    }

    fn top(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let (name, span) = (key.get_ref().as_ref(), key.span());
            match value.get_ref() {
                DeValue::Array(all) if name == "dataset" => {
                    all.iter().for_each(|one| self.dataset(one));
                }
                _ if name == "dataset" => {
                    self.refuse(
                        name,
                        &span,
                        "found something else; expected a [[dataset]] section for each dataset",
                    );
                }
                DeValue::Table(section) if keys::is_section(name) => {
                    self.section(name, "", section);
                }
                _ if keys::is_section(name) => {
                    self.refuse(
                        name,
                        &span,
                        format!("found a value; expected a section [{name}]"),
                    );
                }
                _ if keys::is_known("", name) => self.leaf(name, "", &span, value),
                _ => self.unknown_top(name, &span),
            }
        }
    }

    fn unknown_top(&mut self, name: &str, span: &Range<usize>) {
        let sections = KEYS.iter().map(|key| keys::split(key.name).0);
        let near = sections
            .filter(|section| !section.is_empty() && strsim::osa_distance(section, name) <= 2)
            .min_by_key(|section| strsim::osa_distance(section, name));
        let what = near.map_or_else(
            || unknown(name),
            |near| format!("unknown key; did you mean [{near}]?"),
        );
        let quoted = name.contains('.').then(|| format!("\"{name}\""));
        self.refuse(quoted.unwrap_or_else(|| name.into()), span, what);
    }

    fn dataset(&mut self, one: &Spanned<DeValue<'_>>) {
        let place = format!("dataset[{}]", self.datasets.len());
        let origin = self.at(&one.span());
        let table = one.get_ref().as_table();
        let name = table
            .and_then(|table| table.get("name"))
            .and_then(|name| name.get_ref().as_str())
            .map(|name| name.escape_debug().to_string());
        let shown = name.as_ref().map(|name| format!("dataset.{name}"));
        self.datasets.push((name, origin));
        match table {
            Some(table) => self.section(&place, &shown.unwrap_or_default(), table),
            None => self.refuse(
                place,
                &one.span(),
                "found a value; expected a section [[dataset]]",
            ),
        }
    }

    /// One section. `shown` is its name in messages, if that is not its place.
    fn section(&mut self, place: &str, shown: &str, table: &DeTable<'_>) {
        let section = place.split('[').next().unwrap_or(place);
        let shown = if shown.is_empty() { place } else { shown };
        for (key, value) in table {
            let (name, span) = (key.get_ref().as_ref(), key.span());
            if keys::is_known(section, name) {
                let full = format!("{shown}.{name}");
                self.leaf(&format!("{place}.{name}"), &full, &span, value);
            } else {
                let what = unknown(&format!("{section}.{name}"));
                self.refuse(format!("{shown}.{name}"), &span, what);
            }
        }
    }

    fn leaf(
        &mut self,
        place: &str,
        shown: &str,
        span: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let origin = self.at(span);
        self.origins.insert(place.into(), origin);
        if let DeValue::Integer(digits) = value.get_ref()
            && i64::from_str_radix(digits.as_str(), digits.radix()).is_err()
        {
            let name = if shown.is_empty() { place } else { shown };
            self.refuse(name, span, "found a number too large to read");
        }
    }
}
