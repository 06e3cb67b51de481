//! What `rocm-smi --json` prints, as exposition text: AMD nodes without an exporter can write it
//! to a file that an agent reads.
//!
//! `{"card0": {"GPU use (%)": "12", "sclk clock speed:": "(300Mhz)"}}` becomes
//! `rocm_smi_gpu_use_percent{gpu="0"} 12` and `rocm_smi_sclk_clock_speed_mhz{gpu="0"} 300`. Texts
//! and the numbered clock levels are left out; entries that are no card's have no gpu label.

use std::collections::BTreeMap;
use std::fmt::Write;

type Report = BTreeMap<String, BTreeMap<String, String>>;

/// The numbers of a report; `None` where the bytes are none.
pub fn exposition(json: &[u8]) -> Option<String> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let report: Report = serde_json::from_slice(json).ok()?;
    let mut text = String::new();
    for (thing, entries) in &report {
        let labels = match thing.strip_prefix("card") {
            Some(number) if is_number(number) => format!("{{gpu=\"{number}\"}}"),
            _ => String::new(),
        };
        for (key, value) in entries.iter().filter(|(key, _)| !is_number(key)) {
            if let Some((number, unit)) = number(value) {
                let name = name(key);
                writeln!(text, "rocm_smi_{name}{unit}{labels} {number}").ok()?;
            }
        }
    }
    report.keys().any(|thing| thing.starts_with("card")).then_some(text)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `12.5` and `(300Mhz)`, with what the unit adds to the name.
fn number(value: &str) -> Option<(&str, &'static str)> {
    let bare = value.strip_prefix('(').and_then(|v| v.strip_suffix(')')).unwrap_or(value);
    let (digits, unit) = match bare.strip_suffix("Mhz") {
        Some(digits) => (digits, "_mhz"),
        None => (bare, ""),
    };
    let plain = |b: u8| b.is_ascii_digit() || b == b'.' || b == b'-';
    (digits.bytes().all(plain) && digits.parse::<f64>().is_ok()).then_some((digits, unit))
}

/// A key as part of a metric's name: `GPU use (%)` is `gpu_use_percent`.
fn name(key: &str) -> String {
    let spelt = key.replace('%', "percent").to_ascii_lowercase();
    let words = spelt.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_samples() {
        let json = br#" {"card3": {"GPU use (%)": "12", "sclk clock speed:": "(300Mhz)", "1": "495Mhz",
            "Unique ID": "N/A", "sclk clock level": "0 (300Mhz)", "SMC firmware": "00.54.29"},
            "system": {"Driver version": "5.13", "(Topology) Hops between DRM devices 0 and 1": "2"}}"#;
        let want = "rocm_smi_gpu_use_percent{gpu=\"3\"} 12\n\
                    rocm_smi_sclk_clock_speed_mhz{gpu=\"3\"} 300\n\
                    rocm_smi_topology_hops_between_drm_devices_0_and_1 2\n\
                    rocm_smi_driver_version 5.13\n";
        assert_eq!(exposition(json).as_deref(), Some(want));
    }

    #[test]
    fn other_texts_are_none_of_ours() {
        for text in ["", "{\"quoted.name\"} 1\n", "{\"a\": 1}", "{\"a\": {\"b\": \"1\"}}", "a 1"] {
            assert_eq!(exposition(text.as_bytes()), None, "{text}");
        }
    }
}
