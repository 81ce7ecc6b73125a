//! Progress as text: a line, and a bar that fits the terminal. Prints nothing.

use ruvector_snapshot::{Phase, ProgressUpdate};

use super::phases::{BytesOf, Step};
use crate::documents::PhaseName;
use crate::output::{count, size};

/// How long the bar is at least, and at most.
const BAR_COLUMNS_MIN: usize = 6;
const BAR_COLUMNS_MAX: usize = 40;

pub(super) fn line(step: &Step) -> String {
    let parts = [counts(&step.update), bytes(&step.update), limit(step), Some(speed(step)), left(step)];
    format!("{}: {}", PhaseName::from(step.phase()), parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Returns what is drawn on a terminal of so many columns. What does not fit is left out, the least important first.
pub(super) fn bar_line(step: &Step, columns: usize) -> String {
    let percent = step.percent().map(|percent| format!("{percent:>3} %"));
    // In the order in which they are printed, and how important each is.
    let update = &step.update;
    let parts = [
        (percent, 0),
        (counts(update), 1),
        (bytes(update), 5),
        (limit(step), 4),
        (Some(speed(step)), 3),
        (left(step), 2),
    ];
    let mut parts: Vec<(String, u8)> = parts.into_iter().filter_map(|(part, rank)| Some((part?, rank))).collect();
    let joined = |parts: &[(String, u8)]| {
        let texts = parts.iter().map(|(text, _)| text.as_str());
        texts.collect::<Vec<_>>().join("  ")
    };
    let phase = PhaseName::from(step.phase()).to_string();
    // A line that fills the last column may wrap.
    let room = columns.saturating_sub(phase.len() + 3);
    while joined(&parts).chars().count() > room
        && let Some(least) = parts.iter().map(|(_, rank)| *rank).max()
    {
        parts.retain(|(_, rank)| *rank != least);
    }
    let rest = room.saturating_sub(joined(&parts).chars().count());
    format!("{phase}  {}{}", bar(step, rest), joined(&parts))
}

/// Returns the bar in the room that is left, if there is enough and the total is known.
fn bar(step: &Step, room: usize) -> String {
    let (done, total) = step.position();
    let length = room.saturating_sub(4).min(BAR_COLUMNS_MAX);
    if total == 0 || length < BAR_COLUMNS_MIN {
        return String::new();
    }
    let filled = (done as f64 / total.max(done) as f64 * length as f64) as usize;
    format!("[{}{}]  ", "=".repeat(filled.min(length)), " ".repeat(length.saturating_sub(filled)))
}

/// Returns what a phase counts apart from bytes.
fn things(phase: Phase) -> Option<&'static str> {
    match phase {
        // Indexes are compared.
        Phase::Compare => Some("rows"),
        Phase::Drill => Some("searches"),
        Phase::Copy => Some("snapshots"),
        Phase::Store | Phase::ReadAgain => None,
        _ => Some("records"),
    }
}

fn counts(update: &ProgressUpdate) -> Option<String> {
    let (done, things) = (count(update.records), things(update.phase)?);
    Some(match update.records_total.max(update.records) {
        _ if update.records_total == 0 => format!("{done} {things}, total not known"),
        total => format!("{done} of {} {things}", count(total)),
    })
}

fn bytes(update: &ProgressUpdate) -> Option<String> {
    let whose = match (BytesOf::phase(update.phase), update.phase) {
        (BytesOf::Nothing, _) => return None,
        (BytesOf::Store, _) => "stored bytes",
        (BytesOf::Records, Phase::Create | Phase::Import) => "source bytes",
        (BytesOf::Records, _) => "record bytes",
    };
    Some(match update.bytes_total {
        0 => format!("{} {whose}", size(update.bytes)),
        total => format!("{} of {} {whose}", size(update.bytes), size(total)),
    })
}

/// Returns which transfers are limited, and how much of a part that waits for the limit is allowed. With a download limit, a phase
/// stands still while a part is read.
fn limit(step: &Step) -> Option<String> {
    let sends = matches!(step.phase(), Phase::Create | Phase::Store | Phase::Copy);
    let reads =
        !matches!(step.phase(), Phase::Create | Phase::Store | Phase::Import | Phase::VerifyRestored | Phase::Drill);
    match (step.limits.upload.filter(|_| sends), step.limits.download.filter(|_| reads)) {
        (Some(limit), _) => Some(match step.update.allowed_bytes {
            0 => format!("upload limited to {}/s", size(limit)),
            allowed => format!("{} more allowed by the upload limit of {}/s", size(allowed), size(limit)),
        }),
        (None, Some(limit)) => Some(format!("download limited to {}/s", size(limit))),
        (None, None) => None,
    }
}

fn speed(step: &Step) -> String {
    match (BytesOf::phase(step.phase()), things(step.phase())) {
        (BytesOf::Nothing, Some(things)) => format!("{} {things}/s", count(step.records_per_second())),
        _ => format!("{}/s", size(step.bytes_per_second())),
    }
}

fn left(step: &Step) -> Option<String> {
    let seconds = step.seconds_left()?.ceil().min(f64::from(u32::MAX)) as u64;
    Some(match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s left"),
        (0, minutes) => format!("{minutes} min left"),
        (hours, minutes) => format!("{hours} h {minutes} min left"),
    })
}
