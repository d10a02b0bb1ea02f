//! Entry points for fuzzing our parsers, one for each kind of foreign input. For any bytes, an
//! entry point must not panic, hang, or use unbounded memory, and what it parses must be
//! consistent. `tests/it/safety/fuzz.rs` and the fuzz targets of `tests/fuzz` use these entry
//! points; the program does not.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::expected::{self, Counter, FileText, Line, Recipe, Variant};
use crate::model::{ColumnType, LakePath, PublishedRow, TableShape};
use crate::plan::{Action, PlanFile};
use crate::settings::Settings;
use crate::{archive, socrata};

/// The entry point for one kind of foreign input.
#[derive(Clone, Copy)]
pub struct Door {
    /// Its name, which is also the name of its folder of seeds.
    pub name: &'static str,
    /// Parses the bytes as that kind of input.
    pub enter: fn(&[u8]),
}

/// Every entry point.
pub const DOORS: [Door; 10] = [
    door("lake-gridsmart", |bytes| lake("gridsmart-agg15", bytes)),
    door("lake-summary", |bytes| lake("bluetooth-summary", bytes)),
    door("lake-matched", |bytes| lake("bluetooth-matched", bytes)),
    door("lake-unmatched", |bytes| lake("bluetooth-unmatched", bytes)),
    door("lake-wavetronix", |bytes| lake("wavetronix", bytes)),
    door("portal", portal),
    door("settings", settings),
    door("plan", plan),
    door("archive", archive_file),
    door("archive-lines", archive_lines),
];

const fn door(name: &'static str, enter: fn(&[u8])) -> Door {
    Door { name, enter }
}

/// A ready file. Its companion may follow after a NUL byte, which JSON cannot contain.
fn lake(recipe: &str, bytes: &[u8]) {
    let recipe = expected::recipe(recipe).expect("the recipe is registered");
    let (own, companion) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let path = LakePath("2020/10/14/x/file.json".into());
    let file = FileText {
        path: &path,
        bytes: own,
        companion: companion.map(|bytes| (&path, bytes)),
    };
    for keys in recipe.facts().key_schemes {
        for counter in [Counter::Shared, Counter::Separate] {
            let keys = *keys;
            derive(recipe, &file, Variant { keys, counter });
        }
    }
}

fn derive(recipe: &dyn Recipe, file: &FileText<'_>, variant: Variant) {
    let (mut rows, mut unpublishable) = (0, 0);
    let columns = recipe.facts().columns.len();
    let outcome = recipe.derive(file, variant, &mut |line| match line {
        Line::Row(row) => {
            assert_eq!(
                row.values.len(),
                columns,
                "there is a value for each column"
            );
            rows += 1;
        }
        Line::Unpublishable(_) => unpublishable += 1,
    });
    if let Ok(outcome) = outcome {
        assert_eq!((outcome.rows, outcome.unpublishable), (rows, unpublishable));
    }
}

/// The body of a portal's answer, parsed as each kind of answer.
fn portal(bytes: &[u8]) {
    let columns = [
        ("record_id", "text"),
        ("volume", "number"),
        ("flag", "checkbox"),
        ("read_date", "calendar_date"),
        ("place", "point"),
    ];
    let shape = TableShape {
        title: "t".into(),
        row_identifier: Some("record_id".into()),
        columns: columns
            .map(|(name, kind)| (name.to_owned(), ColumnType::new(kind)))
            .into(),
        rows_updated_at: 0,
    };
    socrata::read_as_anything(bytes, &shape, &mut |row| assert_survives_the_archive(&row));
}

/// A row that was read from the portal must survive the archive unchanged.
fn assert_survives_the_archive(row: &PublishedRow) {
    let line = serde_json::to_string(row).expect("a row can be serialized");
    let back: PublishedRow = serde_json::from_str(&line).expect("a line that we wrote can be read");
    assert_eq!(back, *row);
}

fn settings(bytes: &[u8]) {
    // Files named by `*_file` keys are opened. Keep away from the machine's devices.
    let names_device = |text: &&str| text.contains("/dev") || text.contains("/proc");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if names_device(&text) {
        return;
    }
    let recipes: Vec<_> = (expected::recipes().iter())
        .map(|recipe| recipe.facts())
        .collect();
    match Settings::read(Path::new("/nowhere/sodalake.toml"), text, [], &recipes) {
        Ok(settings) => {
            let shown = settings.to_toml();
            assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
        }
        Err(error) => drop(error.to_string()),
    }
}

fn plan(bytes: &[u8]) {
    for plan in PlanFile::read(bytes).unwrap_or_default() {
        assert_eq!(plan.actions.len() as u64, plan.header.lines);
        assert_eq!(plan.digest().len(), 64);
        plan.actions
            .iter()
            .map(Action::needs_content)
            .for_each(drop);
    }
}

fn archive_file(bytes: &[u8]) {
    archive::read_through(bytes, &mut |row| assert_survives_the_archive(&row.row));
}

/// The lines of an archive in a valid gzip, so that fuzzing gets past its checksum.
fn archive_lines(bytes: &[u8]) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(bytes).expect("writing to memory succeeds");
    archive_file(&packed.finish().expect("writing to memory succeeds"));
}
