use super::*;

fn read(text: &str) -> Result<Vec<Resource>> {
    parse(text, "shop.yaml", Path::new("/srv/shop"))
}

fn refused(text: &str) -> Error {
    let error = read(text).unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
    error
}

#[track_caller]
fn assert_refused(text: &str, message: &str, object: &str) {
    let error = refused(text);
    assert_eq!((error.message.as_str(), error.object.as_deref()), (message, Some(object)));
}

#[test]
fn reads_every_kind_of_source() {
    let text = "
resources:
  - name: site
    source: {kind: files, path: www}
  - name: exports.daily
    source:
      kind: jsonl
      path: /data/exports
      key: [/id, '/a~1b']
    policy:
      schedule: 0 3 * * *
      time_zone: Europe/Berlin
      backup_type: incremental
      tier: critical
      retention_days: 35
      limits: {workers: 2, read_units_per_second: 500}
      verify: full
      codec: gzip
  - {name: orders, source: {kind: dynamodb, table: shop-orders, endpoint: embedded}}
  - {name: media, source: {kind: s3, bucket: shop-media, prefix: img/, endpoint: 'http://127.0.0.1:9000', region: eu-central-1}}
  - {name: settings, source: {kind: json, path: settings.json}}
  - name: small
    source:
      kind: json
      document:
        products: [{id: 1, price: 1.50}, {id: 2, price: 1e2, tag: '5'}]
        open: true
";
    let resources = read(text).unwrap();
    assert_eq!(resources.len(), 6);
    let path = Some("/srv/shop/settings.json".into());
    assert_eq!(resources[4].source, SourceSpec::Json { document: None, path });
    let document = serde_json::json!({
        "products": [{"id": 1, "price": 1.5}, {"id": 2, "price": 100.0, "tag": "5"}], "open": true
    });
    assert_eq!(resources[5].source, SourceSpec::Json { document: Some(document), path: None });
    assert_eq!(resources[0].source, SourceSpec::Files { path: "/srv/shop/www".into() });
    assert_eq!(resources[0].policy, Policy::default());
    let SourceSpec::Jsonl { path, key } = &resources[1].source else { panic!("jsonl") };
    assert_eq!((path.as_path(), key.len()), (Path::new("/data/exports"), 2));
    let policy = &resources[1].policy;
    assert_eq!(policy.schedule.as_deref(), Some("0 3 * * *"));
    assert_eq!((policy.backup_type, policy.tier), (BackupType::Incremental, Tier::Critical));
    assert_eq!((policy.verify, policy.codec), (VerifyAfter::Full, CodecName::Gzip));
    assert_eq!(policy.limits.workers, Some(2));
    for resource in resources {
        let stored = serde_json::to_value(&resource).unwrap();
        assert_eq!(serde_json::from_value::<Resource>(stored).unwrap(), resource);
    }
}

#[test]
fn names_the_nearest_known_field_and_its_place() {
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, pth: x}\n",
        "shop.yaml:3:27: resources[0].source: unknown field \"pth\", did you mean \"path\"?",
        "resources[0].source",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    polcy: {}\n",
        "shop.yaml:4:5: resources[0]: unknown field \"polcy\", did you mean \"policy\"?",
        "resources[0]",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    policy: {limits: {worker: 1}}\n",
        "shop.yaml:4:23: resources[0].policy.limits: unknown field \"worker\", did you mean \"workers\"?",
        "resources[0].policy.limits",
    );
    assert_refused(
        "resource: []\n",
        "shop.yaml:1:1: unknown field \"resource\", did you mean \"resources\"?",
        "shop.yaml",
    );
    let far = refused("resources: []\nzebra: 1\n");
    assert_eq!(far.message, "shop.yaml:2:1: unknown field \"zebra\"");
    assert_eq!(far.hint.as_deref(), Some("known fields are resources"));
}

#[test]
fn names_the_nearest_known_value() {
    assert_refused(
        "resources:\n  - name: a\n    source:\n      path: x\n      kind: file\n",
        "shop.yaml:5:13: resources[0].source.kind: unknown value \"file\", did you mean \"files\"?",
        "resources[0].source.kind",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    policy: {tier: critcal}\n",
        "shop.yaml:4:20: resources[0].policy.tier: unknown value \"critcal\", did you mean \"critical\"?",
        "resources[0].policy.tier",
    );
}

