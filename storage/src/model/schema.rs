//! A table's columns and how they grow.

use super::{Column, FieldType, Layout};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

const IDENTITY: &str = "identity tag";
const ATTRIBUTE: &str = "attribute tag";
const FIELD: &str = "field";

/// A field of a table. It keeps the type it was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Arc<str>,
    pub field_type: FieldType,
}

/// `time`, the identity tags, the attribute tags, the fields; in this order in Arrow and SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    pub table: Arc<str>,
    pub identity: Vec<Arc<str>>,
    pub attributes: Vec<Arc<str>>,
    pub fields: Vec<Field>,
}

/// Why a layout cannot write to a table as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaConflict {
    #[error(
        "table {table} is identified by {expected:?}, the layout by {got:?}: name the same identity tags in the same order"
    )]
    Identity { table: Arc<str>, expected: Vec<Arc<str>>, got: Vec<Arc<str>> },
    #[error("{name:?} is a {existing} of table {table} and cannot also be a {wanted}")]
    Role { table: Arc<str>, name: Arc<str>, existing: &'static str, wanted: &'static str },
    #[error("field {name:?} of table {table} is {existing} and cannot become {got}")]
    FieldType { table: Arc<str>, name: Arc<str>, existing: FieldType, got: FieldType },
}

impl TableSchema {
    /// The schema of the table that a first layout creates.
    pub fn of(layout: &Layout) -> Self {
        let fields = layout.columns().iter();
        Self {
            table: layout.table().clone(),
            identity: layout.identity_tags().to_vec(),
            attributes: layout.attribute_tags().to_vec(),
            fields: fields
                .map(|c| Field { name: c.name.clone(), field_type: c.field_type })
                .collect(),
        }
    }

    /// The number of the first field's column in the Arrow schema.
    pub fn first_field(&self) -> usize {
        1 + self.identity.len() + self.attributes.len()
    }

    /// Attributes and fields: the columns that layouts can add to.
    pub(crate) fn columns(&self) -> usize {
        self.attributes.len() + self.fields.len()
    }

    /// The names of the columns, in the order of the Arrow schema.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let tags = self.identity.iter().chain(&self.attributes);
        let fields = self.fields.iter().map(|field| &field.name);
        std::iter::once("time").chain(tags.chain(fields).map(|name| &**name))
    }

    /// This schema grown by what is new in `layout`, the layout in this schema's own types, and
    /// the attributes and columns that could not be taken. Without its identity tags a layout is refused whole.
    pub(crate) fn admit(
        &self,
        layout: &Layout,
    ) -> Result<(Self, Layout, Vec<SchemaConflict>), SchemaConflict> {
        if self.identity != layout.identity_tags() {
            return Err(SchemaConflict::Identity {
                table: self.table.clone(),
                expected: self.identity.clone(),
                got: layout.identity_tags().to_vec(),
            });
        }
        let mut schema = self.clone();
        let mut refused = Vec::new();
        let mut attributes = Vec::with_capacity(layout.attribute_tags().len());
        for name in layout.attribute_tags() {
            let known = schema.check_role(name, ATTRIBUTE).map(|()| schema.admit_attribute(name));
            attributes.push(known.map_err(|conflict| refused.push(conflict)).ok());
        }
        let mut columns = Vec::with_capacity(layout.columns().len());
        for column in layout.columns() {
            match schema.check_role(&column.name, FIELD) {
                Ok(()) => columns.push(schema.admit_column(column)),
                Err(conflict) => refused.push(conflict),
            }
        }
        Ok((schema, layout.recast(&attributes, columns), refused))
    }

    fn admit_attribute(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.attributes.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            return known.clone();
        }
        self.attributes.push(name.clone());
        name.clone()
    }

    fn admit_column(&mut self, column: &Column) -> Column {
        if let Some(field) = self.field(&column.name) {
            return Column { name: field.name.clone(), field_type: field.field_type };
        }
        let (name, field_type) = (column.name.clone(), column.field_type);
        self.fields.push(Field { name, field_type });
        column.clone()
    }

    /// The field of that name; names differ by more than case.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The schema of record batches and Parquet files: tags as dictionaries, fields as stored.
    pub fn arrow(&self) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![ArrowField::new("time", time, false)];
        fields.extend(self.identity.iter().map(|n| ArrowField::new(&**n, tag_type(), false)));
        fields.extend(self.attributes.iter().map(|n| ArrowField::new(&**n, tag_type(), true)));
        fields.extend(
            self.fields.iter().map(|f| ArrowField::new(&*f.name, f.field_type.arrow(), true)),
        );
        Arc::new(Schema::new(fields))
    }

    fn check_role(&self, name: &Arc<str>, wanted: &'static str) -> Result<(), SchemaConflict> {
        let same = |other: &Arc<str>| other.eq_ignore_ascii_case(name);
        let existing = if self.identity.iter().any(same) {
            IDENTITY
        } else if self.attributes.iter().any(same) {
            ATTRIBUTE
        } else if self.fields.iter().any(|f| same(&f.name)) {
            FIELD
        } else {
            return Ok(());
        };
        if existing == wanted {
            return Ok(());
        }
        Err(SchemaConflict::Role {
            table: self.table.clone(),
            name: name.clone(),
            existing,
            wanted,
        })
    }
}

/// Tags are dictionaries: sorted by identity they are runs of one code.
pub(crate) fn tag_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}
