//! One row from all sides: the lake's files of the day and of its neighbours, under every key
//! scheme that was ever used; the portal as it is now; and a verdict.

mod verdict;

use serde_json::{Value as Json, json};

use super::json as sides;
use super::text::{indented, section, sentence, side_by_side};
use crate::cli::style::{Side, Table, clean};
use crate::compare::Findings;
use crate::compare::gather::{Columns, RowDay};
use crate::compare::keys;
use crate::compare::words as facts;
use crate::expected::{Facts, Line, Recipe, Variant};
use crate::model::{Cell, DatasetDay, Day, LakePath, PublishedRow, RowKey};
use crate::reconcile::{CheckError, LakeSide, Source, World, chain};
use crate::socrata::{ByKey, Freshness};

/// A row of the lake that has the key.
struct Sighting {
    path: LakePath,
    file_day: Day,
    ordinal: u32,
    variant: Variant,
    /// The day the row belongs to.
    day: Day,
    standing: RowDay,
    /// The cells the portal would store, or why it cannot store them.
    cells: Result<Vec<Cell>, String>,
}

/// What each side says about a key.
pub(super) struct Seen {
    key: RowKey,
    target: DatasetDay,
    facts: &'static Facts,
    sightings: Vec<Sighting>,
    /// Files that could not be read with certainty, and why.
    unread: Vec<String>,
    published: Vec<PublishedRow>,
    freshness: Freshness,
    columns: Columns,
}

/// Searches the lake and the portal for the key.
///
/// # Errors
/// If either cannot be read.
pub(super) async fn see(
    world: &World,
    target: &DatasetDay,
    recipe: &'static dyn Recipe,
    key: RowKey,
) -> Result<Seen, CheckError> {
    let facts = recipe.facts();
    let table = world.table(&target.dataset).await?;
    let columns = Columns::of(recipe, &table.shape)?;
    let keys = std::slice::from_ref(&key);
    let ByKey { found, freshness } = world.socrata.rows_by_key(&table, keys).await?;
    let last = target.day.plus(i64::from(facts.spill_days) + 1);
    let days = (target.day.plus(-1), last);
    let side = LakeSide::between(world.ready(), target, facts, days).await?;
    let mut seen = Seen {
        key,
        target: target.clone(),
        facts,
        sightings: Vec::new(),
        unread: Vec::new(),
        published: found,
        freshness,
        columns,
    };
    for source in &side.sources {
        for variant in keys::variants(facts.key_schemes, facts.counters) {
            match seen.search(world, source, recipe, variant).await {
                Ok(sightings) => seen.sightings.extend(sightings),
                Err(error) if error.is_service() => return Err(error),
                Err(error) => {
                    seen.unread.push(chain(&error));
                    break;
                }
            }
        }
    }
    Ok(seen)
}