#[test]
fn names_what_is_missing_or_of_the_wrong_type() {
    assert_refused(
        "resources:\n  - source: {kind: files, path: x}\n",
        "shop.yaml:2:5: resources[0]: the field \"name\" is missing",
        "resources[0]",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files}\n",
        "shop.yaml:3:13: resources[0].source: the field \"path\" is missing",
        "resources[0].source",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {knd: files, path: x}\n",
        "shop.yaml:3:14: resources[0].source: unknown field \"knd\", did you mean \"kind\"?",
        "resources[0].source",
    );
    assert_refused(
        "resources:\n  - name: 7\n    source: {kind: files, path: x}\n",
        "shop.yaml:2:11: resources[0].name: integer `7` stands where a string belongs",
        "resources[0].name",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    policy: {retention_days: many}\n",
        "shop.yaml:4:30: resources[0].policy.retention_days: string \"many\" stands where u32 belongs",
        "resources[0].policy.retention_days",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: jsonl, path: x, key: /id}\n",
        "shop.yaml:3:41: resources[0].source.key: string \"/id\" stands where a sequence belongs",
        "resources[0].source.key",
    );
}

#[test]
fn checks_values() {
    let with = |name: &str, source: &str, policy: &str| {
        refused(&format!("resources:\n  - name: {name}\n    source: {source}\n    policy: {policy}\n"))
    };
    let files = "{kind: files, path: x}";
    let long = "a".repeat(65);
    for name in ["Shop", "''", "a/b", "a b", "ä", long.as_str()] {
        assert_eq!(with(name, files, "{}").object.as_deref(), Some("resources[0].name"), "{name}");
    }
    for (source, field) in [
        ("{kind: files, path: ''}", "path"),
        ("{kind: jsonl, path: x, key: []}", "key"),
        ("{kind: jsonl, path: x, key: [id]}", "key"),
        ("{kind: jsonl, path: x, key: [/a, /a]}", "key"),
        ("{kind: jsonl, path: x, key: ['/a~2']}", "key"),
        ("{kind: json}", "document"),
        ("{kind: json, document: null}", "document"),
        ("{kind: json, document: [1]}", "document"),
        ("{kind: json, document: {}}", "document"),
        ("{kind: json, path: ''}", "path"),
        ("{kind: json, path: x, document: {a: 1}}", "path"),
        ("{kind: json, document: {a: 527637048.77938396}}", "document"),
        ("{kind: json, document: {a: 0.12345678901234567890123}}", "document"),
        ("{kind: dynamodb, table: ''}", "table"),
        ("{kind: dynamodb, table: t, endpoint: localhost}", "endpoint"),
        ("{kind: s3, bucket: b, endpoint: embedded}", "endpoint"),
        ("{kind: s3, bucket: ''}", "bucket"),
    ] {
        let error = with("a", source, "{}");
        assert_eq!(error.object, Some(format!("resources[0].source.{field}")), "{source}");
        assert!(error.hint.is_some());
    }
    // Some of these are refused by the reader of YAML already.
    for number in ["1e400", "1e-400", ".nan", "-.inf", "123456789012345678901234567890"] {
        let error = with("a", &format!("{{kind: json, document: {{é: [x, {{a: {number}}}]}}}}"), "{}");
        assert!(error.message.starts_with("shop.yaml:3:"), "{number}: {}", error.message);
    }
    let large = format!("{{kind: json, document: {{a: {}}}}}", "x".repeat(128 << 10));
    assert_eq!(with("a", &large, "{}").object.as_deref(), Some("resources[0].source.document"));
}

