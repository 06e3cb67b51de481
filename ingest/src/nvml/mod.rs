//! NVML as an exporter: what the driver's own library says of each GPU, written as samples under
//! DCGM's names, so that they go the way of every other scrape.
//!
//! ```text
//! mod.rs        the GPUs of this machine, read into one page a tick
//! gpu.rs        one GPU                    fields.rs   what NVML gives in one call
//! facts.rs      what a GPU is              errors.rs   counters it gives one by one
//! instances.rs  its MIG instances          profile.rs  its own counters between two ticks (GPM)
//! xids.rs       the errors it reports      samples.rs  lines of the page
//! ```
//!
//! Promises: a call that a GPU does not support costs its own sample alone, and a GPU that is lost
//! its own rows; nothing is set or reset on any GPU. The library is opened when asked for, at run time: a build needs no driver.

mod errors;
mod facts;
mod fields;
mod gpu;
mod instances;
mod profile;
mod samples;
#[cfg(test)]
mod tests;
mod xids;

use gpu::Gpu;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::ffi::OsStr;
use std::path::Path;
use tracing::warn;

/// What the driver takes long for is asked again after so many ticks,
const DEAR_EVERY: u64 = 10;
/// and what changes seldom after so many.
const SLOW_EVERY: u64 = 60;
/// The driver's package has this name; the one without a number is its developers'.
const LIBRARY: &str = "libnvidia-ml.so.1";
const MIB: u64 = 1 << 20;

/// Why NVML cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{library}: {error}: the agent needs NVIDIA's driver for --nvml")]
pub struct NvmlFailure {
    library: String,
    error: NvmlError,
}

/// The GPUs of this machine.
#[derive(Debug)]
pub struct NvmlReader {
    gpus: Vec<Gpu>,
    ticks: u64,
}

/// What a tick asks of a GPU beside what every tick does.
#[derive(Clone, Copy, Debug)]
struct Due {
    tenth: bool,
    slow: bool,
}

impl Due {
    /// All with the first tick; later each GPU at other ticks, so that none takes too long.
    fn at(tick: u64, gpu: usize) -> Self {
        let turn = tick + gpu as u64;
        let every = |ticks| tick == 0 || turn.is_multiple_of(ticks);
        Self { tenth: every(DEAR_EVERY), slow: every(SLOW_EVERY) }
    }
}

impl NvmlReader {
    /// Opens the driver's library, or the one named. It stays open as long as the process lives.
    pub fn open(library: Option<&Path>) -> Result<Self, NvmlFailure> {
        let path = library.map_or_else(|| OsStr::new(LIBRARY), Path::as_os_str);
        let failed = |error| NvmlFailure { library: path.to_string_lossy().into_owned(), error };
        let nvml = Nvml::builder().lib_path(path).init().map_err(failed)?;
        // Devices, events and samples borrow from it.
        let nvml: &'static Nvml = Box::leak(Box::new(nvml));
        let (mut gpus, mut lost) = (Vec::new(), None);
        for index in 0..nvml.device_count().map_err(failed)? {
            match Gpu::open(nvml, index) {
                Ok(gpu) => gpus.push(gpu),
                Err(error) => {
                    warn!("GPU {index} is not read until the agent starts again: {error}");
                    lost = Some(error);
                }
            }
        }
        match lost {
            Some(error) if gpus.is_empty() => Err(failed(error)),
            _ => Ok(Self { gpus, ticks: 0 }),
        }
    }

    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// What all GPUs say now, in the Prometheus text format.
    pub fn read(&mut self) -> String {
        let mut page = String::new();
        for (index, gpu) in self.gpus.iter_mut().enumerate() {
            gpu.read(Due::at(self.ticks, index), &mut page);
        }
        self.ticks += 1;
        page
    }
}
