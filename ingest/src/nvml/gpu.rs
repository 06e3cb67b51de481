//! One GPU: what is asked of it at every tick, and what seldom changes.

use super::errors::{CONVERGENCE, SHARED, SRAM, read_links, read_memory};
use super::fields::Fields;
use super::instances::{Instances, Parent};
use super::profile::Profile;
use super::samples::{Samples, labels};
use super::xids::Xids;
use super::{Due, MIB, facts};
use nvml_wrapper::enum_wrappers::device::{Clock, ComputeMode, PcieUtilCounter};
use nvml_wrapper::enum_wrappers::device::{TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::MemoryInfo;
use nvml_wrapper::{Device, Nvml};
use tracing::warn;

#[derive(Debug)]
pub(super) struct Gpu {
    device: Device<'static>,
    index: u32,
    uuid: String,
    is_lost: bool,
    /// Labels that say what is known of the GPU.
    names: Vec<(&'static str, String)>,
    /// What tells its rows apart, and that with all names.
    labels: String,
    all_labels: String,
    fields: Fields,
    dear_fields: Fields,
    xids: Option<Xids>,
    /// `None` where the GPU has no GPM.
    profile: Option<Profile>,
    instances: Instances,
    /// Samples that change seldom, and those that do not change.
    slow: String,
    facts: String,
}

impl Gpu {
    pub(super) fn open(nvml: &'static Nvml, index: u32) -> Result<Self, NvmlError> {
        let device = nvml.device_by_index(index)?;
        let number = index.to_string();
        let identity = ("gpu", &*number);
        let names = facts::names(nvml, &device);
        let known = names.iter().map(|(name, value)| (*name, &**value));
        let all_labels = labels([identity].into_iter().chain(known));
        let labels = labels([identity]);
        let mut facts = String::new();
        facts::read(&device, &mut Samples::new(&mut facts, &labels));
        let profile = device.gpm_support().is_ok_and(|has| has).then(Profile::default);
        Ok(Self {
            index,
            uuid: device.uuid().unwrap_or_default(),
            is_lost: false,
            labels,
            all_labels,
            names,
            fields: Fields::of(&device),
            dear_fields: Fields::dear_ones_of(&device),
            xids: Xids::watch(nvml, &device),
            profile,
            instances: Instances::default(),
            slow: String::new(),
            facts,
            device,
        })
    }

    /// What the GPU says now: nothing where it has fallen off its bus.
    pub(super) fn read(&mut self, due: Due, page: &mut String) {
        let memory = self.device.memory_info();
        if matches!(memory, Err(NvmlError::GpuLost)) {
            self.lose(page);
            return;
        }
        if std::mem::take(&mut self.is_lost) {
            warn!("GPU {} is there again", self.index);
        }
        // One sample carries all that is known; the other ones are of the same GPU.
        Samples::new(page, &self.all_labels).put("DCGM_FI_DEV_NVML_INDEX", self.index);
        let mut out = Samples::new(page, &self.labels);
        read_load(&self.device, &mut out);
        if let Ok(memory) = memory {
            put_memory(&memory, &mut out);
        }
        read_board(&self.device, &mut out);
        self.fields.read(&self.device, &mut out);
        if let Some(xids) = &mut self.xids {
            xids.read(&mut out);
        }
        if let Some(profile) = &mut self.profile {
            profile.read(|| self.device.gpm_sample(), due.tenth, &mut out);
        }
        if due.tenth {
            self.dear_fields.read(&self.device, &mut out);
        }
        if due.slow {
            page.push_str(&self.facts);
            self.read_slow();
        }
        page.push_str(&self.slow);
        self.read_instances(due, page);
    }

    /// Its last row tells of the XIDs that say why.
    fn lose(&mut self, page: &mut String) {
        if std::mem::replace(&mut self.is_lost, true) {
            return;
        }
        warn!("GPU {} is lost", self.index);
        Samples::new(page, &self.all_labels).put("DCGM_FI_DEV_NVML_INDEX", self.index);
        if let Some(xids) = &mut self.xids {
            xids.read(&mut Samples::new(page, &self.labels));
        }
    }

    fn read_slow(&mut self) {
        self.slow.clear();
        let mut out = Samples::new(&mut self.slow, &self.labels);
        read_limits(&self.device, &mut out);
        read_modes(&self.device, &mut out);
        put_bar1(&self.device, &mut out);
        if self.profile.is_none() {
            let throughput = |way| self.device.pcie_throughput(way);
            out.put_if("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", throughput(PcieUtilCounter::Send));
            out.put_if("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", throughput(PcieUtilCounter::Receive));
        }
        read_memory(&self.device, &[SRAM, SHARED, CONVERGENCE], &self.fields, &mut out);
        read_links(&self.device, &self.fields, &mut out);
    }

    fn read_instances(&mut self, due: Due, page: &mut String) {
        let (uuid, names) = (&*self.uuid, &*self.names);
        let parent = Parent { device: &self.device, index: self.index, uuid, names };
        if due.slow {
            self.instances.refresh(&parent, self.device.mig_device_count().unwrap_or(0));
        }
        self.instances.read(&parent, due, page);
    }
}

fn read_load(device: &Device<'static>, out: &mut Samples<'_>) {
    if let Ok(rates) = device.utilization_rates() {
        out.put("DCGM_FI_DEV_GPU_UTIL", rates.gpu);
        out.put("DCGM_FI_DEV_MEM_COPY_UTIL", rates.memory);
    }
    out.put_if("DCGM_FI_DEV_ENC_UTIL", device.encoder_utilization().map(|u| u.utilization));
    out.put_if("DCGM_FI_DEV_DEC_UTIL", device.decoder_utilization().map(|u| u.utilization));
}

fn read_board(device: &Device<'static>, out: &mut Samples<'_>) {
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
}

fn read_limits(device: &Device<'static>, out: &mut Samples<'_>) {
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
}

fn read_modes(device: &Device<'static>, out: &mut Samples<'_>) {
    // DCGM numbers them without the mode that is gone.
    let compute = device.compute_mode().map(|mode| match mode {
        ComputeMode::Default => 0,
        ComputeMode::ExclusiveThread | ComputeMode::Prohibited => 1,
        ComputeMode::ExclusiveProcess => 2,
    });
    out.put_if("DCGM_FI_DEV_COMPUTE_MODE", compute);
    let persistent = device.is_in_persistent_mode().map(u8::from);
    out.put_if("DCGM_FI_DEV_PERSISTENCE_MODE", persistent);
    out.put_if("DCGM_FI_DEV_MIG_MODE", device.mig_mode().map(|mode| mode.current));
    let boost = device.auto_boosted_clocks_enabled().map(|boost| u8::from(boost.is_enabled));
    out.put_if("DCGM_FI_DEV_AUTOBOOST", boost);
    if let Ok(ecc) = device.is_ecc_enabled() {
        out.put("DCGM_FI_DEV_ECC_CURRENT", u8::from(ecc.currently_enabled));
        out.put("DCGM_FI_DEV_ECC_PENDING", u8::from(ecc.pending_enabled));
    }
}

pub(super) fn put_memory(memory: &MemoryInfo, out: &mut Samples<'_>) {
    out.put("DCGM_FI_DEV_FB_TOTAL", memory.total / MIB);
    out.put("DCGM_FI_DEV_FB_FREE", memory.free / MIB);
    out.put("DCGM_FI_DEV_FB_USED", memory.used / MIB);
    out.put("DCGM_FI_DEV_FB_RESERVED", memory.reserved / MIB);
    let usable = memory.total.saturating_sub(memory.reserved).max(1);
    out.put_ratio("DCGM_FI_DEV_FB_USED_PERCENT", memory.used as f64 / usable as f64);
}

pub(super) fn put_bar1(device: &Device<'static>, out: &mut Samples<'_>) {
    if let Ok(bar1) = device.bar1_memory_info() {
        out.put("DCGM_FI_DEV_BAR1_TOTAL", bar1.total / MIB);
        out.put("DCGM_FI_DEV_BAR1_USED", bar1.used / MIB);
        out.put("DCGM_FI_DEV_BAR1_FREE", bar1.free / MIB);
    }
}