#[test]
fn checks_values_of_policies() {
    for (policy, field) in [
        ("{retention_days: 0}", "retention_days"),
        ("{retention_days: -1}", "retention_days"),
        ("{retention_days: 7, retention: {days: 7}}", "retention_days"),
        ("{retention: {days: 0}}", "retention.days"),
        ("{retention: {keep_last: 0}}", "retention.keep_last"),
        ("{retention: {minimum: 0}}", "retention.minimum"),
        ("{retention: {hourly: many}}", "retention.hourly"),
        ("{retention: {keep_within: 14}}", "retention.keep_within"),
        ("{retention: {keep_within: 14 days}}", "retention.keep_within"),
        ("{retention: {keep_within: 0d}}", "retention.keep_within"),
        ("{retention: {daily: 7}, time_zone: Europe/Berlinn}", "time_zone"),
        ("{retention: 7}", "retention"),
        ("{limits: {workers: 0}}", "limits.workers"),
        ("{schedule: ''}", "schedule"),
        ("{schedule: '* * * *'}", "schedule"),
        ("{schedule: 0 25 * * *}", "schedule"),
        ("{schedule: 0 3 * * * UTC}", "schedule"),
        ("{schedule: 0 0 31 2 *}", "schedule"),
        ("{schedule: '*/4 * * * *'}", "schedule"),
        ("{schedule: 0 3 * * *, time_zone: Europe/Berlinn}", "time_zone"),
        ("{schedule: 0 3 * * *, time_zone: +02:00}", "time_zone"),
        ("{schedule: 0 3 * * *, time_zone: Australia/Lord_Howe}", "time_zone"),
        ("{time_zone: Europe/Berlin}", "time_zone"),
        ("{codec: lz4}", "codec"),
    ] {
        let source = "{kind: files, path: x}";
        let error =
            refused(&format!("resources:\n  - name: a\n    source: {source}\n    policy: {policy}\n"));
        assert_eq!(error.object, Some(format!("resources[0].policy.{field}")), "{policy}");
    }
}

#[test]
fn a_schedule_is_told_by_its_place_and_what_to_write() {
    let text =
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    policy: {schedule: '* * * * *'}\n";
    assert_refused(
        text,
        "shop.yaml:4:24: resources[0].policy.schedule: \"* * * * *\" is no schedule: it is due again within 5 minutes",
        "resources[0].policy.schedule",
    );
    assert!(refused(text).hint.unwrap().contains("*/5"));
}

#[test]
fn a_run_of_a_daily_backup_is_no_missed_rpo() {
    let hours = SignedDuration::from_hours;
    assert!(!Tier::Important.rpo_missed(hours(26)));
    assert!(Tier::Important.rpo_missed(hours(31)));
    assert!(!Tier::Critical.rpo_missed(SignedDuration::from_mins(75)));
    assert!(Tier::Critical.rpo_missed(SignedDuration::from_mins(76)));
    assert!(Tier::Reference.rpo_missed(hours(9 * 24)));
}

#[test]
fn names_are_unique_and_the_list_is_not_empty() {
    let one = "  - {name: a, source: {kind: files, path: x}}\n";
    assert_refused(
        &format!("resources:\n{one}{one}"),
        "shop.yaml:3:12: resources[1].name: the name \"a\" is that of resources[0] too",
        "resources[1].name",
    );
    assert_refused("resources: []\n", "shop.yaml:1:12: resources: the list is empty", "resources");
}

#[test]
fn broken_yaml_is_told_by_its_place() {
    for text in ["resources:\n  - name: [a\n", "resources: {a: 1, a: 2}\n", "resources:\n\t- a\n", ""] {
        let error = refused(text);
        assert!(error.message.starts_with("shop.yaml"), "{}", error.message);
        assert!(!error.message.contains('\n'));
    }
}

#[test]
fn load_names_a_file_that_is_not_there() {
    let error = load(Path::new("/nonexistent/shop.yaml")).unwrap_err();
    assert_eq!(error.object.as_deref(), Some("/nonexistent/shop.yaml"));
}

