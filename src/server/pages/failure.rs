//! What a person sees where a page cannot be shown.

use maud::{Markup, html};

use super::parts::harmless;
use super::{Place, page};

/// A page that says what failed, in a heading and a sentence.
#[must_use]
pub fn failure(title: &str, why: &str) -> Markup {
    let body = html! {
        h1 { (title) }
        p { (harmless(why)) }
        p { a href="/" { "All days" } }
    };
    page(title, Place::Below, &body)
}
