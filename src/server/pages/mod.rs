//! The pages, as pure functions: each takes plain data and returns markup. Reading the ledger,
//! access control and handling of forms are elsewhere.
//!
//! Everything works without JavaScript and without external resources; the only stylesheet is
//! [`STYLE`]. Text from lake or portal is hostile: it is only passed to `html!`, which escapes it,
//! and invisible characters are made visible where it is shown as evidence. A report file consists
//! of the same parts, with the stylesheet embedded.

mod calendar;
mod corrections;
mod day;
mod evidence;
mod failure;
mod overview;
mod parts;
mod pass;
mod report;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use corrections::corrections;
pub use day::{Consent, DayView, day};
pub use failure::failure;
pub use overview::{DatasetDays, Overview, overview};
pub use pass::pass;
pub use report::{ReportedDay, report};

/// The stylesheet of every page.
pub const STYLE: &str = include_str!("style.css");

/// The path of the stylesheet.
pub const STYLE_PATH: &str = "/style.css";

/// The content security policy of a page: our stylesheet, and forms that post to us.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// The content security policy of a report: its embedded stylesheet only.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";

/// The part of the site that a page belongs to, for the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Overview,
    Corrections,
    Below,
}

fn page(title: &str, place: Place, body: &Markup) -> Markup {
    let current = |here: Place| (here == place).then_some("page");
    let head = html! { link rel="stylesheet" href=(STYLE_PATH); };
    let nav = html! {
        nav aria-label="Pages" {
            a href="/" aria-current=[current(Place::Overview)] { "Days" }
            a href="/corrections" aria-current=[current(Place::Corrections)] { "Corrections" }
            a href="/metrics" { "Metrics" }
        }
    };
    document(title, &head, &nav, body)
}

fn document(title: &str, head: &Markup, nav: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Sodalake" }
                (head)
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top { a.brand href="/" { "Sodalake" } (nav) }
                main id="main" { (body) }
            }
        }
    }
}

/// A self-contained page: with the stylesheet embedded, and without links to the site.
fn alone(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(REPORT_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Sodalake" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top { span.brand { "Sodalake" } }
                main id="main" { (body) }
            }
        }
    }
}
