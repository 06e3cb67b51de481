//! The XIDs that a GPU reports. The driver keeps its reports until the agent takes them: none is
//! missed in the count, but of several between two ticks it tells the last number alone.

use super::samples::Samples;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::{Device, Nvml};

/// A GPU may report at most so many events between two ticks; the rest come with the next.
const MAX_EVENTS: usize = 1_000;
/// What NVML calls an XID that it cannot name.
const UNKNOWN: u64 = 999;

pub(super) struct Xids {
    events: EventSet<'static>,
    last: u64,
    total: u64,
}

/// An event set tells nothing of itself.
impl std::fmt::Debug for Xids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut xids = f.debug_struct("Xids");
        xids.field("last", &self.last).field("total", &self.total).finish_non_exhaustive()
    }
}

impl Xids {
    /// `None` where the GPU has no such events. A set that cannot be registered is lost, so each
    /// GPU has its own.
    pub(super) fn watch(nvml: &'static Nvml, device: &Device<'static>) -> Option<Self> {
        let set = nvml.create_event_set().ok()?;
        let events = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok()?;
        Some(Self { events, last: 0, total: 0 })
    }

    /// The last one since the agent started, and how many there were.
    pub(super) fn read(&mut self, out: &mut Samples<'_>) {
        for _ in 0..MAX_EVENTS {
            let Ok(event) = self.events.wait(0) else { break };
            self.last = match event.event_data {
                Some(XidError::Value(xid)) => xid,
                Some(XidError::Unknown) => UNKNOWN,
                None => continue,
            };
            self.total += 1;
        }
        out.put("DCGM_FI_DEV_XID_ERRORS", self.last);
        out.put("WARPLINE_XID_ERRORS_TOTAL", self.total);
    }
}
