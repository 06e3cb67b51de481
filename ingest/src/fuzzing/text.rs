//! Files that people write: labels of a node, and fields of their own.

use super::Verdict;
use crate::dictionary::Dictionary;
use crate::labels::Labels;
use warpline_storage::model::{Column, FieldType, Layout, Series};

/// A file of labels, which are given to a layout; and the same text as the jobs of a GPU. Labels that
/// are taken can be written again and are read as the same.
pub fn labels(input: &[u8]) -> Verdict {
    let text = std::str::from_utf8(input).map_err(|error| error.to_string())?;
    let parsed = Labels::parse(text).map_err(|error| error.to_string());
    if let Ok(all) = &parsed {
        let lines = all.iter().map(|(name, value)| format!("{name}={value}\n"));
        let written = lines.collect::<Vec<_>>().concat();
        assert_eq!(Labels::parse(&written).as_ref(), Ok(all));
    }
    let mut labels = Labels::new(parsed.clone().unwrap_or_default());
    labels.add_jobs("0", text);
    let layout = layout();
    let dressed = labels.dress(&layout).expect("labels fit any table");
    assert_eq!(dressed.series().len(), layout.series().len());
    let again = labels.dress(&dressed).expect("labels fit any table");
    assert_eq!(again, dressed, "who is dressed stays so");
    parsed.map(drop)
}

fn layout() -> Layout {
    let series = |gpu: &str, rack: &str| Series {
        identity: vec!["n1".into(), gpu.into()],
        attributes: vec![rack.into()],
    };
    let series = vec![series("0", ""), series("0/3", "r9"), series("1", "")];
    let columns = vec![Column { name: "power_usage".into(), field_type: FieldType::Int32 }];
    let identity = vec!["node".into(), "gpu".into()];
    Layout::new("gpu", identity, vec!["rack".into()], columns, series).expect("a sound layout")
}

/// A file of fields, alone. What is taken is found again under each of its names.
pub fn dictionary(input: &[u8]) -> Verdict {
    let text = std::str::from_utf8(input).map_err(|error| error.to_string())?;
    let read = Dictionary::empty().with_text(text, "a file").map_err(|error| error.to_string())?;
    for field in read.iter() {
        assert!(!field.names.is_empty() && !field.column.is_empty());
        for name in &field.names {
            assert_eq!(read.lookup(name), Some(field));
        }
    }
    Ok(())
}
