//! The command line of ruvector-snapshot: parse, call, print, exit code.
//!
//! `args` names the commands, and each is in the file of its name in `verbs`, with its options and its help. `output`
//! prints. The library does the work.

mod args;
mod completion;
mod config_file;
mod confirmation;
mod documents;
mod failure;
mod filters;
mod global;
mod help;
mod input;
mod interrupted;
mod job_databases;
mod logs;
mod metrics;
mod near_store;
mod other_words;
mod output;
mod paused;
mod process_group;
mod progress;
mod screen;
mod selection;
mod session;
mod settings;
mod several;
mod signals;
mod stderr;
mod streamed;
mod threads;
mod usage;
mod values;
mod verbs;
mod warnings;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches};

use args::{Cli, Verb};
use documents::Run;
use failure::{Exit, Failure};
use global::SOURCE_VARIABLE;
use output::{Output, plain};
use session::Session;
use settings::Settings;
use verbs::{
    annotate, compact, completions, config, copy, create, delete, demo, diff, drill, dump, export, find, import, list,
    man, pin, prune, restore, schedule, search, show, stats, status, store, verify, version,
};

/// Runs the command line with the arguments of this process.
///
/// This is a library so that another package can build the same program under another name: the end-to-end tests do.
pub fn main() -> ExitCode {
    if completion::answer(Cli::command) {
        return Exit::Success.into();
    }
    match parse() {
        Ok((cli, command)) => run(cli, command).into(),
        Err(answer) => usage::answer(answer).into(),
    }
}

/// Parses the arguments. A name of the source that is set but empty in the environment, as scripts and services leave it
/// if they have none, is no name. An empty `--source` is a mistake. Returns the words of the command, too.
fn parse() -> Result<(Cli, String), clap::Error> {
    let mut command = args::program();
    if std::env::var_os(SOURCE_VARIABLE).is_some_and(|name| name.is_empty()) {
        for verb in ["create", "import"] {
            command =
                command.mut_subcommand(verb, |verb| verb.mut_arg("source", |source| source.env(Resettable::Reset)));
        }
    }
    let mut matches = command.try_get_matches_from_mut(help::without_options(std::env::args_os()))?;
    let words = std::iter::successors(matches.subcommand(), |(_, inner)| inner.subcommand()).map(|(word, _)| word);
    let words = words.collect::<Vec<_>>().join(" ");
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, words))
}

fn run(cli: Cli, words: String) -> Exit {
    let output = output(&cli);
    let mut run = Run::start(Some(words.clone()), cli.global.store.clone());
    let (answer, warnings) = match start(cli, run.clone()) {
        Ok((runtime, session, verb)) => {
            tracing::info!(command = words, "started");
            session.warn_of_unused_options(verb.stores_data());
            let answer = runtime.block_on(call(&session, verb));
            // Waits for other threads, so that every temporary file is removed.
            drop(runtime);
            let mut answer = answer.map_err(|failure| failure.with_interrupt_report().about(session.only_id()));
            // After the report of what is left, which lists the store.
            if !matches!(answer, Ok(Exit::Success)) {
                session.remove_created();
            }
            let warnings = session.warnings.list();
            if matches!(answer, Ok(Exit::Success)) && !warnings.is_empty() {
                answer = if session.strict { Err(Failure::strict(warnings.len())) } else { Ok(Exit::Warnings) };
            }
            run = session.run;
            (answer, warnings)
        }
        Err(failure) => (Err(failure), Vec::new()),
    };
    let exit = answer.unwrap_or_else(|failure| {
        output.failure(&run, &failure, &warnings);
        failure.exit()
    });
    tracing::info!(exit_code = exit as u8, "ended");
    exit
}

fn output(cli: &Cli) -> Output {
    Output::new(&cli.global, cli.verb.is_output_its_purpose())
}

fn start(cli: Cli, run: Run) -> Result<(tokio::runtime::Runtime, Session, Verb), Failure> {
    let output = output(&cli);
    logs::start(&cli.global)?;
    threads::check_open_files()?;
    let signals = signals::listen(output, cli.verb.reloads_config())?;
    let settings = Settings::read(&cli.global, cli.verb.reads_config())?;
    if let Some(found) = &settings.found {
        tracing::info!(path = %plain(&found.path.display().to_string()), "read the configuration file");
    }
    let runtime = threads::runtime()?;
    Ok((runtime, Session::new(cli.global, output, settings, run, signals), cli.verb))
}

async fn call(session: &Session, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Create(args) => create::create(session, args).await,
        Verb::List(args) => list::list(session, &args).await,
        Verb::Stats(args) => stats::stats(session, &args).await,
        Verb::Status(args) => status::status(session, &args).await,
        Verb::Show(args) => show::show(session, &args).await,
        Verb::Verify(args) => verify::verify(session, args).await,
        Verb::Restore(args) => restore::restore(session, args).await,
        Verb::Dump(args) => dump::dump(session, &args).await,
        Verb::Export(args) => export::export(session, args).await,
        Verb::Import(args) => import::import(session, args).await,
        Verb::Find(args) => find::find(session, &args).await,
        Verb::Diff(args) => diff::diff(session, &args).await,
        Verb::Drill(args) => drill::drill(session, args).await,
        Verb::Search(args) => search::search(session, args).await,
        Verb::Delete(args) => delete::delete(session, &args).await,
        Verb::Copy(args) => copy::copy(session, &args).await,
        Verb::Compact(args) => compact::compact(session, &args).await,
        Verb::Annotate(args) => annotate::annotate(session, args).await,
        Verb::Pin(args) => pin::pin(session, &args).await,
        Verb::Unpin(args) => pin::unpin(session, &args).await,
        Verb::Prune(args) => prune::prune(session, &args).await,
        Verb::Schedule(args) => schedule::schedule(session, &args).await,
        Verb::Store(args) => store::store(session, args.what).await,
        Verb::Config(args) => config::config(session, &args.what),
        Verb::Demo(args) => demo::demo(session, args).await,
        Verb::Version => version::version(session),
        Verb::Man(args) => man::man(session.output, &args, args::program()),
        Verb::Completions(args) => completions::completions(session.output, &args),
    }
}
