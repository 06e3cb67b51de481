//! A table's columns and how they grow.

use super::{FieldType, Layout};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

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
    #[error("field {name:?} of table {table} is {existing}; values of type {got} are refused")]
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

    /// This schema with the layout's new attributes and fields added, or the first conflict.
    /// The answer equals `self` where the layout brings nothing new.
    pub fn evolved(&self, layout: &Layout) -> Result<Self, SchemaConflict> {
        if self.identity != layout.identity_tags() {
            return Err(SchemaConflict::Identity {
                table: self.table.clone(),
                expected: self.identity.clone(),
                got: layout.identity_tags().to_vec(),
            });
        }
        let mut schema = self.clone();
        for name in layout.attribute_tags() {
            schema.check_role(name, "attribute tag")?;
            if !schema.attributes.contains(name) {
                schema.attributes.push(name.clone());
            }
        }
        for column in layout.columns() {
            schema.check_role(&column.name, "field")?;
            match schema.field(&column.name) {
                Some(field) if field.field_type != column.field_type => {
                    return Err(SchemaConflict::FieldType {
                        table: self.table.clone(),
                        name: column.name.clone(),
                        existing: field.field_type,
                        got: column.field_type,
                    });
                }
                Some(_) => {}
                None => schema
                    .fields
                    .push(Field { name: column.name.clone(), field_type: column.field_type }),
            }
        }
        Ok(schema)
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
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
            "identity tag"
        } else if self.attributes.iter().any(same) {
            "attribute tag"
        } else if self.fields.iter().any(|f| same(&f.name)) {
            "field"
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
pub(super) fn tag_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}
