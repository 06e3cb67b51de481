//! This machine's GPUs, read through NVML on a thread of its own: the driver may take its time.

use super::AgentOptions;
use crate::Failure;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};
use warpline_ingest::dictionary::Dictionary;
use warpline_ingest::exposition::Format;
use warpline_ingest::nvml::NvmlReader;
use warpline_ingest::scrape::{Mapper, Origin};
use warpline_storage::model::{Layout, Timestamp};

/// After how long without an answer the log says so.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Gpus {
    reader: NvmlReader,
    mapper: Mapper,
}

impl Gpus {
    pub(super) fn open(
        options: &AgentOptions,
        dictionary: Arc<Dictionary>,
        origin: Origin,
    ) -> Result<Self, Failure> {
        let reader = NvmlReader::open(options.nvml_library.as_deref())?;
        info!("reading {} GPUs through NVML", reader.gpus());
        Ok(Self { reader, mapper: Mapper::new(dictionary, origin) })
    }

    /// A tick of all GPUs.
    pub(super) async fn read(mut self, time: Timestamp) -> (Self, Vec<(Arc<Layout>, Bytes)>) {
        let read = move || {
            let page = self.reader.read();
            let blocks = self.mapper.map(page.as_bytes(), Format::Prometheus, time).blocks;
            (self, blocks)
        };
        let mut read = tokio::task::spawn_blocking(read);
        loop {
            if let Ok(read) = timeout(SILENCE, &mut read).await {
                return read.expect("reading does not panic");
            }
            warn!("NVIDIA's driver has not answered for another {SILENCE:?}");
        }
    }
}
