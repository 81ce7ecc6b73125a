//! The timeline of a database as SVG: its snapshots by their time, the chains between them, and how much each has stored.
//!
//! Places are in percent of the width, so that shapes and text have the same size on a phone and on a large screen. What a snapshot
//! is shows in its shape, and not only in its colour.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::html::{Html, Moment};
use crate::output::{ago, counted, size};
use crate::verbs::schedule::web::view::{DatabaseView, Point, PointState};

/// The shapes, which every timeline of the page refers to.
pub(super) const SYMBOLS: &str = "<svg class=\"defs\" aria-hidden=\"true\" focusable=\"false\"><defs>\
    <g id=\"s-full\"><circle r=\"6.5\" fill=\"currentColor\"/></g>\
    <g id=\"s-part\"><circle r=\"4.5\" class=\"hollow\"/></g>\
    <g id=\"s-corrupt\"><path d=\"M-5-5L5 5M-5 5L5-5\" class=\"stroke\"/></g>\
    <g id=\"s-unusable\"><path d=\"M-5.5-5.5h11v11h-11z\" class=\"hollow\"/><path d=\"M-5.5 5.5l11-11\" class=\"stroke\"/></g>\
    <g id=\"s-future\"><path d=\"M0-6.5L6.5 0 0 6.5-6.5 0z\" class=\"hollow\"/></g>\
    <g id=\"s-pin\"><path d=\"M0 4L-4.5-4h9z\" fill=\"currentColor\"/></g>\
    </defs></svg>\n";

/// Where the lanes are, in pixels.
const FULL_Y: f64 = 24.0;
const PART_Y: f64 = 56.0;
const PIN_OFFSET: f64 = -14.0;
const BARS_TOP: f64 = 76.0;
const BARS_BOTTOM: f64 = 112.0;
const AXIS_TEXT_Y: f64 = 128.0;
/// The first and the last place, in percent.
const PLACES: (f64, f64) = (2.5, 97.5);
/// Snapshots are evenly apart in part if the whole is so many times as long as the usual distance, and more than their number says.
const SKEWED: f64 = 4.0;

/// Adds the timeline of a database that has snapshots.
pub(super) fn timeline(html: &mut Html, database: &DatabaseView, moment: Moment) {
    let points = &database.points;
    let (places, is_to_scale) = places(points);
    let place_of: BTreeMap<&str, usize> = points.iter().zip(0..).map(|(point, at)| (point.id.as_str(), at)).collect();
    html.raw("<figure>\n<svg class=\"chart\" role=\"img\" height=\"134\" aria-label=\"").text(label(database, moment));
    html.raw("\">\n");
    line(html, "axis", (0.0, BARS_BOTTOM), (100.0, BARS_BOTTOM));
    let most = points.iter().map(|point| point.bytes).max().unwrap_or(0).max(1) as f64;
    for (point, x) in points.iter().zip(&places) {
        let height = (point.bytes as f64 / most * (BARS_BOTTOM - BARS_TOP)).max(1.0);
        html.raw("<rect class=\"bar\" width=\"3\" transform=\"translate(-1.5)\" x=\"").text(format_args!("{x:.2}%"));
        html.raw("\" y=\"").text(format_args!("{:.1}", BARS_BOTTOM - height));
        html.raw("\" height=\"").text(format_args!("{height:.1}")).raw("\"/>\n");
    }
    for (point, x) in points.iter().zip(&places) {
        let base = point.base.as_ref().and_then(|base| place_of.get(base.as_str()));
        if let Some((base, base_x)) = base.and_then(|at| Some((points.get(*at)?, places.get(*at)?))) {
            line(html, "link", (*base_x, lane(base)), (*x, lane(point)));
        }
    }
    for (point, x) in points.iter().zip(&places) {
        mark(html, point, *x, moment);
    }
    axis(html, points, &places, moment);
    html.raw("</svg>\n<figcaption>");
    legend(html, database, is_to_scale);
    html.raw("</figcaption>\n</figure>\n");
}

