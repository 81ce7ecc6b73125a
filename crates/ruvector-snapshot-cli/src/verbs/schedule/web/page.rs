//! The status page: one HTML document from what is known. A pure function: it asks no store and no clock.
//!
//! The page needs no script and nothing else that is fetched. Its size is bounded: `view` has the newest snapshots of each database, and
//! the newest failures.

mod databases;
mod html;
mod timeline;

use chrono::{DateTime, Utc};
use ruvector_snapshot::scheduler::RunOutcome;

use self::html::{Html, Moment, time};
use super::view::{FailureView, JobView, RunView, StoreView, View};
use crate::output::{Zone, ago, count, counted, size, until};

/// The style of the page: the only one that its browser may apply.
pub(super) const STYLE: &str = include_str!("page/style.css");

/// Returns the page.
pub(super) fn render(view: &View, now: DateTime<Utc>, zone: Zone) -> String {
    let (moment, mut html) = (Moment { now, zone }, Html::default());
    let summary = Summary::of(view);
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta http-equiv=\"refresh\" content=\"60\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    html.element("<title>", format_args!("{}{}", summary.headline, on_host(view)), "</title>\n");
    html.raw("<style>").raw(STYLE).raw("</style>\n</head>\n<body>\n").raw(timeline::SYMBOLS);
    header(&mut html, view, &summary, moment);
    html.raw("<main>\n<section aria-labelledby=\"jobs\">\n<h2 id=\"jobs\">Jobs</h2>\n<div class=\"cards\">\n");
    view.jobs.iter().for_each(|job| job_card(&mut html, job, moment));
    html.raw("</div>\n</section>\n<section aria-labelledby=\"stores\">\n<h2 id=\"stores\">Stores</h2>\n");
    view.stores.iter().for_each(|store| store_card(&mut html, store, moment));
    html.raw("</section>\n");
    failures(&mut html, view, moment);
    html.raw("</main>\n");
    footer(&mut html, view, moment);
    html.raw("</body>\n</html>\n");
    html.into_text()
}

/// What a person reads first.
struct Summary {
    is_good: bool,
    headline: String,
}

impl Summary {
    fn of(view: &View) -> Self {
        let stale: Vec<&str> = view.jobs.iter().filter(|job| !job.stale.is_empty()).map(|job| &*job.name).collect();
        let jobs = view.jobs.len();
        let headline = match (stale.len(), jobs) {
            _ if !view.is_alive => "The scheduler does not respond".to_owned(),
            (0, 0) => "There are no jobs".to_owned(),
            (0, 1) => "The job is fresh".to_owned(),
            (0, jobs) => format!("All {} jobs are fresh", count(jobs as u64)),
            (1, _) => format!("1 job is stale: {}", stale.join(", ")),
            (number, _) => format!("{} jobs are stale: {}", count(number as u64), shortened(&stale)),
        };
        Self { is_good: view.is_alive && stale.is_empty(), headline }
    }
}

/// Names the first of many.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

fn on_host(view: &View) -> String {
    view.host.as_ref().map(|host| format!(" – {host}")).unwrap_or_default()
}

