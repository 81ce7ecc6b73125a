//! The file of the format parquet.
//!
//! A row group is written when it has so many bytes, so that memory is bounded. Vectors are not compressed: the values of
//! embeddings are barely smaller then, and readers are slower.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::extension::Json;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use ruvector_snapshot_format::block::Block;

use super::options::{ExportFormat, ExportedFile};
use super::{GROUP_BYTES, PARQUET, check_values, check_vector};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::source::export_directory::{ExportDirectory, ExportFile};

/// The name of the values in a list, which parquet prescribes.
const ELEMENT: &str = "element";

/// The file that is being written.
pub(super) struct ParquetFile {
    writer: ArrowWriter<ExportFile>,
    schema: SchemaRef,
    element: Arc<Field>,
    dimensions: u64,
    /// The path that the file will have.
    path: PathBuf,
}

impl ParquetFile {
    pub(super) fn create(directory: &ExportDirectory, dimensions: u64) -> Result<Self> {
        // `check_values` has refused longer ones.
        let columns = i32::try_from(dimensions).unwrap_or_default();
        let element = Arc::new(Field::new(ELEMENT, DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("vector", DataType::FixedSizeList(element.clone(), columns), false),
            Field::new("metadata", DataType::Utf8, true).with_extension_type(Json::default()),
        ]));
        let file = directory.create_file(PARQUET)?;
        let path = file.path().to_owned();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()));
        let writer = writer.map_err(|error| failed(&path, error))?;
        Ok(Self { writer, schema, element, dimensions, path })
    }

    pub(super) fn put(&mut self, block: Block) -> Result<()> {
        check_values(ExportFormat::Parquet, self.dimensions, block.len() as u64)?;
        let batch = self.batch(&block)?;
        drop(block);
        self.writer.write(&batch).map_err(|error| failed(&self.path, error))?;
        drop(batch);
        if self.writer.in_progress_size() as u64 >= GROUP_BYTES {
            self.writer.flush().map_err(|error| failed(&self.path, error))?;
        }
        Ok(())
    }

    /// Returns the records of a block as columns.
    fn batch(&self, block: &Block) -> Result<RecordBatch> {
        let rows = block.len();
        let columns = i32::try_from(self.dimensions).unwrap_or_default();
        let (id_bytes, metadata_bytes) = block.rows().fold((0, 0), |(ids, metadata), record| {
            (ids + record.id.len(), metadata + record.metadata.map_or(0, str::len))
        });
        let mut ids = StringBuilder::with_capacity(rows, id_bytes);
        let mut metadata = StringBuilder::with_capacity(rows, metadata_bytes);
        let values = Float32Builder::with_capacity(block.content_bytes() / 4);
        let mut vectors = FixedSizeListBuilder::with_capacity(values, columns, rows).with_field(self.element.clone());
        for record in block.rows() {
            check_vector(&record, self.dimensions)?;
            ids.append_value(record.id);
            record.values().for_each(|value| vectors.values().append_value(value));
            vectors.append(true);
            metadata.append_option(record.metadata);
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(ids.finish()), Arc::new(vectors.finish()), Arc::new(metadata.finish())];
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error: ArrowError| {
            SnapshotError::new(ErrorKind::Internal, "the columns of the export do not fit").with_source(error)
        })
    }

    pub(super) fn finish(self) -> Result<Vec<ExportedFile>> {
        let Self { writer, path, .. } = self;
        let file = writer.into_inner().map_err(|error| failed(&path, error))?;
        Ok(vec![ExportedFile::new(file.name(), file.finish()?)])
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile").field("dimensions", &self.dimensions).finish_non_exhaustive()
    }
}

fn properties() -> WriterProperties {
    let vector = ColumnPath::new(["vector", "list", ELEMENT].map(str::to_owned).to_vec());
    WriterProperties::builder()
        .set_created_by(concat!("ruvector-snapshot ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_column_compression(vector, Compression::UNCOMPRESSED)
        // Ids, vectors and metadata are all different.
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("id"), EnabledStatistics::Page)
        .set_max_row_group_row_count(None)
        .build()
}

fn failed(path: &Path, error: ParquetError) -> SnapshotError {
    let internal =
        || SnapshotError::new(ErrorKind::Internal, "cannot write the export").with_key(path.display().to_string());
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => SnapshotError::io(path, "write the export", *cause),
            Err(cause) => internal().with_source(cause),
        },
        other => internal().with_source(other),
    }
}
