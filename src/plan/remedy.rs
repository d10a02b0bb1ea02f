//! What a repair does about each finding, in words and in numbers. Kept next to the drafting that
//! decides it; the status page, `explain` and the table in docs/data.md repeat it.

use crate::compare::{Counts, Finding};

/// What a repair does about a finding, worded to follow "A repair".
#[must_use]
pub fn of(finding: Finding) -> &'static str {
    match finding {
        Finding::Missing => "publishes them, or has the publisher do it (`republish.mode`)",
        Finding::Duplicate => "purges them, once the right rows are seen",
        Finding::Orphan => "archives and purges a few; more are held, as they may be the last copy",
        Finding::Altered => "publishes them again, if `republish.mode` is native",
        Finding::Repeated => "leaves them; a person removes them on the portal by their `:id`",
        Finding::Collided => "leaves them; this is how they are published",
        Finding::Misdated => "publishes those that are missing, and purges none",
        Finding::Unpublishable => "leaves them; they are reported",
        Finding::Miscatalogued => {
            "corrects the entries; removes those of files that are gone and, unless `republish.mode` \
             is native, those with missing rows"
        }
        Finding::Uncatalogued => "adds the entries",
    }
}

/// Whether a repair purges the rows of a finding.
fn purges(finding: Finding) -> bool {
    match finding {
        Finding::Duplicate | Finding::Orphan => true,
        Finding::Missing
        | Finding::Altered
        | Finding::Repeated
        | Finding::Collided
        | Finding::Misdated
        | Finding::Unpublishable
        | Finding::Miscatalogued
        | Finding::Uncatalogued => false,
    }
}

/// The maximum number of rows that a repair of these findings purges.
#[must_use]
pub fn to_purge(counts: &Counts) -> u64 {
    let purged = Finding::ALL.into_iter().filter(|finding| purges(*finding));
    purged.map(|finding| counts.of(finding)).sum()
}
