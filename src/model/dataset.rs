//! Datasets and dataset-days: the published tables, and the unit of all work.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Day;

/// A text that cannot be the name or id of a dataset.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It is not a Socrata four-by-four.
    #[error("{0:?} is not a dataset id; expected a four-by-four such as sh59-i6y9")]
    Id(String),
    /// It cannot be used as a name in metrics, file names and on the command line.
    #[error(
        "{0:?} is not a dataset name; expected 1 to 63 of a-z, 0-9 and '-', starting with a letter"
    )]
    Name(String),
}

/// A Socrata four-by-four, such as `sh59-i6y9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetId(String);

/// What the settings call a dataset, such as `camera-counts`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(String);

fn is_four(part: &str) -> bool {
    let fits = |c: u8| c.is_ascii_digit() || c.is_ascii_lowercase();
    part.len() == 4 && part.bytes().all(fits)
}

impl FromStr for DatasetId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('-') {
            Some((left, right)) if is_four(left) && is_four(right) => Ok(Self(text.into())),
            _ => Err(NameError::Id(text.into())),
        }
    }
}

impl FromStr for DatasetName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |c: u8| c.is_ascii_digit() || c.is_ascii_lowercase() || c == b'-';
        let first = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        if first && text.len() <= 63 && text.bytes().all(fits) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Name(text.into()))
        }
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_type!(DatasetId);
text_type!(DatasetName);

/// What to do with a day whose rows are all published under an older key scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPolicy {
    /// Leave the rows as they are. The day is in sync.
    #[default]
    Accept,
    /// Replace them with rows under the current key scheme, within the budgets.
    Migrate,
}

/// A published Socrata table, and how its rows are derived from the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name in the settings.
    pub name: DatasetName,
    /// Its four-by-four on the portal.
    pub id: DatasetId,
    /// Name of the recipe that derives its rows, as registered in `expected`.
    pub recipe: String,
    /// Kind of sensor, as in the catalog's `data_source`: `gs`, `bt`, `wt`.
    pub source: String,
    /// Second half of a file's identity, the catalog's `id_ext`: `agg15.json`.
    pub ext: String,
    /// Column that holds the row key, which is also the portal's row identifier.
    pub key_column: String,
    /// Column whose wall time decides on which day a row is published.
    pub day_column: String,
    /// The time zone of its days.
    pub zone: Tz,
    /// What to do with days under an older key scheme.
    pub keys: KeyPolicy,
}

/// One dataset on one day: the unit of all work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetDay {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// The local day.
    pub day: Day,
}

impl fmt::Display for DatasetDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dataset.name, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_four_by_fours() {
        assert!("sh59-i6y9".parse::<DatasetId>().is_ok());
        for text in [
            "SH59-i6y9",
            "sh59i6y9",
            "sh59-i6y",
            "sh59-i6y9/",
            "../x-abcd",
            "",
        ] {
            assert!(text.parse::<DatasetId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_plain_words() {
        assert!("camera-counts".parse::<DatasetName>().is_ok());
        for text in ["", "Camera", "1x", "a b", "a_b"] {
            assert!(text.parse::<DatasetName>().is_err(), "{text}");
        }
    }
}
