//! The commands and their options. The long help texts are in `help`, and what the values of options can be is in
//! `values`. No behavior.

mod values;

use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use ruvector_core::DistanceMetric;
use ruvector_snapshot::{
    Condition, DrillOptions, ExportFormat, GroupBy, LabelPattern, OnConflict, Span, TimeZone, VerifyDepth,
};

use crate::help;
pub(crate) use values::Pairs;
use values::{
    compression_level, condition, connections, count, embedding, export_format, grace, label, max_chain, metric,
    neighbors, new_path, on_conflict, probes, rate, recall, subset,
};

/// The store if none is given.
pub(crate) const STORE_DEFAULT: &str = "./snapshots";
/// The environment variable that gives the store.
pub(crate) const STORE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_STORE";

/// The environment variable that gives the name of the source.
pub(crate) const SOURCE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_SOURCE";

const COMMON: &str = "Common options";

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

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Store of the snapshots: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, global = true, help_heading = COMMON, value_name = "LOCATION", env = STORE_VARIABLE, hide_env_values = true, default_value = STORE_DEFAULT)]
    pub(crate) store: String,
    /// Option of the bucket, for example region=eu-west-1. Can be repeated. `store options` lists all of them. Put
    /// keys and secrets into the environment, where other users of this machine cannot see them
    // Parsed in `session`: a parser here would repeat the value in its error, and it may be a secret.
    #[arg(short = 'o', long = "option", global = true, help_heading = COMMON, value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// Number of concurrent requests, 1 to 1024, each with up to 8 MiB of memory [default: 4]
    #[arg(long, global = true, help_heading = COMMON, value_name = "N", value_parser = connections)]
    pub(crate) connections: Option<usize>,
    /// Limit the upload rate, in bytes per second, for example 500K or 20M
    #[arg(long, global = true, help_heading = COMMON, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<u64>,
    /// Limit the download rate, in bytes per second, for example 500K or 20M
    #[arg(long, global = true, help_heading = COMMON, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_download: Option<u64>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = COMMON)]
    pub(crate) json: bool,
    /// Do not print progress
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a snapshot of a database file
    #[command(after_long_help = help::CREATE)]
    Create(Create),
    /// List the snapshots, newest first
    #[command(after_long_help = help::LIST)]
    List,
    /// Show details of one snapshot
    #[command(after_long_help = help::SHOW)]
    Show(Show),
    /// Check that snapshots are intact
    #[command(after_long_help = help::VERIFY)]
    Verify(Verify),
    /// Restore a snapshot to a database file
    #[command(after_long_help = help::RESTORE)]
    Restore(Restore),
    /// Print records of a snapshot, as JSON Lines
    #[command(after_long_help = help::DUMP)]
    Dump(Dump),
    /// Export the records of a snapshot to files for other programs
    #[command(after_long_help = help::EXPORT)]
    Export(Export),
    /// Import a file of the crate ruvector-snapshot 2.3.0
    #[command(after_long_help = help::IMPORT)]
    Import(Import),
    /// Find the snapshots that have a record
    #[command(after_long_help = help::FIND)]
    Find(Find),
    /// Compare two snapshots
    #[command(after_long_help = help::DIFF)]
    Diff(Diff),
    /// Rehearse a recovery, and measure it
    #[command(after_long_help = help::DRILL)]
    Drill(Drill),
    /// Search a snapshot for the nearest vectors, without restoring it
    #[command(after_long_help = help::SEARCH)]
    Search(Search),
    /// Delete snapshots
    #[command(after_long_help = help::DELETE)]
    Delete(Delete),
    /// Copy snapshots to another store
    #[command(after_long_help = help::COPY)]
    Copy(Copies),
    /// Turn an incremental snapshot into a full one
    #[command(after_long_help = help::COMPACT)]
    Compact(Compact),
    /// Protect snapshots from deletion
    #[command(after_long_help = help::PIN)]
    Pin(Ids),
    /// Allow pinned snapshots to be deleted
    #[command(after_long_help = help::UNPIN)]
    Unpin(Ids),
    /// Apply a retention policy
    #[command(after_long_help = help::PRUNE)]
    Prune(Prune),
    /// Test a store, or list the options of buckets
    #[command(after_long_help = help::STORE, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
    Store(Store),
    /// Try everything on a small database
    #[command(after_long_help = help::DEMO)]
    Demo(Demo),
    /// Print a shell completion script
    #[command(after_long_help = help::COMPLETIONS)]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Database file to back up
    #[arg(long, value_name = "FILE")]
    pub(crate) db: PathBuf,
    /// Name of the snapshot; need not be unique [default: the file name without its extension, or the name of the
    /// directory of a file vectors.db]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Create an incremental snapshot based on this one: an id, a prefix, a name, or latest
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// Name of the database, wherever it is. Without it, the path and the host identify the database
    #[arg(long, value_name = "NAME", env = SOURCE_VARIABLE, hide_env_values = true)]
    pub(crate) source: Option<String>,
    /// Accept a base of another database or path
    #[arg(long, requires = "base")]
    pub(crate) base_from_elsewhere: bool,
    /// What is known of the embedding model of the vectors, for example model=all-MiniLM-L6-v2,normalized=true. Can be
    /// repeated. An increment without it has that of its base
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = embedding)]
    pub(crate) embedding: Vec<Pairs>,
    /// Accept a base of another embedding model
    #[arg(long, requires = "base")]
    pub(crate) other_embedding: bool,
    /// Fail if the snapshot would not hold something that belongs to the database
    #[arg(long)]
    pub(crate) strict: bool,
    /// Maximum number of snapshots in the chain, including this one, 1 to 1000 [default: 32]
    #[arg(long, value_name = "N", requires = "base", value_parser = max_chain)]
    pub(crate) max_chain: Option<usize>,
    /// Read and verify the whole chain of the base first, as `verify` does. It takes as long as a `verify` of the base
    #[arg(long, requires = "base")]
    pub(crate) verify_base: bool,
    /// Label to store with the snapshot. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Compression level, from 0 (none) to 9 (smallest and slowest)
    #[arg(long, value_name = "0-9", default_value_t = 6, value_parser = compression_level)]
    pub(crate) compression_level: u32,
    /// Store without compression
    #[arg(long, conflicts_with = "compression_level")]
    pub(crate) no_compression: bool,
    /// Verify the base as with --verify-base, and read the stored data back and compare it before the commit. It
    /// downloads as much as it uploads
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Fail if the store has no snapshots yet. For scheduled backups: the disk may not be mounted
    #[arg(long)]
    pub(crate) require_store: bool,
    /// Directory for a private copy of a database that is being written [default: the system's temporary
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot verify [OPTIONS] <ID|--all>")]
pub(crate) struct Verify {
    /// An id, a prefix of an id, a name, or latest
    #[arg(required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// Verify every snapshot in the store
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// Check metadata, existence and sizes only; read no data
    #[arg(long, conflicts_with = "subset")]
    pub(crate) quick: bool,
    /// Read one part of the data, for example 2/7, or a random sample, for example 10%
    #[arg(long, value_name = "PART", value_parser = subset)]
    pub(crate) subset: Option<VerifyDepth>,
    /// Skip what was found intact within this time, for example 7d
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_age: Option<Span>,
    /// Do not record the result in the store
    #[arg(long)]
    pub(crate) no_record: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Database file to write
    #[arg(long, value_name = "FILE", value_parser = new_path())]
    pub(crate) to: PathBuf,
    /// Replace FILE if it exists and no program holds its lock, as Ruvector does
    #[arg(long)]
    pub(crate) force: bool,
    /// With --force: replace FILE even while a program holds its lock. What that program writes afterwards is lost
    #[arg(long, requires = "force")]
    pub(crate) force_while_open: bool,
    /// Replace FILE, or merge into it, even if it records another embedding model than that of the snapshot
    #[arg(long)]
    pub(crate) other_embedding: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Merge the records into the database FILE, which must exist and be closed
    #[arg(long, conflicts_with = "force")]
    pub(crate) merge: bool,
    /// With --merge: what happens if FILE has another record with the same id: fail, and merge nothing; keep that record;
    /// or replace it [default: fail]
    #[arg(long, value_name = "WHAT", requires = "merge", value_parser = on_conflict())]
    pub(crate) on_conflict: Option<OnConflict>,
    /// Print what a restore of all records would read and write, and everything that is in its way. Write nothing
    #[arg(long, conflicts_with_all = ["merge", "ids", "ids_from", "conditions"])]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Print only records whose ids come after this one, for example the last one of a dump that was interrupted
    #[arg(long, value_name = "RECORD_ID")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Directory to create
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) to: PathBuf,
    /// Format of the files
    #[arg(long, default_value_t, value_parser = export_format())]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// File to import, ID.snapshot.gz. Its sidecar ID.metadata.json must be beside it
    pub(crate) file: PathBuf,
    /// Name of the snapshot [default: the name of the collection in FILE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Name of the database, wherever it is [default: the name of the collection in FILE]
    #[arg(long, value_name = "NAME", env = SOURCE_VARIABLE, hide_env_values = true)]
    pub(crate) source: Option<String>,
    /// Label to store with the snapshot. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Import FILE without its sidecar. Then nothing shows that the contents are those that were written
    #[arg(long)]
    pub(crate) unverified: bool,
    /// Directory in which the records are sorted, in a file without a name [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// The id of the record
    #[arg(value_name = "RECORD_ID")]
    pub(crate) record_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first snapshot: an id, a prefix of an id, a name, or latest
    #[arg(value_name = "ID")]
    pub(crate) first: String,
    /// The second snapshot, which is compared with the first one
    #[arg(value_name = "OTHER_ID")]
    pub(crate) second: String,
    /// Store of the second snapshot, if it is not that of the first
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Option<String>,
    /// Option of the bucket of --to, for example region=eu-west-1. Can be repeated. The options of -o are those of --store
    /// alone; the environment is for both
    // Parsed in `session`, as those of -o.
    #[arg(long = "to-option", value_name = "KEY=VALUE", requires = "to")]
    pub(crate) to_options: Vec<String>,
    /// Print each record that differs, and then the counts
    #[arg(long)]
    pub(crate) list: bool,
    /// Print each record that differs as a line of JSON, and nothing else
    #[arg(long, conflicts_with_all = ["list", "json"])]
    pub(crate) jsonl: bool,
    /// End with exit code 1 if the snapshots differ
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Drill {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Number of records whose vectors are searched for, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = probes)]
    pub(crate) probes: usize,
    /// Fail if the restored database finds less than this share of the nearest neighbors, from 0 to 1
    #[arg(long, value_name = "RECALL", default_value_t = DrillOptions::default().min_recall, value_parser = recall)]
    pub(crate) min_recall: f64,
    /// Directory to restore the database in, which must exist and needs as much space as the database [default: the
    /// system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Do not record the drill beside the snapshot
    #[arg(long)]
    pub(crate) no_record: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot search <ID> <--like RECORD_ID|--query FILE> [OPTIONS]")]