#[test]
fn reads_rules_of_retention() {
    let policy = |policy: &str| {
        let text =
            format!("resources:\n  - name: a\n    source: {{kind: files, path: x}}\n    policy: {policy}\n");
        read(&text).unwrap().remove(0).policy
    };
    let all = policy(
        "{retention: {keep_last: 3, hourly: 24, daily: 14, weekly: 8, monthly: 12, yearly: 3, keep_within: 36h, \
         minimum: 2}, retention_days: 35, time_zone: Europe/Berlin}",
    );
    let rules = all.retention.unwrap();
    let counts = [
        rules.keep_last,
        rules.hourly,
        rules.daily,
        rules.weekly,
        rules.monthly,
        rules.yearly,
        rules.minimum,
    ];
    assert_eq!(counts.map(|count| count.unwrap().get()), [3, 24, 14, 8, 12, 3, 2]);
    assert_eq!(rules.keep_within.map(|length| length.to_string()).as_deref(), Some("36h"));
    assert_eq!((rules.days, all.retention_days), (None, Some(35)));
    let stored = serde_json::to_value(&all).unwrap();
    assert_eq!(serde_json::from_value::<Policy>(stored).unwrap(), all);
    assert_eq!(policy("{retention: {}}").retention, Some(Retention::default()));
}

#[test]
fn a_rule_of_retention_is_told_by_its_place_and_what_to_write() {
    let of = |rule: &str| {
        let policy = format!("    policy: {{retention: {{{rule}}}}}\n");
        format!("resources:\n  - name: a\n    source: {{kind: files, path: x}}\n{policy}")
    };
    assert_refused(
        &of("dayly: 7"),
        "shop.yaml:4:26: resources[0].policy.retention: unknown field \"dayly\", did you mean \"daily\"?",
        "resources[0].policy.retention",
    );
    assert_refused(
        &of("keep_within: 14 days"),
        "shop.yaml:4:39: resources[0].policy.retention.keep_within: \"14 days\" is no length of time: write a number \
         and one of h, d, w, mo and y, as in 36h or 6mo",
        "resources[0].policy.retention.keep_within",
    );
    assert_refused(
        &of("daily: 0"),
        "shop.yaml:4:33: resources[0].policy.retention.daily: integer `0` stands where a nonzero u32 belongs",
        "resources[0].policy.retention.daily",
    );
    assert_refused(
        "resources:\n  - name: a\n    source: {kind: files, path: x}\n    policy: {retention: {days: 7}, retention_days: 7}\n",
        "shop.yaml:4:52: resources[0].policy.retention_days: retention.days says that too",
        "resources[0].policy.retention_days",
    );
}

#[test]
fn reads_what_is_expected_of_a_backup() {
    let of = |policy: &str| {
        format!("resources:\n  - name: a\n    source: {{kind: files, path: x}}\n    policy: {{{policy}}}\n")
    };
    let policy = |text: &str| read(&of(text)).unwrap().remove(0).policy;
    let given = policy("expect: [orders, items], anomaly: {fall_percent: 20}, verify: chain");
    assert_eq!((given.expect.len(), given.verify), (2, VerifyAfter::Chain));
    assert_eq!(given.anomaly, AnomalyBounds { fall_percent: 20, rise_percent: 200, change_percent: 30 });
    let stored = serde_json::to_value(&given).unwrap();
    assert_eq!(serde_json::from_value::<Policy>(stored).unwrap(), given);
    let stored = serde_json::to_value(policy("tier: critical")).unwrap();
    assert!(stored.get("anomaly").is_none() && stored.get("expect").is_none(), "{stored}");
    for (wrong, field, message) in [
        ("expect: [a, a]", "expect", "\"a\" stands there twice"),
        ("expect: [' ']", "expect", "a name is empty"),
        ("anomaly: {fall_percent: 0}", "anomaly.fall_percent", "0 is no share that can go"),
        ("anomaly: {change_percent: 101}", "anomaly.change_percent", "101 is no share that can go"),
        ("anomaly: {rise_percent: 0}", "anomaly.rise_percent", "0 is too small"),
        ("anomaly: {fell_percent: 1}", "anomaly", "did you mean \"fall_percent\"?"),
    ] {
        let error = refused(&of(wrong));
        assert_eq!(error.object, Some(format!("resources[0].policy.{field}")), "{wrong}");
        assert!(error.message.ends_with(message), "{}", error.message);
    }
}
