//! `/days/{dataset}/{day}`: one day from its three sides, what is wrong with it and why, what holds
//! its repair, what was done to it, and what a person can do now.

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
use crate::reconcile::{Evidence, State};
use crate::settings::Rails;

/// All that the page tells.
pub struct DayView<'a> {
    /// The zone in which times are told.
    pub zone: Tz,
    /// The portal.
    pub portal: &'a Url,
    /// The dataset.
    pub dataset: &'a Dataset,
    /// The local day.
    pub day: Day,
    /// How it stood at the last look; `None`: it was never looked at.
    pub record: Option<&'a DayRecord>,
    /// What speaks for the findings.
    pub evidence: Option<&'a Evidence>,
    /// The limits in force.
    pub rails: &'a Rails,
    /// A person's mark, if it has one.
    pub mark: Option<&'a Mark>,
    /// What people did about it, the oldest first.
    pub acts: &'a [Act],
    /// The passes that changed something, the newest first.
    pub passes: &'a [PassRecord],
    /// Whether a person may consent here, and what became of it.
    pub consent: Consent,
}

/// How the page answers one who wants to approve the held plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// No token is set: the page only reads.
    ReadOnly,
    /// The form is offered.
    Offered,
    /// The plan was approved before (UTC) and waits to be carried out.
    Given(DateTime<Utc>),
    /// What was posted was refused, in a sentence.
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
                p { "This day has not been looked at." }
                (commands(&[format!("sodalake check {} --day {day}", dataset.name)]))
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
            p.note { "What follows is what stood before the last repair." }
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

/// How the day stands, since when, and why.
pub(super) fn summary(record: &DayRecord, zone: Tz) -> Markup {
    html! {
        p.standing {
            (state(&record.state)) " since " (time(record.since, zone))
            span.faint { ", looked at " (time(record.looked_at, zone)) }
        }
        @if let Some(cause) = &record.cause { p.cause { (sentence(cause)) } }
        @if let Some(why) = &record.why { p.cause { (sentence(why)) } }
    }
}

/// With a capital letter and a full stop.
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

/// Guards and their limits against this day's figures.
fn limits(view: &DayView<'_>, record: &DayRecord) -> Markup {
    let evidence = view.evidence;
    let breaches = evidence.map_or(&[][..], |evidence| &evidence.breaches);
    let purge = to_purge(record);
    html! {
        @if purge > 0 || !breaches.is_empty() {
            section aria-labelledby="limits" {
                h2 id="limits" { "What the guards say" }
                @if !breaches.is_empty() {
                    ul.breaches {
                        @for breach in breaches {
                            li { strong { (breach.guard) } ": " (harmless(&breach.text))
                                @if breach.guard.is_budget() { span.faint { " A person may lift it." } } }
                        }
                    }
                }
                @if purge > 0 { (budgets(view.rails, record, purge)) }
            }
        }
    }
}

/// Rows that a repair would take off the portal at most.
fn to_purge(record: &DayRecord) -> u64 {
    let counts = counts(&record.counts);
    counts.twins + counts.orphans + counts.repeated
}

fn budgets(rails: &Rails, record: &DayRecord, purge: u64) -> Markup {
    let orphans = counts(&record.counts).orphans;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share for people, in whole percents"
    )]
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
            caption { "Budgets of one repair" }
            thead { tr { th { "To purge" } th { "This day" } th { "At most" } th { "So" } th { "Setting" } } }
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

/// What a person can do now.
fn next(view: &DayView<'_>, record: &DayRecord) -> Markup {
    let (name, day) = (&view.dataset.name, view.day);
    let of = state_named(&record.state);
    let digest = record.digest.as_deref().filter(|_| of == Some(State::Held));
    let approvable = view.evidence.is_some_and(|evidence| evidence.approvable);
    html! {
        section aria-labelledby="next" {
            h2 id="next" { "What to do" }
            @match digest.filter(|_| approvable) {
                Some(digest) => { (consent(view, record, digest)) },
                None => {
                    (commands(&[
                        format!("sodalake explain {name} {day}"),
                        match of {
                            Some(State::Differs) => format!("sodalake repair {name} --day {day}"),
                            _ => format!("sodalake check {name} --day {day} --depth content"),
                        },
                    ]))
                }
            }
        }
    }
}

/// The held plan, how to read it, and how to approve it.
fn consent(view: &DayView<'_>, record: &DayRecord, digest: &str) -> Markup {
    let (name, day) = (&view.dataset.name, view.day);
    let counts = counts(&record.counts);
    let depth = if counts.altered > 0 {
        " --depth content"
    } else {
        ""
    };
    let purge = number(to_purge(record));
    html! {
        p { "The repair is held: it would purge " (purge)
            " rows. Read the plan, and if it is right, approve this very one:" }
        (commands(&[
            format!("sodalake plan {name} --day {day}{depth} --out held.plan"),
            format!("sodalake apply held.plan --approve {digest}"),
        ]))
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

/// A plain form cannot send a bearer token in a header, so the token is one of its fields; it is
/// held to the same token, and to this very site.
fn form(view: &DayView<'_>, digest: &str) -> Markup {
    let path = day_path(&view.dataset.name, view.day);
    html! {
        form method="post" action={ (path) "/approve" } {
            input type="hidden" name="digest" value=(digest);
            label { "Why" input name="reason" required autocomplete="off" maxlength="500"; }
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
                p.faint { "Nothing was changed on this day yet." }
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
            thead { tr { th { "Pass" } th { "Began" } th { "Ended" } th { "Published" } th { "Purged" } th { "Catalog" } } }
            tbody { @for pass in view.passes {
                @let end = ended(pass);
                tr {
                    td { a href={ "/passes/" (pass.id) } { (pass.kind) } }
                    td { (time(pass.started_at, view.zone)) }
                    td { @match &end { Some(end) => (outcome(&end.outcome)), None => "under way" } }
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
            .map(|pass| format!("sodalake restore {} --day {}", pass.id, pass.day))
            .collect();
        @if !undone.is_empty() {
            p { "What was purged lies in the archive. To put it back:" }
            (commands(&undone))
        }
    }
}

/// How a pass ended: a state, or why it failed.
pub(super) fn outcome(text: &str) -> Markup {
    html! { @if state_named(text).is_some() { (state(text)) } @else { (harmless(text)) } }
}
