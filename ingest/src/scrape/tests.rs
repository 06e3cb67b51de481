//! Small texts and what they become; real scrapes in `real`.

mod real;

use std::fmt::Write;

use warpline_storage::model::{Block, FieldType};

use super::*;

const TIME: Timestamp = 1_700_000_000_000_000;

fn fresh() -> Mapper {
    from_instance(None)
}

fn from_instance(instance: Option<&str>) -> Mapper {
    let instance = instance.map(Into::into);
    let origin = Origin { cluster: "c1".into(), node: "n1".into(), instance };
    Mapper::new(Arc::new(Dictionary::builtin()), origin)
}

fn map(target: &mut Mapper, text: &str) -> Mapped {
    target.map(text.as_bytes(), Format::detect(None, text.as_bytes()), TIME)
}

/// A block's rows as text: identity, attributes that are there, values that are there, and the
/// time where it is not that of the scrape.
fn rows(mapped: &Mapped, table: &str) -> Vec<String> {
    let blocks = mapped.blocks.iter().filter(|(layout, _)| &**layout.table() == table);
    let blocks = blocks.map(|(layout, bytes)| {
        Block::parse(layout.clone(), bytes.clone()).expect("the block fits its layout")
    });
    blocks
        .flat_map(|block| (0..block.rows()).map(|row| show(&block, row)).collect::<Vec<_>>())
        .collect()
}

fn show(block: &Block, row: usize) -> String {
    let layout = block.layout();
    let series = &layout.series()[block.series_index(row) as usize];
    let mut text = series.identity.join(" ");
    for (name, value) in layout.attribute_tags().iter().zip(&series.attributes) {
        if !value.is_empty() {
            write!(text, " {name}={value}").expect("a string takes all");
        }
    }
    for (column, spec) in layout.columns().iter().enumerate() {
        if block.is_present(column, row) {
            let raw = block.raw(column, row);
            let value = match spec.field_type {
                FieldType::Float64 => f64::from_bits(raw.cast_unsigned()).to_string(),
                _ => raw.to_string(),
            };
            write!(text, " {}={value}", spec.name).expect("a string takes all");
        }
    }
    if block.time(row) != TIME {
        write!(text, " @{}", block.time(row)).expect("a string takes all");
    }
    text
}

#[test]
fn one_gpu_is_one_row() {
    let mapped = map(
        &mut fresh(),
        "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-a\",modelName=\"H100\",Hostname=\"h7\",\
         DCGM_FI_DRIVER_VERSION=\"580\",pod=\"p\",pod_uid=\"\"} 30\n\
         DCGM_FI_DEV_POWER_USAGE{gpu=\"1\",UUID=\"GPU-b\",hostname=\"h7\"} 68.347000\n\
         DCGM_FI_DEV_POWER_USAGE{gpu=\"0\",UUID=\"GPU-a\",modelName=\"H100\",Hostname=\"h7\",\
         DCGM_FI_DRIVER_VERSION=\"580\",pod=\"p\"} 113.611000\n",
    );
    assert_eq!(
        rows(&mapped, "gpu"),
        [
            "c1 h7 0 driver=580 uuid=GPU-a model=H100 pod=p gpu_temp=30 power_usage=113611",
            "c1 h7 1 uuid=GPU-b power_usage=68347",
        ]
    );
    let Report { samples, series, rows, nulls, .. } = mapped.report;
    assert_eq!((samples, series, rows, nulls), (3, 3, 2, 1));
}

#[test]
fn mig_instances_are_things_of_their_own() {
    let text = "DCGM_FI_PROF_SM_ACTIVE{gpu=\"0\",GPU_I_ID=\"3\",GPU_I_PROFILE=\"1g.10gb\"} 0.5\n\
                DCGM_FI_PROF_SM_ACTIVE{gpu=\"0\",GPU_I_ID=\"\"} 0.25\n";
    let mapped = map(&mut fresh(), text);
    assert_eq!(
        rows(&mapped, "gpu"),
        ["c1 n1 0/3 gpu_i_profile=1g.10gb sm_active=500000", "c1 n1 0 sm_active=250000"]
    );
}

