//! `compact`: turns an incremental snapshot into a full one.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::time::{Duration, Instant};

use ruvector_snapshot::{ErrorKind, Snapshot};
use serde_json::json;

use crate::args::Compact;
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{counted, pace, shape, size, timestamp};
use crate::progress::ProgressDisplay;
use crate::session::Session;

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
    let snapshot = {
        let progress = ProgressDisplay::new(session, &attempts);
        let after_interrupt = attempts.report(&manager, session.location()?);
        session.run(&manager, manager.compact_snapshot(&id, Some(progress.listener())), after_interrupt).await?
    };
    let chain = chain?;
    let stored = || format!("the snapshot {} was created before that, and it is complete", snapshot.id);
    print(session, &snapshot, &chain, started.elapsed()).map_err(|failure| failure.with_hint(stored()))?;
    Ok(Exit::Success)
}

fn print(session: &Session, snapshot: &Snapshot, chain: &[Snapshot], taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    let from: Vec<&str> = chain.iter().map(|member| member.id.as_str()).collect();
    let chain_bytes: u64 = chain.iter().map(|member| member.size_bytes).sum();
    output.document(&json!({
        "snapshot": snapshot, "from": from, "chain_bytes": chain_bytes, "store": session.store, "warnings": session.warnings.list(),
        "not_captured": snapshot.source.not_captured,
        "seconds": taken.as_secs_f64(),
    }))?;
    output.line(format_args!("created {}, full", snapshot.id))?;
    output.field("from", format_args!("{}", from.first().copied().unwrap_or_default()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", timestamp(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    let length = counted(chain.len() as u64, "snapshot");
    let sizes = format!("{}; its chain of {length} has {}", size(snapshot.size_bytes), size(chain_bytes));
    output.field("size", sizes)?;
    output.field("time", pace(taken, snapshot.raw_bytes))?;
    output.field("verified", "the content checksum is that of the incremental snapshot:")?;
    output.field("", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    output.line("the chain was kept; delete it when you no longer need it")
}