fn header(html: &mut Html, view: &View, summary: &Summary, moment: Moment) {
    html.raw("<header>\n<p class=\"where\">Backups by ruvector-snapshot");
    if let Some(host) = &view.host {
        html.raw(" on ").text(host);
    }
    html.raw("</p>\n");
    html.raw(if summary.is_good {
        "<h1><svg class=\"icon good\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" r=\"11\" fill=\"currentColor\"/><path d=\"M7 12.5l3.5 3.5L17 9\" fill=\"none\" stroke=\"var(--bg)\" stroke-width=\"2.6\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg><span>"
    } else {
        "<h1 class=\"bad\"><svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"M12 1.5L23.5 22H.5z\" fill=\"currentColor\"/><path d=\"M12 9v6M12 18.2v.3\" stroke=\"var(--bg)\" stroke-width=\"2.6\" stroke-linecap=\"round\"/></svg><span>"
    });
    html.text(&summary.headline).raw("</span></h1>\n");
    let stale: Vec<_> = view.jobs.iter().flat_map(|job| job.stale.iter().map(move |why| (&job.name, why))).collect();
    if !stale.is_empty() {
        html.raw("<ul class=\"reasons\">\n");
        for (job, why) in stale.iter().take(REASONS_MAX) {
            html.raw("<li><strong>").text(job).raw("</strong>: ").text(why).raw("</li>\n");
        }
        if let Some(more) = stale.len().checked_sub(REASONS_MAX).filter(|more| *more > 0) {
            html.element("<li>", format_args!("and {}", counted(more as u64, "more reason")), "</li>\n");
        }
        html.raw("</ul>\n");
    }
    for store in view.stores.iter() {
        not_read(html, store, moment);
    }
    if view.is_stopping {
        html.raw("<p class=\"note\">The daemon is stopping. No run is started any more.</p>\n");
    }
    html.raw("</header>\n");
}

/// Reasons that the head of the page has at most.
const REASONS_MAX: usize = 20;

fn not_read(html: &mut Html, store: &StoreView, Moment { now, .. }: Moment) {
    let Some(error) = &store.error else { return };
    html.raw("<p class=\"note bad\">The store <strong>").text(&store.name).raw("</strong> cannot be read. ");
    match store.read_at {
        Some(at) => html.text(format_args!("What is shown of it was read {}. ", ago(at, now))),
        None => html.raw("Nothing is known of it. "),
    };
    html.text(error).raw("</p>\n");
}

fn job_card(html: &mut Html, job: &JobView, moment: Moment) {
    html.raw("<article class=\"card\" aria-label=\"Job ").text(&job.name).raw("\">\n<div class=\"title\"><h3>");
    html.text(&job.name).raw("</h3>");
    html.raw(match (job.stale.is_empty(), job.failures) {
        (false, _) => "<span class=\"pill bad\">stale</span>",
        (true, 0) => "<span class=\"pill\">fresh</span>",
        (true, _) => "<span class=\"pill caution\">fresh, but failing</span>",
    });
    if job.running_since.is_some() {
        html.raw("<span class=\"pill caution\">running</span>");
    }
    html.raw("</div>\n<dl>\n");
    html.raw("<dt>Next run</dt><dd>");
    match job.next_run {
        Some(next) => time(html, next, &until(next, moment.now), moment),
        None => html.raw("not known"),
    };
    html.element("</dd>\n<dt>Schedule</dt><dd>", &job.when, "</dd>\n");
    if let Some(since) = job.running_since {
        html.raw("<dt>Running</dt><dd>since ");
        time(html, since, &ago(since, moment.now), moment).raw("</dd>\n");
    }
    html.raw("<dt>Last run</dt><dd>");
    match &job.last_run {
        Some(run) => last_run(html, run, moment),
        None => _ = html.raw("none since the daemon started"),
    }
    html.raw("</dd>\n");
    if job.failures > 0 {
        let in_a_row = format!("{} in a row", counted(job.failures.into(), "failed run"));
        html.element("<dt>Failures</dt><dd class=\"bad\">", in_a_row, "</dd>\n");
        html.raw("<dt>Last success</dt><dd>");
        match job.succeeded_at {
            Some(at) => time(html, at, &ago(at, moment.now), moment),
            None => html.raw("none since the daemon started"),
        };
        html.raw("</dd>\n");
    }
    html.element("<dt>Databases</dt><dd>", job.databases.join(", "), "</dd>\n");
    html.element("<dt>Store</dt><dd>", &job.store, "</dd>\n");
    if !job.copies.is_empty() {
        html.element("<dt>Copies to</dt><dd>", job.copies.join(", "), "</dd>\n");
    }
    html.element("<dt>Keeps</dt><dd>", job.retention.as_deref().unwrap_or("everything"), "</dd>\n");
    html.element("<dt>Checks</dt><dd>", checks(job), "</dd>\n</dl>\n</article>\n");
}

