//! One measurement's table: which tags identify its rows, and its fields.

use super::Refusal;
use crate::naming::{MORE_TAGS, built_in_identity, cleaned};
use crate::pages::Pages;
use crate::refused::{Reason, Refused};
use hashbrown::HashMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use warpline_storage::model::{
    Block, Column, FieldType, MAX_NAME_BYTES, MAX_TAG_BYTES, Timestamp, Value,
};
use warpline_storage::{Storage, StorageError};

/// Fields of one table that are remembered.
const MAX_FIELDS: usize = 4_096;

#[derive(Debug)]
pub(super) struct LineTable {
    name: Arc<str>,
    identity: Vec<Arc<str>>,
    pages: Pages,
    /// By the sender's name of a field: its column, or why it cannot be one.
    columns: HashMap<Box<str>, Result<u32, String>>,
}

impl LineTable {
    /// `stored` is how the table is identified, if there is one.
    pub(super) fn new(
        name: Arc<str>,
        tags: BTreeSet<Arc<str>>,
        stored: Option<Vec<Arc<str>>>,
    ) -> Self {
        let built_in = || built_in_identity(&name);
        let identity = stored.or_else(built_in).unwrap_or_else(|| first_identity(tags));
        let pages = Pages::new(name.clone(), identity.clone());
        Self { name, identity, pages, columns: HashMap::new() }
    }

    /// The number of the thing that a point's tags name.
    pub(super) fn thing<'a>(
        &mut self,
        tags: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<u32, String> {
        let mut own: BTreeMap<String, Cow<'a, str>> = BTreeMap::new();
        for (key, value) in tags {
            check_length(&key, value.len())?;
            if own.insert(cleaned(&key), value).is_some() {
                return Err(format!("the tag {key:?} is given twice"));
            }
        }
        let mut identity: Vec<Arc<str>> = Vec::with_capacity(self.identity.len());
        for name in &self.identity {
            identity.push(own.remove(&**name).map_or_else(|| "".into(), Into::into));
        }
        if own.is_empty() {
            return Ok(self.pages.thing(identity, Vec::new()));
        }
        let Some(more) = self.identity.iter().position(|name| **name == *MORE_TAGS) else {
            let (others, known) = (own.keys(), &self.identity);
            return Err(format!(
                "table {} is identified by {known:?} and has no place for the tags {:?}: \
                 leave them out, or write to another measurement",
                self.name,
                others.collect::<Vec<_>>()
            ));
        };
        let json = serde_json::to_string(&own).map_err(|error| error.to_string())?;
        check_length(MORE_TAGS, json.len())?;
        identity[more] = json.into();
        Ok(self.pages.thing(identity, Vec::new()))
    }

    /// The number of a field's column, which is of this type if the field is new.
    pub(super) fn column(&mut self, key: &str, field_type: FieldType) -> Result<u32, Refusal> {
        if let Some(known) = self.columns.get(key) {
            return known.clone().map_err(|why| (Reason::Column, why));
        }
        if self.columns.len() >= MAX_FIELDS {
            let why = format!("table {} has {MAX_FIELDS} fields, which is the limit", self.name);
            return Err((Reason::Column, why));
        }
        let column = self.new_column(key, field_type);
        self.columns.insert(key.into(), column.clone());
        column.map_err(|why| (Reason::Column, why))
    }

    fn new_column(&mut self, key: &str, field_type: FieldType) -> Result<u32, String> {
        let name = cleaned(key);
        if name.len() > MAX_NAME_BYTES {
            return Err(format!("its name has {} bytes; at most {MAX_NAME_BYTES}", name.len()));
        }
        if self.identity.iter().any(|tag| tag.eq_ignore_ascii_case(&name)) {
            return Err(format!("{name} is a tag of table {}: rename one of them", self.name));
        }
        Ok(self.pages.columns().number(Column { name: name.into(), field_type }))
    }

    pub(super) fn add(&mut self, thing: u32, column: u32, time: Timestamp, value: Value) {
        self.pages.add(thing, column, time, Some(value));
    }

    pub(super) fn finish(
        &mut self,
        storage: &Storage,
        refused: &mut Refused,
    ) -> Result<Vec<Block>, StorageError> {
        self.pages.finish(storage, refused)
    }
}

/// The tags that the first points have, and room for others.
fn first_identity(mut tags: BTreeSet<Arc<str>>) -> Vec<Arc<str>> {
    tags.remove(MORE_TAGS);
    let mut spelt = BTreeSet::new();
    let mut identity: Vec<Arc<str>> = tags.into_iter().collect();
    // Names differ by more than case: another spelling goes to the others.
    identity.retain(|tag| tag.len() <= MAX_NAME_BYTES && spelt.insert(tag.to_ascii_lowercase()));
    identity.push(MORE_TAGS.into());
    identity
}

fn check_length(tag: &str, bytes: usize) -> Result<(), String> {
    if bytes <= MAX_TAG_BYTES {
        return Ok(());
    }
    Err(format!("the tag {tag:?} has {bytes} bytes; the limit is {MAX_TAG_BYTES}"))
}
