//! From the listing of a store to what the status page has of it, and how fresh its databases are. Pure: asks no store and no clock.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ruvector_snapshot::retention::{self, ExternalRefs, PrunePlan};
use ruvector_snapshot::{
    ChainEnd, Freshness, FreshnessLimits, ListFilter, Listing, Result, ShortIds, Snapshot, Span, StaleReason,
    StoreStats,
};

use super::view::{DatabaseView, Point, PointState, StoreView};
use super::watched::{WatchedDatabase, WatchedStore};

/// Snapshots of a database that the page has at most.
const POINTS_MAX: usize = 250;
/// Reasons of one snapshot or database at most: a base may be needed by many.
const REASONS_MAX: usize = 4;
/// Characters of an id.
const ID_CHARS: usize = 36;
/// Characters of a text that a user or a server has chosen, at most.
const CHARS_MAX: usize = 600;

/// Returns how fresh the watched databases of a store are.
pub(super) fn freshness(store: &WatchedStore, listing: &Listing, now: DateTime<Utc>) -> Freshness {
    // No span is longer: a job that never runs again asks for no young snapshot.
    let endless = Span { years: 9999, ..Span::default() };
    let mut all = Freshness::of(listing, &[], &FreshnessLimits::default().max_age(endless), now);
    let known = store.databases.iter().filter_map(|database| {
        let limits = FreshnessLimits::default().max_age(database.max_age.unwrap_or(endless));
        let of_one = Freshness::of(listing, &[], &limits.source(&database.source), now);
        let mut known = of_one.databases.into_iter().next()?;
        // As the jobs call it: the listing has the source in one form of its characters.
        known.source.clone_from(&database.source);
        Some(known)
    });
    all.databases = known.collect();
    all
}

/// Returns what is known of a store from its listing, apart from what changes with the time.
pub(super) fn described(store: &WatchedStore, listing: &Listing) -> StoreView {
    let now = listing.listed_at;
    let stats = StoreStats::of(listing, &ListFilter::default(), now);
    let rules = reasons_of(store, listing);
    let views = store.databases.iter().map(|one| database_view(one, listing, rules.get(&one.source)));
    StoreView {
        name: store.name.clone(),
        location: store.location.clone(),
        read_at: Some(now),
        error: None,
        snapshots: stats.totals.snapshots,
        bytes: stats.totals.stored_bytes,
        bytes_per_day: stats.stored_bytes_per_day,
        problems: Vec::new(),
        databases: views.collect(),
    }
}

/// Puts into a description what changes with the time.
pub(super) fn refresh(view: &mut StoreView, freshness: &Freshness) {
    let problems = freshness.stale.iter().filter(|reason| **reason != StaleReason::EmptyStore);
    view.problems = bounded(problems);
    for database in &mut view.databases {
        let Some(known) = freshness.databases.iter().find(|known| known.source == database.source) else { continue };
        let newest = known.newest.as_ref();
        database.stale = bounded(&known.stale);
        (database.snapshots, database.bytes) = (known.snapshots, known.stored_bytes);
        (database.verified_at, database.drilled_at) = (known.verified_at, known.drilled_at);
        database.newest_at = newest.map(|newest| newest.created_at);
        database.records = newest.map_or(0, |newest| newest.records);
        database.records_added = newest.and_then(|newest| newest.records_added);
        database.chain_length = newest.map_or(0, |newest| newest.chain_length);
    }
}

/// Returns a text that is not longer than the page allows.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn bounded<'a, T: ToString + 'a>(all: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    let mut all = all.into_iter();
    let mut shown: Vec<String> = all.by_ref().take(REASONS_MAX).map(|one| cut(&one.to_string())).collect();
    let more = all.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// What rules say of each snapshot, by its id: why it is kept, and why it goes.
type Reasons = BTreeMap<String, (Vec<String>, Vec<String>)>;

/// The rules for a database.
struct Rules {
    name: String,
    /// Or why they delete nothing.
    reasons: std::result::Result<Reasons, String>,
}

/// Returns the rules of each database, by the name of its source.
fn reasons_of(store: &WatchedStore, listing: &Listing) -> BTreeMap<String, Rules> {
    let (mut all, external) = (BTreeMap::new(), ExternalRefs::of_listing(listing));
    for rules in &store.rules {
        let wanted = rules.sources.iter().filter(|source| !all.contains_key(*source));
        let wanted: Vec<String> = wanted.cloned().collect();
        if wanted.is_empty() {
            continue;
        }
        let plan = retention::plan(listing.snapshots.clone(), &external, &rules.policy, listing.listed_at);
        let plan = by_id(plan);
        for source in wanted {
            all.insert(source, Rules { name: rules.name.clone(), reasons: plan.clone() });
        }
    }
    all
}

