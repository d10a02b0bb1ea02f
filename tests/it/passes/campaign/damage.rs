//! Kinds of damage to a lake file, to the listing of its folder, or to the set of a day's files.
//!
//! Each kind belongs to one of three classes, independent of what the program makes of it. After
//! *visible* damage a file is unreadable, unlisted or uncatalogued, or the day has far too few
//! files: nothing may be purged. After *harmless* damage every byte that matters is intact: the day
//! must be repaired as usual. After *silent* damage a file is valid but contains less or something
//! else. This cannot be detected, so rows of the true file may be purged, but only within the
//! budgets (above all that for orphans), and archived.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How a damage can be recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Visible,
    Harmless,
    Silent,
}

macro_rules! kinds {
    ($($kind:ident $class:ident $name:literal),* $(,)?) => {
        /// A kind of damage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($kind),* }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            pub fn class(self) -> Class {
                match self { $(Self::$kind => Class::$class),* }
            }

            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }
        }
    };
}

kinds! {
    Truncated Visible "file cut short",
    Empty Visible "file empty",
    Garbage Visible "file of random bytes",
    Zeroed Visible "zeros in the file",
    WebPage Visible "web page instead of a file",
    MoreBehind Visible "data after the end",
    NotUtf8 Visible "byte that is not UTF-8",
    Utf16 Visible "file in UTF-16",
    ByteOrderMark Visible "byte order mark",
    DeepNesting Visible "deep nesting",
    NoData Visible "file without its data",
    NoDevices Visible "device list without devices",
    Denied Visible "file refused, 403",
    NotFound Visible "listed file missing, 404",
    Failing Visible "file failing, 500",
    BreaksOff Visible "connection breaks",
    Shortened Visible "content length too short",
    Lengthened Visible "content length too long",
    HugeAsListed Visible "2 GB line, listed as 2 GB",
    HugeUnawares Visible "2 GB line, listed as small",
    ChangesMeanwhile Visible "file changes at every read",
    ListingDenied Visible "listing refused, 403",
    ListingCut Visible "listing cut short",
    ListingPage Visible "web page instead of a listing",
    ListingLacks Visible "listing lacks a file",
    ListingRepeats Visible "listing repeats a file",
    Gone Visible "catalogued file missing",
    Beside Visible "additional uncatalogued file",
    FewFiles Visible "a third of the usual files",
    Blanks Harmless "blanks after the end",
    KeyTwiceFirst Harmless "repeated key, right value last",
    RowsLost Silent "rows missing, file valid",
    KeyTwiceLast Silent "repeated key, empty value last",
    NumberTooLarge Silent "number out of range",
    FileForgotten Silent "file missing from catalog too",
}

/// A damage to apply: which kind, to which file, and where in it.
#[derive(Clone, Debug)]
pub struct DamagePlan {
    pub kind: Kind,
    pub file: Index,
    pub at: Index,
}

pub fn damage_plans() -> impl Strategy<Value = DamagePlan> {
    let kinds = select(Kind::ALL);
    (kinds, any::<Index>(), any::<Index>()).prop_map(|(kind, file, at)| DamagePlan {
        kind,
        file,
        at,
    })
}

/// What the store does to one path.
#[derive(Clone, Debug)]
pub enum StoreFault {
    Bytes(Arc<[u8]>),
    Gone,
    Fails(u16),
    BreaksOff(usize),
    Shortens(usize),
    Lengthens(usize),
    HugeAsListed,
    HugeUnawares,
    Changes,
    ListingFails(u16),
    ListingCut,
    ListingPage,
    ListingLacks,
    ListingRepeats,
}

/// A damage that was applied.
#[derive(Clone, Debug)]
pub struct Damage {
    pub kind: Kind,
    /// The damaged file.
    pub path: String,
    /// Other files that are affected.
    pub more: Vec<String>,
    fault: StoreFault,
}

impl Damage {
    pub fn fault_for(&self, path: &str) -> Option<StoreFault> {
        let ours = self.path == path || self.more.iter().any(|more| more == path);
        ours.then(|| self.fault.clone())
    }

    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What a report must name so that a person finds the cause: the file, or the folder or day if
    /// more than one file is affected.
    pub fn named(&self) -> String {
        match self.kind {
            Kind::ListingDenied | Kind::ListingCut | Kind::ListingPage => self.folder().to_owned(),
            Kind::FewFiles | Kind::FileForgotten => self.folder()[..10].replace('/', "-"),
            _ => self.name().to_owned(),
        }
    }

    /// Whether its files are also removed from the catalog's ready layer.
    pub fn is_forgotten(&self) -> bool {
        matches!(self.kind, Kind::FewFiles | Kind::FileForgotten)
    }
}

impl DamagePlan {
    /// Applies the damage to one of `files`, each given with its bytes. Those of `ext` hold the
    /// table's rows; the others are companions. If the damage does not fit the file, the file is
    /// cut short instead.
    pub fn apply(&self, files: &[(String, Vec<u8>)], ext: &str) -> Damage {
        let (path, bytes) = &files[self.file.index(files.len())];
        // Radar files and companions also have a list of devices, but no row needs it.
        let needs_devices = path.contains("/bt/") && path.ends_with(&format!("_{ext}"));
        let mut damage = Damage {
            kind: self.kind,
            path: path.clone(),
            more: Vec::new(),
            fault: StoreFault::Gone,
        };
        match self.kind {
            Kind::Beside => {
                let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                damage.path = match name.find('_') {
                    Some(at) => format!("{folder}/Nowhere{}", &name[at..]),
                    None => format!("{folder}/Nowhere_{name}"),
                };
                damage.fault = StoreFault::Bytes(bytes.as_slice().into());
            }
            Kind::FewFiles => {
                let day: Vec<&String> = files.iter().map(|(path, _)| path).collect();
                let keep = day.len() / 3;
                damage.more = day.into_iter().skip(keep).cloned().collect();
                damage.path = damage.more.pop().unwrap_or_else(|| path.clone());
            }
            _ => {
                damage.fault = self.fault(bytes, needs_devices).unwrap_or_else(|| {
                    damage.kind = Kind::Truncated;
                    StoreFault::Bytes(self.cut(bytes).into())
                });
            }
        }
        damage
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.trim_ascii_end().len();
        &bytes[..self.at.index(end.max(1))]
    }

