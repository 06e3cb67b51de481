//! What tables and columns may be called, and how a table that is there from the start is
//! identified.

use super::{GPU_IDENTITY, GPU_TABLE, METRIC_IDENTITY, METRIC_TABLE};
use crate::node::{NODE_IDENTITY, NODE_TABLE};
use std::sync::Arc;
use warpline_storage::model::MAX_NAME_BYTES;

/// Columns that every table has anyway.
const RESERVED: [&str; 2] = ["time", "date"];

/// The identity tag, JSON, of what came to identify rows after their table was made.
pub(crate) const MORE_TAGS: &str = "more_tags";

/// The name with `_` for what may not stand in one; behind a reserved one, and in front of a digit.
pub(crate) fn cleaned(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    let mut cleaned: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if !cleaned.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        cleaned.insert(0, '_');
    }
    if RESERVED.iter().any(|word| cleaned.eq_ignore_ascii_case(word)) {
        cleaned.push('_');
    }
    cleaned
}

/// Why a table or column cannot be called so.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() <= MAX_NAME_BYTES && cleaned(name) == name {
        return Ok(());
    }
    Err(format!(
        "a name has 1 to {MAX_NAME_BYTES} letters, digits, '_', ':' or '.', does not begin with a \
         digit, and is not time or date"
    ))
}

/// The identity tags of a table that senders find there from the start.
pub(crate) fn built_in_identity(table: &str) -> Option<Vec<Arc<str>>> {
    match table {
        GPU_TABLE => Some(GPU_IDENTITY.map(Arc::from).to_vec()),
        NODE_TABLE => Some(NODE_IDENTITY.map(Arc::from).to_vec()),
        METRIC_TABLE => Some(METRIC_IDENTITY.map(Arc::from).to_vec()),
        _ => None,
    }
}
