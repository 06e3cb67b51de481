//! Bytes that no writer of Arrow makes: each is refused in words, and none of them costs more
//! memory than was asked for.

use super::*;
use arrow::array::{
    Array, BooleanArray, DictionaryArray, Int64Array, StringArray, StringViewArray, StructArray,
};
use arrow::datatypes::Int8Type;
use arrow::ipc::{self, CompressionType};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

/// A batch with something of each kind, in many rows.
fn all_kinds(rows: usize) -> RecordBatch {
    let words: Vec<String> = (0..rows).map(|row| format!("a word of a text {}", row % 5)).collect();
    let coded: DictionaryArray<Int8Type> = words.iter().map(|word| Some(word.as_str())).collect();
    let numbers: ArrayRef =
        Arc::new((0..rows).map(|row| (row % 3 != 0).then_some(row as i64)).collect::<Int64Array>());
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(&words));
    let nested = StructArray::try_from(vec![("a", numbers.clone()), ("b", views.clone())]).unwrap();
    batch(vec![
        ("host", Arc::new(StringArray::from(words))),
        ("coded", Arc::new(coded)),
        ("views", views),
        ("nested", Arc::new(nested)),
        ("flag", Arc::new(BooleanArray::from(vec![true; rows]))),
        ("v", numbers),
    ])
}

fn options(codec: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(codec).unwrap()
}

fn encoded(codec: Option<CompressionType>) -> Vec<Message> {
    encode(&[all_kinds(300)], &options(codec))
}

/// Where in a header something lies.
fn place(header: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - header.as_ptr().addr()
}

/// The message with another number at a place of its header.
fn patched(message: &Message, at: usize, value: i64) -> Message {
    let mut header = message.header.to_vec();
    header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    Message { header: header.into(), body: message.body.clone() }
}

/// Where the batch's buffers and nodes are: 16 bytes each, of two numbers.
fn places(message: &Message) -> (usize, usize, usize) {
    let header = &message.header[..];
    let batch = ipc::root_as_message(header).unwrap();
    let batch = batch.header_as_record_batch().unwrap();
    let buffers = batch.buffers().unwrap();
    (place(header, buffers.bytes()), buffers.len(), place(header, batch.nodes().unwrap().bytes()))
}

#[tokio::test]
async fn buffers_lie_within_their_body() {
    let mut f = Fixture::new().await;
    let messages = encoded(None);
    let last = messages.last().unwrap();
    let (first, count, _) = places(last);
    let mut refused = 0;
    for number in 0..count {
        for (field, value) in [
            (0, -1),
            (0, i64::MIN),
            (0, i64::MAX),
            (0, last.body.len() as i64 + 1),
            (8, -1),
            (8, i64::MAX),
            (8, last.body.len() as i64 + 1),
            (8, 3),
        ] {
            let mut bad = messages.clone();
            *bad.last_mut().unwrap() = patched(last, first + number * 16 + field, value);
            match f.send("t", &bad) {
                Err(FlightError::Malformed(why)) => {
                    refused += 1;
                    assert!(why.contains("buffer") || why.contains("column"), "{why}");
                }
                Ok(_) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 60, "of columns that are read: {refused}");
}

#[tokio::test]
async fn lengths_of_columns_are_the_batchs() {
    let mut f = Fixture::new().await;
    let messages = encoded(None);
    let last = messages.last().unwrap();
    let (_, _, node) = places(last);
    for value in [-1, 0, 299, 301, i64::MAX] {
        let mut bad = messages.clone();
        *bad.last_mut().unwrap() = patched(last, node, value);
        let error = f.send("t", &bad).unwrap_err().to_string();
        let want = format!("column \"time\": a column has {value} values in a batch of 300 rows");
        assert_eq!(error, want);
    }
    // More NULLs than rows: the bits say what is there.
    let mut odd = messages.clone();
    *odd.last_mut().unwrap() = patched(last, node + 8, i64::MAX);
    assert!(f.send("t", &odd).is_err(), "the column has no bits");
}

#[tokio::test]
async fn compressed_buffers_are_as_long_as_they_say() {
    let mut f = Fixture::new().await;
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 10_000]));
        let messages = encode(&[batch(vec![("v", zeros)])], &options(Some(codec)));
        let last = messages.last().unwrap();
        let (first, count, _) = places(last);
        // The values are the last buffer; its length as it says stands in front of it.
        let header = ipc::root_as_message(&last.header).unwrap();
        let values = header.header_as_record_batch().unwrap().buffers().unwrap().get(count - 1);
        let at = values.offset() as usize;
        let said = |length: i64| {
            let mut body = last.body.to_vec();
            body[at..at + 8].copy_from_slice(&length.to_le_bytes());
            [messages[0].clone(), Message { header: last.header.clone(), body: body.into() }]
        };
        assert_eq!(f.send("t", &said(80_000)).unwrap().1[0].rows, 10_000);
        for length in [1, 79_999, 80_001, 100_000, 0] {
            let error = f.send("t", &said(length)).unwrap_err().to_string();
            assert!(error.starts_with("column \"v\": a"), "{codec:?} {length}: {error}");
        }
        for length in [LIMIT as i64, 1 << 40, i64::MAX] {
            let error = f.send("t", &said(length)).unwrap_err();
            assert!(
                matches!(&error, FlightError::TooLarge(why) if why.contains("4194304")),
                "{error}"
            );
        }
        for length in [-2, i64::MIN] {
            let error = f.send("t", &said(length)).unwrap_err().to_string();
            assert_eq!(error, format!("a compressed buffer says that it is {length} bytes"));
        }
        // -1 says that what follows is not compressed, which is too short then.
        let error = f.send("t", &said(-1)).unwrap_err().to_string();
        assert!(error.contains("where its rows need 80000"), "{error}");
        // A buffer too short for a length.
        let short = patched(last, first + (count - 1) * 16 + 8, 7);
        let error = f.send("t", &[messages[0].clone(), short]).unwrap_err().to_string();
        assert_eq!(error, "a compressed buffer does not say its length");
    }
}

