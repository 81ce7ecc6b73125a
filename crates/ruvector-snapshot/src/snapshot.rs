//! What is known of a store without reading data: [`Snapshot`], [`Listing`] and [`Orphan`]. Asks no store.

pub(crate) mod ancestry;
pub(crate) mod checks;
pub(crate) mod compacted;
pub(crate) mod problems;
pub(crate) mod short_ids;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::{SnapshotMetadata, SourceInfo};
use ruvector_snapshot_format::model::{Changes, SnapshotType};
use ruvector_snapshot_format::{Labels, RawJson};
use serde::{Deserialize, Deserializer, Serialize};

use self::checks::Checks;
use self::short_ids::ShortIds;
use crate::error::{ErrorKind, Result, SnapshotError};

/// How far ahead of the clock a snapshot may be dated: clocks of several machines do not agree exactly. One that is dated
/// further ahead is taken to come from a wrong clock. It is [`Listing::dated_in_future`], names and `latest` do not mean
/// it, and rules of a retention policy do not count it.
///
/// # Examples
///
/// ```
/// assert_eq!(ruvector_snapshot::CLOCK_TOLERANCE.num_minutes(), 5);
/// ```
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Size of the largest JSON of the user that a listing has, in bytes.
const LISTED_JSON_BYTES_MAX: usize = 4 << 10;

/// The number of sentences in [`SourceInfo::not_captured`] that a listing has of each snapshot.
const LISTED_SENTENCES_MAX: usize = 64;

/// A snapshot, as its `metadata.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The id: 36 characters, never used twice, sorts by time.
    pub id: String,
    /// The name that the user gave. Several snapshots can have the same name.
    pub name: String,
    /// When the snapshot was taken.
    pub created_at: DateTime<Utc>,
    /// Size of the five stored files, in bytes.
    pub size_bytes: u64,
    /// The content checksum: 64 hexadecimal digits. Equal contents have equal checksums, whatever the compression.
    pub checksum: String,
    /// Full, or incremental with its base.
    pub snapshot_type: SnapshotType,
    /// Number of records in the state.
    pub vector_count: usize,
    /// Number of f32 values in each vector.
    pub dimensions: usize,
    /// The distance metric in Ruvector's notation. `None` if the database did not record it.
    pub distance_metric: Option<String>,
    /// The labels. A listing and [`get_snapshot`](crate::SnapshotManager::get_snapshot) have them as they are now, with what
    /// [annotations](crate::SnapshotManager::annotate_snapshot) have changed. Other reports have those of the create.
    pub labels: Labels,
    /// The note, as it is now or as it was given to the create: see [`labels`](Self::labels).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Sentences about annotations that could not be read. What they have changed is not in the labels and the note.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_annotations: Vec<String>,
    /// The JSON that the user gave in [`CreateOptions::metadata`](crate::CreateOptions::metadata), or null. `None` if it was
    /// left out: a listing and a chain have none of more than 4 KiB.
    /// [`get_snapshot`](crate::SnapshotManager::get_snapshot) reads it.
    #[serde(default, deserialize_with = "some_json", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RawJson>,
    /// Where the records came from. A listing and a chain have the first 64 sentences of what was not captured, and one
    /// that says how many more there are.
    pub source: SourceInfo,
    /// What the database and the user have recorded of the embedding model. `None` if that is nothing, and in a listing if
    /// it has more than 32 KiB.
    pub embedding: Option<EmbeddingInfo>,
    /// What the snapshot holds apart from records: rows of the database file that are kept as they are. `None` if there
    /// are none.
    pub irregular: Option<IrregularInfo>,
    /// Size of the three data files when expanded, in bytes.
    pub raw_bytes: u64,
    /// Stored size of each of the five files, in bytes.
    pub files: BTreeMap<String, u64>,
    /// Number of records that an incremental snapshot adds, changes and removes. `None` for a full snapshot.
    pub changes: Option<Changes>,
    /// Whether the snapshot is protected from deletion.
    pub pinned: bool,
    /// The program that wrote the snapshot.
    pub writer: String,
}

