//! Prepared statements as handles that hold all that is known of them.
//!
//! ```text
//! seal     32 bytes  HMAC-SHA-256 of all that follows, by a key that the server draws at its start
//! length   u32 LE    of the text
//! text     UTF-8     the statement
//! stream   bytes     Arrow IPC with one batch of one row, its parameters by number; nothing where
//!                    none are bound
//! ```
//! Promises: nothing is read of a handle that this very server has not made.

use crate::error::{QueryError, QueryErrorKind};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use ring::hmac;
use ring::rand::SystemRandom;

const SEAL_BYTES: usize = 32;
/// A longer handle is refused: it travels with every call.
const MAX_BYTES: usize = 1 << 20;

/// What a client prepared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Handle {
    pub(super) sql: String,
    pub(super) parameters: Option<RecordBatch>,
}

/// What handles are sealed with.
#[derive(Debug)]
pub(super) struct Seal(hmac::Key);

impl Seal {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self(key.expect("the system has random bytes"))
    }

    pub(super) fn close(&self, handle: &Handle) -> Result<Bytes, QueryError> {
        let mut out = vec![0; SEAL_BYTES];
        out.extend_from_slice(&(handle.sql.len() as u32).to_le_bytes());
        out.extend_from_slice(handle.sql.as_bytes());
        if let Some(parameters) = &handle.parameters {
            let mut writer = StreamWriter::try_new(&mut out, &parameters.schema())?;
            writer.write(parameters)?;
            writer.finish()?;
        }
        if out.len() > MAX_BYTES {
            let text = format!("a statement and its parameters are at most {MAX_BYTES} bytes");
            return Err(QueryError::new(QueryErrorKind::TooLarge, text));
        }
        let seal = hmac::sign(&self.0, &out[SEAL_BYTES..]);
        out[..SEAL_BYTES].copy_from_slice(seal.as_ref());
        Ok(out.into())
    }

    pub(super) fn open(&self, bytes: &[u8]) -> Result<Handle, QueryError> {
        let parts = bytes.split_at_checked(SEAL_BYTES);
        let sealed = parts.filter(|(seal, rest)| hmac::verify(&self.0, rest, seal).is_ok());
        sealed.and_then(|(_, rest)| Handle::read(rest)).ok_or_else(|| {
            let text =
                "this is no statement that was prepared since the server's start: prepare it";
            QueryError::new(QueryErrorKind::Invalid, text)
        })
    }
}

impl Handle {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (sql, stream) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let sql = std::str::from_utf8(sql).ok()?.to_owned();
        let parameters = match stream {
            [] => None,
            stream => Some(StreamReader::try_new(stream, None).ok()?.next()?.ok()?),
        };
        Some(Self { sql, parameters })
    }

    /// The parameters by number.
    pub(super) fn values(&self) -> Result<Vec<ScalarValue>, QueryError> {
        let columns = self.parameters.iter().flat_map(RecordBatch::columns);
        let values = columns.map(|column| ScalarValue::try_from_array(column, 0));
        Ok(values.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn bound() -> Handle {
        let number = Arc::new(Int64Array::from(vec![7])) as _;
        let text = Arc::new(StringArray::from(vec![None::<&str>])) as _;
        let batch =
            RecordBatch::try_from_iter_with_nullable([("$1", number, true), ("$2", text, true)]);
        Handle { sql: "SELECT $1, $2".into(), parameters: Some(batch.unwrap()) }
    }

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let seal = Seal::new();
        for handle in [Handle { sql: String::new(), parameters: None }, bound()] {
            assert_eq!(seal.open(&seal.close(&handle).unwrap()).unwrap(), handle);
        }
        let values = bound().values().unwrap();
        assert_eq!(values, [ScalarValue::Int64(Some(7)), ScalarValue::Utf8(None)]);
        let long = Handle { sql: "x".repeat(MAX_BYTES), parameters: None };
        assert!(seal.close(&long).unwrap_err().to_string().contains("at most 1048576 bytes"));
        let other = Seal::new().close(&bound()).unwrap();
        assert!(seal.open(&other).is_err(), "another server's");
    }

    proptest! {
        #[test]
        fn what_this_server_has_not_made_is_not_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..96),
            (place, change) in (any::<prop::sample::Index>(), 1..=u8::MAX),
        ) {
            let seal = Seal::new();
            prop_assert!(seal.open(&bytes).is_err());
            let mut own = seal.close(&bound()).unwrap().to_vec();
            let place = place.index(own.len());
            prop_assert!(seal.open(&own[..place]).is_err());
            own[place] ^= change;
            prop_assert!(seal.open(&own).is_err());
        }
    }
}