#[tokio::test]
async fn what_a_batch_costs_is_known_before_it_is_read() {
    let mut f = Fixture::new().await;
    let rows = (1 << 20) + 1;
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true; rows]));
    let one = |array: ArrayRef| {
        let time: ArrayRef =
            Arc::new(arrow::array::TimestampSecondArray::from(vec![1; array.len()]));
        RecordBatch::try_from_iter([("time", time), ("v", array)]).unwrap()
    };
    let error = f.error("t", &one(flags.clone()));
    assert_eq!(error, "the batch has 1048577 rows; the limit is 1048576: send fewer in one batch");
    let error = f.error("t", &one(flags.slice(0, 100_000)));
    assert_eq!(
        error,
        "the rows of a batch take 14600000 bytes of memory; the limit is 4194304: send fewer rows \
         in one batch"
    );
    let columns: Vec<String> = (0..4_097).map(|number| format!("c{number}")).collect();
    let columns = columns.iter().map(|name| (name.as_str(), flags.slice(0, 1))).collect();
    let error = f.error("t", &batch(columns));
    assert_eq!(error, "the schema has 4098 columns; the limit is 4096: send fewer");

    // Many columns of one place in the body: a few bytes that would be many.
    let columns: Vec<String> = (0..1_000).map(|number| format!("c{number}")).collect();
    let columns = columns.iter().map(|name| (name.as_str(), flags.slice(0, 10_000))).collect();
    let messages = encode(&[batch(columns)], &options(None));
    let error = f.send("t", &messages).unwrap_err();
    assert!(matches!(error, FlightError::TooLarge(_)), "{error}");

    // Views of one text: few bytes, many tags.
    let text = "x".repeat(4_096);
    let mut views = arrow::array::StringViewBuilder::new();
    let block = views.append_block(text.repeat(2).into_bytes().into());
    (0..3_000).for_each(|at| views.try_append_view(block, at, 4_096 - at % 7).unwrap());
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1; 3_000]));
    let views: ArrayRef = Arc::new(views.finish());
    assert_eq!(
        f.all("few", &batch(vec![("host", views.clone()), ("v", values.clone())])).len(),
        3_000
    );
    let mut views = arrow::array::StringViewBuilder::new();
    let letters = (0..2_000).map(|number| format!("{number:04}")).collect::<Vec<_>>().concat();
    let block = views.append_block(letters.into_bytes().into());
    (0..3_000).for_each(|at| views.try_append_view(block, at, 4_096).unwrap());
    let views: ArrayRef = Arc::new(views.finish());
    let error = f.error("many", &batch(vec![("host", views), ("v", values)]));
    assert!(error.starts_with("the tags of a batch's series take 4"), "{error}");
    assert!(error.contains("the limit is 4194304: send fewer rows in one batch"), "{error}");
}

