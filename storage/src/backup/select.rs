//! Which files of a table's Delta log make a version of it.

use std::collections::{BTreeMap, BTreeSet};

/// The names of files that make one version readable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// The checkpoint, or version 0.
    pub(super) heads: Vec<String>,
    /// The versions after it, ascending.
    pub(super) rest: Vec<String>,
}

/// What makes `version`, among `names` of a `_delta_log` folder: its newest checkpoint and every
/// version since. `None` where one of them is gone.
pub(super) fn select<'a>(
    names: impl IntoIterator<Item = &'a str>,
    version: u64,
) -> Option<Selected> {
    let (mut commits, mut checkpoints) = (BTreeSet::new(), BTreeMap::new());
    for name in names {
        let Some((digits, kind)) = name.split_at_checked(20) else { continue };
        let Ok(number) = digits.parse::<u64>() else { continue };
        if number > version {
            continue;
        }
        match kind {
            ".json" => {
                commits.insert(number);
            }
            _ => {
                if let Some((part, parts)) = part_of(kind) {
                    let known: &mut BTreeSet<_> = checkpoints.entry((number, parts)).or_default();
                    known.insert((part, name.to_owned()));
                }
            }
        }
    }
    let whole = |((_, parts), known): &(&(u64, u64), &BTreeSet<_>)| known.len() as u64 == *parts;
    let newest = checkpoints.iter().rev().find(whole);
    let commit = |number: u64| format!("{number:020}.json");
    let (heads, first) = match newest {
        Some(((number, _), parts)) => {
            (parts.iter().map(|(_, name)| name.clone()).collect(), number + 1)
        }
        None => (vec![commit(0)], 1),
    };
    let there = newest.is_some() || commits.contains(&0);
    let all = there && (first..=version).all(|number| commits.contains(&number));
    // The commit that a checkpoint was made of is not needed, but readers like to see one.
    let own = newest.map(|((number, _), _)| *number).filter(|number| commits.contains(number));
    let rest = own.into_iter().chain(first..=version).map(commit);
    all.then(|| Selected { heads, rest: rest.collect() })
}

/// Of the end of a name: which part of a checkpoint of how many it is.
fn part_of(kind: &str) -> Option<(u64, u64)> {
    let middle = kind.strip_prefix(".checkpoint")?.strip_suffix("parquet")?;
    let parts: Vec<&str> = middle.split('.').filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [] => Some((1, 1)),
        [part, parts] => Some((part.parse().ok()?, parts.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(version: u64) -> String {
        format!("{version:020}.json")
    }

    fn chosen(names: &[String], version: u64) -> Option<(Vec<String>, Vec<String>)> {
        let found = select(names.iter().map(String::as_str), version);
        found.map(|selected| (selected.heads, selected.rest))
    }

    #[test]
    fn a_log_without_checkpoints_is_all_its_versions() {
        let names: Vec<_> = (0..5).map(json).chain(["_last_checkpoint".to_owned()]).collect();
        let wanted = (vec![json(0)], vec![json(1), json(2), json(3)]);
        assert_eq!(chosen(&names, 3), Some(wanted));
        assert_eq!(chosen(&names[1..], 3), None, "version 0 is gone");
        let hole: Vec<_> = [0, 1, 3].map(json).into();
        assert_eq!(chosen(&hole, 3), None);
    }

    #[test]
    fn a_log_begins_with_its_newest_whole_checkpoint() {
        let checkpoint =
            |version: u64, rest: &str| format!("{version:020}.checkpoint{rest}.parquet");
        let mut names: Vec<_> = (8..13).map(json).collect();
        names.push(checkpoint(7, ""));
        names.push(checkpoint(10, ""));
        names.push(checkpoint(12, ""));
        let wanted = (vec![checkpoint(10, "")], vec![json(10), json(11)]);
        assert_eq!(chosen(&names, 11), Some(wanted));
        let wanted = (vec![checkpoint(7, "")], vec![json(8), json(9)]);
        assert_eq!(chosen(&names, 9), Some(wanted));
        names.push(checkpoint(11, ".0000000001.0000000002"));
        assert_eq!(chosen(&names, 11).unwrap().0, [checkpoint(10, "")], "half a checkpoint");
        names.push(checkpoint(11, ".0000000002.0000000002"));
        assert_eq!(chosen(&names, 11).unwrap().0.len(), 2);
    }
}
