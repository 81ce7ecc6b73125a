//! What a person sees on a terminal.

use std::io::{ErrorKind, Read as _, Write as _};
use std::process::Stdio;

use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// Runs the program on a terminal of so many columns, and returns its exit code and everything that it has written there;
/// `None` if `script`, which makes the terminal, is not installed.
pub(crate) fn on_columns(
    sandbox: &Sandbox,
    columns: usize,
    environment: &[(&str, &str)],
    line: &str,
) -> Option<(i32, String)> {
    let program = env!("CARGO_BIN_EXE_program-under-test");
    let line = format!("stty cols {columns} rows 24; exec {program} {line}");
    let mut command = sandbox.command_of("script", &["-qec", &line, "/dev/null"]);
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    let output = match command.envs(environment.iter().copied()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let result = RunResult::from(output);
    Some((result.exit_code.unwrap(), result.stdout))
}

/// As [`on_columns`], on a usual terminal. Asserts that the program succeeds.
fn on_a_terminal(sandbox: &Sandbox, line: &str) -> Option<String> {
    let (exit_code, written) = on_columns(sandbox, 80, &[("NO_COLOR", "1")], line)?;
    assert_eq!(exit_code, 0, "{written}");
    Some(written)
}

/// As [`on_a_terminal`], with what the person types when the question is there. Returns the exit code, too.
fn typed_on_a_terminal(sandbox: &Sandbox, line: &str, typed: &str) -> Option<(i32, String)> {
    typed_when(sandbox, &[], line, "[y/N] ", typed)
}

/// As [`typed_on_a_terminal`], with what the person types when this text was written.
fn typed_when(
    sandbox: &Sandbox,
    environment: &[(&str, String)],
    line: &str,
    awaited: &str,
    typed: &str,
) -> Option<(i32, String)> {
    let program = env!("CARGO_BIN_EXE_program-under-test");
    let line = format!("stty cols 80 rows 24; exec {program} {line}");
    let mut command = sandbox.command_of("script", &["-qec", &line, "/dev/null"]);
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").env("NO_COLOR", "1").env("SHELL", "/bin/sh");
    command.envs(environment.iter().cloned());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        child => child.unwrap(),
    };
    let (mut input, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
    let (mut written, mut bytes, mut is_typed) = (String::new(), [0; 1024], false);
    loop {
        let read = output.read(&mut bytes).unwrap();
        if read == 0 {
            break;
        }
        written += &String::from_utf8_lossy(&bytes[..read]);
        if !is_typed && written.contains(awaited) {
            input.as_ref().unwrap().write_all(typed.as_bytes()).unwrap();
            is_typed = true;
        }
        // `script` waits for the end of its input. It is an answer too, and must not arrive before the signal of a Ctrl-C.
        if is_typed && (typed != "\u{3}" || written.contains("interrupted")) {
            input = None;
        }
    }
    Some((child.wait().unwrap().code().unwrap(), written))
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
        assert!(left.iter().any(|line| line.starts_with(&id[..15])), "{left:?}");
    }
}

#[test]
fn a_person_is_told_that_ids_are_read_from_the_terminal() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let Some((_, written)) = on_columns(&sandbox, 80, &[], "dump one --ids-from -") else { return };
    assert!(
        unwrapped(&written).contains("reading ids from standard input, one on each line; Ctrl-D ends them"),
        "{written:?}"
    );
    assert!(written.contains("standard input: there are no ids"), "{written:?}");
}

/// Joins the lines of a text.
fn unwrapped(written: &str) -> String {
    written.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn ids_are_short_on_a_terminal_and_whole_in_a_pipe() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let Some(listed) = on_a_terminal(&sandbox, "list") else { return };
    let common = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    let length = 15.max(common + 1);
    for id in &ids {
        assert!(listed.contains(&format!("{}  ", &id[..length])), "{listed}");
        assert!(!listed.contains(&id[..=length]), "{listed}");
        assert!(sandbox.ok(&["list"]).contains(id.as_str()));
        assert!(sandbox.ok(&["show", &id[..length]]).contains(id.as_str()));
        let whole = on_a_terminal(&sandbox, "list --full-id").unwrap();
        assert!(whole.contains(id.as_str()), "{whole}");
        let verified = on_a_terminal(&sandbox, &format!("verify {id}")).unwrap();
        assert!(verified.contains(&format!("{}  intact", &id[..length])), "{verified}");
    }
}

