//! The engine: statements in, record batches out, on threads and memory of its own.

use crate::answer::{Answer, Deadline, Planning, Work, run};
use crate::catalog::{CATALOG, SCHEMA, SCHEMAS, SnapshotSchema, Source};
use crate::downsample::{DownsampleRule, UseRollups};
use crate::error::{QueryError, QueryErrorKind};
use crate::exact::ExactSums;
use crate::functions;
use crate::information::{INFORMATION_SCHEMA, Information};
use crate::metrics::{QueryCounts, QueryMetrics};
use crate::named::Named;
use crate::pg_catalog::{Directory, PG_CATALOG, PgCatalog, key};
use crate::planner::Planner;
use crate::plans::Plans;
use crate::reader::Reader;
use crate::scan::{Chunks, Footers};
use crate::settings::SessionSettings;
use crate::statement::{Statement, parse_one};
use crate::system::{MetricSource, SYSTEM, SystemSchema};
use crate::zone::InZone;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider,
};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::optimizer::{Analyzer, AnalyzerRule, OptimizerRule};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use warpline_storage::{Snapshot, Storage};

/// Schemas by name.
type Schemas = Vec<(&'static str, Arc<dyn SchemaProvider>)>;

/// Statements are planned by recursion over trees that are as deep as they have operators. Memory
/// of it that is not used is not taken.
const STACK_BYTES: usize = 128 << 20;

/// What queries may take from the machine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory of all running queries together; past it they spill, and fail where they cannot.
    pub memory_bytes: usize,
    /// Memory of one of them.
    pub statement_bytes: usize,
    /// Rows of one answer.
    pub answer_rows: u64,
    /// Memory for footers of data files, which queries share.
    pub footer_bytes: usize,
    /// Memory for decoded column chunks of data files, which queries share.
    pub chunk_bytes: usize,
    /// Optimized plans kept for statements whose text comes again.
    pub plans: usize,
    /// Where queries spill; the system's temporary folder unless given.
    pub spill_dir: Option<PathBuf>,
    /// Whether aggregates by bucket and tag go to the kernel; off to compare with DataFusion's plans.
    pub downsample: bool,
    /// Whether the operator reads rollups where they answer; off to compare with raw rows.
    pub rollups: bool,
    /// Threads for queries alone, and into how many parts a query is cut.
    pub threads: usize,
    /// How long a statement may run until its answer is ready.
    pub timeout: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            statement_bytes: 1 << 30,
            answer_rows: u64::MAX,
            footer_bytes: 128 << 20,
            chunk_bytes: 256 << 20,
            plans: 512,
            spill_dir: None,
            downsample: true,
            rollups: true,
            threads: std::thread::available_parallelism().map_or(2, NonZeroUsize::get),
            timeout: Duration::from_mins(5),
        }
    }
}

/// Answers SQL over the snapshots of one store. A cheap handle.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    /// Everything a statement's context has in common with every other's.
    base: SessionContext,
    directory: Arc<Directory>,
    system: SystemSchema,
    metrics: Arc<QueryMetrics>,
    reader: Reader,
    plans: Arc<Plans>,
    statement_bytes: usize,
    answer_rows: u64,
    timeout: Duration,
    runtime: Option<Runtime>,
}

/// Running queries are dropped at their next pause; nobody waits for them.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("timeout", &self.inner.timeout).finish_non_exhaustive()
    }
}

impl Engine {
    pub fn new(storage: Storage, options: &EngineOptions) -> Result<Self, QueryError> {
        Self::over(move || storage.snapshot(), options)
    }

    /// An engine whose `system.metrics` shows what `metrics` gives.
    pub fn observed(
        storage: Storage,
        options: &EngineOptions,
        metrics: MetricSource,
    ) -> Result<Self, QueryError> {
        Self::start(Arc::new(move || storage.snapshot()), options, metrics)
    }

    /// An engine whose statements each read one snapshot that `source` gives.
    pub fn over(
        source: impl Fn() -> Snapshot + Send + Sync + 'static,
        options: &EngineOptions,
    ) -> Result<Self, QueryError> {
        Self::start(Arc::new(source), options, Arc::new(|_| Vec::new()))
    }

