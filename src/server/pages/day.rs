//! `/days/{dataset}/{day}`: one day from its three sides, what is wrong with it and why, what holds
//! its repair, what was done about it, and what an operator can do now.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};
use url::Url;

use super::evidence;
use super::parts::{
    commands, counts, day_path, harmless, number, several, state, state_named, time,
};
use super::{Place, page};
use crate::ledger::{Act, DayRecord, Mark, PassKind, PassRecord};
use crate::model::{Dataset, Day};
use crate::plan::{Guard, Strategy, remedy};
use crate::reconcile::{Evidence, State};
use crate::settings::Rails;

/// Everything that the page shows.
pub struct DayView<'a> {
    /// The time zone of all times on the page.
    pub zone: Tz,
    /// The portal.
    pub portal: &'a Url,
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The local day.
    pub day: Day,
    /// The day's state after the last check; `None` if it was never checked.
    pub record: Option<&'a DayRecord>,
    /// The evidence for the findings.
    pub evidence: Option<&'a Evidence>,
    /// The limits in force.
    pub rails: &'a Rails,
    /// The operator's mark, if there is one.
    pub mark: Option<&'a Mark>,
    /// What operators did about the day, oldest first.
    pub acts: &'a [Act],
    /// The passes that changed something, newest first.
    pub passes: &'a [PassRecord],
    /// Whether the plan can be approved on this page, and what became of it.
    pub consent: Consent,
}

/// The state of the form that approves the held plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// No token is configured: the page is read-only.
    ReadOnly,
    /// The form is shown.
    Offered,
    /// The plan was approved at this time (UTC) and waits to be carried out.
    Given(DateTime<Utc>),
    /// The submitted form was refused, with this reason.
    Refused(String),
}

/// The page.
#[must_use]
pub fn day(view: &DayView<'_>) -> Markup {
    let DayView { dataset, day, .. } = view;
    let title = format!("{} {day}", dataset.name);
    let body = html! {
        nav.beside aria-label="Days before and after" {
            a href=(day_path(&dataset.name, day.plus(-1))) { "← " (day.plus(-1)) }
            a href={ "/#days-" (dataset.name) } { "all days of " (dataset.name) }
            a href=(day_path(&dataset.name, day.next())) { (day.next()) " →" }
        }
        h1 { (dataset.name) " " (day) " " span.faint { (day.date().format("%A")) } }
        @if let Some(mark) = view.mark { (marked(mark)) }
        @match view.record {
            Some(record) => { (known(view, record)) },
            None => {
                p { "This day has not been checked." }
                (commands(&[format!("sodalake check {} --partition {day}", dataset.name)]))
            }
        }
        (history(view))
    };
    page(&title, Place::Below, &body)
}

fn marked(mark: &Mark) -> Markup {
    html! {
        p.note { "Marked " strong { (mark.kind) }
            @if let Some(until) = mark.until { " until " (until) }
            " by " (harmless(&mark.by)) ": " (harmless(&mark.reason))
        }
    }
}

fn known(view: &DayView<'_>, record: &DayRecord) -> Markup {
    html! {
        (summary(record, view.zone))
        @if record.pass.is_some() {
            p.note { "The findings below are from before the last repair." }
        }
        (sides(view, record))
        @if let Some(evidence) = view.evidence {
            (evidence::findings(&counts(&record.counts), evidence, view.zone))
        }
        (limits(view, record))
        (next(view, record))
        @if let Some(evidence) = view.evidence { (evidence::files(evidence)) }
    }
}

/// The state of the day, since when, and why.
pub(super) fn summary(record: &DayRecord, zone: Tz) -> Markup {
    html! {
        p.standing {
            (state(&record.state)) " since " (time(record.since, zone))
            span.faint { ", checked " (time(record.checked_at, zone)) }
        }
        @if let Some(cause) = &record.cause { p.cause { (sentence(cause)) } }
        @if let Some(why) = &record.why { p.cause { (sentence(why)) } }
    }
}

/// The text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = harmless(text);
    if let Some(first) = letters.get(..1) {
        let first = first.to_uppercase();
        letters.replace_range(..1, &first);
    }
    letters.push('.');
    letters
}

