//! Two recipes that take a file's JSON as a tree and its names as they are: no more than the tests
//! of uploads and breakages need.

use md5::{Digest, Md5};
use serde_json::Value as Json;

use crate::expected::{
    Counter, DeriveError, DerivedRow, Facts, FileOutcome, FileText, Line, Recipe, Variant,
};
use crate::model::{KeyRecipe, RowKey, Value};

/// Row by row what a file's JSON says, under the published names.
pub(super) struct Plain {
    facts: &'static Facts,
    /// Names in the file, in the order of the columns; the first is the time.
    names: &'static [&'static str],
}

pub(super) const CAMERAS: Plain = Plain {
    facts: &Facts {
        name: "plain-cameras",
        source: "gs",
        ext: "agg15.json",
        companion: None,
        key_column: "record_id",
        day_column: "read_date",
        columns: &[
            "read_date",
            "intersection_name",
            "direction",
            "movement",
            "volume",
            "speed_average",
        ],
        identity: &["intersection_name", "read_date", "direction", "movement"],
        spill_days: 0,
        key_recipes: &[KeyRecipe::Row],
        counters: &[Counter::Shared],
    },
    names: &[
        "timestamp",
        "intersection",
        "zone_approach",
        "turn",
        "volume",
        "speed_avg",
    ],
};

pub(super) const READS: Plain = Plain {
    facts: &Facts {
        name: "plain-reads",
        source: "bt",
        ext: "unmatched.json",
        companion: Some("matched.json"),
        key_column: "record_id",
        day_column: "host_read_time",
        columns: &[
            "host_read_time",
            "reader_identifier",
            "device_address",
            "field_device_read_time",
        ],
        identity: &["host_read_time", "reader_identifier", "device_address"],
        spill_days: 0,
        key_recipes: &[KeyRecipe::Row],
        counters: &[Counter::Shared, Counter::Separate],
    },
    names: &["host_timestamp", "reader_id", "dev_addr", "field_timestamp"],
};

fn parsed(bytes: &[u8]) -> Json {
    let text = std::str::from_utf8(bytes).unwrap();
    serde_json::from_str(&text.replace("NaN", "\"NaN\"")).unwrap()
}

impl Plain {
    fn value(name: &str, row: &Json, file: &Json, addresses: &mut Vec<Json>) -> Value {
        match (name, &row[name]) {
            ("intersection", _) => {
                let street = |name: &str| file["device"][name].as_str().unwrap().trim().to_owned();
                let name = format!("{} / {}", street("primary_st"), street("cross_st"));
                Value::Text(name.into())
            }
            ("dev_addr", address) => {
                let place = addresses.iter().position(|known| known == address);
                let place = place.unwrap_or_else(|| {
                    addresses.push(address.clone());
                    addresses.len() - 1
                });
                Value::Int((place + 1).to_string().into())
            }
            (_, Json::String(text)) if text == "NaN" => Value::Float(f64::NAN),
            (_, Json::String(text)) if name.ends_with("timestamp") => {
                Value::Text(text[..19].replace(' ', "T").into())
            }
            (_, Json::String(text)) => Value::Text(text.as_str().into()),
            (_, Json::Null) => Value::Null,
            (_, Json::Number(number)) => Value::Float(number.as_f64().unwrap()),
            (_, other) => panic!("{name}: {other}"),
        }
    }
}

impl Recipe for Plain {
    fn facts(&self) -> &'static Facts {
        self.facts
    }

    fn derive(
        &self,
        file: &FileText<'_>,
        variant: Variant,
        each: &mut dyn FnMut(Line<'_>),
    ) -> Result<FileOutcome, DeriveError> {
        let json = parsed(file.bytes);
        let mut addresses = Vec::new();
        if let (Counter::Shared, Some((_, bytes))) = (variant.counter, file.companion) {
            for row in parsed(bytes)["data"].as_array().unwrap() {
                Self::value("dev_addr", row, &json, &mut addresses);
            }
        }
        let mut outcome = FileOutcome::default();
        if json["device"].as_array().is_some() {
            outcome.passed_by = Some("no device".into());
            return Ok(outcome);
        }
        let mut chain = Md5::new();
        for (ordinal, row) in (0..).zip(json["data"].as_array().unwrap()) {
            let value = |name: &&str| Self::value(name, row, &json, &mut addresses);
            let values: Vec<Value> = self.names.iter().map(value).collect();
            let mut hash = match variant.keys {
                KeyRecipe::Chained => chain.clone(),
                KeyRecipe::Row | KeyRecipe::Kits => Md5::new(),
            };
            for name in self.facts.identity {
                let place = self.facts.columns.iter().position(|column| column == name);
                hash.update(values[place.unwrap()].text().unwrap().as_bytes());
            }
            chain = hash.clone();
            outcome.rows += 1;
            each(Line::Row(DerivedRow {
                ordinal,
                at: values[0].text().unwrap().parse().unwrap(),
                key: &RowKey::Md5(hash.finalize().into()),
                values: &values,
            }));
        }
        Ok(outcome)
    }
}
