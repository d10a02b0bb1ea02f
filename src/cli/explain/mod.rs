//! `explain`: why a day, or one row of it, is as it is.
//!
//! One look, at contents unless asked otherwise, and what a repair would do about it. Nothing on
//! portal or catalog is touched and no secret that can write is needed. `facts` gathers samples,
//! `text` says them to people, `json` to programs, and `row` sees one row from all sides.

mod json;
mod row;
mod text;

use tracing::error;

use super::style::{clean, clean_json, print};
use super::{Common, Depth, Exit, ExplainArgs, Format, look, report, select};
use crate::compare::{self, Findings};
use crate::expected::{self, Facts};
use crate::model::RowKey;
use crate::plan::{Breach, Draft};
use crate::reconcile::{self, LookError, Report, chain};

/// How many samples of each finding are shown.
const SAMPLES: usize = 5;

/// All that is known of the day.
struct Explained {
    report: Report,
    /// What a repair would do, and what would hold it.
    drafted: Option<(Draft, Vec<Breach>)>,
    facts: &'static Facts,
}

impl Explained {
    fn findings(&self) -> Option<&Findings> {
        self.report.findings.as_ref()
    }
}

/// `sodalake explain`.
pub(super) async fn run(args: ExplainArgs, common: &Common) -> anyhow::Result<Exit> {
    let world = look::world(common).await?;
    let target = select::day(&world.settings, &args.dataset, args.day)?;
    let name = &target.dataset.recipe;
    let recipe = expected::recipe(name).ok_or_else(|| LookError::Recipe(name.clone()))?;
    let depth = depth(common.depth);
    let (report, drafted) = match reconcile::draft(&world, &target, depth, false).await {
        Ok(drafted) => drafted,
        Err(error) => (Report::failed(&target, depth, &error), None),
    };
    let explained = Explained {
        report,
        drafted,
        facts: recipe.facts(),
    };
    let mut exit = report::exit(std::slice::from_ref(&explained.report));
    let seen = match args.key.as_deref().map(RowKey::new) {
        None => None,
        Some(key) => match row::see(&world, &target, recipe, key).await {
            Ok(seen) => Some(seen),
            Err(error) => {
                exit = exit.and(told(&error));
                None
            }
        },
    };
    print(&said(&explained, seen.as_ref(), &args, common.format))?;
    Ok(exit)
}

/// A survey sees no rows; the least that explains anything is keys.
fn depth(asked: Option<Depth>) -> compare::Depth {
    match asked {
        Some(Depth::Survey | Depth::Keys) => compare::Depth::Keys,
        Some(Depth::Content) | None => compare::Depth::Content,
    }
}

fn told(error: &LookError) -> Exit {
    error!("failed to see the row: {}", clean(&chain(error)));
    if error.is_service() {
        Exit::Failed
    } else {
        Exit::Unproven
    }
}

fn said(
    explained: &Explained,
    seen: Option<&row::Seen>,
    args: &ExplainArgs,
    format: Format,
) -> String {
    let findings = explained.findings();
    match (format, seen) {
        (Format::Json, seen) => {
            let mut object = json::of(explained);
            if let Some(seen) = seen {
                object["row"] = seen.to_json(findings);
            }
            format!("{}\n", clean_json(&object.to_string()))
        }
        (Format::Text, Some(seen)) => {
            let day = text::heading(explained);
            format!("{day}\n{}", seen.to_text(findings, explained.facts))
        }
        (Format::Text, None) if args.key.is_some() => text::heading(explained),
        (Format::Text, None) => text::of(explained),
    }
}
