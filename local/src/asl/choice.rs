//! Choice rules: which of the next states the input asks for.

use super::context::Data;
use super::failure::Failure;
use super::fields::{Fields, Place};
use super::paths::Path;
use super::time::parse_timestamp;
use holdfast_vault::Result;
use serde_json::Value;
use std::cmp::Ordering;

/// A condition over a state's input.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    And(Vec<Rule>),
    Or(Vec<Rule>),
    Not(Box<Rule>),
    Test { field: String, variable: Path, test: Test },
}

/// What is asked of one variable.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Is(Kind, bool),
    Matches(Glob),
    Compare(Type, Relation, Operand),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Present,
    Null,
    Type(Type),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Numeric,
    Boolean,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equals,
    LessThan,
    GreaterThan,
    LessThanEquals,
    GreaterThanEquals,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Value(Value),
    Path(Path),
}

/// The texts of a `StringMatches` pattern between its stars.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<String>);

const OPERATORS: &str = "And, Or, Not; IsPresent, IsNull, IsString, IsNumeric, IsBoolean, IsTimestamp; StringMatches; \
    BooleanEquals; String..., Numeric... and Timestamp... with Equals, LessThan, GreaterThan, LessThanEquals or \
    GreaterThanEquals; comparisons also with Path";

impl Rule {
    /// Reads one rule; a rule of a Choice state also has a `Next`, which is read before.
    pub(super) fn load(place: &Place, value: Value) -> Result<Self> {
        let operators: Vec<String> = value
            .as_object()
            .map(|map| {
                map.keys().filter(|name| !["Comment", "Variable"].contains(&name.as_str())).cloned().collect()
            })
            .unwrap_or_default();
        let [operator] = operators.as_slice() else {
            let problem = format!("has {} operators", operators.len());
            return Err(place.error(problem, format!("write one of: {OPERATORS}")));
        };
        let mut fields = Fields::open(place.clone(), value, &[&["Comment", "Variable", operator]])?;
        fields.text("Comment")?;
        let rule = match operator.as_str() {
            "And" => Self::And(Self::list(&mut fields, operator)?),
            "Or" => Self::Or(Self::list(&mut fields, operator)?),
            "Not" => Self::Not(Box::new(Self::load(&fields.place(operator), fields.require(operator)?)?)),
            _ => {
                let Some(variable) = fields.path("Variable")? else {
                    return Err(fields.place("Variable").error("is missing", "add the path to compare"));
                };
                let value = fields.require(operator)?;
                let test = Test::load(&fields.place(operator), operator, value)?;
                Self::Test { field: place.field("Variable").label(), variable, test }
            }
        };
        fields.finish()?;
        Ok(rule)
    }

    fn list(fields: &mut Fields, operator: &str) -> Result<Vec<Self>> {
        let place = fields.place(operator);
        let rules = fields.array(operator)?.unwrap_or_default();
        if rules.is_empty() {
            return Err(place.error("is empty", "write at least one rule"));
        }
        rules.into_iter().enumerate().map(|(at, rule)| Self::load(&place.index(at), rule)).collect()
    }

