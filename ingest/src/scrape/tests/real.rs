//! Every scrape of the test data, mapped, with what it must give.

use super::*;

/// What a scrape gives: samples, series, rows in `gpu` and `metric`, NULLs, blanks, repeated,
/// refused.
type Counts = [usize; 8];

/// What the names of nvidia_gpu_exporter's scrapes begin with; `~` below.
const NVIDIA: &str = "nvidia_gpu_exporter-linux-x86_64__nvidia-";

#[rustfmt::skip]
const SCRAPES: [(&str, Counts); 15] = [
    ("amd-device-metrics-exporter-mini.prom",    [5, 5, 0, 5, 0, 0, 0, 0]),
    ("dcgm-exporter-h100-aicr.prom",             [30, 30, 8, 0, 2, 0, 0, 0]),
    ("dcgm-exporter-l40s-upcloud.prom",          [24, 24, 1, 1, 0, 0, 0, 0]),
    ("dcgm-exporter-readme-sample.prom",         [6, 6, 1, 0, 1, 2, 2, 0]),
    ("dcgm-exporter-t4-ericsson.prom",           [20, 20, 1, 0, 0, 0, 0, 0]),
    ("dcgm-exporter-vgpu-a100-40c-vks.prom",     [11, 11, 1, 0, 0, 0, 0, 0]),
    ("node_exporter-e2e-output.prom",            [3027, 3027, 0, 3027, 0, 0, 0, 0]),
    ("~geforce-rtx-2080-super__595.71.05__idle.prom", [87, 87, 0, 87, 0, 0, 0, 0]),
    ("~geforce-rtx-2080-super__595.71.05__load.prom", [91, 91, 0, 91, 0, 0, 0, 0]),
    ("~geforce-rtx-4080-super__595.71.05__idle.prom", [100, 100, 0, 100, 0, 0, 0, 0]),
    ("~geforce-rtx-4080-super__595.71.05__load.prom", [104, 104, 0, 104, 0, 0, 0, 0]),
    ("~h100-80gb-hbm3__590.48.01__idle.prom", [132, 132, 0, 132, 0, 0, 0, 0]),
    ("~h100-80gb-hbm3__590.48.01__load.prom", [138, 138, 0, 138, 0, 0, 0, 0]),
    ("prometheus-alltypes.5mfs.openmetrics.txt", [53, 53, 0, 53, 0, 0, 0, 0]),
    ("rocm-smi-mi100-rocm571.json",              [276, 276, 0, 276, 0, 0, 0, 0]),
];

fn counts(mapped: &Mapped) -> Counts {
    let Report { samples, series, nulls, blank, repeated, refused, .. } = &mapped.report;
    let (gpu, metric) = (rows(mapped, "gpu").len(), rows(mapped, "metric").len());
    assert_eq!(mapped.report.rows, gpu + metric);
    [*samples, *series, gpu, metric, *nulls, *blank, *repeated, refused.count]
}

#[test]
fn every_scrape_is_mapped() {
    let Some(folder) = crate::test_data::folder("scrapes") else { return };
    println!("samples, series, gpu rows, metric rows, NULLs, blanks, repeated, refused");
    let mut got = Vec::new();
    for (file, _) in SCRAPES {
        let text = std::fs::read(folder.join(file.replace('~', NVIDIA))).expect("readable");
        let text = crate::rocm_smi::exposition(&text).map_or(text, String::into_bytes);
        let mut target = fresh();
        let format = Format::detect(None, &text);
        let mapped = target.map(&text, format, TIME);
        println!("{file}: {:?} {:?}", counts(&mapped), mapped.report.refused.reasons);
        let again = target.map(&text, format, TIME);
        assert_eq!(again.report, mapped.report, "{file}: the second time is like the first");
        for (first, second) in mapped.blocks.iter().zip(&again.blocks) {
            assert!(Arc::ptr_eq(&first.0, &second.0), "{file}: the layout stays");
            assert_eq!(first.1, second.1, "{file}: the block is the same");
        }
        got.push((file, counts(&mapped)));
    }
    assert_eq!(got, SCRAPES);
}

#[test]
fn no_scrape_is_overlooked() {
    let Some(folder) = crate::test_data::folder("scrapes") else { return };
    for entry in std::fs::read_dir(folder).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("plain");
        // The exporters' lists of fields are the dictionary's to cover.
        let list = name.contains(".csv");
        assert!(
            list || SCRAPES.iter().any(|(file, _)| file.replace('~', NVIDIA) == name),
            "{name} has no counts"
        );
    }
}
