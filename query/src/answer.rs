//! A running statement: batches as they come, errors in their place, stopped when dropped.

use crate::error::{QueryError, QueryErrorKind};
use crate::statement::Plan;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// Batches on their way from the query threads to the client: enough to overlap the two.
const BATCHES_AHEAD: usize = 2;

/// When a statement must be done. Kept by the client's side of it: operators can compute for long
/// without a pause, and then nothing on the query threads would notice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// What the work comes to, or that its time is over.
    pub(crate) async fn bound<T>(
        self,
        work: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        match tokio::time::timeout_at(self.at, work).await {
            Ok(end) => end,
            Err(_) => Err(self.passed()),
        }
    }

    fn passed(self) -> QueryError {
        let text =
            format!("canceling statement due to statement timeout: it ran for {:?}", self.limit);
        QueryError::new(QueryErrorKind::Timeout, text)
    }
}

/// A statement's answer. The work stops when it is dropped.
pub struct Answer {
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    batches: mpsc::Receiver<RecordBatch>,
    /// `None` after its end has been told, or where all that it does is ready.
    work: Option<Work>,
    /// How many rows it may have yet, and at all.
    rows: (u64, u64),
    deadline: Deadline,
    alarm: Pin<Box<Sleep>>,
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

    /// Gives the rest of the answer another deadline.
    pub(crate) fn restart(&mut self, deadline: Deadline) {
        self.deadline = deadline;
        self.alarm.as_mut().reset(deadline.at);
    }

    /// The batch, unless it makes the answer too long, which ends it.
    fn counted(&mut self, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
        let (left, limit) = &mut self.rows;
        if let Some(fewer) = left.checked_sub(batch.num_rows() as u64) {
            *left = fewer;
            return Ok(batch);
        }
        let text = format!(
            "the answer has more than {limit} rows (query.rows): aggregate, or add a LIMIT"
        );
        self.ready.clear();
        self.work = None;
        Err(QueryError::new(QueryErrorKind::TooLarge, text))
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
        let this = &mut *self;
        if let Some(batch) = this.ready.pop_front() {
            return Poll::Ready(Some(this.counted(batch)));
        }
        let Some(work) = &mut this.work else {
            return Poll::Ready(None);
        };
        let work = Pin::new(work);
        let end = match this.batches.poll_recv(context) {
            Poll::Ready(Some(batch)) => return Poll::Ready(Some(this.counted(batch))),
            Poll::Ready(None) => work.poll(context),
            Poll::Pending => Poll::Pending,
        };
        let end = match end {
            Poll::Pending => {
                std::task::ready!(this.alarm.as_mut().poll(context));
                Err(this.deadline.passed())
            }
            Poll::Ready(end) => end,
        };
        this.work = None;
        Poll::Ready(end.err().map(Err))
    }
}

/// A plan in the making; it is large, and moved about.
pub(crate) type Planning = BoxFuture<'static, Result<Plan, QueryError>>;

/// Plans a statement and runs it, in one go on one of the query threads: waking a thread costs as
/// much as planning. A statement that fails before its first batch fails here, so that an answer's
/// head can still say so.
pub(crate) async fn run(
    threads: &Handle,
    plan: Planning,
    deadline: Deadline,
    rows: u64,
) -> Result<Answer, QueryError> {
    let (begin, head) = oneshot::channel();
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let mut work = Work::new(threads.spawn(drive(plan, begin, sender)));
    let head = deadline.bound(async { Ok(head.await.ok()) }).await?;
    let Some(Head { schema, ready, ended }) = head else {
        deadline.bound(&mut work).await?;
        let text = "the statement ended without an answer";
        return Err(QueryError::new(QueryErrorKind::Internal, text));
    };
    let alarm = Box::pin(tokio::time::sleep_until(deadline.at));
    let work = Some(work).filter(|_| !ended);
    Ok(Answer { schema, ready, batches, work, rows: (rows, rows), deadline, alarm })
}

/// How an answer begins: the first batch, and what is ready with it.
struct Head {
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    /// Whether nothing comes after.
    ended: bool,
}

/// Sends the head, then batch after batch until the end or until nobody takes them any more.
async fn drive(
    plan: Planning,
    begin: oneshot::Sender<Head>,
    sender: mpsc::Sender<RecordBatch>,
) -> Result<(), QueryError> {
    let Plan { schema, physical, context } = plan.await?;
    let mut stream = execute_stream(physical, context)?;
    let mut ready: VecDeque<_> = next(&mut stream).await?.into_iter().collect();
    let mut next_one = if ready.is_empty() { Some(Ok(None)) } else { None };
    while next_one.is_none() && ready.len() < BATCHES_AHEAD {
        match next(&mut stream).now_or_never() {
            Some(Ok(Some(batch))) => ready.push_back(batch),
            Some(end) => next_one = Some(end),
            None => break,
        }
    }
    let ended = matches!(next_one, Some(Ok(None)));
    if begin.send(Head { schema, ready, ended }).is_err() || ended {
        return Ok(());
    }
    next_one.transpose()?;
    while let Some(batch) = next(&mut stream).await? {
        if sender.send(batch).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The next batch that has rows.
async fn next(stream: &mut SendableRecordBatchStream) -> Result<Option<RecordBatch>, QueryError> {
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
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
