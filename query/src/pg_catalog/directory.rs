//! What clients look around in: relations, under the numbers that they know them by.
//!
//! Promises: a relation keeps its number while the server runs. Those that PostgreSQL has as well
//! have PostgreSQL's.

use super::functions::Function;
use super::types::PgType;
use super::{PG_CATALOG, VIEWS, own_schema};
use crate::catalog::{LATEST, SCHEMA, Source};
use crate::information::{INFORMATION_SCHEMA, Information};
use crate::system::SYSTEM;
use crate::types::sql_schema;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::SchemaProvider;
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use warpline_storage::{Snapshot, TableSnapshot};

/// The schemas and their numbers.
pub(super) const NAMESPACES: [(&str, i32); 5] = [
    (INFORMATION_SCHEMA, 13_283),
    (LATEST, 16_380),
    (PG_CATALOG, 11),
    (SCHEMA, 2_200),
    (SYSTEM, 16_381),
];
/// From here on numbers are given to relations as they are seen.
/// Under which keys have their numbers, by their tables: a table may be called as a key is.
const KEYS: &str = "keys";
const FIRST: i32 = 16_384;

pub(crate) fn namespace(schema: &str) -> Option<i32> {
    NAMESPACES.iter().find(|(name, _)| *name == schema).map(|(_, oid)| *oid)
}

pub(crate) fn namespace_name(oid: i32) -> Option<&'static str> {
    NAMESPACES.iter().find(|(_, own)| *own == oid).map(|(name, _)| *name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    View,
    /// What keeps a table's rows apart; the number is the table's.
    Key(i32),
}

/// What has a row in `pg_class`.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) oid: i32,
    pub(crate) schema: &'static str,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) columns: SchemaRef,
    /// Numbers of the columns that tell its rows apart, where they are told.
    pub(crate) key: Vec<i16>,
    /// Of its files.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Relation {
    pub(crate) fn is(&self, schema: &str, name: &str) -> bool {
        self.schema == schema && self.name == name
    }

    pub(super) fn namespace(&self) -> i32 {
        namespace(self.schema).unwrap_or_default()
    }
}

/// The columns that tell the rows of a table apart.
pub(crate) fn key(table: &TableSnapshot) -> impl Iterator<Item = &str> {
    table.schema.identity.iter().map(|name| &**name).chain(["time"])
}

/// What the key of a table is called.
pub(crate) fn key_name(table: &str) -> String {
    format!("{table}_pkey")
}

pub(crate) type Relations = Vec<Arc<Relation>>;

/// Knows all relations of a store.
pub(crate) struct Directory {
    source: Source,
    /// The library's tables of the catalog, and the schema of the server itself.
    library: Arc<dyn SchemaProvider>,
    system: Arc<dyn SchemaProvider>,
    /// Relations that are there whatever is stored.
    fixed: OnceLock<Relations>,
    given: Mutex<HashMap<(&'static str, String), i32>>,
    functions: OnceLock<Vec<Function>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}

impl Directory {
    pub(crate) fn new(
        source: Source,
        library: Arc<dyn SchemaProvider>,
        system: Arc<dyn SchemaProvider>,
    ) -> Self {
        let (fixed, functions) = (OnceLock::new(), OnceLock::new());
        Self { source, library, system, fixed, given: Mutex::default(), functions }
    }

    /// Tells it of the functions, once.
    pub(crate) fn tell(&self, functions: Vec<Function>) {
        self.functions.get_or_init(|| functions);
    }

    pub(crate) fn functions(&self) -> &[Function] {
        self.functions.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn library(&self) -> &Arc<dyn SchemaProvider> {
        &self.library
    }

    /// The relations that there are now.
    pub(crate) fn now(&self) -> Relations {
        self.of(&(self.source)())
    }

    /// Those of a snapshot, in the order of their schemas and names.
    pub(super) fn of(&self, snapshot: &Snapshot) -> Relations {
        let mut relations = self.fixed.get_or_init(|| self.fixed()).clone();
        for table in snapshot.tables() {
            relations.extend(self.table(table).into_iter().map(Arc::new));
        }
        relations.sort_by(|one, other| (one.schema, &one.name).cmp(&(other.schema, &other.name)));
        relations
    }

    /// A table, its key, and its last rows.
    fn table(&self, table: &TableSnapshot) -> [Relation; 3] {
        let (name, columns) = (table.schema.table.to_string(), sql_schema(&table.schema));
        let numbers = key(table).filter_map(|name| columns.index_of(name).ok());
        let key: Vec<i16> = numbers.map(|number| number as i16 + 1).collect();
        let sum = |of: fn(&warpline_storage::DataFile) -> u64| {
            table.files.iter().map(|file| of(file)).sum::<u64>()
        };
        let (rows, bytes) = (sum(|file| file.rows), sum(|file| file.bytes));
        let oid = self.number(SCHEMA, &name);
        let latest = self.view(LATEST, &name, Arc::clone(&columns));
        let key_columns: Vec<usize> = key.iter().map(|number| *number as usize - 1).collect();
        let key_columns = columns.project(&key_columns).expect("they are the table's");
        let key_name = key_name(&name);
        let index = Relation {
            oid: self.number(KEYS, &name),
            schema: SCHEMA,
            name: key_name,
            kind: Kind::Key(oid),
            columns: Arc::new(key_columns),
            key: Vec::new(),
            rows: 0,
            bytes: 0,
        };
        let kind = Kind::Table;
        [Relation { oid, schema: SCHEMA, name, kind, columns, key, rows, bytes }, index, latest]
    }

    fn view(&self, schema: &'static str, name: &str, columns: SchemaRef) -> Relation {
        Relation {
            oid: self.number(schema, name),
            schema,
            name: name.to_owned(),
            kind: Kind::View,
            columns,
            key: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// The number of a relation, which it gets as it is first seen.
    fn number(&self, schema: &'static str, name: &str) -> i32 {
        let mut given = self.given.lock();
        let next = FIRST + given.len() as i32;
        *given.entry((schema, name.to_owned())).or_insert(next)
    }

    fn fixed(&self) -> Relations {
        let information =
            Information { schemas: Vec::new(), snapshot: Snapshot::new(BTreeMap::new()) };
        let described = |schema: &dyn SchemaProvider, name: &str| {
            let table = schema.table(name).now_or_never()?.ok()??;
            Some(table.schema())
        };
        let numbers: HashMap<(i32, &str), i32> = PgType::all()
            .filter(|of| of.relation != 0)
            .map(|of| ((of.namespace, of.name.as_str()), of.relation))
            .collect();
        let mut fixed = Relations::new();
        let mut add = |schema: &'static str, name: String, columns: Option<SchemaRef>| {
            let Some(columns) = columns else { return };
            let mut relation = self.view(schema, &name, columns);
            if let Some(oid) = numbers.get(&(relation.namespace(), name.as_str())) {
                relation.oid = *oid;
            }
            if schema == PG_CATALOG && !VIEWS.contains(&name.as_str()) {
                relation.kind = Kind::Table;
            }
            fixed.push(Arc::new(relation));
        };
        for name in super::names() {
            let columns = own_schema(name).or_else(|| described(&*self.library, name));
            add(PG_CATALOG, name.to_owned(), columns);
        }
        for name in information.table_names() {
            let columns = described(&information, &name);
            add(INFORMATION_SCHEMA, name, columns);
        }
        for name in self.system.table_names() {
            let columns = described(&*self.system, &name);
            add(SYSTEM, name, columns);
        }
        fixed
    }
}
