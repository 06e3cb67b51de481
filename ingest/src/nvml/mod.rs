//! NVML as an exporter: what the driver's own library says of each GPU, written as samples under
//! DCGM's names, so that they go the way of every other scrape.
//!
//! Promises: a call that a GPU does not support costs its own sample alone; nothing is set or reset
//! on any GPU. The library is opened when asked for, at run time: a build needs no driver.

mod fields;
#[cfg(test)]
mod tests;

use fields::FIELDS;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, PcieUtilCounter};
use nvml_wrapper::enum_wrappers::device::{TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};
use std::ffi::OsStr;
use std::fmt::{Display, Write};
use std::path::Path;

/// What changes seldom is asked again after so many ticks.
const SLOW_EVERY: u64 = 60;
/// The driver's package has this name; the one without a number is its developers'.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// A GPU may report at most so many events between two ticks; the rest come with the next.
const MAX_EVENTS: usize = 1_000;
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

#[derive(Debug)]
struct Gpu {
    device: Device<'static>,
    labels: String,
    /// Fields that the GPU has not refused.
    fields: Vec<(u32, &'static str, Unit)>,
    slow: String,
    events: Option<Events>,
    last_xid: u64,
}

/// Wraps a set, which tells nothing of itself.
struct Events(EventSet<'static>);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// What a number of NVML is divided by to become the dictionary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Plain,
    /// Milliwatts, for watts.
    Thousandths,
}

impl NvmlReader {
    /// Opens the driver's library, or the one named. It stays open as long as the process lives.
    pub fn open(library: Option<&Path>) -> Result<Self, NvmlFailure> {
        let path = library.map_or_else(|| OsStr::new(LIBRARY), Path::as_os_str);
        let failed = |error| NvmlFailure { library: path.to_string_lossy().into_owned(), error };
        let nvml = Nvml::builder().lib_path(path).init().map_err(failed)?;
        // Devices and events borrow from it.
        let nvml: &'static Nvml = Box::leak(Box::new(nvml));
        let count = nvml.device_count().map_err(failed)?;
        let driver = nvml.sys_driver_version().unwrap_or_default();
        let gpus = (0..count).map(|index| Gpu::open(nvml, index, &driver));
        let gpus = gpus.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { gpus, ticks: 0 })
    }

    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// What all GPUs say now, in the Prometheus text format.
    pub fn read(&mut self) -> String {
        let slow = self.ticks.is_multiple_of(SLOW_EVERY);
        self.ticks += 1;
        let mut page = String::new();
        for gpu in &mut self.gpus {
            if slow {
                gpu.read_slow();
            }
            page.push_str(&gpu.slow);
            gpu.read(&mut page);
        }
        page
    }
}

impl Gpu {
    fn open(nvml: &'static Nvml, index: u32, driver: &str) -> Result<Self, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let uuid = device.uuid().unwrap_or_default();
        let model = device.name().unwrap_or_default();
        let bus = device.pci_info().map(|pci| pci.bus_id).unwrap_or_default();
        let labels = format!(
            "{{gpu=\"{index}\",UUID=\"{}\",modelName=\"{}\",pci_bus_id=\"{}\",\
             DCGM_FI_DRIVER_VERSION=\"{}\"}}",
            escaped(&uuid),
            escaped(&model),
            escaped(&bus),
            escaped(driver)
        );
        // A set that cannot be registered is lost; each GPU has its own.
        let events = nvml
            .create_event_set()
            .ok()
            .and_then(|set| device.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok())
            .map(Events);
        let fields = FIELDS.to_vec();
        Ok(Self { device, labels, fields, slow: String::new(), events, last_xid: 0 })
    }