fn checks(job: &JobView) -> String {
    let verified = match job.verify_parts {
        None => "nothing is verified".to_owned(),
        Some(1) => "verifies everything each day".to_owned(),
        Some(parts) => format!("verifies one of {parts} parts each day"),
    };
    let drilled = if job.has_drills { "drills" } else { "no drills" };
    let age = job.max_age.as_ref().map(|age| format!(", stale after {age}")).unwrap_or_default();
    format!("{verified}, {drilled}{age}")
}

fn last_run(html: &mut Html, run: &RunView, moment: Moment) {
    let (class, outcome) = match run.outcome {
        RunOutcome::Succeeded => ("<span class=\"good\">", "done"),
        RunOutcome::Warnings => ("<span class=\"caution\">", "done, with warnings"),
        RunOutcome::Interrupted => ("<span class=\"caution\">", "interrupted"),
        _ => ("<span class=\"bad\">", "failed"),
    };
    html.element(class, outcome, "</span> ");
    time(html, run.ended_at, &ago(run.ended_at, moment.now), moment);
    html.text(format_args!(", took {}", taken(run.seconds)));
    html.element("<br><small>", &run.did, "</small>");
}

fn taken(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        10.0..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn store_card(html: &mut Html, store: &StoreView, moment: Moment) {
    html.raw("<article class=\"card store\" aria-label=\"Store ")
        .text(&store.name)
        .raw("\">\n<div class=\"title\"><h3>");
    html.text(&store.name).raw("</h3>");
    if store.location != store.name {
        html.element("<small>", &store.location, "</small>");
    }
    html.raw("</div>\n<p class=\"soft\">");
    match store.read_at {
        Some(at) => {
            html.text(format_args!("{}, {}", counted(store.snapshots, "snapshot"), size(store.bytes)));
            if let Some(bytes) = store.bytes_per_day {
                html.text(format_args!(", {} more each day", size(bytes as u64)));
            }
            html.raw(". Read ");
            time(html, at, &ago(at, moment.now), moment).raw(".");
        }
        None if store.error.is_some() => _ = html.raw("It could not be read since the daemon started."),
        None => _ = html.raw("It is being read."),
    }
    html.raw("</p>\n");
    for problem in &store.problems {
        html.element("<p class=\"note bad\">", problem, "</p>\n");
    }
    store.databases.iter().for_each(|database| databases::database(html, database, moment));
    html.raw("</article>\n");
}

fn failures(html: &mut Html, view: &View, moment: Moment) {
    html.raw("<section aria-labelledby=\"failures\">\n<h2 id=\"failures\">Recent failures</h2>\n");
    if view.failures.is_empty() {
        html.raw("<p class=\"soft\">Nothing has failed since the daemon started.</p>\n</section>\n");
        return;
    }
    html.raw("<ol class=\"failures\">\n");
    for FailureView { at, job, message } in &view.failures {
        html.raw("<li><strong>").text(job).raw("</strong> <span class=\"soft\">");
        time(html, *at, &ago(*at, moment.now), moment);
        html.element("</span><br>", message, "</li>\n");
    }
    html.raw("</ol>\n</section>\n");
}

fn footer(html: &mut Html, view: &View, moment: Moment) {
    html.raw("<footer>\n<p>ruvector-snapshot ").text(env!("CARGO_PKG_VERSION")).raw(", running since ");
    time(html, view.started_at, &ago(view.started_at, moment.now), moment);
    html.text(format_args!(". This page is of {}, and is loaded again each minute. ", moment.zone.time(moment.now)));
    html.raw("For programs: <a href=\"/metrics\">metrics</a>, <a href=\"/readyz\">ready</a>, <a href=\"/healthz\">alive</a>.</p>\n</footer>\n");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

    use super::super::view::{DatabaseView, Point};
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
    }

    fn text(view: &View) -> String {
        render(view, now(), Zone::Utc)
    }

    fn job(name: &str, stale: &[&str]) -> JobView {
        let stale = stale.iter().map(|why| (*why).to_owned()).collect();
        JobView { name: name.to_owned(), stale, ..JobView::default() }
    }

    #[test]
    fn the_headline_says_whether_all_is_well() {
        let view = |jobs: &[JobView]| View { is_alive: true, jobs: jobs.to_vec(), ..View::default() };
        let stale = |name| job(name, &["it is old"]);
        for (view, headline) in [
            (view(&[]), "There are no jobs"),
            (view(&[job("a", &[])]), "The job is fresh"),
            (view(&[job("a", &[]), job("b", &[])]), "All 2 jobs are fresh"),
            (view(&[job("a", &[]), stale("b")]), "1 job is stale: b"),
            (view(&["a", "b", "c", "d", "e", "f"].map(stale)), "6 jobs are stale: a, b, c, d and 2 more"),
            (View { is_alive: false, ..view(&[job("a", &[])]) }, "The scheduler does not respond"),
        ] {
            let page = text(&view);
            assert!(page.contains(&format!("<span>{headline}</span></h1>")), "{headline}: {page}");
            assert!(page.contains(&format!("<title>{headline}</title>")), "{headline}");
        }
    }

    /// Returns a chain of snapshots, so many hours old.
    fn points(ages: impl Iterator<Item = i64>) -> Vec<Point> {
        let mut points: Vec<Point> = Vec::new();
        for age in ages {
            let at = now() - TimeDelta::hours(age);
            let base = points.last().map(|point| point.id.clone());
            points.push(Point { id: age.to_string(), at, base, bytes: 100, ..Point::default() });
        }
        points
    }

    fn of(points: Vec<Point>) -> View {
        let database = DatabaseView { source: "articles".to_owned(), points, older: 9750, ..DatabaseView::default() };
        let store = StoreView { databases: vec![database], ..StoreView::default() };
        View { is_alive: true, stores: vec![Arc::new(store)], ..View::default() }
    }

    #[test]
    fn a_page_of_many_snapshots_is_bounded() {
        let page = text(&of(points((0..250).rev())));
        assert!(page.len() < 200_000, "{}", page.len());
        assert!(page.contains("9,750 older snapshots not drawn") && page.contains("The newest 12 of 10,000 snapshots"));
        assert_eq!((page.matches("<use href=\"#s-part\" class").count(), page.matches("<tr>").count()), (249, 13));
    }

    #[test]
    fn snapshots_are_in_their_order_and_spread_if_they_are_close_together() {
        let places = |view: &View| -> Vec<f64> {
            let page = text(view);
            let marks = page
                .split("class=\"m-")
                .skip(1)
                .filter_map(|mark| mark.split_once("x=\"")?.1.split('%').next()?.parse().ok());
            marks.take(view.stores[0].databases[0].points.len()).collect()
        };
        let even = of(points((0..20).rev()));
        let kept_by_rules = of(points([20_000, 9000, 4000, 48, 24, 5, 4, 3, 2, 1, 0].into_iter()));
        for (view, is_spread) in [(&even, false), (&kept_by_rules, true), (&of(points(0..1)), false)] {
            let places = places(view);
            assert!(places.is_sorted_by(|one, other| one < other), "{places:?}");
            assert!(places.iter().all(|place| (2.5..=97.5).contains(place)), "{places:?}");
            assert_eq!(text(view).contains("close snapshots are spread"), is_spread);
        }
        // Apart by their number alone at least a little.
        assert!(places(&kept_by_rules).windows(2).all(|pair| pair[1] - pair[0] > 5.0));
    }
}
