//! What a stream's batches have become, on its way to the sender.
//!
//! A sender need not read results while it writes, and many never do. So they wait here, and from
//! [`MAX_WAITING`] on the last one tells of all further batches together.

use super::PutResults;
use crate::flight::FlightTally;
use arrow_flight::PutResult;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::Status;

pub(super) const MAX_WAITING: usize = 64;

/// Where a stream's task puts results.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    waiting: Arc<Mutex<VecDeque<FlightTally>>>,
    changed: Arc<Notify>,
}

impl Results {
    pub(super) fn send(&self, tally: FlightTally) {
        let mut waiting = self.waiting.lock();
        let full = waiting.len() >= MAX_WAITING;
        match waiting.back_mut().filter(|_| full) {
            Some(last) => last.add(&tally),
            None => waiting.push_back(tally),
        }
        self.changed.notify_one();
    }
}

/// Runs a stream's task, for as long as its results are waited for, and answers with them.
pub(super) fn answer<F>(task: impl FnOnce(Results) -> F) -> PutResults
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let results = Results::default();
    let mut running = JoinSet::new();
    running.spawn(task(results.clone()));
    let answer = Answer { results, running, end: None };
    stream::unfold(answer, |mut answer| async { Some((answer.next().await?, answer)) }).boxed()
}

#[derive(Debug)]
struct Answer {
    results: Results,
    /// The task, until it has ended.
    running: JoinSet<Result<(), Status>>,
    /// The error that it ended by, until it is told.
    end: Option<Status>,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<PutResult, Status>> {
        loop {
            if let Some(tally) = self.results.waiting.lock().pop_front() {
                return Some(Ok(result(&tally)));
            }
            if self.running.is_empty() {
                return self.end.take().map(Err);
            }
            tokio::select! {
                () = self.results.changed.notified() => {}
                ended = self.running.join_next() => {
                    let panicked = |error| Err(Status::internal(format!("the write ended: {error}")));
                    self.end = ended.and_then(|ended| ended.unwrap_or_else(panicked).err());
                }
            }
        }
    }
}

fn result(tally: &FlightTally) -> PutResult {
    let told = json!({
        "rows": tally.rows,
        "refused_rows": tally.refused_rows(),
        "refused_values": tally.refused_values(),
        "why": tally.refused.examples(),
    });
    PutResult { app_metadata: told.to_string().into() }
}
