//! This machine's GPUs, read through NVML on a thread of its own: the driver may take its time.

use super::AgentOptions;
use crate::Failure;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};
use warpline_ingest::exposition::Format;
use warpline_ingest::nvml::NvmlReader;
use warpline_ingest::scrape::Mapper;
use warpline_storage::model::{Layout, Timestamp};

/// After how long without an answer the log says so.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Gpus {
    reader: NvmlReader,
    mapper: Mapper,
}

impl Gpus {
    /// `None` without --nvml.
    pub(super) async fn open(options: &AgentOptions) -> Result<Option<Self>, Failure> {
        if !options.nvml {
            return Ok(None);
        }
        let library = options.nvml_library.clone();
        let reader = asked(move || NvmlReader::open(library.as_deref())).await?;
        info!("reading {} GPUs through NVML", reader.gpus());
        let mapper = Mapper::new(super::dictionary(options)?, super::origin(options));
        Ok(Some(Self { reader, mapper }))
    }

    /// A tick of all GPUs.
    pub(super) async fn read(mut self, time: Timestamp) -> (Self, Vec<(Arc<Layout>, Bytes)>) {
        let read = move || {
            let page = self.reader.read();
            let blocks = self.mapper.map(page.as_bytes(), Format::Prometheus, time).blocks;
            (self, blocks)
        };
        asked(read).await
    }
}

/// What the driver answers, however long it takes.
async fn asked<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    let mut answer = tokio::task::spawn_blocking(ask);
    loop {
        if let Ok(answer) = timeout(SILENCE, &mut answer).await {
            return answer.expect("reading does not panic");
        }
        warn!("NVIDIA's driver has not answered for another {SILENCE:?}");
    }
}
