//! Answers to senders of OTLP, encoded.

use crate::protobuf::{append_bytes, append_varint};

/// `ExportMetricsServiceResponse`; with `partial_success` where there is something to tell.
pub(crate) fn partial_success(rejected: u64, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if rejected == 0 && text.is_empty() {
        return out;
    }
    let mut message = vec![0x08];
    append_varint(&mut message, rejected);
    append_bytes(&mut message, 0x12, text.as_bytes());
    append_bytes(&mut out, 0x0a, &message);
    out
}

/// `google.rpc.Status`.
pub(crate) fn status(code: u64, text: &str) -> Vec<u8> {
    let mut out = vec![0x08];
    append_varint(&mut out, code);
    append_bytes(&mut out, 0x12, text.as_bytes());
    out
}
