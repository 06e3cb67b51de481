//! A library of ours in NVML's place: eight GPUs, one of which has all that can be asked, and the
//! others what GPUs may lack.

use super::*;
use crate::dictionary::{Dictionary, Role};
use crate::exposition::Format;
use crate::scrape::{Mapper, Origin};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use warpline_storage::model::Block;

/// The library, its reader, and what maps its pages.
struct Machine {
    folder: TempDir,
    reader: NvmlReader,
    mapper: Mapper,
    time: i64,
}

impl Machine {
    /// `None` where there is no C compiler.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nvml/testdata/fake_nvml.c");
        let library = folder.path().join("libnvidia-ml.so.1");
        let state = format!("-DSTATE=\"{}\"", folder.path().join("state").display());
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", &state, "-o"]).arg(&library).arg(source);
        if !compiler.status().is_ok_and(|status| status.success()) {
            eprintln!("NOT TESTED: NVML; there is no C compiler");
            return None;
        }
        let reader = NvmlReader::open(Some(&library)).unwrap();
        let origin = Origin { cluster: "c".into(), node: "n".into(), instance: None };
        let mapper = Mapper::new(Arc::new(Dictionary::builtin()), origin);
        Some(Self { folder, reader, mapper, time: 1_780_000_000_000_000 })
    }

    /// The rows of the next tick, all of which go to table `gpu`.
    fn tick(&mut self) -> Block {
        let page = self.reader.read();
        self.time += 1_000_000;
        let mapped = self.mapper.map(page.as_bytes(), Format::Prometheus, self.time);
        let refused = &mapped.report.refused;
        assert_eq!((refused.count, mapped.report.repeated), (0, 0), "{:?}", refused.reasons);
        let [(layout, bytes)] = &mapped.blocks[..] else { panic!("one table: {page}") };
        assert_eq!(&**layout.table(), "gpu");
        Block::parse(layout.clone(), bytes.clone()).unwrap()
    }

    fn ticks(&mut self, count: usize) -> Block {
        (1..count).for_each(|_| drop(self.tick()));
        self.tick()
    }

    /// The number of GPU 1's MIG devices, and of a GPU that is lost.
    fn set(&self, devices: u32, lost: i32) {
        std::fs::write(self.folder.path().join("state"), format!("{devices} {lost}")).unwrap();
    }
}

fn things(block: &Block) -> Vec<String> {
    let series = block.layout().series();
    let gpu = |row| series[block.series_index(row) as usize].identity[2].to_string();
    (0..block.rows()).map(gpu).collect()
}

fn row_of(block: &Block, gpu: &str) -> usize {
    let rows = things(block);
    rows.iter().position(|row| row == gpu).unwrap_or_else(|| panic!("no row of {gpu}: {rows:?}"))
}

fn cell(block: &Block, gpu: &str, column: &str) -> Option<i64> {
    let row = row_of(block, gpu);
    let at = block.layout().columns().iter().position(|known| &*known.name == column)?;
    block.is_present(at, row).then(|| block.raw(at, row))
}

fn attribute(block: &Block, gpu: &str, name: &str) -> String {
    let layout = block.layout();
    let at = layout.attribute_tags().iter().position(|tag| &**tag == name);
    let series = block.series_index(row_of(block, gpu)) as usize;
    at.map_or_else(String::new, |at| layout.series()[series].attributes[at].to_string())
}

fn assert_cells(block: &Block, gpu: &str, wanted: &[(&str, Option<i64>)]) {
    for (column, value) in wanted {
        assert_eq!(cell(block, gpu, column), *value, "{column} of {gpu}");
    }
}

