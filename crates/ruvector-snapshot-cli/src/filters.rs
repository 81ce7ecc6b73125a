//! The options that select snapshots of a listing: `list` and `stats` have them.

use std::collections::BTreeSet;

use clap::Args;
use ruvector_snapshot::{LabelPattern, ListFilter, Listing, Since, Snapshot, closest};

use crate::output::enumerated;
use crate::values::not_empty;

/// Which snapshots of the store a command is about.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only snapshots with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only snapshots of this source: its name, or HOST:PATH, the path or the host of the database
    #[arg(long, value_name = "SOURCE", value_parser = not_empty)]
    pub(crate) source: Option<String>,
    /// Only snapshots that were taken since then: so long ago, for example 7d or 3mo, or a date, for example 2026-01-31, which
    /// begins in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only snapshots with this label. Can be repeated, and then all must be there
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub(crate) labels: Vec<LabelPattern>,
}

impl Filters {
    /// Returns them as the library takes them.
    pub(crate) fn filter(&self) -> ListFilter {
        let mut filter = ListFilter::default();
        filter.name.clone_from(&self.name);
        filter.source.clone_from(&self.source);
        filter.labels.clone_from(&self.labels);
        filter.since = self.since;
        filter
    }

    /// Returns what may have been meant, if no snapshot of the store has the name, the source or a label that is asked for.
    pub(crate) fn advice(&self, listing: &Listing) -> Option<String> {
        let fits = |filter: ListFilter| !filter.select(listing, listing.listed_at).is_empty();
        let meant = |found: Option<&str>, else_named: String| match found {
            Some(found) => format!("did you mean {found}?"),
            None => else_named,
        };
        if listing.snapshots.is_empty() {
            return None;
        }
        if let Some(name) = self.name.as_ref().filter(|name| !fits(ListFilter::default().name(*name))) {
            let names = distinct(listing, |snapshot| vec![snapshot.name.clone()]);
            let found = closest(name, names.iter().map(String::as_str));
            return Some(meant(found, format!("the names of the snapshots are: {}", enumerated(&names))));
        }
        if let Some(source) = self.source.as_ref().filter(|source| !fits(ListFilter::default().source(*source))) {
            let sources = distinct(listing, |snapshot| vec![snapshot.source.id_or_kind()]);
            let found = closest(source, sources.iter().map(String::as_str));
            return Some(meant(found, format!("the sources of the snapshots are: {}", enumerated(&sources))));
        }
        let label = self.labels.iter().find(|label| !fits(ListFilter::default().label((*label).clone())))?;
        let pairs = distinct(listing, |snapshot| {
            let labels = snapshot.labels.iter();
            labels
                .map(|(key, value)| label.value.as_ref().map_or(key.to_owned(), |_| format!("{key}={value}")))
                .collect()
        });
        let found = closest(&label.to_string(), pairs.iter().map(String::as_str));
        let is_unknown = listing.snapshots.iter().any(|snapshot| !snapshot.unreadable_annotations.is_empty());
        let none = match is_unknown {
            true => "no snapshot has a label, as far as is known: annotations cannot be read".to_owned(),
            false => "no snapshot has a label".to_owned(),
        };
        Some(meant(found, if pairs.is_empty() { none } else { format!("the labels are: {}", enumerated(&pairs)) }))
    }
}

fn distinct(listing: &Listing, of: impl Fn(&Snapshot) -> Vec<String>) -> BTreeSet<String> {
    listing.snapshots.iter().flat_map(of).collect()
}
