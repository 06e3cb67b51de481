//! Which columns a statement can mean, by the words in it.
//!
//! Planning costs time for every column of a table, and a statement over a table of hundreds names
//! a few. So a statement sees the key columns of its tables and those whose names stand in its
//! text; all of them where it says `*`, reads the catalog's own tables, or names a column that is
//! not there, whose error lists what is.

use datafusion::sql::sqlparser::ast;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The words of one statement; before it is known, every column is named.
#[derive(Debug, Default)]
pub(crate) struct Named {
    words: OnceLock<HashSet<String>>,
    all: AtomicBool,
}

impl Named {
    pub(crate) fn read(&self, statement: &ast::Statement) {
        let is_query =
            matches!(statement, ast::Statement::Query(_) | ast::Statement::Explain { .. });
        let text = statement.to_string().to_ascii_lowercase();
        if is_query && !asks_for_all(&text) {
            self.words.get_or_init(|| words(&text).map(str::to_owned).collect());
        }
    }

    /// Names every column from now on; whether it did not before.
    pub(crate) fn widen(&self) -> bool {
        self.words.get().is_some() && !self.all.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        let plain = words(column).next().is_some_and(|word| word.len() == column.len());
        self.all.load(Ordering::Relaxed)
            || !plain
            || self.words.get().is_none_or(|words| words.contains(&column.to_ascii_lowercase()))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether columns can be meant without being named.
fn asks_for_all(text: &str) -> bool {
    let star = text.match_indices('*').any(|(at, _)| {
        let before = text[..at].trim_end();
        let word = words(before).last().filter(|word| before.ends_with(word));
        match (before.chars().next_back(), word) {
            (Some(',' | '.' | ')'), _) => true,
            (Some('('), _) => !before.ends_with("count("),
            (_, word) => matches!(word, Some("select" | "distinct" | "all")),
        }
    });
    let implied = ["natural", "columns", "table", "information_schema", "pg_catalog"];
    star || renames_columns(text) || words(text).any(|word| implied.contains(&word))
}

/// Whether an alias seems to come with names for columns, `AS g (a, b)`, which go by position.
fn renames_columns(text: &str) -> bool {
    text.match_indices(" as ").any(|(at, found)| {
        let alias = text[at + found.len()..].trim_start();
        let after = alias.trim_start_matches(|c: char| c == '_' || c.is_alphanumeric());
        after.len() < alias.len() && after.trim_start().starts_with('(')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_told_from_products_and_counts() {
        for all in [
            "select * from gpu",
            "select a, * from gpu",
            "select g.* from gpu as g",
            "select distinct * from gpu",
            "select count(distinct *) from gpu",
            "select distinct on (node, gpu) * from gpu",
            "select x from gpu as g (a, x)",
            "select a from gpu natural join node",
            "table gpu",
            "select column_name from information_schema.columns",
        ] {
            assert!(asks_for_all(all), "{all}");
        }
        for some in [
            "select count(*) from gpu",
            "select a * 2 from gpu",
            "select 3 * floor(a / 3) from gpu",
        ] {
            assert!(!asks_for_all(some), "{some}");
        }
    }

    #[test]
    fn words_name_columns_whatever_their_case() {
        let named = Named::default();
        assert!(named.has("power_usage"));
        named
            .words
            .get_or_init(|| words("select power_usage, b from gpu").map(String::from).collect());
        assert!(named.has("power_usage") && named.has("B") && named.has("an odd name"));
        assert!(!named.has("power") && !named.has("gpu_util"));
        assert!(named.widen() && named.has("gpu_util") && !named.widen());
    }
}