#[test]
fn the_unknown_goes_to_metric() {
    let text = "# TYPE up counter\nup_total{b=\"2\",a=\"x\\\"y\",cluster=\"c9\",none=\"\"} 1\n\
                # TYPE t gauge\nt NaN\n\
                DCGM_FI_DEV_NVLINK_BANDWIDTH_L0{gpu=\"0\",nvlink=\"0\"} 7\n\
                DCGM_EXP_XID_ERRORS_COUNT{gpu=\"0\",xid=\"43\"} 2\n\
                DCGM_FI_DEV_SM_CLOCK 3\n\
                DCGM_FI_DEV_NVSWITCH_LINK_REPLAY_ERRORS 9223372036854775794\n";
    let mapped = map(&mut fresh(), text);
    assert_eq!(
        rows(&mapped, "metric"),
        [
            r#"c9 n1 up_total {"a":"x\"y","b":"2","cluster":"c9"} kind=counter value=1"#,
            "c1 n1 t {} kind=gauge value=NaN",
            r#"c1 n1 DCGM_FI_DEV_NVLINK_BANDWIDTH_L0 {"gpu":"0","nvlink":"0"} value=7"#,
            r#"c1 n1 DCGM_EXP_XID_ERRORS_COUNT {"gpu":"0","xid":"43"} value=2"#,
            "c1 n1 DCGM_FI_DEV_SM_CLOCK {} value=3",
        ]
    );
    assert_eq!(mapped.report.blank, 1);
    assert_eq!(rows(&mapped, "gpu"), [""; 0]);
}

#[test]
fn exporters_of_one_node_are_told_apart() {
    let text = "go_goroutines 8\na{instance=\"own\"} 1\nb{instance=\"\"} 2\n\
                DCGM_FI_DEV_SM_CLOCK{gpu=\"0\"} 3\n";
    let mapped = map(&mut from_instance(Some("n1:9100")), text);
    assert_eq!(
        rows(&mapped, "metric"),
        [
            r#"c1 n1 go_goroutines {"instance":"n1:9100"} value=8"#,
            r#"c1 n1 a {"instance":"own"} value=1"#,
            r#"c1 n1 b {"instance":"n1:9100"} value=2"#,
        ]
    );
    assert_eq!(rows(&mapped, "gpu"), ["c1 n1 0 sm_clock=3"]);
}

#[test]
fn kinds_and_units_follow_the_family() {
    let text = "# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_bucket{le=\"1\"} 2\n\
                d_seconds_created 1.5\n# TYPE e unknown\ne 1\n# EOF\n";
    assert_eq!(
        rows(&map(&mut fresh(), text), "metric"),
        [
            r#"c1 n1 d_seconds_bucket {"le":"1"} kind=histogram unit=seconds value=2"#,
            "c1 n1 d_seconds_created {} value=1.5",
            "c1 n1 e {} value=1",
        ]
    );
}

#[test]
fn values_that_do_not_fit_are_refused_and_the_row_kept() {
    let text = "DCGM_FI_DEV_GPU_TEMP{gpu=\"0\"} 99999\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 12.5\n\
                DCGM_FI_PROF_SM_ACTIVE{gpu=\"0\"} 0.12345678\nDCGM_FI_DEV_FB_USED{gpu=\"0\"} NaN\n\
                DCGM_FI_DEV_MEM_CLOCK{gpu=\"0\"} 2147483633\nbad line\n";
    let mapped = map(&mut fresh(), text);
    assert_eq!(rows(&mapped, "gpu"), ["c1 n1 0 sm_active=123457"]);
    let report = mapped.report;
    assert_eq!((report.rounded, report.blank, report.nulls), (1, 2, 4));
    assert_eq!(
        report.refused.reasons,
        [
            "line 1: gpu_temp: 99999 does not fit int16",
            "line 2: gpu_util: 12.5 has a fraction, which int8 cannot hold",
            "line 6: the value is not a number",
        ]
    );
}

#[test]
fn timestamps_make_rows() {
    let text = "a 1 1000\na 2 2000\nDCGM_FI_DEV_SM_CLOCK{gpu=\"0\"} 5 3000\n\
                DCGM_FI_DEV_SM_CLOCK{gpu=\"0\"} 6\n";
    let mapped = map(&mut fresh(), text);
    assert_eq!(
        rows(&mapped, "metric"),
        ["c1 n1 a {} value=1 @1000000", "c1 n1 a {} value=2 @2000000"]
    );
    assert_eq!(rows(&mapped, "gpu"), ["c1 n1 0 sm_clock=5 @3000000", "c1 n1 0 sm_clock=6"]);
}