impl Snapshot {
    /// Returns the prefix of the keys of the snapshot's files, without the slash: the name of its directory in a local
    /// store.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(snapshot: ruvector_snapshot::Snapshot) {
    /// assert_eq!(snapshot.prefix(), format!("snapshot-{}", snapshot.id));
    /// # }
    /// ```
    pub fn prefix(&self) -> String {
        layout::prefix(&self.id)
    }

    pub(crate) fn new(metadata: &SnapshotMetadata, metadata_json_bytes: u64) -> Result<Self> {
        let mut files = BTreeMap::from([(layout::METADATA_JSON.to_owned(), metadata_json_bytes)]);
        let mut raw_bytes = 0u64;
        for file in DataFile::ALL {
            let info = metadata.file(file)?;
            files.insert(file.name().to_owned(), info.bytes);
            raw_bytes = raw_bytes.saturating_add(info.raw_bytes);
        }
        files.insert(layout::CHECKSUM_SHA256.to_owned(), metadata.checksum_sha256(b"")?.len() as u64);
        Ok(Self {
            id: metadata.id.to_string(),
            name: metadata.name.clone(),
            created_at: metadata.created_at,
            size_bytes: files.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
            checksum: metadata.checksum.to_string(),
            snapshot_type: metadata.snapshot_type.clone(),
            vector_count: usize::try_from(metadata.vector_count).unwrap_or(usize::MAX),
            dimensions: usize::try_from(metadata.dimensions).unwrap_or(usize::MAX),
            distance_metric: metadata.distance_metric.clone(),
            labels: metadata.labels.clone(),
            note: metadata.note.clone(),
            unreadable_annotations: Vec::new(),
            metadata: Some(metadata.metadata.clone()),
            source: metadata.source.clone(),
            embedding: metadata.embedding.clone(),
            irregular: metadata.irregular.clone(),
            raw_bytes,
            files,
            changes: metadata.changes,
            pinned: false,
            writer: metadata.writer.clone(),
        })
    }

    /// Leaves out what is large in memory. Many snapshots can be listed at the same time.
    pub(crate) fn for_listing(mut self) -> Self {
        self.metadata = self.metadata.filter(|json| !is_large(json));
        self.source = for_listing(self.source);
        self.embedding = self.embedding.filter(|embedding| !embedding.is_large());
        self
    }

    /// Returns the id of the base of an incremental snapshot, or `None` for a full one.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(snapshot: ruvector_snapshot::Snapshot) {
    /// match snapshot.base_id() {
    ///     Some(base_id) => println!("an increment of {base_id}"),
    ///     None => println!("a full snapshot"),
    /// }
    /// # }
    /// ```
    pub fn base_id(&self) -> Option<&str> {
        match &self.snapshot_type {
            SnapshotType::Incremental { base_id } => Some(base_id),
            SnapshotType::Full => None,
        }
    }

    /// Returns a sentence about each annotation that could not be read. It says nothing of the data.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(snapshot: ruvector_snapshot::Snapshot) {
    /// for warning in snapshot.annotation_warnings() {
    ///     println!("warning: {warning}");
    /// }
    /// # }
    /// ```
    pub fn annotation_warnings(&self) -> impl Iterator<Item = String> {
        self.unreadable_annotations.iter().map(|problem| annotation_warning(&self.id, problem))
    }
}

/// Returns the sentence about an annotation of a snapshot that could not be read.
pub(crate) fn annotation_warning(id: &str, problem: &str) -> String {
    format!(
        "labels and note of snapshot {id} may be others: {problem}; the snapshot itself is not affected, and `annotate` of it \
         replaces what is corrupt"
    )
}

/// Returns whether the user's JSON is left out of listings.
pub(crate) fn is_large(json: &RawJson) -> bool {
    json.get().len() > LISTED_JSON_BYTES_MAX
}