#[test]
fn gpus_are_rows_under_the_dictionarys_names() {
    let Some(mut machine) = Machine::start() else { return };
    assert_eq!(machine.reader.gpus(), 8);
    for _ in 0..3 {
        let block = machine.tick();
        let gpus = [
            ("gpu_util", Some(92)),
            ("fb_used", Some(20_480)),
            ("fb_used_percent", Some(250_000)),
            ("power_usage", Some(123_458)),
            ("power_usage_instant", Some(98_765)),
            ("memory_temp", Some(70)),
            ("sm_clock", Some(1_001)),
            ("pstate", Some(0)),
            ("fan_speed", None),
            ("clocks_event_reasons", Some(4)),
            ("pcie_replay_counter", Some(94_002)),
            ("nvlink_crc_flit_error_count_l0", Some(32_002)),
            ("nvlink_crc_flit_error_count_l1", None),
            ("nvlink_crc_flit_error_count_l6", Some(96_002)),
            ("power_violation", Some(74_002)),
            ("clocks_event_reason_sw_power_cap_ns", Some(74_002)),
            ("correctable_remapped_rows", Some(142_002)),
            ("row_remap_pending", Some(1)),
            ("total_energy_consumption", None),
            ("power_mgmt_limit", Some(700_000)),
            ("ecc_current", Some(1)),
            ("sm_active", None),
        ];
        assert_cells(&block, "2", &gpus);
        assert_eq!(attribute(&block, "2", "model"), "NVIDIA H100 \"80GB\"");
        assert_eq!(attribute(&block, "2", "serial"), "", "it does not tell");
    }
}

#[test]
fn what_seldom_changes_is_told_every_60_ticks() {
    let Some(mut machine) = Machine::start() else { return };
    let facts = [
        ("minor_number", Some(0)),
        ("pci_combined_id", Some(0x2330_10de)),
        ("cuda_compute_capability", Some((9 << 16) + 1)),
        ("cpu_affinity_0", Some(0x8000_0000_0000_0001_u64.cast_signed())),
        ("inforom_config_valid", Some(1)),
        ("p2p_nvlink_status", Some(0b1110)),
        ("gpm_support", Some(1)),
    ];
    let first = machine.tick();
    assert_cells(&first, "0", &facts);
    let others =
        [("inforom_config_valid", Some(0)), ("gpm_support", Some(0)), ("pcie_tx_throughput", None)];
    assert_cells(&first, "6", &others);
    assert_eq!(attribute(&first, "0", "serial"), "1652922001234");
    let second = machine.tick();
    assert_cells(&second, "0", &facts.map(|(column, _)| (column, None)));
    assert_cells(&second, "0", &[("power_mgmt_limit", Some(700_000)), ("compute_mode", Some(2))]);
    assert_cells(&second, "5", &[("pcie_tx_throughput", Some(100))]);
    assert_cells(&machine.ticks(53), "6", &others);
    let last = machine.ticks(6);
    assert_cells(&last, "0", &facts);
    assert_cells(&last, "6", &[("inforom_config_valid", None)]);
}

#[test]
fn what_is_told_every_10_ticks_is_of_all_ten() {
    let Some(mut machine) = Machine::start() else { return };
    let energy = [("total_energy_consumption", Some(83_000))];
    let nothing = [("total_energy_consumption", None), ("thermal_violation", None)];
    assert_cells(&machine.tick(), "0", &energy);
    assert_cells(&machine.tick(), "0", &nothing);
    let tenth = machine.ticks(9);
    assert_cells(&tenth, "0", &energy);
    // Ten ticks and the tenth's own sample.
    let engines = [("nvdec0_active", Some(110_000)), ("nvofa1_active", Some(510_000))];
    assert_cells(&tenth, "0", &engines);
    let links = [("nvlink_rx_bandwidth_l0", Some(65)), ("nvlink_tx_bandwidth_l17", Some(102))];
    assert_cells(&tenth, "0", &links);
    assert_cells(&machine.tick(), "0", &[("nvdec0_active", None), ("nvlink_bandwidth_l0", None)]);
}

