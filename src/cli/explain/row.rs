//! One row from all sides: the lake's files of the day and of its neighbours, under every variant
//! that ever made keys, the portal as it is now, and a verdict.

mod verdict;

use serde_json::{Value as Json, json};

use super::json as sides;
use super::text::{indented, section, sentence, side_by_side};
use crate::cli::style::{Side, Table, clean};
use crate::compare::Findings;
use crate::compare::gather::{Columns, Standing};
use crate::compare::keys;
use crate::compare::words as facts;
use crate::expected::{Facts, Line, Recipe, Variant};
use crate::model::{Cell, DatasetDay, Day, LakePath, PublishedRow, RowKey};
use crate::reconcile::{LakeSide, LookError, Source, World, chain};

/// A row of the lake that has the key.
struct Sighting {
    path: LakePath,
    file_day: Day,
    ordinal: u32,
    variant: Variant,
    /// Where it stands.
    day: Day,
    standing: Standing,
    /// What the portal stores of it; why it cannot, where it cannot.
    cells: Result<Vec<Cell>, String>,
}

/// What each side knows of a key.
pub(super) struct Seen {
    key: RowKey,
    target: DatasetDay,
    facts: &'static Facts,
    sightings: Vec<Sighting>,
    /// Files that prove nothing.
    unread: Vec<String>,
    published: Vec<PublishedRow>,
    columns: Columns,
}

/// Looks for the key in the lake and on the portal.
///
/// # Errors
/// If one of them cannot be read.
pub(super) async fn see(
    world: &World,
    target: &DatasetDay,
    recipe: &'static dyn Recipe,
    key: RowKey,
) -> Result<Seen, LookError> {
    let facts = recipe.facts();
    let table = world.table(&target.dataset).await?;
    let columns = Columns::of(recipe, &table.shape)?;
    let keys = std::slice::from_ref(&key);
    let published = world.socrata.rows_by_key(&table, keys).await?;
    let last = target.day.plus(i64::from(facts.spill_days) + 1);
    let days = (target.day.plus(-1), last);
    let side = LakeSide::between(world.ready(), target, facts, days).await?;
    let mut seen = Seen {
        key,
        target: target.clone(),
        facts,
        sightings: Vec::new(),
        unread: Vec::new(),
        published,
        columns,
    };
    for source in &side.sources {
        for variant in keys::variants(facts.key_recipes, facts.counters) {
            match seen.look_into(world, source, recipe, variant).await {
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
    async fn look_into(
        &self,
        world: &World,
        source: &Source,
        recipe: &dyn Recipe,
        variant: Variant,
    ) -> Result<Vec<Sighting>, LookError> {
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
                standing: Standing::of(row.at, file_day, self.target.day, spill),
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

    /// The variant the look chose for the file; the likeliest where it did not look.
    fn is_chosen(&self, sighting: &Sighting, findings: Option<&Findings>) -> bool {
        let same = |seen: &&crate::compare::FileSeen| seen.file.path == sighting.path;
        let seen = findings.and_then(|found| found.files.iter().find(same));
        let likeliest = || Variant {
            keys: self.facts.key_recipes[0],
            counter: self.facts.counters[0],
        };
        seen.map_or_else(likeliest, |seen| seen.variant) == sighting.variant
    }

    fn twins<'f>(&self, findings: Option<&'f Findings>) -> Vec<&'f RowKey> {
        let twins = findings.map_or([].as_slice(), |found| found.twins.as_slice());
        let ours = twins.iter().filter(|twin| twin.of == self.key);
        ours.filter_map(|twin| twin.published.key.as_ref())
            .collect()
    }

    /// The row for programs.
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
            "twins": self.twins(findings),
        })
    }

    /// The row for people.
    pub(super) fn to_text(&self, findings: Option<&Findings>, facts: &Facts) -> String {
        let verdict = self.verdict(findings).sentence;
        let twins = self.twins(findings);
        let twins = twins
            .iter()
            .map(|twin| sentence(&format!("its twin: {twin}")));
        let unread = self
            .unread
            .iter()
            .map(|why| sentence(&format!("not read: {why}")));
        [
            sentence(&format!("row {}", self.key)),
            sentence(&verdict),
            twins.collect(),
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
            return sentence("no file of the day or its neighbours yields this key");
        }
        let sighting = |one: &Sighting| {
            let Sighting {
                path, ordinal, day, ..
            } = one;
            let by = facts::variant(one.variant, facts);
            let chosen = if self.is_chosen(one, findings) {
                ""
            } else {
                ", which is not how the file stands"
            };
            let far = match one.standing {
                Standing::Far(_) => ", far from the file's day",
                Standing::Today | Standing::Near => "",
            };
            sentence(&format!(
                "row {ordinal} of {path}, keyed by {by}{chosen}, on {day}{far}"
            ))
        };
        self.sightings.iter().map(sighting).collect()
    }

    fn portal_text(&self, findings: Option<&Findings>) -> String {
        if self.published.is_empty() {
            return sentence("no row has this key");
        }
        let stands = |row| self.stands(row, findings);
        self.published.iter().map(stands).collect()
    }

    /// When it was written, and its values; beside the lake's, where the lake has the key.
    fn stands(&self, row: &PublishedRow, findings: Option<&Findings>) -> String {
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
            return when + &sentence("every value is the lake's:") + &self.values(&cells);
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
