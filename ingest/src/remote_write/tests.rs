//! Requests as a sender encodes them, what is read of them, and any bytes.

use super::*;
use crate::protobuf::{Malformed as Wire, append_bytes, append_varint};
use proptest::prelude::*;

/// A series as a test writes it down.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) samples: Vec<(i64, f64)>,
    pub(crate) exemplars: usize,
    pub(crate) histograms: usize,
    /// Kind and unit, in version 2.0.
    pub(crate) told: Option<(u64, String)>,
}

/// `a{b="c"}` is `given(&[("__name__", "a"), ("b", "c")], &[(1, 2.0)])`.
pub(crate) fn given(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Given {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Given { labels, samples: samples.to_vec(), ..Given::default() }
}

fn number(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(tag);
    append_varint(out, number);
}

fn sample((millis, value): (i64, f64)) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend(value.to_le_bytes());
    number(&mut out, 0x10, millis.cast_unsigned());
    out
}

pub(crate) fn encode(version: Version, series: &[Given]) -> Vec<u8> {
    match version {
        Version::V1 => encode_v1(series, &[]),
        Version::V2 => encode_v2(series),
    }
}

/// `families` are (name, kind, unit).
pub(crate) fn encode_v1(series: &[Given], families: &[(&str, u64, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in series {
        let mut message = Vec::new();
        for (name, value) in &one.labels {
            let mut label = Vec::new();
            append_bytes(&mut label, 0x0a, name.as_bytes());
            append_bytes(&mut label, 0x12, value.as_bytes());
            append_bytes(&mut message, 0x0a, &label);
        }
        one.samples.iter().for_each(|s| append_bytes(&mut message, 0x12, &sample(*s)));
        (0..one.exemplars).for_each(|_| append_bytes(&mut message, 0x1a, &[]));
        (0..one.histograms).for_each(|_| append_bytes(&mut message, 0x22, &[]));
        append_bytes(&mut out, 0x0a, &message);
    }
    for (name, kind, unit) in families {
        let mut message = Vec::new();
        number(&mut message, 0x08, *kind);
        append_bytes(&mut message, 0x12, name.as_bytes());
        append_bytes(&mut message, 0x22, b"help");
        append_bytes(&mut message, 0x2a, unit.as_bytes());
        append_bytes(&mut out, 0x1a, &message);
    }
    out
}

fn encode_v2(series: &[Given]) -> Vec<u8> {
    let mut symbols: Vec<&str> = vec![""];
    let mut messages = Vec::new();
    for one in series {
        for text in
            one.labels.iter().flat_map(|(n, v)| [n, v]).chain(one.told.as_ref().map(|t| &t.1))
        {
            if !symbols.contains(&text.as_str()) {
                symbols.push(text);
            }
        }
        let at = |text: &str| symbols.iter().position(|known| *known == text).unwrap() as u64;
        let (mut message, mut refs) = (Vec::new(), Vec::new());
        for text in one.labels.iter().flat_map(|(n, v)| [n, v]) {
            append_varint(&mut refs, at(text));
        }
        append_bytes(&mut message, 0x0a, &refs);
        one.samples.iter().for_each(|s| append_bytes(&mut message, 0x12, &sample(*s)));
        (0..one.histograms).for_each(|_| append_bytes(&mut message, 0x1a, &[]));
        (0..one.exemplars).for_each(|_| append_bytes(&mut message, 0x22, &[]));
        if let Some((kind, unit)) = &one.told {
            let mut metadata = Vec::new();
            number(&mut metadata, 0x08, *kind);
            number(&mut metadata, 0x18, 0);
            number(&mut metadata, 0x20, at(unit));
            append_bytes(&mut message, 0x2a, &metadata);
        }
        messages.push(message);
    }
    let mut out = Vec::new();
    for symbol in symbols {
        append_bytes(&mut out, 0x22, symbol.as_bytes());
    }
    for message in &messages {
        append_bytes(&mut out, 0x2a, message);
    }
    out
}

/// Writes down what it hears.
#[derive(Debug, Default)]
struct Heard {
    series: Vec<Given>,
    families: Vec<(String, MetricType, String)>,
    bad: Vec<(String, u64)>,
}

impl Sink for Heard {
    fn series(&mut self, key: &[u8]) {
        let mut one = Given::default();
        if let Ok(series) = LabelledSeries::of(key) {
            one.labels.push(("__name__".to_owned(), series.metric.to_owned()));
            one.labels
                .extend(series.labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            one.told = series.told.map(|(kind, unit)| {
                let number = (0..8).find(|n| kind_of(*n) == kind).unwrap();
                (number, unit.to_owned())
            });
        }
        self.series.push(one);
    }

    fn bad_series(&mut self, reason: &str, samples: u64) {
        self.bad.push((reason.to_owned(), samples));
    }

    fn sample(&mut self, millis: i64, value: f64) {
        self.series.last_mut().unwrap().samples.push((millis, value));
    }

    fn exemplar(&mut self) {
        self.series.last_mut().unwrap().exemplars += 1;
    }

    fn histogram(&mut self) {
        self.series.last_mut().unwrap().histograms += 1;
    }

    fn metadata(&mut self, family: &str, kind: MetricType, unit: &str) {
        self.families.push((family.to_owned(), kind, unit.to_owned()));
    }
}

fn hear(version: Version, message: &[u8]) -> Result<Heard, Malformed> {
    let mut heard = Heard::default();
    read(version, message, &mut heard)?;
    Ok(heard)
}

#[test]
fn families_are_told() {
    let message = encode_v1(&[], &[("a", 1, "seconds"), ("b", 9, "")]);
    let heard = hear(Version::V1, &message).unwrap();
    let want = [
        ("a".to_owned(), MetricType::Counter, "seconds".to_owned()),
        ("b".to_owned(), MetricType::Unknown, String::new()),
    ];
    assert_eq!(heard.families, want);
}

#[test]
fn labels_may_follow_samples() {
    let whole = given(&[("__name__", "a"), ("b", "c")], &[(1, 2.0), (3, 4.0)]);
    let message = encode(Version::V1, std::slice::from_ref(&whole));
    // The series alone, its first label moved behind its samples.
    let inner = &message[2..];
    let first = 2 + usize::from(inner[1]);
    let mut turned = inner[first..].to_vec();
    turned.extend_from_slice(&inner[..first]);
    let mut out = Vec::new();
    append_bytes(&mut out, 0x0a, &turned);
    let heard = hear(Version::V1, &out).unwrap();
    assert_eq!(heard.series, [whole]);
}

#[test]
fn unknown_fields_are_read_over() {
    let mut message = encode(Version::V1, &[given(&[("__name__", "a")], &[(1, 2.0)])]);
    append_bytes(&mut message, 0x7a, b"later");
    number(&mut message, 0x78, 5);
    message.extend([0x7d, 1, 2, 3, 4]);
    assert_eq!(hear(Version::V1, &message).unwrap().series.len(), 1);
}

#[test]
fn a_reference_to_nothing_harms_its_series_alone() {
    let all = [
        given(&[("__name__", "a")], &[(1, 2.0)]),
        given(&[("__name__", "b")], &[(1, 2.0), (2, 2.0)]),
    ];
    let mut message = encode(Version::V2, &all);
    // The references of the second: a name, and "b".
    let at = message.windows(4).rposition(|bytes| bytes == [0x0a, 2, 1, 3]).unwrap();
    message[at + 3] = 9;
    let heard = hear(Version::V2, &message).unwrap();
    assert_eq!(heard.series, [all[0].clone()]);
    assert_eq!(heard.bad, [("a series refers to symbol 9 of a request that has 4".to_owned(), 2)]);
}

#[test]
fn what_is_malformed_says_so() {
    let message = encode(Version::V1, &[given(&[("__name__", "a")], &[(1, 2.0)])]);
    let wire = |bytes: &[u8]| match hear(Version::V1, bytes).unwrap_err() {
        Malformed::Message(wire) => wire,
        other => panic!("{other}"),
    };
    let cut = |at: usize| wire(&message[..at]);
    assert_eq!(cut(message.len() - 1), Wire::Truncated);
    let error = wire;
    assert_eq!(error(&[0x0a]), Wire::Truncated);
    assert_eq!(error(&[0x00]), Wire::Tag { field: 0, wire_type: 0 });
    assert_eq!(error(&[0x0b]), Wire::Tag { field: 1, wire_type: 3 });
    let wrong = Wire::WireType { message: "WriteRequest", field: 1, wire_type: 0 };
    assert_eq!(error(&[0x08, 1]), wrong);
    assert_eq!(error(&[0xff; 11]), Wire::LongNumber);
    let utf8 = encode_v1(&[], &[("a", 1, "s")]);
    let bad: Vec<u8> = utf8.iter().map(|b| if *b == b's' { 0xff } else { *b }).collect();
    assert_eq!(error(&bad), Wire::Utf8("metadata"));
    let mut symbols = Vec::new();
    append_bytes(&mut symbols, 0x22, b"first");
    let error = hear(Version::V2, &symbols).unwrap_err();
    assert_eq!(error.to_string(), "the first symbol is \"first\" where it must be empty");
    assert!(matches!(decompress(b"\x05\x00", &mut Vec::new()), Err(Malformed::Snappy(_))));
}

#[test]
fn a_buffer_keeps_nothing_for_the_next_message() {
    let mut buffer = Vec::new();
    for text in ["a long message", "short", "", "the longest message of all"] {
        let block = snap::raw::Encoder::new().compress_vec(text.as_bytes()).unwrap();
        assert_eq!(decompress(&block, &mut buffer).unwrap(), text.as_bytes());
    }
}

#[test]
fn keys_of_bad_series_say_why() {
    let why = |labels: &[(&str, &str)]| {
        let mut key = SeriesKey::default();
        for (name, value) in labels {
            key.label(name.as_bytes(), value.as_bytes());
        }
        LabelledSeries::of(key.as_bytes()).unwrap_err()
    };
    assert_eq!(why(&[("b", "c")]), "a series has no label __name__ (it has b=\"c\")");
    assert_eq!(why(&[]), "a series has no label __name__");
    assert_eq!(why(&[("", "c")]), "a label has no name (its value is \"c\")");
    assert!(why(&[("__name__", "a"), ("__name__", "b")]).contains("named twice"));
    let many: Vec<String> = (0..200).map(|n| format!("l{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(why(&many), "a series has more than 128 labels");
}

fn any_given() -> impl Strategy<Value = Given> {
    let labels = prop::collection::vec((".{1,12}", ".{0,200}"), 0..6);
    let samples = prop::collection::vec((any::<i64>(), -1e9_f64..1e9), 0..4);
    let told = prop::option::of((1_u64..8, "[a-z]{0,6}"));
    (labels, samples, 0_usize..3, 0_usize..3, told).prop_map(
        |(labels, samples, exemplars, histograms, told)| {
            let named = ("__name__".to_owned(), "metric".to_owned());
            let labels = labels.into_iter().filter(|(name, _)| name != "__name__");
            let labels = std::iter::once(named).chain(labels).collect();
            Given { labels, samples, exemplars, histograms, told }
        },
    )
}

fn untold(series: &[Given]) -> Vec<Given> {
    series.iter().map(|one| Given { told: None, ..one.clone() }).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_read(series in prop::collection::vec(any_given(), 0..5)) {
        let heard = hear(Version::V2, &encode(Version::V2, &series)).unwrap();
        prop_assert_eq!(&heard.series, &series);
        let heard = hear(Version::V1, &encode(Version::V1, &series)).unwrap();
        prop_assert_eq!(heard.series, untold(&series));
        prop_assert!(heard.bad.is_empty());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(hear(Version::V1, &bytes));
        drop(hear(Version::V2, &bytes));
        if decompressed_len(&bytes).is_ok_and(|len| len < 1 << 20) {
            let _ = decompress(&bytes, &mut Vec::new());
        }
        drop(LabelledSeries::of(&bytes));
    }

    #[test]
    fn mutations_are_read_without_panic(
        series in prop::collection::vec(any_given(), 1..4),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for version in [Version::V1, Version::V2] {
            let mut bytes = encode(version, &series);
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            drop(hear(version, &bytes));
            bytes.truncate(cut.index(bytes.len()));
            drop(hear(version, &bytes));
            let mut block = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
            for (at, byte) in &edits {
                let at = at.index(block.len());
                block[at] = *byte;
            }
            if decompressed_len(&block).is_ok_and(|len| len < 1 << 20) {
                let _ = decompress(&block, &mut Vec::new());
            }
        }
    }
}
