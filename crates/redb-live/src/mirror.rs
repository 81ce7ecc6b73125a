//! The mirror: a private copy of the file in the scratch directory, unlinked from birth, and the record of which of its
//! pages have been checked. Knows no trees.

use std::{
    collections::HashMap,
    fs::{File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    file::{self, DatabaseFile},
    header::Geometry,
    page::{Child, Node, ORDER_MAX, PageNumber},
};

const CHUNK_LEN: usize = 1024 * 1024;
const HOLE_LEN: usize = 64 * 1024;
static HOLE: [u8; HOLE_LEN] = [0; HOLE_LEN];

/// A copy of a database file that only this process can see. The kernel frees it with the last handle.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub file: File,
    dir: PathBuf,
    pub database_len: u64,
}

impl Mirror {
    /// Copies the file: by reflink where the filesystem has it, which is one moment and free, else chunk by chunk.
    pub fn copy_of(live: &DatabaseFile, dir: &Path) -> Result<Self, Error> {
        let database_len = live.len_bytes()?;
        let file = scratch_file(dir).map_err(|source| Error::Scratch { dir: dir.to_owned(), source })?;
        let mirror = Self { file, dir: dir.to_owned(), database_len };
        if rustix::fs::ioctl_ficlone(&mirror.file, &live.file).is_err() {
            check_space(dir, database_len)?;
            mirror.copy_chunks(live)?;
        }
        Ok(mirror)
    }

    /// Puts a page that was right in the live file in its place. The bytes after the used ones do not matter.
    pub fn store(&self, geometry: &Geometry, number: PageNumber, node: &Node) -> Result<(), Error> {
        let Some(range) = geometry.range(number) else { return Ok(()) };
        self.write(node.bytes(), range.start)
    }

    pub fn scratch_error(&self, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace {
                dir: self.dir.clone(),
                needed_bytes: self.database_len,
                available_bytes: available_bytes(&self.dir).unwrap_or(0),
            },
            _ => Error::Scratch { dir: self.dir.clone(), source },
        }
    }

    /// Copies up to the length at the start: what is added behind it later is fetched page by page. Holes stay holes.
    fn copy_chunks(&self, live: &DatabaseFile) -> Result<(), Error> {
        self.file.set_len(self.database_len).map_err(|source| self.scratch_error(source))?;
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        let mut at = 0;
        while at < self.database_len {
            chunk.clear();
            file::read_more(&live.file, &mut chunk, at, CHUNK_LEN).map_err(|source| live.io_error(source))?;
            if chunk.is_empty() {
                break;
            }
            for part in chunk.chunks(HOLE_LEN) {
                if HOLE.get(..part.len()) != Some(part) {
                    self.write(part, at)?;
                }
                at += part.len() as u64;
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, at).map_err(|source| self.scratch_error(source))
    }
}

/// Which pages of the mirror hold which contents: eight bytes for each page that has been checked, in chunks.
///
/// A mark is exact: storing a page unmarks every page that it overlaps, whatever their orders.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    chunks: HashMap<u64, Box<[u64; MARKS_PER_CHUNK]>>,
}

const MARKS_PER_CHUNK: usize = 512;
const LEAF_MARK: u64 = 1 << 5;

impl Marks {
    /// Records that the mirror holds this page.
    pub fn mark(&mut self, geometry: &Geometry, child: Child, node: &Node) {
        let Some(at) = place(geometry, child.number) else { return };
        let chunk = self.chunks.entry(at / MARKS_PER_CHUNK as u64).or_insert_with(|| Box::new([0; MARKS_PER_CHUNK]));
        if let Some(mark) = chunk.get_mut((at % MARKS_PER_CHUNK as u64) as usize) {
            *mark = mark_of(child) | if matches!(node, Node::Leaf(_)) { LEAF_MARK } else { 0 };
        }
    }

    /// Whether the mirror is known to hold this page.
    pub fn holds(&self, geometry: &Geometry, child: Child) -> bool {
        place(geometry, child.number).is_some_and(|at| self.get(at) & !LEAF_MARK == mark_of(child))
    }

    /// Whether the mirror is known to hold this page and it is a leaf.
    pub fn is_leaf(&self, geometry: &Geometry, child: Child) -> bool {
        place(geometry, child.number).is_some_and(|at| self.get(at) == mark_of(child) | LEAF_MARK)
    }

