//! The question before something is deleted. It is asked if standard input is a terminal: a script cannot answer.

use std::io::{self, IsTerminal as _};
use std::thread;

use ruvector_snapshot::{ErrorKind, SnapshotError};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Prints a plan and asks, if standard input is a terminal. Both go to standard error, also with --json and --quiet.
/// Returns whether the plan was printed where the results go.
///
/// # Errors
///
/// Returns a failure if there is a terminal to answer on and none to ask on, for any answer but `y` and `yes`, and if a
/// signal arrives.
pub(crate) async fn confirm(
    session: &Session,
    question: &str,
    plan: impl FnOnce(Output) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    if !io::stderr().is_terminal() {
        let message = "nothing was deleted, because the question cannot be asked: standard error is not a terminal";
        return Err(Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)).with_hint(HINT));
    }
    plan(session.output.above_question())?;
    session.output.question(format_args!("{question} [y/N] "));
    let (sender, answer) = oneshot::channel();
    // A thread of its own, for which the runtime does not wait: a read from a terminal cannot be stopped.
    let reader = move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|_| line);
        drop(sender.send(read));
    };
    let started = thread::Builder::new().name("answer".to_owned()).spawn(reader);
    started.map_err(|error| not_answered().with_hint(format!("the answer cannot be read: {error}; use --yes")))?;
    let answer = session.until_interrupted(answer, || "nothing was deleted".to_owned()).await;
    let line = answer.as_ref().ok().and_then(|line| line.as_ref().ok()?.as_deref().ok()).unwrap_or_default();
    // Ctrl-C and Ctrl-D end no line of the terminal.
    if !line.ends_with('\n') {
        session.output.notice("");
    }
    let is_yes = ["y", "yes"].contains(&line.trim().to_lowercase().as_str());
    answer.and(if is_yes { Ok(session.output.columns().is_some()) } else { Err(not_answered()) })
}

/// What to do without a question.
const HINT: &str = "--yes deletes without a question, and --dry-run only prints what would be deleted";

fn not_answered() -> Failure {
    Failure::new(ErrorKind::InvalidInput, "nothing was deleted, because the question was not answered with y")
        .with_hint(HINT)
}