/// What is printed is known from the listing that is read anyway. After the commit nothing is asked of the store for it: it may
/// not answer any more.
#[test]
fn short_ids_cost_no_listing_of_their_own() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    let environment = bucket.environment.iter().map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<_> = environment.chain([("RUVECTOR_SNAPSHOT_STORE", bucket.store.as_str())]).collect();
    let wire = bucket.server.wire();
    let listings = || wire.requests().iter().filter(|request| request.is_list()).count();
    for line in ["create --db a.db", "create --db a.db --base one", "show one", "verify one", "pin one", "list"] {
        wire.reset_log();
        bucket.ok(&line.split(' ').collect::<Vec<_>>());
        let in_a_pipe = listings();
        wire.reset_log();
        let Some((exit_code, written)) = on_columns(&bucket.sandbox, 80, &environment, line) else { return };
        assert_eq!((exit_code, listings()), (0, in_a_pipe), "{line}: {written}");
        // Whole in a command to repeat.
        let is_result = |line: &&str| !line.starts_with("next: ");
        let has_whole_id = written
            .lines()
            .filter(is_result)
            .flat_map(str::split_whitespace)
            .any(|word| word.parse::<ruvector_snapshot::SnapshotId>().is_ok());
        assert!(!has_whole_id || line == "show one", "{line}: {written}");
    }
}

#[test]
fn prune_prints_ids_and_times_as_the_other_commands_do() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "two", "--base", "one"]);
    let plan = |line: &str| {
        let (exit_code, written) = on_columns(&sandbox, 120, &[("TZ", "Asia/Tokyo"), ("NO_COLOR", "1")], line)?;
        assert_eq!(exit_code, 0, "{written}");
        Some(written)
    };
    let Some(last) = plan("prune --keep-last 1 --dry-run") else { return };
    assert!(last.contains("base of 2") && !last.contains(&ids[0]) && last.contains(" JST  two"), "{last}");
    // A day is one of the time zone of the policy, and so is its time.
    let daily = plan("prune --keep-daily 1 --dry-run").unwrap();
    assert!(daily.contains(" UTC  two") && !daily.contains("JST"), "{daily}");
    let zone = plan("prune --keep-last 1 --time-zone Europe/Berlin --dry-run").unwrap();
    assert!(zone.contains(" CET  two") || zone.contains(" CEST  two"), "{zone}");
}

#[test]
fn times_are_in_the_local_zone_on_a_terminal() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let shown = |zone: &str, line: &str| {
        let (_, shown) = on_columns(&sandbox, 80, &[("TZ", zone), ("NO_COLOR", "1")], line)?;
        shown.lines().find_map(|line| Some(line.trim().strip_prefix("taken")?.trim().to_owned()))
    };
    let Some(tokyo) = shown("Asia/Tokyo", "show one") else { return };
    assert!(tokyo.contains(" JST (") && tokyo.ends_with(')'), "{tokyo}");
    let utc = shown("Asia/Tokyo", "show one --utc").unwrap();
    assert!(utc.contains(" UTC ("), "{utc}");
    assert_ne!(tokyo[..19], utc[..19]);
    let mut piped = sandbox.command(&["show", "one"]);
    let piped = RunResult::from(piped.env("TZ", "Asia/Tokyo").output().unwrap()).stdout;
    assert!(piped.contains(&format!("taken         {} UTC\n", &utc[..19])), "{piped}");
}

#[test]
fn colours_are_for_terminals_and_follow_the_environment() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let red_error = "\u{1b}[1m\u{1b}[31merror:";
    let Some((_, written)) = on_columns(&sandbox, 80, &[], "show nothing") else { return };
    assert!(written.contains(red_error) && written.contains("\u{1b}[32mhint:"), "{written:?}");
    for environment in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let (_, written) = on_columns(&sandbox, 80, &[environment], "show nothing").unwrap();
        assert!(written.contains("error:") && !written.contains('\u{1b}'), "{environment:?}: {written:?}");
    }
    let mut forced = sandbox.command(&["show", "nothing"]);
    let forced = RunResult::from(forced.env("CLICOLOR_FORCE", "1").output().unwrap()).stderr;
    assert!(forced.starts_with(red_error), "{forced:?}");
    assert!(!sandbox.run(&["show", "nothing"]).stderr.contains('\u{1b}'));

    std::fs::remove_file(sandbox.stored(&ids[0], "index.bin.gz")).unwrap();
    let (exit_code, written) = on_columns(&sandbox, 80, &[], &format!("verify {}", ids[0])).unwrap();
    assert_eq!(exit_code, 3);
    assert!(written.contains("\u{1b}[31mCORRUPT"), "{written:?}");
}

/// Returns the number of columns of a text, without its colours.
fn columns_of(line: &str) -> usize {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |text, part| text + part.split_once(char::is_alphabetic).map_or("", |(_, rest)| rest));
    text.chars().filter(|c| !c.is_control()).count()
}

