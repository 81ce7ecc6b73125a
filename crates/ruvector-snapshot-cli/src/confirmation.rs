//! The question before something is deleted. It is asked only on a terminal: a script cannot answer.

use std::io::{self, IsTerminal as _};
use std::thread;

use ruvector_snapshot::ErrorKind;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::session::Session;

/// Returns whether the question is asked.
pub(crate) fn is_asked(session: &Session) -> bool {
    !session.output.json && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question, if standard input and standard error are terminals and the output is not JSON.
///
/// # Errors
///
/// Returns a failure for any answer but `y` and `yes`, and if a signal arrives.
pub(crate) async fn confirm(session: &Session, question: &str) -> Result<(), Failure> {
    if !is_asked(session) {
        return Ok(());
    }
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
    answer.and(if is_yes { Ok(()) } else { Err(not_answered()) })
}

fn not_answered() -> Failure {
    Failure::new(ErrorKind::InvalidInput, "nothing was deleted, because the question was not answered with y")
        .with_hint("--yes deletes without a question, and --dry-run only prints what would be deleted")
}
