//! The path of a database file as a snapshot records it: absolute, and as text. Whether a path is inside a snapshot. Opens no
//! file.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use ruvector_snapshot_format::layout;

use crate::error::{ErrorKind, Result, SnapshotError};

/// Returns the absolute path of a file. Symbolic links are kept, so that a link that is moved from one version of a
/// database to the next stays one source. Only what stands before a `..` is resolved, because `..` has no other meaning.
///
/// # Errors
///
/// Returns the error of the operating system if there is no current directory, or if a directory before a `..` does not
/// exist.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |error| SnapshotError::io(path, "resolve the path of the database", error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let components: Vec<Component<'_>> = absolute.components().collect();
    let Some(last) = components.iter().rposition(|component| *component == Component::ParentDir) else {
        return Ok(absolute);
    };
    let (resolved, kept) = components.split_at(last + 1);
    let mut path = resolved.iter().collect::<PathBuf>().canonicalize().map_err(failed)?;
    path.extend(kept);
    Ok(path)
}

/// Returns the name of the directory `snapshot-ID` that a path is in, or that it is. `None` if there is none.
///
/// The path need not exist. What exists of it may be a link into a snapshot.
pub(crate) fn snapshot_around(path: &Path) -> Option<String> {
    let full_path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = full_path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    [Some(full_path), real].into_iter().flatten().find_map(|path| {
        let mut names = path.components().filter_map(|component| component.as_os_str().to_str());
        names.find(|name| layout::parse_prefix(name).is_some()).map(str::to_owned)
    })
}

/// Refuses a path inside of a directory in which only a store writes: what else is there belongs to no snapshot, and is in the
/// way of those who keep the store.
///
/// The path need not exist. What exists of it may be a link into the directory.
///
/// # Errors
///
/// Returns `InvalidInput`.
pub(crate) fn check_outside(path: &Path, store: Option<&Path>) -> Result<()> {
    let Some(root) = store.and_then(|store| store.canonicalize().ok()) else { return Ok(()) };
    let full_path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = full_path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    if !real.is_some_and(|real| real.starts_with(&root)) {
        return Ok(());
    }
    let message = format!(
        "the path is inside of the store {}, which has only snapshots in it; choose a path outside of it",
        root.display()
    );
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string()))
}

/// Returns a path as text. Different paths have different texts: bytes that are not UTF-8 are written as `\xNN`.
pub(crate) fn text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _written = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn only_what_stands_before_a_parent_directory_is_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("data/deep")).unwrap();
        std::os::unix::fs::symlink(root.join("data/deep"), root.join("link")).unwrap();
        let of = |path: &str| absolute(&root.join(path)).unwrap();
        assert_eq!(of("link/./a.db"), root.join("link/a.db"));
        assert_eq!(of("link/../a.db"), root.join("data/a.db"));
        assert_eq!(of("link/../../link/a.db"), root.join("link/a.db"));
        assert_eq!(absolute(Path::new("a.db")).unwrap(), std::env::current_dir().unwrap().join("a.db"));
        assert!(absolute(&root.join("missing/../a.db")).is_err());
    }

    #[test]
    fn a_path_is_inside_a_snapshot_by_its_names_and_by_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let name = "snapshot-20260131T080000000Z-0123456789abcdef";
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::os::unix::fs::symlink(dir.path().join(name), dir.path().join("link")).unwrap();
        let around = |path: &str| snapshot_around(&dir.path().join(path));
        for inside in [name, &format!("{name}/a.db"), "link/a.db", "link/missing/a.db"] {
            assert_eq!(around(inside).as_deref(), Some(name), "{inside}");
        }
        for outside in ["a.db", "snapshot-1/a.db", "missing/a.db"] {
            assert_eq!(around(outside), None, "{outside}");
        }
    }

    #[test]
    fn different_paths_have_different_texts() {
        let of = |bytes: &[u8]| text(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(of("/srv/ünï.db".as_bytes()), "/srv/ünï.db");
        assert_eq!(of(b"/srv/\xff.db"), "/srv/\\xff.db");
        assert_ne!(of(b"/srv/\xff.db"), of(b"/srv/\xfe.db"));
    }
}
