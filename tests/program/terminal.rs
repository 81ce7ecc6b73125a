//! What a person sees on a terminal.

use std::io::ErrorKind;

use super::sandbox::{RunResult, Sandbox};

/// Runs the program on a terminal, and returns everything that it has written there; `None` if `script`, which makes the
/// terminal, is not installed.
fn on_a_terminal(sandbox: &Sandbox, line: &str) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_program-under-test");
    let mut command = sandbox.command_of("script", &["-qec", &format!("{program} {line}"), "/dev/null"]);
    let output = match command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let result = RunResult::from(output);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    Some(result.stdout)
}

/// Returns the lines that are left on the screen, as far as a line is erased or overwritten from its start.
fn left_on_screen(written: &str) -> Vec<String> {
    let lines = written.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        let shown = line.rsplit_once("\u{1b}[2K").map_or(line, |(_, after)| after);
        shown.rsplit('\r').next().unwrap_or_default().to_owned()
    });
    lines.collect()
}

#[test]
fn the_progress_bar_leaves_no_line_between_the_results() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    let Some(written) = on_a_terminal(&sandbox, "verify --all") else { return };
    assert!(written.contains("verifying"), "no bar was drawn: {written:?}");
    let left = left_on_screen(&written);
    assert!(left.iter().all(|line| !line.contains("verifying")), "{left:?}");
    for id in ids {
        assert!(left.iter().any(|line| line.starts_with(&id)), "{left:?}");
    }
}

#[test]
fn a_person_is_told_that_ids_are_read_from_the_terminal() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let Some(written) = on_a_terminal(&sandbox, "dump one --ids-from - || true") else { return };
    assert!(written.contains("reading ids from standard input, one on each line; Ctrl-D ends them"), "{written:?}");
    assert!(written.contains("standard input: there are no ids"), "{written:?}");
}
