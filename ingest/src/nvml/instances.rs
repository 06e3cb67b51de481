//! The MIG instances of a GPU: each GPU instance is a thing of its own, `0/3` for instance 3 of
//! GPU 0, as dcgm-exporter names it.
//!
//! `nvml-wrapper` does not tell an instance's number. But NVML still takes the form that UUIDs of
//! MIG devices once had, which has it, and says the present one: so all possible numbers are tried,
//! and compared. Where that fails an instance is `0/MIG-...`, by its UUID, and has no profile.

use super::Due;
use super::errors::{SRAM, read_memory};
use super::fields::Fields;
use super::gpu::{put_bar1, put_memory};
use super::profile::Profile;
use super::samples::{Samples, labels};
use nvml_wrapper::Device;
use std::collections::{HashMap, HashSet};

/// A GPU's instances, and the compute instances of one, have numbers below these.
const INSTANCES: u32 = 16;
const COMPUTE_INSTANCES: u32 = 8;

/// What an instance's rows have from its GPU.
pub(super) struct Parent<'a> {
    pub(super) device: &'a Device<'static>,
    pub(super) index: u32,
    pub(super) uuid: &'a str,
    /// The labels that say what is known of the GPU.
    pub(super) names: &'a [(&'static str, String)],
}

/// The instances that were there when this was last refreshed.
#[derive(Debug, Default)]
pub(super) struct Instances {
    all: Vec<Instance>,
    /// By a MIG device's UUID: its instance's number, where it could be found.
    numbers: HashMap<String, Option<u32>>,
}

#[derive(Debug)]
struct Instance {
    /// Its first compute instance; they share its memory.
    device: Device<'static>,
    number: Option<u32>,
    /// In place of the number where there is none.
    uuids: Vec<String>,
    /// What tells its rows apart, and that with all else that is known.
    labels: String,
    names: String,
    /// Samples that change seldom.
    slow: String,
    profile: Profile,
}

impl Instances {
    /// Looks which instances there are now: at most `devices` compute instances.
    pub(super) fn refresh(&mut self, parent: &Parent<'_>, devices: u32) {
        let mut before = std::mem::take(&mut self.all);
        for index in 0..devices {
            let Ok(device) = parent.device.mig_device_by_index(index) else { continue };
            let Ok(uuid) = device.uuid() else { continue };
            let number = self.number(parent, &uuid);
            let same = |known: &&mut Instance| number.is_some() && known.number == number;
            if let Some(known) = self.all.iter_mut().find(same) {
                known.uuids.push(uuid);
            } else {
                let profile = before.iter_mut().find(|known| known.uuids.contains(&uuid));
                let profile = profile.map(|known| std::mem::take(&mut known.profile));
                self.all.push(Instance::new(device, number, uuid, profile.unwrap_or_default()));
            }
        }
        let uuids: HashSet<&String> = self.all.iter().flat_map(|known| &known.uuids).collect();
        self.numbers.retain(|uuid, _| uuids.contains(uuid));
        for instance in &mut self.all {
            instance.name(parent);
            instance.read_slow();
        }
    }

    fn number(&mut self, parent: &Parent<'_>, uuid: &str) -> Option<u32> {
        if !self.numbers.contains_key(uuid) {
            self.numbers.extend(numbers(parent));
        }
        *self.numbers.entry(uuid.to_owned()).or_insert(None)
    }

    /// What may change from tick to tick. An instance that is gone has no row.
    pub(super) fn read(&mut self, parent: &Parent<'_>, due: Due, page: &mut String) {
        for instance in &mut self.all {
            let Ok(memory) = instance.device.memory_info() else { continue };
            Samples::new(page, &instance.names).put("DCGM_FI_DEV_NVML_INDEX", parent.index);
            page.push_str(&instance.slow);
            let mut out = Samples::new(page, &instance.labels);
            put_memory(&memory, &mut out);
            if let Some(number) = instance.number {
                let take = || parent.device.gpm_mig_sample(number);
                instance.profile.read(take, due.tenth, &mut out);
            }
        }
    }
}

impl Instance {
    fn new(device: Device<'static>, number: Option<u32>, uuid: String, profile: Profile) -> Self {
        let (labels, names, slow) = Default::default();
        Self { device, number, uuids: vec![uuid], labels, names, slow, profile }
    }

    fn name(&mut self, parent: &Parent<'_>) {
        let gpu = parent.index.to_string();
        let id = self.number.map_or_else(|| self.uuids[0].clone(), |number| number.to_string());
        let identity = [("gpu", &*gpu), ("GPU_I_ID", &*id)];
        self.labels = labels(identity);
        let model = self.device.name().unwrap_or_default();
        let uuids = self.uuids.join(",");
        let own = [("GPU_I_PROFILE", profile_of(&model)), ("MIG_UUID", &*uuids)];
        let known = parent.names.iter().map(|(name, value)| (*name, &**value));
        self.names = labels(identity.into_iter().chain(own).chain(known));
    }

    fn read_slow(&mut self) {
        self.slow.clear();
        let mut out = Samples::new(&mut self.slow, &self.labels);
        put_bar1(&self.device, &mut out);
        read_memory(&self.device, &[SRAM], &Fields::none(), &mut out);
    }
}

/// By UUID: the number of the instance that each compute instance of a GPU belongs to.
fn numbers(parent: &Parent<'_>) -> HashMap<String, Option<u32>> {
    let mut numbers = HashMap::new();
    for number in 0..INSTANCES {
        for compute in 0..COMPUTE_INSTANCES {
            let old_form = format!("MIG-{}/{number}/{compute}", parent.uuid);
            let device = parent.device.nvml().device_by_uuid(old_form);
            if let Ok(uuid) = device.and_then(|device| device.uuid()) {
                numbers.insert(uuid, Some(number));
            }
        }
    }
    numbers
}

/// `3g.40gb` of `NVIDIA H100 80GB HBM3 MIG 3g.40gb`, also where a compute instance has a part of
/// it alone: `MIG 1c.3g.40gb`.
fn profile_of(model: &str) -> &str {
    let profile = model.rsplit_once("MIG ").map_or("", |(_, profile)| profile);
    profile.split_once("c.").map_or(profile, |(_, whole)| whole)
}
