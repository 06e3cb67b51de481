//! What files become before anything is sent, and what is said of bad ones.

use super::blocks::Encoder;
use super::plan::{Plan, Planner, Roles};
use super::source::Visitor;
use super::{ImportOptions, source};
use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use warpline_storage::model::{Block, FieldType};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: ImportOptions,
}

fn options(arguments: &[&str]) -> ImportOptions {
    let fixed = ["import", "--table", "t", "--time", "at", "--identity", "node"];
    Line::try_parse_from(fixed.iter().chain(arguments)).expect("a command line").options
}

fn plan(path: &Path, arguments: &[&str]) -> Result<Plan, String> {
    let options = options(&[arguments, &[path.to_str().expect("a path")]].concat());
    let mut planner = Planner::new(Roles::of(&options));
    source::read(path, &ProgressBar::hidden(), &mut planner).map_err(|e| e.to_string())?;
    planner.finish(&options.table).map_err(|error| error.to_string())
}

/// The blocks of a file, parsed back.
fn blocks(path: &Path, plan: &Plan) -> Vec<Block> {
    let (sender, mut receiver) = mpsc::channel(1_000);
    let mut encoder = Encoder::new(plan, sender);
    source::read(path, &ProgressBar::hidden(), &mut encoder).expect("a second reading");
    encoder.finish().expect("the last blocks");
    let mut blocks = Vec::new();
    while let Ok(encoded) = receiver.try_recv() {
        let layout = plan.layouts[encoded.layout].clone();
        blocks.push(Block::parse(layout, encoded.bytes).expect("a block of ours"));
    }
    blocks
}

fn csv(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("a written file");
    file
}

const GOOD: &str = "at,node,rack,watts,errors\n\
    2024-06-01T12:00:00Z,a,r1,512.5,3\n\
    2024-06-01T12:00:01Z,b,r1,,4\n\
    2024-06-01T12:00:02Z,a,r1,7,N/A\n";

#[test]
fn types_and_series_are_found() {
    let file = csv(GOOD);
    let plan = plan(file.path(), &["--attributes", "rack"]).expect("a plan");
    assert_eq!(plan.described(), "watts float64, errors int64");
    assert_eq!((plan.rows, plan.series_count()), (3, 2));
    let blocks = blocks(file.path(), &plan);
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].rows(), 3);
    assert_eq!(blocks[0].time(2), 1_717_243_202_000_000);
    assert_eq!(f64::from_bits(blocks[0].raw(0, 2).cast_unsigned()).to_string(), "7");
    assert!(!blocks[0].is_present(0, 1) && !blocks[0].is_present(1, 2));
}

#[test]
fn gzip_is_seen_by_its_first_bytes() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(GOOD.as_bytes()).expect("memory");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), zipped.finish().expect("memory")).expect("a written file");
    let plan = plan(file.path(), &["--attributes", "rack"]).expect("a plan");
    assert_eq!(plan.rows, 3);
}

#[test]
fn types_can_be_asked_for() {
    let file = csv(GOOD);
    let asked = ["--attributes", "rack", "--types", "watts=decimal(9,3)"];
    let plan = plan(file.path(), &asked).expect("a plan");
    assert_eq!(plan.fields[0].1, FieldType::Decimal { digits: 9, decimals: 3 });
    assert_eq!(blocks(file.path(), &plan)[0].raw(0, 0), 512_500);
}

#[test]
fn errors_name_file_line_and_what_to_do() {
    for (text, arguments, wanted) in [
        (GOOD, [].as_slice(), [":2:", "rack", "--attributes"]),
        ("at,watts\n1,2\n", &[], ["no column", "\"node\"", "at, watts"]),
        ("at,node\n12,a\n", &[], [":2:", "column at", "--time-unit"]),
        ("at,node\n12,a\n13\n", &["--time-unit", "s"], ["line: 3", "1 field", "2 fields"]),
        ("at,node\n,a\n", &["--time-unit", "s"], [":2:", "column at", "empty"]),
        (
            "at,node,x\n1,a,18446744073709551615\n",
            &["--time-unit", "s"],
            ["18446744073709551615", "--types x=float64", "--skip x"],
        ),
        ("at,node,date\n1,a,2\n", &["--time-unit", "s"], ["date", "reserved", "rename"]),
        (
            "at,node,x\n1,a,33.3333333333333333\n",
            &["--time-unit", "s"],
            ["33.3333333333333333", "--types x=float64", "--skip x"],
        ),
        (
            "at,node,x\n1,a,1\n2,a,5000.0\n",
            &["--time-unit", "s", "--types", "x=decimal(4,1)"],
            [":3:", "column x: 5000 does not fit decimal(4,1)", "--types"],
        ),
        ("at,node,x,x\n1,a,1,2\n", &["--time-unit", "s"], ["\"x\"", "two columns", "--rename"]),
        (
            "at,node,x\n1,a,1\n",
            &["--time-unit", "s", "--attributes", "rak"],
            ["--attributes", "\"rak\"", "no file"],
        ),
        (
            "at,node,x\n1,a,1\n",
            &["--time-unit", "s", "--skip", "y"],
            ["--skip", "\"y\"", "no file"],
        ),
        (
            "at,node,x\n1,a,1\n",
            &["--time-unit", "s", "--rename", "y=z"],
            ["\"y\"", "x", "no column"],
        ),
    ] {
        let file = csv(text);
        let error = plan(file.path(), arguments).expect_err(text);
        for word in wanted {
            assert!(error.contains(word), "{error:?} should say {word:?}");
        }
    }
}

