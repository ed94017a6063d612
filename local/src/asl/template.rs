//! Payload templates: JSON in which fields named `x.$` are computed.

use super::context::Data;
use super::expression::Expression;
use super::failure::Failure;
use super::fields::Place;
use holdfast_vault::Result;
use serde_json::{Map, Value};

/// A JSON value with computed fields in it.
#[derive(Debug, Clone)]
pub(super) enum Template {
    Fixed(Value),
    Computed(String, Expression),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
}

impl Template {
    pub(super) fn load(place: &Place, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Self::object(place, map),
            Value::Array(values) => {
                let items =
                    values.into_iter().enumerate().map(|(at, value)| Self::load(&place.index(at), value));
                Ok(Self::Array(items.collect::<Result<_>>()?))
            }
            other => Ok(Self::Fixed(other)),
        }
    }

    fn object(place: &Place, map: Map<String, Value>) -> Result<Self> {
        let mut fields: Vec<(String, Self)> = Vec::with_capacity(map.len());
        for (key, value) in map {
            let here = place.field(&key);
            let (name, field) = match (key.strip_suffix(".$"), value) {
                (Some(name), Value::String(text)) => {
                    (name.to_owned(), Self::Computed(key.clone(), Expression::parse(&here, &text)?))
                }
                (Some(_), _) => {
                    return Err(here.error(
                        "a name that ends in '.$' takes a string",
                        "write a path or an intrinsic function, or drop the '.$'",
                    ));
                }
                (None, value) => (key.clone(), Self::load(&here, value)?),
            };
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(
                    here.error(format!("'{name}' and '{name}.$' stand side by side"), "keep one of them")
                );
            }
            fields.push((name, field));
        }
        Ok(Self::Object(fields))
    }

    /// The names that the result will have, where it is an object.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Object(fields) => Some(fields.iter().map(|(name, _)| name.as_str()).collect()),
            _ => None,
        }
    }

    /// The string that stands under a name, if it is not computed.
    pub(super) fn fixed_text(&self, name: &str) -> Option<&str> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find_map(|(known, field)| match field {
            Self::Fixed(Value::String(text)) if known == name => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn evaluate(&self, data: &Data<'_>) -> Result<Value, Failure> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Computed(field, expression) => expression.evaluate(field, data),
            Self::Array(items) => {
                Ok(Value::Array(items.iter().map(|item| item.evaluate(data)).collect::<Result<_, _>>()?))
            }
            Self::Object(fields) => {
                let mut map = Map::new();
                for (name, field) in fields {
                    map.insert(name.clone(), field.evaluate(data)?);
                }
                Ok(Value::Object(map))
            }
        }
    }
}
