//! Irregular rows: round trips through `Writer` and `Reader`, the digests of FORMAT.md, and any content of their
//! sections: an error, never a panic, even if every seal and checksum matches.

use proptest::prelude::*;
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::{ContentSum, Digest, hex};
use ruvector_snapshot_format::codec::member::{self, Coding};
use ruvector_snapshot_format::irregular::{
    ColumnType, Decoder, Encoder, IrregularCounts, IrregularInfo, IrregularItem, IrregularTable, OwnedIrregularItem,
    TypeOrigin, section_name,
};
use ruvector_snapshot_format::metadata::{FORMAT_VERSION, SectionInfo, SnapshotMetadata};
use ruvector_snapshot_format::model::Record;
use ruvector_snapshot_format::reader::{MemoryFiles, Reader};
use ruvector_snapshot_format::writer::Writer;
use ruvector_snapshot_format::{FormatErrorKind, Result, SnapshotId};
use sha2::{Digest as _, Sha256};

use crate::fixture::{assert_corrupt, created_at, database, id};

/// A table and its rows.
type TableRows = (IrregularTable, Vec<(Vec<u8>, Vec<u8>)>);

fn of_ruvector(name: &str, rows: &[(&[u8], &[u8])]) -> TableRows {
    let rows = rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    (IrregularTable::of_ruvector(name).unwrap(), rows)
}

