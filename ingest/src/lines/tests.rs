//! Points and the rows that they become.

use super::*;
use std::fmt::Write;
use tempfile::TempDir;
use warpline_storage::StorageOptions;
use warpline_storage::model::FieldType;

const NOW: Timestamp = 1_700_000_000_000_000;

struct Fixture {
    register: LineRegister,
    storage: Storage,
    minute: u32,
    _dir: TempDir,
}

impl Fixture {
    async fn new(limit: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let storage = Storage::open(StorageOptions::new(dir.path())).await.unwrap();
        Self { register: LineRegister::new(limit), storage, minute: 0, _dir: dir }
    }

    fn map(&mut self, text: &str) -> (Vec<String>, LineTally) {
        self.map_in(text, Precision::Nanoseconds)
    }

    fn map_in(&mut self, text: &str, precision: Precision) -> (Vec<String>, LineTally) {
        let times = Times { precision, now: NOW, accepted: 0..=NOW + 1_000_000 };
        let mapped = self.register.map(text.as_bytes(), self.minute, &times, &self.storage);
        let (blocks, tally) = mapped.unwrap();
        (blocks.iter().flat_map(rows).collect(), tally)
    }
}

fn rows(block: &Block) -> Vec<String> {
    (0..block.rows()).map(|row| show(block, row)).collect()
}

fn show(block: &Block, row: usize) -> String {
    let layout = block.layout();
    let mut text = layout.table().to_string();
    let series = &layout.series()[block.series_index(row) as usize];
    for (name, value) in layout.identity_tags().iter().zip(&series.identity) {
        write!(text, " {name}={value}").unwrap();
    }
    for (column, spec) in layout.columns().iter().enumerate() {
        if block.is_present(column, row) {
            let raw = block.raw(column, row);
            match spec.field_type {
                FieldType::Float64 => {
                    write!(text, " {}={:?}", spec.name, f64::from_bits(raw.cast_unsigned()))
                        .unwrap();
                }
                other => write!(text, " {}={raw}:{other}", spec.name).unwrap(),
            }
        }
    }
    if block.time(row) != NOW {
        write!(text, " @{}", block.time(row)).unwrap();
    }
    text
}

#[tokio::test]
async fn a_measurement_is_a_table() {
    let mut f = Fixture::new(100).await;
    let text = "disk,host=a,path=/ used=1.5,free=2i,ok=t 1000\ndisk,host=b used=3 2000\n\
                load value=7u\n";
    let (mut rows, tally) = f.map(text);
    rows.sort();
    assert_eq!(
        rows,
        [
            "disk host=a path=/ more_tags= used=1.5 free=2:int64 ok=1:int8 @1",
            "disk host=b path= more_tags= used=3.0 @2",
            "load more_tags= value=7:int64",
        ]
    );
    let LineTally { points, dropped, fields, refused } = tally;
    assert_eq!((points, dropped, fields, refused.total()), (3, 0, 5, 0));
    // A tag that comes later has a place too, and the thing is another one.
    let (rows, _) = f.map("disk,host=a,path=/,mode=\"rw\",fs=x used=2 3000");
    let more = r#"disk host=a path=/ more_tags={"fs":"x","mode":"\"rw\""} used=2.0 @3"#;
    assert_eq!(rows, [more]);
}

