//! `store`: what a store keeps and how fast it is; which settings a bucket takes.

use comfy_table::{ContentArrangement, Table, presets};
use ruvector_snapshot::store::{Speed, Verdict, known_options};
use serde_json::json;

use crate::args::StoreWhat;
use crate::failure::{Exit, Failure};
use crate::output::size;
use crate::session::Session;

/// The kinds of buckets, and whether this program was built with them.
const SCHEMES: [(&str, bool); 3] =
    [("s3", cfg!(feature = "aws")), ("gs", cfg!(feature = "gcp")), ("az", cfg!(feature = "azure"))];

/// How wide a table may be before the text in it is broken into lines.
const TABLE_COLUMNS: u16 = 120;

pub(crate) async fn store(session: &Session, what: StoreWhat) -> Result<Exit, Failure> {
    match what {
        StoreWhat::Check => check(session).await,
        StoreWhat::Options { scheme } => options(session, scheme.as_deref()),
    }
}

async fn check(session: &Session) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let aftermath = || "what the check had written was removed".to_owned();
    let report = session.run(&manager, manager.check_store(), aftermath).await?;
    let output = session.output;
    output.document(&json!({ "store": session.store, "safe": report.is_safe(), "report": report }))?;
    let findings = report.findings.iter().map(|finding| {
        let verdict = match finding.verdict {
            Verdict::Kept => "ok",
            Verdict::Broken => "BROKEN",
            _ => "missing",
        };
        [finding.what.to_owned(), verdict.to_owned(), finding.detail.clone()]
    });
    print_table(session, ["CHECK", "RESULT", ""], findings)?;
    if let Some(speed) = &report.speed {
        print_speed(session, speed)?;
    }
    output.line(match report.is_safe() {
        true => format!("snapshots are safe at {}", session.store),
        false => format!("do not keep snapshots at {}: see what is BROKEN above", session.store),
    })?;
    Ok(if report.is_safe() { Exit::Done } else { Exit::Failed })
}

fn print_speed(session: &Session, speed: &Speed) -> Result<(), Failure> {
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1000.0);
    let (head, get, create) = (ms(speed.head_seconds), ms(speed.get_seconds), ms(speed.create_seconds));
    session.output.line(format_args!("latency           head {head}, get {get}, create {create} (median)"))?;
    let rate = |bytes: f64| format!("{}/s", size(bytes as u64));
    let (up, down) = (rate(speed.upload_bytes_per_second), rate(speed.download_bytes_per_second));
    session.output.line(format_args!("throughput        {up} up, {down} down (64 MiB)"))
}

fn options(session: &Session, scheme: Option<&str>) -> Result<Exit, Failure> {
    let schemes = SCHEMES.into_iter().filter(|(known, _)| scheme.is_none_or(|scheme| scheme == *known));
    let mut documents = Vec::new();
    for (at, (scheme, is_built_in)) in schemes.enumerate() {
        let known = known_options(scheme);
        documents.extend(known.iter().map(
            |(name, environment, what)| json!({ "scheme": scheme, "name": name, "environment": environment, "what": what }),
        ));
        if at > 0 {
            session.output.line("")?;
        }
        if !is_built_in {
            session.output.line(format_args!("{scheme}:// is not built into this program"))?;
        }
        let rows = known
            .into_iter()
            .map(|(name, environment, what)| [name.to_owned(), environment.join("\n"), what.to_owned()]);
        print_table(session, [&format!("{scheme}://"), "ENVIRONMENT", "WHAT"], rows)?;
    }
    session.output.document(&documents)?;
    Ok(Exit::Done)
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
