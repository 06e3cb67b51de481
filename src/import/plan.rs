//! The first reading of the files: what table they make. Nothing is sent before it has ended
//! well, so where any file has an error nothing is imported.
//!
//! Promises: every value fits the type of its field; every column has one role, and every column
//! that the options name is there.

use super::fields::Facts;
use super::source::{Cell, Place, SourceColumn, Visitor};
use super::time::TimeFormat;
use super::{ImportError, ImportOptions};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use warpline_storage::model::{Column, FieldType, Layout, Series, Timestamp};

/// Series per layout: few enough that a layout fits a frame.
const LAYOUT_SERIES: usize = 16_384;

/// Which columns of the files are what, by name.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    pub(super) time: String,
    pub(super) format: TimeFormat,
    pub(super) identity: Vec<String>,
    pub(super) attributes: Vec<String>,
    skipped: Vec<String>,
    renamed: Vec<(String, String)>,
    asked: HashMap<String, FieldType>,
}

/// The files' rows as a table.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) roles: Roles,
    pub(super) fields: Vec<(String, FieldType)>,
    /// Series `n` is number `n % LAYOUT_SERIES` of layout `n / LAYOUT_SERIES`.
    pub(super) layouts: Vec<Arc<Layout>>,
    series: HashMap<Vec<u8>, u32>,
    pub(super) rows: u64,
}

/// A role with the place its column has in the file being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    time: usize,
    tags: Vec<Option<usize>>,
    /// By field number.
    pub(super) fields: Vec<Option<usize>>,
}

