//! What is read of messages: types, units, dictionaries, compression, columns passed over.

use super::*;
use arrow::array::{
    Array, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    DurationSecondArray, FixedSizeBinaryArray, Float64Array, Int8Array, Int64Array,
    LargeStringArray, ListArray, NullArray, StringArray, StringViewArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int8Type, Int32Type, Int64Type, UInt16Type};
use arrow::ipc::CompressionType;

fn float(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn numbers_of_every_type_are_read_and_nulls_are_none() {
    use DataType as D;
    let mut f = Fixture::new().await;
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(100), None, Some(7)]));
    let broken: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.25), None, Some(-5.5)]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    let integers =
        [D::Int8, D::Int16, D::Int32, D::Int64, D::UInt8, D::UInt16, D::UInt32, D::UInt64];
    let mut cases: Vec<_> =
        integers.into_iter().map(|of| (&whole, of, "100:int64", "7:int64")).collect();
    cases.extend([
        (&flags, D::Boolean, "1:int8", "0:int8"),
        (&broken, D::Float16, "1.25", "-5.5"),
        (&broken, D::Float32, "1.25", "-5.5"),
        (&broken, D::Float64, "1.25", "-5.5"),
        (&broken, D::Decimal32(7, 3), "1250:decimal(7,3)", "-5500:decimal(7,3)"),
        (&broken, D::Decimal64(15, 2), "125:decimal(15,2)", "-550:decimal(15,2)"),
        (&broken, D::Decimal128(3, 2), "125:decimal(3,2)", "-550:decimal(3,2)"),
        // More digits than a scaled field may have: a double.
        (&broken, D::Decimal128(30, 3), "1.25", "-5.5"),
    ]);
    for (number, (values, of, first, last)) in cases.into_iter().enumerate() {
        let values = cast(values, &of).unwrap();
        let rows = f.all(&format!("t{number}"), &batch(vec![("v", values)]));
        let want = [format!("@0 v={first}"), "@1".to_owned(), format!("@2 v={last}")];
        assert_eq!(rows, want, "{of}");
    }
}

#[tokio::test]
async fn numbers_that_no_field_holds_are_refused_alone() {
    let mut f = Fixture::new().await;
    // Out of its own digits, which Arrow does not look at.
    let digits = Decimal128Array::from(vec![1_234, 9]).with_precision_and_scale(2, 0).unwrap();
    let values = batch(vec![
        ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 1]))),
        ("least", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        ("digits", Arc::new(digits)),
    ]);
    let (rows, refused) = f.some("t", &values);
    let row = "@1 big=1:int64 least=9223372036854775807:int64 digits=9:decimal(2,0)";
    assert_eq!(rows, ["@0", row]);
    assert_eq!(
        refused,
        [
            "t.big: 18446744073709552000 does not fit int64",
            "t.least: -9223372036854776000 does not fit int64",
            "t.digits: 1234 does not fit decimal(2,0)",
        ]
    );
}

