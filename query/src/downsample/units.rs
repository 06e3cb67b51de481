//! What there is to read, cut into units that threads take one after another.

use super::piece::{Cuts, Numbers, Piece, Reading, stretches, times};
use super::prune::{Wanted, can_hold};
use crate::scan::{Chunk, ChunkFile, ChunkOpener, FilePiece, TagRuns};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, future::try_join_all};
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::TimeRange;

/// Rows that a unit has at least, if there are as many: enough to pay for taking it.
const UNIT_ROWS: usize = 32_768;

/// Files opened at once.
const FILES_AHEAD: usize = 16;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: ChunkFile,
    ranges: Vec<TimeRange>,
}

/// Work for one thread.
#[derive(Clone, Debug)]
pub(super) enum Unit {
    /// One of several parts of a row group.
    Rows { file: Arc<OpenFile>, row_group: usize, part: usize, parts: usize },
    /// A partition of a plan, whose batches are in stored types.
    Plan { plan: Arc<dyn ExecutionPlan>, partition: usize },
}

/// The units of some files.
pub(super) async fn units_of(
    files: &[FilePiece],
    opener: &ChunkOpener,
    wanted: &[Wanted],
) -> Result<Vec<Unit>> {
    let opened = futures::stream::iter(files.iter().cloned())
        .map(|piece| async move {
            let file = opener.open(&piece.file).await?;
            Ok::<_, DataFusionError>(Arc::new(OpenFile { file, ranges: piece.ranges }))
        })
        .buffered(FILES_AHEAD);
    let units = opened.map_ok(|file| units_of_file(&file, wanted));
    Ok(units.try_collect::<Vec<_>>().await?.concat())
}

fn units_of_file(file: &Arc<OpenFile>, wanted: &[Wanted]) -> Vec<Unit> {
    let row_groups = file.file.footer().row_groups().iter().enumerate();
    let holding = row_groups.filter(|(_, group)| can_hold(group, &file.ranges, wanted));
    let units = holding.flat_map(|(row_group, _)| {
        let parts = (file.file.rows(row_group) / UNIT_ROWS).max(1);
        let unit = move |part| Unit::Rows { file: Arc::clone(file), row_group, part, parts };
        (0..parts).map(unit)
    });
    units.collect()
}

impl OpenFile {
    /// The rows of a part of a row group that count; columns that no row needs are not read.
    pub(super) async fn read(
        &self,
        row_group: usize,
        (part, parts): (usize, usize),
        schema: &SchemaRef,
        (reading, numbers): (&Reading, &Numbers),
    ) -> Result<Option<Piece>> {
        let rows = self.file.rows(row_group);
        let tags = self.tags(row_group, reading, schema).await?;
        let cuts = Cuts::of(&tags, rows as u32);
        let own =
            |part: usize| cuts.ends.partition_point(|end| (*end as usize) <= rows * part / parts);
        let own: Range<usize> =
            own(part)..if part + 1 == parts { cuts.ends.len() } else { own(part + 1) };
        let chosen = cuts.passing(&tags, reading, own)?;
        if chosen.is_empty() {
            return Ok(None);
        }
        let times = times(&self.values(row_group, schema, 0).await?);
        let found = stretches(&tags, &cuts, &chosen, (&times, &self.ranges), (reading, numbers));
        if found.is_empty() {
            return Ok(None);
        }
        let fields = reading.fields.iter().map(|field| self.values(row_group, schema, *field));
        let piece = Piece { times, fields: try_join_all(fields).await?, stretches: found };
        piece.filtered(&tags, reading).map(Some)
    }

    async fn tags(
        &self,
        row_group: usize,
        reading: &Reading,
        schema: &SchemaRef,
    ) -> Result<Vec<Arc<TagRuns>>> {
        try_join_all(reading.tags.iter().map(|tag| async {
            match self.file.chunk(row_group, schema.field(*tag)).await? {
                Chunk::Tag(runs) => Ok(runs),
                Chunk::Values(_) => internal_err!("a tag is stored as a dictionary"),
            }
        }))
        .await
    }

    async fn values(
        &self,
        row_group: usize,
        schema: &SchemaRef,
        column: usize,
    ) -> Result<ArrayRef> {
        match self.file.chunk(row_group, schema.field(column)).await? {
            Chunk::Values(values) => Ok(values),
            Chunk::Tag(_) => internal_err!("time and fields are stored as values"),
        }
    }
}
