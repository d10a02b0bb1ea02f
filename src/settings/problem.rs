//! Problems with the settings, and the origin of each key.
//!
//! An error lists every problem, not only the first. Each gives the full name of the key, its place,
//! what was found and what is allowed. It never contains a secret or the value of an unknown key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The dataset's recipe.
    Recipe(String),
    /// The settings file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, starting at 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A file that contains only this secret.
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

/// The path without characters that could affect a terminal.
fn plain(path: &std::path::Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// The origin of every key that is not at its default, by full name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub(super) BTreeMap<String, Origin>);

impl Origins {
    /// The origin of the key.
    #[must_use]
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// A problem with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's full name.
    pub key: String,
    /// Its origin, if there is one.
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

/// Why the settings could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No file was named, and the default file does not exist.
    #[error(
        "there is no settings file: neither --config nor SODALAKE_CONFIG names one, and {} does not exist; start with a copy of config/sodalake.toml, or try `sodalake demo`, which needs none",
        plain(.path)
    )]
    Missing {
        /// The default path.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read settings file {}", plain(.path))]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("cannot parse settings file {}, line {line}: {what}", plain(.path))]
    Syntax {
        /// Its path.
        path: PathBuf,
        /// The line, starting at 1.
        line: usize,
        /// The syntax error.
        what: String,
    },
    /// A variable that is not UTF-8.
    #[error("environment variable {name} is not valid UTF-8")]
    NotText {
        /// The name of the variable.
        name: String,
    },
    /// Keys that are unknown or missing, or have invalid values.
    #[error("the settings are not valid{}", list(.0))]
    Refused(Vec<Problem>),
}