#[tokio::test]
async fn times_of_every_unit_and_zone_are_instants() {
    let mut f = Fixture::new().await;
    let seconds = TIME / 1_000_000;
    let units: Vec<ArrayRef> = vec![
        Arc::new(TimestampSecondArray::from(vec![seconds])),
        Arc::new(TimestampMillisecondArray::from(vec![seconds * 1_000]).with_timezone("+05:30")),
        Arc::new(TimestampMicrosecondArray::from(vec![TIME]).with_timezone("America/New_York")),
        Arc::new(TimestampNanosecondArray::from(vec![TIME * 1_000 + 999])),
    ];
    for (number, time) in units.into_iter().enumerate() {
        let columns = vec![("time", time), ("v", float(&[1.5]))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(f.all(&format!("t{number}"), &batch), ["@0 v=1.5"]);
    }
}

#[tokio::test]
async fn rows_without_a_time_that_rows_may_have_are_refused() {
    let mut f = Fixture::new().await;
    let times = [Some(TIME), None, Some(i64::MAX), Some(-5), Some(TIME + 1)];
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
    let host = text(&["a", "b", "c", "d", "a"]);
    let columns = [("time", time), ("host", host), ("v", float(&[0.0, 1.0, 2.0, 3.0, 4.0]))];
    let (rows, tallies) = f.write("t", &[RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
    assert_eq!(rows, ["@0 host=a v=0.0", "@1 host=a v=4.0"]);
    assert_eq!((tallies[0].rows, tallies[0].refused_rows(), tallies[0].values), (2, 3, 5));
    let examples = tallies[0].refused.examples();
    assert_eq!(examples[0], "the time of a row is NULL");
    assert!(examples[1].contains("storage.future_limit"), "{examples:?}");
    assert_eq!(examples[2], "time -5 (microseconds) is before 1970");
    assert_eq!(f.register.len(), 1, "rows that are not taken make no series");
    // Seconds beyond what microseconds count.
    let time: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX, i64::MIN]));
    let columns = vec![("time", time), ("v", float(&[1.0, 2.0]))];
    let (rows, refused) = f.some("t", &RecordBatch::try_from_iter(columns).unwrap());
    assert_eq!((rows.len(), refused.len()), (0, 2));
}

#[tokio::test]
async fn text_is_the_same_however_it_lies() {
    let mut f = Fixture::new().await;
    let long = "a text that no view holds within itself";
    let values = [Some("a"), None, Some(long), Some("a"), Some("")];
    let coded = |array: &ArrayRef, key: &DataType, text: &DataType| {
        cast(array, &DataType::Dictionary(Box::new(key.clone()), Box::new(text.clone()))).unwrap()
    };
    let plain: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let arrays: Vec<ArrayRef> = vec![
        plain.clone(),
        Arc::new(LargeStringArray::from(values.to_vec())),
        Arc::new(StringViewArray::from(values.to_vec())),
        coded(&plain, &DataType::Int8, &DataType::Utf8),
        coded(&plain, &DataType::UInt16, &DataType::Utf8),
        coded(&plain, &DataType::Int64, &DataType::LargeUtf8),
        coded(&plain, &DataType::UInt64, &DataType::Utf8View),
    ];
    for (number, array) in arrays.into_iter().enumerate() {
        let shown = array.data_type().to_string();
        let batch = batch(vec![("host", array), ("v", float(&[0.0, 1.0, 2.0, 3.0, 4.0]))]);
        let want = [
            "@0 host=a v=0.0".to_owned(),
            "@1 v=1.0".to_owned(),
            format!("@2 host={long} v=2.0"),
            "@3 host=a v=3.0".to_owned(),
            "@4 v=4.0".to_owned(),
        ];
        assert_eq!(f.all(&format!("t{number}"), &batch), want, "{shown}");
    }
}

#[tokio::test]
async fn whole_numbers_can_be_tags() {
    let mut f = Fixture::new().await;
    let gpu: ArrayRef = Arc::new(UInt8Array::from(vec![Some(0), Some(7), None]));
    let batch = batch(vec![("gpu", gpu), ("gpu_temp", float(&[30.0, 31.0, 32.0]))]);
    let want = ["@0 gpu=0 gpu_temp=30:int16", "@1 gpu=7 gpu_temp=31:int16", "@2 gpu_temp=32:int16"];
    assert_eq!(f.all("gpu", &batch), want);
}

