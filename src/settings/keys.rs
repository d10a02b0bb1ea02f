//! The names of all keys and their defaults: what the file and the environment are checked
//! against, and where a misspelt key finds its nearest neighbour.
//!
//! The order is that of `config/sodalake.toml` and of `config show`. What a value may be is said
//! where it is read (`load`, `values`); a default is written as the file would have it.

/// One key.
pub(super) struct Key {
    /// Its full name, `section.key`. Keys of `[[dataset]]` begin with `dataset.`.
    pub name: &'static str,
    /// Its value where nobody gives one, as TOML.
    pub default: Option<&'static str>,
}

const fn given(name: &'static str, default: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
    }
}

const fn open(name: &'static str) -> Key {
    Key {
        name,
        default: None,
    }
}

/// Every key, `[[dataset]]`'s own ones last.
pub(super) const KEYS: &[Key] = &[
    given("timezone", r#""America/Chicago""#),
    given("mode", r#""observe""#),
    open("lake.url"),
    open("lake.endpoint"),
    open("lake.region"),
    given("lake.repository", r#""atd-datalake-ready""#),
    given("lake.max_file_bytes", r#""1GiB""#),
    open("catalog.url"),
    open("catalog.password"),
    open("catalog.password_file"),
    open("catalog.ca_file"),
    given("catalog.table", r#""api.data_lake_catalog""#),
    given("catalog.repository", r#""socrata""#),
    open("socrata.url"),
    open("socrata.username"),
    open("socrata.username_file"),
    open("socrata.password"),
    open("socrata.password_file"),
    open("socrata.app_token"),
    open("socrata.app_token_file"),
    given("socrata.page_rows", "50000"),
    given("socrata.chunk_rows", "10000"),
    given("socrata.max_in_flight", "4"),
    given("socrata.requests_per_second", "20"),
    given("socrata.confirm_within", r#""2h""#),
    given("socrata.request_timeout", r#""5m""#),
    given("ledger.url", r#""sqlite:///var/lib/sodalake/ledger.db""#),
    open("ledger.password"),
    open("ledger.password_file"),
    open("ledger.ca_file"),
    given("archive.url", r#""file:///var/lib/sodalake/archive""#),
    given("archive.keep_days", "400"),
    given("schedule.survey", r#""0 */30 * * * *""#),
    given("schedule.check", r#""0 0 10 * * *""#),
    given("schedule.audit", r#""0 0 3 * * SUN""#),
    given("schedule.window_days", "30"),
    given("schedule.settle_days", "2"),
    given("schedule.repair_hours", r#""10:30-23:00""#),
    given("rails.recheck_after", r#""10m""#),
    given("rails.max_purge_rows_per_day", "250000"),
    given("rails.max_purge_share_per_day", "0.6"),
    given("rails.max_orphan_rows_per_day", "500"),
    given("rails.max_purge_rows_per_24h", "1000000"),
    given("rails.min_files_share", "0.8"),
    given("rails.max_repairs_per_day", "3"),
    given("republish.mode", r#""native""#),
    open("republish.command"),
    open("notify.webhook"),
    open("notify.webhook_file"),
    given("http.listen", r#""127.0.0.1:9464""#),
    open("http.token"),
    open("http.token_file"),
    open("dataset.name"),
    open("dataset.id"),
    open("dataset.recipe"),
    given("dataset.keys", r#""accept""#),
    open("dataset.source"),
    open("dataset.ext"),
    open("dataset.key_column"),
    open("dataset.day_column"),
];

/// The sections whose keys a dataset may have for itself.
pub(super) const OVERRIDABLE: [&str; 2] = ["schedule", "rails"];

/// Section and last part of a full name; the section of a top key is empty.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// The keys that may stand in `section`, without the section; `""` asks for the top keys.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let (of, last) = split(key.name);
        let own = of == section || (section == "dataset" && OVERRIDABLE.contains(&of));
        own.then_some(last)
    })
}

/// Whether `last` may stand in `section`.
pub(super) fn is_known(section: &str, last: &str) -> bool {
    of_section(section).any(|known| known == last)
}

/// Whether there is such a section.
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

/// What someone who wrote `name` most likely meant, if anything is near: a key of the same section
/// spelt a little otherwise, or the same key of another section.
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
    fn a_misspelt_key_finds_its_neighbour() {
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

    /// Operators look there first, and trust what they find.
    #[test]
    fn every_key_stands_in_the_operators_handbook_with_its_default() {
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
    fn a_dataset_may_have_every_rail_and_schedule_key_for_itself() {
        assert!(is_known("dataset", "max_purge_rows_per_day"));
        assert!(is_known("dataset", "repair_hours"));
        assert!(!is_known("dataset", "page_rows"));
        assert!(!is_known("schedule", "max_purge_rows_per_day"));
    }
}
