//! The recipes a dataset may name, until `expected` registers them.

use crate::expected::Facts;
use crate::model::KeyRecipe;

const fn facts(
    name: &'static str,
    source: &'static str,
    ext: &'static str,
    key_column: &'static str,
    day_column: &'static str,
) -> Facts {
    Facts {
        name,
        source,
        ext,
        companion: None,
        key_column,
        day_column,
        columns: &[],
        identity: &[],
        spill_days: 0,
        key_recipes: &[KeyRecipe::Row],
        counters: &[],
    }
}

static KNOWN: [Facts; 5] = [
    facts(
        "gridsmart-agg15",
        "gs",
        "agg15.json",
        "record_id",
        "read_date",
    ),
    facts(
        "bluetooth-summary",
        "bt",
        "traf_match_summary.json",
        "record_id",
        "timestamp",
    ),
    facts(
        "bluetooth-matched",
        "bt",
        "matched.json",
        "record_id",
        "start_time",
    ),
    facts(
        "bluetooth-unmatched",
        "bt",
        "unmatched.json",
        "record_id",
        "host_read_time",
    ),
    facts("wavetronix", "wt", "json", "row_id", "curdatetime"),
];

/// What is fixed about each.
pub(super) fn recipes() -> Vec<&'static Facts> {
    KNOWN.iter().collect()
}
