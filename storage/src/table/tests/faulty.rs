//! A store whose commits go astray when told to.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What happens to the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not made.
    Lost,
    /// It is made, the answer is lost.
    Unanswered,
    /// It is made when `deliver` is called, long after the caller has been told that it failed.
    Delayed,
    /// It is made, after a while.
    Slow,
    /// It is made; a retry inside the store's client then finds the name taken.
    Repeated,
}

#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    next: Mutex<Option<Fault>>,
    delayed: Mutex<Option<(Path, PutPayload)>>,
    /// Whether checkpoints are refused, and how many were.
    no_checkpoints: AtomicBool,
    refused: AtomicUsize,
}

impl Faulty {
    pub(super) fn over(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            next: Mutex::default(),
            delayed: Mutex::default(),
            no_checkpoints: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        })
    }

    pub(super) fn refuse_checkpoints(&self, refuse: bool) {
        self.no_checkpoints.store(refuse, Relaxed);
    }

    /// How many checkpoints were refused.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }

    pub(super) fn arm(&self, fault: Fault) {
        *self.next.lock() = Some(fault);
    }

    /// Whether the delayed commit was made.
    pub(super) async fn deliver(&self) -> bool {
        let (path, payload) = self.delayed.lock().take().expect("a commit was delayed");
        self.inner.put_opts(&path, payload, PutMode::Create.into()).await.is_ok()
    }
}

fn timeout() -> object_store::Error {
    object_store::Error::Generic { store: "Faulty", source: "timed out".into() }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_commit =
            location.as_ref().contains("_delta_log/") && location.extension() == Some("json");
        if location.as_ref().contains(".checkpoint.") && self.no_checkpoints.load(Relaxed) {
            self.refused.fetch_add(1, Relaxed);
            return Err(timeout());
        }
        let fault = is_commit.then(|| self.next.lock().take()).flatten();
        match fault {
            None => self.inner.put_opts(location, payload, options).await,
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                self.inner.put_opts(location, payload, options).await
            }
            Some(Fault::Lost) => Err(timeout()),
            Some(Fault::Unanswered) => {
                self.inner.put_opts(location, payload, options).await?;
                Err(timeout())
            }
            Some(Fault::Delayed) => {
                *self.delayed.lock() = Some((location.clone(), payload));
                Err(timeout())
            }
            Some(Fault::Repeated) => {
                self.inner.put_opts(location, payload.clone(), options.clone()).await?;
                self.inner.put_opts(location, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if location.as_ref().contains(".checkpoint.") && self.no_checkpoints.load(Relaxed) {
            self.refused.fetch_add(1, Relaxed);
            return Err(timeout());
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