#[tokio::test]
async fn times_have_a_precision() {
    let mut f = Fixture::new(100).await;
    let mut time = |word: &str, text: &str| {
        let (rows, _) = f.map_in(&format!("m f=1 {text}"), Precision::named(word).unwrap());
        rows[0].rsplit_once('@').map(|(_, time)| time.to_owned())
    };
    assert_eq!(time("", "1999").unwrap(), "1");
    assert_eq!(time("us", "1999").unwrap(), "1999");
    assert_eq!(time("ms", "2").unwrap(), "2000");
    assert_eq!(time("s", "2").unwrap(), "2000000");
    assert_eq!(time("h", "2").unwrap(), "7200000000");
    assert_eq!(time("s", ""), None);
    assert_eq!(Precision::named("fortnight"), None);
    let (rows, tally) = f.map_in("m f=1 9223372036854775807", Precision::Micros(60_000_000));
    assert_eq!((rows.len(), tally.dropped, tally.refused.count(Reason::Time)), (0, 1, 1));
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_by_line() {
    let mut f = Fixture::new(100).await;
    let text = "m,h=a s=\"text\",v=1\nm,h=a s=\"text\"\nm,h=a v=18446744073709551615u\nbad\n\
                m,h=a h=1,H=2,v=5 -5\nm,h=a H=1,v=6\nm,h=a,h=b v=7\n";
    let (rows, tally) = f.map(text);
    assert_eq!(rows, ["m h=a more_tags= v=1.0", "m h=a more_tags= v=6.0"]);
    assert_eq!((tally.points, tally.dropped), (7, 5));
    assert_eq!(
        tally.refused.examples(),
        [
            "line 1: field \"s\": strings are not stored: send it as a tag",
            "line 2: field \"s\": strings are not stored: send it as a tag",
            "line 3: field \"v\": 18446744073709551615 is more than an int64 holds",
            "line 4: there are no fields",
            "line 5: time -1 (microseconds) is before 1970",
            "line 6: field \"H\": H is a tag of table m: rename one of them",
            "line 7: the tag \"h\" is given twice",
        ]
    );
    let (rows, tally) = f.map("m,h=a v=1.5\nm,h=a i=1i\nm,h=a i=1.5\nm_1m v=1\n");
    assert_eq!(rows.len(), 2);
    assert_eq!(tally.refused.count(Reason::Value), 1, "{tally:?}");
    let text = tally.refused.examples().join("\n");
    assert!(text.contains("m.i: 1.5 has a fraction, which int64 cannot hold"), "{text}");
    assert!(text.contains("table m_1m cannot be written to"), "{text}");
}

#[tokio::test]
async fn names_are_made_fit() {
    let mut f = Fixture::new(100).await;
    let (rows, tally) = f.map("my-disk,9lives=x,größe=y time=1,a\\ b=2,A_B=3");
    assert_eq!(rows, ["my_disk _9lives=x gr__e=y more_tags= time_=1.0 a_b=3.0"]);
    assert_eq!(tally.refused.total(), 0);
}

#[tokio::test]
async fn tables_that_are_there_keep_their_tags() {
    let mut f = Fixture::new(100).await;
    let (rows, _) = f.map("gpu,cluster=c,gpu=0 power_usage=1.5\nmetric,name=a value=1");
    assert_eq!(rows.len(), 2);
    assert!(rows.contains(&"gpu cluster=c node= gpu=0 power_usage=1.5".to_owned()), "{rows:?}");
    let (rows, tally) = f.map("gpu,cluster=c,gpu=0,rack=r power_usage=1.5");
    assert!(rows.is_empty());
    assert!(tally.refused.examples()[0].contains("no place for the tags [\"rack\"]"), "{tally:?}");
    // After a restart the table says what identifies it.
    f.map("disk,host=a,path=/ used=1");
    f.register = LineRegister::new(100);
    let (rows, _) = f.map("disk,fs=x,host=a used=2");
    assert_eq!(rows, [r#"disk host=a path= more_tags={"fs":"x"} used=2.0"#]);
}

#[tokio::test]
async fn the_limit_is_named_and_old_series_make_room() {
    let mut f = Fixture::new(2).await;
    let (rows, tally) = f.map("m,h=a v=1\nm,h=b v=1\nm,h=c v=1\n");
    assert_eq!((rows.len(), tally.dropped), (2, 1));
    assert!(tally.refused.examples()[0].contains("knows 2 series"), "{tally:?}");
    f.minute = 62;
    assert_eq!(f.map("m,h=c v=1\n").0.len(), 1);
}

/// Names that a sender makes up cost a bounded amount of memory, and their points say why.
#[tokio::test]
async fn made_up_measurements_are_bounded() {
    let mut f = Fixture::new(1_000_000).await;
    let early = (0..MAX_TABLES + 50).fold(String::new(), |mut text, n| {
        writeln!(text, "made{n} v=\"text\"").unwrap();
        text
    });
    let (rows, tally) = f.map(&early);
    assert_eq!((rows.len(), f.register.tables.len()), (0, MAX_TABLES), "text is no field");
    assert_eq!(tally.dropped, tally.points);
    let (_, tally) = f.map("one_more v=1\n");
    assert_eq!(tally.refused.count(Reason::Series), 1);
    f.minute += 1;
    let (rows, _) = f.map("one_more v=1\n");
    assert_eq!(rows, ["one_more more_tags= v=1.0"]);
    assert_eq!(f.register.tables.len(), 1);
}

#[tokio::test]
async fn a_series_too_long_to_remember_is_refused() {
    let mut f = Fixture::new(10).await;
    let long = format!("{} v=1\ndisk,host=a v=2\n", "m".repeat(MAX_KEY_BYTES + 1));
    let (rows, tally) = f.map(&long);
    assert_eq!((rows.len(), tally.dropped), (1, 1));
    assert_eq!(tally.refused.count(Reason::Series), 1);
    assert_eq!(f.register.tables.len(), 1);
}