/// Leaves out all but the first sentences of what was not captured. A short string takes ten times its JSON in memory.
pub(crate) fn for_listing(mut source: SourceInfo) -> SourceInfo {
    let more = source.not_captured.len().saturating_sub(LISTED_SENTENCES_MAX);
    if more > 0 {
        source.not_captured.truncate(LISTED_SENTENCES_MAX);
        source.not_captured.push(format!("and {more} more"));
        source.not_captured.shrink_to_fit();
    }
    source
}

/// Reads null as JSON, and not as nothing.
fn some_json<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

/// Returns whether a moment is so far ahead of `now` that it comes from a wrong clock.
pub(crate) fn is_in_future(moment: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    moment > latest_now(now)
}

/// Returns the latest moment that is not in the future at the time `now`.
pub(crate) fn latest_now(now: DateTime<Utc>) -> DateTime<Utc> {
    now.checked_add_signed(CLOCK_TOLERANCE).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// As [`is_in_future`], for the moment in an id.
fn is_id_in_future(id: &str, now: DateTime<Utc>) -> bool {
    let Some(latest) = now.checked_add_signed(CLOCK_TOLERANCE) else { return false };
    match SnapshotId::new(latest, u64::MAX) {
        // Ids sort by time, also those whose time is not in any calendar.
        Ok(latest) => id > latest.as_str(),
        // Before the first id that can be written, or after the last.
        Err(_) => latest < DateTime::UNIX_EPOCH,
    }
}

/// Compares snapshots in the order in which they are listed: newest first. A full snapshot and the incremental one that
/// it was compacted from have the same time; the full one comes first, because it replaces the other.
pub(crate) fn newest_first(a: &Snapshot, b: &Snapshot) -> Ordering {
    let age = |snapshot: &Snapshot| (snapshot.created_at, snapshot.snapshot_type == SnapshotType::Full);
    age(b).cmp(&age(a)).then_with(|| b.id.cmp(&a.id))
}

/// The contents of a store.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// When the listing was made, by the clock of this machine: what ages are counted from.
    pub listed_at: DateTime<Utc>,
    /// The snapshots, newest first.
    pub snapshots: Vec<Snapshot>,
    /// Snapshots that cannot be used, newest first: `metadata.json` is corrupt, missing or of a newer version, another file is
    /// missing or has another size, or the snapshot cannot be read. Without `checksum.sha256`, a snapshot can be used.
    pub unusable: Vec<UnusableSnapshot>,
    /// What is wrong with the `checksum.sha256` of those of `snapshots` that have none, or one of another size, by id. They are
    /// corrupt, and can be restored; no increment can be based on them.
    pub damaged: BTreeMap<String, String>,
    /// Ids of uploads in progress and of abandoned uploads, newest first. They are not snapshots.
    pub pending_uploads: Vec<String>,
    /// Ids of those of `pending_uploads` that may be snapshots, newest first: for an hour they have had all files of one except
    /// `metadata.json`. Either that file was lost, or the upload was interrupted just before it was written.
    pub possibly_lost: Vec<String>,
    /// Ids of snapshots whose deletion is in progress or was interrupted after `metadata.json` was deleted, newest
    /// first. They are not snapshots any more.
    pub deleting: Vec<String>,
    /// Ids of those of `snapshots` that have a deletion marker, newest first. They are still intact, but no new
    /// snapshot can use them as a base.
    pub marked_for_deletion: Vec<String>,
    /// Ids of those of `snapshots` and `unusable` that are dated in the future, by more than [`CLOCK_TOLERANCE`], newest
    /// first. A name and `latest` mean one of them only if they can mean no other.
    pub dated_in_future: Vec<String>,
    /// Everything else that commands have written, with its size: uploads and interrupted deletions, temporary files,
    /// objects of store checks, and multipart uploads. Whatever its age: a command that is running owns some of it, and
    /// the rest is [collected](crate::SnapshotManager::collect_garbage) after the grace period, except multipart uploads.
    pub unfinished: Vec<Orphan>,
    /// Whether `unfinished` has all multipart uploads of the store. False if the provider or the server cannot list them,
    /// if the permission is missing, if there are more than 1,000, or if the server takes more than 10 seconds.
    pub multipart_uploads_known: bool,
    /// What the ledger of each of `snapshots` and `unusable` says of its verifications, by id, and what those of the ancestors
    /// say of corruption. Without those of which they say nothing.
    pub checks: BTreeMap<String, Checks>,
    /// Number of objects in the store that belong neither to a snapshot nor to a store check. They are never read and
    /// never deleted. A foreign file or directory in a local directory counts as one, whatever is in it.
    pub foreign: u64,
}