#[tokio::test]
async fn slices_are_read_as_what_they_show() {
    let mut f = Fixture::new().await;
    let hosts: Vec<Option<String>> =
        (0..100).map(|row| (row % 9 != 0).then(|| format!("h{}", row % 4))).collect();
    let coded: DictionaryArray<Int32Type> = hosts.iter().map(Option::as_deref).collect();
    let plain: ArrayRef = Arc::new(StringArray::from(hosts));
    let views = cast(&plain, &DataType::Utf8View).unwrap();
    let values = (0..100).map(|row| (row % 7 != 0).then_some(f64::from(row)));
    let flags = (0..100).map(|row| (row % 5 != 0).then_some(row % 2 == 0));
    let whole = batch(vec![
        ("plain", plain),
        ("coded", Arc::new(coded)),
        ("views", views),
        ("v", Arc::new(values.collect::<Float64Array>())),
        ("flag", Arc::new(flags.collect::<BooleanArray>())),
    ]);
    let all = f.all("t", &whole);
    assert_eq!(all.len(), 100);
    let (parts, tallies) =
        f.write("t", &[whole.slice(0, 13), whole.slice(13, 64), whole.slice(77, 23)]).unwrap();
    assert_eq!(parts, all);
    assert_eq!(tallies.iter().map(|tally| tally.rows).collect::<Vec<_>>(), [13, 64, 23]);
    let empty = whole.slice(5, 0);
    assert_eq!(f.all("t", &empty), [""; 0]);
}

#[tokio::test]
async fn dictionaries_grow_are_replaced_and_may_be_absent() {
    let mut f = Fixture::new().await;
    let one = |words: &[&str]| {
        let coded: DictionaryArray<Int8Type> = words.iter().copied().collect();
        batch(vec![("host", Arc::new(coded) as ArrayRef), ("v", float(&vec![1.0; words.len()]))])
    };
    // The writer sends the second dictionary in place of the first.
    let (rows, _) = f.write("t", &[one(&["a", "b"]), one(&["c"])]).unwrap();
    assert_eq!(rows, ["@0 host=a v=1.0", "@0 host=c v=1.0", "@1 host=b v=1.0"]);

    // One that grows: the first two words stay.
    let delta = IpcWriteOptions::default()
        .with_dictionary_handling(arrow::ipc::writer::DictionaryHandling::Delta);
    let words = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let first =
        DictionaryArray::<Int8Type>::new(Int8Array::from(vec![1, 0]), Arc::new(words.slice(0, 2)));
    let second = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![2, 1]), words);
    let grown = [first, second]
        .map(|coded| batch(vec![("host", Arc::new(coded) as ArrayRef), ("v", float(&[1.0, 2.0]))]));
    let messages = encode(&grown, &delta);
    assert_eq!(messages.len(), 5, "two dictionaries, two batches");
    let (rows, _) = f.send("t", &messages).unwrap();
    let want = ["@0 host=b v=1.0", "@0 host=c v=1.0", "@1 host=a v=2.0", "@1 host=b v=2.0"];
    assert_eq!(rows, want);
    // Growth of what has not come.
    let astray = [messages[0].clone(), messages[3].clone()];
    let error = f.send("t", &astray).unwrap_err().to_string();
    assert_eq!(error, "dictionary 0 is to grow, but has not come");

    // None is needed where all is NULL; without it nothing else is a key.
    let nulls: DictionaryArray<Int8Type> = [None::<&str>, None].into_iter().collect();
    let nulls = batch(vec![("host", Arc::new(nulls) as ArrayRef), ("v", float(&[1.0, 2.0]))]);
    let messages = encode(&[nulls], &IpcWriteOptions::default());
    let without: Vec<Message> =
        [messages.first(), messages.last()].into_iter().flatten().cloned().collect();
    assert_eq!(f.send("t", &without).unwrap().0, ["@0 v=1.0", "@1 v=2.0"]);
    let messages = encode(&[one(&["a", "b"])], &IpcWriteOptions::default());
    let without: Vec<Message> =
        [messages.first(), messages.last()].into_iter().flatten().cloned().collect();
    let error = f.send("t", &without).unwrap_err().to_string();
    assert!(error.starts_with("column \"host\": "), "{error}");
}

