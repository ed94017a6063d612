//! Ways to damage a vault: one object is changed, or takes the place of another.

use super::chance::Chance;
use super::small::{Objects, Small};
use bytes::Bytes;
use std::fmt;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Flip,
    FlipMany,
    CutEnd,
    CutStart,
    CutMiddle,
    Append,
    Insert,
    Zero,
    Drop,
    /// It and another of its kind stand under each other's keys.
    Swap,
    /// Another of its kind stands in its place; of backups of one resource that is an older or a newer version.
    Replace,
    /// It begins as another of its kind.
    Splice,
    /// A copy of it stands under a key of its kind that nobody wrote.
    Copy,
}

pub(super) const WAYS: [Way; 13] = [
    Way::Flip,
    Way::FlipMany,
    Way::CutEnd,
    Way::CutStart,
    Way::CutMiddle,
    Way::Append,
    Way::Insert,
    Way::Zero,
    Way::Drop,
    Way::Swap,
    Way::Replace,
    Way::Splice,
    Way::Copy,
];

/// The kinds of object, by what their keys begin with.
pub(super) const KINDS: [&str; 6] = ["holdfast.json", "keys/", "packs/", "index/", "changes/", "manifests/"];

/// A vault with one damage.
pub(super) struct Damaged {
    pub(super) objects: Objects,
    /// The object that is no longer what was written, and in a swap the other one.
    pub(super) keys: Vec<String>,
    pub(super) way: Way,
}

impl fmt::Debug for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.way, self.keys)
    }
}

/// Damages a vault in one way; `None` where that changes nothing.
pub(super) fn damage(small: &Small, kind: &str, way: Way, chance: &mut Chance) -> Option<Damaged> {
    let whole = &small.objects;
    let of_kind: Vec<&String> = small.order.iter().filter(|key| key.starts_with(kind)).collect();
    let key = (*chance.pick(&of_kind)).clone();
    let other = (*chance.pick(&of_kind)).clone();
    let mut objects = whole.clone();
    let mut keys = vec![key.clone()];
    let bytes = &whole[&key];
    match way {
        Way::Drop => drop(objects.remove(&key)),
        Way::Swap => {
            objects.insert(key.clone(), whole[&other].clone());
            objects.insert(other.clone(), bytes.clone());
            keys.push(other);
        }
        Way::Replace => drop(objects.insert(key.clone(), whole[&other].clone())),
        Way::Copy => {
            let fresh = fresh_key(&key, &other, chance)?;
            objects.insert(fresh.clone(), bytes.clone());
            keys = vec![fresh];
        }
        _ => drop(objects.insert(key.clone(), changed(bytes, &whole[&other], way, chance))),
    }
    (objects != *whole).then_some(Damaged { objects, keys, way })
}

fn changed(bytes: &Bytes, other: &Bytes, way: Way, chance: &mut Chance) -> Bytes {
    let mut out = bytes.to_vec();
    let length = out.len();
    let (one, two) = (chance.below(length), chance.below(length));
    let (from, to) = (one.min(two), one.max(two) + 1);
    match way {
        Way::Flip => out[one] ^= 1 << chance.below(8),
        Way::FlipMany => {
            for _ in 0..2 + chance.below(6) {
                let at = chance.below(length);
                out[at] ^= chance.next().to_le_bytes()[0];
            }
        }
        Way::CutEnd => out.truncate(one),
        Way::CutStart => drop(out.drain(..to)),
        Way::CutMiddle => drop(out.drain(from..to)),
        Way::Append => {
            let count = 1 + chance.below(40);
            let more = if chance.below(3) == 0 { out.clone() } else { chance.bytes(count) };
            out.extend(more);
        }
        Way::Insert => {
            let count = 1 + chance.below(40);
            let more = chance.bytes(count);
            out.splice(one..one, more);
        }
        Way::Zero => out[from..to].fill(0),
        Way::Splice => {
            let cut = one.min(other.len());
            out[..cut].copy_from_slice(&other[..cut]);
        }
        Way::Drop | Way::Swap | Way::Replace | Way::Copy => {}
    }
    out.into()
}

/// A key of the same kind: another id, another version, another time, another folder.
fn fresh_key(key: &str, other: &str, chance: &mut Chance) -> Option<String> {
    let id = hex::encode(chance.bytes(16));
    if let Some(name) = key.strip_prefix("changes/") {
        let (folder, name) = name.split_once('/')?;
        let parts: Vec<&str> = name.split('-').collect();
        let [from, to, level, object] = parts[..] else { return None };
        let time = format!("{:015}", chance.below(5_000));
        let others = other.strip_prefix("changes/").and_then(|other| other.split('/').next())?;
        let (folder, from, to, level) = match chance.below(6) {
            0 => (id.as_str(), from, to, level),
            1 => (others, "000000000000000", "000000000009999", level),
            2 => (folder, "000000000000000", to, level),
            3 => (folder, from, "000000000009999", level),
            4 => (folder, time.as_str(), time.as_str(), level),
            _ => (folder, from, to, if level == "0" { "3" } else { "0" }),
        };
        return Some(format!("changes/{folder}/{from}-{to}-{level}-{object}"));
    }
    if key.starts_with("keys/") {
        return Some(format!("keys/{:08}.json", 3 + chance.below(5)));
    }
    if key.starts_with("manifests/") {
        return Some("manifests/01EEEEEEEEEEEEEEEEEEEEEEEE".to_owned());
    }
    let kind = key.split('/').next()?;
    (kind != "holdfast.json").then(|| format!("{kind}/{}/{id}", &id[..2]))
}