    /// What may change from tick to tick.
    fn read(&mut self, page: &mut String) {
        let mut out = Samples { page, labels: &self.labels };
        let device = &self.device;
        if let Ok(rates) = device.utilization_rates() {
            out.put("DCGM_FI_DEV_GPU_UTIL", rates.gpu);
            out.put("DCGM_FI_DEV_MEM_COPY_UTIL", rates.memory);
        }
        out.put_if("DCGM_FI_DEV_ENC_UTIL", device.encoder_utilization().map(|u| u.utilization));
        out.put_if("DCGM_FI_DEV_DEC_UTIL", device.decoder_utilization().map(|u| u.utilization));
        if let Ok(memory) = device.memory_info() {
            out.put("DCGM_FI_DEV_FB_TOTAL", memory.total / MIB);
            out.put("DCGM_FI_DEV_FB_FREE", memory.free / MIB);
            out.put("DCGM_FI_DEV_FB_USED", memory.used / MIB);
            out.put("DCGM_FI_DEV_FB_RESERVED", memory.reserved / MIB);
            let usable = memory.total.saturating_sub(memory.reserved).max(1);
            let ratio = memory.used as f64 / usable as f64;
            out.put("DCGM_FI_DEV_FB_USED_PERCENT", format_args!("{ratio:.6}"));
        }
        out.put_if("DCGM_FI_DEV_GPU_TEMP", device.temperature(TemperatureSensor::Gpu));
        out.put_watts("DCGM_FI_DEV_POWER_USAGE", device.power_usage());
        out.put_if("DCGM_FI_DEV_SM_CLOCK", device.clock_info(Clock::SM));
        out.put_if("DCGM_FI_DEV_MEM_CLOCK", device.clock_info(Clock::Memory));
        out.put_if("DCGM_FI_DEV_VIDEO_CLOCK", device.clock_info(Clock::Video));
        let state = device.performance_state().map(|state| state.as_c());
        out.put_if("DCGM_FI_DEV_PSTATE", state);
        out.put_if("DCGM_FI_DEV_FAN_SPEED", device.fan_speed(0));
        let reasons = device.current_throttle_reasons().map(|reasons| reasons.bits());
        out.put_if("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", reasons);
        out.put_if("DCGM_FI_DEV_PCIE_LINK_GEN", device.current_pcie_link_gen());
        out.put_if("DCGM_FI_DEV_PCIE_LINK_WIDTH", device.current_pcie_link_width());
        read_fields(device, &mut self.fields, &mut out);
        if let Some(events) = &self.events {
            self.last_xid = last_xid(&events.0).unwrap_or(self.last_xid);
            out.put("DCGM_FI_DEV_XID_ERRORS", self.last_xid);
        }
    }

    /// Limits, modes, and what the driver takes long to tell.
    fn read_slow(&mut self) {
        self.slow.clear();
        let mut out = Samples { page: &mut self.slow, labels: &self.labels };
        let device = &self.device;
        let threshold = |which| device.temperature_threshold(which);
        out.put_if("DCGM_FI_DEV_SLOWDOWN_TEMP", threshold(TemperatureThreshold::Slowdown));
        out.put_if("DCGM_FI_DEV_SHUTDOWN_TEMP", threshold(TemperatureThreshold::Shutdown));
        out.put_if("DCGM_FI_DEV_MEM_MAX_OP_TEMP", threshold(TemperatureThreshold::MemoryMax));
        out.put_if("DCGM_FI_DEV_GPU_MAX_OP_TEMP", threshold(TemperatureThreshold::GpuMax));
        out.put_watts("DCGM_FI_DEV_POWER_MGMT_LIMIT", device.power_management_limit());
        out.put_watts("DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF", device.power_management_limit_default());
        out.put_watts("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", device.enforced_power_limit());
        if let Ok(limits) = device.power_management_limit_constraints() {
            out.put_watts("DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN", Ok(limits.min_limit));
            out.put_watts("DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", Ok(limits.max_limit));
        }
        out.put_if("DCGM_FI_DEV_APP_SM_CLOCK", device.applications_clock(Clock::SM));
        out.put_if("DCGM_FI_DEV_APP_MEM_CLOCK", device.applications_clock(Clock::Memory));
        out.put_if("DCGM_FI_DEV_MAX_SM_CLOCK", device.max_clock_info(Clock::SM));
        out.put_if("DCGM_FI_DEV_MAX_MEM_CLOCK", device.max_clock_info(Clock::Memory));
        out.put_if("DCGM_FI_DEV_MAX_VIDEO_CLOCK", device.max_clock_info(Clock::Video));
        out.put_if("DCGM_FI_DEV_PCIE_MAX_LINK_GEN", device.max_pcie_link_gen());
        out.put_if("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH", device.max_pcie_link_width());
        let throughput = |way| device.pcie_throughput(way);
        out.put_if("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", throughput(PcieUtilCounter::Send));
        out.put_if("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", throughput(PcieUtilCounter::Receive));
        if let Ok(bar1) = device.bar1_memory_info() {
            out.put("DCGM_FI_DEV_BAR1_TOTAL", bar1.total / MIB);
            out.put("DCGM_FI_DEV_BAR1_USED", bar1.used / MIB);
            out.put("DCGM_FI_DEV_BAR1_FREE", bar1.free / MIB);
        }
        out.put_if("DCGM_FI_DEV_COMPUTE_MODE", device.compute_mode().map(|mode| mode.as_c()));
        let persistent = device.is_in_persistent_mode().map(u8::from);
        out.put_if("DCGM_FI_DEV_PERSISTENCE_MODE", persistent);
        out.put_if("DCGM_FI_DEV_MIG_MODE", device.mig_mode().map(|mode| mode.current));
        if let Ok(ecc) = device.is_ecc_enabled() {
            out.put("DCGM_FI_DEV_ECC_CURRENT", u8::from(ecc.currently_enabled));
            out.put("DCGM_FI_DEV_ECC_PENDING", u8::from(ecc.pending_enabled));
        }
    }
}

