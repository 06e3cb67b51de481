//! A family's name, and the names of its samples: a histogram `d` has samples `d_bucket`, ...

/// What stands between a family's name and the names of its samples.
const SUFFIXES: [&str; 8] =
    ["", "_total", "_bucket", "_sum", "_count", "_info", "_gsum", "_gcount"];

/// The families that a sample of this name may be of, the likeliest first.
pub(crate) fn family_of(name: &str) -> impl Iterator<Item = &str> {
    SUFFIXES.iter().filter_map(move |suffix| name.strip_suffix(suffix))
}