fn by_id(plan: Result<PrunePlan>) -> std::result::Result<Reasons, String> {
    let plan = plan.map_err(|error| cut(error.message()))?;
    let keep = plan.keep.iter().map(|kept| (kept.snapshot.id.clone(), (bounded(&kept.reasons), Vec::new())));
    let drop = plan.drop.iter().map(|one| (one.snapshot.id.clone(), (Vec::new(), bounded(&one.reasons))));
    Ok(keep.chain(drop).collect())
}

fn database_view(database: &WatchedDatabase, listing: &Listing, rules: Option<&Rules>) -> DatabaseView {
    let is_of = |snapshot: &&Snapshot| snapshot.source.id_or_kind() == database.source;
    let mut own: Vec<&Snapshot> = listing.snapshots.iter().filter(is_of).collect();
    own.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let older = own.len().saturating_sub(POINTS_MAX);
    let (ancestries, short_ids) = (listing.ancestries(), listing.short_ids());
    let future: BTreeSet<&str> = listing.dated_in_future.iter().map(String::as_str).collect();
    let point = |snapshot: &&Snapshot| {
        let checks = listing.checks_of(&snapshot.id);
        let state = match checks.and_then(|checks| checks.corrupt_at()) {
            Some(_) => PointState::Corrupt,
            None if listing.damaged.contains_key(&snapshot.id) => PointState::Corrupt,
            None if ancestries.of(snapshot).end != ChainEnd::Full => PointState::Unusable,
            None if future.contains(&*snapshot.id) => PointState::Future,
            None => PointState::Sound,
        };
        let reasons = rules.and_then(|rules| rules.reasons.as_ref().ok()?.get(&snapshot.id));
        let (kept, dropped) = reasons.cloned().unwrap_or_default();
        let shortened = |reasons: Vec<String>| reasons.iter().map(|text| with_short_ids(text, &short_ids)).collect();
        Point {
            id: snapshot.id.clone(),
            short_id: short_ids.shorten(&snapshot.id).to_owned(),
            name: cut(&snapshot.name),
            at: snapshot.created_at,
            base: snapshot.base_id().map(str::to_owned),
            state,
            is_pinned: snapshot.pinned,
            records: snapshot.vector_count as u64,
            bytes: snapshot.size_bytes,
            verified_at: checks.and_then(|checks| checks.verified_at()),
            drilled_at: checks.and_then(|checks| checks.drilled_at()),
            kept: shortened(kept),
            dropped: shortened(dropped),
        }
    };
    DatabaseView {
        source: database.source.clone(),
        jobs: database.jobs.clone(),
        retention: rules.map(|rules| rules.name.clone()),
        retention_problem: rules.and_then(|rules| rules.reasons.as_ref().err().cloned()),
        points: own.iter().skip(older).map(point).collect(),
        older: older as u64,
        bytes_per_day: bytes_per_day(&own),
        ..DatabaseView::default()
    }
}

/// Returns the bytes that are added in a day on average, if the snapshots are of more than a day. The oldest is first.
fn bytes_per_day(snapshots: &[&Snapshot]) -> Option<f64> {
    let (oldest, others) = snapshots.split_first()?;
    let seconds = others.last()?.created_at.signed_duration_since(oldest.created_at).num_seconds();
    let added = others.iter().fold(0_u64, |sum, snapshot| sum.saturating_add(snapshot.size_bytes));
    let days = seconds as f64 / 86_400.0;
    (days >= 1.0).then(|| added as f64 / days)
}

/// Returns a text in which ids are as short as in the rest of the page.
fn with_short_ids(text: &str, short_ids: &ShortIds) -> String {
    let shortened = |word: &str| match word.split_at_checked(ID_CHARS) {
        Some((id, rest)) if Listing::moment_of(id).is_some() => format!("{}{rest}", short_ids.shorten(id)),
        _ => word.to_owned(),
    };
    text.split(' ').map(shortened).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_reasons_are_short() {
        let ids = ["20260131T080000000Z-0123456789abcdef", "20260201T080000000Z-0123456789abcdef"];
        let short_ids = ShortIds::of(ids);
        let short = short_ids.shorten(ids[0]);
        assert!(short.len() < ID_CHARS);
        for (text, expected) in [
            (format!("base of {}", ids[0]), format!("base of {short}")),
            (format!("base of {}, which is corrupt", ids[0]), format!("base of {short}, which is corrupt")),
            ("last 7".to_owned(), "last 7".to_owned()),
            (
                "label a-name-that-is-longer-than-an-id-is=é".to_owned(),
                "label a-name-that-is-longer-than-an-id-is=é".to_owned(),
            ),
        ] {
            assert_eq!(with_short_ids(&text, &short_ids), expected);
        }
    }
}
