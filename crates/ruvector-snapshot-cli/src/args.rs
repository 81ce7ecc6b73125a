//! The program and its commands. The options of a command and its help are in the file of its name in `verbs`. No
//! behavior.

use clap::{Parser, Subcommand};

use crate::global::Global;
use crate::help;
use crate::verbs::{
    compact, completions, copy, create, delete, demo, diff, drill, dump, export, find, import, list, pin, prune,
    restore, search, show, store, verify,
};

/// Consistent, verified backups for Ruvector vector databases.
#[derive(Debug, Parser)]
#[command(name = "ruvector-snapshot", version, before_long_help = help::OVERVIEW, after_help = help::EXAMPLES, max_term_width = 100)]
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
    #[command(after_long_help = create::HELP)]
    Create(create::Create),
    /// List the snapshots, newest first
    #[command(after_long_help = list::HELP)]
    List,
    /// Show details of one snapshot
    #[command(after_long_help = show::HELP)]
    Show(show::Show),
    /// Check that snapshots are intact
    #[command(after_long_help = verify::HELP)]
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
    #[command(after_long_help = delete::HELP)]
    Delete(delete::Delete),
    /// Copy snapshots to another store
    #[command(after_long_help = copy::HELP)]
    Copy(copy::Copies),
    /// Turn an incremental snapshot into a full one
    #[command(after_long_help = compact::HELP)]
    Compact(compact::Compact),
    /// Protect snapshots from deletion
    #[command(after_long_help = pin::HELP)]
    Pin(pin::Ids),
    /// Allow pinned snapshots to be deleted
    #[command(after_long_help = pin::UNPIN_HELP)]
    Unpin(pin::Ids),
    /// Apply a retention policy
    #[command(after_long_help = prune::HELP)]
    Prune(prune::Prune),
    /// Test a store, or list the options of buckets
    #[command(after_long_help = store::HELP, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
    Store(store::Store),
    /// Try everything on a small database
    #[command(after_long_help = demo::HELP)]
    Demo(demo::Demo),
    /// Print a shell completion script
    #[command(after_long_help = completions::HELP)]
    Completions(completions::Completions),
}