#[test]
fn progress_bars_fit_the_terminal() {
    let sandbox = Sandbox::with_rows(20_000);
    sandbox.create("one");
    for columns in [60, 80, 200] {
        let Some((exit_code, written)) = on_columns(&sandbox, columns, &[], "verify one") else { return };
        assert_eq!(exit_code, 0, "{written}");
        let drawn: Vec<&str> = written.split(['\r', '\n']).filter(|drawn| drawn.contains("verifying")).collect();
        assert!(drawn.iter().any(|bar| bar.contains(" of 20,000 records")), "{drawn:?}");
        assert!(drawn.iter().all(|bar| columns_of(bar) <= columns), "{columns}: {drawn:?}");
        assert!(
            columns < 200 || drawn.iter().any(|bar| bar.contains("record bytes") && bar.contains('[')),
            "{drawn:?}"
        );
        assert!(left_on_screen(&written).iter().all(|line| !line.contains("verifying")), "{written:?}");
    }
}

/// Asserts that no line is wider than the terminal, unless it is one word.
#[track_caller]
fn assert_fits(written: &str, columns: usize, line: &str) {
    for printed in left_on_screen(written) {
        let is_word = printed.trim().split(' ').count() == 1;
        assert!(is_word || columns_of(&printed) <= columns, "{line} at {columns}: {printed:?} in\n{written}");
    }
}

#[test]
fn what_every_command_prints_fits_the_terminal() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let long = "a rather long name of a snapshot, with many words, which no column of a table has room for";
    sandbox.ok(&["create", "--db", "a.db", "--name", long, "--label", "host=db1", "--source", long]);
    sandbox.ok(&["verify", "--all"]);
    for columns in [60, 80] {
        let restored = format!("restored-{columns}.db");
        let lines = [
            "list".to_owned(),
            "list --last 1".to_owned(),
            "list --columns id,taken,name,source,labels".to_owned(),
            "stats".to_owned(),
            "show latest".to_owned(),
            "find id-000001".to_owned(),
            "verify latest".to_owned(),
            "verify --all --quick".to_owned(),
            format!("diff {} {}", ids[0], ids[1]),
            "search latest --like id-000001 --with-metadata".to_owned(),
            "drill one".to_owned(),
            "prune --keep 1 --dry-run".to_owned(),
            "store check".to_owned(),
            "store options".to_owned(),
            format!("restore latest --to {restored} --dry-run"),
            format!("restore latest --to {restored}"),
            format!("restore one --to {restored} --merge"),
            format!("export one --to exported-{columns}"),
            format!("copy --all --to copies-{columns} --dry-run"),
            format!("copy --all --to copies-{columns}"),
            "create --db a.db --name more".to_owned(),
            "compact latest".to_owned(),
            "pin one".to_owned(),
            "unpin one".to_owned(),
            "delete more --dry-run".to_owned(),
            "nonsense".to_owned(),
            "list --since yesterday".to_owned(),
            "create --db missing.db".to_owned(),
            "show nothing".to_owned(),
        ];
        for line in lines {
            let Some((_, written)) = on_columns(&sandbox, columns, &[], &line) else { return };
            assert_fits(&written, columns, &line);
        }
    }
}

#[test]
fn a_person_is_asked_before_something_is_deleted() {
    let (sandbox, ids) = Sandbox::with_snapshots(4);
    for typed in ["n\n", "\n", "yeah\n", "\u{4}"] {
        let Some((exit_code, written)) = typed_on_a_terminal(&sandbox, "delete one", typed) else { return };
        assert_eq!(exit_code, 1, "{typed:?}: {written}");
        for text in [
            &*format!("would delete {}", &ids[0][..15]),
            "delete 1 snapshot? This cannot be undone. [y/N]",
            "nothing was deleted",
        ] {
            assert!(written.contains(text), "{text}: {written}");
        }
        assert!(
            left_on_screen(&written).iter().any(|line| line.starts_with("error: nothing was deleted")),
            "{written}"
        );
        let (exit_code, written) = typed_on_a_terminal(&sandbox, "prune --keep-last 2", typed).unwrap();
        assert_eq!(exit_code, 1, "{typed:?}: {written}");
        assert!(written.contains("drop  ") && written.contains("delete 2 snapshots? "), "{written}");
    }
    for line in ["delete one", "prune --keep-last 2"] {
        let (exit_code, written) = typed_on_a_terminal(&sandbox, line, "\u{3}").unwrap();
        assert_eq!(exit_code, 130, "{written}");
        assert_ends_with(&written, "error: interrupted: nothing was deleted");
    }
    assert_eq!(sandbox.ids().len(), 4);
    let (exit_code, written) = typed_on_a_terminal(&sandbox, "delete one", "y\n").unwrap();
    assert_eq!((exit_code, sandbox.ids().len()), (0, 3), "{written}");
    let (exit_code, written) = typed_on_a_terminal(&sandbox, "prune --keep-last 2", "YES\n").unwrap();
    assert_eq!((exit_code, sandbox.ids().len()), (0, 2), "{written}");
    // Not asked.
    for line in ["delete three --dry-run", "prune --keep-last 1 --dry-run", "delete three --yes", "prune --keep-last 1"]
    {
        let (exit_code, written) = typed_on_a_terminal(&sandbox, line, "").unwrap();
        assert!(exit_code == 0 && !written.contains("[y/N]"), "{line}: {written}");
    }
    assert_eq!(sandbox.ids(), ids[3..]);
}