/// The three sides as numbers.
fn sides(view: &DayView<'_>, record: &DayRecord) -> Markup {
    let files = view.evidence.map(|evidence| {
        let own = evidence.files.iter().filter(|file| file.day == view.day);
        let entered = own.clone().filter(|file| file.entered).count();
        (own.count() as u64, entered as u64)
    });
    let count = |rows: Option<u64>| rows.map_or_else(|| "?".to_owned(), number);
    let page = view.portal.join(&format!("d/{}", view.dataset.id)).ok();
    html! {
        ul.sides aria-label="The three sides" {
            li { span { "Lake" } strong { (count(record.expected)) }
                " rows expected"
                @if let Some((files, _)) = files { ", " (several(files, "file", "files")) " of the day" }
            }
            li { span { "Portal" } strong { (count(record.published)) } " rows published"
                @if let Some(page) = page { " (" a href=(page) rel="noreferrer" { (view.dataset.id) } ")" }
            }
            li { span { "Catalog" }
                @if let Some((files, entered)) = files {
                    strong { (number(entered)) } " of " (several(files, "file", "files")) " entered as published"
                } @else { strong { "?" } " entries" }
            }
        }
    }
}

/// Guards and their limits, compared with this day's numbers.
fn limits(view: &DayView<'_>, record: &DayRecord) -> Markup {
    let evidence = view.evidence;
    let breaches = evidence.map_or(&[][..], |evidence| &evidence.breaches);
    let purge = to_purge(record);
    html! {
        @if purge > 0 || !breaches.is_empty() {
            section aria-labelledby="limits" {
                h2 id="limits" { "Guards" }
                @if !breaches.is_empty() {
                    ul.breaches {
                        @for breach in breaches {
                            li { strong { (breach.guard) } ": " (harmless(&breach.text))
                                @if breach.guard.is_budget() { span.faint { " An operator can lift this limit." } } }
                        }
                    }
                }
                @if purge > 0 { (budgets(view.rails, record, purge)) }
            }
        }
    }
}

/// Maximum rows that the repair would purge.
fn to_purge(record: &DayRecord) -> u64 {
    match record.drafted.map(|drafted| drafted.strategy) {
        Some(Strategy::Rewrite) => record.published.unwrap_or(0),
        Some(Strategy::Repair) | None => remedy::to_purge(&counts(&record.counts)),
    }
}

fn budgets(rails: &Rails, record: &DayRecord, purge: u64) -> Markup {
    let orphans = counts(&record.counts).orphans;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    #[expect(clippy::cast_precision_loss, reason = "shown as whole percents")]
    let share = record
        .published
        .map(|published| purge as f64 / published.max(1) as f64);
    let line = |what: &str, figure: String, limit: String, over: bool, setting: &str| {
        html! {
            tr.over[over] {
                th scope="row" { (what) }
                td.figure { (figure) }
                td.figure { (limit) }
                td { (if over { "over" } else { "within" }) }
                td { code { "rails." (setting) } }
            }
        }
    };
    html! {
        div.scroll tabindex="0" { table.rows {
            caption { "Budgets of a repair" }
            thead { tr { th { "To purge" } th { "This day" } th { "Limit" } th { "Result" } th { "Setting" } } }
            tbody {
                (line("rows", number(purge), number(rails.max_purge_rows_per_day),
                    purge > rails.max_purge_rows_per_day, "max_purge_rows_per_day"))
                @if let Some(share) = share {
                    (line("share of the day", percent(share), percent(rails.max_purge_share_per_day),
                        share > rails.max_purge_share_per_day, "max_purge_share_per_day"))
                }
                (line("orphans", number(orphans), number(rails.max_orphan_rows_per_day),
                    orphans > rails.max_orphan_rows_per_day, "max_orphan_rows_per_day"))
            }
        } }
    }
}

