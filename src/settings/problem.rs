//! What is wrong with settings, and where each key came from.
//!
//! A refusal lists every fault found, not the first only. Each names the key's full name, its
//! place, what was found and what is allowed. No secret and no misspelt key's value is ever told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// The dataset's recipe knows it.
    Recipe(String),
    /// The settings file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A file that holds only this secret.
    SecretFile(PathBuf),
}

impl Origin {
    /// Later layers win over earlier ones.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Default | Self::Recipe(_) => 0,
            Self::File { .. } | Self::SecretFile(_) => 1,
            Self::Environment(_) => 2,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Recipe(name) => write!(f, "recipe {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", plain(path)),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::SecretFile(path) => write!(f, "secret file {}", plain(path)),
        }
    }
}

/// A path without anything that could upset a terminal.
fn plain(path: &std::path::Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// Where each key came from that is not at its default, by full name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub(super) BTreeMap<String, Origin>);

impl Origins {
    /// Where the key came from.
    #[must_use]
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's full name.
    pub key: String,
    /// Where it stands, if it stands anywhere.
    pub origin: Option<Origin>,
    /// What was found and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, what } = self;
        write!(
            f,
            "{}",
            key.escape_debug().to_string().replace("\\\"", "\"")
        )?;
        if let Some(origin) = origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {what}")
    }
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [only] => format!(": {only}"),
        several => several
            .iter()
            .fold(format!(": {} problems", several.len()), |text, problem| {
                format!("{text}\n  {problem}")
            }),
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No file was named, and none stands in the usual place.
    #[error(
        "find a settings file: none named by --config or SODALAKE_CONFIG, and no {}; \
         start with a copy of config/sodalake.toml, or try `sodalake demo`, which needs none",
        plain(.looked)
    )]
    Missing {
        /// The usual place.
        looked: PathBuf,
    },
    /// The file cannot be read.
    #[error("read settings file {}", plain(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("parse settings file {}, line {line}: {what}", plain(.path))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// The environment holds something that is no text.
    #[error("read environment variable {name}: not UTF-8")]
    NotText {
        /// The variable.
        name: String,
    },
    /// Keys that are unknown, missing, or have values that are not allowed.
    #[error("accept the settings{}", list(.0))]
    Refused(Vec<Problem>),
}
