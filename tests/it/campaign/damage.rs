//! What can happen to a lake file, the listing around it, or a day's worth of files.
//!
//! Each kind is of one of three classes, by rule and not by what the program makes of it. A
//! *visible* one leaves a file unreadable, unlisted, uncatalogued or a day with far too few files:
//! nothing may be purged. A *harmless* one leaves every byte that means something: the day must be
//! mended as if nothing were wrong. A *silent* one leaves a whole file that says less or something
//! else: nobody can tell it from the truth, so rows of the true file may go, within the budgets,
//! that for orphans above all, and archived.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a damage leaves to be seen.
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
    Garbage Visible "file of noise",
    Zeroed Visible "zeros in the file",
    WebPage Visible "web page for a file",
    MoreBehind Visible "more after the end",
    NotUtf8 Visible "byte that is not UTF-8",
    Utf16 Visible "file in UTF-16",
    ByteOrderMark Visible "byte order mark",
    DeepNesting Visible "deep nesting",
    NoData Visible "file without its data",
    NoDevices Visible "device list without devices",
    Denied Visible "file refused, 403",
    NotFound Visible "file listed, and 404",
    Failing Visible "file failing, 500",
    BreaksOff Visible "body breaks off",
    Shortened Visible "content length too short",
    Lengthened Visible "content length too long",
    HugeAsListed Visible "2 GB line, listed so",
    HugeUnawares Visible "2 GB line, listed small",
    ChangesMeanwhile Visible "file changes whenever it is read",
    ListingDenied Visible "listing refused, 403",
    ListingCut Visible "listing cut short",
    ListingPage Visible "web page for a listing",
    ListingLacks Visible "listing lacks a file",
    ListingRepeats Visible "listing repeats a file",
    Gone Visible "catalogued file gone",
    Beside Visible "uncatalogued file beside",
    FewFiles Visible "a third of the usual files",
    Blanks Harmless "blanks behind the end",
    KeyTwiceFirst Harmless "key twice, the true one last",
    RowsLost Silent "rows gone, file whole",
    KeyTwiceLast Silent "key twice, an empty one last",
    NumberTooLarge Silent "number out of range",
    FileForgotten Silent "file gone from the catalog too",
}

/// A damage to be done: which kind, to which of the files, and where in it.
#[derive(Clone, Debug)]
pub struct Wound {
    pub kind: Kind,
    pub file: Index,
    pub at: Index,
}

pub fn wounds() -> impl Strategy<Value = Wound> {
    let kinds = select(Kind::ALL);
    (kinds, any::<Index>(), any::<Index>()).prop_map(|(kind, file, at)| Wound { kind, file, at })
}

/// What the store does about one path.
#[derive(Clone, Debug)]
pub enum Harm {
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

/// A damage done.
#[derive(Clone, Debug)]
pub struct Damage {
    pub kind: Kind,
    /// The file it is done to.
    pub path: String,
    /// Files that go with it.
    pub more: Vec<String>,
    harm: Harm,
}

impl Damage {
    pub fn harm_to(&self, path: &str) -> Option<Harm> {
        let ours = self.path == path || self.more.iter().any(|more| more == path);
        ours.then(|| self.harm.clone())
    }

    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// What a report must name for a person to find the fault: the file, or the folder or day where
    /// it is about more than one.
    pub fn named(&self) -> String {
        match self.kind {
            Kind::ListingDenied | Kind::ListingCut | Kind::ListingPage => self.folder().to_owned(),
            Kind::FewFiles | Kind::FileForgotten => self.folder()[..10].replace('/', "-"),
            _ => self.name().to_owned(),
        }
    }

