//! Lines and what they say; any bytes; what is printed is read back.

use proptest::prelude::*;
use warpline_storage::model::Value;

use super::*;

fn read(text: &str, format: Format) -> (Vec<Entry<'_>>, Vec<String>) {
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for result in Parser::new(text.as_bytes(), format) {
        match result {
            Ok(entry) => entries.push(entry),
            Err(malformed) => refused.push(malformed.to_string()),
        }
    }
    (entries, refused)
}

fn samples(text: &str, format: Format) -> Vec<Sample<'_>> {
    let (entries, refused) = read(text, format);
    assert_eq!(refused, [""; 0]);
    let sample = |entry| if let Entry::Sample(sample) = entry { Some(sample) } else { None };
    entries.into_iter().filter_map(sample).collect()
}

fn one(text: &str) -> Sample<'_> {
    let mut all = samples(text, Format::Prometheus);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn reason(line: &str) -> Reason {
    let first = Parser::new(line.as_bytes(), Format::Prometheus).next().expect("something is said");
    first.expect_err(line).reason
}

fn labels(sample: &Sample<'_>) -> Vec<(String, String)> {
    sample.labels.clone().map(|(name, value)| (name.into(), value.into())).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_sample_has_name_labels_value_and_time() {
    let sample = one("gpu_temp{gpu=\"0\", UUID=\"GPU-1\",} 30 1700000000123\r\n");
    assert_eq!(sample.metric, "gpu_temp");
    assert_eq!(sample.series, "gpu_temp{gpu=\"0\", UUID=\"GPU-1\",}");
    assert_eq!(labels(&sample), [pair("gpu", "0"), pair("UUID", "GPU-1")]);
    assert_eq!((sample.value, sample.timestamp), (Value::Int(30), Some(1_700_000_000_123_000)));
}

#[test]
fn values_are_integers_where_they_can_be() {
    assert_eq!(one("a 9223372036854775794").value, Value::Int(9_223_372_036_854_775_794));
    assert_eq!(one("a 113.611000").value, Value::Float(113.611));
    assert_eq!(one("a 7.65e+08").value, Value::Float(7.65e8));
    assert_eq!(one("a +Inf").value, Value::Float(f64::INFINITY));
    assert_eq!(one("a -Inf").value, Value::Float(f64::NEG_INFINITY));
    assert!(matches!(one("a NaN").value, Value::Float(v) if v.is_nan()));
    assert!(matches!(one("a -0").value, Value::Float(v) if v == 0.0 && v.is_sign_negative()));
}

#[test]
fn escapes_are_undone() {
    let sample = one(r#"a{path="C:\\dir",note="say \"hi\"\nnow",odd="\d"} 1"#);
    let want = [pair("path", r"C:\dir"), pair("note", "say \"hi\"\nnow"), pair("odd", r"\d")];
    assert_eq!(labels(&sample), want);
}

#[test]
fn names_may_be_quoted() {
    let sample = one(r#"{"node.power \"in\"", "rack.name"="r 1",plain="x"} 5"#);
    assert_eq!(sample.metric, "node.power \"in\"");
    assert_eq!(labels(&sample), [pair("rack.name", "r 1"), pair("plain", "x")]);
    assert_eq!(reason(r#"a{"b"} 1"#), Reason::TwoNames);
    assert_eq!(reason(r#"{"a","b"} 1"#), Reason::TwoNames);
    assert_eq!(reason(r#"{b="c"} 1"#), Reason::NoName);
}

#[test]
fn remarks_say_help_type_and_unit() {
    let text = "# HELP a_s What\\nit is.\n# TYPE a_s counter\n#just a remark\n\n# UNIT a_s seconds\n\
                # TYPE \"b.c\" untyped\n# HELP b";
    let (entries, refused) = read(text, Format::Prometheus);
    assert_eq!(refused, [""; 0]);
    let want = [
        Entry::Help { metric: "a_s", text: "What\\nit is." },
        Entry::Type { metric: "a_s", metric_type: MetricType::Counter },
        Entry::Unit { metric: "a_s", unit: "seconds" },
        Entry::Type { metric: "b.c", metric_type: MetricType::Unknown },
        Entry::Help { metric: "b", text: "" },
    ];
    assert_eq!(entries, want);
    assert_eq!(reason("# TYPE a counterr"), Reason::UnknownType);
    assert_eq!(reason("# TYPE"), Reason::Remark);
}

#[test]
fn openmetrics_has_seconds_exemplars_and_an_end() {
    let text = "a_total 1 1.5 # {id=\"7\"} 0.3 1.25\nb{le=\"1\"} 2 # {} 4\n# EOF\n";
    let all = samples(text, Format::OpenMetrics);
    assert_eq!((all[0].timestamp, all[0].exemplar), (Some(1_500_000), true));
    assert_eq!((all[1].timestamp, all[1].exemplar), (None, true));
    let (entries, refused) = read("a 1\n# EOF\nb 1\nc 1\n", Format::OpenMetrics);
    assert_eq!((entries.len(), refused), (1, vec!["line 3: there is text after # EOF".to_owned()]));
    let (entries, refused) = read("a 1\nb 1 # what\n", Format::OpenMetrics);
    assert_eq!(entries.len(), 1);
    assert_eq!(refused[0], "line 2: the exemplar is not understood");
    assert_eq!(refused[1], "line 2: the text ends without # EOF: it was cut short");
}

#[test]
fn the_format_is_detected() {
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(Format::detect(Some(open), b""), Format::OpenMetrics);
    assert_eq!(Format::detect(Some("text/plain; version=0.0.4"), b"# EOF"), Format::Prometheus);
    assert_eq!(Format::detect(None, b"a 1\n# EOF\n"), Format::OpenMetrics);
    assert_eq!(Format::detect(None, b"a 1\n"), Format::Prometheus);
}

#[test]
fn malformed_lines_have_reasons() {
    assert_eq!(reason("1a 1"), Reason::NoName);
    assert_eq!(reason("a"), Reason::Value);
    assert_eq!(reason("a one"), Reason::Value);
    assert_eq!(reason("a 1 x"), Reason::Timestamp);
    assert_eq!(reason("a 1 9223372036854775807"), Reason::Timestamp);
    assert_eq!(reason("a 1 2 3"), Reason::Trailing);
    assert_eq!(reason("a 1 # {} 1"), Reason::Trailing);
    assert_eq!(reason("a{b} 1"), Reason::NoEquals);
    assert_eq!(reason("a{=\"b\"} 1"), Reason::LabelName);
    assert_eq!(reason("a{b=c} 1"), Reason::NoQuotes);
    assert_eq!(reason("a{b=\"c} 1"), Reason::OpenString);
    assert_eq!(reason("a{b=\"c\" d=\"e\"} 1"), Reason::NoComma);
    assert_eq!(reason("a{b=\"c\""), Reason::NoComma);
    let long = format!("a{{b=\"{}\"}} 1", "x".repeat(MAX_LINE_BYTES));
    assert_eq!(reason(&long), Reason::LongLine(long.len()));
    let many: Vec<String> = (0..=MAX_LABELS).map(|n| format!("l{n}=\"\"")).collect();
    assert_eq!(reason(&format!("a{{{}}} 1", many.join(","))), Reason::ManyLabels);
    let bytes = Parser::new(b"a{b=\"\xff\"} 1\nb 2", Format::Prometheus);
    let kept: Vec<_> = bytes.map(|result| result.map_err(|m| m.reason)).collect();
    assert_eq!(kept[0], Err(Reason::NotUtf8));
    assert!(kept[1].is_ok(), "the next line is read");
}

/// Walks through everything that a caller could look at.
fn exhaust(bytes: &[u8], format: Format) -> usize {
    Parser::new(bytes, format)
        .map(|result| match result {
            Ok(Entry::Sample(sample)) => sample.metric.len() + sample.labels.count(),
            Ok(_) => 1,
            Err(malformed) => malformed.to_string().len(),
        })
        .sum()
}

fn quote(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

const SEED: &[u8] = b"# TYPE a counter\na{b=\"c\\\"\\n\",d=\"\"} 1.5 12 # {x=\"y\"} 3 4\n# EOF\n";

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        exhaust(&bytes, Format::Prometheus);
        exhaust(&bytes, Format::OpenMetrics);
    }

    #[test]
    fn mutations_are_read_without_panic(
        edits in prop::collection::vec((0..SEED.len(), any::<u8>()), 0..6),
        cut in 0..SEED.len(),
    ) {
        let mut bytes = SEED.to_vec();
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        exhaust(&bytes, Format::Prometheus);
        exhaust(&bytes, Format::OpenMetrics);
    }

    #[test]
    fn what_is_printed_is_read_back(
        metric in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
        names in prop::collection::hash_set("[a-zA-Z_][a-zA-Z0-9_]{0,8}|[a-z .\"\\\\\n]{1,8}", 0..6),
        value in any::<f64>(),
        millis in prop::option::of(-1_000_000_000_000_000_i64..1_000_000_000_000_000),
        texts in prop::collection::vec(any::<String>(), 6),
    ) {
        let pairs: Vec<(String, String)> = names.into_iter().zip(texts).collect();
        let list: Vec<String> =
            pairs.iter().map(|(n, v)| format!("\"{}\"=\"{}\"", quote(n), quote(v))).collect();
        let time = millis.map_or(String::new(), |millis| format!(" {millis}"));
        let line = format!("{metric}{{{}}} {value:?}{time}\n", list.join(","));
        prop_assume!(!line.trim_end_matches('\n').contains('\n') && !line.ends_with("\r\n"));
        let sample = one(&line);
        prop_assert_eq!(&*sample.metric, metric.as_str());
        prop_assert_eq!(labels(&sample), pairs);
        prop_assert_eq!(sample.timestamp, millis.map(|millis| millis * 1_000));
        let back = match sample.value { Value::Int(v) => v as f64, Value::Float(v) => v };
        prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
    }
}