#[test]
fn a_large_integer_beside_fractions_is_not_rounded_silently() {
    let file = csv("at,node,x\n1,a,0.5\n2,a,9007199254740993\n");
    let error = plan(file.path(), &["--time-unit", "s"]).expect_err("no lossless type");
    assert!(error.contains("9007199254740993"), "{error}");
    let asked = ["--time-unit", "s", "--types", "x=float64"];
    assert!(plan(file.path(), &asked).is_ok());
}

#[test]
fn columns_are_renamed_before_anything_else() {
    let file = csv("when,node,date\n1,a,2\n");
    let asked = ["--time-unit", "s", "--rename", "when=at", "--rename", "date=day"];
    assert_eq!(plan(file.path(), &asked).expect("a plan").described(), "day int64");
}

#[test]
fn parquet_types_are_kept() {
    let watts = Decimal128Array::from(vec![Some(512_500), None]).with_precision_and_scale(9, 3);
    let columns: [(&str, ArrayRef); 4] = [
        ("at", Arc::new(TimestampMillisecondArray::from(vec![1_000, 2_000]))),
        ("node", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("errors", Arc::new(Int32Array::from(vec![Some(3), None]))),
        ("watts", Arc::new(watts.expect("nine digits"))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let path = Path::new("x.parquet");
    let mut planner = Planner::new(Roles::of(&options(&["x.parquet"])));
    planner.begin(path, &source::columns_of(&batch.schema())).expect("the columns");
    source::show(path, 0, &batch, &mut planner).expect("the rows");
    let plan = planner.finish("t").expect("a plan");
    assert_eq!(plan.described(), "errors int32, watts decimal(9,3)");
    let (sender, mut receiver) = mpsc::channel(1);
    let mut encoder = Encoder::new(&plan, sender);
    encoder.begin(path, &source::columns_of(&batch.schema())).expect("the columns");
    source::show(path, 0, &batch, &mut encoder).expect("the rows");
    encoder.finish().expect("the last block");
    let bytes = receiver.try_recv().expect("a block").bytes;
    let block = Block::parse(plan.layouts[0].clone(), bytes).expect("a block of ours");
    assert_eq!((block.time(1), block.raw(0, 0), block.raw(1, 0)), (2_000_000, 3, 512_500));
    assert!(!block.is_present(0, 1) && !block.is_present(1, 1));
}

#[test]
fn an_unsigned_integer_out_of_range_is_an_error() {
    let columns: [(&str, ArrayRef); 3] = [
        ("at", Arc::new(TimestampMillisecondArray::from(vec![1_000]))),
        ("node", Arc::new(StringArray::from(vec!["a"]))),
        ("x", Arc::new(UInt64Array::from(vec![u64::MAX]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let path = Path::new("x.parquet");
    let mut planner = Planner::new(Roles::of(&options(&["x.parquet"])));
    planner.begin(path, &source::columns_of(&batch.schema())).expect("the columns");
    source::show(path, 0, &batch, &mut planner).expect("the rows");
    assert!(planner.finish("t").is_err());
}

#[test]
fn types_widen_across_files() {
    let columns = |x: ArrayRef| -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1_000]))),
            ("node", Arc::new(StringArray::from(vec!["a"]))),
            ("x", x),
        ];
        RecordBatch::try_from_iter(columns).expect("a batch")
    };
    let narrow = columns(Arc::new(Int32Array::from(vec![1])));
    for (other, wanted) in [
        (columns(Arc::new(Int64Array::from(vec![1 << 40]))), Some("x int64")),
        (columns(Arc::new(Float64Array::from(vec![0.5]))), Some("x float64")),
        (columns(Arc::new(StringArray::from(vec!["0.5"]))), Some("x float64")),
        (columns(Arc::new(StringArray::from(vec!["1234567890.12345678901"]))), None),
    ] {
        let path = Path::new("x.parquet");
        let mut planner = Planner::new(Roles::of(&options(&["x.parquet"])));
        for batch in [&narrow, &other] {
            planner.begin(path, &source::columns_of(&batch.schema())).expect("the columns");
            source::show(path, 0, batch, &mut planner).expect("the rows");
        }
        let described = planner.finish("t").ok().map(|plan| plan.described());
        assert_eq!(described.as_deref(), wanted);
    }
}
