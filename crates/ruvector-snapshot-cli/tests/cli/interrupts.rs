//! Ctrl-C, SIGTERM and the end of the terminal: the old snapshots are whole, there is no new one, and nothing is left.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::{Desk, Ran, assert_holds, contents, database};

const ROWS: usize = 40_000;
const DIMENSIONS: usize = 128;
/// A machine may be so fast, or the signal so late, that the work is done first; then it is tried again.
const ATTEMPTS: usize = 20;

/// Runs, waits until `begun`, sends the signal, and gives what came of it; `again` clears up after a run that was done
/// before the signal came.
fn interrupted(desk: &Desk, args: &[&str], signal: &str, begun: impl Fn() -> bool, again: impl Fn()) -> Ran {
    for _ in 0..ATTEMPTS {
        let mut child = desk.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !begun() && is_running(&mut child) {
            thread::yield_now();
        }
        if is_running(&mut child) {
            let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            assert!(status.success());
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        if ran.status != Some(0) && !ran.stderr.contains("already, and stays") {
            return ran;
        }
        again();
    }
    panic!("every run was done before it could be interrupted");
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn desk_with_one_snapshot() -> Desk {
    let desk = Desk::empty();
    database(&desk.path("a.db"), ROWS, DIMENSIONS);
    desk.create("old");
    desk
}

#[test]
fn an_interrupted_create_leaves_no_trace() {
    let desk = desk_with_one_snapshot();
    let before = contents(&desk.path("snapshots"));
    for signal in ["-INT", "-TERM", "-HUP"] {
        let begun = || desk.names("snapshots").len() > 1;
        let again = || drop(desk.ok(&["delete", "new"]));
        let ran = interrupted(&desk, &["create", "--db", "a.db", "--name", "new"], signal, begun, again);
        ran.fails_after_a_notice("interrupted; there is no new snapshot, and nothing was left behind");
        assert_eq!(desk.names("snapshots").len(), 1);
        assert_eq!(desk.names("."), ["a.db", "snapshots"]);
        assert!(contents(&desk.path("snapshots")) == before);
        assert!(desk.ok(&["verify", "--all"]).ends_with("1 snapshot whole\n"));
        assert_eq!(desk.json(&["list"]).1["unfinished"], serde_json::json!([]));
    }
}

#[test]
fn an_interrupted_restore_leaves_no_trace() {
    let desk = desk_with_one_snapshot();
    let begun = || desk.names(".").iter().any(|name| name.contains(".restoring-"));
    let again = || fs::remove_file(desk.path("b.db")).unwrap();
    let ran = interrupted(&desk, &["restore", "old", "--to", "b.db"], "-INT", begun, again);
    ran.fails_after_a_notice("interrupted; nothing was restored, and nothing was left behind");
    assert_eq!(desk.names("."), ["a.db", "snapshots"]);

    let precious = || fs::write(desk.path("b.db"), "precious").unwrap();
    precious();
    let ran = interrupted(&desk, &["restore", "old", "--to", "b.db", "--force"], "-INT", begun, precious);
    ran.fails_after_a_notice("interrupted; b.db is as it was, and nothing was left behind");
    assert_eq!(fs::read(desk.path("b.db")).unwrap(), b"precious");
    assert_eq!(desk.names("."), ["a.db", "b.db", "snapshots"]);

    desk.ok(&["-q", "restore", "old", "--to", "c.db"]);
    assert_holds(&desk.path("c.db"), ROWS, DIMENSIONS);
}

#[test]
fn quiet_and_json_hold_for_an_interrupt_too() {
    let desk = desk_with_one_snapshot();
    let begun = || desk.names("snapshots").len() > 1;
    let again = || drop(desk.ok(&["delete", "a"]));
    let ran = interrupted(&desk, &["-q", "--json", "create", "--db", "a.db"], "-INT", begun, again);
    ran.fails(1, "interrupted; ");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "interrupted");
}

impl Ran {
    /// As `fails`, after the line that says at once that the interrupt was heard.
    #[track_caller]
    fn fails_after_a_notice(&self, words: &str) {
        assert_eq!(self.status, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let at = self.stderr.find("interrupted; cleaning up").unwrap_or_else(|| panic!("no notice: {self:?}"));
        let error = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error: {self:?}"));
        assert!(at < error && self.stderr[error..].contains(words), "{words:?} is not in {self:?}");
    }
}