/// What an operator can do now.
fn next(view: &DayView<'_>, record: &DayRecord) -> Markup {
    let (name, day) = (&view.dataset.name, view.day);
    let of = state_named(&record.state);
    let digest = record.digest.as_deref().filter(|_| of == Some(State::Held));
    let approvable = Guard::names_are_approvable(&record.guards);
    html! {
        section aria-labelledby="next" {
            h2 id="next" { "Next steps" }
            @match digest.filter(|_| approvable) {
                Some(digest) => { (consent(view, record, digest)) },
                None => {
                    (commands(&[
                        format!("sodalake explain {name} {day}"),
                        match of {
                            Some(State::Differs) => format!("sodalake repair {name} --partition {day}"),
                            _ => format!("sodalake check {name} --partition {day} --depth content"),
                        },
                    ]))
                }
            }
        }
    }
}

/// The held plan, how to read it, and how to approve it.
fn consent(view: &DayView<'_>, record: &DayRecord, digest: &str) -> Markup {
    let commands_to_type = (record.drafted)
        .map(|drafted| drafted.approval_commands(&view.dataset.name, view.day, digest));
    let purge = number(to_purge(record));
    html! {
        p { "The repair is held. It would purge " (purge)
            " rows. Review the plan. If it is correct, approve exactly this one:" }
        @if let Some(typed) = &commands_to_type { (commands(typed)) }
        @match &view.consent {
            Consent::ReadOnly => p.faint {
                "To approve here, set " code { "http.token_file" } " in the settings."
            },
            Consent::Given(at) => p.note {
                "Approved " (time(*at, view.zone)) ". The next pass carries it out."
            },
            Consent::Offered => { (form(view, digest)) },
            Consent::Refused(why) => { p.note.bad role="alert" { (harmless(why)) } (form(view, digest)) },
        }
    }
}

/// A plain form cannot send a bearer token in a header, so the token is a field of the form. It is
/// checked like the header, and the form must come from this site.
fn form(view: &DayView<'_>, digest: &str) -> Markup {
    let path = day_path(&view.dataset.name, view.day);
    html! {
        form method="post" action={ (path) "/approve" } {
            input type="hidden" name="digest" value=(digest);
            label { "Reason" input name="reason" required autocomplete="off" maxlength="500"; }
            label { "Token" input name="token" type="password" required autocomplete="off"; }
            button type="submit" { "Approve the plan" }
        }
    }
}

fn history(view: &DayView<'_>) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 id="history" { "History" }
            @if view.passes.is_empty() && view.acts.is_empty() {
                p.faint { "Nothing has been changed on this day yet." }
            }
            @if !view.passes.is_empty() { (passes(view)) }
            @if !view.acts.is_empty() {
                ul { @for act in view.acts {
                    li { (time(act.at, view.zone)) " " strong { (harmless(&act.act)) } " by "
                        (harmless(&act.origin)) ": " (harmless(&act.reason)) }
                } }
            }
        }
    }
}

fn passes(view: &DayView<'_>) -> Markup {
    let ended = |pass: &PassRecord| pass.end.clone();
    html! {
        div.scroll tabindex="0" { table.rows {
            thead { tr { th { "Pass" } th { "Started" } th { "Ended" } th { "Published" } th { "Purged" } th { "Catalog" } } }
            tbody { @for pass in view.passes {
                @let end = ended(pass);
                tr {
                    td { a href={ "/passes/" (pass.id) } { (pass.kind) } }
                    td { (time(pass.started_at, view.zone)) }
                    td { @match &end { Some(end) => (outcome(&end.outcome)), None => "in progress" } }
                    @match &end {
                        Some(end) => {
                            td.figure { (number(end.published)) } td.figure { (number(end.purged)) }
                            td.figure { (number(end.catalog_changes)) }
                        },
                        None => { td {} td {} td {} },
                    }
                }
            } }
        } }
        @let undone: Vec<String> = view.passes.iter()
            .filter(|pass| pass.kind != PassKind::Restore)
            .filter(|pass| pass.end.as_ref().is_some_and(|end| end.purged > 0))
            .map(|pass| format!("sodalake restore {} --partition {}", pass.id, pass.day))
            .collect();
        @if !undone.is_empty() {
            p { "Purged rows are in the archive. To restore them:" }
            (commands(&undone))
        }
    }
}

/// How a pass ended: a state, or why it failed.
pub(super) fn outcome(text: &str) -> Markup {
    html! { @if state_named(text).is_some() { (state(text)) } @else { (harmless(text)) } }
}
