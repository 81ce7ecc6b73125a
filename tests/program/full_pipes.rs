//! Standard error is a pipe that is full and that is not read.

use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sandbox::Sandbox;

/// Bytes that a pipe takes if it is ready.
const PAGE: usize = 4096;

/// Returns a pipe that takes no more bytes.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    while poll(&mut [PollFd::new(&writer, PollFlags::OUT)], Some(&Timespec::default())).unwrap() > 0 {
        writer.write_all(&[b'\n'; PAGE]).unwrap();
    }
    (reader, writer)
}

fn start(sandbox: &Sandbox, args: &[&str], stderr: PipeWriter) -> Child {
    sandbox.command(args).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

#[test]
fn progress_and_a_log_that_are_not_read_do_not_hold_up_the_work() {
    let sandbox = Sandbox::with_rows(300);
    for args in [
        &["create", "--db", "a.db", "--name", "one", "--progress", "json"][..],
        &["verify", "one", "--json"],
        &["restore", "one", "--to", "b.db", "--progress", "json"],
        &["create", "--db", "a.db", "-vv"],
        &["verify", "one", "-vv", "--log-format", "json"],
    ] {
        let (_reader, writer) = full_pipe();
        assert!(start(&sandbox, args, writer).wait().unwrap().success(), "{args:?}");
    }
}

/// The first signal is answered by an error, which must not be lost and so waits for its reader. The second one waits for
/// nothing.
#[test]
fn a_second_signal_ends_a_program_whose_messages_are_not_read() {
    let sandbox = Sandbox::with_rows(300);
    let (_reader, writer) = full_pipe();
    let mut child = start(&sandbox, &["create", "--db", "a.db", "--limit-upload", "1B"], writer);
    while !sandbox.path("snapshots").exists() {
        thread::yield_now();
    }
    let mut sent = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Signals of a kind that are not received yet are one.
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        sent += 1;
    };
    assert_eq!(status.code(), Some(130));
    assert!(sent > 1, "the error did not wait for its reader");
}