fn foreign(name: &str, key_width: Option<u32>, rows: &[(&[u8], &[u8])]) -> TableRows {
    let key = ColumnType { origin: TypeOrigin::Application, name: "app::Key".to_owned(), width: key_width };
    let table = IrregularTable { name: name.to_owned(), key, value: ColumnType::redb("&[u8]") };
    (table, rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}

fn mixed() -> Vec<TableRows> {
    vec![
        foreign("a", Some(2), &[(b"zz", b"1"), (b"aa", b""), (b"mm", &[0; 500])]),
        of_ruvector("config", &[(b"\xff", b"x")]),
        foreign("empty", None, &[]),
        of_ruvector("metadata", &[(b"a", b"no JSON"), (b"b", b"[]")]),
        of_ruvector("vectors", &[(b"a", b"\x01\0\0\x80\x3f"), (b"\xfe", b"")]),
    ]
}

fn push_all(encoder: &mut Encoder, tables: &[TableRows]) -> Result<()> {
    for (table, rows) in tables {
        encoder.push(IrregularItem::Table(table))?;
        for (key, value) in rows {
            encoder.push(IrregularItem::Row { table, key, value })?;
        }
    }
    Ok(())
}

fn encode(tables: &[TableRows]) -> Result<(Vec<u8>, IrregularCounts)> {
    let mut encoder = Encoder::default();
    push_all(&mut encoder, tables)?;
    encoder.finish()
}

/// Decodes a stream that is cut into sections of this size.
fn decode(stream: &[u8], section_bytes: usize) -> Result<(Vec<OwnedIrregularItem>, IrregularCounts)> {
    let (mut decoder, mut items) = (Decoder::default(), Vec::new());
    for section in stream.chunks(section_bytes.max(1)) {
        decoder.feed(section);
        while let Some(item) = decoder.next_item()? {
            items.push(item.into());
        }
    }
    Ok((items, decoder.finish()?))
}

fn items(tables: &[TableRows]) -> Vec<OwnedIrregularItem> {
    let of_table = |(table, rows): &TableRows| {
        let rows = rows.iter().map(|(key, value)| OwnedIrregularItem::Row { key: key.clone(), value: value.clone() });
        std::iter::once(OwnedIrregularItem::Table(table.clone())).chain(rows).collect::<Vec<_>>()
    };
    tables.iter().flat_map(of_table).collect()
}

/// A full snapshot of one record, with these sections.
struct StoredIrregular {
    id: SnapshotId,
    metadata: SnapshotMetadata,
    files: MemoryFiles,
}

impl StoredIrregular {
    fn new(sections: &[&[u8]], counts: &IrregularCounts) -> Self {
        let (mut files, mut writer, mut block) = (MemoryFiles::default(), Writer::new(), Block::new(2));
        block.push(Record { id: "r", vector: &[0; 8], metadata: None }).unwrap();
        files.append(writer.append(block.pack(6).unwrap()));
        sections.iter().for_each(|raw| files.append(writer.append_irregular(raw, 6).unwrap()));
        let (pieces, data) = writer.finish(&database(2), None, 6).unwrap();
        files.append(pieces);
        let id = id(7);
        let mut metadata = SnapshotMetadata::new(id.clone(), "irregular", created_at(), &database(2), data);
        let records = counts.vector_rows.max(counts.metadata_rows);
        let info = IrregularInfo::new(records, counts, vec!["record \"a\"".to_owned()]);
        metadata.checksum.merge(&info.checksum);
        metadata.set_irregular(Some(info));
        Self { id, metadata, files }
    }

    /// Stores these sections again, which are the first ones, as deflate makes them.
    fn deflate_sections(&mut self, sections: &[&[u8]]) {
        let first = self.metadata.sections[0].offset as usize;
        let others = self.files.index.split_off(self.metadata.sections[sections.len()].offset as usize);
        self.files.index.truncate(first);
        for (section, raw) in self.metadata.sections.iter_mut().zip(sections) {
            section.bytes = member::pack(raw, Coding::Deflate(6), &mut self.files.index).unwrap() as u64;
        }
        self.files.index.extend(others);
        let mut end = first as u64;
        for section in &mut self.metadata.sections {
            section.offset = end;
            end += section.bytes;
        }
        let file = self.metadata.files.get_mut("index.bin.gz").unwrap();
        (file.bytes, file.sha256) = (end, hex(&Sha256::digest(&self.files.index)));
    }

    fn read(&self) -> Result<Vec<OwnedIrregularItem>> {
        let reader = Reader::open(&self.metadata.encode()?, &self.id, &self.files)?;
        assert_eq!(reader.records()?.collect::<Result<Vec<_>>>()?.len(), 1);
        reader.irregular().collect()
    }
}

#[test]
fn irregular_rows_survive_a_round_trip_in_sections_that_end_anywhere() {
    let tables = mixed();
    let (stream, counts) = encode(&tables).unwrap();
    assert_eq!((counts.tables, counts.table_rows, counts.config_rows), (2, 3, 1));
    assert_eq!((counts.metadata_rows, counts.vector_rows), (2, 2));
    for section_bytes in [1, 2, 7, 100, stream.len()] {
        let sections: Vec<_> = stream.chunks(section_bytes).collect();
        if sections.len() > 200 {
            assert_eq!(decode(&stream, section_bytes).unwrap(), (items(&tables), counts));
            continue;
        }
        let stored = StoredIrregular::new(&sections, &counts);
        assert_eq!(stored.read().unwrap(), items(&tables), "{section_bytes}");
        assert_eq!(stored.metadata.format_version, FORMAT_VERSION);
        let names = stored.metadata.irregular_sections().map(|section| section.name.clone());
        assert_eq!(names.collect::<Vec<_>>(), (0..sections.len()).map(section_name).collect::<Vec<_>>());
    }
}

#[test]
fn the_encoder_cuts_sections_of_8_mib() {
    let value = vec![3; 5 << 20];
    let rows: Vec<_> = (0u8..5).map(|key| (vec![key], value.clone())).collect();
    let mut tables = vec![foreign("files", None, &[])];
    tables[0].1 = rows;
    let (mut encoder, mut sections) = (Encoder::default(), Vec::new());
    for (table, rows) in &tables {
        encoder.push(IrregularItem::Table(table)).unwrap();
        for (key, value) in rows {
            encoder.push(IrregularItem::Row { table, key, value }).unwrap();
            sections.extend(std::iter::from_fn(|| encoder.take_section()));
        }
    }
    let (last, counts) = encoder.finish().unwrap();
    assert_eq!(sections.iter().map(Vec::len).collect::<Vec<_>>(), [8 << 20; 3]);
    let stream = [sections.concat(), last].concat();
    assert_eq!(decode(&stream, 8 << 20).unwrap(), (items(&tables), counts));
}

/// The digests as FORMAT.md describes them, written once more.
#[test]
fn the_checksum_is_that_of_the_specification() {
    let sized = |text: &[u8]| [&(text.len() as u32).to_le_bytes()[..], text].concat();
    let mut sum = ContentSum::default();
    let mut add = |bytes: Vec<u8>| {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let digest: Digest = hash[..16].try_into().unwrap();
        sum.add(&digest);
    };
    for (table, rows) in mixed() {
        let column = |of: &ColumnType| {
            let origin = if of.origin == TypeOrigin::Redb { 1 } else { 2 };
            let width = of.width.unwrap_or(0).to_le_bytes();
            [&[origin, u8::from(of.width.is_some())][..], &width, &sized(of.name.as_bytes())].concat()
        };
        let head = [sized(table.name.as_bytes()), column(&table.key), column(&table.value)].concat();
        add([&[0xff, 0xff, 0xff, 0xff, 1][..], &head].concat());
        for (number, (key, value)) in rows.iter().enumerate() {
            let lengths = [(key.len() as u32).to_le_bytes(), (value.len() as u32).to_le_bytes()].concat();
            let start = [&[0xff, 0xff, 0xff, 0xff, 2][..], &Sha256::digest(&head)].concat();
            add([&start[..], &(number as u64).to_le_bytes(), &lengths, key, value].concat());
        }
    }
    assert_eq!(encode(&mixed()).unwrap().1.checksum, sum);
}

// ---- hostile

#[test]
fn tables_and_rows_out_of_order_are_refused_by_the_encoder_and_the_decoder() {
    let (a, b): (&[u8], &[u8]) = (b"a", b"b");
    let other_types = IrregularTable { name: "vectors".to_owned(), ..foreign("x", None, &[]).0 };
    let cases = [
        ("tables in another order", vec![foreign("b", None, &[]), foreign("a", None, &[])]),
        ("a table twice", vec![foreign("a", None, &[]), foreign("a", None, &[])]),
        ("rows of text in another order", vec![of_ruvector("metadata", &[(b, a), (a, a)])]),
        ("a row of text twice", vec![of_ruvector("metadata", &[(a, a), (a, a)])]),
        ("a row of an application twice", vec![foreign("a", None, &[(a, a), (a, b)])]),
        ("a key of another width", vec![foreign("a", Some(2), &[(a, a)])]),
        ("a table of Ruvector without rows", vec![of_ruvector("vectors", &[])]),
        ("one before another table", vec![of_ruvector("config", &[]), foreign("d", None, &[])]),
        ("a table of Ruvector of other types", vec![(other_types, vec![(a.to_vec(), b.to_vec())])]),
    ];
    for (what, tables) in cases {
        assert_eq!(encode(&tables).err().unwrap_or_else(|| panic!("{what}")).kind(), FormatErrorKind::Corrupt);
        let error = decode(&encode_unchecked(&tables), 64).err().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(error.kind(), FormatErrorKind::Corrupt, "{what}");
    }
}

/// The stream of any tables, as FORMAT.md describes it.
fn encode_unchecked(tables: &[TableRows]) -> Vec<u8> {
    let mut out = Vec::new();
    let sized = |text: &[u8], out: &mut Vec<u8>| {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text);
    };
    for (table, rows) in tables {
        out.push(1);
        sized(table.name.as_bytes(), &mut out);
        for column in [&table.key, &table.value] {
            out.push(if column.origin == TypeOrigin::Redb { 1 } else { 2 });
            out.push(u8::from(column.width.is_some()));
            out.extend(column.width.unwrap_or_default().to_le_bytes());
            sized(column.name.as_bytes(), &mut out);
        }
        for (key, value) in rows {
            out.push(2);
            out.extend((key.len() as u32).to_le_bytes());
            out.extend((value.len() as u32).to_le_bytes());
            out.extend(key);
            out.extend(value);
        }
    }
    out.push(0);
    out
}

