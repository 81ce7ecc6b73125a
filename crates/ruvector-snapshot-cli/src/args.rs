//! The program and its commands, and in which order its help says things. The options of a command and its help are in the
//! file of its name in `verbs`. No behavior.

use clap::{Arg, ArgAction, Command, CommandFactory as _, Parser, Subcommand};

use crate::global::Global;
use crate::help;
use crate::verbs::{
    annotate, compact, completions, config, copy, create, delete, demo, diff, drill, dump, export, find, import, list,
    man, pin, prune, restore, schedule, search, show, stats, status, store, verify, version,
};

/// Consistent, verified backups for Ruvector vector databases.
#[derive(Debug, Parser)]
#[command(name = "ruvector-snapshot", version, long_about = help::OVERVIEW, after_help = help::SHORT, after_long_help = help::after_help(), max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a snapshot of a database file
    #[command(aliases = ["backup", "snapshot", "save"], after_long_help = create::HELP)]
    Create(create::Create),
    /// List the snapshots, newest first
    #[command(aliases = ["snapshots", "ls", "info"], after_long_help = list::HELP)]
    List(list::List),
    /// Add up the sizes of the snapshots: of each database, type and day
    #[command(after_long_help = stats::HELP)]
    Stats(stats::Stats),
    /// Check that the databases are backed up: that the newest snapshots are young enough
    #[command(after_long_help = status::HELP)]
    Status(status::Status),
    /// Show details of snapshots
    #[command(after_long_help = show::HELP)]
    Show(show::Show),
    /// Check that snapshots are intact
    #[command(aliases = ["check"], after_long_help = verify::HELP)]
    Verify(verify::Verify),
    /// Restore a snapshot to a database file
    #[command(after_long_help = restore::HELP)]
    Restore(restore::Restore),
    /// Print records of a snapshot, as JSON Lines
    #[command(after_long_help = dump::HELP)]
    Dump(dump::Dump),
    /// Export the records of a snapshot to files for other programs
    #[command(after_long_help = export::HELP)]
    Export(export::Export),
    /// Import a file of the crate ruvector-snapshot 2.3.0
    #[command(after_long_help = import::HELP)]
    Import(import::Import),
    /// Find the snapshots that have a record
    #[command(after_long_help = find::HELP)]
    Find(find::Find),
    /// Compare two snapshots
    #[command(after_long_help = diff::HELP)]
    Diff(diff::Diff),
    /// Rehearse a recovery, and measure it
    #[command(after_long_help = drill::HELP)]
    Drill(drill::Drill),
    /// Search a snapshot for the nearest vectors, without restoring it
    #[command(after_long_help = search::HELP)]
    Search(search::Search),
    /// Delete snapshots
    #[command(aliases = ["rm", "remove"], after_long_help = delete::HELP)]
    Delete(delete::Delete),
    /// Copy snapshots to another store
    #[command(after_long_help = copy::HELP)]
    Copy(copy::Copies),
    /// Turn incremental snapshots into full ones
    #[command(after_long_help = compact::HELP)]
    Compact(compact::Compact),
    /// Change the labels and the note of snapshots
    #[command(after_long_help = annotate::HELP)]
    Annotate(annotate::Annotate),
    /// Protect snapshots from deletion
    #[command(after_long_help = pin::HELP)]
    Pin(pin::Ids),
    /// Allow pinned snapshots to be deleted
    #[command(after_long_help = pin::UNPIN_HELP)]
    Unpin(pin::Ids),
    /// Apply a retention policy
    #[command(aliases = ["expire"], after_long_help = prune::HELP)]
    Prune(prune::Prune),
    /// Run the jobs of the configuration file when they are due, or now
    #[command(after_long_help = schedule::HELP)]
    Schedule(schedule::Schedule),
    /// Test a store, or list the options of buckets
    #[command(after_long_help = store::HELP, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
    Store(store::Store),
    /// Show the settings that apply, and check the configuration file
    #[command(after_long_help = config::HELP, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
    Config(config::Config),
    /// Try everything on a small database
    #[command(after_long_help = demo::HELP)]
    Demo(demo::Demo),
    /// Print a shell completion script
    #[command(after_long_help = completions::HELP)]
    Completions(completions::Completions),
    /// Print the version, and what is built in
    #[command(after_long_help = version::HELP)]
    Version,
    /// Write the manual pages
    #[command(after_long_help = man::HELP)]
    Man(man::Manual),
}

impl Verb {
    /// Returns whether the command stores data files of snapshots at `--store`.
    pub(crate) fn stores_data(&self) -> bool {
        let is_check = |store: &store::Store| matches!(store.what, store::StoreWhat::Check { .. });
        match self {
            Self::Create(_) | Self::Import(_) | Self::Compact(_) => true,
            Self::Store(store) => is_check(store),
            _ => false,
        }
    }
}