/// Collects the plan, file after file.
#[derive(Debug)]
pub(super) struct Planner {
    roles: Roles,
    columns: Columns,
    names: Vec<String>,
    facts: Vec<Facts>,
    series: HashMap<Vec<u8>, u32>,
    listed: Vec<Series>,
    key: Vec<u8>,
    rows: u64,
    /// Attributes and skipped columns that no file had so far, with the options that name them.
    unseen: Vec<(&'static str, String)>,
}

impl Roles {
    pub(super) fn of(options: &ImportOptions) -> Self {
        Self {
            time: options.time.clone(),
            format: TimeFormat::of(options.time_unit, options.time_format.clone()),
            identity: options.identity.clone(),
            attributes: options.attributes.clone(),
            skipped: options.skip.clone(),
            renamed: options.rename.clone(),
            asked: options.types.iter().cloned().collect(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = &String> {
        self.identity.iter().chain(&self.attributes)
    }

    fn is_field(&self, name: &str) -> bool {
        name != self.time && !self.skipped.iter().chain(self.tags()).any(|other| other == name)
    }

    /// The file's columns under the names that the roles use.
    fn renamed(
        &self,
        file: &Path,
        columns: &[SourceColumn],
    ) -> Result<Vec<SourceColumn>, ImportError> {
        let mut renamed = columns.to_vec();
        for (old, new) in &self.renamed {
            let at = columns.iter().position(|column| column.name == *old);
            renamed[at.ok_or_else(|| no_column(file, old, columns))?].name.clone_from(new);
        }
        self.check_unique(file, &renamed)?;
        Ok(renamed)
    }

    fn check_unique(&self, file: &Path, columns: &[SourceColumn]) -> Result<(), ImportError> {
        for (at, SourceColumn { name, .. }) in columns.iter().enumerate() {
            let again = columns[..at].iter().any(|column| column.name == *name);
            if again && !self.skipped.contains(name) {
                return Err(ImportError(format!(
                    "{}: two columns are named {name:?}; give the first another name with \
                     --rename '{name}=NAME', or leave both out with --skip '{name}'",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    /// The roles' places in a file's columns; identity and time must be there.
    fn places(&self, file: &Path, columns: &[SourceColumn]) -> Result<Columns, ImportError> {
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let missing = |name: &String| no_column(file, name, columns);
        for name in &self.identity {
            place(name).ok_or_else(|| missing(name))?;
        }
        let time = place(&self.time).ok_or_else(|| missing(&self.time))?;
        Ok(Columns { time, tags: self.tags().map(place).collect(), fields: Vec::new() })
    }

    /// The row's time.
    pub(super) fn time(
        &self,
        columns: &Columns,
        place: Place<'_>,
        cells: &[Cell<'_>],
    ) -> Result<Timestamp, ImportError> {
        let time = match cells[columns.time] {
            Cell::Time(time) => Ok(time),
            Cell::Int(value) => self.format.read_integer(value),
            Cell::Float(value) => self.format.read(&value.to_string()),
            Cell::Text(text) => self.format.read(text),
            Cell::Null => Err("it is empty".to_owned()),
        };
        time.map_err(|reason| place.error(format!("column {}: {reason}", self.time)))
    }
}

fn no_column(file: &Path, name: &str, columns: &[SourceColumn]) -> ImportError {
    let there: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let there = there.join(", ");
    ImportError(format!("{}: no column {name:?}; it has {there}", file.display()))
}

impl Columns {
    /// The row's tag values, each with its length before it, in `key`.
    fn write_key(&self, cells: &[Cell<'_>], key: &mut Vec<u8>) {
        key.clear();
        for at in &self.tags {
            let start = key.len();
            key.extend_from_slice(&[0; 4]);
            match at.map_or(Cell::Null, |at| cells[at]) {
                Cell::Null => {}
                Cell::Text(text) => key.extend_from_slice(text.as_bytes()),
                Cell::Int(value) | Cell::Time(value) => {
                    key.extend_from_slice(value.to_string().as_bytes());
                }
                Cell::Float(value) => key.extend_from_slice(value.to_string().as_bytes()),
            }
            let length = (key.len() - start - 4) as u32;
            key[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// The tag values that [`Columns::write_key`] wrote.
fn tags_of_key(mut key: &[u8]) -> Vec<Arc<str>> {
    let mut tags = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let (tag, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        tags.push(String::from_utf8_lossy(tag).into());
        key = rest;
    }
    tags
}

impl Planner {
    pub(super) fn new(roles: Roles) -> Self {
        let named = |option, names: &[String]| -> Vec<(&'static str, String)> {
            names.iter().map(|name| (option, name.clone())).collect()
        };
        Self {
            unseen: [named("--attributes", &roles.attributes), named("--skip", &roles.skipped)]
                .concat(),
            roles,
            columns: Columns::default(),
            names: Vec::new(),
            facts: Vec::new(),
            series: HashMap::new(),
            listed: Vec::new(),
            key: Vec::new(),
            rows: 0,
        }
    }

    /// The table that everything read makes.
    pub(super) fn finish(self, table: &str) -> Result<Plan, ImportError> {
        if let Some((option, name)) = self.unseen.first() {
            return Err(ImportError(format!("{option} names {name:?}, a column that no file has")));
        }
        let mut fields = Vec::new();
        for (name, facts) in self.names.into_iter().zip(self.facts) {
            let field_type = facts.field_type(&name).map_err(ImportError)?;
            fields.push((name, field_type));
        }
        if let Some(name) = self.roles.asked.keys().find(|n| !fields.iter().any(|(f, _)| f == *n)) {
            return Err(ImportError(format!("--types names {name:?}, which is no field")));
        }
        let columns: Vec<Column> = fields
            .iter()
            .map(|(name, field_type)| Column {
                name: name_in_table(name).into(),
                field_type: *field_type,
            })
            .collect();
        let tag_names = |names: &[String]| -> Vec<Arc<str>> {
            names.iter().map(|name| name_in_table(name).into()).collect()
        };
        let (identity, attributes) =
            (tag_names(&self.roles.identity), tag_names(&self.roles.attributes));
        let layouts = self.listed.chunks(LAYOUT_SERIES).map(|series| {
            let (identity, attributes) = (identity.clone(), attributes.clone());
            Layout::new(table, identity, attributes, columns.clone(), series.to_vec()).map(Arc::new)
        });
        let layouts =
            layouts.collect::<Result<_, _>>().map_err(|error| ImportError(error.to_string()))?;
        Ok(Plan { roles: self.roles, fields, layouts, series: self.series, rows: self.rows })
    }

    fn add_series(&mut self) {
        let number = self.listed.len() as u32;
        let mut identity = tags_of_key(&self.key);
        let attributes = identity.split_off(self.roles.identity.len());
        self.listed.push(Series { identity, attributes });
        self.series.insert(self.key.clone(), number);
    }
}

impl Visitor for Planner {
    fn begin(&mut self, file: &Path, columns: &[SourceColumn]) -> Result<(), ImportError> {
        let columns = &self.roles.renamed(file, columns)?;
        self.columns = self.roles.places(file, columns)?;
        self.unseen.retain(|(_, name)| columns.iter().all(|column| column.name != *name));
        for column in columns.iter().filter(|column| self.roles.is_field(&column.name)) {
            if !self.names.contains(&column.name) {
                self.names.push(column.name.clone());
                self.facts.push(Facts::new(self.roles.asked.get(&column.name).copied()));
            }
        }
        self.columns.fields = places_of(&self.names, columns);
        for (facts, at) in self.facts.iter_mut().zip(&self.columns.fields) {
            facts.begin(at.and_then(|at| columns[at].declared));
        }
        Ok(())
    }

    fn row(&mut self, place: Place<'_>, cells: &[Cell<'_>]) -> Result<(), ImportError> {
        self.roles.time(&self.columns, place, cells)?;
        self.columns.write_key(cells, &mut self.key);
        if !self.series.contains_key(&self.key) {
            self.add_series();
        }
        for ((facts, name), at) in self.facts.iter_mut().zip(&self.names).zip(&self.columns.fields)
        {
            if let Some(at) = at {
                facts
                    .see(cells[*at])
                    .map_err(|reason| place.error(format!("column {name}: {reason}")))?;
            }
        }
        self.rows += 1;
        Ok(())
    }
}

fn places_of(names: &[String], columns: &[SourceColumn]) -> Vec<Option<usize>> {
    names.iter().map(|name| columns.iter().position(|column| column.name == *name)).collect()
}

impl Plan {
    pub(super) fn series_count(&self) -> usize {
        self.series.len()
    }

    /// The fields with their types, for people.
    pub(super) fn described(&self) -> String {
        let fields = self.fields.iter();
        let fields: Vec<String> =
            fields.map(|(name, kind)| format!("{} {kind}", name_in_table(name))).collect();
        fields.join(", ")
    }

    /// The plan's columns as they stand in a file.
    pub(super) fn columns(
        &self,
        file: &Path,
        columns: &[SourceColumn],
    ) -> Result<Columns, ImportError> {
        let columns = &self.roles.renamed(file, columns)?;
        let mut places = self.roles.places(file, columns)?;
        let names: Vec<String> = self.fields.iter().map(|(name, _)| name.clone()).collect();
        places.fields = places_of(&names, columns);
        Ok(places)
    }

    /// The layout and the series in it that a row is about; `None` where the first reading did
    /// not see it.
    pub(super) fn series(
        &self,
        columns: &Columns,
        cells: &[Cell<'_>],
        key: &mut Vec<u8>,
    ) -> Option<(usize, u32)> {
        columns.write_key(cells, key);
        let number = *self.series.get(key)? as usize;
        Some((number / LAYOUT_SERIES, (number % LAYOUT_SERIES) as u32))
    }
}

/// A column's name as tables can have it: runs of other characters become `_`.
fn name_in_table(name: &str) -> String {
    let mut clean = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.') {
            clean.push(c);
        } else if !clean.ends_with('_') {
            clean.push('_');
        }
    }
    clean.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{name_in_table, tags_of_key};

    #[test]
    fn names_are_made_usable() {
        assert_eq!(name_in_table("power.draw [W]"), "power.draw_W");
        assert_eq!(name_in_table("in_pkts"), "in_pkts");
    }

    #[test]
    fn keys_keep_tags_apart() {
        assert_eq!(
            tags_of_key(b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc"),
            ["a", "", "bc"].map(Into::into)
        );
    }
}
