//! What each column of a stream is in its table.
//!
//! ```text
//! the table is there         what the column is there; a new column of text is an attribute, or,
//!                            where the table has more_tags, a key of it; new numbers are a field
//! gpu, node, metric          the same, by what the server makes of them itself
//! a new table                text identifies, unless its metadata says otherwise; numbers are
//!                            fields. Where no column says that it identifies, more_tags does too
//! ```
//! A column that cannot be taken is left out and told; one that would identify rows is the
//! stream's end, because without it rows of different things would become one.

use super::numbers::field_type;
use super::schema::{Column, Kind, Role};
use super::{FlightError, malformed};
use crate::dictionary::{self, Dictionary};
use crate::naming::{
    GPU_TABLE, METRIC_ATTRIBUTES, METRIC_TABLE, MORE_TAGS, built_in_identity, check_name,
    metric_column,
};
use crate::node::{self, NODE_TABLE};
use arrow::datatypes::{DataType, TimeUnit};
use hashbrown::HashSet;
use std::sync::Arc;
use warpline_storage::model::{self, TableSchema};

/// Tags of a row, as many as other protocols may send.
const MAX_TAGS: usize = 128;

/// The columns of a stream, in their table.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) table: Arc<str>,
    pub(super) identity: Vec<Arc<str>>,
    /// Where the time is, and in which unit.
    pub(super) time: (usize, TimeUnit),
    pub(super) tags: Vec<(usize, Tag)>,
    pub(super) fields: Vec<(usize, model::Column)>,
    /// Columns that are not taken, and why.
    pub(super) refused: Vec<(usize, String)>,
    /// Which of the stream's columns are read.
    wanted: Vec<bool>,
}

/// Where a column of text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// By place among the identity tags.
    Identity(usize),
    Attribute(Arc<str>),
    /// A key of `more_tags`.
    More(Arc<str>),
}

/// A column of a table that the server has of itself.
enum BuiltIn {
    Field(model::Column),
    Attribute(Arc<str>),
}

/// What is known of a table before a stream writes to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) table: &'a str,
    pub(super) stored: Option<&'a TableSchema>,
    /// How rows that are not stored yet are identified.
    pub(super) identity: Option<&'a [Arc<str>]>,
    pub(super) dictionary: &'a Dictionary,
}

impl Plan {
    pub(crate) fn wanted(&self) -> &[bool] {
        &self.wanted
    }

    pub(super) fn of(columns: &[Column], known: Known<'_>) -> Result<Self, FlightError> {
        let time = time(columns)?;
        let stored = known.stored.map(|schema| schema.identity.as_slice());
        let identity = match stored.or(known.identity) {
            Some(identity) => identity.to_vec(),
            None => built_in_identity(known.table).unwrap_or_else(|| new_identity(columns, time.0)),
        };
        let mut plan = Self {
            table: known.table.into(),
            identity,
            time,
            tags: Vec::new(),
            fields: Vec::new(),
            refused: Vec::new(),
            wanted: Vec::new(),
        };
        let mut seen = HashSet::new();
        for (at, column) in columns.iter().enumerate().filter(|(at, _)| *at != time.0) {
            let twice = !seen.insert(column.name.to_ascii_lowercase());
            let taken = if twice {
                Err("another column has the name".to_owned())
            } else {
                plan.take(at, column, known)
            };
            if let Err(why) = taken {
                plan.refuse(at, column, &why, known)?;
            }
        }
        plan.finish(columns.len())
    }

    fn finish(mut self, columns: usize) -> Result<Self, FlightError> {
        self.check_tags()?;
        if self.fields.is_empty() {
            let why: Vec<&str> = self.refused.iter().map(|(_, why)| &**why).take(8).collect();
            return Err(malformed(format!(
                "no column is a field that table {} takes: send numbers. {}",
                self.table,
                why.join("; ")
            )));
        }
        self.wanted = vec![false; columns];
        let fields = self.fields.iter().map(|(at, _)| *at);
        for at in self.tags.iter().map(|(at, _)| *at).chain(fields).chain([self.time.0]) {
            self.wanted[at] = true;
        }
        Ok(self)
    }

