//! The checksums that S3 keeps, beside those of a manifest.
//!
//! What was put at once has the SHA-256 of its content; what was uploaded in parts has the SHA-256 of the digests of its
//! parts, joined, and their number behind it.

use super::BASE64;
use base64::Engine;
use holdfast_vault::storage::StoredSum;
use sha2::{Digest, Sha256};

/// Compares the checksum that S3 tells of an object with the digests of its parts, in hex.
pub(super) fn compare(kept: Option<&str>, parts: &[String]) -> StoredSum {
    let Some(kept) = kept else { return StoredSum::NotKept };
    let Ok(digests) = parts.iter().map(hex::decode).collect::<Result<Vec<_>, _>>() else {
        return StoredSum::Differs;
    };
    let expected = match (kept.rsplit_once('-'), digests.as_slice()) {
        (None, [whole]) => BASE64.encode(whole),
        (Some((_, number)), digests) if number.parse() == Ok(digests.len()) => {
            format!("{}-{number}", BASE64.encode(Sha256::digest(digests.concat())))
        }
        // Cut into other parts than ours, by whoever copied the object here: it says nothing either way.
        _ => return StoredSum::NotKept,
    };
    if kept == expected { StoredSum::Same } else { StoredSum::Differs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }

    #[test]
    fn a_whole_object_is_compared_by_its_own_checksum() {
        // RFC 6234: SHA-256 of "abc".
        let kept = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        assert_eq!(compare(Some(kept), &[digest(b"abc")]), StoredSum::Same);
        assert_eq!(compare(Some(kept), &[digest(b"abd")]), StoredSum::Differs);
        assert_eq!(compare(None, &[digest(b"abc")]), StoredSum::NotKept);
    }

    #[test]
    fn an_object_of_parts_is_compared_by_the_digest_of_their_digests() {
        let parts = [digest(b"one"), digest(b"two"), digest(b"three")];
        let joined: Vec<u8> = parts.iter().flat_map(|part| hex::decode(part).unwrap()).collect();
        let kept = format!("{}-3", BASE64.encode(Sha256::digest(joined)));
        assert_eq!(compare(Some(&kept), &parts), StoredSum::Same);
        let swapped = [parts[1].clone(), parts[0].clone(), parts[2].clone()];
        assert_eq!(compare(Some(&kept), &swapped), StoredSum::Differs);
        assert_eq!(compare(Some(&kept), &parts[..2]), StoredSum::NotKept, "cut into other parts");
        let single = format!("{}-1", BASE64.encode(Sha256::digest(hex::decode(&parts[0]).unwrap())));
        assert_eq!(compare(Some(&single), &parts[..1]), StoredSum::Same, "an upload of one part");
    }

    #[test]
    fn what_is_no_checksum_is_not_taken_for_one() {
        let parts = [digest(b"one")];
        assert_eq!(compare(Some("?-x"), &parts), StoredSum::NotKept);
        assert_eq!(compare(Some(""), &parts), StoredSum::Differs);
        assert_eq!(compare(Some("AAAA"), &["no hex".to_owned()]), StoredSum::Differs);
    }
}