    /// Whether its files are gone from the catalog's ready layer as well.
    pub fn is_forgotten(&self) -> bool {
        matches!(self.kind, Kind::FewFiles | Kind::FileForgotten)
    }
}

impl Wound {
    /// Done to one of `files`, each with its bytes; those of `ext` hold the table's rows, the others
    /// are companions. What does not fit the file is a cut in its place.
    pub fn inflict(&self, files: &[(String, Vec<u8>)], ext: &str) -> Damage {
        let (path, bytes) = &files[self.file.index(files.len())];
        // radar files and companions have a list of devices too, which no row needs
        let needs_devices = path.contains("/bt/") && path.ends_with(&format!("_{ext}"));
        let mut damage = Damage {
            kind: self.kind,
            path: path.clone(),
            more: Vec::new(),
            harm: Harm::Gone,
        };
        match self.kind {
            Kind::Beside => {
                let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                damage.path = match name.find('_') {
                    Some(at) => format!("{folder}/Nowhere{}", &name[at..]),
                    None => format!("{folder}/Nowhere_{name}"),
                };
                damage.harm = Harm::Bytes(bytes.as_slice().into());
            }
            Kind::FewFiles => {
                let day: Vec<&String> = files.iter().map(|(path, _)| path).collect();
                let keep = day.len() / 3;
                damage.more = day.into_iter().skip(keep).cloned().collect();
                damage.path = damage.more.pop().unwrap_or_else(|| path.clone());
            }
            _ => {
                damage.harm = self.harm(bytes, needs_devices).unwrap_or_else(|| {
                    damage.kind = Kind::Truncated;
                    Harm::Bytes(self.cut(bytes).into())
                });
            }
        }
        damage
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.trim_ascii_end().len();
        &bytes[..self.at.index(end.max(1))]
    }

    fn harm(&self, bytes: &[u8], needs_devices: bool) -> Option<Harm> {
        let text = std::str::from_utf8(bytes).ok()?;
        let at = self.at.index(bytes.len().max(1));
        let whole = |text: String| Harm::Bytes(text.into_bytes().into());
        Some(match self.kind {
            Kind::Truncated => Harm::Bytes(self.cut(bytes).into()),
            Kind::Empty => Harm::Bytes([].into()),
            Kind::Garbage => {
                let mut noise = vec![0xff; bytes.len().max(2)];
                StdRng::seed_from_u64(at as u64).fill_bytes(&mut noise[1..]);
                Harm::Bytes(noise.into())
            }
            Kind::Zeroed => {
                let mut zeroed = bytes.to_vec();
                let end = (at + 16).min(zeroed.len());
                zeroed[at..end].fill(0);
                Harm::Bytes(zeroed.into())
            }
            Kind::WebPage => whole("<!DOCTYPE html><html><body>Sign in</body></html>".into()),
            Kind::MoreBehind => whole(format!("{text}{{\"data\": []}}")),
            Kind::NotUtf8 => {
                let mut spoilt = bytes.to_vec();
                spoilt.insert(at, 0xff);
                Harm::Bytes(spoilt.into())
            }
            Kind::Utf16 => {
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                Harm::Bytes(units.collect())
            }
            Kind::ByteOrderMark => whole(format!("\u{feff}{text}")),
            Kind::DeepNesting => {
                let deep = 1_000 + at;
                whole(format!("{}{}", "[".repeat(deep), "]".repeat(deep)))
            }
            Kind::NoData => whole(text.replacen("\"data\":", "\"dada\":", 1)),
            Kind::NoDevices if needs_devices => whole(without_devices(text)?),
            Kind::Denied => Harm::Fails(403),
            Kind::NotFound => Harm::Fails(404),
            Kind::Failing => Harm::Fails(500),
            Kind::BreaksOff => Harm::BreaksOff(at),
            Kind::Shortened => Harm::Shortens(at),
            Kind::Lengthened => Harm::Lengthens(at),
            Kind::HugeAsListed => Harm::HugeAsListed,
            Kind::HugeUnawares => Harm::HugeUnawares,
            Kind::ChangesMeanwhile => Harm::Changes,
            Kind::ListingDenied => Harm::ListingFails(403),
            Kind::ListingCut => Harm::ListingCut,
            Kind::ListingPage => Harm::ListingPage,
            Kind::ListingLacks => Harm::ListingLacks,
            Kind::ListingRepeats => Harm::ListingRepeats,
            Kind::Gone | Kind::FileForgotten | Kind::FewFiles => Harm::Gone,
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

/// The text with an empty list for its devices, if it has any.
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

/// The text without some of its rows; `None` if it has none, or is no plain JSON.
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

/// The text with a number of its rows out of every range.
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
