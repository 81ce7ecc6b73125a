//! The columns of `list`, and which of them are printed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ruvector_snapshot::{Ancestry, ChainEnd, Checks, Listing, ShortIds, Snapshot, VerifyDepth};

use crate::output::{Cell, Column, Table, Tone, ago, count, distinguished, size};
use crate::session::Session;

/// A column of `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListColumn {
    Id,
    Name,
    Taken,
    Age,
    Records,
    Dimensions,
    Stored,
    Logical,
    Verified,
    Drilled,
    Type,
    Base,
    Pinned,
    Source,
    Labels,
    Note,
}

use ListColumn as C;

impl ListColumn {
    /// All of them, in the order in which they are printed.
    pub(crate) const ALL: [Self; 16] = [
        C::Id,
        C::Name,
        C::Taken,
        C::Age,
        C::Records,
        C::Dimensions,
        C::Stored,
        C::Logical,
        C::Verified,
        C::Drilled,
        C::Type,
        C::Base,
        C::Pinned,
        C::Source,
        C::Labels,
        C::Note,
    ];
    /// Those of a pipe: scripts may count them, so a column is only added at the end.
    const PIPE: [Self; 10] =
        [C::Id, C::Name, C::Taken, C::Records, C::Dimensions, C::Stored, C::Verified, C::Drilled, C::Type, C::Source];

    pub(crate) fn word(self) -> &'static str {
        match self {
            C::Id => "id",
            C::Name => "name",
            C::Taken => "taken",
            C::Age => "age",
            C::Records => "records",
            C::Dimensions => "dimensions",
            C::Stored => "stored",
            C::Logical => "logical",
            C::Verified => "verified",
            C::Drilled => "drilled",
            C::Type => "type",
            C::Base => "base",
            C::Pinned => "pinned",
            C::Source => "source",
            C::Labels => "labels",
            C::Note => "note",
        }
    }

    /// Returns how the column is printed. The rank says in which order columns are left out if a terminal is too narrow: the
    /// highest first.
    fn column(self, session: &Session, listing: &Listing) -> Column {
        let is_utc = session.output.zone().name() == "UTC";
        match self {
            C::Id => Column::new("ID"),
            C::Name => Column::new("NAME").cut_to(10),
            C::Taken => Column::new(if is_utc { "TAKEN (UTC)" } else { "TAKEN" }).rank(4),
            // It is left out before the source, without which snapshots of several databases look alike.
            C::Age => Column::new("AGE").rank(if listing.has_several_sources() { 3 } else { 2 }),
            C::Records => Column::new("RECORDS").number().rank(3),
            C::Dimensions => Column::new("DIMENSIONS").number().rank(10),
            C::Stored => Column::new("STORED").number(),
            C::Logical => Column::new("LOGICAL").number().rank(7),
            C::Verified => Column::new("VERIFIED").rank(1),
            C::Drilled => Column::new("DRILLED").rank(8),
            C::Type => Column::new("TYPE"),
            C::Base => Column::new("BASE").rank(9),
            C::Pinned => Column::new("PINNED").rank(11),
            // Names alone do not say which database a snapshot is of.
            C::Source if listing.has_several_sources() => Column::new("SOURCE").rank(2).cut_start_to(8),
            C::Source => Column::new("SOURCE").rank(5).cut_start_to(12),
            C::Labels => Column::new("LABELS").rank(6).cut_to(12),
            C::Note => Column::new("NOTE").rank(12).cut_to(12),
        }
    }

    fn cell(
        self,
        session: &Session,
        listing: &Listing,
        bases: &ShortIds,
        (snapshot, ancestry, source): (&Snapshot, &Ancestry, &str),
        is_chosen: bool,
    ) -> Cell {
        match self {
            C::Id => session.short(&snapshot.id).into(),
            C::Name => snapshot.name.as_str().into(),
            C::Taken => session.output.zone().short_time(snapshot.created_at).into(),
            C::Age => ago(snapshot.created_at, listing.listed_at).into(),
            C::Records => count(snapshot.vector_count as u64).into(),
            C::Dimensions => snapshot.dimensions.to_string().into(),
            C::Stored => size(snapshot.size_bytes).into(),
            C::Logical => size(snapshot.raw_bytes).into(),
            C::Verified => verified(snapshot, ancestry, listing),
            C::Drilled => drilled(snapshot, listing, is_chosen || session.output.columns().is_none()),
            C::Type => snapshot_type(session, (snapshot, ancestry), listing, bases).into(),
            C::Base => snapshot.base_id().map(|base| bases.shorten(base)).unwrap_or_default().into(),
            C::Pinned => if snapshot.pinned { "pinned" } else { "" }.into(),
            C::Source => source.into(),
            C::Labels => labels(snapshot).into(),
            C::Note => snapshot.note.clone().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for ListColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ListColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::word).join(", ");
        let known = Self::ALL.into_iter().find(|column| column.word() == text.trim());
        known.ok_or_else(|| format!("the columns are {}", words()))
    }
}

