//! `derive`: the rows that should stand on the portal for a day, by lake and catalog alone.
//!
//! The files are read twice: first for the keys, so that of rows with one key only the one that
//! stands is printed and nothing of a file that proves nothing, then for the rows, which go out one
//! by one. What the portal's columns can hold is not asked here, since that would need the portal.

use std::collections::HashMap;
use std::io::{self, BufWriter, Stdout, Write as _};

use anyhow::Context as _;
use tracing::{error, warn};

use super::style::{clean, clean_json};
use super::{Common, DeriveArgs, Exit, UsageError, config, select};
use crate::app;
use crate::compare::Doubt;
use crate::compare::gather::Standing;
use crate::expected::{Counter, DerivedRow, Facts, FileOutcome, Line, Recipe, Variant, recipe};
use crate::model::{DatasetDay, KeyRecipe, Md5Key};
use crate::reconcile::{LakeSide, LookError, ReadyLayer, Source, chain};

/// `sodalake derive`.
pub(super) async fn run(args: DeriveArgs, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let target = select::day(&settings, &args.dataset, args.day)?;
    let rails = &select::dataset(&settings, &args.dataset)?.rails;
    let recipe = recipe(&target.dataset.recipe);
    let recipe = recipe.with_context(|| format!("find recipe {}", target.dataset.recipe))?;
    let variant = variant(recipe.facts(), &args)?;
    let (lake, catalog) = app::lakeside(&settings).await?;
    let ready = ReadyLayer {
        lake: &lake,
        catalog: &catalog,
        repository: &settings.lake.repository,
    };
    let mut side = match LakeSide::read(ready, &target, recipe.facts()).await {
        Ok(side) => side,
        Err(error) if error.is_service() => return Err(error.into()),
        Err(error) => {
            error!("failed to {}", clean(&chain(&error)));
            return Ok(Exit::Unproven);
        }
    };
    side.doubt_number(&target, rails.min_files_share, false);
    let mut exit = Exit::Ok;
    for doubt in &side.doubts {
        error!("{}", clean(&doubt.to_string()));
        // The newest day has no successor yet whose file could hold rows of it.
        if !matches!(doubt, Doubt::NoFiles(day) if *day != target.day) {
            exit = Exit::Unproven;
        }
    }
    let deriving = Deriving {
        ready,
        target: &target,
        recipe,
        variant,
        only_keys: args.keys,
    };
    Ok(exit.and(deriving.print(&side.sources).await?))
}

/// The variant that is asked for, or today's likeliest.
fn variant(facts: &Facts, args: &DeriveArgs) -> Result<Variant, UsageError> {
    let dataset = clean(&args.dataset);
    let keys = args.recipe.map_or(facts.key_recipes[0], KeyRecipe::from);
    if !facts.key_recipes.contains(&keys) {
        let had: Vec<String> = facts.key_recipes.iter().map(ToString::to_string).collect();
        let had = had.join(", ");
        return Err(UsageError(format!(
            "derive {dataset} by --recipe {keys}: its keys were only ever made by {had}"
        )));
    }
    let counter = args.counter.map_or(facts.counters[0], Counter::from);
    if !facts.counters.contains(&counter) {
        let had: Vec<&str> = facts.counters.iter().copied().map(Counter::name).collect();
        return Err(UsageError(format!(
            "derive {dataset} by --counter {}: its rows only know {}",
            counter.name(),
            had.join(", ")
        )));
    }
    Ok(Variant { keys, counter })
}

/// A row's place: which of the sources it is from, and its place in it.
type Place = (usize, u32);

struct Deriving<'a> {
    ready: ReadyLayer<'a>,
    target: &'a DatasetDay,
    recipe: &'static dyn Recipe,
    variant: Variant,
    only_keys: bool,
}

