//! Where things come to lie, and that every sample comes out once, whatever moves.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tempfile::TempDir;
use warpline_storage::StorageOptions;
use warpline_storage::model::FieldType;

async fn store() -> (Storage, TempDir) {
    let dir = TempDir::new().unwrap();
    (Storage::open(StorageOptions::new(dir.path())).await.unwrap(), dir)
}

fn table(columns: &[(&str, FieldType)]) -> Pages {
    let mut pages = Pages::new("t", vec!["id".into()]);
    for (name, field_type) in columns {
        let column = Column { name: (*name).into(), field_type: *field_type };
        pages.columns().number(column);
    }
    pages
}

fn thing(pages: &mut Pages, number: u32) -> u32 {
    pages.thing(vec![number.to_string().into()], Vec::new())
}

/// Every present value of the blocks, the last of a cell staying: (id, column, time) and value.
fn values(blocks: &[Block]) -> BTreeMap<(String, String, Timestamp), i64> {
    let mut all = BTreeMap::new();
    for block in blocks {
        let layout = block.layout();
        for row in 0..block.rows() {
            let id = layout.series()[block.series_index(row) as usize].identity[0].to_string();
            for (column, spec) in layout.columns().iter().enumerate() {
                if block.is_present(column, row) {
                    let key = (id.clone(), spec.name.to_string(), block.time(row));
                    all.insert(key, block.raw(column, row));
                }
            }
        }
    }
    all
}

fn pages_of(pages: &Pages) -> Vec<usize> {
    pages.slots.iter().flatten().map(|page| page.things().len()).collect()
}

#[tokio::test]
async fn pages_grow_by_merging_and_stay_few() {
    let (storage, _dir) = store().await;
    let mut pages = table(&[("v", FieldType::Int64)]);
    let mut refused = Refused::default();
    let mut layouts = HashSet::new();
    for request in 0..1_200_u32 {
        for one in 0..10 {
            let number = thing(&mut pages, request * 10 + one);
            pages.add(number, 0, 5, Some(Value::Int(i64::from(one))));
        }
        let blocks = pages.finish(&storage, &mut refused).unwrap();
        assert_eq!(values(&blocks).len(), 10);
        layouts.extend(blocks.iter().map(|block| Arc::as_ptr(block.layout()).addr()));
    }
    let sizes = pages_of(&pages);
    assert_eq!(sizes.iter().sum::<usize>(), 12_000, "nothing lies in two pages");
    assert!(sizes.len() <= 12_000 / PAGE_SERIES + 28, "{sizes:?}");
    assert!(sizes.contains(&PAGE_SERIES), "{sizes:?}");
    // What is known lies where it lies: one block for each page.
    for number in 0..12_000 {
        let number = thing(&mut pages, number);
        pages.add(number, 0, 6, Some(Value::Int(1)));
    }
    let blocks = pages.finish(&storage, &mut refused).unwrap();
    assert_eq!((blocks.len(), values(&blocks).len()), (sizes.len(), 12_000));
    assert_eq!(pages_of(&pages), sizes);
    assert_eq!(refused, Refused::default());
}

#[tokio::test]
async fn a_new_column_moves_what_has_it() {
    let (storage, _dir) = store().await;
    let mut pages = table(&[("a", FieldType::Int64)]);
    let mut refused = Refused::default();
    let both = [thing(&mut pages, 1), thing(&mut pages, 2)];
    for one in both {
        pages.add(one, 0, 5, Some(Value::Int(7)));
    }
    assert_eq!(pages.finish(&storage, &mut refused).unwrap().len(), 1);
    let b = Column { name: "b".into(), field_type: FieldType::Float64 };
    let b = pages.columns().number(b);
    pages.add(both[0], 0, 6, Some(Value::Int(8)));
    pages.add(both[0], b, 6, Some(Value::Float(0.5)));
    pages.add(both[1], 0, 6, Some(Value::Int(9)));
    let blocks = pages.finish(&storage, &mut refused).unwrap();
    let all = values(&blocks);
    let key = |id: &str, column: &str| (id.to_owned(), column.to_owned(), 6);
    assert_eq!(all[&key("1", "a")], 8);
    assert_eq!(all[&key("1", "b")], 0.5_f64.to_bits().cast_signed());
    assert_eq!(all[&key("2", "a")], 9);
    // Now both cells of the first lie in one row.
    pages.add(both[0], 0, 7, Some(Value::Int(1)));
    pages.add(both[0], b, 7, Some(Value::Float(2.0)));
    let blocks = pages.finish(&storage, &mut refused).unwrap();
    assert_eq!((blocks.len(), blocks[0].rows()), (1, 1));
    assert_eq!(refused, Refused::default());
}

