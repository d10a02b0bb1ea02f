//! Names in a listing that no client can address.
//!
//! A bucket may contain an object whose key has an empty segment, a segment `.` or `..`, or a
//! control character. `object_store` cannot represent such a key as a path and gives up on the
//! whole listing. So these keys are removed from a page before the library reads it, and passed on
//! by name: one bad key must neither hide all others nor go unnoticed.

use bytes::Bytes;
use object_store::path::Path;

/// Keys and common prefixes of a listing that no client can address. If a listing has several
/// pages, those of the last page that has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unaddressable(pub(super) Vec<String>);

/// The elements of a listing that contain a name, each with the element of the name: for S3 and
/// GCS, and for Azure.
const NAMED: [(&str, &str); 4] = [
    ("Contents", "Key"),
    ("CommonPrefixes", "Prefix"),
    ("Blob", "Name"),
    ("BlobPrefix", "Name"),
];

/// Splits a page into the page without the names that no client can address, and these names.
pub(super) fn split(page: Bytes) -> (Bytes, Option<Unaddressable>) {
    let Ok(text) = std::str::from_utf8(&page) else {
        return (page, None);
    };
    let (mut kept, mut names) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some((start, element)) = next_element(rest) {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        match name_of(element).filter(|name| Path::parse(name).is_err()) {
            Some(name) => names.push(name),
            None => kept.push_str(element),
        }
        rest = &from[element.len()..];
    }
    if names.is_empty() {
        return (page, None);
    }
    kept.push_str(rest);
    (kept.into(), Some(Unaddressable(names)))
}

/// The first element that contains a name: its start and its text. Names are escaped in a listing,
/// so they cannot be mistaken for a tag.
fn next_element(text: &str) -> Option<(usize, &str)> {
    let found = NAMED.iter().filter_map(|(tag, _)| {
        let start = text.find(&format!("<{tag}>"))?;
        let close = format!("</{tag}>");
        let length = text[start..].find(&close)? + close.len();
        Some((start, &text[start..start + length]))
    });
    found.min_by_key(|(start, _)| *start)
}

fn name_of(element: &str) -> Option<String> {
    let (_, inner) = (NAMED.iter()).find(|(tag, _)| element.starts_with(&format!("<{tag}>")))?;
    let (_, name) = element.split_once(&format!("<{inner}>"))?;
    let (name, _) = name.split_once(&format!("</{inner}>"))?;
    Some(unescape(name))
}

fn unescape(text: &str) -> String {
    let mut pieces = text.split('&');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        if let Some((entity, rest)) = piece.split_once(';')
            && let Some(character) = character(entity)
        {
            plain.push(character);
            plain.push_str(rest);
        } else {
            plain.push('&');
            plain.push_str(piece);
        }
    }
    plain
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> String {
        format!("<Contents><Key>{key}</Key><Size>2</Size></Contents>")
    }

    #[test]
    fn only_names_that_no_client_can_address_are_removed() {
        let folder =
            |prefix: &str| format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>");
        let good = [
            object("2021/04/21/wt/Austin &amp; more.json"),
            object("2021/04/21/wt/"),
            folder("2021/04/21/wt/sub/"),
        ];
        let bad = [
            (object("wt//x.json"), "wt//x.json"),
            (folder("2021/04/21/wt//"), "2021/04/21/wt//"),
            (object("wt/../&lt;x&#x26;"), "wt/../<x&"),
            (object("wt/a&#10;b.json"), "wt/a\nb.json"),
            (object("wt/a\u{1}b.json"), "wt/a\u{1}b.json"),
        ];
        let whole: String = good.concat();
        assert_eq!(split(whole.clone().into()), (whole.clone().into(), None));
        for (element, name) in bad {
            let page = format!(
                "<ListBucketResult>{}{element}{}</ListBucketResult>",
                good[0], good[2]
            );
            let (kept, names) = split(page.clone().into());
            assert_eq!(kept, page.replace(&element, ""));
            assert_eq!(names, Some(Unaddressable(vec![name.to_owned()])));
        }
        let azure =
            "<Blobs><Blob><Name>a/b</Name></Blob><BlobPrefix><Name>a//</Name></BlobPrefix></Blobs>";
        let (kept, names) = split(azure.into());
        assert_eq!(kept, "<Blobs><Blob><Name>a/b</Name></Blob></Blobs>");
        assert_eq!(names, Some(Unaddressable(vec!["a//".into()])));
    }

    #[test]
    fn a_page_that_is_not_a_listing_is_unchanged() {
        for page in [
            &b""[..],
            b"\xff<Contents>",
            b"<Contents><Key>a//b",
            b"&amp;",
        ] {
            let page = Bytes::from_static(page);
            assert_eq!(split(page.clone()), (page, None));
        }
    }
}
