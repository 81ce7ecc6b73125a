//! `verify`: proves snapshots whole, or says where they are damaged.

use std::collections::HashMap;

use ruvector_snapshot::{Damage, ErrorKind, Listing, SnapshotError, SnapshotManager, VerifyOptions, VerifyReport};
use serde_json::{Value, json};

use crate::args::Verify;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{count, counted, size};
use crate::progress::Shown;
use crate::session::Session;

pub(crate) async fn verify(session: &Session, args: Verify) -> Result<Exit, Failure> {
    let manager = session.open()?;
    match args.id {
        Some(id) => verify_one(session, &manager, &id).await,
        None => verify_all(session, &manager).await,
    }
}

async fn verify_one(session: &Session, manager: &SnapshotManager, text: &str) -> Result<Exit, Failure> {
    let id = session.resolve(manager, text).await?;
    let report = read(session, manager, &id).await??;
    print_report(session, &report)?;
    for id in &report.chain {
        session.output.line(format_args!("  stands on {id}, which was verified with it"))?;
    }
    if !report.is_whole() {
        let places = counted(report.damage.len() as u64, "place");
        let others =
            if report.chain.is_empty() { "other snapshots are" } else { "snapshots that stand on none of these are" };
        session.output.line(format_args!(
            "damaged in {places}; restore gives what can be proved or nothing, and {others} not concerned"
        ))?;
    }
    finish(session, vec![report_document(&report)], !report.is_whole(), false)
}

async fn verify_all(session: &Session, manager: &SnapshotManager) -> Result<Exit, Failure> {
    let listing = session.read(manager, manager.list()).await?;
    let mut ids: Vec<String> = listing.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
    ids.extend(listing.damaged.iter().map(|damaged| damaged.id.clone()));
    ids.sort_by(|a, b| b.cmp(a));
    let (mut documents, mut damaged, mut unreadable, mut gone) = (Vec::new(), 0u64, 0u64, 0u64);
    // What is known of a snapshot from one that stands on it, which is younger and so comes before it.
    let mut known: HashMap<String, Known> = HashMap::new();
    for id in &ids {
        if let Some(known) = known.remove(id) {
            damaged += u64::from(!known.damage.is_empty());
            print_known(session, id, &known)?;
            documents.push(json!({
                "id": id, "whole": known.damage.is_empty(), "damage": known.damage, "verified_with": known.above,
            }));
            continue;
        }
        match read(session, manager, id).await? {
            Ok(report) => {
                damaged += u64::from(!report.is_whole());
                print_report(session, &report)?;
                documents.push(report_document(&report));
                for (id, of_it) in below(&report) {
                    known.entry(id).or_insert(of_it);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match lost(&listing, id) {
                // Deleted since it was listed.
                None => gone += 1,
                Some(error) => {
                    damaged += 1;
                    session.output.line(format_args!("{id}  DAMAGED: {error}"))?;
                    documents.push(error_document(id, error));
                }
            },
            Err(error) => {
                unreadable += 1;
                session.output.line(format_args!("{id}  cannot be verified: {error}"))?;
                documents.push(error_document(id, &error));
            }
        }
    }
    let whole = ids.len() as u64 - damaged - unreadable - gone;
    for id in &listing.unfinished {
        session
            .output
            .line(format_args!("{id}  has no metadata.json, so it is no snapshot and was not verified; see list"))?;
    }
    match ids.is_empty() {
        true => session.output.line(format_args!("no snapshots at {} to verify", session.store))?,
        false => session.output.line(summary(whole, damaged, unreadable))?,
    }
    finish(session, documents, damaged > 0, unreadable > 0)
}

/// What the report on another says of a snapshot.
struct Known {
    /// The other, which stands on it.
    above: String,
    /// In it, or in what it stands on.
    damage: Vec<Damage>,
}

/// What a report says of the snapshots below its own, where that is all there is to say: all of them are whole, or one has damage
/// below it. One that is blamed itself is for a report of its own, which may find it whole but for what stands on it, and one
/// below all damage too, since what it comes to was not looked at.
fn below(report: &VerifyReport) -> impl Iterator<Item = (String, Known)> {
    let chain = &report.chain;
    chain.iter().enumerate().filter_map(move |(at, id)| {
        let lies_below = |damage: &&Damage| chain.iter().skip(at + 1).any(|below| *below == damage.snapshot);
        let concerns = |damage: &&Damage| damage.snapshot == *id || lies_below(damage);
        let is_known = report.is_whole() || report.damage.iter().any(|damage| lies_below(&damage));
        let damage = || report.damage.iter().filter(concerns).cloned().collect();
        is_known.then(|| (id.clone(), Known { above: report.id.clone(), damage: damage() }))
    })
}

/// What the listing says of a snapshot that has lost its metadata.json.
fn lost<'a>(listing: &'a Listing, id: &str) -> Option<&'a SnapshotError> {
    let damaged = listing.damaged.iter().find(|damaged| damaged.id == id).map(|damaged| &damaged.error);
    damaged.filter(|error| error.kind() == ErrorKind::Damaged)
}