#[tokio::test]
async fn rows_are_as_wide_as_their_series_have_become() {
    let mut f = Fixture::new().await;
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1; 2_000]));
    let narrow = batch(vec![("v", values.clone())]);
    assert_eq!(f.all("t", &narrow).len(), 2_000);
    let names: Vec<String> = (0..400).map(|number| format!("c{number}")).collect();
    let wide = names.iter().map(|name| (name.as_str(), values.slice(0, 100))).collect();
    assert_eq!(f.all("t", &batch(wide)).len(), 100);
    let error = f.error("t", &narrow);
    assert_eq!(
        error,
        "the rows of a batch take 14692000 bytes of memory; the limit is 4194304: send fewer rows in \
         one batch"
    );
    assert_eq!(f.all("t", &narrow.slice(0, 200)).len(), 200);
}

#[tokio::test]
async fn buffers_that_overlap_are_refused() {
    let mut f = Fixture::new().await;
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["some text"; 100]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1; 100]));
    let messages = encode(&[batch(vec![("host", texts), ("v", values)])], &options(None));
    let last = messages.last().unwrap();
    let (first, count, _) = places(last);
    // Every buffer is the whole body.
    let all = (0..count).fold(last.clone(), |message, number| {
        let moved = patched(&message, first + number * 16, 0);
        patched(&moved, first + number * 16 + 8, last.body.len() as i64)
    });
    let error = f.send("t", &[messages[0].clone(), all.clone()]).unwrap_err().to_string();
    let (sum, bytes) = (last.body.len() * count, last.body.len());
    assert_eq!(error, format!("its buffers have {sum} bytes together, in a body of {bytes} bytes"));
    // One that is negative makes no room for the others.
    let sum = 8 - last.body.len() as i64 * (count as i64 - 1);
    let less = patched(&all, first + 8, sum);
    let error = f.send("t", &[messages[0].clone(), less]).unwrap_err().to_string();
    assert!(error.starts_with("its buffers have"), "{error}");
}

#[tokio::test]
async fn a_dictionary_that_grows_costs_what_it_grew_from() {
    let word = "x".repeat(10_000);
    let words: Vec<String> = (0..3).map(|number| format!("{number}{word}")).collect();
    let words: ArrayRef = Arc::new(StringArray::from(words));
    let coded = |keys: Vec<i8>, words: ArrayRef| {
        let coded = DictionaryArray::<Int8Type>::new(keys.into(), words);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1; coded.len()]));
        batch(vec![("host", Arc::new(coded) as ArrayRef), ("v", values)])
    };
    let grown = [coded(vec![0, 1], words.slice(0, 2)), coded(vec![2], words)];
    let delta = options(None).with_dictionary_handling(ipc::writer::DictionaryHandling::Delta);
    let messages = encode(&grown, &delta);
    let mut decoder = Decoder::new(&messages[0].header, LIMIT).unwrap();
    let wanted = [true; 3];
    let mut costs = Vec::new();
    for message in &messages[1..] {
        costs.push(decoder.cost(&message.header, &message.body, &wanted).unwrap().bytes);
        decoder.read(&message.header, &message.body, &wanted).unwrap();
    }
    assert!(costs[0] >= 20_000 && costs[2] >= 20_000 + 10_000, "{costs:?}");
}

