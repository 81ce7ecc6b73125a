//! File systems on which a file cannot be given a name only if the name is free: FAT, and some network and FUSE file
//! systems, know no links, and some no rename that replaces nothing.

use serde_json::Value;

use super::refused_sync::refusals;
use super::sandbox::{RunResult, Sandbox, assert_holds};

/// EPERM, EACCES, EINVAL, ENOSYS, EMLINK and EOPNOTSUPP of Linux.
const UNSUPPORTED: [&str; 6] = ["1", "13", "22", "38", "31", "95"];

const LINK: &str = "REFUSE_LINK";
const RENAME: &str = "REFUSE_RENAME_NOREPLACE";

fn run(sandbox: &Sandbox, refused: &[&str], error: &str, args: &[&str]) -> RunResult {
    let mut command = sandbox.command(args);
    command.env("LD_PRELOAD", refusals());
    command.envs(refused.iter().map(|refused| (refused, error)));
    RunResult::from(command.output().unwrap())
}

/// Returns the result of a check of the store.
fn status<'a>(report: &'a Value, name: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{report}"))
}

#[test]
fn everything_works_without_links_and_without_a_rename_that_replaces_nothing() {
    for refused in [&[LINK][..], &[RENAME], &[LINK, RENAME]] {
        for error in UNSUPPORTED {
            let sandbox = Sandbox::with_rows(300);
            let ok = |args: &[&str]| {
                let result = run(&sandbox, refused, error, args);
                assert_eq!(result.exit_code, Some(0), "{refused:?} {error}, {args:?}: {result:?}");
                result
            };
            ok(&["create", "--db", "a.db", "--name", "full"]);
            ok(&["create", "--db", "a.db", "--name", "increment", "--base", "full"]);
            ok(&["compact", "increment"]);
            ok(&["pin", "full"]);
            // It is there already.
            ok(&["pin", "full"]);
            assert!(ok(&["verify", "--all"]).stdout.ends_with("3 snapshots intact\n"));
            ok(&["restore", "full", "--to", "b.db"]);
            assert_holds(&sandbox.path("b.db"), 300, 8);
            ok(&["unpin", "full"]);
            ok(&["delete", "full", "--cascade"]);
            ok(&["create", "--db", "a.db"]);
            assert!(ok(&["prune", "--keep", "1"]).stdout.contains(", 1 deleted"));
            for directory in sandbox.names("snapshots") {
                let names = sandbox.names(&format!("snapshots/{directory}"));
                assert!(!names.iter().any(|name| name.contains('#')), "{names:?}");
            }
        }
    }
}

#[test]
fn a_check_of_the_store_warns_if_a_name_cannot_be_taken_exclusively() {
    for (refused, expected) in [(&[][..], "pass"), (&[LINK], "pass"), (&[RENAME], "pass"), (&[LINK, RENAME], "warn")] {
        let sandbox = Sandbox::empty();
        std::fs::create_dir(sandbox.path("snapshots")).unwrap();
        let (exit_code, report) = run(&sandbox, refused, "22", &["store", "check", "--json"]).into_json();
        let code = if expected == "warn" { 5 } else { 0 };
        assert_eq!((exit_code, &report["safe"]), (code, &true.into()), "{report}");
        let concurrent = status(&report, "concurrent create if absent");
        assert_eq!(concurrent["status"], expected, "{report}");
        assert_eq!(concurrent["detail"].as_str().unwrap().contains("snapshots are safe"), expected == "warn");
        for check in ["create if absent", "sync directories", "delete"] {
            assert_eq!(status(&report, check)["status"], "pass", "{report}");
        }
        assert_eq!(sandbox.names("snapshots"), [""; 0]);
    }
}
