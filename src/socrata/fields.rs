//! Fields with a known format: keys, `:id`s and stamps. A field that has another format is kept as
//! it is, so that the reader of the row can report it.

use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::model::RowKey;

/// A field that should be text in a certain format.
#[derive(Debug)]
pub(super) enum Field<T> {
    Null,
    Is(T),
    /// Something else, as JSON.
    Odd(String),
}

/// Conversion from text, without copying it first where possible.
pub(super) trait FromText: Sized {
    fn from_text(text: &str) -> Option<Self>;
}

impl FromText for RowKey {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self::new(text))
    }
}

impl FromText for Box<str> {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

impl FromText for DateTime<Utc> {
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<'de, T: FromText> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(AnyField(PhantomData))
    }
}

struct AnyField<T>(PhantomData<T>);

impl<'de, T: FromText> Visitor<'de> for AnyField<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Field<T>, E> {
        let odd = || Field::Odd(Value::from(text).to_string());
        Ok(T::from_text(text).map_or_else(odd, Field::Is))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Field<T>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Field<T>, E> {
        Ok(Field::Odd(yes.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Field<T>, E> {
        Ok(Field::Odd(number.to_string()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field<T>, E> {
        Ok(Field::Odd(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Field<T>, E> {
        Ok(Field::Odd(number.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field<T>, A::Error> {
        let list = Value::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Field::Odd(list.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field<T>, A::Error> {
        let object = Value::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Field::Odd(object.to_string()))
    }
}
