//! Any bytes as one version of a table's Delta log, as far as reading it is ours.

use super::actions::file_of;
use crate::fuzzing::Verdict;
use crate::snapshot::DataFile;
use crate::table::files::{Listed, text_time, time_text};
use crate::table::log::{Covered, Mark};
use crate::table::schema::{self, DEDUPLICATED_UNTIL, table_schema};
use deltalake::kernel::{Action, Add, Metadata};
use deltalake::logstore::get_actions;
use std::collections::HashMap;

/// The crate finds the actions; what it says of files, columns and marks is read by us. What was
/// read can be written again and is read as the same.
pub fn commit(input: &[u8]) -> Verdict {
    let actions = get_actions(0, &bytes::Bytes::copy_from_slice(input));
    let mut verdict = Ok(());
    for action in actions.map_err(|error| error.to_string())? {
        let read = match action {
            Action::Add(add) => file(&add),
            Action::Metadata(metadata) => columns(&metadata),
            Action::Txn(txn) => {
                covered(&Mark { name: txn.app_id, value: txn.version });
                Ok(())
            }
            _ => Ok(()),
        };
        verdict = verdict.and(read);
    }
    verdict
}

fn file(add: &Add) -> Verdict {
    let file = file_of("t", add).map_err(|error| error.to_string())?;
    let DataFile { bytes, rows, times, .. } = &file;
    assert!(file.path.as_ref().starts_with("t/"), "{} lies outside of its table", file.path);
    assert!(bytes.checked_mul(1_000).is_some() && rows.checked_mul(1_000).is_some());
    assert!(times.first <= times.last);
    for time in [times.first, times.last] {
        assert_eq!(text_time(&time_text(time)), Some(time));
    }
    drop(Listed::new(file, add.stats.as_deref(), &add.tags.clone().unwrap_or_default()));
    Ok(())
}

fn columns(metadata: &Metadata) -> Verdict {
    // The crate's own text may hold a backtrace, which takes more memory than all else.
    let columns = metadata.parse_schema().map_err(|_| "the schema cannot be read".to_owned())?;
    let configuration = metadata.configuration();
    let read = table_schema("t", &columns, configuration).map_err(|error| error.to_string())?;
    let until = configuration.get(DEDUPLICATED_UNTIL).and_then(|text| text_time(text));
    if let Some(until) = until {
        assert_eq!(text_time(&time_text(until)), Some(until));
    }
    let written = schema::columns(&read).map_err(|error| error.to_string())?;
    let written = deltalake::kernel::StructType::try_new(written);
    let properties: HashMap<String, String> =
        schema::properties(&read).map(|(name, value)| (name.to_owned(), value)).into();
    let again = table_schema("t", &written.expect("columns with names of their own"), &properties);
    assert_eq!(again.expect("what was written is read"), read);
    Ok(())
}

fn covered(mark: &Mark) {
    if let Some(covered) = Covered::of(mark) {
        assert_eq!(Covered::of(&covered.mark()), Some(covered));
    }
}
