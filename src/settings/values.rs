//! Parses the text or number of one key. Each function returns the value, or a description of what
//! is allowed; the reader adds which key it is and where it was found.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::NaiveTime;
use chrono_tz::Tz;
use config::ValueKind;
use url::{Host, Url};

use super::problem::Origin;
use super::reader::Parsed;
use super::{Hours, Mode, ReadAs};
use crate::model::KeyPolicy;
use crate::schedule::Cron;

/// Maximum length of a found value in a message, in characters.
const SHOWN: usize = 80;

/// A raw value from a layer.
pub(super) enum Raw {
    /// Not set.
    Absent,
    /// A string in the file.
    Text(String),
    /// A string from the environment, which may stand for a number or a list.
    Loose(String),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A list; `None` if not all items are strings.
    List(Option<Vec<String>>),
    /// A section.
    Section,
}

impl Raw {
    pub(super) fn new(value: ValueKind, origin: &Origin) -> Self {
        match value {
            ValueKind::Nil => Self::Absent,
            ValueKind::Boolean(yes) => Self::Bool(yes),
            ValueKind::I64(number) => Self::Whole(number),
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                Self::Float(f64::INFINITY)
            }
            ValueKind::Float(number) => Self::Float(number),
            ValueKind::String(text) if matches!(origin, Origin::Environment(_)) => {
                Self::Loose(text)
            }
            ValueKind::String(text) => Self::Text(text),
            ValueKind::Table(_) => Self::Section,
            ValueKind::Array(all) => Self::List(texts(all)),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Loose(text) => Some(text),
            Self::Absent
            | Self::Whole(_)
            | Self::Float(_)
            | Self::Bool(_)
            | Self::List(_)
            | Self::Section => None,
        }
    }

    /// The value for messages: short, on one line, with passwords in URLs redacted.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Absent => "nothing".into(),
            Self::Text(text) | Self::Loose(text) => {
                let struck = redact(text);
                let mut cut: String = struck.chars().take(SHOWN).collect();
                if cut.len() < struck.len() {
                    cut.push('…');
                }
                format!("{cut:?}")
            }
            Self::Whole(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(yes) => yes.to_string(),
            Self::List(_) => "a list".into(),
            Self::Section => "a section".into(),
        }
    }
}

fn texts(all: Vec<config::Value>) -> Option<Vec<String>> {
    all.into_iter()
        .map(|one| match one.kind {
            ValueKind::String(text) => Some(text),
            _ => None,
        })
        .collect()
}

/// Redacts everything that could be a secret in a URL, even if the text is not a valid URL.
fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        let doubtful = text.contains('@') || text.to_lowercase().contains("pass");
        return if doubtful { "****".into() } else { text.into() };
    };
    let rest = rest.rsplit_once('@').map_or_else(
        || rest.to_owned(),
        |(user, host)| match user.split_once(':') {
            Some((user, _)) => format!("{user}:****@{host}"),
            None => format!("{user}@{host}"),
        },
    );
    let rest = match rest.split_once('?') {
        Some((path, _)) => format!("{path}?****"),
        None => rest,
    };
    format!("{scheme}://{rest}")
}

/// A secret. The placeholder that `config show` prints for a secret is refused.
pub(super) fn secret(raw: &Raw) -> Parsed<String> {
    line(raw)
        .ok()
        .filter(|text| text != "****")
        .ok_or_else(|| "the secret itself, a text on one line".into())
}

/// A non-empty text on one line.
pub(super) fn line(raw: &Raw) -> Parsed<String> {
    raw.text()
        .filter(|text| !text.is_empty() && !text.contains(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| "a non-empty text on one line, in quotes".into())
}

/// A non-empty path.
pub(super) fn path(raw: &Raw) -> Parsed<PathBuf> {
    line(raw)
        .map(PathBuf::from)
        .map_err(|_| "a path in quotes".into())
}

/// A plain word: the name of a layer, a source, a column.
pub(super) fn word(raw: &Raw) -> Parsed<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    line(raw)
        .ok()
        .filter(|text| text.len() <= 128 && text.chars().all(fits))
        .ok_or_else(|| "a word of letters, digits and . _ - : in quotes".into())
}

