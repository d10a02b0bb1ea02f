//! `derive`: the rows that should be published for a day, from the lake and the catalog alone.
//!
//! The files are read twice. The first reading collects the keys: of several rows with one key
//! only the one that would be published is printed, and nothing is printed of an unreadable file.
//! The second reading prints the rows as it goes. Whether the portal's columns can hold the values
//! is not checked, since that would need the portal.

use std::collections::HashMap;
use std::io::{self, BufWriter, Stdout, Write as _};

use anyhow::Context as _;
use tracing::{error, warn};

use super::style::{clean, clean_json};
use super::{Common, DeriveArgs, Exit, UsageError, config, select};
use crate::app;
use crate::compare::Doubt;
use crate::compare::gather::RowDay;
use crate::expected::{Counter, DerivedRow, Facts, FileOutcome, Line, Recipe, Variant, recipe};
use crate::model::{DatasetDay, KeyScheme, Md5Key};
use crate::reconcile::{CheckError, LakeSide, ReadyLayer, Source, chain};

/// `sodalake derive`.
pub(super) async fn run(args: DeriveArgs, common: &Common) -> anyhow::Result<Exit> {
    let settings = config::load(common)?;
    let target = select::day(&settings, &args.dataset, args.partition)?;
    let rails = &select::dataset(&settings, &args.dataset)?.rails;
    let recipe = recipe(&target.dataset.recipe);
    let recipe = recipe.with_context(|| format!("there is no recipe {}", target.dataset.recipe))?;
    let variant = variant(recipe.facts(), &args)?;
    let (lake, catalog) = app::lakeside(&settings).await?;
    let ready = ReadyLayer {
        lake: &lake,
        catalog: &catalog,
        repository: &settings.lake.repository,
    };
    let mut side = match LakeSide::read(ready, &target, recipe.facts()).await {
        Ok(side) => side,
        Err(error) if error.is_service() => {
            let lake = clean(lake.address());
            let what = format!("cannot derive {target} from the lake at {lake} and its catalog");
            return Err(anyhow::Error::new(error).context(what));
        }
        Err(error) => {
            error!("{}", clean(&chain(&error)));
            return Ok(Exit::Unproven);
        }
    };
    side.doubt_number(&target, rails.min_share_of_usual, false);
    let mut exit = Exit::Ok;
    for doubt in &side.doubts {
        error!("{}", clean(&doubt.to_string()));
        // The newest day has no next day yet, whose file could hold rows of it.
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

/// The requested variant; by default the dataset's current one.
fn variant(facts: &Facts, args: &DeriveArgs) -> Result<Variant, UsageError> {
    let dataset = clean(&args.dataset);
    let keys = args
        .key_scheme
        .map_or(facts.key_schemes[0], KeyScheme::from);
    if !facts.key_schemes.contains(&keys) {
        let had: Vec<String> = facts.key_schemes.iter().map(ToString::to_string).collect();
        let had = had.join(", ");
        return Err(UsageError(format!(
            "{dataset} never used --key-scheme {keys}; it only used {had}"
        )));
    }
    let counter = args.counter.map_or(facts.counters[0], Counter::from);
    if !facts.counters.contains(&counter) {
        let had: Vec<&str> = facts.counters.iter().copied().map(Counter::name).collect();
        return Err(UsageError(format!(
            "{dataset} never used --counter {}; it only used {}",
            counter.name(),
            had.join(", ")
        )));
    }
    Ok(Variant { keys, counter })
}

/// A row's place: the index of its source, and its ordinal there.
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
        let mut winners: HashMap<Md5Key, Place> = HashMap::new();
        let mut proven = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            match self.keys(source).await {
                Ok(keys) => {
                    let placed = |(key, ordinal)| (key, (index, ordinal));
                    winners.extend(keys.into_iter().map(placed));
                    proven.push((index, source));
                }
                Err(error) if error.is_service() => return Ok(exit.and(log_failure(&error))),
                Err(error) => exit = exit.and(log_failure(&error)),
            }
        }
        let mut out = BufWriter::new(io::stdout());
        for (index, source) in proven {
            let printed = self.rows(source, index, &winners, &mut out).await;
            match printed.and_then(|written| written.map_err(Stopped::Write)) {
                Ok(()) => {}
                // Reading the other files would fail the same way.
                Err(Stopped::Read(error)) if error.is_service() => {
                    return finish(out.flush(), exit.and(log_failure(&error)));
                }
                Err(Stopped::Read(error)) => exit = exit.and(log_failure(&error)),
                Err(Stopped::Write(error)) => return finish(Err(error), exit),
            }
        }
        finish(out.flush(), exit)
    }

    /// The keys of the source's rows of this day, in file order.
    async fn keys(&self, source: &Source) -> Result<Vec<(Md5Key, u32)>, CheckError> {
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
            warn!(file = %path, "the publisher skips lake file {path}: {}", clean(why));
        }
        if let Some(first) = first_unfit {
            let (count, ordinal, why) = (outcome.unpublishable, first.ordinal, clean(&first.why));
            warn!(
                file = %path,
                count, "{count} rows of lake file {path} cannot be published; the first is row {ordinal}: {why}"
            );
        }
        Ok(keys)
    }

    async fn rows(
        &self,
        source: &Source,
        index: usize,
        winners: &HashMap<Md5Key, Place>,
        out: &mut BufWriter<Stdout>,
    ) -> Result<io::Result<()>, Stopped> {
        let mut written = Ok(());
        let derived = self.derive(source, |line| match line {
            Line::Row(row) if winners.get(&row.key) == Some(&(index, row.ordinal)) => {
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
    ) -> Result<FileOutcome, CheckError> {
        self.ready
            .with_text(source, |text| {
                self.recipe.derive(text, self.variant, &mut each)
            })
            .await
    }

    /// Rows of the day, and rows of the day's own files that are dated far from it.
    fn belongs(&self, row: &DerivedRow<'_>, source: &Source) -> bool {
        let (file_day, day) = (source.file.day, self.target.day);
        let spill = i64::from(self.recipe.facts().spill_days);
        match RowDay::of(row.at, file_day, day, spill) {
            RowDay::Today => true,
            RowDay::Near => false,
            RowDay::Far(_) => file_day == day,
        }
    }

    /// The row as the publisher's JSON writer would write it.
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
    Read(CheckError),
    Write(io::Error),
}

/// Logs why a file yields nothing; the other files are still printed.
fn log_failure(error: &CheckError) -> Exit {
    error!("{}", clean(&chain(error)));
    if error.is_service() {
        Exit::Failed
    } else {
        Exit::Unproven
    }
}

/// Ignores a broken pipe: a reader such as `head` may stop early.
fn finish(written: io::Result<()>, exit: Exit) -> anyhow::Result<Exit> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        Ok(()) | Err(_) => Ok(exit),
    }
}