#[test]
fn a_stream_with_any_changed_byte_or_of_another_length_is_refused() {
    let (stream, counts) = encode(&mixed()).unwrap();
    assert_eq!(encode_unchecked(&mixed()), stream);
    for at in 0..stream.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = stream.clone();
            changed[at] ^= change;
            let stored = StoredIrregular::new(&[&changed], &counts);
            assert_corrupt(stored.read());
        }
        assert_corrupt(StoredIrregular::new(&[&stream[..at]], &counts).read());
    }
    assert_corrupt(StoredIrregular::new(&[&stream, b"\0"], &counts).read());
    assert_corrupt(StoredIrregular::new(&[&stream, b""], &IrregularCounts::default()).read().map_err(|error| {
        // It cannot be described as empty.
        assert_eq!(error.kind(), FormatErrorKind::InvalidInput);
        ruvector_snapshot_format::FormatError::corrupt(error.message().to_owned())
    }));
}

#[test]
fn lengths_that_lie_take_no_memory() {
    for entry in [&[1u8][..], &[2]] {
        let mut stream = encode_unchecked(&[foreign("a", None, &[])]);
        stream.pop();
        stream.extend(entry);
        stream.extend([0xff; 64]);
        let mut decoder = Decoder::default();
        decoder.feed(&stream);
        assert!(matches!(decoder.next_item(), Ok(Some(IrregularItem::Table(_)))));
        let error = decoder.next_item().unwrap_err();
        assert!(error.message().contains("larger than an entry of this snapshot can be"), "{error}");
    }
}

