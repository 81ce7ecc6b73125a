//! `compact`: turns an incremental snapshot into a full one.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{ErrorKind, Snapshot, Transferred};
use serde_json::json;

use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{counted, pace, print_transferred, shape, size, timestamp, total};
use crate::progress::ProgressDisplay;
use crate::session::Session;

pub(crate) const HELP: &str = "\
Reads the chain of an incremental snapshot and stores its state as a full snapshot. The database is not needed. The new snapshot has the name, the time \
and the content checksum of the incremental one. The chain is kept; delete it when you no longer need it. A compact that fails or is interrupted leaves \
no new snapshot.

Examples:
  ruvector-snapshot compact latest
  ruvector-snapshot compact 20260131T080000000Z-0123456789abcdef \\
      --store s3://bucket/backups

Exit codes: 0 stored; 1 failure, there is no new snapshot unless the error says that there may be one, or the snapshot is already full; 2 the ID is \
ambiguous; 3 the chain is corrupt.";

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
}

pub(crate) async fn compact(session: &Session, args: &Compact) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let chain = session.read(&manager, manager.chain(&id)).await;
    // What is wrong with stored data is reported by the compaction, which says what that was fatal to.
    let is_of_data =
        |failure: &Failure| [ErrorKind::Corrupt, ErrorKind::Unsupported].map(kind_name).contains(&failure.kind());
    let chain = match chain {
        Err(failure) if !is_of_data(&failure) => return Err(failure),
        chain => chain,
    };
    let started = Instant::now();
    let attempts = Attempts::default();
    let (snapshot, transferred) = {
        let progress = ProgressDisplay::new(session, &attempts);
        let after_interrupt = attempts.report(&manager, session.location()?);
        let work = manager.compact_snapshot(&id, Some(progress.listener()));
        (session.run(&manager, work, after_interrupt).await?, progress.transferred())
    };
    let chain = chain?;
    let taken = (transferred, started.elapsed());
    print(session, &snapshot, &chain, taken).map_err(|failure| failure.after_create(&snapshot.id))?;
    Ok(Exit::Success)
}

fn print(
    session: &Session,
    snapshot: &Snapshot,
    chain: &[Snapshot],
    (transferred, taken): (Transferred, Duration),
) -> Result<(), Failure> {
    let output = session.output;
    let from: Vec<&str> = chain.iter().map(|member| member.id.as_str()).collect();
    let chain_bytes = total(chain.iter().map(|member| member.size_bytes));
    output.document_of(
        snapshot,
        &json!({
            "from": from, "chain_bytes": chain_bytes, "store": session.store, "warnings": session.warnings.list(),
            "not_captured": snapshot.source.not_captured,
            "seconds": taken.as_secs_f64(), "store_read_bytes": transferred.store_read_bytes,
            "store_written_bytes": transferred.store_written_bytes,
        }),
    )?;
    output.line(format_args!("created {}, full", snapshot.id))?;
    output.field("from", format_args!("{}", from.first().copied().unwrap_or_default()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", timestamp(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    let length = counted(chain.len() as u64, "snapshot");
    let sizes = format!("{} in the store; its chain of {length} has {}", size(snapshot.size_bytes), size(chain_bytes));
    output.field("size", sizes)?;
    output.field("time", pace(taken, snapshot.vector_count as u64, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output.field("verified", "the content checksum is that of the incremental snapshot:")?;
    output.field("", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    output.line("the chain was kept; delete it when you no longer need it")
}
