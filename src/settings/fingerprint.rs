//! A fingerprint of all settings that affect what is derived for a dataset.
//!
//! The survey skips a day whose fingerprint is unchanged since it was last in sync. The settings are
//! part of it, so another recipe, column or zone makes every day be checked again. Rails and
//! schedules are left out: they affect what is done, not what is derived.

use sha2::{Digest, Sha256};

use crate::model::{Dataset, KeyPolicy};

/// The common version of all recipes. Increase it when any recipe derives different rows or keys
/// from the same bytes.
pub const DERIVATION: u32 = 1;

/// 16 hex digits that change whenever the settings or the program would derive differently.
#[must_use]
pub fn fingerprint(dataset: &Dataset) -> String {
    let Dataset {
        name: _,
        id,
        recipe,
        source,
        ext,
        key_column,
        day_column,
        zone,
        keys,
    } = dataset;
    let keys = match keys {
        KeyPolicy::Accept => "accept",
        KeyPolicy::Migrate => "migrate",
    };
    let version = DERIVATION.to_string();
    let parts = [
        &version,
        id.as_str(),
        recipe,
        source,
        ext,
        key_column,
        day_column,
        zone.name(),
        keys,
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    let first = bytes
        .first_chunk()
        .map_or(0, |eight| u64::from_be_bytes(*eight));
    format!("{first:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn camera() -> Dataset {
        Dataset {
            name: "camera-counts".parse().unwrap(),
            id: "sh59-i6y9".parse().unwrap(),
            recipe: "gridsmart-agg15".into(),
            source: "gs".into(),
            ext: "agg15.json".into(),
            key_column: "record_id".into(),
            day_column: "read_date".into(),
            zone: chrono_tz::America::Chicago,
            keys: KeyPolicy::Accept,
        }
    }

    #[test]
    fn every_part_that_affects_derivation_changes_it_but_the_name_does_not() {
        let changes: [fn(&mut Dataset); 9] = [
            |_| {},
            |it| it.id = "sh59-i6y8".parse().unwrap(),
            |it| it.recipe.push('x'),
            |it| it.source.push('x'),
            |it| it.ext.push('x'),
            |it| it.key_column.push('x'),
            |it| it.day_column.push('x'),
            |it| it.zone = chrono_tz::UTC,
            |it| it.keys = KeyPolicy::Migrate,
        ];
        let seen: BTreeSet<String> = changes
            .iter()
            .map(|change| {
                let mut dataset = camera();
                change(&mut dataset);
                fingerprint(&dataset)
            })
            .collect();
        assert_eq!(seen.len(), changes.len());

        let mut renamed = camera();
        renamed.name = "cameras".parse().unwrap();
        assert_eq!(fingerprint(&renamed), fingerprint(&camera()));
    }

    #[test]
    fn text_moved_from_one_part_to_the_next_changes_it() {
        let (mut left, mut right) = (camera(), camera());
        (left.source, left.ext) = ("gsa".into(), "gg15.json".into());
        (right.source, right.ext) = ("gs".into(), "agg15.json".into());
        assert_ne!(fingerprint(&left), fingerprint(&right));
    }
}
