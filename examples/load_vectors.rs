//! Makes a Ruvector database file from a numpy matrix, and ids and metadata in JSON Lines, without building an index.
//!
//!     cargo run --release -p ruvector-snapshot-examples --example load_vectors -- --npy v.npy --jsonl v.jsonl --db v.db
//!
//! Rows are streamed into the database's storage in batches, so that a million of them need neither their space in
//! memory nor the time that a search index takes; the database builds that when it is opened.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use ruvector_core::storage::VectorStorage;
use ruvector_core::types::{DbOptions, HnswConfig};
use ruvector_core::{DistanceMetric, VectorEntry};
use serde::Deserialize;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Makes a Ruvector database file from a numpy matrix and JSON Lines.
#[derive(Debug, Parser)]
struct Arguments {
    /// The matrix: a .npy file of version 1 to 3, two axes, little-endian float32, C order
    #[arg(long, value_name = "FILE")]
    npy: PathBuf,

    /// A line {"id":"…","metadata":{…}} for each row, metadata may be missing or null; without this option the ids are
    /// row-000000, row-000001, …
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,

    /// The database file to make; it must not exist
    #[arg(long, value_name = "FILE")]
    db: PathBuf,

    /// The distance metric of the database
    #[arg(long, value_enum, default_value_t = Metric::Cosine)]
    metric: Metric,

    /// Copies of the rows in all. The ids of copy k >= 2 end in ~k. Its values are scaled by 1 + (k-1)/1024 and put in
    /// another order, so that copies are no easier to compress than real data
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// The database is to search by an HNSW index of the default settings, built whenever it is opened (the default)
    #[arg(long, conflicts_with = "flat")]
    hnsw: bool,

