//! What a GPU is: what its labels say, and numbers that stay as long as its machine runs.

use super::samples::Samples;
use nvml_wrapper::enum_wrappers::device::{InfoRom, P2pCapabilitiesIndex, P2pStatus};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// Masks of processors and of memory nodes have so many columns of 64 bits.
const MASKS: usize = 4;
/// NVML's scope of affinity: the nearest node, not all in its socket.
const NODE: u32 = 0;

/// Labels, empty where the GPU does not have them.
pub(super) fn names(nvml: &Nvml, device: &Device<'static>) -> Vec<(&'static str, String)> {
    let bus = device.pci_info().map(|pci| pci.bus_id);
    let brand = device.brand().map(|brand| format!("{brand:?}"));
    let all = [
        ("UUID", device.uuid()),
        ("modelName", device.name()),
        ("pci_bus_id", bus),
        ("DCGM_FI_DRIVER_VERSION", nvml.sys_driver_version()),
        ("DCGM_FI_NVML_VERSION", nvml.sys_nvml_version()),
        ("DCGM_FI_DEV_BRAND", brand),
        ("DCGM_FI_DEV_SERIAL", device.serial()),
        ("DCGM_FI_DEV_VBIOS_VERSION", device.vbios_version()),
        ("DCGM_FI_DEV_INFOROM_IMAGE_VER", device.info_rom_image_version()),
        ("DCGM_FI_DEV_OEM_INFOROM_VER", device.info_rom_version(InfoRom::OEM)),
        ("DCGM_FI_DEV_ECC_INFOROM_VER", device.info_rom_version(InfoRom::ECC)),
        ("DCGM_FI_DEV_POWER_INFOROM_VER", device.info_rom_version(InfoRom::Power)),
    ];
    all.map(|(name, value)| (name, value.unwrap_or_default())).to_vec()
}

/// Numbers, as DCGM writes them.
pub(super) fn read(device: &Device<'static>, out: &mut Samples<'_>) {
    out.put_if("DCGM_FI_DEV_MINOR_NUMBER", device.minor_number());
    if let Ok(pci) = device.pci_info() {
        out.put("DCGM_FI_DEV_PCI_COMBINED_ID", pci.pci_device_id);
        if let Some(id) = pci.pci_sub_system_id {
            out.put("DCGM_FI_DEV_PCI_SUBSYS_ID", id);
        }
    }
    let capability = device.cuda_compute_capability();
    let capability = capability.map(|version| (version.major << 16) | version.minor);
    out.put_if("DCGM_FI_DEV_CUDA_COMPUTE_CAPABILITY", capability);
    out.put_if("DCGM_FI_DEV_INFOROM_CONFIG_CHECK", device.config_checksum());
    match device.validate_info_rom() {
        Ok(()) => out.put("DCGM_FI_DEV_INFOROM_CONFIG_VALID", 1),
        Err(NvmlError::CorruptedInfoROM) => out.put("DCGM_FI_DEV_INFOROM_CONFIG_VALID", 0),
        Err(_) => {}
    }
    out.put_if("DCGM_FI_DEV_MIG_MAX_SLICES", device.mig_device_count());
    out.put_if("DCGM_FI_DEV_GPM_SUPPORT", device.gpm_support().map(u8::from));
    out.put_if("DCGM_FI_DEV_CC_MODE", device.is_cc_enabled().map(u8::from));
    let virtualization = device.virtualization_mode().map(|mode| mode.as_c());
    out.put_if("DCGM_FI_DEV_VIRTUAL_MODE", virtualization);
    put_masks("CPU", device.cpu_affinity(MASKS), out);
    put_masks("MEM", device.memory_affinity(MASKS, NODE), out);
    out.put_if("DCGM_FI_DEV_P2P_NVLINK_STATUS", reached_by_nvlink(device));
}

/// The columns are signed: the mask of a 64th processor is a negative number.
fn put_masks(of: &str, masks: Result<Vec<u64>, NvmlError>, out: &mut Samples<'_>) {
    for (part, mask) in masks.unwrap_or_default().into_iter().enumerate() {
        out.put(format_args!("DCGM_FI_DEV_{of}_AFFINITY_{part}"), mask.cast_signed());
    }
}

/// A bit for each other GPU that this one reaches over NVLinks.
fn reached_by_nvlink(device: &Device<'static>) -> Result<u64, NvmlError> {
    let nvml = device.nvml();
    let mut reached = 0;
    for index in 0..nvml.device_count()?.min(63) {
        let Ok(other) = nvml.device_by_index(index) else { continue };
        let status = device.p2p_status(&other, P2pCapabilitiesIndex::NvLink);
        if matches!(status, Ok(P2pStatus::Ok)) {
            reached |= 1 << index;
        }
    }
    Ok(reached)
}
