//! `store`: tests a store, and lists the options of buckets.

use clap::{Args, Subcommand};
use ruvector_snapshot::store::{CheckStatus, KnownOption, Speed, StoreReport, check_access, known_options};

use crate::documents::{OptionDocument, StoreCheckDocument, StoreCheckPlanDocument, StoreOptionsDocument};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Column, Output, Table, Text, Tone, counted, size};
use crate::session::Session;
use crate::verbs::space::{self, Needed};

pub(crate) const HELP: &str = "\
Examples:
  ruvector-snapshot store check --store s3://bucket/backups
  ruvector-snapshot store options s3";

const CHECK_HELP: &str = "\
Writes objects under a prefix of its own beside the snapshots, reads, lists and deletes them, and measures latency and throughput. Sends and reads about \
100 MiB.

RESULT is PASS, WARN (the store lacks something, but snapshots are safe without it) or FAIL (snapshots are not safe there). A store that ignores \
If-None-Match gets a WARN: no two snapshots ever have the same id, so snapshots are safe.

Examples:
  ruvector-snapshot store check --store /mnt/backup
  ruvector-snapshot store check --store s3://bucket/backups \\
      -o endpoint=https://minio.example:9000
  ruvector-snapshot store check --store s3://bucket/backups --dry-run

Exit codes: 0 snapshots are safe there; 1 they are not, or the store could not be reached; 2 wrong usage; 5 snapshots are safe there, with a WARN.";

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) what: StoreWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreWhat {
    /// Test what snapshots need of the store, and measure it
    #[command(after_long_help = CHECK_HELP)]
    Check {
        /// Print what would be written and read, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the options for -o, and their environment variables
    Options {
        /// Only the options of this kind of bucket
        #[arg(value_parser = ["s3", "gs", "az"])]
        scheme: Option<String>,
    },
}

/// The kinds of buckets, and whether this program was built with support for them.
const SCHEMES: [(&str, bool); 3] =
    [("s3", cfg!(feature = "aws")), ("gs", cfg!(feature = "gcp")), ("az", cfg!(feature = "azure"))];

/// Columns of the terminal for the name of a check.
const CHECK_COLUMNS: usize = 29;

pub(crate) async fn store(session: &Session, what: StoreWhat) -> Result<Exit, Failure> {
    match what {
        StoreWhat::Check { dry_run: true } => plan_check(session).await,
        StoreWhat::Check { dry_run: false } => check(session).await,
        StoreWhat::Options { scheme } => options(session, scheme.as_deref()),
    }
}

/// Prints what a check would write and read.
async fn plan_check(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let is_known = check_access(&session.location()?)?.is_known();
    let plan = session.read(&manager, manager.plan_check_store()).await?;
    space::check_store(session, &session.location()?, Needed::at_most(plan.written_bytes))?;
    session.document(&StoreCheckPlanDocument::new(&plan, is_known))?;
    let output = session.output;
    output.line(format_args!("would check {}", session.store))?;
    output.field("write", format_args!("{} at most, {}", size(plan.written_bytes), counted(plan.objects, "object")))?;
    output.field("read", format_args!("{} at most", size(plan.read_bytes)))?;
    output.field("under", format_args!("{}*/, which is removed again", plan.key_prefix))?;
    output.field(
        "access",
        match is_known {
            true => "this user can write to the directory",
            false => "the store can be listed; whether it can be written to was not tried",
        },
    )?;
    output.line("nothing was written (--dry-run)")?;
    Ok(Exit::Success)
}

async fn check(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let after_interrupt = || "the objects of the check were removed".to_owned();
    let report = session.run(&manager, manager.check_store(), after_interrupt).await?;
    warn_of_checks(session, &report);
    let output = session.output;
    session.document(&StoreCheckDocument::from(&report))?;
    let output = if report.is_safe() { output } else { output.always() };
    output.line(Text::default().tone(Tone::Heading, format_args!("{:<CHECK_COLUMNS$}RESULT", "CHECK")))?;
    for finding in &report.findings {
        let (tone, status) = match finding.status {
            CheckStatus::Pass => (Tone::Good, "PASS"),
            CheckStatus::Fail => (Tone::Bad, "FAIL"),
            _ => (Tone::Caution, "WARN"),
        };
        let name = Text::from(format_args!("{:<CHECK_COLUMNS$}", finding.name));
        let detail = if finding.detail.is_empty() { String::new() } else { format!("    {}", finding.detail) };
        output.column(&name.tone(tone, status).add(detail), CHECK_COLUMNS)?;
    }
    if let Some(speed) = &report.speed {
        print_speed(output, speed)?;
    }
    output.line(match report.is_safe() {
        true => format!("snapshots are safe at {}", session.store),
        false => format!("do not keep snapshots at {}: see the checks with FAIL above", session.store),
    })?;
    Ok(if report.is_safe() { Exit::Success } else { Exit::Failure })
}

/// Warns of what the store lacks, in a line. The table says more.
fn warn_of_checks(session: &Session, report: &StoreReport) {
    let lacking = report.findings.iter().filter(|finding| finding.status == CheckStatus::Warn);
    let names: Vec<&str> = lacking.map(|finding| finding.name).collect();
    if !names.is_empty() {
        session.warnings.add(&format!("not met, and not needed for safety: {}", names.join(", ")));
    }
}

fn print_speed(output: Output, speed: &Speed) -> Result<(), Failure> {
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1000.0);
    let (head, get, create) = (ms(speed.head_seconds), ms(speed.get_seconds), ms(speed.create_seconds));
    let field = |label: &str, value: String| {
        output.column(&Text::from(format_args!("{label:<CHECK_COLUMNS$}{value}")), CHECK_COLUMNS)
    };
    field("latency", format!("head {head}, get {get}, create {create} (median)"))?;
    let rate = |bytes: f64| format!("{}/s", size(bytes as u64));
    let (up, down) = (rate(speed.upload_bytes_per_second), rate(speed.download_bytes_per_second));
    field("throughput", format!("{up} written to the store, {down} read from it (64 MiB)"))
}

