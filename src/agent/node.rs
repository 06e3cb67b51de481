//! Reading `/proc`.

use warpline_ingest::node::ProcTexts;

/// What the machine says now; a file that cannot be read is empty.
pub(super) async fn texts() -> ProcTexts {
    let read = async |path: &str| tokio::fs::read_to_string(path).await.unwrap_or_default();
    ProcTexts {
        stat: read("/proc/stat").await,
        loadavg: read("/proc/loadavg").await,
        meminfo: read("/proc/meminfo").await,
        diskstats: read("/proc/diskstats").await,
        // Of this process's network: its own in a container, the machine's otherwise.
        net_dev: read("/proc/net/dev").await,
    }
}
