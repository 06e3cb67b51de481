//! What the dictionary covers, and what it refuses to add.

use warpline_storage::model::Value;

use super::*;

/// The fields of dcgm-exporter's default-counters.csv and dcp-metrics-included.csv, the ones that
/// are commented out there included.
const EXPORTED: &str = include_str!("../../fields/exported-names.txt");

fn dictionary_of(lines: &str) -> Result<Dictionary, DictionaryError> {
    Dictionary::builtin().with_text(&format!("id,names,column,unit,kind,type\n{lines}"), "my.csv")
}

fn refusal(lines: &str) -> String {
    dictionary_of(lines).expect_err("the line is refused").to_string()
}

fn type_of(name: &str) -> String {
    Dictionary::builtin().lookup(name).expect("known").type_name()
}

#[test]
fn every_exported_field_is_known() {
    let dictionary = Dictionary::builtin();
    let names: Vec<&str> = EXPORTED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(names.len(), 61);
    for name in names {
        assert!(dictionary.lookup(name).is_some(), "{name} is missing");
    }
}

#[test]
fn the_exporters_own_lists_are_covered() {
    let Some(folder) = crate::test_data::folder("scrapes") else { return };
    let dictionary = Dictionary::builtin();
    for file in ["dcgm-exporter-default-counters.csv", "dcgm-exporter-dcp-metrics-included.csv"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("readable");
        let names = text.lines().filter_map(|line| {
            let name = line.trim_start_matches(['#', ' ']).split(',').next()?.trim();
            (name.starts_with("DCGM_") && line.contains(',')).then_some(name)
        });
        for name in names {
            assert!(dictionary.lookup(name).is_some(), "{name} of {file} is missing");
        }
    }
}

#[test]
fn every_number_of_a_gpu_in_dcgm_is_covered() {
    let Some(folder) = crate::test_data::folder("dcgm") else { return };
    let dictionary = Dictionary::builtin();
    let mut reader = csv::Reader::from_path(folder.join("fields-4.6.csv")).expect("readable");
    let mut covered = 0;
    for record in reader.records() {
        let record = record.expect("well-formed");
        let (id, name, older) = (&record[0], &record[1], &record[2]);
        let gpu = ["GPU", "GPU_CI", "GPU_I"].contains(&&record[6]) && &record[5] != "GLOBAL";
        if !gpu || !["INT64", "DOUBLE"].contains(&&record[3]) {
            continue;
        }
        let field = dictionary.lookup(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(field.id.map(|id| id.to_string()).as_deref(), Some(id), "{name}");
        assert!(older.is_empty() || dictionary.lookup(older) == Some(field), "{older}");
        covered += 1;
    }
    assert_eq!(covered, 385);
}

#[test]
fn old_and_new_names_are_one_field() {
    let dictionary = Dictionary::builtin();
    let field = dictionary.lookup("DCGM_FI_DEV_GPU_UTIL").expect("old name");
    assert_eq!(dictionary.lookup("DCGM_FI_DEV_GPU_UTIL_RATIO"), Some(field));
    assert_eq!(dictionary.column("gpu_util"), Some(field));
    assert_eq!((field.id, &*field.unit, field.kind), (Some(203), "%", Kind::Gauge));
}

#[test]
fn types_hold_what_the_sensors_say() {
    assert_eq!(type_of("DCGM_FI_DEV_POWER_USAGE"), "decimal(9,3)");
    assert_eq!(type_of("DCGM_FI_PROF_DRAM_ACTIVE"), "decimal(7,6)");
    assert_eq!(type_of("DCGM_FI_DEV_GPU_TEMP"), "int16");
    assert_eq!(type_of("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"), "int64");
    assert_eq!(type_of("modelName"), "tag");
    assert_eq!(type_of("DCGM_EXP_XID_ERRORS_COUNT"), "metric");
    let dictionary = Dictionary::builtin();
    let bandwidth = dictionary.lookup("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL").expect("known");
    assert_eq!(bandwidth.kind, Kind::Gauge, "exporters call it a counter");
}

#[test]
fn a_file_adds_fields() {
    let dictionary = dictionary_of("# mine\n,acme_fan_rpm,fan_rpm,rpm,gauge,int32\n").expect("ok");
    assert_eq!(dictionary.len(), Dictionary::builtin().len() + 1);
    let field = dictionary.lookup("acme_fan_rpm").expect("added");
    assert_eq!((field.id, &*field.column), (None, "fan_rpm"));
}

#[test]
fn bad_lines_are_named() {
    assert_eq!(
        refusal("# one\n,a,a,,gauge,int32\n,b,b,,guage,int32\n"),
        "my.csv line 4: unknown kind \"guage\": use gauge, counter, flag, enum or label"
    );
    assert_eq!(
        refusal(",DCGM_FI_DEV_GPU_UTIL,mine,,gauge,int8\n"),
        "my.csv line 2: DCGM_FI_DEV_GPU_UTIL is defined twice: remove one"
    );
    assert!(
        refusal(",mine,gpu_util,,gauge,int8\n").contains("two fields have the column gpu_util")
    );
    assert!(refusal(",a,a,,gauge,decimal(9,3)\n").contains("quote a value that contains a comma"));
    assert!(refusal(",a,a,,gauge,int7\n").contains("unknown field type"));
    assert!(refusal(",a,A b,,gauge,int8\n").contains("lower-case"));
    assert!(refusal(",a,node,,gauge,int8\n").contains("taken"));
    assert!(refusal(",,a,,gauge,int8\n").contains("no name"));
    assert!(refusal("x,a,a,,gauge,int8\n").contains("not a number"));
    assert!(refusal(",a,a,,label,int8\n").contains("go together"));
    let headless = Dictionary::builtin().with_text("1,a,a,,gauge,int8\n", "my.csv");
    assert!(headless.expect_err("no header").to_string().contains("my.csv line 1"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Dictionary::builtin().with_file(Path::new("/nowhere.csv")).expect_err("missing");
    assert!(error.to_string().starts_with("cannot read the dictionary /nowhere.csv"));
}

#[test]
fn blanks_depend_on_the_width() {
    let blank = |value, type_name: &str| is_blank(value, type_name.parse().expect("a type"));
    assert!(blank(Value::Int(9_223_372_036_854_775_794), "int64"));
    assert!(blank(Value::Float(9.223_372_036_854_776e18), "int16"));
    assert!(blank(Value::Int(2_147_483_632), "int32"));
    assert!(!blank(Value::Int(2_147_483_632), "int64"), "a counter may pass through it");
    assert!(blank(Value::Float(140_737_488_355_330.0), "decimal(9,3)"));
    assert!(!blank(Value::Int(140_737_488_355_330), "int64"));
    assert!(blank(Value::Float(f64::NAN), "decimal(7,6)"));
    assert!(!blank(Value::Int(0), "int8"));
}