    /// The database is to search without an HNSW index, by comparing with every vector
    #[arg(long)]
    flat: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metric {
    Cosine,
    Euclidean,
    Dot,
    Manhattan,
}

fn main() -> ExitCode {
    match load(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load_vectors: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    let mut matrix = Matrix::open(&arguments.npy)?;
    let rows = matrix.rows.checked_mul(arguments.repeat as usize).ok_or("more rows than can be counted")?;
    let path = std::path::absolute(&arguments.db)?;
    claim(&path)?;
    if let Err(error) = fill(&path, arguments, &mut matrix, rows) {
        std::fs::remove_file(&path)?;
        return Err(error);
    }
    let bytes = std::fs::metadata(&path)?.len();
    println!("rows        {rows}");
    println!("dimensions  {}", matrix.dimensions);
    println!("file size   {bytes} bytes");
    println!("time        {:.2} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Creates the empty file that becomes the database. Fails if the path exists.
fn claim(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(format!("{} exists, and is not overwritten", path.display()).into())
        }
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

fn fill(path: &Path, arguments: &Arguments, matrix: &mut Matrix, rows: usize) -> Result<()> {
    let storage = VectorStorage::new(path, matrix.dimensions)?;
    storage.save_config(&options(path, arguments, matrix.dimensions, rows)?)?;
    for copy in 1..=arguments.repeat {
        let mut labels = Labels::open(arguments.jsonl.as_deref())?;
        matrix.rewind()?;
        let mut left = matrix.rows;
        while left > 0 {
            let batch = left.min(matrix.batch_rows());
            insert(&storage, read_batch(matrix, &mut labels, batch, copy)?, &labels)?;
            left -= batch;
        }
        labels.expect_end()?;
    }
    let stored = storage.len()?;
    if stored == rows { Ok(()) } else { Err(format!("{rows} rows went in, {stored} are there").into()) }
}

/// What the database keeps about itself and opens with.
fn options(path: &Path, arguments: &Arguments, dimensions: usize, rows: usize) -> Result<DbOptions> {
    let defaults = HnswConfig::default();
    let hnsw = HnswConfig { max_elements: defaults.max_elements.max(rows), ..defaults };
    Ok(DbOptions {
        dimensions,
        distance_metric: arguments.metric.into(),
        storage_path: path.to_str().ok_or("the path of the database is not UTF-8")?.to_owned(),
        hnsw_config: (!arguments.flat).then_some(hnsw),
        quantization: None,
    })
}

impl From<Metric> for DistanceMetric {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Cosine => Self::Cosine,
            Metric::Euclidean => Self::Euclidean,
            Metric::Dot => Self::DotProduct,
            Metric::Manhattan => Self::Manhattan,
        }
    }
}

/// Rows of a copy, each with the number of its line.
fn read_batch(matrix: &mut Matrix, labels: &mut Labels, rows: usize, copy: u32) -> Result<Vec<(usize, VectorEntry)>> {
    let mut batch = Vec::with_capacity(rows);
    for _ in 0..rows {
        let (line, mut label) = labels.next()?;
        let mut vector = matrix.next()?;
        if copy > 1 {
            vector = varied(&vector, copy);
            label.id = format!("{}~{copy}", label.id);
        }
        batch.push((line, VectorEntry { id: Some(label.id), vector, metadata: label.metadata }));
    }
    Ok(batch)
}

/// The values of copy `copy`: scaled, and each copy in an order of its own. Copies of a row lie side by side in a
/// database, and a compressor would find them if their values came in one order.
fn varied(vector: &[f32], copy: u32) -> Vec<f32> {
    let scale = 1.0 + (copy - 1) as f32 / 1024.0;
    let factor = u64::from(copy).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut order: Vec<usize> = (0..vector.len()).collect();
    order.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(factor).rotate_left(32));
    order.into_iter().filter_map(|at| vector.get(at)).map(|value| value * scale).collect()
}

/// Inserts rows, unless an id among them is there already: the storage would replace that row without a word.
fn insert(storage: &VectorStorage, batch: Vec<(usize, VectorEntry)>, labels: &Labels) -> Result<()> {
    let mut ids = HashSet::with_capacity(batch.len());
    for (line, entry) in &batch {
        let id = entry.id.as_deref().unwrap_or_default();
        if !ids.insert(id) || storage.get(id)?.is_some() {
            return Err(labels.error(*line, &format!("there is a row of id {id:?} already")));
        }
    }
    let entries: Vec<_> = batch.into_iter().map(|(_, entry)| entry).collect();
    storage.insert_batch(&entries)?;
    Ok(())
}

/// The id and the metadata of a row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    id: String,
    #[serde(default)]
    metadata: Option<HashMap<String, serde_json::Value>>,
}

/// The labels of the rows, in order: the lines of a file, or ids made up.
struct Labels {
    lines: Option<(PathBuf, BufReader<File>)>,
    line: usize,
}

impl Labels {
    fn open(path: Option<&Path>) -> Result<Self> {
        let lines = match path {
            Some(path) => Some((path.to_owned(), BufReader::new(open(path)?))),
            None => None,
        };
        Ok(Self { lines, line: 0 })
    }

    /// The label of the next row, and the number of its line, from 1.
    fn next(&mut self) -> Result<(usize, Label)> {
        let line = self.line + 1;
        let label = match &mut self.lines {
            None => Label { id: format!("row-{:06}", self.line), metadata: None },
            Some((_, lines)) => {
                let mut text = Vec::new();
                if lines.read_until(b'\n', &mut text)? == 0 {
                    return Err(self.error(line, "the file ends here, and the matrix has more rows"));
                }
                serde_json::from_slice(&text).map_err(|error| self.error(line, &error.to_string()))?
            }
        };
        self.line = line;
        Ok((line, label))
    }

    fn expect_end(&mut self) -> Result<()> {
        let at_end = match &mut self.lines {
            None => true,
            Some((_, lines)) => lines.fill_buf()?.is_empty(),
        };
        if at_end { Ok(()) } else { Err(self.error(self.line + 1, "more lines than the matrix has rows")) }
    }

