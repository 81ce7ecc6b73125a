//! `compact`: a chain into one full snapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvector_snapshot::Snapshot;
use serde_json::json;

use crate::args::Compact;
use crate::attempts::Attempts;
use crate::failure::{Exit, Failure};
use crate::output::{counted, moment, pace, shape, size};
use crate::progress::Shown;
use crate::session::Session;

pub(crate) async fn compact(session: &Session, args: &Compact) -> Result<Exit, Failure> {
    let location = session.location()?;
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let chain = session.read(&manager, manager.chain(&id)).await?;
    // The new snapshot bears the moment of the increment, and so does its id.
    let attempts = Arc::new(chain.first().map(|newest| Attempts::at(newest.created_at)).unwrap_or_default());
    let manager = manager.with_clock(attempts.clone());
    let began = Instant::now();
    let snapshot = {
        let progress = Shown::new(session.output);
        let aftermath = {
            let manager = manager.clone();
            move || attempts.aftermath(&manager, &location)
        };
        session.run(&manager, manager.compact_snapshot(&id, progress.listener()), aftermath).await?
    };
    print(session, &snapshot, &chain, began.elapsed())?;
    Ok(Exit::Done)
}

fn print(session: &Session, snapshot: &Snapshot, chain: &[Snapshot], taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    let from: Vec<&str> = chain.iter().map(|member| member.id.as_str()).collect();
    let chain_bytes: u64 = chain.iter().map(|member| member.size_bytes).sum();
    output.document(&json!({
        "snapshot": snapshot, "from": from, "chain_bytes": chain_bytes, "store": session.store,
        "seconds": taken.as_secs_f64(),
    }))?;
    output.line(format_args!("created {}, full", snapshot.id))?;
    output.field("from", format_args!("{}", from.first().copied().unwrap_or_default()))?;
    output.field("name", &snapshot.name)?;
    output.field("as of", moment(snapshot.created_at))?;
    output.field("vectors", shape(snapshot))?;
    let length = counted(chain.len() as u64, "snapshot");
    output.field(
        "size",
        format_args!("{}; its chain of {length} has {}", size(snapshot.size_bytes), size(chain_bytes)),
    )?;
    output.field("time", pace(taken, snapshot.raw_bytes))?;
    output.field("proved", "its content checksum is that of the increment:")?;
    output.field("", &snapshot.checksum)?;
    output.line("the chain stays as it is until it is deleted")
}