/// Returns the stream of one table with one row of zeros, and its counts.
fn zeros(bytes: usize) -> (Vec<u8>, IrregularCounts) {
    encode(&[foreign("a", None, &[(b"k", &vec![0; bytes])])]).unwrap()
}

#[test]
fn a_row_is_refused_when_its_lengths_claim_more_than_the_stored_stream_can_hold() {
    const LIMIT: usize = 64 << 20;
    const SECTION: usize = 8 << 20;
    let (_, counts) = zeros(1);
    let head = |row: &[u8], value_bytes: u32| {
        let mut stream = encode_unchecked(&[foreign("a", None, &[])]);
        stream.pop();
        stream.extend([&[2], &(row.len() as u32).to_le_bytes()[..], &value_bytes.to_le_bytes()].concat());
        stream.extend(row);
        stream
    };
    // It claims more than all sections have, than the free size, and than any row.
    for (claim, sections) in [(1 << 20, 1), (LIMIT as u32, 9), (u32::MAX - 15, 9)] {
        let (first, filler) = (head(b"k", claim), vec![0; SECTION]);
        let sections: Vec<&[u8]> = std::iter::once(first.as_slice()).chain(vec![&filler[..]; sections - 1]).collect();
        let mut stored = StoredIrregular::new(&sections, &counts);
        if claim == LIMIT as u32 {
            // As a program without the limit stores zeros.
            stored.deflate_sections(&sections);
        }
        let error = stored.read().unwrap_err();
        assert!(error.message().contains("larger than an entry of this snapshot can be"), "{claim}: {error}");
    }
}

#[test]
fn a_row_that_compresses_to_nothing_is_stored_so_that_it_can_be_read() {
    for (bytes, is_deflated) in [(70 << 20, false), (60 << 20, true)] {
        let (stream, counts) = zeros(bytes);
        let sections: Vec<_> = stream.chunks(8 << 20).collect();
        let mut stored = StoredIrregular::new(&sections, &counts);
        if is_deflated {
            stored.deflate_sections(&sections);
        }
        let items = stored.read().unwrap();
        assert!(matches!(&items[1], OwnedIrregularItem::Row { value, .. } if value.len() == bytes), "{bytes}");
    }
}

#[test]
fn a_section_grows_with_the_stream_before_it() {
    let (stream, counts) = encode(&mixed()).unwrap();
    let with_last = |raw_bytes: u64| {
        let mut metadata = StoredIrregular::new(&[&stream], &counts).metadata;
        let offset = metadata.sections[0].offset;
        let others = metadata.sections.split_off(1);
        let of = |number: usize, raw_bytes: u64| SectionInfo {
            name: section_name(number),
            offset: 0,
            bytes: raw_bytes / 1000,
            raw_bytes,
        };
        metadata.sections = (0..1024).map(|number| of(number, 8 << 20)).collect();
        metadata.sections.push(of(1024, raw_bytes));
        metadata.sections.extend(others);
        let mut end = offset;
        for section in &mut metadata.sections {
            section.offset = end;
            end += section.bytes;
        }
        metadata.files.get_mut("index.bin.gz").unwrap().bytes = end;
        metadata.encode()
    };
    assert!(with_last(128 << 20).is_ok(), "{:?}", with_last(128 << 20));
    assert_eq!(with_last((128 << 20) + 1).unwrap_err().kind(), FormatErrorKind::InvalidInput);
}

