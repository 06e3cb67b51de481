//! The fleet's promises.

use super::*;
use warpline_storage::model::{Block, FieldType, Layout};

/// 2026-11-20T00:00:00Z.
const START: Timestamp = 1_795_132_800_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

fn fleet(seed: u64, gpus: u64) -> Fleet {
    Fleet::new(FleetSpec::new(seed, gpus, SECOND))
}

fn block(node: &mut Node, time: Timestamp) -> Option<Block> {
    let mut bytes = Vec::new();
    node.tick(time, &mut bytes)?;
    Some(Block::parse(node.layout(time), bytes.into()).expect("a block fits its layout"))
}

fn column(layout: &Layout, name: &str) -> usize {
    layout.columns().iter().position(|c| &*c.name == name).expect("a known column")
}

/// All blocks of a fleet at `ticks` ticks from `start`, one after the other.
fn stream(fleet: &Fleet, start: Timestamp, ticks: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        for tick in 0..ticks {
            node.tick(start + tick * SECOND, &mut out);
        }
    }
    out
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(stream(&fleet(1, 20), START, 50), stream(&fleet(1, 20), START, 50));
    assert_ne!(stream(&fleet(1, 20), START, 50), stream(&fleet(2, 20), START, 50));
}

#[test]
fn the_first_ticks_of_the_tiny_fleet_stay_as_they_are() {
    let tiny = Fleet::new(Preset::Tiny.spec(1, SECOND));
    let hash = stream(&tiny, START, 60).iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    assert_eq!(hash, 0x2AFB_7A78_03C6_874F, "{hash:#x}: the simulated data changed");
}

#[test]
fn a_tick_does_not_depend_on_the_ticks_before() {
    let fleet = fleet(3, 64);
    for index in 0..fleet.nodes() {
        let mut walked = fleet.node(index);
        let mut last = Vec::new();
        for minute in 0..240 {
            last.clear();
            walked.tick(START + minute * 60 * SECOND, &mut last);
        }
        let (mut direct, time) = (Vec::new(), START + 239 * 60 * SECOND);
        let mut node = fleet.node(index);
        node.tick(time, &mut direct);
        assert_eq!(last, direct, "node {index}");
        assert_eq!(walked.layout(time), node.layout(time));
        walked.tick(START, &mut Vec::new());
        last.clear();
        walked.tick(time, &mut last);
        assert_eq!(last, direct, "node {index} after going back");
    }
}

#[test]
fn counters_fall_only_at_reboots() {
    const COUNTERS: [&str; 12] = [
        "total_energy_consumption",
        "pcie_replay_counter",
        "power_violation",
        "thermal_violation",
        "low_util_violation",
        "ecc_sbe_vol_total",
        "nvlink_crc_flit_error_count_total",
        "nvlink_crc_data_error_count_total",
        "nvlink_replay_error_count_total",
        "nvlink_count_tx_bytes",
        "nvlink_count_rx_bytes",
        "ecc_sbe_agg_total",
    ];
    let fleet = Fleet::new(FleetSpec::new(5, 128, 10 * SECOND));
    let (mut falls, mut gaps) = (0, 0);
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        let layout = node.layout(START);
        let columns = COUNTERS.map(|name| column(&layout, name));
        let mut before: Option<(Timestamp, Vec<i64>)> = None;
        for tick in 0..24 * 360 {
            let time = START + tick * 10 * SECOND;
            let Some(block) = block(&mut node, time) else { continue };
            let values: Vec<i64> = columns
                .iter()
                .flat_map(|c| (0..block.rows()).map(|row| block.raw(*c, row)).collect::<Vec<_>>())
                .collect();
            if let Some((earlier, old)) = &before {
                let fell = old.iter().zip(&values).any(|(old, new)| new < old);
                let gap = time - earlier > 110 * SECOND;
                assert!(!fell || gap, "node {index} fell without a gap at tick {tick}");
                falls += u32::from(fell);
                gaps += u32::from(gap);
            }
            before = Some((time, values));
        }
    }
    assert!(gaps > 0 && falls == gaps, "{falls} resets, {gaps} gaps");
}

#[test]
fn every_value_lies_within_its_type() {
    let fleet = fleet(11, 256);
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        for step in 0..100 {
            let Some(block) = block(&mut node, START + step * 977 * SECOND) else { continue };
            assert!(block.is_tick() && block.out_of_digits().is_empty());
            for (at, spec) in block.layout().columns().iter().enumerate() {
                let least = if &*spec.name == "gpu_temp_limit" { -40 } else { 0 };
                let most = match &*spec.name {
                    "power_usage" => 702_000,
                    name if name.ends_with("_util") => 100,
                    name if name.ends_with("_active") || name == "sm_occupancy" => 1_000_000,
                    name if name.ends_with("_temp") => 110,
                    _ => i64::MAX,
                };
                for row in 0..block.rows() {
                    let raw = block.raw(at, row);
                    assert!((least..=most).contains(&raw), "{} = {raw}", spec.name);
                }
            }
        }
    }
}