impl Deriving<'_> {
    async fn print(&self, sources: &[Source]) -> anyhow::Result<Exit> {
        let mut exit = Exit::Ok;
        let mut standing: HashMap<Md5Key, Place> = HashMap::new();
        let mut proven = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            match self.keys(source).await {
                Ok(keys) => {
                    let placed = |(key, ordinal)| (key, (index, ordinal));
                    standing.extend(keys.into_iter().map(placed));
                    proven.push((index, source));
                }
                Err(error) => exit = exit.and(told(&error)),
            }
        }
        let mut out = BufWriter::new(io::stdout());
        for (index, source) in proven {
            let printed = self.rows(source, index, &standing, &mut out).await;
            match printed.and_then(|written| written.map_err(Stopped::Write)) {
                Ok(()) => {}
                Err(Stopped::Read(error)) => exit = exit.and(told(&error)),
                Err(Stopped::Write(error)) => return ended(Err(error), exit),
            }
        }
        ended(out.flush(), exit)
    }

    /// The keys of the file's rows of this day, in file order.
    async fn keys(&self, source: &Source) -> Result<Vec<(Md5Key, u32)>, LookError> {
        let mut keys = Vec::new();
        let mut first_unfit = None;
        let outcome = self.derive(source, |line| match line {
            Line::Row(row) if self.belongs(&row, source) => {
                keys.push((row.key, row.ordinal));
            }
            Line::Row(_) => {}
            Line::Unpublishable(row) => {
                first_unfit.get_or_insert(row);
            }
        });
        let outcome = outcome.await?;
        let path = &source.file.path;
        if let Some(why) = &outcome.passed_by {
            warn!(file = %path, "the publisher passes lake file {path} by: {}", clean(why));
        }
        if let Some(first) = first_unfit {
            let (count, ordinal, why) = (outcome.unpublishable, first.ordinal, clean(&first.why));
            warn!(
                file = %path,
                count, "{count} rows of lake file {path} cannot be published, row {ordinal} first: {why}"
            );
        }
        Ok(keys)
    }

    async fn rows(
        &self,
        source: &Source,
        index: usize,
        standing: &HashMap<Md5Key, Place>,
        out: &mut BufWriter<Stdout>,
    ) -> Result<io::Result<()>, Stopped> {
        let mut written = Ok(());
        let derived = self.derive(source, |line| match line {
            Line::Row(row) if standing.get(&row.key) == Some(&(index, row.ordinal)) => {
                if written.is_ok() {
                    written = out.write_all(self.line(&row).as_bytes());
                }
            }
            Line::Row(_) | Line::Unpublishable(_) => {}
        });
        derived.await.map_err(Stopped::Read)?;
        Ok(written)
    }

    async fn derive(
        &self,
        source: &Source,
        mut each: impl FnMut(Line<'_>),
    ) -> Result<FileOutcome, LookError> {
        self.ready
            .with_text(source, |text| {
                self.recipe.derive(text, self.variant, &mut each)
            })
            .await
    }

    /// Rows of the day, and those of its own files that stand far from it.
    fn belongs(&self, row: &DerivedRow<'_>, source: &Source) -> bool {
        let (file_day, day) = (source.file.day, self.target.day);
        let spill = i64::from(self.recipe.facts().spill_days);
        match Standing::of(row.at, file_day, day, spill) {
            Standing::Today => true,
            Standing::Near => false,
            Standing::Far(_) => file_day == day,
        }
    }

    /// The row as the publisher's JSON writer puts it.
    fn line(&self, row: &DerivedRow<'_>) -> String {
        if self.only_keys {
            return format!("{}\n", clean(&row.key.to_string()));
        }
        let mut line = String::from("{");
        for (column, value) in self.recipe.facts().columns.iter().zip(row.values) {
            let value = clean_json(&value.json()).into_owned();
            line.extend(["\"", column, "\": ", &value, ", "]);
        }
        let key = serde_json::Value::from(row.key.to_string()).to_string();
        let column = &self.target.dataset.key_column;
        line.extend(["\"", column, "\": ", &clean_json(&key), "}\n"]);
        line
    }
}

/// Why the rows of a file were not all printed.
enum Stopped {
    Read(LookError),
    Write(io::Error),
}

/// A file that proves nothing, or could not be read: the others go on.
fn told(error: &LookError) -> Exit {
    error!("failed to {}", clean(&chain(error)));
    if error.is_service() {
        Exit::Failed
    } else {
        Exit::Unproven
    }
}

/// A reader that has gone away, as `head` does, is no error.
fn ended(written: io::Result<()>, exit: Exit) -> anyhow::Result<Exit> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("write to stdout")
        }
        Ok(()) | Err(_) => Ok(exit),
    }
}
