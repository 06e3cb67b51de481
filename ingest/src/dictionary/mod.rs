//! The field dictionary: what each exporter's name of a GPU field means, and which column and
//! type it becomes. The facts are data (`ingest/fields/dcgm.csv`), and users can add their own.

mod blank;
mod read;

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use warpline_storage::model::FieldType;

pub use blank::is_blank;
pub use read::DictionaryError;

const DCGM: &str = include_str!("../../fields/dcgm.csv");

/// One field under all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryField {
    /// DCGM's number; `None` for what an exporter or a user counts.
    pub id: Option<u16>,
    /// Every name it is exported under, the present one first. Never empty.
    pub names: Vec<Arc<str>>,
    /// The column in table `gpu`; the first name where `role` is `Metric`.
    pub column: Arc<str>,
    /// Of the numbers in the column; empty where they have none.
    pub unit: Arc<str>,
    pub kind: Kind,
    pub role: Role,
}

/// What a field's numbers can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Goes up and down: averages make sense.
    Gauge,
    /// Grows and resets: its increase makes sense.
    Counter,
    /// Yes or no, or a mask of bits.
    Flag,
    /// A code that names something.
    Enum,
    /// Text, sent as a label.
    Label,
}

/// Where a field's values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A column of table `gpu`.
    Field(FieldType),
    /// An attribute column of table `gpu`.
    Tag,
    /// Rows of table `metric`: one GPU has several of them, told apart by their labels.
    Metric,
}

/// Fields by name.
#[derive(Clone, Debug)]
pub struct Dictionary {
    fields: Vec<DictionaryField>,
    by_name: HashMap<Arc<str>, usize>,
    by_column: HashMap<Arc<str>, usize>,
}

impl Dictionary {
    /// The fields of DCGM 4.6 that are about a GPU, old names included.
    pub fn builtin() -> Self {
        let read = Self::empty().with_text(DCGM, "dcgm.csv");
        read.expect("the built-in dictionary is well-formed")
    }

    pub(crate) fn empty() -> Self {
        Self { fields: Vec::new(), by_name: HashMap::new(), by_column: HashMap::new() }
    }

    /// This dictionary and the fields of a file with the same columns.
    fn with_file(self, path: &Path) -> Result<Self, DictionaryError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| DictionaryError::Unreadable { origin: origin.clone(), error })?;
        self.with_text(&text, &origin)
    }

    /// The built-in dictionary, with the fields of a file added where one is named.
    pub fn with(file: Option<&Path>) -> Result<Self, DictionaryError> {
        let builtin = Self::builtin();
        match file {
            Some(file) => builtin.with_file(file),
            None => Ok(builtin),
        }
    }

    /// This dictionary and the fields of a CSV text; `origin` names it in errors.
    pub fn with_text(mut self, text: &str, origin: &str) -> Result<Self, DictionaryError> {
        for entry in read::entries(text, origin) {
            let (line, field) = entry?;
            self.add(field).map_err(|reason| DictionaryError::line(origin, line, reason))?;
        }
        Ok(self)
    }

    /// The field that an exporter calls `name`, as a sample or as a label.
    pub fn lookup(&self, name: &str) -> Option<&DictionaryField> {
        self.by_name.get(name).map(|at| &self.fields[*at])
    }

    /// The field or tag behind a column of table `gpu`.
    pub fn column(&self, column: &str) -> Option<&DictionaryField> {
        self.by_column.get(column).map(|at| &self.fields[*at])
    }

    /// All fields, in the order of their files.
    pub fn iter(&self) -> impl Iterator<Item = &DictionaryField> {
        self.fields.iter()
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn add(&mut self, field: DictionaryField) -> Result<(), String> {
        let at = self.fields.len();
        for name in &field.names {
            if self.by_name.insert(name.clone(), at).is_some() {
                return Err(format!("{name} is defined twice: remove one"));
            }
        }
        if field.role != Role::Metric && self.by_column.insert(field.column.clone(), at).is_some() {
            return Err(format!("two fields have the column {}: rename one", field.column));
        }
        self.fields.push(field);
        Ok(())
    }
}

impl DictionaryField {
    /// The type as the dictionary's files write it.
    pub fn type_name(&self) -> String {
        match self.role {
            Role::Field(field_type) => field_type.to_string(),
            Role::Tag => "tag".to_owned(),
            Role::Metric => "metric".to_owned(),
        }
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Flag => "flag",
            Self::Enum => "enum",
            Self::Label => "label",
        }
    }
}

#[cfg(test)]
mod tests;