impl Seen {
    async fn search(
        &self,
        world: &World,
        source: &Source,
        recipe: &dyn Recipe,
        variant: Variant,
    ) -> Result<Vec<Sighting>, CheckError> {
        let mut sightings = Vec::new();
        let spill = i64::from(self.facts.spill_days);
        let file_day = source.file.day;
        let mut each = |line: Line<'_>| match line {
            Line::Row(row) if RowKey::from(row.key) == self.key => sightings.push(Sighting {
                path: source.file.path.clone(),
                file_day,
                ordinal: row.ordinal,
                variant,
                day: Day::of(row.at),
                standing: RowDay::of(row.at, file_day, self.target.day, spill),
                cells: (self.columns.cells(row.values))
                    .map_err(|(column, misfit)| format!("{column}: {misfit}")),
            }),
            Line::Row(_) | Line::Unpublishable(_) => {}
        };
        let ready = world.ready();
        ready
            .with_text(source, |text| recipe.derive(text, variant, &mut each))
            .await?;
        Ok(sightings)
    }

    /// Whether the row's variant is the one the check chose for the file, or the default one if the
    /// file was not checked.
    fn is_chosen(&self, sighting: &Sighting, findings: Option<&Findings>) -> bool {
        let same = |seen: &&crate::compare::FileSeen| seen.file.path == sighting.path;
        let seen = findings.and_then(|found| found.files.iter().find(same));
        let likeliest = || Variant {
            keys: self.facts.key_schemes[0],
            counter: self.facts.counters[0],
        };
        seen.map_or_else(likeliest, |seen| seen.variant) == sighting.variant
    }

    fn duplicates<'f>(&self, findings: Option<&'f Findings>) -> Vec<&'f RowKey> {
        let duplicates = findings.map_or([].as_slice(), |found| found.duplicates.as_slice());
        let ours = duplicates
            .iter()
            .filter(|duplicate| duplicate.of == self.key);
        ours.filter_map(|duplicate| duplicate.published.key.as_ref())
            .collect()
    }

    /// The row as JSON.
    pub(super) fn to_json(&self, findings: Option<&Findings>) -> Json {
        let verdict::Verdict { name, sentence } = self.verdict(findings);
        let sighting = |one: &Sighting| {
            let mut object = sides::variant(one.variant);
            object["path"] = json!(one.path);
            object["ordinal"] = one.ordinal.into();
            object["day"] = json!(one.day);
            object["file_day"] = json!(one.file_day);
            object["chosen"] = self.is_chosen(one, findings).into();
            match &one.cells {
                Ok(cells) => object["row"] = sides::cells(cells, self.facts),
                Err(why) => object["why"] = why.as_str().into(),
            }
            object
        };
        json!({
            "key": self.key,
            "verdict": name,
            "sentence": sentence,
            "lake": self.sightings.iter().map(sighting).collect::<Json>(),
            "unread": self.unread,
            "portal": self.published.iter().map(sides::published).collect::<Json>(),
            "duplicates": self.duplicates(findings),
        })
    }

    /// The row as text.
    pub(super) fn to_text(&self, findings: Option<&Findings>, facts: &Facts) -> String {
        let verdict = self.verdict(findings).sentence;
        let duplicates = self.duplicates(findings);
        let duplicates = duplicates
            .iter()
            .map(|duplicate| sentence(&format!("its duplicate: {duplicate}")));
        let unread = self
            .unread
            .iter()
            .map(|why| sentence(&format!("not read: {why}")));
        [
            sentence(&format!("row {}", self.key)),
            sentence(&verdict),
            duplicates.collect(),
            section(
                "In the lake",
                &(self.lake_text(findings, facts) + &unread.collect::<String>()),
            ),
            section("On the portal", &self.portal_text(findings)),
        ]
        .concat()
    }

    fn lake_text(&self, findings: Option<&Findings>, facts: &Facts) -> String {
        if self.sightings.is_empty() {
            return sentence("no file of this day or of a neighboring day yields this key");
        }
        let sighting = |one: &Sighting| {
            let Sighting {
                path, ordinal, day, ..
            } = one;
            let by = facts::variant(one.variant, facts);
            let chosen = if self.is_chosen(one, findings) {
                ""
            } else {
                " (the file is published under another key scheme)"
            };
            let far = match one.standing {
                RowDay::Far(_) => ", far from the day of the file",
                RowDay::Today | RowDay::Near => "",
            };
            sentence(&format!(
                "row {ordinal} of {path}, keyed by {by}{chosen}, on {day}{far}"
            ))
        };
        self.sightings.iter().map(sighting).collect()
    }

    fn portal_text(&self, findings: Option<&Findings>) -> String {
        let doubt = match self.freshness {
            Freshness::Proven => String::new(),
            Freshness::Assumed => {
                sentence("the portal does not confirm that its answers are up to date")
            }
        };
        if self.published.is_empty() {
            return sentence("no published row has this key") + &doubt;
        }
        let text = |row| self.row_text(row, findings);
        self.published.iter().map(text).collect::<String>() + &doubt
    }

    /// When the row was written, and its values; next to the lake's values if the lake has the key.
    fn row_text(&self, row: &PublishedRow, findings: Option<&Findings>) -> String {
        let zone = self.target.dataset.zone;
        let at = |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&zone);
        let form = "%Y-%m-%d %H:%M:%S %Z";
        let (created, updated) = (at(row.created_at), at(row.updated_at));
        let when = sentence(&format!(
            "written {}, last changed {}",
            created.format(form),
            updated.format(form)
        ));
        let cells = self.columns.published(&row.fields);
        let chosen = |one: &&Sighting| self.is_chosen(one, findings);
        let lake = self.sightings.iter().rfind(chosen);
        let lake = lake.or(self.sightings.last());
        let lake = lake.and_then(|one| one.cells.as_ref().ok());
        let Some(lake) = lake else {
            return when + &self.values(&cells);
        };
        let names = self.columns.names().iter();
        let pairs = names.zip(cells.iter().zip(lake));
        let differ = pairs.filter(|(_, (published, expected))| published != expected);
        let changes: Vec<_> = differ
            .map(|(name, (published, expected))| {
                (
                    (*name).to_owned(),
                    facts::cell(published),
                    facts::cell(expected),
                )
            })
            .collect();
        if changes.is_empty() {
            return when + &sentence("every value equals the lake's:") + &self.values(&cells);
        }
        when + &side_by_side(changes.into_iter()) + &self.values(&cells)
    }

    fn values(&self, cells: &[Cell]) -> String {
        let mut table = Table::new(&[("column", Side::Left), ("value", Side::Left)]);
        for (name, value) in self.columns.names().iter().zip(cells) {
            let value = facts::cell(value);
            table.row([(*name, None), (&*clean(&value), None)]);
        }
        indented(&table, 4)
    }
}