/// A snapshot that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnusableSnapshot {
    /// The id.
    pub id: String,
    /// The name, if `metadata.json` can be read.
    pub name: Option<String>,
    /// Where its records came from, if `metadata.json` can be read.
    pub source: Option<SourceInfo>,
    /// The reason.
    pub error: SnapshotError,
}

impl UnusableSnapshot {
    /// Returns whether nothing is known of the snapshot because it could not be read, for example for lack of a permission.
    /// It may be intact. So it may depend on any older snapshot, and none of these is deleted.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for unusable in listing.unusable.iter().filter(|unusable| unusable.is_unread()) {
    ///     println!("{} could not be read: {}", unusable.id, unusable.error);
    /// }
    /// # }
    /// ```
    pub fn is_unread(&self) -> bool {
        !matches!(self.error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NotFound)
    }

    /// Returns whether a restore of it, or of a snapshot that depends on it, can succeed all the same: `metadata.json` is intact,
    /// and a data file is missing or has another size. A restore reads parts of files, and does not miss the others. Its
    /// [plan](crate::SnapshotManager::plan_restore) shows whether it would succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for unusable in listing.unusable.iter().filter(|unusable| unusable.may_be_restorable()) {
    ///     println!("{} is corrupt, but a restore may succeed", unusable.id);
    /// }
    /// # }
    /// ```
    pub fn may_be_restorable(&self) -> bool {
        self.error.kind() == ErrorKind::Corrupt && self.name.is_some()
    }
}

impl Listing {
    /// Returns whether a snapshot is [dated in the future](Self::dated_in_future).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for snapshot in &listing.snapshots {
    ///     if listing.is_dated_in_future(&snapshot.id) {
    ///         println!("a clock was wrong when {} was taken", snapshot.id);
    ///     }
    /// }
    /// # }
    /// ```
    pub fn is_dated_in_future(&self, id: &str) -> bool {
        self.dated_in_future.iter().any(|other| other == id)
    }

    /// Returns whether the store has snapshots of several databases: then names alone do not say which are meant.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// if listing.has_several_sources() {
    ///     println!("the store is shared");
    /// }
    /// # }
    /// ```
    pub fn has_several_sources(&self) -> bool {
        let mut sources = self.snapshots.iter().map(|snapshot| snapshot.source.id_or_kind());
        let first = sources.next();
        sources.any(|source| Some(source) != first)
    }

    /// Returns what is recorded of the verifications of a snapshot. `None` if it is nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// let is_corrupt = |id: &str| listing.checks_of(id).is_some_and(|checks| checks.corrupt_at().is_some());
    /// for snapshot in listing.snapshots.iter().filter(|snapshot| is_corrupt(&snapshot.id)) {
    ///     println!("{} was found corrupt", snapshot.id);
    /// }
    /// # }
    /// ```
    pub fn checks_of(&self, id: &str) -> Option<&Checks> {
        self.checks.get(id)
    }