fn options(session: &Session, scheme: Option<&str>) -> Result<Exit, Failure> {
    let schemes = SCHEMES.into_iter().filter(|(known, _)| scheme.is_none_or(|scheme| scheme == *known));
    let mut options = Vec::new();
    for (at, (scheme, is_built_in)) in schemes.enumerate() {
        let known = known_options(scheme);
        options.extend(known.iter().map(|option| OptionDocument::new(scheme, option)));
        if at > 0 {
            session.output.line("")?;
        }
        if !is_built_in {
            session.output.line(format_args!("{scheme}:// is not built into this program"))?;
        }
        print_options(session.output, scheme, &known)?;
    }
    session.document(&StoreOptionsDocument { options })?;
    Ok(Exit::Success)
}

/// Prints a line for each option, or on a terminal, where a line has no room for that, a paragraph.
fn print_options(output: Output, scheme: &str, options: &[KnownOption]) -> Result<(), Failure> {
    if output.columns().is_some() {
        output.line(Text::default().tone(Tone::Heading, format_args!("{scheme}://")))?;
        return options.iter().try_for_each(|option| {
            output.line(Text::from("  ").tone(Tone::Heading, option.name))?;
            output.column(&Text::from(format_args!("      {}", option.description)), 6)?;
            match option.environment {
                [] => Ok(()),
                names => output.column(&Text::from("      ").tone(Tone::Aside, names.join(", ")), 6),
            }
        });
    }
    let head = match scheme {
        "s3" => "s3://",
        "gs" => "gs://",
        _ => "az://",
    };
    let mut table = Table::new([Column::new(head), Column::new("ENVIRONMENT"), Column::new("DESCRIPTION")]);
    for option in options {
        let name = option.name.to_owned();
        table.add([name.into(), option.environment.join(", ").into(), Cell::from(option.description)]);
    }
    output.table(&table)
}
