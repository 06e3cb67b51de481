//! Counters of errors that NVML tells one by one: of NVLinks and of places in memory. A name that
//! a GPU's fields give is left to them, for they come in one call.

use super::fields::Fields;
use super::samples::Samples;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, MemoryLocation};
use nvml_wrapper::enum_wrappers::nv_link::ErrorCounter;
use nvml_wrapper::sys_exports::field_id as id;

/// Links that have columns.
const LINKS: u32 = 18;
/// The links that NVML has fields for, on GPUs before Hopper.
const LINKS_WITH_FIELDS: u32 = 12;

/// One kind of error on NVLinks.
struct LinkErrors {
    /// In the middle of DCGM's names.
    name: &'static str,
    /// NVML's fields of link 0, from which those of links 1 to 5 follow, and of link 6, from which
    /// those up to link 11 do.
    first: u32,
    seventh: u32,
    all: u32,
    counter: ErrorCounter,
}

const LINK_ERRORS: [LinkErrors; 4] = [
    LinkErrors {
        name: "CRC_FLIT",
        first: id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L0,
        seventh: id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L6,
        all: id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
        counter: ErrorCounter::DlCrcFlit,
    },
    LinkErrors {
        name: "CRC_DATA",
        first: id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L0,
        seventh: id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L6,
        all: id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL,
        counter: ErrorCounter::DlCrcData,
    },
    LinkErrors {
        name: "REPLAY",
        first: id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L0,
        seventh: id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L6,
        all: id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL,
        counter: ErrorCounter::DlReplay,
    },
    LinkErrors {
        name: "RECOVERY",
        first: id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L0,
        seventh: id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L6,
        all: id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
        counter: ErrorCounter::DlRecovery,
    },
];

/// NVML's fields of errors on NVLinks, with DCGM's names for them.
pub(super) fn link_fields() -> impl Iterator<Item = (u32, String)> {
    LINK_ERRORS.iter().flat_map(|errors| {
        let links = (0..LINKS_WITH_FIELDS).map(move |link| {
            let field = if link < 6 { errors.first + link } else { errors.seventh + link - 6 };
            (field, errors.of_link(link))
        });
        links.chain([(errors.all, errors.of_all())])
    })
}

/// Asks each link for what the fields do not give. What all links have is their sum, where all are
/// asked.
pub(super) fn read_links(device: &Device<'static>, fields: &Fields, out: &mut Samples<'_>) {
    for errors in LINK_ERRORS {
        let (mut sum, mut all_asked) = (None, true);
        for link in 0..LINKS {
            let name = errors.of_link(link);
            if fields.give(&name) {
                all_asked = false;
                continue;
            }
            if let Ok(count) = device.link_wrapper_for(link).error_counter(errors.counter) {
                out.put(name, count);
                sum = Some(sum.unwrap_or(0) + count);
            }
        }
        if let Some(sum) = sum.filter(|_| all_asked && !fields.give(&errors.of_all())) {
            out.put(errors.of_all(), sum);
        }
    }
}

impl LinkErrors {
    fn of_link(&self, link: u32) -> String {
        format!("DCGM_FI_DEV_NVLINK_{}_ERROR_COUNT_L{link}", self.name)
    }

    fn of_all(&self) -> String {
        format!("DCGM_FI_DEV_NVLINK_{}_ERROR_COUNT_TOTAL", self.name)
    }
}

/// A place in memory, and what DCGM calls it.
pub(super) type Place = (&'static str, MemoryLocation);
pub(super) const SRAM: Place = ("SRM", MemoryLocation::SRAM);
pub(super) const SHARED: Place = ("SHM", MemoryLocation::Shared);
/// The unit that joins diverged threads.
pub(super) const CONVERGENCE: Place = ("CBU", MemoryLocation::Cbu);

/// Errors that ECC corrected or only found, since the driver was loaded and since ever.
pub(super) fn read_memory(
    device: &Device<'static>,
    places: &[Place],
    fields: &Fields,
    out: &mut Samples<'_>,
) {
    let kinds = [("SBE", MemoryError::Corrected), ("DBE", MemoryError::Uncorrected)];
    let spans = [("VOL", EccCounter::Volatile), ("AGG", EccCounter::Aggregate)];
    for (place, location) in places {
        for (kind, error) in kinds {
            for (span, counter) in spans {
                let name = format!("DCGM_FI_DEV_ECC_{kind}_{span}_{place}");
                if !fields.give(&name) {
                    let count = device.memory_error_counter(error, counter, *location);
                    out.put_if(name, count);
                }
            }
        }
    }
}