/// Reads one snapshot. The outer failure ends the run, the inner error is about this snapshot.
async fn read(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
) -> Result<Result<VerifyReport, SnapshotError>, Failure> {
    let progress = Shown::new(session.output);
    let options = VerifyOptions { progress: progress.listener() };
    session.read(manager, async { Ok(manager.verify_snapshot_with(id, &options).await) }).await
}

fn print_report(session: &Session, report: &VerifyReport) -> Result<(), Failure> {
    let (records, bytes) = (counted(report.records, "record"), size(report.bytes));
    let chain = match report.chain.len() as u64 {
        0 => String::new(),
        length => format!(", with the {} below it", counted(length, "snapshot")),
    };
    if report.is_whole() {
        return session.output.line(format_args!("{}  whole: {records}, {bytes} read{chain}", report.id));
    }
    session.output.line(format_args!("{}  DAMAGED: {records} still proved, {bytes} read{chain}", report.id))?;
    print_damage(session, &report.id, &report.damage)
}

fn print_known(session: &Session, id: &str, known: &Known) -> Result<(), Failure> {
    let verdict = if known.damage.is_empty() { "whole, and" } else { "DAMAGED, and" };
    session.output.line(format_args!("{id}  {verdict} was verified with {}", known.above))?;
    print_damage(session, id, &known.damage)
}

fn print_damage(session: &Session, id: &str, damage: &[Damage]) -> Result<(), Failure> {
    damage.iter().try_for_each(|damage| match damage.snapshot == id {
        true => session.output.line(format_args!("  {damage}")),
        false => session.output.line(format_args!("  in {}: {damage}", damage.snapshot)),
    })
}

fn summary(whole: u64, damaged: u64, unreadable: u64) -> String {
    let mut summary = format!("{} whole", counted(whole, "snapshot"));
    if damaged > 0 {
        summary += &format!(", {} damaged", count(damaged));
    }
    if unreadable > 0 {
        summary += &format!(", {} that cannot be verified", count(unreadable));
    }
    summary
}

fn finish(session: &Session, snapshots: Vec<Value>, is_damaged: bool, is_unreadable: bool) -> Result<Exit, Failure> {
    let whole = !is_damaged && !is_unreadable;
    session.output.document(&json!({ "store": session.store, "whole": whole, "snapshots": snapshots }))?;
    Ok(match (is_damaged, is_unreadable) {
        (true, _) => Exit::Damage,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Done,
    })
}

fn report_document(report: &VerifyReport) -> Value {
    json!({
        "id": report.id, "whole": report.is_whole(), "records": report.records, "bytes": report.bytes,
        "chain": report.chain, "damage": report.damage,
    })
}

fn error_document(id: &str, error: &SnapshotError) -> Value {
    json!({ "id": id, "whole": null, "error": { "kind": kind_name(error.kind()), "message": error.to_string() } })
}
