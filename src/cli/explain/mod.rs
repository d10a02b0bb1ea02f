//! `explain`: why a day, or one row of it, is in its state.
//!
//! It runs one check, at content depth by default, and drafts a repair. It changes nothing and
//! needs no secret that can write. `facts` gathers the samples, `text` renders them for people,
//! `json` for programs, and `row` explains a single row.

mod json;
mod row;
mod text;

use tracing::error;

use super::style::{clean, clean_json, print};
use super::{Common, Exit, ExplainArgs, Format, away, check, report, select};
use crate::compare::Findings;
use crate::expected::{self, Facts};
use crate::model::RowKey;
use crate::plan::{Breach, Draft};
use crate::reconcile::{self, CheckError, Report, chain};

/// Maximum samples shown per finding.
const SAMPLES: usize = 5;

/// Everything known about the day.
struct Explained {
    report: Report,
    /// The draft of a repair, and the guards that would hold it.
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
    let world = check::world(common).await?;
    let target = select::day(&world.settings, &args.dataset, args.partition)?;
    let name = &target.dataset.recipe;
    let recipe = expected::recipe(name).ok_or_else(|| CheckError::Recipe(name.clone()))?;
    let depth = args.depth.into();
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
    let away = away::behind(&world, &explained.report).await;
    let seen = match args.key.as_deref().map(RowKey::new) {
        None => None,
        Some(_) if away.is_some() => None,
        Some(key) => match row::see(&world, &target, recipe, key).await {
            Ok(seen) => Some(seen),
            Err(error) => {
                exit = exit.and(log_failure(&error));
                None
            }
        },
    };
    print(&rendered(
        &explained,
        seen.as_ref(),
        &args,
        args.output.format,
    ))?;
    let reports = std::slice::from_ref(&explained.report);
    let left = away.map(|service| away::leave(&world, service, &[target], reports, "checked"));
    Ok(exit.and(left.unwrap_or(Exit::Ok)))
}

fn log_failure(error: &CheckError) -> Exit {
    error!("cannot explain the row: {}", clean(&chain(error)));
    if error.is_service() {
        Exit::Failed
    } else {
        Exit::Unproven
    }
}

fn rendered(
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
