//! InfluxDB's line protocol, and the rows that its points become.

use super::{Verdict, rows};
use crate::line_protocol::{MAX_TAGS, Point, Points};
use crate::lines::{LineRegister, Precision, Times};
use warpline_storage::Storage;

/// Points are read alone, and twice into one register, which takes as many rows of them each time.
pub fn lines(input: &[u8], storage: &Storage) -> Verdict {
    let mut last = 0;
    for point in Points::new(input).flatten() {
        assert!(point.line > last, "a line begins one point");
        last = point.line;
        check(&point);
    }
    let mut register = LineRegister::new(rows::SERIES);
    let times = Times { precision: Precision::Nanoseconds, now: 1_000_000, accepted: 0..=i64::MAX };
    let mut request = || {
        let mapped = register.map(input, 0, &times, storage);
        let (blocks, tally) = mapped.expect("what is refused is told in the tally");
        assert!(rows::rows(&blocks) as u64 <= tally.fields && tally.dropped <= tally.points);
        (rows::rows(&blocks), tally)
    };
    let (rows, tally) = request();
    let (rows_again, again) = request();
    assert_eq!((rows, tally.points), (rows_again, again.points));
    rows::verdict(&tally.refused)
}

/// A point has what the parser promises, and its text alone is the same point.
fn check(point: &Point<'_>) {
    assert!(point.tags().count() <= MAX_TAGS);
    let fields: Vec<_> = point.fields().collect();
    assert!(!fields.is_empty() && fields.iter().all(Result::is_ok));
    let alone = format!("{} f=1", point.series);
    let again: Vec<_> = Points::new(alone.as_bytes()).collect();
    let [Ok(again)] = &again[..] else { panic!("{alone:?} is no point: {again:?}") };
    assert_eq!(again.measurement(), point.measurement());
    assert!(again.tags().eq(point.tags()));
}
