//! Lines and what they say; any bytes; what is printed is read back.

use super::*;
use proptest::prelude::*;

fn points(text: &str) -> (Vec<Point<'_>>, Vec<String>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for point in Points::new(text.as_bytes()) {
        match point {
            Ok(point) => taken.push(point),
            Err(malformed) => refused.push(malformed.to_string()),
        }
    }
    (taken, refused)
}

fn one(text: &str) -> Point<'_> {
    let (mut taken, refused) = points(text);
    assert_eq!((taken.len(), refused), (1, vec![]), "{text}");
    taken.remove(0)
}

fn reason(text: &str) -> Reason {
    Points::new(text.as_bytes()).next().unwrap().expect_err(text).reason
}

fn tags(point: &Point<'_>) -> Vec<(String, String)> {
    point.tags().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

fn fields<'a>(point: &Point<'a>) -> Vec<(String, FieldValue<'a>)> {
    point.fields().map(|field| field.unwrap()).map(|(k, v)| (k.into_owned(), v)).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn a_point_has_measurement_tags_fields_and_time() {
    let point = one("cpu,host=a,zone=z\\ 1 usage=1.5,n=-2i,u=3u,ok=t,s=\"x, y=\\\"z\\\"\" 17\r\n");
    assert_eq!((&*point.measurement(), point.time, point.line), ("cpu", Some(17), 1));
    assert_eq!(tags(&point), [pair("host", "a"), pair("zone", "z 1")]);
    let want = [
        ("usage", FieldValue::Float(1.5)),
        ("n", FieldValue::Integer(-2)),
        ("u", FieldValue::Unsigned(3)),
        ("ok", FieldValue::Boolean(true)),
        ("s", FieldValue::Text("x, y=\\\"z\\\"")),
    ];
    assert_eq!(fields(&point), want.map(|(key, value)| (key.to_owned(), value)));
}

#[test]
fn escapes_are_undone_and_other_backslashes_stay() {
    let point = one(r"my\ m\,x,a\=b=c\,d,e=C:\dir f\ g=1e3");
    assert_eq!(point.measurement(), "my m,x");
    assert_eq!(tags(&point), [pair("a=b", "c,d"), pair("e", r"C:\dir")]);
    assert_eq!(fields(&point), [("f g".to_owned(), FieldValue::Float(1000.0))]);
    assert_eq!(point.time, None);
    assert_eq!(one("\"m\" \"f\"=1").measurement(), "\"m\"", "quotes elsewhere are letters");
}

#[test]
fn lines_are_counted_through_strings_and_remarks() {
    let text = "# remark\n\na f=1\nb f=\"two\nlines\" 5\nc\nd f=2\n";
    let (taken, refused) = points(text);
    let lines: Vec<_> = taken.iter().map(|point| (point.line, point.series)).collect();
    assert_eq!(lines, [(3, "a"), (4, "b"), (7, "d")]);
    assert_eq!(refused, ["line 6: there are no fields"]);
    let (taken, refused) = points("a f=\"open\nb f=1");
    assert_eq!((taken.len(), refused), (1, vec!["line 1: a string does not end".to_owned()]));
}

#[test]
fn malformed_points_have_reasons() {
    assert_eq!(reason(",a=b f=1"), Reason::NoMeasurement);
    assert_eq!(reason("m"), Reason::NoFields);
    assert_eq!(reason("m,a=b"), Reason::NoFields);
    assert_eq!(reason("m,a f=1"), Reason::Tag);
    assert_eq!(reason("m,a= f=1"), Reason::Tag);
    assert_eq!(reason("m,=b f=1"), Reason::Tag);
    assert_eq!(reason("m,a=b=c f=1"), Reason::Tag);
    assert_eq!(reason("m, f=1"), Reason::Tag);
    assert_eq!(reason("m f"), Reason::Field);
    assert_eq!(reason("m =1"), Reason::Field);
    assert_eq!(reason("m f=1,"), Reason::Field);
    assert_eq!(reason("m f=\"a\"b"), Reason::Field);
    for value in ["", "x", "1x", "nan", "inf", "NaN", "1.5i", "-1u", "tRUE", "0x10", "i"] {
        assert_eq!(reason(&format!("m f={value}")), Reason::Value("f".to_owned()), "{value}");
    }
    assert_eq!(reason("m f=1 x"), Reason::Time);
    assert_eq!(reason("m f=1 1 2"), Reason::Time);
    assert_eq!(reason("m f=1 9223372036854775808"), Reason::Time);
    let many: Vec<String> = (0..=MAX_TAGS).map(|n| format!(",t{n}=x")).collect();
    assert_eq!(reason(&format!("m{} f=1", many.concat())), Reason::ManyTags);
    let long = format!("m,a={} f=1", "x".repeat(MAX_POINT_BYTES));
    assert_eq!(reason(&long), Reason::LongPoint(long.len()));
    let bytes: Vec<_> = Points::new(b"m,a=\xff f=1\nn f=1").collect();
    assert_eq!(bytes[0], Err(Malformed { line: 1, reason: Reason::NotUtf8 }));
    assert!(bytes[1].is_ok(), "the next line is read");
}

fn exhaust(text: &[u8]) {
    for point in Points::new(text).flatten() {
        let _ = (point.measurement().len(), point.tags().count(), point.fields().count());
    }
}

fn escaped(text: &str) -> String {
    text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ")
}

const SEED: &[u8] = b"m\\ x,a=b\\,c,d=e f=1.5,g=\"h \\\" i\nj\",k=2i 17\n# r\nn f=t\n";

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exhaust(&bytes);
    }

    #[test]
    fn mutations_are_read_without_panic(
        edits in prop::collection::vec((0..SEED.len(), any::<u8>()), 0..6),
        signs in prop::collection::vec((0..SEED.len(), prop::sample::select(b" ,=\\\"\n#".to_vec())), 0..6),
        cut in 0..SEED.len(),
    ) {
        let mut bytes = SEED.to_vec();
        for (at, byte) in edits.into_iter().chain(signs) {
            bytes[at] = byte;
        }
        exhaust(&bytes);
        bytes.truncate(cut);
        exhaust(&bytes);
    }

    #[test]
    fn what_is_printed_is_read_back(
        measurement in "[a-zA-Zäö][a-z ,=äö\"]{0,8}x",
        tags_given in prop::collection::vec(("[a-z ,=\"]{0,6}x", "[a-z0-9 ,=\"ß]{0,8}x"), 0..5),
        floats in prop::collection::vec(("[a-z ,=]{0,6}f", -1e12_f64..1e12), 1..4),
        text in "[a-z ,=\n]{0,12}",
        time in prop::option::of(any::<i64>()),
    ) {
        let tag = |(k, v): &(String, String)| format!(",{}={}", escaped(k), escaped(v));
        let tag_list = tags_given.iter().map(tag).collect::<Vec<_>>().concat();
        let field_list: Vec<String> =
            floats.iter().map(|(k, v)| format!("{}={v}", escaped(k))).collect();
        let stamp = time.map_or(String::new(), |time| format!(" {time}"));
        let name = escaped(&measurement);
        let line = format!("{name}{tag_list} {},text=\"{text}\"{stamp}\nz f=1", field_list.join(","));
        let (taken, refused) = points(&line);
        prop_assert_eq!(refused, Vec::<String>::new());
        prop_assert_eq!(taken.len(), 2);
        prop_assert_eq!(taken[0].measurement(), measurement);
        prop_assert_eq!(tags(&taken[0]), tags_given);
        prop_assert_eq!(taken[0].time, time);
        let mut want: Vec<(String, FieldValue<'_>)> =
            floats.iter().map(|(k, v)| (k.clone(), FieldValue::Float(*v))).collect();
        want.push(("text".to_owned(), FieldValue::Text(&text)));
        prop_assert_eq!(fields(&taken[0]), want);
    }
}
