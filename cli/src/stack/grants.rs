//! What the functions of a stack are granted: by the ARNs in its parameters, or by a tag.

use std::collections::BTreeMap;

/// The grants, as the stack's outputs tell them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Grants {
    lists: BTreeMap<Kind, Vec<String>>,
    tag: Option<(String, String)>,
}

/// What a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    SourceTable,
    SourceBucket,
    TargetTable,
    TargetBucket,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::SourceTable, Self::SourceBucket, Self::TargetTable, Self::TargetBucket];

    /// The parameter of template.yaml that lists what is granted.
    pub(super) const fn parameter(self) -> &'static str {
        match self {
            Self::SourceTable => "SourceTables",
            Self::SourceBucket => "SourceBuckets",
            Self::TargetTable => "TargetTables",
            Self::TargetBucket => "TargetBuckets",
        }
    }

    /// The output that tells the parameter's value.
    const fn output(self) -> &'static str {
        match self {
            Self::SourceTable => "SourceTableArns",
            Self::SourceBucket => "SourceBucketArns",
            Self::TargetTable => "TargetTableArns",
            Self::TargetBucket => "TargetBucketArns",
        }
    }
}

impl Grants {
    /// Reads them from outputs; what is not there grants nothing.
    pub(super) fn read(outputs: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| outputs.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let list = |kind: Kind| {
            let patterns = text(kind.output()).unwrap_or_default().split(',').map(str::trim);
            let patterns: Vec<String> =
                patterns.filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect();
            (!patterns.is_empty()).then_some((kind, patterns))
        };
        let (key, value) = (text("AccessTagKey"), text("AccessTagValue"));
        Self {
            lists: Kind::ALL.into_iter().filter_map(list).collect(),
            tag: key.zip(value).map(|(key, value)| (key.to_owned(), value.to_owned())),
        }
    }

    fn patterns(&self, kind: Kind) -> &[String] {
        self.lists.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Whether a list grants an ARN.
    pub(super) fn names(&self, kind: Kind, arn: &str) -> bool {
        self.patterns(kind).iter().any(|pattern| matches(pattern.as_bytes(), arn.as_bytes()))
    }

    /// The tag that grants a table to be read, its key and its value.
    pub(super) fn tag(&self) -> Option<(&str, &str)> {
        self.tag.as_ref().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The parameter with what it lacks, as `sam deploy` takes it.
    pub(super) fn extended(&self, kind: Kind, arns: &[&str]) -> String {
        let all: Vec<&str> =
            self.patterns(kind).iter().map(String::as_str).chain(arns.iter().copied()).collect();
        format!("\"{}={}\"", kind.parameter(), all.join(","))
    }
}

/// Whether a text is what a pattern of IAM means: `*` any characters, `?` one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, read));
                at += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || Some(wanted) == text.get(read) => {
                (at, read) = (at + 1, read + 1);
            }
            (_, Some((place, taken))) => {
                star = Some((place, taken + 1));
                (at, read) = (place + 1, taken + 1);
            }
            (_, None) => return false,
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(outputs: &[(&str, &str)]) -> Grants {
        Grants::read(&outputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn patterns_are_those_of_iam() {
        let is = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        for (pattern, text) in [
            ("*", ""),
            ("*", "arn:aws:s3:::shop"),
            ("a*c", "abbc"),
            ("a*b*c", "abxbc"),
            ("a?c", "abc"),
            ("abc", "abc"),
            ("abc*", "abc"),
            ("*shop-*-eu*", "x-shop-orders-eu-1"),
        ] {
            assert!(is(pattern, text), "{pattern} is {text}");
        }
        for (pattern, text) in
            [("", "a"), ("abc", "ab"), ("ab", "abc"), ("a?c", "ac"), ("a*c", "abd"), ("*x", "xy"), ("?", "")]
        {
            assert!(!is(pattern, text), "{pattern} is not {text}");
        }
    }

    #[test]
    fn lists_grant_what_they_name() {
        let grants = grants(&[
            (
                "SourceTableArns",
                "arn:aws:dynamodb:eu-central-1:1:table/shop-*, arn:aws:dynamodb:*:1:table/audit",
            ),
            ("SourceBucketArns", ""),
            ("TargetBucketArns", "arn:aws:s3:::restored"),
            ("AccessTagKey", "holdfast:access"),
            ("AccessTagValue", "allow"),
        ]);
        let table = |name: &str| {
            grants.names(Kind::SourceTable, &format!("arn:aws:dynamodb:eu-central-1:1:table/{name}"))
        };
        assert!(table("shop-orders") && table("audit"));
        assert!(!table("orders") && !table("audits"));
        let bucket = |kind| grants.names(kind, "arn:aws:s3:::restored");
        assert!(bucket(Kind::TargetBucket) && !bucket(Kind::SourceBucket));
        assert_eq!(grants.tag(), Some(("holdfast:access", "allow")));
        assert_eq!(
            grants.extended(Kind::SourceBucket, &["arn:aws:s3:::a", "arn:aws:s3:::b"]),
            "\"SourceBuckets=arn:aws:s3:::a,arn:aws:s3:::b\""
        );
        assert!(grants.extended(Kind::SourceTable, &["arn:x"]).ends_with("table/audit,arn:x\""));
    }

    #[test]
    fn what_is_not_there_grants_nothing() {
        let none = grants(&[("SourceTableArns", " "), ("AccessTagKey", "holdfast:access")]);
        assert_eq!(none, Grants::default());
        assert!(!none.names(Kind::SourceTable, "arn:aws:dynamodb:eu-central-1:1:table/-"));
    }

    #[test]
    fn parameters_and_outputs_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        for kind in Kind::ALL {
            assert!(template.contains(&format!("\n  {}:\n    Type: CommaDelimitedList\n", kind.parameter())));
            assert!(template.contains(&format!("\n  {}:\n    Description:", kind.output())));
        }
        for name in super::super::outputs::test_support::all("aws:eu-central-1").into_keys() {
            assert!(template.contains(&format!("\n  {name}:\n    Description:")), "{name}");
        }
    }
}
