//! The fields that NVML gives in one call, with DCGM's names for them.
//!
//! NVML has one call for all fields, but some of them are of a link, a profile or a part of the
//! power supply that the caller names; `nvml-wrapper` always names the first. So fields of single
//! NVLinks are not here, and those of NVLink-C2C and of power profiles are of number 0.

use super::errors::link_fields;
use super::samples::{Samples, Unit};
use Unit::{Plain, Thousandths};
use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id as id;

type Known = (u32, &'static str, Unit);

#[rustfmt::skip]
const FIELDS: [Known; 74] = [
    (id::NVML_FI_DEV_ECC_SBE_VOL_TOTAL, "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_TOTAL, "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_TOTAL, "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_TOTAL, "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", Plain),
    (id::NVML_FI_DEV_ECC_SBE_VOL_L1, "DCGM_FI_DEV_ECC_SBE_VOL_L1", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_L1, "DCGM_FI_DEV_ECC_DBE_VOL_L1", Plain),
    (id::NVML_FI_DEV_ECC_SBE_VOL_L2, "DCGM_FI_DEV_ECC_SBE_VOL_L2", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_L2, "DCGM_FI_DEV_ECC_DBE_VOL_L2", Plain),
    (id::NVML_FI_DEV_ECC_SBE_VOL_DEV, "DCGM_FI_DEV_ECC_SBE_VOL_DEV", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_DEV, "DCGM_FI_DEV_ECC_DBE_VOL_DEV", Plain),
    (id::NVML_FI_DEV_ECC_SBE_VOL_REG, "DCGM_FI_DEV_ECC_SBE_VOL_REG", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_REG, "DCGM_FI_DEV_ECC_DBE_VOL_REG", Plain),
    (id::NVML_FI_DEV_ECC_SBE_VOL_TEX, "DCGM_FI_DEV_ECC_SBE_VOL_TEX", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_TEX, "DCGM_FI_DEV_ECC_DBE_VOL_TEX", Plain),
    (id::NVML_FI_DEV_ECC_DBE_VOL_CBU, "DCGM_FI_DEV_ECC_DBE_VOL_CBU", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_L1, "DCGM_FI_DEV_ECC_SBE_AGG_L1", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_L1, "DCGM_FI_DEV_ECC_DBE_AGG_L1", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_L2, "DCGM_FI_DEV_ECC_SBE_AGG_L2", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_L2, "DCGM_FI_DEV_ECC_DBE_AGG_L2", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_DEV, "DCGM_FI_DEV_ECC_SBE_AGG_DEV", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_DEV, "DCGM_FI_DEV_ECC_DBE_AGG_DEV", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_REG, "DCGM_FI_DEV_ECC_SBE_AGG_REG", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_REG, "DCGM_FI_DEV_ECC_DBE_AGG_REG", Plain),
    (id::NVML_FI_DEV_ECC_SBE_AGG_TEX, "DCGM_FI_DEV_ECC_SBE_AGG_TEX", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_TEX, "DCGM_FI_DEV_ECC_DBE_AGG_TEX", Plain),
    (id::NVML_FI_DEV_ECC_DBE_AGG_CBU, "DCGM_FI_DEV_ECC_DBE_AGG_CBU", Plain),
    (id::NVML_FI_DEV_RETIRED_SBE, "DCGM_FI_DEV_RETIRED_SBE", Plain),
    (id::NVML_FI_DEV_RETIRED_DBE, "DCGM_FI_DEV_RETIRED_DBE", Plain),
    (id::NVML_FI_DEV_RETIRED_PENDING, "DCGM_FI_DEV_RETIRED_PENDING", Plain),
    (id::NVML_FI_DEV_REMAPPED_COR, "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", Plain),
    (id::NVML_FI_DEV_REMAPPED_UNC, "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", Plain),
    (id::NVML_FI_DEV_REMAPPED_PENDING, "DCGM_FI_DEV_ROW_REMAP_PENDING", Plain),
    (id::NVML_FI_DEV_REMAPPED_FAILURE, "DCGM_FI_DEV_ROW_REMAP_FAILURE", Plain),
    (id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, "DCGM_FI_DEV_GET_GPU_RECOVERY_ACTION", Plain),
    (id::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL, "DCGM_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_POWER, "DCGM_FI_DEV_POWER_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST, "DCGM_FI_DEV_SYNC_BOOST_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT, "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION, "DCGM_FI_DEV_LOW_UTIL_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_RELIABILITY, "DCGM_FI_DEV_RELIABILITY_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS, "DCGM_FI_DEV_TOTAL_APP_CLOCKS_VIOLATION", Plain),
    (id::NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS, "DCGM_FI_DEV_TOTAL_BASE_CLOCKS_VIOLATION", Plain),
    (id::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP, "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS", Plain),
    (id::NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST, "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST_NS", Plain),
    (id::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN_NS", Plain),
    (id::NVML_FI_DEV_MEMORY_TEMP, "DCGM_FI_DEV_MEMORY_TEMP", Plain),
    (id::NVML_FI_DEV_POWER_INSTANT, "DCGM_FI_DEV_POWER_USAGE_INSTANT", Thousandths),
    (id::NVML_FI_DEV_PCIE_REPLAY_COUNTER, "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", Plain),
    (id::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS, "DCGM_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS", Plain),
    (id::NVML_FI_DEV_C2C_LINK_COUNT, "DCGM_FI_DEV_C2C_LINK_COUNT", Plain),
    (id::NVML_FI_DEV_C2C_LINK_GET_STATUS, "DCGM_FI_DEV_C2C_LINK_STATUS", Plain),
    (id::NVML_FI_DEV_C2C_LINK_GET_MAX_BW, "DCGM_FI_DEV_C2C_MAX_BANDWIDTH", Plain),
    (id::NVML_FI_DEV_C2C_LINK_ERROR_INTR, "DCGM_FI_DEV_C2C_LINK_ERROR_INTR", Plain),
    (id::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY, "DCGM_FI_DEV_C2C_LINK_ERROR_REPLAY", Plain),
    (id::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B, "DCGM_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B", Plain),
    (id::NVML_FI_DEV_C2C_LINK_POWER_STATE, "DCGM_FI_DEV_C2C_LINK_POWER_STATE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ENABLED, "DCGM_FI_DEV_PWR_SMOOTHING_ENABLED", Plain),
    (id::NVML_FI_PWR_SMOOTHING_PRIV_LVL, "DCGM_FI_DEV_PWR_SMOOTHING_PRIV_LVL", Plain),
    (id::NVML_FI_PWR_SMOOTHING_IMM_RAMP_DOWN_ENABLED, "DCGM_FI_DEV_PWR_SMOOTHING_IMM_RAMP_DOWN_ENABLED", Plain),
    (id::NVML_FI_PWR_SMOOTHING_APPLIED_TMP_CEIL, "DCGM_FI_DEV_PWR_SMOOTHING_APPLIED_TMP_CEIL", Plain),
    (id::NVML_FI_PWR_SMOOTHING_APPLIED_TMP_FLOOR, "DCGM_FI_DEV_PWR_SMOOTHING_APPLIED_TMP_FLOOR", Plain),
    (id::NVML_FI_PWR_SMOOTHING_MAX_PERCENT_TMP_FLOOR_SETTING, "DCGM_FI_DEV_PWR_SMOOTHING_MAX_PERCENT_TMP_FLOOR_SETTING", Plain),
    (id::NVML_FI_PWR_SMOOTHING_MIN_PERCENT_TMP_FLOOR_SETTING, "DCGM_FI_DEV_PWR_SMOOTHING_MIN_PERCENT_TMP_FLOOR_SETTING", Plain),
    (id::NVML_FI_PWR_SMOOTHING_HW_CIRCUITRY_PERCENT_LIFETIME_REMAINING, "DCGM_FI_DEV_PWR_SMOOTHING_HW_CIRCUITRY_PERCENT_LIFETIME_REMAINING", Plain),
    (id::NVML_FI_PWR_SMOOTHING_MAX_NUM_PRESET_PROFILES, "DCGM_FI_DEV_PWR_SMOOTHING_MAX_NUM_PRESET_PROFILES", Plain),
    (id::NVML_FI_PWR_SMOOTHING_PROFILE_PERCENT_TMP_FLOOR, "DCGM_FI_DEV_PWR_SMOOTHING_PROFILE_PERCENT_TMP_FLOOR", Plain),
    (id::NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_UP_RATE, "DCGM_FI_DEV_PWR_SMOOTHING_PROFILE_RAMP_UP_RATE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_DOWN_RATE, "DCGM_FI_DEV_PWR_SMOOTHING_PROFILE_RAMP_DOWN_RATE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_PROFILE_RAMP_DOWN_HYST_VAL, "DCGM_FI_DEV_PWR_SMOOTHING_PROFILE_RAMP_DOWN_HYST_VAL", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ACTIVE_PRESET_PROFILE, "DCGM_FI_DEV_PWR_SMOOTHING_ACTIVE_PRESET_PROFILE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_PERCENT_TMP_FLOOR, "DCGM_FI_DEV_PWR_SMOOTHING_ADMIN_OVERRIDE_PERCENT_TMP_FLOOR", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_UP_RATE, "DCGM_FI_DEV_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_UP_RATE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_RATE, "DCGM_FI_DEV_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_RATE", Plain),
    (id::NVML_FI_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_HYST_VAL, "DCGM_FI_DEV_PWR_SMOOTHING_ADMIN_OVERRIDE_RAMP_DOWN_HYST_VAL", Plain),
];

/// Counters that the driver takes half a millisecond and more for, each.
#[rustfmt::skip]
const DEAR: [Known; 4] = [
    (id::NVML_FI_DEV_PERF_POLICY_THERMAL, "DCGM_FI_DEV_THERMAL_VIOLATION", Plain),
    (id::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, "DCGM_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS", Plain),
    (id::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, "DCGM_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS", Plain),
    (id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Plain),
];

/// The fields that a GPU has.
#[derive(Debug)]
pub(super) struct Fields {
    ids: Vec<FieldId>,
    /// By place in `ids`.
    names: Vec<(String, Unit)>,
}

impl Fields {
    /// For every tick.
    pub(super) fn of(device: &Device<'static>) -> Self {
        let fields = FIELDS.iter().map(|(id, name, unit)| (*id, (*name).to_owned(), *unit));
        Self::known(device, fields.chain(link_fields().map(|(id, name)| (id, name, Plain))))
    }

    /// For every tenth.
    pub(super) fn dear_ones_of(device: &Device<'static>) -> Self {
        Self::known(device, DEAR.iter().map(|(id, name, unit)| (*id, (*name).to_owned(), *unit)))
    }

    /// Each is asked for alone: in one long call the driver says 0 for some that it does not have.
    fn known(device: &Device<'static>, all: impl Iterator<Item = (u32, String, Unit)>) -> Self {
        let (ids, names) = all
            .map(|(id, name, unit)| (FieldId(id), (name, unit)))
            .filter(|(id, _)| has(device, id))
            .unzip();
        Self { ids, names }
    }

    /// For things that no fields are asked of.
    pub(super) fn none() -> Self {
        Self { ids: Vec::new(), names: Vec::new() }
    }

    /// Whether a name is among those that the GPU gives as a field.
    pub(super) fn give(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    /// One call for all.
    pub(super) fn read(&self, device: &Device<'static>, out: &mut Samples<'_>) {
        let Ok(values) = device.field_values_for(&self.ids) else { return };
        for (value, (name, unit)) in values.into_iter().zip(&self.names) {
            if let Ok(value) = value.and_then(|field| field.value) {
                out.put_value(name, &value, *unit);
            }
        }
    }
}

/// Whether a GPU answers for a field, or fails to for once.
fn has(device: &Device<'static>, id: &FieldId) -> bool {
    let Ok(mut values) = device.field_values_for(std::slice::from_ref(id)) else { return false };
    let value = values.pop().map(|value| value.and_then(|field| field.value));
    !matches!(value, None | Some(Err(NvmlError::NotSupported | NvmlError::InvalidArg)))
}