#[test]
fn errors_that_are_no_fields_are_asked_one_by_one() {
    let Some(mut machine) = Machine::start() else { return };
    let block = machine.ticks(2);
    let of_links = [
        ("nvlink_replay_error_count_l0", Some(0)),
        ("nvlink_replay_error_count_l1", Some(10)),
        ("nvlink_replay_error_count_l2", None),
        ("nvlink_replay_error_count_total", Some(10)),
        ("nvlink_crc_flit_error_count_total", Some(2 + 12)),
    ];
    assert_cells(&block, "7", &of_links);
    let of_memory = [
        ("ecc_sbe_vol_srm", Some(700)),
        ("ecc_dbe_agg_srm", Some(711)),
        ("ecc_sbe_vol_cbu", Some(600)),
        ("ecc_dbe_vol_cbu", Some(17_000)),
        ("nvlink_replay_error_count_l11", Some(113_000)),
        ("nvlink_replay_error_count_l17", Some(170)),
        ("nvlink_replay_error_count_total", Some(52_000)),
    ];
    assert_cells(&block, "0", &of_memory);
}

#[test]
fn the_last_xid_and_their_count_are_told() {
    let Some(mut machine) = Machine::start() else { return };
    let mut block = machine.tick();
    assert_cells(&block, "2", &[("xid_errors", Some(79)), ("xid_errors_total", Some(2))]);
    for total in [3, 3] {
        block = machine.tick();
        assert_cells(&block, "2", &[("xid_errors", Some(79)), ("xid_errors_total", Some(total))]);
    }
    assert_cells(&block, "3", &[("xid_errors", Some(0)), ("xid_errors_total", Some(0))]);
}

#[test]
fn profiles_are_of_the_time_between_two_ticks() {
    let Some(mut machine) = Machine::start() else { return };
    assert_cells(&machine.tick(), "0", &[("sm_active", None), ("nvlink_tx_bytes", None)]);
    for _ in 0..3 {
        let whole = [
            ("gr_engine_active", Some(10_000)),
            ("sm_active", Some(20_000)),
            ("pipe_tensor_active", Some(50_000)),
            ("dram_active", Some(100_000)),
            ("pcie_rx_bytes", Some(21 << 20)),
            ("pcie_tx_bytes", Some(20 << 20)),
            ("pcie_tx_throughput", Some(20_972)),
            ("nvlink_rx_bytes", Some(60 << 20)),
            ("nvlink_tx_bandwidth_total", Some(64)),
            ("nvlink_bandwidth_total", Some(127)),
        ];
        assert_cells(&machine.tick(), "0", &whole);
    }
}

#[test]
fn mig_instances_are_rows_of_their_own() {
    let Some(mut machine) = Machine::start() else { return };
    let block = machine.ticks(2);
    let wanted = ["0", "1", "1/3", "1/5", "2", "3", "4", "4/MIG-4-2-0", "5", "6", "7"];
    assert_eq!(
        things(&block).into_iter().collect::<BTreeSet<_>>(),
        wanted.map(String::from).into()
    );
    let instance = [
        ("fb_total", Some(10_240)),
        ("fb_used_percent", Some(250_000)),
        ("bar1_total", Some(131_072)),
        ("ecc_dbe_vol_srm", Some(701)),
        ("sm_active", Some(20_300)),
        ("pipe_int_active", None),
        ("gpu_util", None),
        ("power_usage", None),
    ];
    assert_cells(&block, "1/3", &instance);
    assert_cells(&block, "1/5", &[("sm_active", Some(20_500)), ("dram_active", Some(100_500))]);
    let attributes = |gpu| {
        ["uuid", "mig_uuid", "gpu_i_profile", "driver"].map(|name| attribute(&block, gpu, name))
    };
    assert_eq!(attributes("1/3"), ["GPU-1", "MIG-1-3-0", "1g.10gb+me", "580.95.05"]);
    assert_eq!(attributes("1/5"), ["GPU-1", "MIG-1-5-0,MIG-1-5-1", "3g.40gb", "580.95.05"]);
    assert_eq!(attributes("1"), ["GPU-1", "", "", "580.95.05"]);
    assert_cells(&block, "4/MIG-4-2-0", &[("fb_total", Some(10_240)), ("sm_active", None)]);
}