#[test]
fn about_one_scrape_in_a_thousand_is_missed() {
    let fleet = fleet(1, 8_192);
    let (mut missed, mut asked) = (0, 0);
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        for tick in 0..200 {
            asked += 1;
            missed += i64::from(!node.answers(START + tick * SECOND));
        }
    }
    // A few nodes are rebooting as well.
    let per_million = missed * 1_000_000 / asked;
    assert!((800..2_500).contains(&per_million), "{per_million} in a million");
}

/// Values of one column over a fleet and a day, sorted.
fn sample(fleet: &Fleet, name: &str) -> Vec<i64> {
    let mut values = Vec::new();
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        let at = column(&node.layout(START), name);
        for hour in 0..48 {
            if let Some(block) = block(&mut node, START + hour * HOUR / 2) {
                values.extend((0..block.rows()).map(|row| block.raw(at, row)));
            }
        }
    }
    values.sort_unstable();
    values
}

#[test]
fn distributions_resemble_the_traces() {
    let fleet = fleet(7, 2_048);
    let quantile = |values: &[i64], percent: usize| values[values.len() * percent / 100];
    let util = sample(&fleet, "gpu_util");
    assert_eq!(quantile(&util, 10), 0);
    assert!(quantile(&util, 60) >= 80 && quantile(&util, 90) >= 97, "{}", quantile(&util, 60));
    let power = sample(&fleet, "power_usage");
    assert!((60_000..90_000).contains(&quantile(&power, 10)), "{}", quantile(&power, 10));
    assert!((500_000..702_000).contains(&quantile(&power, 75)), "{}", quantile(&power, 75));
    let temperature = sample(&fleet, "gpu_temp");
    assert!((26..38).contains(&quantile(&temperature, 10)));
    assert!((50..75).contains(&quantile(&temperature, 90)));
    let xids = sample(&fleet, "xid_errors").into_iter().filter(|xid| *xid != 0).count();
    assert!(xids > 0 && xids < util.len() / 10, "{xids} of {}", util.len());
}

#[test]
fn a_rack_has_a_hot_gpu() {
    let fleet = fleet(1, 512);
    let hot = sample(&fleet, "gpu_temp").into_iter().filter(|degrees| *degrees > 78).count();
    let throttled = sample(&fleet, "thermal_violation").into_iter().filter(|ns| *ns > 0).count();
    assert!(hot > 0 && throttled > 0, "{hot} hot, {throttled} throttled");
}

#[test]
fn jobs_are_attributes_that_come_and_go() {
    let fleet = fleet(1, 64);
    let mut names = std::collections::BTreeSet::new();
    let mut layouts = 0;
    for index in 0..fleet.nodes() {
        let mut node = fleet.node(index);
        let mut last = node.layout(START);
        for minute in 0..24 * 60 {
            let layout = node.layout(START + minute * 60 * SECOND);
            if !Arc::ptr_eq(&layout, &last) {
                layouts += 1;
                last = layout;
            }
            names.extend(last.series().iter().map(|s| s.attributes[5].clone()));
        }
        assert!(last.series().iter().all(|s| s.identity[1] == last.series()[0].identity[1]));
    }
    assert!(names.contains("") && names.len() > 10, "{} jobs", names.len());
    assert!((16..1_000).contains(&layouts), "{layouts} layouts in 8 node-days");
}

#[test]
fn the_last_node_has_what_remains() {
    let fleet = fleet(1, 21);
    assert_eq!((fleet.nodes(), fleet.gpus_on(2)), (3, 5));
    let block = (0..60).find_map(|tick| block(&mut fleet.node(2), START + tick * SECOND));
    assert_eq!(block.expect("a scrape in a minute").rows(), 5);
}

#[test]
fn presets_have_their_sizes() {
    let nodes = |preset: Preset| Fleet::new(preset.spec(1, SECOND)).nodes();
    assert_eq!(nodes(Preset::Tiny), 2);
    assert_eq!(nodes(Preset::Colossus1), 27_750);
}

#[test]
fn fields_are_dcgm_integers_and_scaled_integers() {
    let layout = fleet(1, 8).node(0).layout(START);
    assert_eq!(layout.columns().len(), 60);
    assert!(layout.columns().iter().all(|c| c.field_type != FieldType::Float64));
}