    fn start(
        source: Source,
        options: &EngineOptions,
        told: MetricSource,
    ) -> Result<Self, QueryError> {
        let metrics = Arc::<QueryMetrics>::default();
        let (snapshots, counted) = (Arc::clone(&source), Arc::clone(&metrics));
        let system = SystemSchema { snapshots, counted, metrics: told };
        let (base, directory) = base_context(&source, &system, options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("warpline-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| {
                let text = format!("cannot start the query threads: {error}");
                QueryError::new(QueryErrorKind::Internal, text)
            })?;
        let inner = Inner {
            source,
            base,
            directory,
            system,
            metrics,
            reader: Reader::new(),
            plans: Arc::new(Plans::new(options.plans)),
            statement_bytes: options.statement_bytes,
            answer_rows: options.answer_rows,
            timeout: options.timeout,
            runtime: Some(runtime),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers one statement over the newest snapshot.
    pub async fn query(&self, sql: &str) -> Result<Answer, QueryError> {
        self.query_with(sql, &SessionSettings::default()).await
    }

    pub async fn query_with(
        &self,
        sql: &str,
        settings: &SessionSettings,
    ) -> Result<Answer, QueryError> {
        let deadline = self.deadline(settings.statement_timeout());
        let (engine, sql, settings) = (self.clone(), sql.to_owned(), settings.clone());
        let plan = async move {
            let parse = || parse_one(engine.reader(), &sql);
            engine.statement(&settings).plan(&sql, parse).await
        };
        self.execute(Box::pin(plan), deadline).await
    }

    pub fn metrics(&self) -> QueryCounts {
        self.inner.metrics.counts()
    }

    /// How many tasks work for queries at this moment.
    pub fn running_tasks(&self) -> usize {
        self.runtime().metrics().num_alive_tasks()
    }

    /// When a statement that begins now must be done; a client may ask for less time.
    pub(crate) fn deadline(&self, own: Option<Duration>) -> Deadline {
        Deadline::after(own.unwrap_or(self.inner.timeout).min(self.inner.timeout))
    }

    /// Plans and runs; the answer's first batch is ready or the statement is done when it returns.
    pub(crate) async fn execute(
        &self,
        plan: Planning,
        deadline: Deadline,
    ) -> Result<Answer, QueryError> {
        let begun = Instant::now();
        let answer = run(self.runtime(), plan, deadline, self.inner.answer_rows).await;
        self.inner.metrics.ended(&answer, begun.elapsed());
        answer
    }

    /// A context over the newest snapshot, for one statement.
    pub(crate) fn statement(&self, settings: &SessionSettings) -> Statement {
        let snapshot = (self.inner.source)();
        let catalogs = MemoryCatalogProviderList::new();
        let catalog = MemoryCatalogProvider::new();
        let register = |name: &str, schema: Arc<dyn SchemaProvider>| {
            catalog.register_schema(name, schema).expect("a catalog in memory takes any schema");
        };
        let named = Arc::new(Named::default());
        let schemas = self.schemas_of(&snapshot, &named, settings);
        for (name, schema) in &schemas {
            register(name, Arc::clone(schema));
        }
        let information = Information { schemas, snapshot: snapshot.clone() };
        register(INFORMATION_SCHEMA, Arc::new(information));
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut state = self.inner.base.state();
        state.register_catalog_list(Arc::new(catalogs));
        if let Some(rollups) = settings.rollups() {
            state.config_mut().set_extension(Arc::new(UseRollups(rollups)));
        }
        if *settings != SessionSettings::default() {
            let options = state.config_mut().options_mut();
            if let Some(schema) = settings.schema() {
                schema.clone_into(&mut options.catalog.default_schema);
            }
            options.extensions.insert(settings.clone());
            // Functions see what is set as it is now.
            state.mark_start_execution();
        }
        let plans = settings.plans_as_usual().then(|| Arc::clone(&self.inner.plans));
        Statement::new(snapshot, named, self.inner.statement_bytes, plans, state)
    }

    /// The schemas over a snapshot. `named` learns which columns a statement means.
    fn schemas_of(
        &self,
        snapshot: &Snapshot,
        named: &Arc<Named>,
        settings: &SessionSettings,
    ) -> Schemas {
        let pg_catalog = PgCatalog {
            directory: Arc::clone(&self.inner.directory),
            snapshot: snapshot.clone(),
            settings: settings.clone(),
        };
        let mut schemas: Schemas =
            vec![(PG_CATALOG, Arc::new(pg_catalog)), (SYSTEM, Arc::new(self.inner.system.clone()))];
        for (name, show) in SCHEMAS {
            let (snapshot, named) = (snapshot.clone(), Arc::clone(named));
            schemas.push((name, Arc::new(SnapshotSchema { snapshot, show, named })));
        }
        schemas
    }

    /// The schemas over the newest snapshot, for listings.
    pub(crate) fn schemas(&self) -> Schemas {
        let named = Arc::new(Named::default());
        self.schemas_of(&(self.inner.source)(), &named, &SessionSettings::default())
    }

    /// What tells the rows of a table apart: its identity and the time.
    pub(crate) fn key(&self, table: &str) -> Option<Vec<String>> {
        let snapshot = (self.inner.source)();
        Some(key(snapshot.table(table)?).map(str::to_owned).collect())
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// Runs work of a statement on the query threads; dropping the answer stops it.
    pub(crate) fn on_query_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Work<T> {
        Work::new(self.runtime().spawn(work))
    }

    fn runtime(&self) -> &tokio::runtime::Handle {
        self.inner.runtime.as_ref().expect("the runtime lives as long as the engine").handle()
    }
}

fn base_context(
    source: &Source,
    system: &SystemSchema,
    options: &EngineOptions,
) -> DataFusionResult<(SessionContext, Arc<Directory>)> {
    let catalog = Arc::new(MemoryCatalogProvider::new());
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::clone(&catalog) as _);
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(session_config(options))
        .with_runtime_env(runtime_env(options)?)
        .with_catalog_list(Arc::new(catalogs))
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(optimizer_rules(options))
        .with_query_planner(Arc::new(Planner))
        .build();
    let context = SessionContext::new_with_state(state);
    setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|error| *error)?;
    let library = catalog.schema(PG_CATALOG).expect("it was just registered");
    let directory = Directory::new(Arc::clone(source), library, Arc::new(system.clone()));
    let directory = Arc::new(directory);
    functions::register(&context, &directory)?;
    Ok((context, directory))
}

fn session_config(options: &EngineOptions) -> SessionConfig {
    let mut config = SessionConfig::new();
    // `now()` is a time with a zone, as in PostgreSQL.
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config.options_mut().extensions.insert(SessionSettings::default());
    config
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(options.threads.max(1))
        .with_extension(Arc::new(Footers::new(options.footer_bytes)))
        .with_extension(Arc::new(Chunks::new(options.chunk_bytes)))
        .with_extension(Arc::new(UseRollups(options.rollups)))
}

fn runtime_env(options: &EngineOptions) -> DataFusionResult<Arc<RuntimeEnv>> {
    let named = NonZeroUsize::new(3).expect("three is not zero");
    let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), named);
    let mut builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool));
    if let Some(folder) = &options.spill_dir {
        builder = builder.with_temp_file_path(folder);
    }
    builder.build_arc()
}

/// The operator's rule sees aggregates after every other rule, but before counters are lowered.
fn optimizer_rules(options: &EngineOptions) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut taking: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    if options.downsample {
        taking.push(Arc::new(DownsampleRule));
    }
    functions::optimizer_rules(taking)
}

/// Our rules come before types are coerced, but for the one that needs them so; see each.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = functions::analyzer_rules();
    rules.push(Arc::new(ExactSums));
    rules.push(Arc::new(InZone));
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(functions::CheckedConstants));
    rules
}
