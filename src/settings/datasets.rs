//! Reads `[[dataset]]`: what each takes from its recipe and from the general rails and schedule, and
//! the rule that no two datasets conflict.

use std::sync::Arc;

use super::DatasetSettings;
use super::load::{rails, schedule};
use super::problem::{Origin, Problem};
use super::reader::{Noted, Read, Reader};
use super::values::{self as v, Raw};
use crate::expected::Facts;
use crate::model::{Dataset, DatasetId, DatasetName};

/// All `[[dataset]]` sections; `zone` is the time zone of their days.
pub(super) fn datasets(
    r: &mut Reader,
    recipes: &[&'static Facts],
    zone: chrono_tz::Tz,
) -> Read<Vec<DatasetSettings>> {
    if r.layers().datasets() == 0 {
        if !r.is_refused("dataset") {
            r.note(Problem {
                key: "dataset".into(),
                origin: None,
                what: "not set; expected at least one [[dataset]] with name, id and recipe".into(),
            });
        }
        return Err(Noted);
    }
    let read: Vec<_> = (0..r.layers().datasets())
        .map(|index| dataset(r, index, recipes, zone))
        .collect();
    let known: Vec<(usize, &Dataset)> = read
        .iter()
        .enumerate()
        .filter_map(|(index, one)| Some((index, &*one.as_ref().ok()?.dataset)))
        .collect();
    for (position, (index, one)) in known.iter().enumerate() {
        for (_, earlier) in &known[..position] {
            refuse_conflicts(r, *index, one, earlier);
        }
    }
    read.into_iter().collect()
}

/// Refuses two datasets with the same name, id or files.
fn refuse_conflicts(r: &mut Reader, index: usize, one: &Dataset, earlier: &Dataset) {
    let origin = r.layers().dataset_origin(index);
    let mut refuse = |key: &str, what: String| {
        r.note(Problem {
            key: format!("dataset.{}.{key}", one.name),
            origin: origin.clone(),
            what,
        });
    };
    let other = &earlier.name;
    if one.name == earlier.name {
        refuse(
            "name",
            format!("found \"{other}\" twice; expected each name once"),
        );
    }
    if one.id == earlier.id {
        let what = format!(
            "found \"{}\", which is also the id of {other}; expected each id once",
            one.id
        );
        refuse("id", what);
    }
    if one.name.as_str() == earlier.id.as_str() || one.id.as_str() == other.as_str() {
        let what = format!(
            "name and id are swapped with those of {other}; expected a name that is not an id"
        );
        refuse("name", what);
    }
    if (&one.source, &one.ext) == (&earlier.source, &earlier.ext) {
        let what = format!(
            "its files, {} {}, are those of {other}; expected one dataset per kind of file, since the catalog has one entry per file",
            one.source, one.ext
        );
        refuse("ext", what);
    }
}

fn dataset(
    r: &mut Reader,
    index: usize,
    recipes: &[&'static Facts],
    zone: chrono_tz::Tz,
) -> Read<DatasetSettings> {
    let own = format!("dataset[{index}].");
    let at = |key: &str| format!("{own}{key}");
    let name = r.required(
        &at("name"),
        v::parsed::<DatasetName>("1 to 63 of a-z, 0-9 and '-', starting with a letter"),
    );
    let id = r.required(
        &at("id"),
        v::parsed::<DatasetId>("a four-by-four such as \"sh59-i6y9\""),
    );
    let facts = r.required(&at("recipe"), |raw| recipe(raw, recipes));
    let keys = r.optional(&at("keys"), v::key_policy);
    let facts_of = facts.ok();
    let source = fact(r, &at("source"), facts_of, |facts| facts.source);
    let ext = fact(r, &at("ext"), facts_of, |facts| facts.ext);
    let key_column = fact(r, &at("key_column"), facts_of, |facts| facts.key_column);
    let day_column = fact(r, &at("day_column"), facts_of, |facts| facts.day_column);
    let schedule = schedule(r, &own);
    let rails = rails(r, &own);
    let dataset = Dataset {
        name: name?,
        id: id?,
        recipe: facts?.name.into(),
        source: source?,
        ext: ext?,
        key_column: key_column?,
        day_column: day_column?,
        zone,
        keys: keys?.unwrap_or_default(),
    };
    Ok(DatasetSettings {
        dataset: Arc::new(dataset),
        schedule: schedule?,
        rails: rails?,
    })
}

fn recipe(raw: &Raw, recipes: &[&'static Facts]) -> Result<&'static Facts, String> {
    let name = v::line(raw).unwrap_or_default();
    let found = recipes.iter().find(|facts| facts.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = recipes.iter().map(|facts| facts.name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// A key that the recipe provides if the file does not set it.
fn fact(
    r: &mut Reader,
    place: &str,
    facts: Option<&'static Facts>,
    of: impl Fn(&'static Facts) -> &'static str,
) -> Read<String> {
    match (r.optional(place, v::word)?, facts) {
        (Some(word), _) => Ok(word),
        (None, Some(facts)) => {
            r.record_origin(place, Origin::Recipe(facts.name.into()));
            Ok(of(facts).into())
        }
        (None, None) => Err(Noted),
    }
}