/// Columns of the names of options in the short list of global options.
const NAME_COLUMNS: usize = 27;
/// Columns of the lines of that list.
const LINE_COLUMNS: usize = 80;

/// Returns the program. The help of a command says first what it does: the first paragraph of its text leads. Then come the
/// usage, its options, the rest of its text, and the options of every command, in short.
pub(crate) fn program() -> Command {
    let program = Cli::command();
    let globals: Vec<Arg> = program.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let list = globals.iter().filter(|arg| !arg.is_hide_set()).map(described).collect::<Vec<_>>().join("\n");
    let name = program.get_name().to_owned();
    let program = program.mut_args(|arg| if arg.is_global_set() { arg.hide_short_help(true) } else { arg });
    program.mut_subcommands(|command| arranged(command, &name, &globals, &list))
}

fn arranged(command: Command, parent: &str, globals: &[Arg], list: &str) -> Command {
    let path = format!("{parent} {}", command.get_name());
    let command = command.args(globals.iter().map(|global| global.clone().hide(true)));
    // Made here, because a usage line in an error would also name the options that the environment gives.
    let usage = command.clone().bin_name(&path).render_usage().to_string();
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let (lead, rest) = match text.split_once("\n\n") {
        Some((lead, rest)) if !lead.starts_with("Examples:") => (format!("{about}.\n\n{lead}"), format!("{rest}\n\n")),
        _ if text.is_empty() => (about, String::new()),
        _ => (about, format!("{text}\n\n")),
    };
    command
        .override_usage(usage.trim_start_matches("Usage: ").to_owned())
        .long_about(lead)
        .after_long_help(format!("{rest}Global options (`ruvector-snapshot --help` explains them):\n{list}"))
        .after_help("`--help` explains more, with examples and the global options.")
        .mut_subcommands(|command| arranged(command, &path, globals, list))
}

/// Returns an option and the first sentence of its help, in lines of at most [`LINE_COLUMNS`].
fn described(arg: &Arg) -> String {
    let long = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let short = arg.get_short().map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => arg.get_value_names().and_then(|names| names.first()),
        _ => None,
    };
    let value = value.map(|name| format!(" <{name}>")).unwrap_or_default();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let sentence = help.split(". ").next().unwrap_or_default().split(" [").next().unwrap_or_default().to_owned();
    let mut lines = vec![format!("  {:<NAME_COLUMNS$}", format!("{short}{long}{value}"))];
    for word in sentence.split(' ') {
        let is_full = lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > LINE_COLUMNS);
        if is_full {
            lines.push(" ".repeat(NAME_COLUMNS + 2));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

impl Verb {
    /// Returns whether the command uses the configuration file. Mistakes in it do not stop the others.
    pub(crate) fn reads_config(&self) -> bool {
        match self {
            Self::Demo(_) | Self::Completions(_) | Self::Man(_) | Self::Version => false,
            // What may be in a file is no use if a wrong file is in the way.
            Self::Store(args) => !matches!(args.what, store::StoreWhat::Options { .. }),
            // They read it themselves.
            Self::Config(config) => matches!(config.what, config::What::Show),
            _ => true,
        }
    }

    /// Returns whether SIGHUP reads the configuration file again, and does not stop the command.
    pub(crate) fn reloads_config(&self) -> bool {
        matches!(self, Self::Schedule(args) if args.is_daemon())
    }

    /// Returns whether a user runs the command for its output, which is then printed even with --quiet. The others do
    /// something, and say so.
    pub(crate) fn is_output_its_purpose(&self) -> bool {
        match self {
            Self::List(_)
            | Self::Stats(_)
            | Self::Show(_)
            | Self::Dump(_)
            | Self::Find(_)
            | Self::Diff(_)
            | Self::Search(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Version => true,
            Self::Annotate(args) => args.dry_run,
            Self::Pin(args) | Self::Unpin(args) => args.dry_run,
            Self::Schedule(args) => args.next.is_some(),
            Self::Verify(args) => args.dry_run,
            Self::Drill(args) => args.dry_run,
            Self::Create(args) => args.dry_run,
            Self::Compact(args) => args.dry_run,
            Self::Import(args) => args.dry_run,
            Self::Export(args) => args.dry_run,
            Self::Restore(args) => args.dry_run,
            Self::Delete(args) => args.dry_run,
            Self::Copy(args) => args.dry_run,
            Self::Prune(args) => args.dry_run,
            Self::Store(args) => !matches!(args.what, store::StoreWhat::Check { dry_run: false }),
            _ => false,
        }
    }
}
