//! Merges a store's files by hand: what a server does by itself, all at once.
//!
//! The server must be stopped: the command takes the store as a server does. Rows that are in the
//! log alone are flushed first, rollups are brought up to date, and then every day is merged as if
//! it were over.

use crate::serve::ServeOptions;
use crate::{Failure, progress};
use warpline_storage::{Merged, Storage};

const EXAMPLES: &str = "\
Examples:
  warpline compact --data /var/lib/warpline
  warpline compact --config warpline.toml

A running server merges by itself; this is for a store that was filled and will be read by others.";

/// Merge the files of a stopped server's tables.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompactOptions {
    #[command(flatten)]
    server: ServeOptions,
}

/// Merges until nothing is left to merge.
pub async fn run(options: CompactOptions) -> Result<(), Failure> {
    let mut settings = options.server.configuration()?.storage_options()?;
    settings.maintenance.background = false;
    let storage = Storage::open(settings).await?;
    let before = storage.metrics();
    let flushed = |metrics: &warpline_storage::Metrics| metrics.levels[0].bytes;
    let bar = progress::bytes("merging", flushed(&before).max(1));
    let mut total = Merged { files: 0, rows: 0, read: 0, written: 0 };
    let merged = storage
        .compact(|_, merged| {
            total.files += merged.files;
            total.rows += merged.rows;
            total.read += merged.read;
            total.written += merged.written;
            bar.set_length(bar.length().unwrap_or(0).max(total.read));
            bar.set_position(total.read);
        })
        .await;
    bar.finish_and_clear();
    let after = storage.metrics();
    storage.close().await?;
    merged?;
    println!(
        "{} files became {}; {} MB were read, {} MB written in {:.1} s",
        before.files,
        after.files,
        total.read / 1_000_000,
        total.written / 1_000_000,
        after.merge_micros as f64 / 1e6
    );
    println!(
        "rollups got {} rows, {} MB, in {:.1} s",
        after.rolled_rows,
        after.rolled_bytes / 1_000_000,
        after.roll_micros as f64 / 1e6
    );
    Ok(())
}