pub(crate) struct Search {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Search for the vector that this record has in the snapshot. The record itself is not among its results. Can be
    /// repeated
    #[arg(long = "like", value_name = "RECORD_ID", required_unless_present = "query")]
    pub(crate) like: Vec<String>,
    /// Search for the vectors in FILE, one on each line, as a JSON array of numbers or as `dump` prints a record; - for
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) query: Option<PathBuf>,
    /// Number of neighbors of each vector
    #[arg(short = 'k', long = "neighbors", value_name = "N", default_value_t = 10, value_parser = neighbors)]
    pub(crate) k: usize,
    /// Only records whose metadata has this, as for `restore`. Can be repeated, and then all must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    pub(crate) conditions: Vec<Condition>,
    /// Print the metadata of the neighbors too
    #[arg(long)]
    pub(crate) with_metadata: bool,
    /// Metric of a snapshot that records none: euclidean, cosine, dot-product or manhattan
    #[arg(long, value_name = "METRIC", hide_possible_values = true, value_parser = metric())]
    pub(crate) metric: Option<DistanceMetric>,
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only the record with this id. Can be repeated
    #[arg(long = "id", value_name = "RECORD_ID")]
    pub(crate) ids: Vec<String>,
    /// Only the records with the ids in FILE, one on each line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) ids_from: Option<PathBuf>,
    /// Only records whose metadata has this: PATH=VALUE, !=, <, <=, >, >=, or `PATH exists`. Can be repeated, and then all
    /// must hold
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Also delete all snapshots that depend on them
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Delete without writing anything to the store. Only if no other command is at work at this store: a snapshot that is
    /// being created could lose its base
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot copy <ID...|--all|--name NAME> --to <LOCATION> [OPTIONS]")]
pub(crate) struct Copies {
    /// Ids, prefixes of ids, names, or latest
    #[arg(value_name = "ID", required_unless_present_any = ["all", "name"])]
    pub(crate) ids: Vec<String>,
    /// Copy every snapshot in the store
    #[arg(long, conflicts_with_all = ["ids", "name"])]
    pub(crate) all: bool,
    /// Copy every snapshot with this name
    #[arg(long, conflicts_with = "ids")]
    pub(crate) name: Option<String>,
    /// Store to copy to: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: String,
    /// Option of the bucket of --to, for example region=eu-west-1. Can be repeated. The options of -o are those of --store
    /// alone; the environment is for both
    // Parsed in `session`, as those of -o.
    #[arg(long = "to-option", value_name = "KEY=VALUE")]
    pub(crate) to_options: Vec<String>,
    /// Store the state of an incremental snapshot as one full snapshot with a new id, and not the snapshots that it
    /// depends on
    #[arg(long)]
    pub(crate) compact: bool,
    /// Pin snapshots that are pinned
    #[arg(long)]
    pub(crate) pins: bool,
    /// Read the stored data back and compare it before the commit. It downloads as much as it uploads
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Print what would be copied, and copy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot prune RULE... [OPTIONS]")]
pub(crate) struct Prune {
    /// Apply the rules to each group of snapshots on its own: source, name, label:KEY, or none for all snapshots
    /// together
    #[arg(long, value_name = "GROUP", default_value_t)]
    pub(crate) group_by: GroupBy,
    /// Time zone of days and other periods, by its IANA name
    #[arg(long, value_name = "ZONE", default_value_t)]
    pub(crate) time_zone: TimeZone,
    /// Age at which orphans are collected, for example 24h, 90m or 0s. A create or a delete that is still running and
    /// older than this may fail and must be repeated. No kept snapshot is lost: markers beside a snapshot are kept for
    /// at least one hour
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: TimeDelta,
    /// Delete without writing anything to the store. Only if no other command is at work at this store: a snapshot that is
    /// being created could lose its base
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Print what would be kept, deleted and collected, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    // The heading applies to all options that follow.
    #[command(flatten)]
    pub(crate) rules: Rules,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Rules, at least one")]
pub(crate) struct Rules {
    /// Keep the newest N snapshots
    #[arg(long, visible_alias = "keep", value_name = "N", value_parser = count)]
    pub(crate) keep_last: Option<usize>,
    /// Keep the newest of each of the last N hours
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_hourly: Option<usize>,
    /// Keep the newest of each of the last N days
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_daily: Option<usize>,
    /// Keep the newest of each of the last N weeks
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_weekly: Option<usize>,
    /// Keep the newest of each of the last N months
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_monthly: Option<usize>,
    /// Keep the newest of each of the last N quarters
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_quarterly: Option<usize>,
    /// Keep the newest of each of the last N years
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_yearly: Option<usize>,
    /// Keep all that are at most this much older than the newest: years, months, days and hours, for example
    /// 1y5m7d2h
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Keep all with this label, for example host or host=db1. Can be repeated
    #[arg(long = "keep-label", value_name = "KEY[=VALUE]")]
    pub(crate) keep_labels: Vec<LabelPattern>,
}

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) what: StoreWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreWhat {
    /// Test what snapshots need of the store, and measure it
    #[command(after_long_help = help::STORE_CHECK)]
    Check,
    /// List the options for -o, and their environment variables
    Options {
        /// Only the options of this kind of bucket
        #[arg(value_parser = ["s3", "gs", "az"])]
        scheme: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// New or empty directory to work in [default: a temporary one that is removed at the end]
    #[arg(value_parser = new_path())]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}
