//! DynamoDB's numbers: up to 38 significant digits, written in more ways than one.

use aws_sdk_dynamodb::types::AttributeValue;

/// A number taken apart, so that two ways of writing the same one are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number {
    negative: bool,
    /// Significant digits, without zeros at either end; empty for zero.
    digits: Vec<u8>,
    /// The power of ten of the digit before the decimal point of `d.ddd`.
    magnitude: i64,
}

impl Number {
    /// Reads JSON's form of a number. `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, magnitude: 0 });
        }
        let before_point = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading).ok()?)?;
        Some(Self { negative, digits, magnitude: exponent.checked_add(before_point)?.checked_sub(1)? })
    }

    /// Whether DynamoDB can hold it exactly.
    pub(crate) fn fits(&self) -> bool {
        self.digits.len() <= 38 && (-130..=125).contains(&self.magnitude)
    }

    /// Whether `text` writes it as a key must be written: digits and a point, nothing that could be left out.
    pub(crate) fn is_plain(&self, text: &str) -> bool {
        let body = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let plain_whole = whole == "0" || !whole.starts_with('0');
        let plain_fraction = !fraction.ends_with('0') && !body.ends_with('.');
        let signed = text.starts_with('-') == self.negative;
        signed
            && plain_whole
            && plain_fraction
            && body.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    }
}

/// A key attribute's value, equal however a number is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeyValue {
    Text(String),
    Number(Number),
    Binary(Vec<u8>),
}

/// The values of an item's key; `None` if it lacks one, or one is of a type that keys cannot have.
pub(crate) fn key_values<'a>(
    item: &super::item::Item,
    names: impl IntoIterator<Item = &'a String>,
) -> Option<Vec<KeyValue>> {
    let value = |name| match item.get(name)? {
        AttributeValue::S(text) => Some(KeyValue::Text(text.clone())),
        AttributeValue::N(text) => Number::parse(text).map(KeyValue::Number),
        AttributeValue::B(bytes) => Some(KeyValue::Binary(bytes.as_ref().to_vec())),
        _ => None,
    };
    names.into_iter().map(value).collect()
}

/// Whether two items hold the same, however their numbers are written and their sets are ordered.
pub(crate) fn same_item(left: &super::item::Item, right: &super::item::Item) -> bool {
    left.len() == right.len()
        && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same_value(value, other)))
}

/// Whether two values are the same, however their numbers are written and their sets are ordered.
pub(crate) fn same_value(left: &AttributeValue, right: &AttributeValue) -> bool {
    match (left, right) {
        (AttributeValue::N(left), AttributeValue::N(right)) => same_number(left, right),
        (AttributeValue::Ns(left), AttributeValue::Ns(right)) => {
            let numbers = |members: &[String]| {
                let mut numbers: Vec<_> = members.iter().map(|text| Number::parse(text)).collect();
                numbers.sort();
                numbers
            };
            numbers(left) == numbers(right)
        }
        (AttributeValue::Ss(left), AttributeValue::Ss(right)) => same_set(left, right),
        (AttributeValue::Bs(left), AttributeValue::Bs(right)) => same_set(left, right),
        (AttributeValue::L(left), AttributeValue::L(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (AttributeValue::M(left), AttributeValue::M(right)) => same_item(left, right),
        (left, right) => left == right,
    }
}

/// Whether two texts write the same number.
pub(crate) fn same_number(left: &str, right: &str) -> bool {
    left == right
        || matches!((Number::parse(left), Number::parse(right)), (Some(left), Some(right)) if left == right)
}

fn same_set<M: AsRef<[u8]>>(left: &[M], right: &[M]) -> bool {
    let sorted = |members: &[M]| {
        let mut members: Vec<Vec<u8>> = members.iter().map(|member| member.as_ref().to_vec()).collect();
        members.sort_unstable();
        members
    };
    sorted(left) == sorted(right)
}

#[cfg(test)]
mod tests {
    use super::{Number, same_item};
    use crate::dynamodb::item::Item;
    use aws_sdk_dynamodb::types::AttributeValue;

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        let number = |text: &str| Number::parse(text).unwrap();
        for (left, right) in
            [("1.50", "1.5"), ("1e3", "1000"), ("-0", "0.000"), ("0.0012", "12E-4"), ("100", "1E+2")]
        {
            assert_eq!(number(left), number(right));
        }
        for (left, right) in [("1", "-1"), ("1", "10"), ("0.1", "0.01"), ("123", "124")] {
            assert_ne!(number(left), number(right));
        }
        for text in ["", "-", "x", "1e", "1.2.3", "0x1", "1e99999999999999999999", "NaN"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn thirty_eight_digits_fit_and_no_more() {
        let number = |text: &str| Number::parse(text).unwrap();
        assert!(number(&"9".repeat(38)).fits());
        assert!(!number(&"9".repeat(39)).fits());
        assert!(number(&format!("{}000", "9".repeat(38))).fits());
        assert!(number("1e125").fits() && !number("1e126").fits());
        assert!(number("-1E-130").fits() && !number("1E-131").fits());
        assert!(number("0.0e999").fits());
    }

    #[test]
    fn a_plain_number_can_be_written_in_one_way_only() {
        let plain = |text: &str| Number::parse(text).unwrap().is_plain(text);
        assert!(["0", "10", "-1.5", "0.25"].into_iter().all(plain));
        assert!(!["1.0", "1e3", "-0", "01", "1.", "0.50"].into_iter().any(plain));
    }

    #[test]
    fn sets_are_equal_in_any_order() {
        let item = |members: &[&str]| {
            let members = members.iter().map(|text| (*text).to_owned()).collect();
            Item::from([("s".to_owned(), AttributeValue::Ns(members))])
        };
        assert!(same_item(&item(&["1.0", "2"]), &item(&["2", "1"])));
        assert!(!same_item(&item(&["1"]), &item(&["1", "2"])));
    }
}