    /// Returns what is [unfinished](Self::unfinished) of an upload or a deletion: its finished objects.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// for id in &listing.pending_uploads {
    ///     println!("{id}: {} bytes so far", listing.unfinished_of(id).map_or(0, |objects| objects.bytes));
    /// }
    /// # }
    /// ```
    pub fn unfinished_of(&self, id: &str) -> Option<&Orphan> {
        let key = layout::prefix(id);
        self.unfinished.iter().find(|one| one.key == key)
    }

    /// Fills [`dated_in_future`](Self::dated_in_future). The moment of an unusable snapshot is that of its id.
    pub(crate) fn find_dated_in_future(&mut self, now: DateTime<Utc>) {
        let usable = self.snapshots.iter().filter(|snapshot| is_in_future(snapshot.created_at, now));
        let unusable = self.unusable.iter().filter(|unusable| is_id_in_future(&unusable.id, now));
        let ids = usable.map(|snapshot| &snapshot.id).chain(unusable.map(|unusable| &unusable.id));
        self.dated_in_future = ids.cloned().collect();
        self.dated_in_future.sort_by(|a, b| b.cmp(a));
    }

    /// Returns the time in an id, to the second: when the snapshot was taken, or the upload begun. `None` if it is no time.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::Listing;
    ///
    /// let moment = Listing::moment_of("20260131T080000000Z-0123456789abcdef");
    /// assert_eq!(moment.map(|moment| moment.to_rfc3339()).as_deref(), Some("2026-01-31T08:00:00+00:00"));
    /// ```
    pub fn moment_of(id: &str) -> Option<DateTime<Utc>> {
        NaiveDateTime::parse_from_str(id.get(..15)?, "%Y%m%dT%H%M%S").ok().map(|moment| moment.and_utc())
    }

    /// Returns how short the ids of the store can be.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// let short = listing.short_ids();
    /// for snapshot in &listing.snapshots {
    ///     println!("{}", short.shorten(&snapshot.id));
    /// }
    /// # }
    /// ```
    pub fn short_ids(&self) -> ShortIds {
        ShortIds::of(self.ids().chain(self.base_ids()))
    }

    /// Returns the bases that snapshots name. One that is missing is printed too, and must not look like another.
    fn base_ids(&self) -> impl Iterator<Item = &str> {
        self.snapshots.iter().filter_map(Snapshot::base_id)
    }

    /// Returns the ids of everything that is listed: of snapshots that can be used, of those that cannot, and of uploads and
    /// deletions that have not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(listing: ruvector_snapshot::Listing) {
    /// println!("{} prefixes", listing.ids().count());
    /// # }
    /// ```
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let usable = self.snapshots.iter().map(|snapshot| &snapshot.id);
        let unusable = self.unusable.iter().map(|unusable| &unusable.id);
        usable.chain(unusable).chain(&self.deleting).chain(&self.pending_uploads).map(String::as_str)
    }
}

/// Something in the store that belongs to no snapshot: an interrupted process has left it, or, if it is listed as
/// unfinished, a running one may need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Orphan {
    /// The key of an object, the prefix of several, or the name of a file in a local store.
    pub key: String,
    /// What it is.
    pub kind: OrphanKind,
    /// Size in bytes.
    pub bytes: u64,
    /// When the oldest of its objects was written, by the clock of the store. `None` if that is not known.
    pub written_at: Option<DateTime<Utc>>,
}

/// The kind of an [`Orphan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OrphanKind {
    /// An abandoned upload.
    Upload,
    /// An interrupted deletion.
    Deletion,
    /// A marker beside a snapshot that is no longer needed.
    Marker,
    /// A ledger entry that is not needed: a newer one replaces it, or its snapshot was deleted.
    LedgerEntry,
    /// An annotation that is not needed: a newer one includes it, or its snapshot was deleted.
    Annotation,
    /// An object of a store check.
    Check,
    /// A temporary file of a local store.
    Staged,
    /// A multipart upload in a bucket that has not ended. Its parts take space, and no listing shows them. Only a
    /// lifecycle rule of the bucket removes it.
    Multipart,
    /// An empty directory of a local store.
    Directory,
}
