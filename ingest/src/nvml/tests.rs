//! A library of ours in NVML's place: eight GPUs that lack half of what can be asked.

use super::*;
use crate::dictionary::Dictionary;
use crate::exposition::Format;
use crate::scrape::{Mapper, Origin};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use warpline_storage::model::Block;

/// The library; `None` where there is no C compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nvml/testdata/fake_nvml.c");
    let library = folder.join("libnvidia-ml.so.1");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    if compiler.status().is_ok_and(|status| status.success()) {
        return Some(library);
    }
    eprintln!("NOT TESTED: NVML; there is no C compiler");
    None
}

fn mapper() -> Mapper {
    let origin = Origin { cluster: "c".into(), node: "n".into(), instance: None };
    Mapper::new(Arc::new(Dictionary::builtin()), origin)
}

#[test]
fn gpus_are_rows_under_the_dictionarys_names() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path()) else { return };
    let mut reader = NvmlReader::open(Some(&library)).unwrap();
    assert_eq!(reader.gpus(), 8);
    let mut mapper = mapper();
    for _ in 0..3 {
        let page = reader.read();
        let scrape = mapper.map(page.as_bytes(), Format::Prometheus, 1_780_000_000_000_000);
        assert_eq!((scrape.report.refused.count, scrape.report.rows), (0, 8), "{page}");
        let [(layout, bytes)] = &scrape.blocks[..] else { panic!("one table") };
        let block = Block::parse(layout.clone(), bytes.clone()).unwrap();
        let cell = |gpu: usize, column: &str| {
            let at = layout.columns().iter().position(|known| &*known.name == column)?;
            block.is_present(at, gpu).then(|| block.raw(at, gpu))
        };
        let wanted = [
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
            ("power_violation", Some(74_002)),
            ("correctable_remapped_rows", Some(142_002)),
            ("row_remap_pending", Some(1)),
            ("total_energy_consumption", None),
            ("power_mgmt_limit", Some(700_000)),
            ("ecc_current", Some(1)),
            ("xid_errors", Some(79)),
        ];
        for (column, value) in wanted {
            assert_eq!(cell(2, column), value, "{column}");
        }
        assert_eq!(cell(3, "xid_errors"), Some(0));
        let model = layout.attribute_tags().iter().position(|tag| &**tag == "model").unwrap();
        assert_eq!(&*layout.series()[2].attributes[model], "NVIDIA H100 \"80GB\"");
    }
}

#[test]
fn every_name_is_the_dictionarys() {
    let dictionary = Dictionary::builtin();
    for (_, name, _) in FIELDS {
        assert!(dictionary.lookup(name).is_some(), "{name}");
    }
}

#[test]
fn a_missing_driver_is_told() {
    let error = NvmlReader::open(Some(Path::new("/nowhere/libnvidia-ml.so.1"))).unwrap_err();
    assert!(error.to_string().contains("needs NVIDIA's driver"), "{error}");
}

/// Prints what a tick of eight GPUs costs beside the driver's own work.
#[test]
fn the_cost_of_a_tick() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = library(folder.path()) else { return };
    let mut reader = NvmlReader::open(Some(&library)).unwrap();
    let mut mapper = mapper();
    let began = std::time::Instant::now();
    for tick in 0..1_000 {
        mapper.map(reader.read().as_bytes(), Format::Prometheus, tick * 1_000_000);
    }
    println!("{:?} for a tick of 8 GPUs", began.elapsed() / 1_000);
}