    /// Forgets every page that a page about to be stored overlaps.
    pub fn unmark(&mut self, geometry: &Geometry, number: PageNumber) {
        let Some(at) = place(geometry, number) else { return };
        for covered in at..at + (1 << number.order) {
            self.clear(covered);
        }
        for order in number.order + 1..=ORDER_MAX {
            let index = number.index >> (order - number.order);
            if let Some(at) = place(geometry, PageNumber { region: number.region, index, order })
                && self.get(at) & (LEAF_MARK - 1) == u64::from(order) + 1
            {
                self.clear(at);
            }
        }
    }

    fn get(&self, at: u64) -> u64 {
        self.chunks
            .get(&(at / MARKS_PER_CHUNK as u64))
            .and_then(|chunk| chunk.get((at % MARKS_PER_CHUNK as u64) as usize))
            .copied()
            .unwrap_or(0)
    }

    fn clear(&mut self, at: u64) {
        if let Some(chunk) = self.chunks.get_mut(&(at / MARKS_PER_CHUNK as u64))
            && let Some(mark) = chunk.get_mut((at % MARKS_PER_CHUNK as u64) as usize)
        {
            *mark = 0;
        }
    }
}

/// The page's first base page, counted from the start of the file.
fn place(geometry: &Geometry, number: PageNumber) -> Option<u64> {
    Some(geometry.range(number)?.start / u64::from(geometry.page_size))
}

/// 58 bits of the checksum, and the order, which is never mistaken for the zero of an unmarked page.
fn mark_of(child: Child) -> u64 {
    ((child.checksum as u64) << 6) | (u64::from(child.number.order) + 1)
}

/// A file without a name. It is still empty when it is made readable by its owner only: without a name to begin with, it
/// gets the mode that the umask leaves.
fn scratch_file(dir: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(dir)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn check_space(dir: &Path, needed_bytes: u64) -> Result<(), Error> {
    let available_bytes = available_bytes(dir).map_err(|source| Error::Scratch { dir: dir.to_owned(), source })?;
    if available_bytes < needed_bytes {
        return Err(Error::NoSpace { dir: dir.to_owned(), needed_bytes, available_bytes });
    }
    Ok(())
}

fn available_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{header::Header, page::Widths};

    fn geometry() -> Geometry {
        let mut bytes = [0; 320];
        bytes[..9].copy_from_slice(b"redb\x1A\x0A\xA9\x0D\x0A");
        for (at, value) in [(12, 512u32), (16, 1), (20, 64)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[64] = 2;
        bytes[192] = 2;
        Header::parse(&bytes).unwrap().geometry
    }

    fn leaf() -> Node {
        let bytes = vec![1, 0, 1, 0, 9];
        Node::parse(bytes, 0, Widths { key: Some(1), value: Some(0) }).unwrap()
    }

    fn child() -> impl Strategy<Value = Child> {
        (0u32..2, 0u8..7, any::<prop::sample::Index>(), 0u128..4).prop_map(|(region, order, index, checksum)| Child {
            number: PageNumber { region, index: index.index(64 >> order) as u32, order },
            checksum,
        })
    }

    proptest! {
        #[test]
        fn a_page_is_marked_until_one_that_overlaps_it_is_stored(children in prop::collection::vec(child(), 1..60)) {
            let (geometry, mut marks) = (geometry(), Marks::default());
            let mut held: Vec<Child> = Vec::new();
            for child in &children {
                let range = geometry.range(child.number).unwrap();
                held.retain(|other| {
                    let other = geometry.range(other.number).unwrap();
                    other.end <= range.start || range.end <= other.start
                });
                marks.unmark(&geometry, child.number);
                marks.mark(&geometry, *child, &leaf());
                held.push(*child);
                for child in &children {
                    prop_assert_eq!(marks.is_leaf(&geometry, *child), held.contains(child));
                }
            }
        }
    }

    #[test]
    fn a_mirror_is_a_copy_without_a_name_that_only_its_owner_may_read() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let bytes: Vec<u8> = (0..3 * HOLE_LEN).map(|i| if i / HOLE_LEN == 1 { 0 } else { i as u8 }).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mirror = Mirror::copy_of(&DatabaseFile::open(&path).unwrap(), dir.path()).unwrap();
        let mut copied = Vec::new();
        file::read_more(&mirror.file, &mut copied, 0, bytes.len() + 1).unwrap();
        assert!(copied == bytes);
        let metadata = mirror.file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_does_not_fit_is_said_before_it_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_space(dir.path(), 0).is_ok());
        match check_space(dir.path(), u64::MAX) {
            Err(Error::NoSpace { needed_bytes: u64::MAX, available_bytes, .. }) => assert!(available_bytes < u64::MAX),
            other => panic!("{other:?}"),
        }
        assert!(matches!(check_space(&dir.path().join("nowhere"), 0), Err(Error::Scratch { .. })));
    }
}
