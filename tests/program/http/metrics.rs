//! The metrics of the daemon are in the form of OpenMetrics, and those that documents, alerts and the dashboard name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{HOURLY, Site};
use crate::sandbox::Sandbox;

/// Returns the metrics that are written, without the endings of counters, and their types.
fn types(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

/// Returns the metrics of a daemon with a job that has succeeded and one that has failed.
pub(crate) fn written() -> String {
    let sandbox = Sandbox::with_rows(5);
    let failing = HOURLY.replace("nightly", "failing").replace("@articles", "absent.db");
    let mut site = Site::start(&sandbox, &format!("{HOURLY}{failing}"));
    site.daemon.line_with("failing: FAILED");
    site.reasons_with("failing", "there is no snapshot");
    let text = site.wait("/metrics", |answer| answer.body.contains("ruvector_snapshot_stale_reasons{")).body;
    assert_eq!(site.daemon.stop().exit_code, Some(0));
    text
}

#[test]
fn metrics_are_those_that_are_documented_and_of_the_right_form() {
    let text = written();
    let types = types(&text);
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md")).unwrap();
    let documented: BTreeSet<&str> =
        guide.split('`').filter(|word| word.starts_with("ruvector_snapshot_") && !word.contains(' ')).collect();
    for (name, kind) in &types {
        let shown = if *kind == "counter" { format!("{name}_total") } else { (*name).to_owned() };
        assert!(documented.contains(&*shown), "docs/OPERATIONS.md does not name {shown}");
    }
    // Orphans are found by `status` alone.
    for name in documented {
        let is_written = types.contains_key(name.strip_suffix("_total").unwrap_or(name));
        assert!(is_written || name.starts_with("ruvector_snapshot_orphan"), "{name} is not written");
    }
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    let mut seen = BTreeSet::new();
    let mut current = "";
    for line in text.lines().filter(|line| *line != "# EOF") {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => {
                current = rest.split(' ').next().unwrap();
                assert!(seen.insert(line.to_owned()), "{current} is there twice");
            }
            None if line.starts_with("# HELP ") => {}
            None => {
                let name = line.split(['{', ' ']).next().unwrap();
                let base = if types[current] == "counter" { format!("{current}_total") } else { current.to_owned() };
                assert_eq!(name, base, "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
                assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line} is there twice");
            }
        }
    }
    assert!(types.len() >= 24, "{types:?}");
}
