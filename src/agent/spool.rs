//! Where the agent's spool is and how large it may be.

use super::AgentOptions;
use crate::Failure;
use std::path::PathBuf;
use tracing::info;
use warpline_ingest::spool::{Keep, Spool, SpoolOptions};

/// Beyond these the oldest is dropped, where `--spool-size` says nothing.
const FOLDER_BYTES: u64 = 1 << 30;
const MEMORY_BYTES: u64 = 64 << 20;
/// A smaller spool would not hold the layouts of a few targets.
const LEAST_BYTES: u64 = 1 << 20;

/// Until when a frame is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    Stored,
    Durable,
}

/// The folder that the options name, or systemd.
pub(super) fn folder(options: &AgentOptions) -> Option<PathBuf> {
    let state = || std::env::var_os("STATE_DIRECTORY").filter(|folder| !folder.is_empty());
    options.spool.clone().or_else(|| Some(PathBuf::from(state()?).join("spool")))
}

pub(super) fn open(options: &AgentOptions) -> Result<Spool, Failure> {
    let Some(folder) = folder(options) else {
        info!("no --spool: what the server does not take is kept in memory, and lost at the end");
        return in_memory(options);
    };
    let bytes = size(options, FOLDER_BYTES)?;
    let spool = open_with(options, Some(folder.clone()), bytes)?;
    let frames = spool.counts().frames;
    info!("the spool {} has {frames} frames; it may grow to {} MiB", folder.display(), bytes >> 20);
    Ok(spool)
}

pub(super) fn in_memory(options: &AgentOptions) -> Result<Spool, Failure> {
    open_with(options, None, size(options, MEMORY_BYTES)?)
}

fn open_with(
    options: &AgentOptions,
    folder: Option<PathBuf>,
    bytes: u64,
) -> Result<Spool, Failure> {
    let keep = match options.spool_until {
        Until::Stored => Keep::Stored,
        Until::Durable => Keep::Durable,
    };
    Ok(Spool::open(&SpoolOptions { folder, bytes, keep })?)
}

fn size(options: &AgentOptions, default: u64) -> Result<u64, Failure> {
    let bytes = options.spool_size.map_or(default, |size| size.0);
    if bytes < LEAST_BYTES {
        return Err("--spool-size is below the least of 1MiB".into());
    }
    Ok(bytes)
}
