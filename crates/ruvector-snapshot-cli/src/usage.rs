//! Arguments that cannot be parsed, and what else the parser answers: help and the version.

use std::io::ErrorKind;

use clap::Command;

use crate::args;
use crate::documents::Run;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Prints the answer of the parser, and returns how the run ends.
pub(crate) fn answer(answer: &clap::Error) -> Exit {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let run = Run::start(command(&args::program(), &arguments), None);
    match answer.print() {
        _ if answer.use_stderr() => {
            if json {
                let failure = Failure::arguments(&answer.render().to_string());
                Output::without_options(json).failure_document(&run, &failure, &[]);
            }
            Exit::Usage
        }
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let failure = Failure::output(&error);
            Output::without_options(false).failure(&run, &failure, &[]);
            failure.exit()
        }
        _ => Exit::Success,
    }
}

/// Returns the words that name a command, as far as the arguments have them.
fn command(program: &Command, arguments: &[String]) -> Option<String> {
    let mut command = program;
    let mut words = Vec::new();
    for word in arguments {
        if let Some(inner) = command.find_subcommand(word) {
            words.push(inner.get_name());
            command = inner;
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}