#[tokio::test]
async fn what_the_store_does_not_take_is_told() {
    let (storage, _dir) = store().await;
    let mut refused = Refused::default();
    let mut other = table(&[("a", FieldType::Int8)]);
    let one = other.thing(vec!["1".into()], vec![("b".into(), "attribute".into())]);
    other.add(one, 0, 5, Some(Value::Int(1)));
    other.finish(&storage, &mut refused).unwrap();
    assert_eq!(refused, Refused::default());

    let mut pages = table(&[("a", FieldType::Float64), ("b", FieldType::Int64)]);
    let one = thing(&mut pages, 1);
    pages.add(one, 0, 6, Some(Value::Float(12.0)));
    pages.add(one, 0, 7, Some(Value::Float(12.5)));
    pages.add(one, 1, 6, Some(Value::Int(3)));
    let blocks = pages.finish(&storage, &mut refused).unwrap();
    assert_eq!(values(&blocks).into_values().collect::<Vec<_>>(), [12], "in the table's own type");
    assert_eq!((refused.count(Reason::Value), refused.count(Reason::Column)), (1, 1));
    assert_eq!(
        refused.examples(),
        [
            "t.a: 12.5 has a fraction, which int8 cannot hold",
            "\"b\" is a attribute tag of table t and cannot also be a field",
        ]
    );

    let mut wrong = Pages::new("t", vec!["another".into()]);
    wrong.columns().number(Column { name: "a".into(), field_type: FieldType::Int8 });
    let one = thing(&mut wrong, 1);
    wrong.add(one, 0, 6, Some(Value::Int(3)));
    assert!(wrong.finish(&storage, &mut refused).unwrap().is_empty());
    assert_eq!(refused.count(Reason::Series), 1);
    assert!(refused.examples()[2].contains("is identified by"), "{refused:?}");
}

#[tokio::test]
async fn long_requests_make_several_blocks() {
    let (storage, _dir) = store().await;
    let mut refused = Refused::default();
    let mut pages = table(&[("a", FieldType::Int64), ("b", FieldType::Int64)]);
    let one = thing(&mut pages, 1);
    let rows = BLOCK_ROWS as i64 + 5;
    for column in [0, 1] {
        (0..rows).for_each(|time| pages.add(one, column, time, Some(Value::Int(time))));
    }
    let blocks = pages.finish(&storage, &mut refused).unwrap();
    assert_eq!(values(&blocks).len(), 2 * rows as usize);
    assert!(blocks.iter().all(|block| block.rows() <= BLOCK_ROWS));
}

/// A request as numbers: (thing, column, time, value).
type Request = Vec<(u32, u32, i64, i64)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn each_sample_comes_out_once(
        requests in prop::collection::vec(
            prop::collection::vec((0_u32..40, 0_u32..3, 0_i64..3, any::<i32>()), 1..30), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (storage, _dir) = store().await;
            let columns = [("a", FieldType::Int64), ("b", FieldType::Int64), ("c", FieldType::Int64)];
            let mut pages = table(&columns);
            let mut refused = Refused::default();
            for request in requests {
                let request: Request =
                    request.into_iter().map(|(s, c, t, v)| (s, c, t, i64::from(v))).collect();
                let mut want = BTreeMap::new();
                for (number, column, time, value) in request {
                    let one = thing(&mut pages, number);
                    pages.add(one, column, time, Some(Value::Int(value)));
                    let name = columns[column as usize].0.to_owned();
                    want.insert((number.to_string(), name, time), value);
                }
                let blocks = pages.finish(&storage, &mut refused).unwrap();
                assert_eq!(values(&blocks), want);
            }
            assert_eq!(refused, Refused::default());
        });
    }
}