/// Returns the table of these snapshots. Without a choice, a pipe has the columns that it always had, and the source if there are
/// several, and a terminal those that it has room for.
pub(super) fn table(
    session: &Session,
    listing: &Listing,
    snapshots: &[&Snapshot],
    chosen: Option<&[ListColumn]>,
) -> Table {
    let is_drilled = |checks: &Checks| {
        checks.drilled_at().or(checks.drill_failed_at()).is_some() || checks.is_outdated(VerifyDepth::Drill)
    };
    let is_any_drilled = listing.checks.values().any(is_drilled);
    let is_pipe = session.output.columns().is_none();
    let default = if is_pipe { &C::PIPE[..] } else { &C::ALL };
    let is_shown = |column: &&ListColumn| match column {
        // In TYPE already.
        C::Pinned => chosen.is_some(),
        C::Drilled => chosen.is_some() || is_any_drilled,
        C::Source => chosen.is_some() || !is_pipe || listing.has_several_sources(),
        _ => true,
    };
    let columns: Vec<ListColumn> = chosen.unwrap_or(default).iter().filter(is_shown).copied().collect();
    let has_failed = |checks: &Checks| checks.drill_failed_at().is_some();
    let is_any_failed = snapshots.iter().any(|snapshot| listing.checks_of(&snapshot.id).is_some_and(has_failed));
    let printed = columns.iter().map(|column| match (chosen, column) {
        (Some(_), _) => column.column(session, listing).rank(0),
        // What has failed matters more than most.
        (None, C::Drilled) if is_any_failed => column.column(session, listing).rank(2),
        (None, _) => column.column(session, listing),
    });
    let (mut table, bases, ancestries) = (Table::new(printed), listing.short_ids(), listing.ancestries());
    let sources: Vec<String> = listing.snapshots.iter().map(|snapshot| snapshot.source.id_or_kind()).collect();
    let is_cut = chosen.is_none() && !is_pipe;
    let distinguished = if is_cut { distinguished(sources.iter().map(String::as_str)) } else { BTreeMap::new() };
    for snapshot in snapshots {
        let ancestry = ancestries.of(snapshot);
        let source = snapshot.source.id_or_kind();
        let row = (*snapshot, &ancestry, distinguished.get(source.as_str()).unwrap_or(&source).as_str());
        table.add(columns.iter().map(|column| column.cell(session, listing, &bases, row, chosen.is_some())));
    }
    table.without_empty()
}

fn labels(snapshot: &Snapshot) -> String {
    snapshot.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// Returns when every byte of a snapshot was last found intact, or that it was found corrupt, or that what it depends on is not
/// there.
fn verified(snapshot: &Snapshot, ancestry: &Ancestry, listing: &Listing) -> Cell {
    if matches!(ancestry.end, ChainEnd::Missing | ChainEnd::Unusable) {
        return Cell::toned("BROKEN", Tone::Bad);
    }
    if std::iter::once(&snapshot.id).chain(&ancestry.ids).any(|id| listing.damaged.contains_key(id)) {
        return Cell::toned("DAMAGED", Tone::Bad);
    }
    let Some(checks) = listing.checks_of(&snapshot.id) else { return "never".into() };
    match (checks.corrupt_at(), checks.verified_at(), checks.intact_at(VerifyDepth::Quick)) {
        (Some(_), ..) => Cell::toned("CORRUPT", Tone::Bad),
        (None, Some(time), _) => ago(time, listing.listed_at).into(),
        (None, None, Some(time)) => format!("quick {}", ago(time, listing.listed_at)).into(),
        (None, None, None) if checks.is_outdated(VerifyDepth::Quick) => "outdated".into(),
        (None, None, None) => "never".into(),
    }
}

/// Returns when a snapshot was last restored as a drill, or that the last one has failed. When is left to a column with room.
fn drilled(snapshot: &Snapshot, listing: &Listing, has_room: bool) -> Cell {
    let checks = listing.checks_of(&snapshot.id);
    let [failed, passed] = [Checks::drill_failed_at, Checks::drilled_at].map(|time_of| checks.and_then(time_of));
    match (failed, passed) {
        (Some(_), _) if !has_room => Cell::toned("FAILED", Tone::Caution),
        (Some(time), _) => Cell::toned(format!("FAILED {}", ago(time, listing.listed_at)), Tone::Caution),
        (None, Some(time)) => ago(time, listing.listed_at).into(),
        (None, None) if checks.is_some_and(|checks| checks.is_outdated(VerifyDepth::Drill)) => "outdated".into(),
        (None, None) => "never".into(),
    }
}

/// Returns `full`, or the position in the chain, and in a pipe, which has no column for it, the base; and whether the
/// snapshot is dated in the future and pinned.
fn snapshot_type(
    session: &Session,
    (snapshot, ancestry): (&Snapshot, &Ancestry),
    listing: &Listing,
    bases: &ShortIds,
) -> String {
    let future = if listing.is_dated_in_future(&snapshot.id) { ", in the future" } else { "" };
    let pinned = if snapshot.pinned { ", pinned" } else { "" };
    let Some(base_id) = ancestry.ids.first() else { return format!("full{future}{pinned}") };
    let position = if ancestry.end == ChainEnd::Full { format!("+{} ", ancestry.ids.len()) } else { String::new() };
    let state = match (ancestry.ids.len(), ancestry.end) {
        (1, ChainEnd::Missing) => ", missing",
        (1, ChainEnd::Unusable) => ", unusable",
        (1, ChainEnd::Deleting) => ", being deleted",
        (_, ChainEnd::Missing | ChainEnd::Unusable) => ", chain broken",
        _ => "",
    };
    match session.output.columns() {
        None => format!("{position}base {}{state}{future}{pinned}", bases.shorten(base_id)),
        Some(_) => format!("{}{state}{future}{pinned}", position.trim_end()).trim_start_matches(", ").to_owned(),
    }
}
