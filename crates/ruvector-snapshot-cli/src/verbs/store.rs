//! `store`: tests a store, and lists the options of buckets.

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use ruvector_snapshot::store::{CheckStatus, Speed, known_options};
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output::size;
use crate::session::Session;

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

Exit codes: 0 snapshots are safe there; 1 they are not, or the store could not be reached; 2 wrong usage.";

#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub(crate) what: StoreWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreWhat {
    /// Test what snapshots need of the store, and measure it
    #[command(after_long_help = CHECK_HELP)]
    Check,
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

/// Columns after which the text of a table is wrapped.
const TABLE_COLUMNS: u16 = 120;

pub(crate) async fn store(session: &Session, what: StoreWhat) -> Result<Exit, Failure> {
    match what {
        StoreWhat::Check => check(session).await,
        StoreWhat::Options { scheme } => options(session, scheme.as_deref()),
    }
}

async fn check(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let after_interrupt = || "the objects of the check were removed".to_owned();
    let report = session.run(&manager, manager.check_store(), after_interrupt).await?;
    let output = session.output;
    let warnings = session.warnings.list();
    output.document(
        &json!({ "store": session.store, "safe": report.is_safe(), "report": report, "warnings": warnings }),
    )?;
    let findings = report.findings.iter().map(|finding| {
        let status = match finding.status {
            CheckStatus::Pass => "PASS",
            CheckStatus::Fail => "FAIL",
            _ => "WARN",
        };
        [finding.name.to_owned(), status.to_owned(), finding.detail.clone()]
    });
    print_table(session, ["CHECK", "RESULT", ""], findings)?;
    if let Some(speed) = &report.speed {
        print_speed(session, speed)?;
    }
    output.line(match report.is_safe() {
        true => format!("snapshots are safe at {}", session.store),
        false => format!("do not keep snapshots at {}: see the checks with FAIL above", session.store),
    })?;
    Ok(if report.is_safe() { Exit::Success } else { Exit::Failure })
}

fn print_speed(session: &Session, speed: &Speed) -> Result<(), Failure> {
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1000.0);
    let (head, get, create) = (ms(speed.head_seconds), ms(speed.get_seconds), ms(speed.create_seconds));
    session
        .output
        .line(format_args!("latency                      head {head}, get {get}, create {create} (median)"))?;
    let rate = |bytes: f64| format!("{}/s", size(bytes as u64));
    let (up, down) = (rate(speed.upload_bytes_per_second), rate(speed.download_bytes_per_second));
    session
        .output
        .line(format_args!("throughput                   {up} written to the store, {down} read from it (64 MiB)"))
}

fn options(session: &Session, scheme: Option<&str>) -> Result<Exit, Failure> {
    let schemes = SCHEMES.into_iter().filter(|(known, _)| scheme.is_none_or(|scheme| scheme == *known));
    let mut documents = Vec::new();
    for (at, (scheme, is_built_in)) in schemes.enumerate() {
        let known = known_options(scheme);
        documents.extend(known.iter().map(|option| {
            let (name, environment, description) = (option.name, option.environment, option.description);
            json!({ "scheme": scheme, "name": name, "environment": environment, "description": description })
        }));
        if at > 0 {
            session.output.line("")?;
        }
        if !is_built_in {
            session.output.line(format_args!("{scheme}:// is not built into this program"))?;
        }
        let rows = known
            .into_iter()
            .map(|option| [option.name.to_owned(), option.environment.join("\n"), option.description.to_owned()]);
        print_table(session, [&format!("{scheme}://"), "ENVIRONMENT", "DESCRIPTION"], rows)?;
    }
    session.output.document(&documents)?;
    Ok(Exit::Success)
}

fn print_table(session: &Session, header: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(TABLE_COLUMNS);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt().lines().try_for_each(|line| session.output.line(line))
}