#[tokio::test]
async fn messages_come_in_their_order_and_once() {
    let mut f = Fixture::new().await;
    let messages = encoded(None);
    let schema = messages[0].clone();
    let batch = messages.last().unwrap().clone();
    let error = f.send("t", &[batch.clone(), schema.clone()]).unwrap_err().to_string();
    assert_eq!(error, "the first message is of type RecordBatch: begin with the schema");
    let error = f.send("t", &[schema.clone(), schema.clone()]).unwrap_err().to_string();
    assert_eq!(error, "a stream has one schema: begin another for another schema");
    // A batch of another schema has other parts.
    let other = encode(&[super::batch(vec![("v", times(3))])], &options(None)).remove(1);
    let error = f.send("t", &[schema, other]).unwrap_err().to_string();
    assert_eq!(error, "the batch has fewer parts than its columns need");
    let garbage = Message { header: vec![7; 100].into(), body: Bytes::new() };
    let error = f.send("t", &[garbage]).unwrap_err().to_string();
    assert!(error.starts_with("a message's header is not Arrow's: "), "{error}");
    let long = Message { header: vec![0; (1 << 20) + 1].into(), body: Bytes::new() };
    let error = f.send("t", &[long]).unwrap_err();
    assert!(matches!(&error, FlightError::TooLarge(why) if why.contains("1048576")), "{error}");
}

#[tokio::test]
async fn text_is_utf_8_and_keys_are_of_their_dictionary() {
    let mut f = Fixture::new().await;
    let messages = encoded(None);
    // The keys of "coded" count up to 4; text comes first in the body as that of "host".
    let keys: &[u8] = &[0, 1, 2, 3, 4, 0, 1, 2];
    for (column, needle) in [("host", &b"a word of a text 3"[..]), ("coded", keys)] {
        let mut bad = messages.clone();
        let last = bad.last_mut().unwrap();
        let at = last.body.windows(needle.len()).position(|window| window == needle).unwrap();
        let mut body = last.body.to_vec();
        body[at + 4] = 0xff;
        last.body = body.into();
        let error = f.send("t", &bad).unwrap_err().to_string();
        assert!(error.starts_with(&format!("column {column:?}: ")), "{error}");
    }
}

/// A change to one byte, or a cut.
#[derive(Clone, Debug)]
enum Damage {
    Header(Index, u8),
    /// Eight bytes at a time: lengths and offsets are such.
    Number(Index, i64),
    Body(Index, u8),
    CutBody(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        any::<i64>(),
        -3_i64..400,
        Just(i64::MAX),
        Just(i64::MIN),
        Just(1 << 40),
        Just(1 << 21),
    ];
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Header(at, byte)),
        4 => (any::<Index>(), number).prop_map(|(at, number)| Damage::Number(at, number)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Body(at, byte)),
        1 => any::<Index>().prop_map(Damage::CutBody),
    ]
}

impl Damage {
    fn apply(&self, message: &mut Message) {
        let (mut header, mut body) = (message.header.to_vec(), message.body.to_vec());
        match self {
            Self::Header(at, byte) => header[at.index(message.header.len())] = *byte,
            Self::Number(at, number) => {
                let at = at.index(message.header.len() / 4 - 1) * 4;
                header[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            Self::Body(at, byte) if !body.is_empty() => body[at.index(message.body.len())] = *byte,
            Self::CutBody(at) if !body.is_empty() => body.truncate(at.index(message.body.len())),
            Self::Body(..) | Self::CutBody(_) => {}
        }
        (message.header, message.body) = (header.into(), body.into());
    }
}

#[tokio::test]
async fn damaged_streams_never_panic() {
    let mut f = Fixture::with(100_000).await;
    let codecs = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];
    let streams = codecs.map(encoded);
    // PROPTEST_CASES asks for more.
    let cases = ProptestConfig::default().cases.max(4_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let damages = prop::collection::vec((any::<Index>(), damage()), 1..4);
    let f = std::cell::RefCell::new(&mut f);
    let taken = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&(0..3_usize, damages), |(codec, damages)| {
        let mut messages = streams[codec].clone();
        for (at, damage) in damages {
            let at = at.index(messages.len());
            damage.apply(&mut messages[at]);
        }
        let f = &mut **f.borrow_mut();
        if f.send("t", &messages).is_ok() {
            taken.set(taken.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(taken.get() > cases / 40, "some damage is none: {}", taken.get());
    assert!(taken.get() < cases / 4 * 3, "most is found: {}", taken.get());
}