    pub(super) fn holds(&self, data: &Data<'_>) -> Result<bool, Failure> {
        match self {
            Self::And(rules) => {
                for rule in rules {
                    if !rule.holds(data)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(rules) => {
                for rule in rules {
                    if rule.holds(data)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(rule) => rule.holds(data).map(|holds| !holds),
            Self::Test { variable, test: Test::Is(Kind::Present, wanted), .. } => {
                Ok(variable.select(data).is_some() == *wanted)
            }
            Self::Test { field, variable, test } => test.holds(&variable.get(field, data)?, data),
        }
    }
}

impl Test {
    fn load(place: &Place, operator: &str, value: Value) -> Result<Self> {
        if let Some(kind) = operator.strip_prefix("Is").and_then(Kind::named) {
            let Value::Bool(wanted) = value else {
                return Err(place.error(format!("is {value}"), "write true or false"));
            };
            return Ok(Self::Is(kind, wanted));
        }
        if operator == "StringMatches" {
            let Value::String(pattern) = value else {
                return Err(place.error(format!("is {value}"), "write a pattern such as \"log-*.txt\""));
            };
            return Ok(Self::Matches(Glob::parse(place, &pattern)?));
        }
        let Some((kind, relation, by_path)) = comparison(operator) else {
            return Err(place.error("is no operator", format!("write one of: {OPERATORS}")));
        };
        let operand = match (by_path, value) {
            (true, Value::String(path)) => Operand::Path(place.path(&path)?),
            (false, value) if kind.holds(&value) => Operand::Value(value),
            (_, value) => {
                let wanted = if by_path { "a path" } else { kind.describe() };
                return Err(place.error(format!("is {value}"), format!("write {wanted}")));
            }
        };
        Ok(Self::Compare(kind, relation, operand))
    }

    fn holds(&self, value: &Value, data: &Data<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Self::Is(kind, wanted) => kind.holds(value) == *wanted,
            Self::Matches(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
            Self::Compare(kind, relation, operand) => {
                let ordering = match operand {
                    Operand::Value(operand) => kind.compare(value, operand),
                    Operand::Path(path) => kind.compare(value, &path.get("a comparison", data)?),
                };
                ordering.is_some_and(|ordering| relation.allows(ordering))
            }
        })
    }
}

/// Splits an operator such as `NumericLessThanPath` into its parts.
fn comparison(operator: &str) -> Option<(Type, Relation, bool)> {
    let (kind, rest) = [
        ("String", Type::String),
        ("Numeric", Type::Numeric),
        ("Boolean", Type::Boolean),
        ("Timestamp", Type::Timestamp),
    ]
    .into_iter()
    .find_map(|(name, kind)| operator.strip_prefix(name).map(|rest| (kind, rest)))?;
    let (rest, by_path) = rest.strip_suffix("Path").map_or((rest, false), |rest| (rest, true));
    let relation = match rest {
        "Equals" => Relation::Equals,
        "LessThan" => Relation::LessThan,
        "GreaterThan" => Relation::GreaterThan,
        "LessThanEquals" => Relation::LessThanEquals,
        "GreaterThanEquals" => Relation::GreaterThanEquals,
        _ => return None,
    };
    (kind != Type::Boolean || relation == Relation::Equals).then_some((kind, relation, by_path))
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Present" => Self::Present,
            "Null" => Self::Null,
            "String" => Self::Type(Type::String),
            "Numeric" => Self::Type(Type::Numeric),
            "Boolean" => Self::Type(Type::Boolean),
            "Timestamp" => Self::Type(Type::Timestamp),
            _ => return None,
        })
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Present => true,
            Self::Null => value.is_null(),
            Self::Type(kind) => kind.holds(value),
        }
    }
}

impl Type {
    fn holds(self, value: &Value) -> bool {
        self.compare(value, value).is_some()
    }

    fn describe(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Numeric => "a number",
            Self::Boolean => "true or false",
            Self::Timestamp => "a time such as \"2026-01-31T12:00:00Z\"",
        }
    }

    /// How two values of this type compare; `None` where one is of another type.
    fn compare(self, left: &Value, right: &Value) -> Option<Ordering> {
        match self {
            Self::String => Some(left.as_str()?.cmp(right.as_str()?)),
            Self::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
            Self::Timestamp => Some(parse_timestamp(left.as_str()?)?.cmp(&parse_timestamp(right.as_str()?)?)),
            Self::Numeric => {
                let (left, right) = (left.as_number()?, right.as_number()?);
                match (left.as_i128(), right.as_i128()) {
                    (Some(left), Some(right)) => Some(left.cmp(&right)),
                    _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
                }
            }
        }
    }
}

impl Relation {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Equals => ordering.is_eq(),
            Self::LessThan => ordering.is_lt(),
            Self::GreaterThan => ordering.is_gt(),
            Self::LessThanEquals => ordering.is_le(),
            Self::GreaterThanEquals => ordering.is_ge(),
        }
    }
}

impl Glob {
    fn parse(place: &Place, pattern: &str) -> Result<Self> {
        let mut texts = Vec::new();
        let mut text = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' => texts.push(std::mem::take(&mut text)),
                '\\' => match chars.next() {
                    Some(c @ ('*' | '\\')) => text.push(c),
                    _ => {
                        return Err(place
                            .error("has a lone '\\'", "write '\\*' for a star and '\\\\' for a backslash"));
                    }
                },
                c => text.push(c),
            }
        }
        texts.push(text);
        Ok(Self(texts))
    }

    fn matches(&self, text: &str) -> bool {
        let (first, middle, last) = match self.0.as_slice() {
            [] => return false,
            [only] => return only == text,
            [first, middle @ .., last] => (first, middle, last),
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}