    fn check_tags(&self) -> Result<(), FlightError> {
        if self.tags.len() > MAX_TAGS {
            let tags = self.tags.len();
            return Err(FlightError::TooLarge(format!(
                "a row has {tags} tags; the limit is {MAX_TAGS}: send numbers as numbers"
            )));
        }
        let sends = |wanted: &dyn Fn(&Tag) -> bool| self.tags.iter().any(|(_, tag)| wanted(tag));
        let more = self.identity_place(MORE_TAGS);
        let whole = sends(&|tag| matches!(tag, Tag::Identity(place) if Some(*place) == more));
        if whole && sends(&|tag| matches!(tag, Tag::More(_))) {
            return Err(malformed(format!(
                "column {MORE_TAGS:?} is sent as a whole, and new columns of text would be keys of \
                 it: send one or the other"
            )));
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        at: usize,
        column: &Column,
        why: &str,
        known: Known<'_>,
    ) -> Result<(), FlightError> {
        let why = format!("column {:?}: {why}", column.name);
        let is_new =
            column.role.is_none() && column.kind.is_text() && known.role_of(&column.name).is_none();
        let more = self.identity.iter().any(|tag| **tag == *MORE_TAGS);
        let identifies = column.role == Some(Role::Identity)
            || self.identity_place(&column.name).is_some()
            || (is_new && more);
        if identifies {
            return Err(malformed(format!(
                "{why}; without it rows of several things would be one"
            )));
        }
        self.refused.push((at, why));
        Ok(())
    }

    fn identity_place(&self, name: &str) -> Option<usize> {
        self.identity.iter().position(|tag| tag.eq_ignore_ascii_case(name))
    }

    /// Finds the column its place, or says why it has none.
    fn take(&mut self, at: usize, column: &Column, known: Known<'_>) -> Result<(), String> {
        if column.kind.is_null() {
            return Ok(());
        }
        check_name(&column.name)?;
        let place = self.identity_place(&column.name);
        let there = match place {
            Some(_) => Some(Role::Identity),
            None => known.role_of(&column.name),
        };
        if let (Some(said), Some(there)) = (column.role, there)
            && said != there
        {
            let (said, there) = (said.name(), there.name());
            return Err(format!("it is {there} of table {} and cannot be {said}", self.table));
        }
        let role = column.role.or(there).or_else(|| by_type(&column.kind));
        let is_tag = column.kind.is_text() || column.kind.is_integer();
        match (role, place) {
            (Some(Role::Identity), Some(place)) if is_tag => {
                self.tags.push((at, Tag::Identity(place)));
            }
            (Some(Role::Identity), None) => {
                let identity = &self.identity;
                return Err(format!("table {} is identified by {identity:?}", self.table));
            }
            (Some(Role::Attribute), _) if is_tag => {
                let tag = self.attribute(column, there.is_some(), known);
                self.tags.push((at, tag));
            }
            (Some(Role::Field), _) if column.kind.is_number() => {
                self.fields.push((at, known.field(column)));
            }
            (Some(role), _) => {
                return Err(format!("{} cannot be {}", column.kind.name(), role.name()));
            }
            (None, _) => {
                return Err(format!(
                    "{} is not stored: send numbers, booleans or text",
                    column.kind.name()
                ));
            }
        }
        Ok(())
    }

    fn attribute(&self, column: &Column, is_there: bool, known: Known<'_>) -> Tag {
        let more = self.identity.iter().any(|tag| **tag == *MORE_TAGS);
        if more && !is_there && column.role.is_none() {
            return Tag::More(column.name.as_str().into());
        }
        Tag::Attribute(known.attribute(&column.name))
    }
}

/// What a column is whose name nobody knows.
fn by_type(kind: &Kind) -> Option<Role> {
    if kind.is_text() {
        return Some(Role::Attribute);
    }
    kind.is_number().then_some(Role::Field)
}

/// The columns that identify the rows of a table that such a stream makes.
fn new_identity(columns: &[Column], time: usize) -> Vec<Arc<str>> {
    let others = columns.iter().enumerate().filter(|(at, _)| *at != time).map(|(_, one)| one);
    let others: Vec<&Column> = others.collect();
    let said = others.iter().any(|column| column.role == Some(Role::Identity));
    let identifies = |column: &&&Column| match column.role {
        Some(role) => role == Role::Identity,
        None => !said && column.kind.is_text(),
    };
    let mut seen = HashSet::new();
    let mut identity: Vec<Arc<str>> = Vec::new();
    for column in others.iter().filter(identifies) {
        let fits = check_name(&column.name).is_ok() && column.name != MORE_TAGS;
        if fits && seen.insert(column.name.to_ascii_lowercase()) {
            identity.push(column.name.as_str().into());
        }
    }
    if !said {
        identity.push(MORE_TAGS.into());
    }
    identity
}

fn time(columns: &[Column]) -> Result<(usize, TimeUnit), FlightError> {
    let found = columns.iter().position(|column| column.name.eq_ignore_ascii_case("time"));
    let at = found.ok_or_else(|| malformed("the schema has no column \"time\", a timestamp"))?;
    match &columns[at].kind {
        Kind::Plain(DataType::Timestamp(unit, _)) => Ok((at, *unit)),
        other => Err(malformed(format!(
            "column \"time\" is {}: send it as a timestamp, of any unit and zone",
            other.name()
        ))),
    }
}

impl Known<'_> {
    fn role_of(&self, name: &str) -> Option<Role> {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        if let Some(schema) = self.stored {
            if schema.attributes.iter().any(|tag| is(tag)) {
                return Some(Role::Attribute);
            }
            if schema.field(name).is_some() {
                return Some(Role::Field);
            }
        }
        match self.built_in(name)? {
            BuiltIn::Field(_) => Some(Role::Field),
            BuiltIn::Attribute(_) => Some(Role::Attribute),
        }
    }

