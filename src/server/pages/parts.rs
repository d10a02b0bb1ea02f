//! What several pages share: states, numbers, times, commands.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};

use crate::compare::{Counts, Finding};
use crate::model::{DatasetName, Day};
use crate::reconcile::State;

/// The state with this name in the ledger; `None` if this program does not know it.
pub(super) fn state_named(text: &str) -> Option<State> {
    State::ALL
        .into_iter()
        .find(|state| state.to_string() == text)
}

/// The mark of the state, by color and shape, and its name.
pub(super) fn state(text: &str) -> Markup {
    html! { span.state { (mark(text)) (text) } }
}

/// The mark alone; screen readers get the name next to it.
pub(super) fn mark(text: &str) -> Markup {
    let known = state_named(text).map_or("none", class);
    html! { i class={ "mark " (known) } aria-hidden="true" {} }
}

/// The CSS class of a state, for cells and marks.
pub(super) fn class(state: State) -> &'static str {
    match state {
        State::InSync | State::Skipped => "",
        State::Repaired => "repaired",
        State::Differs => "differs",
        State::Held => "held",
        State::Unproven => "unproven",
        State::Unconfirmed => "unconfirmed",
        State::Unsettled => "unsettled",
        State::KnownLost => "lost",
        State::Unknown => "unknown",
    }
}

/// `1,248`.
pub(super) fn number(number: u64) -> String {
    crate::model::text::thousands(number)
}

/// `1 day`, `12 days`.
pub(super) fn several(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A time in the zone, with its machine-readable form.
pub(super) fn time(at: DateTime<Utc>, zone: Tz) -> Markup {
    let local = at.with_timezone(&zone);
    html! {
        time datetime=(at.format("%Y-%m-%dT%H:%M:%SZ")) { (local.format("%Y-%m-%d %H:%M %Z")) }
    }
}

/// The path of a day's page.
pub(super) fn day_path(dataset: &DatasetName, day: Day) -> String {
    format!("/days/{dataset}/{day}")
}

/// Commands to type, one per line.
pub(super) fn commands<T: AsRef<str>>(lines: &[T]) -> Markup {
    html! {
        pre.commands tabindex="0" { code {
            @for line in lines { (line.as_ref()) "\n" }
        } }
    }
}

/// The counts of findings, from the ledger's JSON.
pub(super) fn counts(json: &serde_json::Value) -> Counts {
    serde_json::from_value(json.clone()).unwrap_or_default()
}

/// `35 duplicates, 1 unpublishable`; empty if there are none.
pub(super) fn found(counts: &Counts) -> String {
    let named = Finding::ALL.into_iter().map(|one| (one, counts.of(one)));
    let said: Vec<String> = named
        .filter(|(_, count)| *count > 0)
        .map(|(one, count)| finding(one, count))
        .collect();
    said.join(", ")
}

/// `35 duplicates`, `1 duplicate`, `3 missing`.
pub(super) fn finding(finding: Finding, count: u64) -> String {
    let many = match finding {
        Finding::Duplicate => "duplicates",
        Finding::Orphan => "orphans",
        Finding::Missing
        | Finding::Altered
        | Finding::Repeated
        | Finding::Collided
        | Finding::Misdated
        | Finding::Unpublishable
        | Finding::Miscatalogued
        | Finding::Uncatalogued => return format!("{} {finding}", number(count)),
    };
    several(count, &finding.to_string(), many)
}

/// Text from lake or portal on one line, with invisible characters made visible.
pub(super) fn harmless(text: &str) -> String {
    crate::model::text::clean(text).into_owned()
}

/// A JSON value as text: strings without their quotes.
pub(super) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "null".into(),
        serde_json::Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    }
}