#[test]
fn mig_instances_come_and_go() {
    let Some(mut machine) = Machine::start() else { return };
    machine.set(0, -1);
    let instances = |block: &Block| {
        let all = things(block);
        all.into_iter().filter(|gpu| gpu.starts_with("1/")).collect::<Vec<_>>()
    };
    assert_eq!(instances(&machine.ticks(59)), ["1/3"]);
    machine.set(3, -1);
    let both = machine.ticks(2);
    assert_eq!(instances(&both), ["1/3", "1/5"]);
    for (gpu, share) in [("1/3", 20_300), ("1/5", 20_500)] {
        assert_eq!(cell(&both, gpu, "sm_active"), Some(share), "{gpu} goes on");
    }
}

#[test]
fn a_lost_gpu_has_no_rows_and_the_others_do() {
    let Some(mut machine) = Machine::start() else { return };
    machine.tick();
    machine.set(3, 2);
    let last = machine.tick();
    assert_cells(&last, "2", &[("xid_errors", Some(79)), ("gpu_util", None)]);
    let rows = things(&machine.tick());
    assert!(!rows.contains(&"2".to_owned()) && rows.contains(&"3".to_owned()), "{rows:?}");
    // Nor does it keep the others from being read from the start.
    let library = machine.folder.path().join("libnvidia-ml.so.1");
    machine.reader = NvmlReader::open(Some(&library)).unwrap();
    assert_eq!(machine.reader.gpus(), 7);
    let first = machine.tick();
    assert_eq!(things(&first), rows);
    assert_cells(&first, "0", &[("p2p_nvlink_status", Some(0b1010))]);
}

/// Beginnings of the columns that docs/agent.md says are left out.
const LEFT_OUT: [&str; 26] = [
    "banks_remap_rows_avail_",
    "c2c_rx_",
    "c2c_tx_",
    "dfma_cycles_",
    "dmma_cycles_",
    "fabric_",
    "fp16_cycles_",
    "fp32_cycles_",
    "fp64_cycles_",
    "gpu_nvlink_errors",
    "gpu_temp_limit",
    "hmma_cycles_",
    "hostmem_cache_",
    "imma_cycles_",
    "int_cycles_",
    "memory_unrepairable_flag",
    "mma_cycles_",
    "nvlink_count_",
    "nvlink_error_dl_",
    "pcie_rx_bytes_total",
    "pcie_tx_bytes_total",
    "peermem_cache_",
    "platform_",
    "sm_cycles_",
    "threshold_srm",
    "vgpu_license_status",
];

#[test]
fn every_other_column_of_the_dictionary_is_given() {
    let Some(mut machine) = Machine::start() else { return };
    let (first, tenth) = (machine.tick(), machine.ticks(10));
    let mut matched: BTreeSet<&&str> = BTreeSet::new();
    for field in Dictionary::builtin().iter() {
        let Role::Field(_) = field.role else { continue };
        let column = &*field.column;
        let given = [&first, &tenth].iter().any(|block| cell(block, "0", column).is_some());
        let left_out = LEFT_OUT.iter().find(|beginning| column.starts_with(**beginning));
        assert_eq!(given, left_out.is_none(), "{column}");
        matched.extend(left_out);
    }
    assert!(matched.into_iter().eq(&LEFT_OUT), "each is the beginning of a column");
}

#[test]
fn a_missing_driver_is_told() {
    let error = NvmlReader::open(Some(Path::new("/nowhere/libnvidia-ml.so.1"))).unwrap_err();
    assert!(error.to_string().contains("needs NVIDIA's driver"), "{error}");
}

/// Prints what a tick of eight GPUs costs beside the driver's own work.
#[test]
fn the_cost_of_a_tick() {
    let Some(mut machine) = Machine::start() else { return };
    let began = std::time::Instant::now();
    machine.ticks(1_000);
    println!("{:?} for a tick of 8 GPUs and 3 MIG instances", began.elapsed() / 1_000);
}