/// The name of a table, optionally with its schema.
pub(super) fn table(raw: &Raw) -> Parsed<String> {
    let part = |part: &str| {
        part.len() <= 63
            && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    line(raw)
        .ok()
        .filter(|text| text.split('.').count() <= 2 && text.split('.').all(part))
        .ok_or_else(|| "a table name such as \"api.data_lake_catalog\"".into())
}

/// Any type that can be parsed from a string.
pub(super) fn parsed<T: FromStr>(want: &str) -> impl Fn(&Raw) -> Parsed<T> {
    move |raw| {
        raw.text()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| want.into())
    }
}

/// A whole number from `least` to `most`.
pub(super) fn whole<T>(least: T, most: T) -> impl Fn(&Raw) -> Parsed<T>
where
    T: TryFrom<i64> + FromStr + PartialOrd + std::fmt::Display + Copy,
{
    move |raw| {
        let number = match raw {
            Raw::Whole(number) => T::try_from(*number).ok(),
            Raw::Loose(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("a whole number from {least} to {most}"))
    }
}

/// A share from 0 to 1.
pub(super) fn share(raw: &Raw) -> Parsed<f64> {
    let number = match raw {
        Raw::Float(number) => Some(*number),
        Raw::Whole(0) => Some(0.0),
        Raw::Whole(1) => Some(1.0),
        Raw::Loose(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| "a share from 0 to 1".into())
}

/// A duration from `least` to `most`.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&Raw) -> Parsed<Duration> {
    move |raw| {
        raw.text()
            .and_then(|text| humantime::parse_duration(text).ok())
            .filter(|length| (least..=most).contains(length))
            .ok_or_else(|| {
                let (least, most) = (
                    humantime::format_duration(least),
                    humantime::format_duration(most),
                );
                format!("a duration such as \"90s\", \"10m\" or \"2h\", from {least} to {most}")
            })
    }
}

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A number of bytes: `1073741824` or `"1GiB"`.
pub(super) fn bytes(raw: &Raw) -> Parsed<u64> {
    let size = match raw {
        Raw::Whole(number) => u64::try_from(*number).ok(),
        Raw::Text(text) | Raw::Loose(text) => bytes_of(text.trim()),
        _ => None,
    };
    size.filter(|&size| size > 0 && size <= 1 << 40)
        .ok_or_else(|| "a size from 1 to 1TiB, such as 1073741824, \"1GiB\" or \"500MB\"".into())
}

fn bytes_of(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, factor) = unit.map_or((text, 1), |(unit, factor)| {
        (text[..text.len() - unit.len()].trim_end(), *factor)
    });
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes in the format that [`bytes`] reads, in the largest unit that divides them evenly.
pub(super) fn bytes_text(size: u64) -> String {
    let fits = UNITS[..3].iter().rev();
    fits.filter(|(_, factor)| size >= *factor && size.is_multiple_of(*factor))
        .map(|(unit, factor)| format!("\"{}{unit}\"", size / factor))
        .next()
        .unwrap_or_else(|| size.to_string())
}

/// A time zone of the IANA database.
pub(super) fn zone(raw: &Raw) -> Parsed<Tz> {
    let text = raw.text().unwrap_or_default();
    text.parse().map_err(|_| match nearest_zone(text) {
        Some(near) => format!("a time zone of the IANA database; did you mean \"{near}\"?"),
        None => "a time zone of the IANA database such as \"America/Chicago\"".into(),
    })
}

fn nearest_zone(text: &str) -> Option<&'static str> {
    let distance = |name: &str| strsim::osa_distance(&name.to_lowercase(), &text.to_lowercase());
    chrono_tz::TZ_VARIANTS
        .iter()
        .map(|zone| zone.name())
        .min_by_key(|name| distance(name))
        .filter(|name| distance(name) <= text.len() / 4)
}

/// `observe` or `repair`.
pub(super) fn mode(raw: &Raw) -> Parsed<Mode> {
    match raw.text() {
        Some("observe") => Ok(Mode::Observe),
        Some("repair") => Ok(Mode::Repair),
        _ => Err("\"observe\" or \"repair\"".into()),
    }
}

