//! The intrinsic functions.

use super::expression::Expression;
use super::json;
use serde_json::Value;
use std::ops::RangeInclusive;

macro_rules! functions {
    ($($name:ident = $text:literal: $arity:expr;)*) => {
        /// An intrinsic function.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($name,)* }

        impl Function {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name as it is called.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => concat!("States.", $text),)* }
            }

            const fn arity(self) -> RangeInclusive<usize> {
                match self { $(Self::$name => $arity,)* }
            }
        }
    };
}

functions! {
    Array = "Array": 0..=usize::MAX;
    ArrayContains = "ArrayContains": 2..=2;
    ArrayGetItem = "ArrayGetItem": 2..=2;
    ArrayLength = "ArrayLength": 1..=1;
    ArrayPartition = "ArrayPartition": 2..=2;
    ArrayRange = "ArrayRange": 3..=3;
    ArrayUnique = "ArrayUnique": 1..=1;
    Format = "Format": 1..=usize::MAX;
    JsonMerge = "JsonMerge": 3..=3;
    JsonToString = "JsonToString": 1..=1;
    MathAdd = "MathAdd": 2..=2;
    MathRandom = "MathRandom": 2..=2;
    StringSplit = "StringSplit": 2..=2;
    StringToJson = "StringToJson": 1..=1;
    Uuid = "UUID": 0..=0;
}

/// The most numbers that `States.ArrayRange` makes.
const RANGE: i64 = 1000;

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }

    pub(super) fn list() -> String {
        Self::ALL.iter().map(|function| function.name()).collect::<Vec<_>>().join(", ")
    }

    /// Checks what can be checked before any data is there.
    pub(super) fn check(self, arguments: &[Expression]) -> Result<(), String> {
        let arity = self.arity();
        if !arity.contains(&arguments.len()) {
            let wanted = if *arity.end() == usize::MAX {
                format!("at least {}", arity.start())
            } else {
                arity.start().to_string()
            };
            return Err(format!("takes {wanted} argument(s), not {}", arguments.len()));
        }
        if self == Self::Format
            && let Some(template) = arguments[0].literal()
        {
            let holes = pieces(template).len() - 1;
            if holes != arguments.len() - 1 {
                return Err(format!("has {holes} '{{}}' for {} argument(s)", arguments.len() - 1));
            }
        }
        Ok(())
    }

    pub(super) fn call(
        self,
        arguments: Vec<Value>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Value, String> {
        let given = &arguments[..];
        match (self, given) {
            (Self::Array, _) => Ok(Value::Array(arguments)),
            (Self::ArrayContains, [list, item]) => Ok(array(list)?.contains(item).into()),
            (Self::ArrayGetItem, [list, index]) => {
                let at = usize::try_from(integer(index)?).ok();
                let item = at.map(|at| array(list).map(|list| list.get(at).cloned())).transpose()?.flatten();
                item.ok_or_else(|| "the index is outside the array".to_owned())
            }
            (Self::ArrayLength, [list]) => Ok(array(list)?.len().into()),
            (Self::ArrayPartition, [list, size]) => partition(array(list)?, integer(size)?),
            (Self::ArrayRange, [from, to, step]) => range(integer(from)?, integer(to)?, integer(step)?),
            (Self::ArrayUnique, [list]) => Ok(unique(array(list)?)),
            (Self::Format, [template, values @ ..]) => format(text(template)?, values),
            (Self::JsonMerge, [Value::Object(first), Value::Object(second), Value::Bool(false)]) => {
                Ok(Value::Object(first.clone().into_iter().chain(second.clone()).collect()))
            }
            (Self::JsonMerge, _) => Err("takes two objects and false".to_owned()),
            (Self::JsonToString, [value]) => Ok(value.to_string().into()),
            (Self::MathAdd, [left, right]) => integer(left)?
                .checked_add(integer(right)?)
                .map(Value::from)
                .ok_or_else(|| "the sum is too large".to_owned()),
            (Self::MathRandom, [from, to]) => between(integer(from)?, integer(to)?, random()),
            (Self::StringSplit, [value, splitter]) => split(text(value)?, text(splitter)?),
            (Self::StringToJson, [value]) => {
                serde_json::from_str(text(value)?).map_err(|_| "the text is not JSON".to_owned())
            }
            (Self::Uuid, _) => Ok(uuid(random(), random()).into()),
            _ => Err("has the wrong number of arguments".to_owned()),
        }
    }
}

fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("takes an array, not {}", json::kind(value)))
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("takes a string, not {}", json::kind(value)))
}

/// A whole number; a fraction is rounded.
fn integer(value: &Value) -> Result<i64, String> {
    if let Some(number) = value.as_i64() {
        return Ok(number);
    }
    let number = value.as_f64().ok_or_else(|| format!("takes a number, not {}", json::kind(value)))?;
    format!("{:.0}", number.round()).parse().map_err(|_| "the number is too large".to_owned())
}

fn partition(list: &[Value], size: i64) -> Result<Value, String> {
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| "the size of a part must be positive".to_owned())?;
    Ok(list.chunks(size).map(|part| Value::Array(part.to_vec())).collect::<Vec<_>>().into())
}

fn range(from: i64, to: i64, step: i64) -> Result<Value, String> {
    if step == 0 {
        return Err("the step must not be 0".to_owned());
    }
    let mut numbers = Vec::new();
    let mut next = Some(from);
    while let Some(number) = next.filter(|n| if step > 0 { *n <= to } else { *n >= to }) {
        if numbers.len() >= usize::try_from(RANGE).unwrap_or(0) {
            return Err(format!("makes more than {RANGE} numbers"));
        }
        numbers.push(Value::from(number));
        next = number.checked_add(step);
    }
    Ok(numbers.into())
}

fn unique(list: &[Value]) -> Value {
    let mut kept: Vec<Value> = Vec::new();
    for value in list {
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    kept.into()
}

/// The text around each `{}`, with escapes resolved: one piece more than there are holes.
fn pieces(template: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        let hole = c == '{' && chars.peek() == Some(&'}');
        let c = if c == '\\' { chars.next() } else { Some(c) };
        if hole {
            chars.next();
            pieces.push(String::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.extend(c);
        }
    }
    pieces
}

fn format(template: &str, values: &[Value]) -> Result<Value, String> {
    let pieces = pieces(template);
    if pieces.len() - 1 != values.len() {
        return Err(format!("has {} '{{}}' for {} argument(s)", pieces.len() - 1, values.len()));
    }
    let mut filled = pieces[0].clone();
    for (value, piece) in values.iter().zip(&pieces[1..]) {
        match value {
            Value::String(text) => filled.push_str(text),
            Value::Object(_) | Value::Array(_) => {
                return Err(format!("cannot format {}: use States.JsonToString", json::kind(value)));
            }
            other => filled.push_str(&other.to_string()),
        }
        filled.push_str(piece);
    }
    Ok(filled.into())
}

fn between(from: i64, to: i64, random: u64) -> Result<Value, String> {
    let width = to.checked_sub(from).and_then(|width| u64::try_from(width).ok()).filter(|width| *width > 0);
    let width = width.ok_or_else(|| "the end must be greater than the start".to_owned())?;
    let offset = i64::try_from(random % width).map_err(|_| "the span is too large".to_owned())?;
    Ok((from + offset).into())
}

/// Splits at every character of the splitter; empty parts are left out.
fn split(value: &str, splitter: &str) -> Result<Value, String> {
    if splitter.is_empty() {
        return Err("the splitter is empty".to_owned());
    }
    let parts = value.split(|c| splitter.contains(c)).filter(|part| !part.is_empty());
    Ok(parts.map(Value::from).collect::<Vec<_>>().into())
}

/// A UUID of version 4 from 128 random bits.
fn uuid(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
