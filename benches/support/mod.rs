//! The data for all benchmarks: one day of a fictional city as large as a real one. It is the same
//! in every run, and has no quirks such as `NaN` that a plain JSON parser would refuse.

use sodalake::compare::gather::Columns;
use sodalake::expected::{self, Counter, FileText, Line, Recipe, Variant};
use sodalake::model::{Day, KeyScheme, TableShape};
use sodalake::sandbox::city::{City, GeneratedFile, Quirks, Scale, Table};

/// The seed of the city.
const SEED: u64 = 1;

/// Current keys, with the addresses of each file numbered from 1.
pub const VARIANT: Variant = Variant {
    keys: KeyScheme::Row,
    counter: Counter::Separate,
};

/// The day used for measurements.
pub fn day() -> Day {
    "2019-06-05".parse().expect("it is a day")
}

/// A day's files of one dataset.
pub struct Lake {
    pub recipe: &'static dyn Recipe,
    pub columns: Columns,
    files: Vec<GeneratedFile>,
}

impl Lake {
    pub fn of(table: Table) -> Self {
        let city = City::new(SEED, Scale::city()).with_quirks(Quirks::None);
        let mut files = city.day_files(table.source(), day());
        files.retain(|file| file.ext == table.ext());
        let recipe = expected::recipe(table.recipe()).expect("the city's recipes are registered");
        let typed = table.spec().columns.into_iter();
        let shape = TableShape {
            title: table.dataset_name().into(),
            row_identifier: None,
            columns: typed.map(|(name, kind)| (name.to_owned(), kind)).collect(),
            rows_updated_at: 0,
        };
        let columns = Columns::of(recipe, &shape).expect("the city's tables fit their recipes");
        Self {
            recipe,
            columns,
            files,
        }
    }

    pub fn texts(&self) -> impl Iterator<Item = FileText<'_>> {
        self.files.iter().map(|file| FileText {
            path: &file.path,
            bytes: &file.bytes,
            companion: None,
        })
    }

    /// Derives every row, and passes each to `each`.
    pub fn derive(&self, mut each: impl FnMut(&Line<'_>)) {
        for text in self.texts() {
            let derived = self.recipe.derive(&text, VARIANT, &mut |line| each(&line));
            derived.expect("the city's files can be derived");
        }
    }
}
