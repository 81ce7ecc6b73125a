//! What the status page has of a database: what is known of it, its timeline, and its newest snapshots with why they are kept.

use super::html::{Html, Moment, time};
use super::timeline;
use crate::output::{ago, count, counted, size};
use crate::verbs::schedule::web::view::{DatabaseView, Point};

/// Rows of the table of snapshots at most.
const ROWS_MAX: usize = 12;

/// Adds a database.
pub(super) fn database(html: &mut Html, database: &DatabaseView, moment: Moment) {
    html.raw("<section class=\"database\" aria-label=\"Database ").text(&database.source).raw("\">\n");
    html.raw("<div class=\"title\"><h4>").text(&database.source).raw("</h4>");
    html.raw(match database.stale.is_empty() {
        true => "<span class=\"pill\">fresh</span>",
        false => "<span class=\"pill bad\">stale</span>",
    });
    html.raw("</div>\n");
    for why in database.stale.iter().take(REASONS_MAX) {
        html.element("<p class=\"bad\">", why, "</p>\n");
    }
    facts(html, database, moment);
    if let Some(problem) = &database.retention_problem {
        html.raw("<p class=\"note\">The rules of its retention would delete nothing: ").text(problem).raw("</p>\n");
    }
    if !database.points.is_empty() {
        timeline::timeline(html, database, moment);
        table(html, database, moment);
    }
    html.raw("</section>\n");
}

/// Reasons of a database at most.
const REASONS_MAX: usize = 10;

fn facts(html: &mut Html, database: &DatabaseView, moment: Moment) {
    let ago_or_never = |at: Option<_>| at.map_or_else(|| "never".to_owned(), |at| ago(at, moment.now));
    let newest = database.newest_at.map_or_else(|| "none".to_owned(), |at| ago(at, moment.now));
    let added = match database.records_added {
        Some(added @ 1..) => format!("{} more than before", count(added.unsigned_abs())),
        Some(added @ ..0) => format!("{} fewer than before", count(added.unsigned_abs())),
        Some(0) => "as many as before".to_owned(),
        None => String::new(),
    };
    let (chain, kept) = (counted(database.chain_length, "snapshot"), counted(database.snapshots, "snapshot"));
    let kept = match database.bytes_per_day {
        Some(bytes) => format!("{kept}, {} more each day", size(bytes as u64)),
        None => kept,
    };
    html.raw("<dl class=\"facts\">\n");
    for (name, value, more) in [
        ("Newest snapshot", newest, String::new()),
        ("Records", count(database.records), added),
        ("Last verified", ago_or_never(database.verified_at), String::new()),
        ("Last drilled", ago_or_never(database.drilled_at), String::new()),
        ("Its chain", chain, "to restore the newest".to_owned()),
        ("Stored", size(database.bytes), kept),
    ] {
        html.raw("<div><dt>").text(name).raw("</dt><dd>").text(value);
        if !more.is_empty() {
            html.element("<small>", more, "</small>");
        }
        html.raw("</dd></div>\n");
    }
    html.raw("</dl>\n");
}

fn table(html: &mut Html, database: &DatabaseView, moment: Moment) {
    let all = database.points.len() as u64 + database.older;
    let shown = database.points.len().min(ROWS_MAX) as u64;
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Newest snapshots of ");
    html.text(&database.source).raw("\">\n<table>\n<caption>");
    match shown == all {
        true => html.text(counted(all, "snapshot")),
        false => html.text(format_args!("The newest {shown} of {}", counted(all, "snapshot"))),
    };
    match &database.retention {
        Some(rules) => html.text(format_args!(", kept by the rules “{rules}”")),
        None => html.raw(", all kept: no retention rules apply here"),
    };
    html.raw("</caption>\n<thead><tr><th scope=\"col\">Taken</th><th scope=\"col\">Snapshot</th><th scope=\"col\">Name</th><th scope=\"col\">Form</th><th scope=\"col\" class=\"n\">Records</th><th scope=\"col\" class=\"n\">Size</th><th scope=\"col\">Kept because</th><th scope=\"col\">Verified</th><th scope=\"col\">Drilled</th></tr></thead>\n<tbody>\n");
    for point in database.points.iter().rev().take(ROWS_MAX) {
        row(html, point, moment);
    }
    html.raw("</tbody>\n</table>\n</div>\n");
}

fn row(html: &mut Html, point: &Point, moment: Moment) {
    html.raw("<tr><td class=\"t\">");
    time(html, point.at, &ago(point.at, moment.now), moment);
    html.raw("</td><td class=\"id\" title=\"").text(&point.id).raw("\">").text(&point.short_id);
    html.element("</td><td>", &point.name, "</td><td class=\"t\">");
    html.raw(if point.base.is_some() { "increment" } else { "full" });
    html.element("</td><td class=\"n\">", count(point.records), "</td>");
    html.element("<td class=\"n\">", size(point.bytes), "</td><td class=\"why\">");
    why(html, point);
    for at in [point.verified_at, point.drilled_at] {
        html.raw("</td><td class=\"t\">");
        match at {
            Some(at) => time(html, at, &ago(at, moment.now), moment),
            None => html.raw("never"),
        };
    }
    html.raw("</td></tr>\n");
}

fn why(html: &mut Html, point: &Point) {
    let problem = point.state.problem();
    if let Some(problem) = problem {
        html.element("<strong class=\"bad\">", problem, "</strong>");
    }
    // That a snapshot is corrupt is also a reason to keep it.
    let kept: Vec<&str> = point.kept.iter().map(String::as_str).filter(|reason| Some(*reason) != problem).collect();
    if problem.is_some() && !(kept.is_empty() && point.dropped.is_empty()) {
        html.raw("; ");
    }
    html.text(kept.join("; "));
    if !point.dropped.is_empty() {
        html.element("<span class=\"caution\">goes with the next prune: ", point.dropped.join("; "), "</span>");
    }
}
