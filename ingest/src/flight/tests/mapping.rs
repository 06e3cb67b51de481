//! What columns become in their table: roles, existing tables, series, limits.

use super::*;
use crate::refused::Reason;
use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray};

fn float(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn whole(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn identity(f: &Fixture, table: &str) -> Vec<String> {
    let snapshot = f.storage.snapshot();
    snapshot.table(table).unwrap().schema.identity.iter().map(ToString::to_string).collect()
}

fn attributes(f: &Fixture, table: &str) -> Vec<String> {
    let snapshot = f.storage.snapshot();
    snapshot.table(table).unwrap().schema.attributes.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn rows_of_gpu_have_its_fields() {
    let mut f = Fixture::new().await;
    let columns = |power: ArrayRef| {
        vec![
            ("node", text(&["n1", "n1", "n2"])),
            ("gpu", text(&["0", "1", "0"])),
            ("uuid", text(&["GPU-a", "GPU-b", "GPU-c"])),
            ("rack", text(&["r1", "r1", "r2"])),
            ("power_usage", power),
            ("mine", float(&[1.5, 2.5, 3.5])),
        ]
    };
    let want = [
        "@0 node=n1 gpu=0 rack=r1 uuid=GPU-a power_usage=699123:decimal(9,3) mine=1.5",
        "@1 node=n1 gpu=1 rack=r1 uuid=GPU-b power_usage=70000:decimal(9,3) mine=2.5",
        "@2 node=n2 gpu=0 rack=r2 uuid=GPU-c power_usage=500:decimal(9,3) mine=3.5",
    ];
    let rows = f.all("gpu", &batch(columns(float(&[699.123, 70.0, 0.4996]))));
    assert_eq!(rows, want);
    assert_eq!(identity(&f, "gpu"), ["cluster", "node", "gpu"]);
    // Milliwatts in seven digits more, and whole watts.
    let decimal = Decimal128Array::from(vec![6_991_230_000, 700_000_000, 4_996_000]);
    let decimal = Arc::new(decimal.with_precision_and_scale(14, 7).unwrap());
    assert_eq!(f.all("gpu", &batch(columns(decimal))), want);
    let (rows, refused) = f.some("gpu", &batch(columns(whole(&[699, 70, 1_000_000]))));
    assert!(rows[0].contains("power_usage=699000:decimal(9,3)"), "{rows:?}");
    assert_eq!(
        rows[2], "@2 node=n2 gpu=0 rack=r2 uuid=GPU-c mine=3.5",
        "the rest of the row stays"
    );
    assert_eq!(refused, ["gpu.power_usage: 1000000 does not fit decimal(9,3)"]);
    // What is no number is no power, and nothing to tell of.
    let rows = f.all("gpu", &batch(columns(float(&[f64::NAN, 1.0, f64::NAN]))));
    assert_eq!(rows[0], "@0 node=n1 gpu=0 rack=r1 uuid=GPU-a mine=1.5");
}

#[tokio::test]
async fn node_and_metric_are_what_the_server_makes_of_them() {
    let mut f = Fixture::new().await;
    let node = batch(vec![
        ("node", text(&["n1"])),
        ("cluster", text(&["c1"])),
        ("load1", float(&[0.25])),
        ("cpus", whole(&[64])),
        ("kernel", text(&["6.1"])),
    ]);
    let want = ["@0 cluster=c1 node=n1 kernel=6.1 load1=25:decimal(9,2) cpus=64:int32"];
    assert_eq!(f.all("node", &node), want);
    assert_eq!(identity(&f, "node"), ["cluster", "node"]);
    let metric = batch(vec![
        ("name", text(&["up"])),
        ("labels", text(&[r#"{"job":"a"}"#])),
        ("kind", text(&["gauge"])),
        ("value", whole(&[1])),
    ]);
    let want = [r#"@0 name=up labels={"job":"a"} kind=gauge value=1.0"#];
    assert_eq!(f.all("metric", &metric), want);
}

#[tokio::test]
async fn text_of_a_new_table_identifies_it() {
    let mut f = Fixture::new().await;
    let one = batch(vec![
        ("path", text(&["/", "/"])),
        ("host", text(&["a", "b"])),
        ("used", float(&[1.5, 2.5])),
    ]);
    assert_eq!(f.all("disk", &one), ["@0 path=/ host=a used=1.5", "@1 path=/ host=b used=2.5"]);
    assert_eq!(identity(&f, "disk"), ["path", "host", "more_tags"], "as the stream has them");
    // What comes to identify rows later does so by more_tags, as in line protocol.
    let more = batch(vec![
        ("host", text(&["a", "a"])),
        ("device", text(&["sda", "sdb"])),
        ("bay", text(&["", "7"])),
        ("used", float(&[3.0, 4.0])),
    ]);
    let want = [
        r#"@0 host=a more_tags={"device":"sda"} used=3.0"#,
        r#"@1 host=a more_tags={"bay":"7","device":"sdb"} used=4.0"#,
    ];
    assert_eq!(f.all("disk", &more), want);
    // Unless its sender says that it does not.
    let told = with_roles(&more, &[("device", "attribute"), ("bay", "attribute")]);
    assert_eq!(
        f.all("disk", &told),
        ["@0 host=a device=sda used=3.0", "@1 host=a device=sdb bay=7 used=4.0"]
    );
    assert_eq!(attributes(&f, "disk"), ["device", "bay"]);
    assert_eq!(f.all("plain", &batch(vec![("v", float(&[1.0]))])), ["@0 v=1.0"]);
    assert_eq!(identity(&f, "plain"), ["more_tags"]);
}

#[tokio::test]
async fn metadata_says_what_columns_are() {
    let mut f = Fixture::new().await;
    let columns = batch(vec![
        ("owner", text(&["x", "y"])),
        ("slot", whole(&[1, 2])),
        ("chassis", text(&["c", "c"])),
        ("asset", whole(&[77, 78])),
        ("v", float(&[1.0, 2.0])),
    ]);
    let roles =
        [("slot", "identity"), ("chassis", "identity"), ("asset", "attribute"), ("v", "field")];
    let told = with_roles(&columns, &roles);
    let want = [
        "@0 slot=1 chassis=c asset=77 owner=x v=1.0",
        "@1 slot=2 chassis=c asset=78 owner=y v=2.0",
    ];
    assert_eq!(f.all("blade", &told), want);
    assert_eq!(identity(&f, "blade"), ["slot", "chassis"], "and nothing else");
    // Without being told, the table knows.
    assert_eq!(f.all("blade", &columns), want);
    let wrong = with_roles(&columns, &[("v", "attribute"), ("owner", "field")]);
    assert_eq!(
        f.error("blade", &wrong),
        "no column is a field that table blade takes: send numbers. column \"owner\": it is an \
         attribute tag of table blade and cannot be a field; column \"v\": it is a field of table \
         blade and cannot be an attribute tag"
    );
    let unknown = with_roles(&columns, &[("owner", "boss")]);
    assert_eq!(
        f.error("blade", &unknown),
        "column \"owner\": warpline.role is \"boss\": use identity, attribute or field"
    );
}

#[tokio::test]
async fn columns_that_the_table_does_not_take_are_told_and_the_rest_kept() {
    let mut f = Fixture::new().await;
    f.all(
        "t",
        &with_roles(
            &batch(vec![("id", text(&["a"])), ("color", text(&["red"])), ("n", whole(&[1]))]),
            &[("id", "identity"), ("color", "attribute")],
        ),
    );
    let odd = batch(vec![
        ("id", text(&["a", "b"])),
        ("color", float(&[1.5, 2.5])),
        ("n", text(&["one", "two"])),
        ("7up", float(&[1.0, 2.0])),
        ("date", float(&[1.0, 2.0])),
        ("good", float(&[1.0, 2.0])),
        ("GOOD", float(&[3.0, 4.0])),
    ]);
    let (rows, tallies) = f.write("t", &[odd]).unwrap();
    assert_eq!(rows, ["@0 id=a good=1.0", "@1 id=b good=2.0"]);
    let refused = &tallies[0].refused;
    assert_eq!((tallies[0].rows, refused.count(Reason::Column)), (2, 10));
    assert_eq!(
        refused.examples(),
        [
            "column \"color\": float64 cannot be an attribute tag",
            "column \"n\": text cannot be a field",
            "column \"7up\": a name has 1 to 128 letters, digits, '_', ':' or '.', does not begin \
             with a digit, and is not time or date",
            "column \"date\": a name has 1 to 128 letters, digits, '_', ':' or '.', does not begin \
             with a digit, and is not time or date",
            "column \"GOOD\": another column has the name",
        ]
    );
    // A fraction does not fit the type that the column has; an integer in a double does.
    let (rows, refused) =
        f.some("t", &batch(vec![("id", text(&["a", "a"])), ("N", float(&[2.0, 2.5]))]));
    assert_eq!(rows, ["@0 id=a n=2:int64", "@1 id=a"]);
    assert_eq!(refused, ["t.n: 2.5 has a fraction, which int64 cannot hold"]);
}

#[tokio::test]
async fn what_would_make_rows_of_several_things_one_ends_the_stream() {
    let mut f = Fixture::new().await;
    let ends = "; without it rows of several things would be one";
    let float_gpu = batch(vec![("gpu", float(&[0.0])), ("gpu_temp", whole(&[30]))]);
    let error = f.error("gpu", &float_gpu);
    assert_eq!(error, format!("column \"gpu\": float64 cannot be an identity tag{ends}"));
    let bad_name = batch(vec![("host name", text(&["a"])), ("v", whole(&[30]))]);
    let error = f.error("new", &bad_name);
    assert!(
        error.starts_with("column \"host name\": a name has") && error.ends_with(ends),
        "{error}"
    );
    let told = with_roles(
        &batch(vec![("part", text(&["a"])), ("v", whole(&[1]))]),
        &[("part", "identity")],
    );
    let error = f.error("gpu", &told);
    let want = "column \"part\": table gpu is identified by [\"cluster\", \"node\", \"gpu\"]";
    assert_eq!(error, format!("{want}{ends}"));
    assert!(f.storage.snapshot().table("new").is_none());
}

#[tokio::test]
async fn schemas_that_make_no_rows_are_refused() {
    let mut f = Fixture::new().await;
    let one = |name, array| RecordBatch::try_from_iter([(name, array)]).unwrap();
    let error = f.error("t", &one("v", float(&[1.0])));
    assert_eq!(error, "the schema has no column \"time\", a timestamp");
    let error = f.error("t", &one("time", whole(&[TIME])));
    assert_eq!(error, "column \"time\" is int64: send it as a timestamp, of any unit and zone");
    let error = f.error("t", &one("time", times(1)));
    assert_eq!(error, "no column is a field that table t takes: send numbers. ");
    // A rollup's name is not for others.
    let (rows, refused) = f.some("cpu_1m", &batch(vec![("v", float(&[1.0]))]));
    assert_eq!((rows.len(), refused.len()), (0, 1));
    assert!(refused[0].contains("_1m"), "{refused:?}");
}

#[tokio::test]
async fn rows_of_one_thing_and_time_are_one_and_null_overwrites_nothing() {
    let mut f = Fixture::new().await;
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![TIME; 3]));
    let a: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]));
    let b: ArrayRef = Arc::new(Float64Array::from(vec![Some(5.0), Some(6.0), None]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("time", time, false),
        ("a", a, true),
        ("b", b, true),
    ]);
    let (rows, tallies) = f.write("t", &[batch.unwrap()]).unwrap();
    assert_eq!((rows, tallies[0].rows), (vec!["@0 a=3.0 b=6.0".to_owned()], 3));
}

#[tokio::test]
async fn long_batches_become_several_blocks() {
    let mut f = Fixture::new().await;
    let rows = 20_000;
    let hosts: Vec<String> = (0..rows).map(|row| format!("h{}", row % 3)).collect();
    let hosts: ArrayRef = Arc::new(StringArray::from(hosts));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let again = values.clone();
    let mut want: Vec<String> = (0..rows)
        .map(|row| format!("@{row} host=h{} a={row}:int64 b={row}:int64", row % 3))
        .collect();
    want.sort();
    assert_eq!(f.all("t", &batch(vec![("host", hosts), ("a", values), ("b", again)])), want);
}

#[tokio::test]
async fn series_beyond_the_limit_are_refused_and_old_ones_forgotten() {
    let mut f = Fixture::with(3).await;
    let hosts =
        |names: &[&str]| batch(vec![("host", text(names)), ("v", float(&vec![1.0; names.len()]))]);
    let (rows, tallies) = f.write("t", &[hosts(&["a", "b", "c", "d", "d", "e"])]).unwrap();
    assert_eq!(rows, ["@0 host=a v=1.0", "@1 host=b v=1.0", "@2 host=c v=1.0"]);
    assert_eq!((tallies[0].rows, tallies[0].refused_rows()), (3, 3));
    assert_eq!(
        tallies[0].refused.examples(),
        [
            "the server knows 3 series of Arrow batches, which is its limit, and has had all of them \
          within 60 minutes"
        ]
    );
    let (rows, _) = f.some("other", &hosts(&["x"]));
    assert_eq!(rows, [""; 0], "the limit is of all tables");
    f.minute = 62;
    assert_eq!(f.all("t", &hosts(&["d", "e"])).len(), 2);
    assert_eq!(f.register.len(), 2);
}

#[tokio::test]
async fn tags_that_are_too_long_refuse_their_rows() {
    let mut f = Fixture::new().await;
    let long = "x".repeat(4_097);
    let longest = "x".repeat(4_096);
    let batch =
        batch(vec![("host", text(&[&long, &longest, &long])), ("v", float(&[1.0, 2.0, 3.0]))]);
    let (rows, tallies) = f.write("t", &[batch]).unwrap();
    assert_eq!(rows, [format!("@1 host={longest} v=2.0")]);
    assert_eq!(tallies[0].refused_rows(), 2);
    let why = "the tag \"host\" has 4097 bytes; the limit is 4096";
    assert_eq!(tallies[0].refused.examples(), [why]);
}

#[tokio::test]
async fn a_row_has_no_more_tags_than_elsewhere() {
    let mut f = Fixture::new().await;
    let names: Vec<String> = (0..129).map(|number| format!("t{number}")).collect();
    let tags = |count: usize, value: &str| {
        let columns = names[..count].iter().map(|name| (name.as_str(), text(&[value])));
        batch(columns.chain([("v", float(&[1.0]))]).collect())
    };
    assert_eq!(f.all("few", &tags(128, "x")).len(), 1);
    let error = f.error("many", &tags(129, "x"));
    assert_eq!(error, "a row has 129 tags; the limit is 128: send numbers as numbers");
    // Each is within its limit, and all together are not within theirs.
    let (rows, refused) = f.some("long", &tags(5, &"x".repeat(4_000)));
    assert!(rows.is_empty() && refused[0].contains("16384"), "{refused:?}");
}

#[tokio::test]
async fn more_tags_is_sent_whole_or_by_key() {
    let mut f = Fixture::new().await;
    let both = |name| {
        batch(vec![
            ("host", text(&["a"])),
            ("more_tags", text(&[r#"{"rack":"r"}"#])),
            (name, text(&["x"])),
            ("v", float(&[1.0])),
        ])
    };
    f.all("t", &batch(vec![("host", text(&["a"])), ("v", float(&[1.0]))]));
    let error = f.error("t", &both("bay"));
    assert!(error.contains("send one or the other"), "{error}");
    let whole = batch(vec![("more_tags", text(&[r#"{"rack":"r"}"#])), ("v", float(&[1.0]))]);
    assert_eq!(f.all("t", &whole), [r#"@0 more_tags={"rack":"r"} v=1.0"#]);
    // A key that is no name would be lost, and rows with it.
    let odd = batch(vec![("host", text(&["a"])), ("a b", text(&["x"])), ("v", float(&[1.0]))]);
    let error = f.error("t", &odd);
    assert!(error.ends_with("without it rows of several things would be one"), "{error}");
}

#[tokio::test]
async fn names_are_the_same_in_any_case() {
    let mut f = Fixture::new().await;
    let upper = batch(vec![
        ("Node", text(&["n1"])),
        ("GPU", text(&["0"])),
        ("UUID", text(&["GPU-a"])),
        ("Power_Usage", float(&[70.0])),
    ]);
    let want = ["@0 node=n1 gpu=0 uuid=GPU-a power_usage=70000:decimal(9,3)"];
    assert_eq!(f.all("gpu", &upper), want);
    f.all("t", &batch(vec![("Host", text(&["a"])), ("V", float(&[1.0]))]));
    let lower = batch(vec![("host", text(&["a"])), ("v", float(&[2.0]))]);
    assert_eq!(f.all("t", &lower), ["@0 Host=a V=2.0"]);
}

#[tokio::test]
async fn what_dcgm_writes_for_none_is_none_in_gpu_alone() {
    let mut f = Fixture::new().await;
    let one = batch(vec![
        ("gpu", text(&["0", "0"])),
        ("fb_used", whole(&[0x7fff_fff0, 5])),
        ("gpu_temp", whole(&[0x7fff_fff0, 30])),
    ]);
    let rows = f.all("gpu", &one);
    assert_eq!(rows, ["@0 gpu=0", "@1 gpu=0 fb_used=5:int32 gpu_temp=30:int16"]);
    let rows = f.all("t", &batch(vec![("v", whole(&[0x7fff_fff0]))]));
    assert_eq!(rows, ["@0 v=2147483632:int64"]);
}

#[tokio::test]
async fn decimals_of_more_digits_than_a_field_has_are_numbers() {
    let mut f = Fixture::new().await;
    let wide = Decimal128Array::from(vec![1_500, -25]).with_precision_and_scale(30, 2).unwrap();
    let whole = Decimal128Array::from(vec![7, 8]).with_precision_and_scale(38, 0).unwrap();
    let rows = f.all("t", &batch(vec![("a", Arc::new(wide) as ArrayRef), ("b", Arc::new(whole))]));
    assert_eq!(rows, ["@0 a=15.0 b=7.0", "@1 a=-0.25 b=8.0"]);
}

#[tokio::test]
async fn a_schema_alone_settles_nothing() {
    let mut f = Fixture::new().await;
    let plan = |f: &mut Fixture, name: &str| {
        let one = batch(vec![(name, text(&["a"])), ("v", float(&[1.0]))]);
        let messages = encode(&[one], &IpcWriteOptions::default());
        let decoder = Decoder::new(&messages[0].header, LIMIT).unwrap();
        let plan = f.register.plan("t", decoder.columns(), 0, &f.storage).unwrap();
        (decoder, plan, messages)
    };
    plan(&mut f, "typo");
    let (mut decoder, of_host, messages) = plan(&mut f, "host");
    let (blocks, _) = f.one(&mut decoder, &of_host, &messages[1]).unwrap().unwrap();
    assert_eq!(shown(&blocks[0]), ["@0 host=a v=1.0"]);
}

#[tokio::test]
async fn a_table_that_another_protocol_made_meanwhile_is_told() {
    let mut f = Fixture::new().await;
    let messages = encode(
        &[batch(vec![("host", text(&["a"])), ("v", float(&[1.0]))])],
        &IpcWriteOptions::default(),
    );
    let mut decoder = Decoder::new(&messages[0].header, LIMIT).unwrap();
    let plan = f.register.plan("t", decoder.columns(), 0, &f.storage).unwrap();
    // The line protocol writes its first point.
    let mut lines = crate::lines::LineRegister::new(10);
    let times = crate::lines::Times {
        precision: crate::lines::Precision::Nanoseconds,
        now: TIME,
        accepted: 0..=TIME,
    };
    lines.map(b"t,rack=r v=1", 0, &times, &f.storage).unwrap();
    let (blocks, tally) = f.one(&mut decoder, &plan, &messages[1]).unwrap().unwrap();
    assert!(blocks.is_empty());
    assert_eq!((tally.rows, tally.refused_rows()), (0, 1));
    assert!(tally.refused.examples()[0].contains("is identified by"), "{tally:?}");
    // A new stream sees the table, and writes to it.
    let want = [r#"@0 more_tags={"host":"a"} v=1.0"#];
    assert_eq!(f.send("t", &messages).unwrap().0, want);
}