#[test]
fn a_bomb_is_refused_before_it_is_expanded() {
    let (stream, counts) = encode(&mixed()).unwrap();
    let mut stored = StoredIrregular::new(&[&stream], &counts);
    let section = stored.metadata.sections.first_mut().unwrap();
    section.raw_bytes = 1 << 29;
    let error = stored.read().unwrap_err();
    assert!(error.message().contains("cannot expand"), "{error}");
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    let (stream, counts) = encode(&mixed()).unwrap();
    let (first, second) = stream.split_at(40);
    let stored = StoredIrregular::new(&[first, second], &counts);
    let refused = |what: &str, change: &dyn Fn(&mut SnapshotMetadata)| {
        let mut metadata = stored.metadata.clone();
        change(&mut metadata);
        assert_eq!(metadata.encode().unwrap_err().kind(), FormatErrorKind::InvalidInput, "{what}");
    };
    refused("version 1 with irregular rows", &|metadata| metadata.format_version = 1);
    refused("version 2 without", &|metadata| metadata.irregular = None);
    refused("sections without irregular rows", &|metadata| metadata.set_irregular(None));
    refused("irregular rows without sections", &|metadata| metadata.sections.iter_mut().for_each(|of| of.name += "x"));
    refused("sections in another order", &|metadata| {
        let name = std::mem::take(&mut metadata.sections[0].name);
        metadata.sections[0].name = std::mem::replace(&mut metadata.sections[1].name, name);
    });
    refused("a section that is missing", &|metadata| metadata.sections[1].name = "irregular.2".to_owned());
    refused("a section behind others", &|metadata| {
        metadata.sections.last_mut().unwrap().name = "irregular.2".to_owned()
    });
    refused("too many examples", &|metadata| {
        metadata.irregular.iter_mut().for_each(|info| info.examples = vec![String::new(); 65]);
    });
    refused("no rows", &|metadata| metadata.irregular = Some(IrregularInfo::default()));

    let read = |change: &dyn Fn(&mut IrregularInfo)| {
        let mut metadata = stored.metadata.clone();
        metadata.irregular.iter_mut().for_each(change);
        let reader = Reader::open(&metadata.encode().unwrap(), &stored.id, &stored.files).unwrap();
        reader.irregular().collect::<Result<Vec<_>>>()
    };
    assert!(read(&|_| {}).is_ok());
    assert_corrupt(read(&|info| info.records += 3));
    assert_corrupt(read(&|info| info.config_rows += 1));
    assert_corrupt(read(&|info| info.tables -= 1));
    assert_corrupt(read(&|info| info.table_rows += 1));
    assert_corrupt(read(&|info| info.checksum = ContentSum::default()));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), section_bytes in 1usize..40) {
        let decoded = decode(&bytes, section_bytes);
        prop_assert!(decoded.is_err() || encode_is(&bytes, &decoded.unwrap().0));
    }

    #[test]
    fn arbitrary_entries_are_never_a_panic(
        head in prop::collection::vec(0u8..3, 0..40),
        names in prop::collection::vec("[a-c]{0,2}", 0..4),
    ) {
        let mut bytes = Vec::new();
        for (at, tag) in head.iter().enumerate() {
            bytes.push(*tag);
            if let Some(name) = names.get(at % names.len().max(1)) {
                bytes.extend((name.len() as u32).to_le_bytes());
                bytes.extend(name.as_bytes());
            }
        }
        prop_assert!(decode(&bytes, 3).is_err() || bytes.first() == Some(&0));
    }
}

fn encode_is(bytes: &[u8], items: &[OwnedIrregularItem]) -> bool {
    bytes.last() == Some(&0) && (items.is_empty() || bytes.first() == Some(&1))
}
