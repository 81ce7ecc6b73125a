//! The options that select snapshots of a listing: `list` and `stats` have them.

use clap::Args;
use ruvector_snapshot::{LabelPattern, ListFilter, Since};

/// Which snapshots of the store a command is about.
#[derive(Debug, Args)]
pub(crate) struct Filters {
    /// Only snapshots with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only snapshots of this source: its name, or HOST:PATH, the path or the host of the database
    #[arg(long, value_name = "SOURCE")]
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
}
