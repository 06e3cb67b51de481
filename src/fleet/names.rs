//! The names in a fleet's tags, shared by all its layouts.

use super::fields::columns;
use super::load::{H100, H200};
use super::noise::{Draw, derive};
use super::schedule::Job;
use super::{FleetSpec, GPUS_PER_NODE};
use std::sync::Arc;
use warpline_storage::model::{Column, Layout, Series};

const IDENTITY: [&str; 3] = ["cluster", "node", "gpu"];
const ATTRIBUTES: [&str; 6] = ["uuid", "model", "driver", "rack", "tenant", "job"];
const DRIVERS: [&str; 3] = ["570.133.20", "570.172.08", "580.65.06"];
const TENANTS: [&str; 12] = [
    "foundation",
    "vision",
    "speech",
    "search",
    "robotics",
    "bio",
    "climate",
    "finance",
    "research-a",
    "research-b",
    "platform",
    "students",
];

#[derive(Debug)]
pub(super) struct Names {
    pub(super) cluster: Arc<str>,
    pub(super) gpus: Vec<Arc<str>>,
    models: [Arc<str>; 2],
    drivers: Vec<Arc<str>>,
    tenants: Vec<Arc<str>>,
    none: Arc<str>,
    identity: Vec<Arc<str>>,
    attributes: Vec<Arc<str>>,
    columns: Vec<Column>,
}

impl Names {
    pub(super) fn new(spec: &FleetSpec) -> Self {
        let shared = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>();
        Self {
            cluster: spec.cluster.as_str().into(),
            gpus: (0..GPUS_PER_NODE).map(|gpu| gpu.to_string().into()).collect(),
            models: [H100.name.into(), H200.name.into()],
            drivers: shared(&DRIVERS),
            tenants: shared(&TENANTS[..spec.tenants.clamp(1, TENANTS.len())]),
            none: "".into(),
            identity: shared(&IDENTITY),
            attributes: shared(&ATTRIBUTES),
            columns: columns(),
        }
    }

    pub(super) fn model(&self, name: &str) -> Arc<str> {
        self.models[usize::from(name != &*self.models[0])].clone()
    }

    pub(super) fn driver(&self, node_key: u64) -> Arc<str> {
        let draw = Draw::new(derive(node_key, 3)).between(0, 20);
        self.drivers[usize::from(draw > 10) + usize::from(draw > 17)].clone()
    }

    /// Tenant and job as labels; the first tenants run most of the jobs.
    pub(super) fn labels(&self, job: Option<&Job>) -> (Arc<str>, Arc<str>) {
        let Some(job) = job else { return (self.none.clone(), self.none.clone()) };
        let draw = &mut Draw::new(derive(job.key, 17));
        let most = draw.between(0, self.tenants.len() as i64) + 1;
        let tenant = draw.between(0, most);
        let name = format!("job-{:010x}", job.key >> 24);
        (self.tenants[tenant as usize].clone(), name.into())
    }

    pub(super) fn layout(&self, series: Vec<Series>) -> Arc<Layout> {
        let layout = Layout::new(
            "gpu",
            self.identity.clone(),
            self.attributes.clone(),
            self.columns.clone(),
            series,
        );
        Arc::new(layout.expect("names, counts and lengths are ours"))
    }
}