/// One call for all fields; those that the GPU does not have are not asked for again.
fn read_fields(
    device: &Device<'static>,
    fields: &mut Vec<(u32, &'static str, Unit)>,
    out: &mut Samples<'_>,
) {
    let ids: Vec<FieldId> = fields.iter().map(|(id, ..)| FieldId(*id)).collect();
    let Ok(values) = device.field_values_for(&ids) else { return };
    let mut values = values.into_iter();
    fields.retain(|(_, name, unit)| {
        let value = values.next().map(|field| field.and_then(|field| field.value));
        match value {
            Some(Ok(value)) => {
                out.put_value(name, &value, *unit);
                true
            }
            Some(Err(NvmlError::NotSupported | NvmlError::InvalidArg)) => false,
            _ => true,
        }
    });
}

/// The last of the errors that came since this was asked.
fn last_xid(events: &EventSet<'static>) -> Option<u64> {
    let mut last = None;
    for _ in 0..MAX_EVENTS {
        let Ok(event) = events.wait(0) else { break };
        last = match event.event_data {
            Some(XidError::Value(xid)) => Some(xid),
            Some(XidError::Unknown) => Some(999),
            None => last,
        };
    }
    last
}

/// Where a GPU's samples are written.
struct Samples<'a> {
    page: &'a mut String,
    labels: &'a str,
}

impl Samples<'_> {
    fn put(&mut self, name: &str, value: impl Display) {
        let labels = self.labels;
        writeln!(self.page, "{name}{labels} {value}").expect("a string takes everything");
    }

    fn put_if(&mut self, name: &str, value: Result<impl Display, NvmlError>) {
        if let Ok(value) = value {
            self.put(name, value);
        }
    }

    fn put_watts(&mut self, name: &str, milliwatts: Result<u32, NvmlError>) {
        self.put_if(name, milliwatts.map(|milliwatts| thousandths(milliwatts.into())));
    }

    fn put_value(&mut self, name: &str, value: &SampleValue, unit: Unit) {
        match (value, unit) {
            (SampleValue::U32(n), Unit::Thousandths) => self.put(name, thousandths((*n).into())),
            (SampleValue::U64(n), Unit::Thousandths) => self.put(name, thousandths(*n)),
            (SampleValue::F64(n), Unit::Thousandths) => self.put(name, n / 1_000.0),
            (SampleValue::I64(n), Unit::Thousandths) => self.put(name, *n as f64 / 1_000.0),
            (SampleValue::U32(n), Unit::Plain) => self.put(name, n),
            (SampleValue::U64(n), Unit::Plain) => self.put(name, n),
            (SampleValue::I64(n), Unit::Plain) => self.put(name, n),
            (SampleValue::F64(n), Unit::Plain) => self.put(name, n),
        }
    }
}

fn thousandths(number: u64) -> String {
    format!("{}.{:03}", number / 1_000, number % 1_000)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
