//! The pages that people look at, as pure functions of what is known: each takes plain data and
//! gives markup. Who reads the ledger, who may ask and what a form does is decided elsewhere.
//!
//! Everything works without JavaScript and without anything from outside; the one stylesheet is
//! [`STYLE`]. Whatever came from lake or portal is hostile text: it is only ever handed to `html!`,
//! which escapes it, and with the unseen characters made visible where it is shown as evidence.
//! A report in a file is made of the same parts, with the stylesheet inside.

mod calendar;
mod corrections;
mod day;
mod evidence;
mod failure;
mod overview;
mod parts;
mod pass;
mod report;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use corrections::corrections;
pub use day::{Consent, DayView, day};
pub use failure::failure;
pub use overview::{DatasetDays, Overview, overview};
pub use pass::pass;
pub use report::{ReportedDay, report};

/// The stylesheet of every page.
pub const STYLE: &str = include_str!("style.css");

/// Where the stylesheet is served.
pub const STYLE_PATH: &str = "/style.css";

/// What browsers may do with a page: show it with our stylesheet and post its forms to us.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// What they may do with a report: show it with the stylesheet inside.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";

/// Which part of the site a page belongs to.
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

/// A page that needs nothing beside it: the stylesheet inside, and no links into the site.
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
