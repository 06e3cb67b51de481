//! Names of tables and columns made of what senders call things.

/// Columns that every table has anyway.
const RESERVED: [&str; 2] = ["time", "date"];

/// The name with `_` for what may not stand in one; behind a reserved one, and in front of a digit.
pub(super) fn cleaned(name: &str) -> String {
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
