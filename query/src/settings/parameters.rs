//! The parameters that PostgreSQL has and clients ask for, with what they may be.

use super::value;
use crate::error::{QueryError, QueryErrorKind};

/// The PostgreSQL release whose catalog and protocol are spoken.
const VERSION: &str = "16.6";
const VERSION_NUMBER: &str = "160006";

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    /// As PostgreSQL writes it.
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    /// `None` where it cannot be changed.
    pub(super) span: Option<Span>,
    /// Whether clients are told of it unasked.
    pub(super) reported: bool,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Text,
    Switch,
    /// A whole number of these.
    Number(i64, i64),
    /// A time: milliseconds, or a number with `ms`, `s`, `min`, `h` or `d`.
    Millis,
    Zone,
    /// One of some words.
    Word(&'static [&'static str]),
    /// Text is UTF-8, dates are ISO: nothing else is spoken.
    Encoding,
    DateStyle,
    /// On, off, or what the server has.
    Choice,
}

const fn fixed(name: &'static str, value: &'static str) -> Parameter {
    Parameter { name, default: value, span: None, reported: false }
}

const fn free(name: &'static str, default: &'static str, span: Span) -> Parameter {
    Parameter { name, default, span: Some(span), reported: false }
}

impl Parameter {
    const fn told(self) -> Self {
        Self { reported: true, ..self }
    }
}

pub(super) const PARAMETERS: [Parameter; 51] = [
    free("application_name", "", Span::Text).told(),
    free("bytea_output", "hex", Span::Word(&["hex", "escape"])),
    free("check_function_bodies", "on", Span::Switch),
    free("client_encoding", "UTF8", Span::Encoding).told(),
    free("client_min_messages", "notice", Span::Text),
    free("constraint_exclusion", "partition", Span::Text),
    free("cursor_tuple_fraction", "0.1", Span::Text),
    free("DateStyle", "ISO, YMD", Span::DateStyle).told(),
    free("default_table_access_method", "heap", Span::Text),
    free("default_transaction_deferrable", "off", Span::Switch),
    free("default_transaction_isolation", "read committed", Span::Text),
    fixed("default_transaction_read_only", "on").told(),
    free("enable_seqscan", "on", Span::Switch),
    free("escape_string_warning", "on", Span::Switch),
    free("extra_float_digits", "1", Span::Number(-15, 3)),
    free("geqo", "on", Span::Switch),
    free("idle_in_transaction_session_timeout", "0", Span::Millis),
    free("idle_session_timeout", "0", Span::Millis),
    fixed("in_hot_standby", "off").told(),
    fixed("integer_datetimes", "on").told(),
    free(
        "IntervalStyle",
        "postgres",
        Span::Word(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
    )
    .told(),
    fixed("is_superuser", "off").told(),
    free("jit", "off", Span::Switch),
    free("lc_messages", "C", Span::Text),
    free("lc_monetary", "C", Span::Text),
    free("lc_numeric", "C", Span::Text),
    free("lc_time", "C", Span::Text),
    free("lock_timeout", "0", Span::Millis),
    fixed("max_identifier_length", "63"),
    fixed("max_index_keys", "32"),
    free("plan_cache_mode", "auto", Span::Text),
    free("row_security", "on", Span::Switch),
    free("search_path", "public", Span::Text).told(),
    fixed("server_encoding", "UTF8").told(),
    fixed("server_version", VERSION).told(),
    fixed("server_version_num", VERSION_NUMBER),
    fixed("standard_conforming_strings", "on").told(),
    free("statement_timeout", "0", Span::Millis),
    free("synchronize_seqscans", "on", Span::Switch),
    free("synchronous_commit", "on", Span::Text),
    free("tcp_keepalives_count", "0", Span::Number(0, i32::MAX as i64)),
    free("tcp_keepalives_idle", "0", Span::Number(0, i32::MAX as i64)),
    free("tcp_keepalives_interval", "0", Span::Number(0, i32::MAX as i64)),
    free("TimeZone", "UTC", Span::Zone).told(),
    free("transaction_deferrable", "off", Span::Switch),
    free("transaction_isolation", "read committed", Span::Text),
    free("transaction_read_only", "on", Span::Word(&["on"])),
    free("transform_null_equals", "off", Span::Switch),
    free("warpline.rollups", "default", Span::Choice),
    free("work_mem", "4MB", Span::Text),
    free("xmloption", "content", Span::Text),
];

impl Parameter {
    /// A value as it is kept.
    pub(super) fn read(&self, text: &str) -> Result<String, QueryError> {
        let Some(span) = self.span else {
            if text.eq_ignore_ascii_case(self.default) {
                return Ok(self.default.to_owned());
            }
            let text = format!("parameter \"{}\" cannot be changed", self.name);
            return Err(QueryError::new(QueryErrorKind::ReadOnly, text));
        };
        let on_off = |on| (if on { "on" } else { "off" }).to_owned();
        let read = match span {
            Span::Text => Ok(text.to_owned()),
            Span::Switch => value::switch(text).map(on_off).ok_or("is on or off".to_owned()),
            Span::Number(least, most) => {
                let number = text.parse().ok().filter(|n| (least..=most).contains(n));
                number
                    .map(|n: i64| n.to_string())
                    .ok_or_else(|| format!("is a whole number of {least} to {most}"))
            }
            Span::Millis => value::millis(text).map(|millis| millis.to_string()).ok_or_else(|| {
                "is a time: milliseconds, or a number with ms, s, min, h or d".to_owned()
            }),
            Span::Zone => value::zone(text).ok_or_else(|| {
                "is a name like Europe/Berlin, an offset like +02:00, or UTC".to_owned()
            }),
            Span::Word(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                word.map(|word| (*word).to_owned())
                    .ok_or_else(|| format!("is one of {}", words.join(", ")))
            }
            Span::Encoding => value::is_utf8(text)
                .then(|| self.default.to_owned())
                .ok_or_else(|| "is UTF8: no other encoding is spoken".to_owned()),
            Span::DateStyle => value::is_iso(text)
                .then(|| self.default.to_owned())
                .ok_or_else(|| "is ISO: dates have no other form".to_owned()),
            Span::Choice => match value::switch(text) {
                Some(on) => Ok(on_off(on)),
                None if text.eq_ignore_ascii_case(self.default) => Ok(self.default.to_owned()),
                None => Err("is on, off or default".to_owned()),
            },
        };
        read.map_err(|what| {
            let name = self.name;
            let text = format!("invalid value for parameter \"{name}\": {text:?}; it {what}");
            QueryError::new(QueryErrorKind::InvalidSetting, text)
        })
    }
}
