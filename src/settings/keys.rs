//! The names of all keys and their defaults, used to check the file and the environment and to
//! suggest the nearest key for a misspelled one.
//!
//! The order is that of `config/sodalake.toml` and of `config show`. Allowed values are defined
//! where a key is read (`load`, `values`); defaults are written as they would be in the file.

/// One key.
pub(super) struct Key {
    /// Its full name, `section.key`. Keys of `[[dataset]]` start with `dataset.`.
    pub name: &'static str,
    /// Its default, as TOML.
    pub default: Option<&'static str>,
}

const fn with_default(name: &'static str, default: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
    }
}

const fn without_default(name: &'static str) -> Key {
    Key {
        name,
        default: None,
    }
}

/// Every key; those of `[[dataset]]` come last.
pub(super) const KEYS: &[Key] = &[
    without_default("timezone"),
    with_default("mode", r#""observe""#),
    without_default("lake.url"),
    without_default("lake.endpoint"),
    without_default("lake.region"),
    with_default("lake.repository", r#""atd-datalake-ready""#),
    with_default("lake.max_file_bytes", r#""1GiB""#),
    without_default("catalog.url"),
    without_default("catalog.password"),
    without_default("catalog.password_file"),
    without_default("catalog.ca_file"),
    with_default("catalog.table", r#""api.data_lake_catalog""#),
    with_default("catalog.repository", r#""socrata""#),
    without_default("socrata.url"),
    with_default("socrata.read_as", r#""anonymous""#),
    without_default("socrata.username"),
    without_default("socrata.username_file"),
    without_default("socrata.password"),
    without_default("socrata.password_file"),
    without_default("socrata.app_token"),
    without_default("socrata.app_token_file"),
    with_default("socrata.page_rows", "50000"),
    with_default("socrata.chunk_rows", "10000"),
    with_default("socrata.max_in_flight", "4"),
    with_default("socrata.requests_per_second", "20"),
    with_default("socrata.confirm_within", r#""2h""#),
    with_default("socrata.request_timeout", r#""5m""#),
    with_default("daemon.workers", "4"),
    with_default("ledger.url", r#""sqlite:///var/lib/sodalake/ledger.db""#),
    without_default("ledger.password"),
    without_default("ledger.password_file"),
    without_default("ledger.ca_file"),
    with_default("archive.url", r#""file:///var/lib/sodalake/archive""#),
    with_default("archive.keep_days", "400"),
    with_default("schedule.survey", r#""0 */30 * * * *""#),
    with_default("schedule.check", r#""0 0 10 * * *""#),
    with_default("schedule.audit", r#""0 0 3 * * SUN""#),
    with_default("schedule.window_days", "30"),
    with_default("schedule.settle_days", "2"),
    with_default("schedule.repair_hours", r#""10:30-23:00""#),
    with_default("rails.recheck_after", r#""10m""#),
    with_default("rails.max_purge_rows_per_day", "250000"),
    with_default("rails.max_purge_share_per_day", "0.6"),
    with_default("rails.max_orphan_rows_per_day", "500"),
    with_default("rails.max_purge_rows_per_24h", "1000000"),
    with_default("rails.min_share_of_usual", "0.8"),
    with_default("rails.max_repairs_per_week", "3"),
    with_default("republish.mode", r#""native""#),
    without_default("republish.command"),
    with_default("republish.timeout", r#""2h""#),
    without_default("notify.webhook"),
    without_default("notify.webhook_file"),
    with_default("http.listen", r#""127.0.0.1:9464""#),
    without_default("http.token"),
    without_default("http.token_file"),
    without_default("dataset.name"),
    without_default("dataset.id"),
    without_default("dataset.recipe"),
    with_default("dataset.keys", r#""accept""#),
    without_default("dataset.source"),
    without_default("dataset.ext"),
    without_default("dataset.key_column"),
    without_default("dataset.day_column"),
];

/// The sections whose keys can also be set per dataset.
pub(super) const OVERRIDABLE: [&str; 2] = ["schedule", "rails"];

/// Section and last part of a full name; the section of a top-level key is empty.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The keys allowed in `section`, without the section; `""` means the top-level keys.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let (of, last) = split(key.name);
        let own = of == section || (section == "dataset" && OVERRIDABLE.contains(&of));
        own.then_some(last)
    })
}

/// Whether `last` is allowed in `section`.
pub(super) fn is_known(section: &str, last: &str) -> bool {
    of_section(section).any(|known| known == last)
}

pub(super) fn is_section(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|key| split(key.name).0 == name)
}

/// Whether the key's value must never be printed.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(
        split(name).1,
        "password" | "app_token" | "token" | "webhook"
    )
}

/// What `name` was most likely meant to be: a key of the same section with a similar name, or the
/// same key of another section.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let (section, last) = split(name);
    let distance = |key: &Key| {
        let (other, known) = split(key.name);
        strsim::osa_distance(last, known) + strsim::osa_distance(section, other).min(2)
    };
    let best = KEYS.iter().min_by_key(|key| distance(key))?;
    let allowed = (name.chars().count() / 4).clamp(2, 5);
    (distance(best) <= allowed).then_some(best.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_gets_a_suggestion() {
        for (wrong, meant) in [
            ("socrata.page_row", Some("socrata.page_rows")),
            ("page_rows", Some("socrata.page_rows")),
            ("time_zone", Some("timezone")),
            ("rails.window_days", Some("schedule.window_days")),
            ("lake.colour_of_the_water", None),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
    }

    /// Operators look there first and rely on it.
    #[test]
    fn every_key_is_in_the_operations_guide_with_its_default() {
        let page = include_str!("../../docs/operations.md");
        for key in KEYS {
            let default = key
                .default
                .map_or("none".into(), |toml| format!("`{toml}`"));
            let row = format!("\n| `{}` | {default} | ", key.name);
            assert!(page.contains(&row), "no row{row}");
        }
    }

    #[test]
    fn every_rail_and_schedule_key_can_be_set_per_dataset() {
        assert!(is_known("dataset", "max_purge_rows_per_day"));
        assert!(is_known("dataset", "repair_hours"));
        assert!(!is_known("dataset", "page_rows"));
        assert!(!is_known("schedule", "max_purge_rows_per_day"));
    }
}