fn lane(point: &Point) -> f64 {
    if point.base.is_some() { PART_Y } else { FULL_Y }
}

/// Returns where each snapshot is, in percent, and whether that is its time alone. If many are close together and some far away,
/// as rules of retention leave them, places follow the order too.
fn places(points: &[Point]) -> (Vec<f64>, bool) {
    let seconds = |point: &Point| point.at.timestamp_millis() as f64 / 1000.0;
    let (Some(first), Some(last)) = (points.first().map(seconds), points.last().map(seconds)) else {
        return (Vec::new(), true);
    };
    let (from, to) = PLACES;
    let (span, steps) = (last - first, (points.len() as f64 - 1.0).max(1.0));
    if span <= 0.0 {
        let place = |at: usize| if points.len() == 1 { 50.0 } else { from + (to - from) * at as f64 / steps };
        return ((0..points.len()).map(place).collect(), points.len() == 1);
    }
    let mut gaps: Vec<f64> = points.windows(2).map(|pair| pair.iter().map(seconds).fold(0.0, |a, b| b - a)).collect();
    gaps.sort_by(f64::total_cmp);
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(span);
    let is_to_scale = usual * steps * SKEWED >= span;
    let place = |(at, point): (usize, &Point)| {
        let by_time = (seconds(point) - first) / span;
        let share = if is_to_scale { by_time } else { by_time.mul_add(0.3, 0.7 * at as f64 / steps) };
        from + (to - from) * share
    };
    (points.iter().enumerate().map(place).collect(), is_to_scale)
}

fn line(html: &mut Html, class: &'static str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    html.raw("<line class=\"").raw(class).raw("\" x1=\"").text(format_args!("{x1:.2}%")).raw("\" y1=\"").text(y1);
    html.raw("\" x2=\"").text(format_args!("{x2:.2}%")).raw("\" y2=\"").text(y2).raw("\"/>\n");
}

fn mark(html: &mut Html, point: &Point, x: f64, moment: Moment) {
    let y = lane(point);
    html.raw(match (point.state, point.base.is_some()) {
        (PointState::Corrupt, _) => "<use href=\"#s-corrupt\" class=\"m-corrupt\" x=\"",
        (PointState::Unusable, _) => "<use href=\"#s-unusable\" class=\"m-unusable\" x=\"",
        (PointState::Future, _) => "<use href=\"#s-future\" class=\"m-future\" x=\"",
        (PointState::Sound, false) => "<use href=\"#s-full\" class=\"m-full\" x=\"",
        (PointState::Sound, true) => "<use href=\"#s-part\" class=\"m-part\" x=\"",
    });
    html.text(format_args!("{x:.2}%")).raw("\" y=\"").text(y).raw("\"><title>");
    html.text(described(point, moment)).raw("</title></use>\n");
    if point.is_pinned {
        html.raw("<use href=\"#s-pin\" class=\"m-pin\" x=\"").text(format_args!("{x:.2}%"));
        html.raw("\" y=\"").text(y + PIN_OFFSET).raw("\"/>\n");
    }
}

/// Describes a snapshot for a pointer on it.
fn described(point: &Point, moment: Moment) -> String {
    let form = if point.base.is_some() { "increment" } else { "full snapshot" };
    let state = point.state.problem().map(|state| format!(", {state}")).unwrap_or_default();
    let pinned = if point.is_pinned { ", pinned" } else { "" };
    let time = moment.zone.time(point.at);
    format!("{} {}: {form} of {time}, {}{pinned}{state}", point.short_id, point.name, size(point.bytes))
}

