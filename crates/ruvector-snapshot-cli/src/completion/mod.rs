//! Completions: what a shell asks while a command is typed, and the answer. Writes nothing, prints no error, and gives up
//! after a second.
//!
//! The engine of `clap_complete` knows commands and options. `values` knows their values, which it reads from the store and
//! the configuration file that the line names. `line` takes a line of bash apart, which `clap_complete` leaves to bash: its
//! words end at `:`, `=` and `@`.

mod bash;
mod line;
mod values;

use std::ffi::OsString;
use std::io::Write as _;
use std::panic;

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Zsh};

/// The environment variable with which the scripts ask. It is not `COMPLETE`, which other programs use too: with that in
/// the environment, a backup would print a script and end as if it had succeeded.
const VARIABLE: &str = "RUVECTOR_SNAPSHOT_COMPLETE";

/// The name of the program in the scripts.
const PROGRAM: &str = "ruvector-snapshot";

/// Answers if a shell asks about this program. Returns false if this is a run like any other: only `--` as the first argument, which no command
/// begins with, is a question.
pub(crate) fn answer(program: fn() -> Command) -> bool {
    let Some(shell) = std::env::var_os(VARIABLE) else { return false };
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != "--") {
        return false;
    }
    let words: Vec<OsString> = arguments.collect();
    // Whatever happens: what is typed stays as it is.
    panic::set_hook(Box::new(|_| {}));
    let answered = panic::catch_unwind(|| complete(program(), &shell.to_string_lossy(), words)).unwrap_or_default();
    let mut stdout = std::io::stdout().lock();
    let _printed = stdout.write_all(&answered).and_then(|()| stdout.flush());
    true
}

/// Returns what the shell expects.
fn complete(program: Command, shell: &str, words: Vec<OsString>) -> Vec<u8> {
    let mut printed = Vec::new();
    if shell == "bash" {
        return bash::complete(program, words);
    }
    let Some(completer) = completer(shell).filter(|_| !words.is_empty()) else { return printed };
    let typed = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut program = values::with_completers(program, typed, false);
    let directory = std::env::current_dir().ok();
    match completer.write_complete(&mut program, words, directory.as_deref(), &mut printed) {
        Ok(()) => printed,
        Err(_) => Vec::new(),
    }
}

/// Returns the script that makes a shell ask this program.
pub(crate) fn script(shell: Shell) -> Option<Vec<u8>> {
    let program = asked();
    if shell == Shell::Bash {
        return Some(bash::script(&program).into_bytes());
    }
    let mut script = Vec::new();
    let completer = completer(&shell.to_string())?;
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, &program, &mut script).ok()?;
    Some(script)
}

fn completer(shell: &str) -> Option<&'static dyn EnvCompleter> {
    let known: [&'static dyn EnvCompleter; 4] = [&Elvish, &Fish, &Powershell, &Zsh];
    known.into_iter().find(|completer| completer.is(shell))
}

/// Returns the program that a script asks: the name, if it was found by its name, or else where it is.
fn asked() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    match called.to_string_lossy().contains('/') {
        true => std::path::absolute(&called).map_or_else(|_| PROGRAM.to_owned(), |path| path.display().to_string()),
        false => PROGRAM.to_owned(),
    }
}
