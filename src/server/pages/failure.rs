//! The page shown when another page cannot be.

use maud::{Markup, html};

use super::parts::harmless;
use super::{Place, page};

/// A page with the failure as a heading and a sentence.
#[must_use]
pub fn failure(title: &str, why: &str) -> Markup {
    let body = html! {
        h1 { (title) }
        p { (harmless(why)) }
        p { a href="/" { "All days" } }
    };
    page(title, Place::Below, &body)
}
