//! A query whose rows are fetched some at a time.

use crate::answer::{Answer, Deadline};
use crate::error::QueryError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt, stream};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A query that runs; the next rows wait for whoever fetches them.
#[derive(Debug)]
pub(super) struct Cursor {
    schema: SchemaRef,
    hold: bool,
    rest: Arc<Mutex<Rest>>,
}

/// What was not fetched yet.
#[derive(Debug)]
struct Rest {
    answer: Answer,
    /// Of a batch that was begun.
    batch: Option<RecordBatch>,
}

impl Cursor {
    pub(super) fn new(answer: Answer, hold: bool) -> Self {
        let schema = Arc::clone(answer.schema());
        Self { schema, hold, rest: Arc::new(Mutex::new(Rest { answer, batch: None })) }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn holds(&self) -> bool {
        self.hold
    }

    /// The next rows: so many, or all. They are read as they are taken, and have until the deadline.
    pub(super) async fn fetch(
        &self,
        rows: Option<usize>,
        deadline: Deadline,
    ) -> impl Stream<Item = Result<RecordBatch, QueryError>> + Send + use<> {
        self.rest.lock().await.answer.restart(deadline);
        let begun = (Arc::clone(&self.rest), rows.unwrap_or(usize::MAX));
        stream::unfold(begun, async |(rest, left)| {
            if left == 0 {
                return None;
            }
            let batch = rest.lock().await.next(left).await?;
            let left = batch.as_ref().map_or(0, |batch| left - batch.num_rows());
            Some((batch, (rest, left)))
        })
    }
}

impl Rest {
    /// Up to so many of the next rows.
    async fn next(&mut self, most: usize) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.answer.next().await? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            },
        };
        let taken = batch.num_rows().min(most);
        let left = batch.num_rows() - taken;
        self.batch = (left > 0).then(|| batch.slice(taken, left));
        Some(Ok(batch.slice(0, taken)))
    }
}