    /// What the server itself makes of a name, however it is spelled.
    fn built_in(&self, name: &str) -> Option<BuiltIn> {
        let name = name.to_ascii_lowercase();
        let field =
            |field_type| BuiltIn::Field(model::Column { name: (&*name).into(), field_type });
        match self.table {
            GPU_TABLE => match self.dictionary.column(&name)?.role {
                dictionary::Role::Field(field_type) => Some(field(field_type)),
                dictionary::Role::Tag => Some(BuiltIn::Attribute((&*name).into())),
                dictionary::Role::Metric => None,
            },
            NODE_TABLE => node::column_type(&name).map(field),
            METRIC_TABLE if METRIC_ATTRIBUTES.contains(&&*name) => {
                Some(BuiltIn::Attribute((&*name).into()))
            }
            METRIC_TABLE if *name == *metric_column().name => Some(BuiltIn::Field(metric_column())),
            _ => None,
        }
    }

    /// The attribute as the table spells it.
    fn attribute(&self, name: &str) -> Arc<str> {
        let stored = self.stored.into_iter().flat_map(|schema| &schema.attributes);
        let mut same = stored.filter(|tag| tag.eq_ignore_ascii_case(name));
        same.next().cloned().unwrap_or_else(|| match self.built_in(name) {
            Some(BuiltIn::Attribute(name)) => name,
            _ => name.into(),
        })
    }

    /// The field, of the type that it has or that it gets if it is new.
    fn field(&self, column: &Column) -> model::Column {
        let name = column.name.as_str();
        if let Some(field) = self.stored.and_then(|schema| schema.field(name)) {
            return model::Column { name: field.name.clone(), field_type: field.field_type };
        }
        if let Some(BuiltIn::Field(column)) = self.built_in(name) {
            return column;
        }
        let of_kind = match &column.kind {
            Kind::Plain(data_type) => Some(field_type(data_type)),
            _ => None,
        };
        let field_type = of_kind.unwrap_or(model::FieldType::Float64);
        model::Column { name: name.into(), field_type }
    }
}