fn label(database: &DatabaseView, moment: Moment) -> String {
    let number = |is: fn(&Point) -> bool| database.points.iter().filter(|point| is(point)).count() as u64;
    let counts = [
        (number(|point| point.base.is_none()), "full"),
        (number(|point| point.base.is_some()), "incremental"),
        (number(|point| point.is_pinned), "pinned"),
        (number(|point| point.state == PointState::Corrupt), "found corrupt"),
        (number(|point| point.state == PointState::Unusable), "not restorable"),
        (number(|point| point.state == PointState::Future), "dated in the future"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let from = database.points.first().map(|point| ago(point.at, moment.now)).unwrap_or_default();
    let to = database.points.last().map(|point| ago(point.at, moment.now)).unwrap_or_default();
    let all = counted(database.points.len() as u64, "snapshot");
    format!("Timeline of {}: {all}, the oldest {from}, the newest {to}: {}", database.source, counts.join(", "))
}

/// Adds the times of the first, the middle and the last snapshot.
fn axis(html: &mut Html, points: &[Point], places: &[f64], moment: Moment) {
    let last = points.len().saturating_sub(1);
    let middle = places.iter().position(|place| *place >= 50.0).unwrap_or(last);
    let span = points.first().zip(points.last()).map(|(first, last)| last.at.signed_duration_since(first.at));
    let has_minutes = span.is_some_and(|span| span < TimeDelta::days(3));
    let mut text = |at: usize, anchor: &'static str, x: f64| {
        let Some(point) = points.get(at) else { return };
        html.raw("<text text-anchor=\"").raw(anchor).raw("\" x=\"").text(format_args!("{x:.2}%"));
        html.raw("\" y=\"").text(AXIS_TEXT_Y).raw("\">").text(short(point.at, has_minutes, moment)).raw("</text>\n");
    };
    match last {
        0 => text(0, "middle", 50.0),
        _ => {
            text(0, "start", 0.0);
            text(last, "end", 100.0);
        }
    }
    let place = places.get(middle).copied().filter(|place| (40.0..60.0).contains(place) && last > 1);
    if let Some(place) = place {
        text(middle, "middle", place);
    }
}

/// Returns the day of a time, or without the year the minute too if the days of a timeline hardly differ.
fn short(time: DateTime<Utc>, has_minutes: bool, moment: Moment) -> String {
    let time = moment.zone.short_time(time);
    time.get(if has_minutes { 5..16 } else { 0..10 }).unwrap_or(&time).to_owned()
}

fn legend(html: &mut Html, database: &DatabaseView, is_to_scale: bool) {
    let points = &database.points;
    let has = |is: fn(&Point) -> bool| points.iter().any(is);
    let entries = [
        (
            has(|point| point.base.is_none()),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-full\"><use href=\"#s-full\"/></svg>full</span>",
        ),
        (
            has(|point| point.base.is_some()),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-part\"><use href=\"#s-part\"/></svg>increment, joined to its base</span>",
        ),
        (
            has(|point| point.is_pinned),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-pin\"><use href=\"#s-pin\"/></svg>pinned</span>",
        ),
        (
            has(|point| point.state == PointState::Corrupt),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-corrupt\"><use href=\"#s-corrupt\"/></svg>found corrupt</span>",
        ),
        (
            has(|point| point.state == PointState::Unusable),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-unusable\"><use href=\"#s-unusable\"/></svg>cannot be restored</span>",
        ),
        (
            has(|point| point.state == PointState::Future),
            "<span><svg viewBox=\"-8 -8 16 16\" aria-hidden=\"true\" class=\"m-future\"><use href=\"#s-future\"/></svg>dated in the future</span>",
        ),
    ];
    entries.iter().filter(|(is_there, _)| *is_there).for_each(|(_, entry)| _ = html.raw(entry));
    let most = points.iter().map(|point| point.bytes).max().unwrap_or(0);
    html.element("<span>bars: what each has stored, up to ", size(most), "</span>");
    if !is_to_scale {
        html.raw("<span>close snapshots are spread</span>");
    }
    if database.older > 0 {
        html.element("<span>", format_args!("{} not drawn", counted(database.older, "older snapshot")), "</span>");
    }
}
