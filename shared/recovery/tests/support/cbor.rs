//! As much of CBOR (RFC 8949) as `CloudWatch`'s protocol needs.

use serde_json::{Map, Number, Value};

pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    out.push((major << 5) | 0x1b);
    out.extend_from_slice(&number.to_be_bytes());
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(truth) => out.push(if *truth { 0xf5 } else { 0xf4 }),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => head(out, 0, number),
            (None, Some(number)) => head(out, 1, number.unsigned_abs() - 1),
            (None, None) => {
                out.push(0xfb);
                out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            head(out, 3, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(values) => {
            head(out, 4, values.len() as u64);
            for value in values {
                write(out, value);
            }
        }
        Value::Object(map) => {
            head(out, 5, map.len() as u64);
            for (name, value) in map {
                write(out, &Value::String(name.clone()));
                write(out, value);
            }
        }
    }
}

pub fn decode(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    read(&mut rest).unwrap_or(Value::Null)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

/// `None` at the end of something of no stated length.
fn read(rest: &mut &[u8]) -> Option<Value> {
    let first = take(rest, 1)[0];
    let (major, short) = (first >> 5, first & 0x1f);
    if major == 7 {
        return match short {
            20 => Some(false.into()),
            21 => Some(true.into()),
            22 => Some(Value::Null),
            26 => Some(f64::from(f32::from_be_bytes(take(rest, 4).try_into().unwrap())).into()),
            27 => Some(f64::from_be_bytes(take(rest, 8).try_into().unwrap()).into()),
            31 => None,
            other => panic!("an unknown value {other}"),
        };
    }
    let length = match short {
        ..24 => Some(u64::from(short)),
        24..=27 => {
            let bytes = take(rest, 1 << (short - 24));
            Some(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
        }
        _ => None,
    };
    let count = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap());
    Some(match major {
        0 => length.unwrap().into(),
        1 => Value::Number(Number::from(-1 - i64::try_from(length.unwrap()).unwrap())),
        3 => String::from_utf8(take(rest, count).to_vec()).unwrap().into(),
        4 => {
            let mut values = Vec::new();
            while values.len() < count {
                let Some(value) = read(rest) else { break };
                values.push(value);
            }
            Value::Array(values)
        }
        5 => {
            let mut map = Map::new();
            while map.len() < count {
                let Some(name) = read(rest) else { break };
                map.insert(name.as_str().unwrap().to_owned(), read(rest).unwrap());
            }
            Value::Object(map)
        }
        6 => return read(rest),
        other => panic!("an unknown type {other}"),
    })
}
