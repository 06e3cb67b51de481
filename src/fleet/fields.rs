//! The 60 columns of a simulated GPU, and where their values lie in a node's block.

use std::sync::Arc;
use warpline_storage::model::{Column, FieldType};

const RATIO: FieldType = FieldType::Decimal { digits: 7, decimals: 6 };
const WATTS: FieldType = FieldType::Decimal { digits: 9, decimals: 3 };

macro_rules! fields {
    ($($variant:ident $name:literal $field_type:expr;)*) => {
        /// A column; `as usize` is its index in the layout.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant,)* }

        /// Name and type of every column, as the field dictionary has them.
        const COLUMNS: [(&str, FieldType); FIELD_COUNT] = [$(($name, $field_type),)*];

        /// How many fields each GPU has.
        pub const FIELD_COUNT: usize = [$($name,)*].len();
    };
}

fields! {
    GpuUtil "gpu_util" FieldType::Int8;
    MemCopyUtil "mem_copy_util" FieldType::Int8;
    EncUtil "enc_util" FieldType::Int8;
    DecUtil "dec_util" FieldType::Int8;
    GpuTemp "gpu_temp" FieldType::Int16;
    MemoryTemp "memory_temp" FieldType::Int16;
    GpuTempLimit "gpu_temp_limit" FieldType::Int16;
    PowerUsage "power_usage" WATTS;
    PowerUsageInstant "power_usage_instant" WATTS;
    PowerMgmtLimit "power_mgmt_limit" WATTS;
    EnforcedPowerLimit "enforced_power_limit" WATTS;
    TotalEnergyConsumption "total_energy_consumption" FieldType::Int64;
    SmClock "sm_clock" FieldType::Int32;
    MemClock "mem_clock" FieldType::Int32;
    VideoClock "video_clock" FieldType::Int32;
    Pstate "pstate" FieldType::Int16;
    ClocksEventReasons "clocks_event_reasons" FieldType::Int64;
    PcieLinkGen "pcie_link_gen" FieldType::Int16;
    PcieLinkWidth "pcie_link_width" FieldType::Int16;
    PcieReplayCounter "pcie_replay_counter" FieldType::Int64;
    XidErrors "xid_errors" FieldType::Int32;
    PowerViolation "power_violation" FieldType::Int64;
    ThermalViolation "thermal_violation" FieldType::Int64;
    SyncBoostViolation "sync_boost_violation" FieldType::Int64;
    BoardLimitViolation "board_limit_violation" FieldType::Int64;
    LowUtilViolation "low_util_violation" FieldType::Int64;
    ReliabilityViolation "reliability_violation" FieldType::Int64;
    FbTotal "fb_total" FieldType::Int32;
    FbFree "fb_free" FieldType::Int32;
    FbUsed "fb_used" FieldType::Int32;
    FbReserved "fb_reserved" FieldType::Int32;
    EccSbeVolTotal "ecc_sbe_vol_total" FieldType::Int64;
    EccDbeVolTotal "ecc_dbe_vol_total" FieldType::Int64;
    EccSbeAggTotal "ecc_sbe_agg_total" FieldType::Int64;
    EccDbeAggTotal "ecc_dbe_agg_total" FieldType::Int64;
    RetiredSbe "retired_sbe" FieldType::Int64;
    RetiredDbe "retired_dbe" FieldType::Int64;
    UncorrectableRemappedRows "uncorrectable_remapped_rows" FieldType::Int64;
    CorrectableRemappedRows "correctable_remapped_rows" FieldType::Int64;
    RowRemapFailure "row_remap_failure" FieldType::Int8;
    NvlinkCrcFlitErrors "nvlink_crc_flit_error_count_total" FieldType::Int64;
    NvlinkCrcDataErrors "nvlink_crc_data_error_count_total" FieldType::Int64;
    NvlinkReplayErrors "nvlink_replay_error_count_total" FieldType::Int64;
    NvlinkRecoveryErrors "nvlink_recovery_error_count_total" FieldType::Int64;
    NvlinkBandwidthTotal "nvlink_bandwidth_total" FieldType::Int64;
    NvlinkCountTxBytes "nvlink_count_tx_bytes" FieldType::Int64;
    NvlinkCountRxBytes "nvlink_count_rx_bytes" FieldType::Int64;
    GrEngineActive "gr_engine_active" RATIO;
    SmActive "sm_active" RATIO;
    SmOccupancy "sm_occupancy" RATIO;
    PipeTensorActive "pipe_tensor_active" RATIO;
    DramActive "dram_active" RATIO;
    PipeFp64Active "pipe_fp64_active" RATIO;
    PipeFp32Active "pipe_fp32_active" RATIO;
    PipeFp16Active "pipe_fp16_active" RATIO;
    PcieTxBytes "pcie_tx_bytes" FieldType::Int64;
    PcieRxBytes "pcie_rx_bytes" FieldType::Int64;
    NvlinkTxBytes "nvlink_tx_bytes" FieldType::Int64;
    NvlinkRxBytes "nvlink_rx_bytes" FieldType::Int64;
    RowRemapPending "row_remap_pending" FieldType::Int8;
}