/// Whatever else is printed, and wherever the results go.
#[test]
fn the_plan_is_above_the_question_and_nothing_is_deleted_without_an_answer() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    for (line, plan) in [("delete one", "would delete "), ("prune --keep-last 1", "drop  ")] {
        for options in
            ["", "--json", "-q", "-q --json", "--progress json", ">results", "--json >results", "-q >results"]
        {
            let line = format!("{line} {options}");
            let Some((exit_code, written)) = typed_on_a_terminal(&sandbox, &line, "n\n") else { return };
            let (above, below) = written.split_once("[y/N] ").unwrap_or_else(|| panic!("{line}: not asked: {written}"));
            assert!(above.contains(plan) && above.contains(&ids[0][..15]), "{line}: {written}");
            assert!(exit_code == 1 && below.contains("nothing was deleted"), "{line}: {written}");
            let (exit_code, written) = typed_on_a_terminal(&sandbox, &line, "\u{3}").unwrap();
            assert_eq!(exit_code, 130, "{line}: {written}");
            let left = left_on_screen(&written);
            assert!(left.iter().any(|line| line == "error: interrupted: nothing was deleted"), "{line}: {left:?}");
        }
        for redirected in ["2>messages", "--json 2>messages", "-q >results 2>messages"] {
            let line = format!("{line} {redirected}");
            let (exit_code, _) = typed_on_a_terminal(&sandbox, &line, "").unwrap();
            let messages = std::fs::read_to_string(sandbox.path("messages")).unwrap();
            assert_eq!(exit_code, 2, "{line}: {messages}");
            assert!(messages.contains("the question cannot be asked") && messages.contains("--yes"), "{messages}");
        }
        assert_eq!(sandbox.ids().len(), 2, "{line}");
    }
    let (exit_code, written) = typed_on_a_terminal(&sandbox, "prune --keep-last 1 >results", "y\n").unwrap();
    let results = std::fs::read_to_string(sandbox.path("results")).unwrap();
    assert!(exit_code == 0 && results.contains(&format!("drop  {}", ids[0])), "{written}: {results}");
    assert_eq!(sandbox.ids(), ids[1..]);
    // A script is not asked.
    sandbox.ok_with_warning(&["delete", "two"], "NO SNAPSHOT");
}

/// Asserts that what is left on the screen fits it, has no bar, and ends with a message.
#[track_caller]
fn assert_ends_with(written: &str, message: &str) {
    assert_fits(written, 80, message);
    let left = left_on_screen(written);
    assert!(left.iter().all(|line| !line.contains(" of ")), "a bar is left: {left:?}");
    // The message may be wrapped.
    let at = left.iter().rposition(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no error: {left:?}"));
    assert_eq!(unwrapped(&left[at..].join(" ")), message, "{written:?}");
}

/// While the bar is drawn. The server does not answer, or the rate limit lets a byte through in a second.
#[test]
fn ctrl_c_leaves_only_what_is_true_on_the_screen() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    let mut environment = bucket.environment.clone();
    environment.push(("RUVECTOR_SNAPSHOT_STORE", bucket.store.clone()));
    let reads_vectors: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    bucket.server.wire().set(move |request, _| reads_vectors(request).then_some(Fault::Hang));
    let created = format!("error: interrupted: no snapshot was created, and no object was left at {}", bucket.store);
    for (line, phase, message) in [
        ("verify one", "verifying", "error: interrupted: no verification was completed"),
        ("restore one --to b.db", "restoring", "error: interrupted: nothing was restored, and nothing was left behind"),
        (
            "copy one --to copies",
            "copying",
            "error: interrupted: the snapshots that were copied before are complete; repeat the command to copy the rest",
        ),
        ("drill one", "restoring", "error: interrupted: the scratch directory was removed; nothing was changed"),
        ("create --db a.db --limit-upload 1B", "storing", &created),
    ] {
        let Some((exit_code, written)) = typed_when(&bucket.sandbox, &environment, line, phase, "\u{3}") else {
            return;
        };
        assert_eq!(exit_code, 130, "{line}: {written}");
        assert_ends_with(&written, message);
        assert!(unwrapped(&written).contains("interrupted; cleaning up (a second signal stops at once)"), "{written}");
    }
}
