//! A running statement: batches as they come, errors in their place, stopped when dropped.

use crate::error::{QueryError, QueryErrorKind};
use crate::statement::Plan;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches on their way from the query threads to the client: enough to overlap the two.
const BATCHES_AHEAD: usize = 2;

/// A statement's answer. The work stops when it is dropped.
pub struct Answer {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    batches: mpsc::Receiver<RecordBatch>,
    /// `None` after its end has been told.
    work: Option<Work>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Answer {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All batches at once.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = self.first.take() {
            return Poll::Ready(Some(Ok(batch)));
        }
        if let Some(batch) = std::task::ready!(self.batches.poll_recv(context)) {
            return Poll::Ready(Some(Ok(batch)));
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        let end = std::task::ready!(Pin::new(work).poll(context));
        self.work = None;
        Poll::Ready(end.err().map(Err))
    }
}

/// Runs the plan within `limit`. A statement that fails before its first batch fails here, so
/// that an answer's head can still say so.
pub(crate) async fn run(
    threads: &Handle,
    plan: Plan,
    limit: Duration,
) -> Result<Answer, QueryError> {
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let schema = Arc::clone(&plan.schema);
    let work = threads.spawn(async move {
        let statement = drive(plan.physical, plan.context, sender);
        match tokio::time::timeout(limit, statement).await {
            Ok(end) => end,
            Err(_) => Err(QueryError::new(
                QueryErrorKind::Timeout,
                format!("canceling statement due to statement timeout: it ran for {limit:?}"),
            )),
        }
    });
    let mut work = Some(Work::new(work));
    let first = batches.recv().await;
    if first.is_none()
        && let Some(work) = work.take()
    {
        work.await?;
    }
    Ok(Answer { schema, first, batches, work })
}

/// Sends batch after batch until the end or until nobody takes them any more.
async fn drive(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<(), QueryError> {
    let mut stream = execute_stream(plan, context)?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 && sender.send(batch).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A task on the query threads that ends with its holder.
pub(crate) struct Work<T = ()>(JoinHandle<Result<T, QueryError>>);

impl<T> Work<T> {
    pub(crate) fn new(task: JoinHandle<Result<T, QueryError>>) -> Self {
        Self(task)
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Work<T> {
    type Output = Result<T, QueryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let end = std::task::ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(end.unwrap_or_else(|error| {
            tracing::error!(%error, "a query task broke off");
            let text = "the statement broke off inside the server; its log says where";
            Err(QueryError::new(QueryErrorKind::Internal, text))
        }))
    }
}
