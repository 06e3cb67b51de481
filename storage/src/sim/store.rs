//! Objects in memory, and a process' way to them.

use super::line::Line;
use crate::machine::now;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// All objects, and when each came.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    inner: InMemory,
    came: Mutex<BTreeMap<Path, i64>>,
}

impl Objects {
    fn put(&self, path: &Path, payload: &PutPayload, options: &PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(path, payload.clone(), options.clone());
        let done = put.now_or_never().expect("memory answers at once")?;
        self.came.lock().insert(path.clone(), now());
        Ok(done)
    }

    fn delete(&self, path: &Path) -> Result<Path> {
        let deleted = self.inner.delete(path).now_or_never().expect("memory answers at once");
        self.came.lock().remove(path);
        deleted.map(|()| path.clone())
    }

    fn list(&self, prefix: Option<&Path>) -> Vec<ObjectMeta> {
        let listed = self.inner.list(prefix).collect::<Vec<_>>().now_or_never();
        let listed = listed.expect("memory answers at once").into_iter();
        let mut listed: Vec<ObjectMeta> = listed.collect::<Result<_>>().expect("a list");
        let came = self.came.lock();
        for entry in &mut listed {
            let micros = came.get(&entry.location).copied().unwrap_or_else(now);
            entry.last_modified = DateTime::from_timestamp_micros(micros).expect("a time");
        }
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        listed
    }

    /// The store as those see it who are no process of ours.
    pub(crate) fn direct(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.inner.clone())
    }
}

/// The objects as one process reaches them.
#[derive(Debug)]
pub(crate) struct Remote {
    objects: Arc<Objects>,
    line: Arc<Line>,
}

impl Remote {
    pub(super) fn new(objects: Arc<Objects>, line: Arc<Line>) -> Arc<Self> {
        Arc::new(Self { objects, line })
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote")
    }
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let what = format!("put {location} of {} bytes", payload.content_length());
        let (objects, location) = (self.objects.clone(), location.clone());
        let lies = self.line.lies(true);
        let put = move || {
            if lies {
                return Ok(PutResult { e_tag: None, version: None });
            }
            objects.put(&location, &payload, &options)
        };
        self.line.write(&what, put).await
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented {
            operation: "an upload in parts".into(),
            implementer: "Remote".into(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.line.read::<object_store::Error>(&format!("get {location}")).await?;
        self.objects.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.line.read::<object_store::Error>(&format!("get {location}")).await?;
        self.objects.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (objects, line) = (self.objects.clone(), self.line.clone());
        let delete = move |path: Result<Path>| {
            let (objects, line) = (objects.clone(), line.clone());
            async move {
                let path = path?;
                let what = format!("delete {path}");
                line.write(&what, move || objects.delete(&path)).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (objects, line, prefix) = (self.objects.clone(), self.line.clone(), prefix.cloned());
        let listed = async move {
            match line.read::<object_store::Error>("list").await {
                Ok(()) => objects.list(prefix.as_ref()).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        };
        listed.map(futures::stream::iter).flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.line.read::<object_store::Error>("list").await?;
        self.objects.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.inner.copy_opts(from, to, options).await
    }
}
