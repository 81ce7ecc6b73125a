//! `store`: what a store keeps and how fast it is; which settings a bucket takes.

use comfy_table::{Table, presets};
use ruvector_snapshot::store::{Verdict, known_options};
use serde_json::json;

use crate::args::StoreWhat;
use crate::failure::{Exit, Failure};
use crate::output::size;
use crate::session::Session;

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
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CHECK", "RESULT", ""]);
    for finding in &report.findings {
        let verdict = match finding.verdict {
            Verdict::Kept => "ok",
            Verdict::Broken => "BROKEN",
            _ => "missing",
        };
        table.add_row([finding.what, verdict, &finding.detail]);
    }
    table.trim_fmt().lines().try_for_each(|line| output.line(line))?;
    if let Some(speed) = &report.speed {
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1000.0);
        output.field(
            "latency",
            format_args!(
                "head {}, get {}, create {} (median)",
                ms(speed.head_seconds),
                ms(speed.get_seconds),
                ms(speed.create_seconds)
            ),
        )?;
        let rate = |bytes: f64| format!("{}/s", size(bytes as u64));
        output.field(
            "throughput",
            format_args!(
                "{} up, {} down (64 MiB)",
                rate(speed.upload_bytes_per_second),
                rate(speed.download_bytes_per_second)
            ),
        )?;
    }
    match report.is_safe() {
        true => output.line(format_args!("snapshots are safe at {}", session.store))?,
        false => output.line(format_args!("do not keep snapshots at {}: see what is BROKEN above", session.store))?,
    }
    Ok(if report.is_safe() { Exit::Done } else { Exit::Failed })
}

fn options(session: &Session, scheme: Option<&str>) -> Result<Exit, Failure> {
    let schemes = ["s3", "gs", "az"].into_iter().filter(|known| scheme.is_none_or(|scheme| scheme == *known));
    let mut documents = Vec::new();
    for scheme in schemes {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([&format!("{scheme}://"), "ENVIRONMENT", "WHAT"]);
        for (name, environment, what) in known_options(scheme) {
            table.add_row([name, &environment.join(" "), what]);
            documents.push(json!({ "scheme": scheme, "name": name, "environment": environment, "what": what }));
        }
        table.trim_fmt().lines().try_for_each(|line| session.output.line(line))?;
        session.output.line("")?;
    }
    session.output.document(&documents)?;
    Ok(Exit::Done)
}