    fn fault(&self, bytes: &[u8], needs_devices: bool) -> Option<StoreFault> {
        let text = std::str::from_utf8(bytes).ok()?;
        let at = self.at.index(bytes.len().max(1));
        let whole = |text: String| StoreFault::Bytes(text.into_bytes().into());
        Some(match self.kind {
            Kind::Truncated => StoreFault::Bytes(self.cut(bytes).into()),
            Kind::Empty => StoreFault::Bytes([].into()),
            Kind::Garbage => {
                let mut noise = vec![0xff; bytes.len().max(2)];
                StdRng::seed_from_u64(at as u64).fill_bytes(&mut noise[1..]);
                StoreFault::Bytes(noise.into())
            }
            Kind::Zeroed => {
                let mut zeroed = bytes.to_vec();
                let end = (at + 16).min(zeroed.len());
                zeroed[at..end].fill(0);
                StoreFault::Bytes(zeroed.into())
            }
            Kind::WebPage => whole("<!DOCTYPE html><html><body>Sign in</body></html>".into()),
            Kind::MoreBehind => whole(format!("{text}{{\"data\": []}}")),
            Kind::NotUtf8 => {
                let mut invalid = bytes.to_vec();
                invalid.insert(at, 0xff);
                StoreFault::Bytes(invalid.into())
            }
            Kind::Utf16 => {
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                StoreFault::Bytes(units.collect())
            }
            Kind::ByteOrderMark => whole(format!("\u{feff}{text}")),
            Kind::DeepNesting => {
                let deep = 1_000 + at;
                whole(format!("{}{}", "[".repeat(deep), "]".repeat(deep)))
            }
            Kind::NoData => whole(text.replacen("\"data\":", "\"dada\":", 1)),
            Kind::NoDevices if needs_devices => whole(without_devices(text)?),
            Kind::Denied => StoreFault::Fails(403),
            Kind::NotFound => StoreFault::Fails(404),
            Kind::Failing => StoreFault::Fails(500),
            Kind::BreaksOff => StoreFault::BreaksOff(at),
            Kind::Shortened => StoreFault::Shortens(at),
            Kind::Lengthened => StoreFault::Lengthens(at),
            Kind::HugeAsListed => StoreFault::HugeAsListed,
            Kind::HugeUnawares => StoreFault::HugeUnawares,
            Kind::ChangesMeanwhile => StoreFault::Changes,
            Kind::ListingDenied => StoreFault::ListingFails(403),
            Kind::ListingCut => StoreFault::ListingCut,
            Kind::ListingPage => StoreFault::ListingPage,
            Kind::ListingLacks => StoreFault::ListingLacks,
            Kind::ListingRepeats => StoreFault::ListingRepeats,
            Kind::Gone | Kind::FileForgotten | Kind::FewFiles => StoreFault::Gone,
            Kind::NoDevices | Kind::Beside => return None,
            Kind::Blanks => whole(format!("{text}\n \r\n\t")),
            Kind::KeyTwiceFirst => whole(text.replacen('{', "{\"data\": [], ", 1)),
            Kind::RowsLost => whole(without_rows(text, self.at)?),
            Kind::KeyTwiceLast => {
                let end = text.trim_end().strip_suffix('}')?;
                whole(format!("{end}, \"data\": []}}"))
            }
            Kind::NumberTooLarge => whole(with_large_number(text, at)?),
        })
    }
}

/// The text with an empty list of devices, if it has a list.
fn without_devices(text: &str) -> Option<String> {
    let start = text.rfind("\"devices\": [{")? + "\"devices\": [".len();
    let end = start + text[start..].rfind(']')?;
    Some(format!("{}{}", &text[..start], &text[end..]))
}

#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// The text without some of its rows; `None` if it has none or is not plain JSON.
fn without_rows(text: &str, at: Index) -> Option<String> {
    let rows: Rows<'_> = serde_json::from_str(text).ok()?;
    let (first, last) = (rows.data.first()?.get(), rows.data.last()?.get());
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let lost = at.index(rows.data.len());
    let kept: Vec<&str> = (rows.data.iter().enumerate())
        .filter(|(place, _)| *place != lost && place % (lost + 2) != 0)
        .map(|(_, row)| row.get())
        .collect();
    let (before, after) = (&text[..offset(first)], &text[offset(last) + last.len()..]);
    Some(format!("{before}{}{after}", kept.join(", ")))
}

/// The text with one number of a row out of range.
fn with_large_number(text: &str, at: usize) -> Option<String> {
    let data = text.find("\"data\": [")?;
    let from = data.max(at.min(text.len()));
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at))?;
    let number = from + text[from..].find(": ").map(|at| at + 2)?;
    let digits = text[number..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    let end = text[number + digits..].chars().next()?;
    (digits > 0 && matches!(end, ',' | '}'))
        .then(|| format!("{}1e999{}", &text[..number], &text[number + digits..]))
}
