//! A store in a local folder whose puts survive the loss of power.
//!
//! `LocalFileSystem` writes a file and renames it without a sync, so after a power cut a commit
//! may name files that are empty. Here a put writes a hidden temporary file beside the final
//! name, syncs it, gives it its name, and syncs the folder and every folder above it up to the
//! root that this process has not synced yet. When a put returns, the bytes and the way to them
//! are on disk; a name never stands for fewer bytes than were put.
//!
//! A folder whose sync failed is never trusted again by this process: a name in it can be read and
//! may yet be gone after a power cut, and a second sync may say that all is well. So from then on
//! nothing is put, and the logs of tables are not read: a commit that failed with its sync must not
//! be found there and taken for made.
//!
//! Listings are sorted by path, as those of cloud stores are: the Delta log's reader counts on
//! that. A temporary file that a crash leaves behind is never listed.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const STORE: &str = "DurableLocal";

#[derive(Clone, Debug)]
pub(crate) struct DurableLocal {
    inner: LocalFileSystem,
    disk: Arc<Disk>,
}

/// One step towards durability, for those who watch the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The temporary file that will become the path is on disk.
    FileSynced(PathBuf),
    /// The file has its name.
    Named(PathBuf),
    FolderSynced(PathBuf),
}

pub(crate) type Observer = Box<dyn Fn(Step) + Send + Sync>;

struct Disk {
    root: PathBuf,
    /// Folders whose own entries, up to the root, are on disk.
    reachable: Mutex<HashSet<PathBuf>>,
    observer: Option<Observer>,
    /// A sync of a folder has failed.
    broken: AtomicBool,
}

impl DurableLocal {
    /// The store in the folder `root`, which is made, durably, where there is none.
    pub(crate) fn open(root: &FilePath) -> io::Result<Self> {
        Self::with_observer(root, None)
    }

    pub(crate) fn with_observer(root: &FilePath, observer: Option<Observer>) -> io::Result<Self> {
        make_root(root)?;
        let root = root.canonicalize()?;
        let inner = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?;
        let reachable = Mutex::new(HashSet::from([root.clone()]));
        Ok(Self {
            inner,
            disk: Arc::new(Disk { root, reachable, observer, broken: AtomicBool::new(false) }),
        })
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let disk = self.disk.clone();
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(done) => done,
            Err(source) => Err(object_store::Error::JoinError { source }),
        }
    }

    async fn sync_name(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        self.blocking(move |disk| disk.sync_folder(parent(&path)).map_err(|e| failed(&path, e)))
            .await
    }
}

impl Disk {
    fn put(&self, path: &FilePath, payload: &PutPayload, mode: &PutMode) -> Result<()> {
        self.check()?;
        let folder = parent(path);
        self.make_reachable(folder).map_err(|e| failed(folder, e))?;
        let staged = staged_name(path);
        let named = self.stage(&staged, path, payload).and_then(|()| match mode {
            PutMode::Create => std::fs::hard_link(&staged, path),
            _ => std::fs::rename(&staged, path),
        });
        // A rename has moved the temporary file away already.
        let _ = std::fs::remove_file(&staged);
        named.map_err(|e| failed(path, e))?;
        self.observe(Step::Named(path.to_owned()));
        self.sync_folder(folder).map_err(|e| failed(folder, e))
    }

    fn stage(&self, staged: &FilePath, path: &FilePath, payload: &PutPayload) -> io::Result<()> {
        let mut file = File::create_new(staged)?;
        payload.iter().try_for_each(|chunk| file.write_all(chunk))?;
        file.sync_all()?;
        self.observe(Step::FileSynced(path.to_owned()));
        Ok(())
    }

    /// Makes `folder` and sees to it that its entry, and those of the folders above it up to the
    /// root, are on disk. That an earlier process made a folder does not say that it synced it.
    fn make_reachable(&self, folder: &FilePath) -> io::Result<()> {
        if self.reachable.lock().contains(folder) && folder.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(folder)?;
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            self.sync_folder(above)?;
        }
        self.reachable.lock().insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &FilePath) -> io::Result<()> {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        self.broken.fetch_or(synced.is_err(), Relaxed);
        synced?;
        self.observe(Step::FolderSynced(folder.to_owned()));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.broken.load(Relaxed) {
            let source = "a folder could not be synced: mend the disk and restart".into();
            return Err(object_store::Error::Generic { store: STORE, source });
        }
        Ok(())
    }

    /// Whether a place may be read. Data files may: what names them is read beforehand.
    fn check_read(&self, location: Option<&Path>) -> Result<()> {
        let is_log = |path: &Path| path.parts().any(|part| part.as_ref() == "_delta_log");
        if location.is_none_or(is_log) { self.check() } else { Ok(()) }
    }

    fn observe(&self, step: Step) {
        if let Some(observer) = &self.observer {
            observer(step);
        }
    }
}

/// Makes the root and syncs the entries of the folders it had to make.
fn make_root(root: &FilePath) -> io::Result<()> {
    let missing: Vec<_> = root.ancestors().take_while(|above| !above.exists()).collect();
    std::fs::create_dir_all(root)?;
    missing.into_iter().try_for_each(|made| File::open(parent(made))?.sync_all())
}

fn parent(path: &FilePath) -> &FilePath {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => FilePath::new("."),
    }
}

/// A name that `LocalFileSystem` hides from listings and refuses to open: `#` and digits.
fn staged_name(path: &FilePath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
    name.into()
}

fn failed(path: &FilePath, error: io::Error) -> object_store::Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            object_store::Error::AlreadyExists { path, source: error.into() }
        }
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: error.into() },
        _ => object_store::Error::Generic {
            store: STORE,
            source: io::Error::new(error.kind(), format!("{path}: {error}")).into(),
        },
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("root", &self.root).finish_non_exhaustive()
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({})", self.disk.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return Err(object_store::Error::NotImplemented {
                operation: "a put that updates or carries attributes".into(),
                implementer: self.to_string(),
            });
        }
        let path = self.inner.path_to_filesystem(location)?;
        self.blocking(move |disk| disk.put(&path, &payload, &options.mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    /// Parts are kept in memory until they are complete: only then can the file be synced before
    /// it gets its name.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::new(Upload { store, location, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.disk.check_read(Some(location))?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.disk.check_read(Some(location))?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.disk.check_read(prefix), self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        sorted(self.disk.check_read(prefix), self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync_name(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync_name(to).await
    }
}

fn sorted(
    allowed: Result<()>,
    listing: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let collected = async move {
        allowed?;
        let mut found: Vec<_> = listing.try_collect().await?;
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(futures::stream::iter(found.into_iter().map(Ok)))
    };
    collected.try_flatten_stream().boxed()
}

#[derive(Debug)]
struct Upload {
    store: DurableLocal,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        futures::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = PutPayload::from_iter(std::mem::take(&mut self.parts));
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