#[test]
fn the_last_of_repeated_samples_stays() {
    let text = "DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",pod=\"\"} 1\n\
                DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",pod=\"p\"} 2\n\
                a 3\na 4\n";
    let mapped = map(&mut fresh(), text);
    assert_eq!(rows(&mapped, "gpu"), ["c1 n1 0 pod=p sm_clock=2"]);
    assert_eq!(rows(&mapped, "metric"), ["c1 n1 a {} value=4"]);
    assert_eq!((mapped.report.repeated, mapped.report.nulls, mapped.report.series), (2, 0, 3));
}

#[test]
fn layouts_stay_until_something_is_new() {
    let mut target = fresh();
    let gpu = |n, pod| format!("DCGM_FI_DEV_SM_CLOCK{{gpu=\"{n}\",pod=\"{pod}\"}} 1\n");
    let mut layout = |text: &str| map(&mut target, text).blocks.remove(0).0;
    let first = layout(&(gpu(0, "a") + &gpu(1, "b")));
    assert!(Arc::ptr_eq(&first, &layout(&(gpu(1, "b") + &gpu(0, "a")))), "another order");
    assert!(Arc::ptr_eq(&first, &layout(&gpu(1, "b"))), "a missing GPU");
    let other_pod = layout(&(gpu(0, "a") + &gpu(1, "c")));
    assert_eq!(&*other_pod.series()[1].attributes[0], "c");
    let back = layout(&(gpu(0, "a") + &gpu(1, "b")));
    assert_eq!(first, back);
    assert_eq!(layout(&gpu(2, "")).series().len(), 1);
}

#[test]
fn a_missing_gpu_leaves_its_neighbour_in_place() {
    let mut target = fresh();
    map(
        &mut target,
        "DCGM_FI_DEV_SM_CLOCK{gpu=\"0\"} 1\nDCGM_FI_DEV_SM_CLOCK{gpu=\"1\"} 2\na 1\nb 2\n",
    );
    let mapped = map(&mut target, "b 4\nDCGM_FI_DEV_SM_CLOCK{gpu=\"1\"} 3\n");
    assert_eq!(rows(&mapped, "gpu"), ["c1 n1 1 sm_clock=3"]);
    assert_eq!(rows(&mapped, "metric"), ["c1 n1 b {} value=4"]);
}

#[test]
fn labels_become_columns_that_are_allowed() {
    let text = "DCGM_FI_DEV_SM_CLOCK{gpu=\"0\",hpc_job=\"7\",Time=\"t\",gpu_util=\"u\",node=\"x\",\
                \"9.rack\"=\"r\",\"größe\"=\"g\"} 1\n";
    assert_eq!(
        rows(&map(&mut fresh(), text), "gpu"),
        ["c1 x 0 label_9_rack=r label_time=t label_gpu_util=u gr__e=g hpc_job=7 sm_clock=1"]
    );
}

#[test]
fn a_bad_series_does_not_harm_the_rest() {
    let long = "x".repeat(5_000);
    let text = format!("a{{b=\"{long}\"}} 1\na{{b=\"1\",b=\"2\"}} 1\nc 1\n");
    let mut target = fresh();
    for _ in 0..2 {
        let mapped = map(&mut target, &text);
        assert_eq!(rows(&mapped, "metric"), ["c1 n1 c {} value=1"]);
        assert_eq!(
            mapped.report.refused.reasons,
            [
                "line 1: a label of 5000 bytes is longer than the limit of 4096",
                "line 2: the label \"b\" is given twice, once as \"1\"",
            ]
        );
    }
}

#[test]
fn what_is_no_longer_sent_is_forgotten() {
    let mut target = fresh();
    for round in 0..50 {
        let lines: Vec<String> = (0..100).map(|n| format!("a{{n=\"{round}-{n}\"}} 1\n")).collect();
        assert_eq!(map(&mut target, &lines.concat()).report.rows, 100);
    }
    assert!(target.places.len() <= 200 + SPARE_PLACES + 100);
}

#[test]
fn too_many_samples_are_cut() {
    let text: Vec<String> = (0..MAX_SAMPLES + 3).map(|n| format!("a 1 {n}\n")).collect();
    let report = map(&mut fresh(), &text.concat()).report;
    assert_eq!((report.samples, report.rows, report.refused.count), (MAX_SAMPLES, MAX_SAMPLES, 3));
}
