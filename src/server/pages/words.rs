//! What each finding means to a reader, and what a repair does about it.

use crate::compare::Finding;

/// A finding's meaning, and what a repair does about it.
pub(super) fn meaning(finding: Finding) -> (&'static str, &'static str) {
    match finding {
        Finding::Missing => ("in the lake, and not published", "publishes them"),
        Finding::Twin => (
            "published under another key, beside the right row",
            "purges them once the right rows are seen",
        ),
        Finding::Orphan => (
            "published, and the lake has nothing like them",
            "purges a few; more are held, since they may be the last copy",
        ),
        Finding::Altered => ("the right key with other values", "publishes them again"),
        Finding::Repeated => (
            "several rows with one key, or with none",
            "purges all but one",
        ),
        Finding::Collided => (
            "two rows of the lake with one key; the later one stands",
            "leaves them: that is how they are published",
        ),
        Finding::Misdated => (
            "rows far from the day of their file",
            "publishes those that are missing and purges none",
        ),
        Finding::Unpublishable => (
            "rows of the lake that the portal cannot hold",
            "leaves them: nothing can be done here",
        ),
        Finding::Miscatalogued => (
            "entries that say published where it is not so",
            "takes the entries out",
        ),
        Finding::Uncatalogued => ("files that stand published without an entry", "enters them"),
    }
}