    fn error(&self, line: usize, what: &str) -> Box<dyn Error> {
        match &self.lines {
            Some((path, _)) => format!("{}: line {line}: {what}", path.display()).into(),
            None => format!("row {line}: {what}").into(),
        }
    }
}

/// A numpy matrix, read row by row.
struct Matrix {
    file: BufReader<File>,
    start: u64,
    rows: usize,
    dimensions: usize,
    row: Vec<u8>,
}

impl Matrix {
    /// Reads the header, and checks that the file is as long as it says.
    fn open(path: &Path) -> Result<Self> {
        let named = |error: Box<dyn Error>| format!("{}: {error}", path.display());
        let mut file = BufReader::with_capacity(1 << 20, open(path)?);
        let header = read_header(&mut file).map_err(named)?;
        let (rows, dimensions) = parse_header(&header).map_err(named)?;
        let start = file.stream_position()?;
        let length = file.get_ref().metadata()?.len();
        let data = rows.checked_mul(dimensions).and_then(|values| values.checked_mul(4));
        if data.and_then(|data| start.checked_add(data as u64)) != Some(length) {
            let message = format!("{length} bytes do not hold {rows} x {dimensions} values after {start} of header");
            return Err(named(message.into()).into());
        }
        Ok(Self { file, start, rows, dimensions, row: vec![0; dimensions * 4] })
    }

    fn rewind(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok(())
    }

    fn next(&mut self) -> Result<Vec<f32>> {
        self.file.read_exact(&mut self.row)?;
        let (values, _) = self.row.as_chunks::<4>();
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Rows that are inserted in one transaction: about 32 MiB.
    fn batch_rows(&self) -> usize {
        ((32 << 20) / self.row.len()).clamp(1, 16_384)
    }
}

/// Returns the text of the header, a Python dictionary. Afterwards the file is positioned at the values.
fn read_header(file: &mut impl Read) -> Result<String> {
    let too_short = |_| "this is no numpy file: it ends within its header";
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(too_short)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err("this is no numpy file".into());
    }
    let mut length = [0; 4];
    match start[6] {
        1 => file.read_exact(&mut length[..2]).map_err(too_short)?,
        2 | 3 => file.read_exact(&mut length).map_err(too_short)?,
        version => return Err(format!("a numpy file of version {version}, and 1 to 3 are known").into()),
    }
    let length = u32::from_le_bytes(length);
    if length > 65_536 {
        return Err(format!("a header of {length} bytes").into());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(too_short)?;
    Ok(String::from_utf8(header)?)
}

/// Rows and dimensions, from `{'descr': '<f4', 'fortran_order': False, 'shape': (rows, dimensions), }`.
fn parse_header(header: &str) -> Result<(usize, usize)> {
    if !member(header, "descr")?.starts_with("'<f4'") {
        return Err(format!("the values have to be little-endian float32, '<f4'; the header says {header}").into());
    }
    if !member(header, "fortran_order")?.starts_with("False") {
        return Err("the values have to be in C order, not in Fortran order".into());
    }
    match shape(member(header, "shape")?)?[..] {
        [rows, dimensions] if dimensions > 0 => Ok((rows, dimensions)),
        _ => Err(format!("the matrix has to have two axes, and a column at least; the header says {header}").into()),
    }
}

/// What follows `'name':` in the header.
fn member<'a>(header: &'a str, name: &str) -> Result<&'a str> {
    let key = format!("'{name}':");
    let (_, value) = header.split_once(&key).ok_or_else(|| format!("the header lacks {name}: {header}"))?;
    Ok(value.trim_start())
}

/// The numbers of a Python tuple.
fn shape(text: &str) -> Result<Vec<usize>> {
    let inner = text.strip_prefix('(').and_then(|text| text.split_once(')')).ok_or("the shape is no tuple")?.0;
    let numbers = inner.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| Ok(number.parse()?)).collect()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