/// The columns of a node's layout.
pub(super) fn columns() -> Vec<Column> {
    COLUMNS
        .iter()
        .map(|(name, field_type)| Column { name: Arc::from(*name), field_type: *field_type })
        .collect()
}

const HEADER_BYTES: usize = 16;

/// Width of each column, and of all columns before it.
const PLACES: [(usize, usize); FIELD_COUNT] = places();

const fn places() -> [(usize, usize); FIELD_COUNT] {
    let mut places = [(0, 0); FIELD_COUNT];
    let (mut field, mut before) = (0, 0);
    while field < FIELD_COUNT {
        let width = width(COLUMNS[field].1);
        places[field] = (width, before);
        before += width;
        field += 1;
    }
    places
}

/// [`FieldType::width`], known when compiling; a test holds the two together.
const fn width(field_type: FieldType) -> usize {
    match field_type {
        FieldType::Int8 => 1,
        FieldType::Int16 => 2,
        FieldType::Int32 | FieldType::Decimal { digits: 0..=9, .. } => 4,
        FieldType::Int64 | FieldType::Decimal { .. } | FieldType::Float64 => 8,
    }
}

/// The block of one node at one tick: no series indexes, one time, no absent values.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    bytes: Vec<u8>,
    rows: usize,
}

impl Sheet {
    pub(super) fn new(rows: usize) -> Self {
        let last = PLACES[FIELD_COUNT - 1];
        let mut bytes = vec![0; HEADER_BYTES + rows * (last.0 + last.1)];
        bytes[4..8].copy_from_slice(&(rows as u32).to_le_bytes());
        Self { bytes, rows }
    }

    /// The block at `time`.
    pub(super) fn at(&mut self, time: i64) -> &[u8] {
        set_time(&mut self.bytes, time);
        &self.bytes
    }

    #[inline]
    pub(super) fn put(&mut self, field: Field, row: usize, value: i64) {
        let (width, before) = PLACES[field as usize];
        let at = HEADER_BYTES + self.rows * before + row * width;
        let (place, value) = (&mut self.bytes[at..at + width], value.to_le_bytes());
        match width {
            1 => place[0] = value[0],
            2 => place.copy_from_slice(&value[..2]),
            4 => place.copy_from_slice(&value[..4]),
            _ => place.copy_from_slice(&value),
        }
    }
}

/// Moves a block with one time for all rows to another time.
fn set_time(block: &mut [u8], time: i64) {
    block[8..HEADER_BYTES].copy_from_slice(&time.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, width};
    use warpline_ingest::dictionary::{Dictionary, Role};

    #[test]
    fn columns_are_those_of_the_field_dictionary() {
        let dictionary = Dictionary::builtin();
        for (name, field_type) in COLUMNS {
            let field = dictionary.column(name).expect(name);
            assert_eq!(field.role, Role::Field(field_type), "{name}");
        }
    }

    #[test]
    fn widths_are_those_of_blocks() {
        for (name, field_type) in COLUMNS {
            assert_eq!(width(field_type), field_type.width(), "{name}");
        }
    }
}
