//! Whether an answer is up to date, and from which version of the data it comes.
//!
//! Every read is answered by one of several replicas, picked at random, each with its own lag.
//! `X-SODA2-Data-Out-Of-Date` says whether that replica is behind. The `ETag` contains the name of
//! the table, the copy and the replica's data version, which grows by one with every change; if it
//! cannot be decoded, `Last-Modified` (whole seconds) is used instead. None of this is documented
//! by Socrata (reference: `PG .../QueryServer.scala`, live tags of 2026), so these headers may be
//! absent, which is reported.

use std::cmp::Ordering;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use reqwest::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};

const OUT_OF_DATE: &str = "x-soda2-data-out-of-date";

/// Portals cut tags at arbitrary places, so spare bits at the end are accepted.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Length of the query digest that follows the data version.
const DIGEST: usize = 27;
/// Length of the second digest, in binary, that follows if nothing else was appended.
const OUTER_DIGEST: usize = 20;

/// What the replica says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Fresh,
    OutOfDate,
    Absent,
}

/// The data version in an `ETag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataVersion {
    table: String,
    copy: u64,
    pub(super) number: u64,
}

/// The version of the data behind an answer, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) version: Option<DataVersion>,
    modified: Option<String>,
}

/// How the versions of two answers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// The same version.
    Same,
    /// There is nothing to compare.
    Unknown,
    /// The second is from older data.
    Older,
    /// The second is from newer data.
    Newer,
    /// They differ, and it is unknown which is newer.
    Other,
}

pub(super) fn flag(headers: &HeaderMap) -> Flag {
    match headers.get(OUT_OF_DATE).map(HeaderValue::as_bytes) {
        None => Flag::Absent,
        Some(value) if value.eq_ignore_ascii_case(b"false") => Flag::Fresh,
        Some(_) => Flag::OutOfDate,
    }
}

impl Stamp {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            version: text(ETAG).and_then(DataVersion::decode),
            modified: text(LAST_MODIFIED).map(str::to_owned),
        }
    }

    /// How the version of `later` compares to this one.
    pub(super) fn against(&self, later: &Self) -> Agreement {
        match (&self.version, &later.version) {
            (Some(ours), Some(theirs)) => ours.against(theirs),
            _ => match (&self.modified, &later.modified) {
                (Some(ours), Some(theirs)) if ours == theirs => Agreement::Same,
                (Some(_), Some(_)) => Agreement::Other,
                _ => Agreement::Unknown,
            },
        }
    }

    /// Adds what is known only from `later`, which agrees or has nothing in common with this one.
    pub(super) fn complete(&mut self, later: Self) {
        let Self { version, modified } = later;
        self.version = self.version.take().or(version);
        self.modified = self.modified.take().or(modified);
    }
}

impl DataVersion {
    fn against(&self, later: &Self) -> Agreement {
        if self.table != later.table {
            return Agreement::Other;
        }
        match (later.copy, later.number).cmp(&(self.copy, self.number)) {
            Ordering::Less => Agreement::Older,
            Ordering::Equal => Agreement::Same,
            Ordering::Greater => Agreement::Newer,
        }
    }

    /// Reads `W/"base64url(name_copy_version digest)--gzip"` and its known variants.
    fn decode(etag: &str) -> Option<Self> {
        let mut tag = etag.trim().trim_start_matches("W/").trim_matches('"');
        while let Some(rest) = tag.strip_suffix("--gzip") {
            tag = rest;
        }
        let head = tag.split('-').next().unwrap_or(tag);
        [tag, head].into_iter().find_map(Self::decode_token)
    }

    fn decode_token(token: &str) -> Option<Self> {
        let whole = token.len() - usize::from(token.len() % 4 == 1);
        let bytes = BASE64.decode(token.get(..whole)?).ok()?;
        let inner = bytes.len().checked_sub(OUTER_DIGEST);
        let inner = inner.and_then(|end| Self::parse(&bytes[..end]));
        Self::parse(&bytes).or(inner)
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let is_digest = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let (name, digest) = head.split_at(head.len().checked_sub(DIGEST)?);
        if !digest.iter().all(is_digest) {
            return None;
        }
        let mut parts = std::str::from_utf8(name).ok()?.rsplitn(3, '_');
        let (number, copy, table) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            number: number.parse().ok()?,
            copy: copy.parse().ok()?,
            table: table.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &str = "3aBcDeFgHiJkLmNoPqRsTuVwXyZ";

    fn token(bytes: &[u8]) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn number(etag: &str) -> Option<u64> {
        DataVersion::decode(etag).map(|version| version.number)
    }

    #[test]
    fn the_version_ends_where_the_digest_begins_even_at_a_digit() {
        let head = token(format!("alpha.3924_5_2817{QUERY}").as_bytes());
        for etag in [
            format!("\"{head}\""),
            format!("W/\"{head}--gzip\""),
            format!("\"{head}--gzip--gzip\""),
        ] {
            assert_eq!(number(&etag), Some(2817), "{etag}");
        }
    }

    #[test]
    fn the_second_digest_is_ignored() {
        let mut bytes = format!("hotel.25367_3_153{QUERY}").into_bytes();
        bytes.extend([
            0xfb, 0xef, 0xbe, 0x01, 0x80, 0xff, 0xfe, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        ]);
        assert_eq!(number(&format!("\"{}\"", token(&bytes))), Some(153));
    }

    #[test]
    fn other_tags_have_no_version() {
        let short = token(b"alpha_1_2");
        for etag in ["", "\"\"", "\"abc\"", "W/\"33a64df5\"", "\"é\"", &short] {
            assert_eq!(number(etag), None, "{etag}");
        }
    }

    #[test]
    fn versions_say_which_answer_is_newer() {
        let stamp = |version: &str, modified: Option<&str>| Stamp {
            version: DataVersion::decode(&token(format!("{version}{QUERY}").as_bytes())),
            modified: modified.map(str::to_owned),
        };
        let first = stamp("alpha.1_2_9", Some("Mon"));
        assert_eq!(first.against(&stamp("alpha.1_2_9", None)), Agreement::Same);
        assert_eq!(
            first.against(&stamp("alpha.1_2_10", None)),
            Agreement::Newer
        );
        assert_eq!(first.against(&stamp("alpha.1_3_1", None)), Agreement::Newer);
        assert_eq!(first.against(&stamp("alpha.1_2_8", None)), Agreement::Older);
        assert_eq!(first.against(&stamp("beta.1_2_9", None)), Agreement::Other);
        assert_eq!(first.against(&stamp("", Some("Mon"))), Agreement::Same);
        assert_eq!(first.against(&stamp("", Some("Tue"))), Agreement::Other);
        assert_eq!(first.against(&Stamp::default()), Agreement::Unknown);
    }

    #[test]
    fn anything_but_false_is_out_of_date() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(OUT_OF_DATE, value.parse().unwrap());
            flag(&headers)
        };
        assert_eq!(with("false"), Flag::Fresh);
        assert_eq!(with("true"), Flag::OutOfDate);
        assert_eq!(with("[]"), Flag::OutOfDate);
        assert_eq!(flag(&HeaderMap::new()), Flag::Absent);
    }
}
