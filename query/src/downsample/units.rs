//! What there is to read, cut into units that threads take one after another.

use super::piece::{Numbers, Piece, Reading, stretches};
use crate::scan::{Choice, ChunkFile, ChunkOpener, Cuts, FilePiece, can_hold};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
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
    /// One of several parts of a row group, of the table or of one of its tiers.
    Rows { file: Arc<OpenFile>, row_group: usize, part: usize, parts: usize, tier: Option<usize> },
    /// A partition of a plan, whose batches are in stored types.
    Plan { plan: Arc<dyn ExecutionPlan>, partition: usize },
}

/// The units of some files.
pub(super) async fn units_of(
    files: &[FilePiece],
    opener: &ChunkOpener,
    choice: &Choice,
    tier: Option<usize>,
) -> Result<Vec<Unit>> {
    let files_open = futures::stream::iter(files.iter().cloned())
        .map(|piece| async move {
            let file = opener.open(&piece.file).await?;
            Ok::<_, DataFusionError>(Arc::new(OpenFile { file, ranges: piece.ranges }))
        })
        .buffered(FILES_AHEAD);
    let units = files_open.map_ok(|file| units_of_file(&file, choice, tier));
    Ok(units.try_collect::<Vec<_>>().await?.concat())
}

fn units_of_file(file: &Arc<OpenFile>, choice: &Choice, tier: Option<usize>) -> Vec<Unit> {
    let row_groups = file.file.footer().row_groups().iter().enumerate();
    let holding = row_groups.filter(|(_, group)| can_hold(group, &file.ranges, &choice.wanted));
    let units = holding.flat_map(|(row_group, _)| {
        let parts = (file.file.rows(row_group) / UNIT_ROWS).max(1);
        let unit = move |part| Unit::Rows { file: Arc::clone(file), row_group, part, parts, tier };
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
        let choice = &reading.choice;
        let tags = self.file.tags(row_group, &choice.tags, schema).await?;
        let rows = self.file.rows(row_group) as u32;
        let cuts = Cuts::of_part(&tags, rows, (part as u32, parts as u32));
        let chosen = choice.passing(&tags, &cuts)?;
        if chosen.is_empty() {
            return Ok(None);
        }
        let times = self.file.times(row_group, schema).await?;
        let found = stretches(&tags, &cuts, &chosen, (&times, &self.ranges), (reading, numbers));
        if found.is_empty() {
            return Ok(None);
        }
        let fields = self.file.fields(row_group, &choice.fields, schema).await?;
        let piece = Piece { times, fields, stretches: found };
        piece.filtered(&tags, reading).map(Some)
    }
}
