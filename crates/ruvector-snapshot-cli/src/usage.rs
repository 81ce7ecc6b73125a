//! Arguments that cannot be parsed, and what else the parser answers: help and the version.

use std::io::ErrorKind;

use clap::Command;

use crate::args;
use crate::documents::Run;
use crate::failure::{Exit, Failure};
use crate::other_words;
use crate::output::Output;

/// Prints the answer of the parser, and returns how the run ends.
pub(crate) fn answer(answer: clap::Error) -> Exit {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let run = Run::start(command(&args::program(), &arguments), None);
    let answer = other_words::explained(answer, &args::program(), &arguments);
    let output = Output::without_options(json);
    let printed = match output.wraps_messages() && is_mistake(&answer) {
        true => {
            answer.render().to_string().trim_end().lines().for_each(|line| output.message(line));
            Ok(())
        }
        false => answer.print(),
    };
    match printed {
        _ if answer.use_stderr() => {
            if json {
                let failure = Failure::arguments(&answer.render().to_string());
                output.failure_document(&run, &failure, &[]);
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

/// Returns whether the arguments are wrong. The parser does not divide its messages between words.
fn is_mistake(answer: &clap::Error) -> bool {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    answer.use_stderr() && answer.kind() != DisplayHelpOnMissingArgumentOrSubcommand
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