#[tokio::test]
async fn compression_changes_nothing() {
    let mut f = Fixture::new().await;
    let hosts: Vec<String> = (0..500).map(|row| format!("host-{}", row % 9)).collect();
    let coded: DictionaryArray<UInt16Type> = hosts.iter().map(|host| Some(host.as_str())).collect();
    let plain: ArrayRef = Arc::new(StringArray::from(hosts));
    let views = cast(&plain, &DataType::Utf8View).unwrap();
    let batch = batch(vec![
        ("plain", plain),
        ("coded", Arc::new(coded)),
        ("views", views),
        (
            "v",
            Arc::new(
                (0..500).map(|row| (row % 3 != 0).then_some(row / 50)).collect::<Int64Array>(),
            ),
        ),
    ]);
    let want = f.all("t", &batch);
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let messages = encode(std::slice::from_ref(&batch), &options);
        let plain = encode(std::slice::from_ref(&batch), &IpcWriteOptions::default());
        assert!(messages.last().unwrap().body.len() * 2 < plain.last().unwrap().body.len());
        assert_eq!(f.send("t", &messages).unwrap().0, want, "{codec:?}");
    }
}

/// Columns of types that are not taken, one of each shape, some with children.
fn others(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..rows).map(|row| Some(vec![Some(row as i64), None])),
    );
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(
        (0..rows).map(|row| format!("a view that is longer than twelve bytes {row}")),
    ));
    let coded: DictionaryArray<Int8Type> = (0..rows).map(|_| Some("nested")).collect();
    let fields = [
        ("views", views),
        ("coded", Arc::new(coded) as ArrayRef),
        ("list", Arc::new(list.clone())),
    ];
    let nested = StructArray::try_from(fields.to_vec()).unwrap();
    let numbers = cast(
        &float(&vec![1.0; rows]),
        &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64)),
    )
    .unwrap();
    vec![
        ("list", Arc::new(list)),
        ("nested", Arc::new(nested)),
        ("bytes", Arc::new(BinaryViewArray::from_iter_values((0..rows).map(|_| [7_u8; 20])))),
        ("date", Arc::new(Date32Array::from(vec![1; rows]))),
        ("duration", Arc::new(DurationSecondArray::from(vec![1; rows]))),
        (
            "fixed",
            Arc::new(FixedSizeBinaryArray::try_from_iter((0..rows).map(|_| [1_u8; 3])).unwrap()),
        ),
        ("numbers", numbers),
        ("other_time", times(rows)),
        ("null", Arc::new(NullArray::new(rows))),
    ]
}

#[tokio::test]
async fn columns_of_other_types_are_told_and_passed_over() {
    let mut f = Fixture::new().await;
    let mut columns = others(3);
    columns.insert(0, ("a", float(&[1.0, 2.0, 3.0])));
    columns.insert(4, ("host", text(&["x", "y", "x"])));
    columns.push(("z", float(&[4.0, 5.0, 6.0])));
    let batch = batch(columns);
    for options in [None, Some(CompressionType::ZSTD)] {
        let options = IpcWriteOptions::default().try_with_compression(options).unwrap();
        let (rows, tallies) = f.send("t", &encode(std::slice::from_ref(&batch), &options)).unwrap();
        assert_eq!(
            rows,
            ["@0 host=x a=1.0 z=4.0", "@1 host=y a=2.0 z=5.0", "@2 host=x a=3.0 z=6.0"]
        );
        assert_eq!((tallies[0].rows, tallies[0].refused_values()), (3, 24));
        let told = tallies[0].refused.examples();
        assert_eq!(told.len(), 8, "all but the column of NULLs: {told:?}");
        assert_eq!(told[0], "column \"list\": list is not stored: send numbers, booleans or text");
        assert_eq!(
            told[1],
            "column \"nested\": struct is not stored: send numbers, booleans or text"
        );
        let dictionary = "column \"numbers\": dictionary of other things than text is not stored";
        assert!(told[6].starts_with(dictionary), "{}", told[6]);
        assert!(
            told[7].starts_with("column \"other_time\": timestamp is not stored"),
            "{}",
            told[7]
        );
    }
}
