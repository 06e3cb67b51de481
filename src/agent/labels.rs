//! The agent's labels: read from their file and from the folder of jobs while it runs.

use super::AgentOptions;
use crate::Failure;
use bytes::Bytes;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;
use warpline_ingest::labels::Labels;
use warpline_storage::model::Layout;

/// Layouts whose dressed form is remembered; a target has few that change seldom.
const REMEMBERED: usize = 64;
/// A larger file is no list of labels, nor of jobs.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Labels as they are now, shared by all sources.
#[derive(Debug)]
pub(super) struct Dresser {
    file: Option<PathBuf>,
    jobs: Option<PathBuf>,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    labels: Labels,
    /// Layouts as they came, with what they became; the latest last.
    dressed: Vec<(Arc<Layout>, Arc<Layout>)>,
    complained: bool,
}

impl Dresser {
    /// A file that cannot be taken is an error here, and a warning later.
    pub(super) fn new(options: &AgentOptions) -> Result<Self, Failure> {
        let (file, jobs) = (options.labels.clone(), options.hpc_job_mapping_dir.clone());
        let dresser = Self { file, jobs, present: Mutex::default() };
        dresser.present.lock().labels = dresser.read()?;
        Ok(dresser)
    }

    /// Reads the files again; what cannot be read leaves the labels as they were.
    pub(super) fn refresh(&self) {
        let read = self.read();
        let mut present = self.present.lock();
        match read {
            Ok(labels) => {
                present.complained = false;
                if labels != present.labels {
                    *present = Present { labels, ..Present::default() };
                }
            }
            Err(reason) if !present.complained => {
                warn!("{reason}; the labels stay as they were");
                present.complained = true;
            }
            Err(_) => {}
        }
    }

    fn read(&self) -> Result<Labels, String> {
        let mut labels = Labels::default();
        if let Some(file) = &self.file {
            let at = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let text = text(file).map_err(|error| at(&error))?;
            labels = Labels::new(Labels::parse(&text).map_err(|error| at(&error))?);
        }
        // The folder is made by the first job.
        let Some(entries) = self.jobs.as_ref().and_then(|jobs| std::fs::read_dir(jobs).ok()) else {
            return Ok(labels);
        };
        for entry in entries.flatten() {
            // A job may end, and its file go, between the two.
            if let (Some(name), Ok(text)) = (entry.file_name().to_str(), text(&entry.path())) {
                labels.add_jobs(name, &text);
            }
        }
        Ok(labels)
    }

    /// The same blocks under layouts that have the labels.
    pub(super) fn dress(&self, blocks: Vec<(Arc<Layout>, Bytes)>) -> Vec<(Arc<Layout>, Bytes)> {
        let mut present = self.present.lock();
        if present.labels.is_empty() {
            return blocks;
        }
        blocks.into_iter().map(|(layout, bytes)| (present.dress(layout), bytes)).collect()
    }
}

impl Present {
    fn dress(&mut self, layout: Arc<Layout>) -> Arc<Layout> {
        let known = self.dressed.iter().find(|(plain, _)| Arc::ptr_eq(plain, &layout));
        if let Some((_, dressed)) = known {
            return dressed.clone();
        }
        let dressed = match self.labels.dress(&layout) {
            Ok(dressed) => Arc::new(dressed),
            Err(error) => {
                warn!("table {} is not labelled: {error}", layout.table());
                layout.clone()
            }
        };
        if self.dressed.len() == REMEMBERED {
            self.dressed.remove(0);
        }
        self.dressed.push((layout, dressed.clone()));
        dressed
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
