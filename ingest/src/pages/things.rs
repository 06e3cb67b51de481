//! Series with their attributes, by number, and where each has its place.

use crate::naming::Attributes;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;
use warpline_storage::StorageError;
use warpline_storage::model::Series;

/// Names of attributes in one layout: each of its series has a value for each of them.
const MAX_ATTRIBUTES: usize = 1_024;

/// A place in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) page: u32,
    pub(super) index: u32,
}

#[derive(Debug)]
struct Thing {
    identity: Vec<Arc<str>>,
    /// Sorted by name.
    attributes: Attributes,
    home: Option<Home>,
}

#[derive(Debug, Default)]
pub(super) struct Things {
    all: Vec<Thing>,
    by_content: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Things {
    pub(super) fn number(&mut self, identity: Vec<Arc<str>>, attributes: Attributes) -> u32 {
        self.number_within(identity, attributes, usize::MAX).expect("there is always room")
    }

    /// `None` where the thing is new and as many as `most` have numbers.
    pub(super) fn number_within(
        &mut self,
        identity: Vec<Arc<str>>,
        mut attributes: Attributes,
        most: usize,
    ) -> Option<u32> {
        attributes.sort();
        let (all, hasher) = (&self.all, &self.hasher);
        let hash = hasher.hash_one((&identity, &attributes));
        let same = |other: &u32| {
            let other = &all[*other as usize];
            other.identity == identity && other.attributes == attributes
        };
        let hash_of = |other: &u32| {
            let other = &all[*other as usize];
            hasher.hash_one((&other.identity, &other.attributes))
        };
        match self.by_content.entry(hash, same, hash_of) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) if all.len() >= most => None,
            Entry::Vacant(place) => {
                let number = all.len() as u32;
                place.insert(number);
                self.all.push(Thing { identity, attributes, home: None });
                Some(number)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn home(&self, thing: u32) -> Option<Home> {
        self.all[thing as usize].home
    }

    /// Gives a thing its place and answers the one that it leaves.
    pub(super) fn move_to(&mut self, thing: u32, home: Home) -> Option<Home> {
        self.all[thing as usize].home.replace(home)
    }

    /// Those of a page's things that still live there.
    pub(super) fn living<'a>(&'a self, of: &'a [u32], page: u32) -> impl Iterator<Item = u32> + 'a {
        let at_home = move |(index, thing): &(usize, &u32)| {
            self.home(**thing) == Some(Home { page, index: *index as u32 })
        };
        of.iter().enumerate().filter(at_home).map(|(_, thing)| *thing)
    }

    /// Things as a layout lists them, with the names of their attributes; an error where these are
    /// more than a layout has.
    pub(super) fn listed(&self, of: &[u32]) -> Result<(Vec<Arc<str>>, Vec<Series>), StorageError> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut numbers: HashMap<&Arc<str>, usize> = HashMap::new();
        for (name, _) in of.iter().flat_map(|thing| &self.all[*thing as usize].attributes) {
            numbers.entry(name).or_insert_with(|| {
                names.push(name.clone());
                names.len() - 1
            });
        }
        if names.len() > MAX_ATTRIBUTES {
            return Err(StorageError::rejected(format!(
                "series that come together have {} attributes; the limit is {MAX_ATTRIBUTES}",
                names.len()
            )));
        }
        let none: Arc<str> = "".into();
        let series = of.iter().map(|thing| {
            let Thing { identity, attributes, .. } = &self.all[*thing as usize];
            let mut values = vec![none.clone(); names.len()];
            for (name, value) in attributes {
                values[numbers[name]] = value.clone();
            }
            Series { identity: identity.clone(), attributes: values }
        });
        let series = series.collect();
        Ok((names, series))
    }
}