/// `anonymous` or `login`.
pub(super) fn read_as(raw: &Raw) -> Parsed<ReadAs> {
    match raw.text() {
        Some("anonymous") => Ok(ReadAs::Anonymous),
        Some("login") => Ok(ReadAs::Login),
        _ => Err("\"anonymous\" or \"login\"".into()),
    }
}

/// `accept` or `migrate`.
pub(super) fn key_policy(raw: &Raw) -> Parsed<KeyPolicy> {
    match raw.text() {
        Some("accept") => Ok(KeyPolicy::Accept),
        Some("migrate") => Ok(KeyPolicy::Migrate),
        _ => Err("\"accept\" or \"migrate\"".into()),
    }
}

/// Hours of the day such as `10:30-23:00`; `24:00` is midnight at the end of the day.
pub(super) fn hours(raw: &Raw) -> Parsed<Hours> {
    let time = |text: &str| match text.trim() {
        "24:00" => Some(NaiveTime::MIN),
        text if text.len() == 5 => NaiveTime::parse_from_str(text, "%H:%M").ok(),
        _ => None,
    };
    raw.text()
        .and_then(|text| text.split_once('-'))
        .and_then(|(from, to)| Some((time(from)?, time(to)?)))
        .map(|(from, to)| Hours { from, to })
        .ok_or_else(|| "hours of the day such as \"10:30-23:00\"".into())
}

/// A cron expression with seconds that matches some time at all.
pub(super) fn cron(raw: &Raw) -> Parsed<String> {
    const WANT: &str = "six cron fields, seconds first, such as \"0 */30 * * * *\"";
    let text = raw.text().ok_or(WANT)?;
    let cron = Cron::new(text, chrono_tz::UTC);
    cron.map(|_| text.to_owned())
        .map_err(|error| format!("{WANT} ({})", error.to_string().escape_debug()))
}

/// A list of strings.
pub(super) fn list(raw: &Raw) -> Parsed<Vec<String>> {
    let all = match raw {
        Raw::List(all) => all.clone(),
        Raw::Loose(text) => toml::from_str::<toml::Table>(&format!("list = {text}"))
            .ok()
            .and_then(|table| table.get("list")?.as_array().cloned())
            .and_then(|all| all.iter().map(|one| one.as_str().map(Into::into)).collect()),
        _ => None,
    };
    all.filter(|all| !all.is_empty())
        .ok_or_else(|| "a list of strings such as [\"docker\", \"run\"]".into())
}

/// A URL with one of `schemes`, such as `example`. Unencrypted URLs are allowed only for this
/// machine, and only the URL of a database may contain a password.
pub(super) fn url(schemes: &'static [&'static str], example: &str) -> impl Fn(&Raw) -> Parsed<Url> {
    move |raw| {
        let want = format!("a URL such as \"{example}\"");
        let url = raw.text().and_then(|text| text.parse::<Url>().ok());
        let url = url.ok_or_else(|| want.clone())?;
        if !schemes.contains(&url.scheme()) {
            return Err(format!("{want}, of {}", schemes.join(", ")));
        }
        match url.scheme() {
            "file" | "sqlite" => local(url, &want),
            "postgres" | "postgresql" => host(url, &want),
            "memory" => Ok(url),
            scheme => {
                if scheme == "http" && !is_loopback(&url) {
                    return Err("https; http is allowed only to this machine".into());
                }
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(format!("{want}, without user or password in it"));
                }
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(format!("{want}, without '?' or '#'"));
                }
                host(url, &want)
            }
        }
    }
}

/// An address to send messages to, which may contain secrets.
pub(super) fn hook(raw: &Raw) -> Parsed<Url> {
    raw.text()
        .and_then(|text| text.parse::<Url>().ok())
        .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
        .ok_or_else(|| "an https URL, or http to this machine".into())
}

fn host(url: Url, want: &str) -> Parsed<Url> {
    if url.has_host() {
        Ok(url)
    } else {
        Err(format!("{want}, with a host"))
    }
}

fn local(url: Url, want: &str) -> Parsed<Url> {
    let path = url.path();
    if url.has_host() && url.host_str() != Some("") {
        return Err(format!("{want}, with three slashes before the path"));
    }
    if !path.starts_with('/') || path.len() < 2 {
        return Err(format!("{want}, with an absolute path"));
    }
    Ok(url)
}

/// Whether the URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
