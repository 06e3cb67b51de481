//! The protobuf wire format, borrowed: fields of a message one after the other. Nothing is allocated,
//! whatever a message says of its lengths.

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the message ends inside a field")]
    Truncated,
    #[error("a number has more than 64 bits")]
    LongNumber,
    #[error("a field has number {field} and wire type {wire_type}, which is none")]
    Tag { field: u64, wire_type: u8 },
    #[error("field {field} of {message} has wire type {wire_type}")]
    WireType { message: &'static str, field: u64, wire_type: u8 },
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    #[error("a value is nested more than {0} deep")]
    Deep(usize),
}

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Data<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Data<'a> {
    fn wire_type(self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }

    /// The bytes of a field that must have some: a text, a message or packed numbers.
    pub(crate) fn bytes(self, message: &'static str, field: u64) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(Malformed::WireType { message, field, wire_type: other.wire_type() }),
        }
    }

    pub(crate) fn number(self, message: &'static str, field: u64) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            other => Err(Malformed::WireType { message, field, wire_type: other.wire_type() }),
        }
    }

    pub(crate) fn fixed64(self, message: &'static str, field: u64) -> Result<u64, Malformed> {
        match self {
            Self::Fixed64(bits) => Ok(bits),
            other => Err(Malformed::WireType { message, field, wire_type: other.wire_type() }),
        }
    }
}

/// Walks a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value; `None` at the message's end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Data<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let (field, wire_type) = (tag >> 3, (tag & 7) as u8);
        if field == 0 || field > 0x1fff_ffff {
            return Err(Malformed::Tag { field, wire_type });
        }
        let data = match wire_type {
            0 => Data::Number(self.varint()?),
            1 => Data::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                Data::Bytes(self.take(len)?)
            }
            5 => Data::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed::Tag { field, wire_type }),
        };
        Ok(Some((field, data)))
    }

    /// The value of the last field of a number; `None` where there is none.
    pub(crate) fn last(message: &'a [u8], wanted: u64) -> Result<Option<Data<'a>>, Malformed> {
        let (mut fields, mut found) = (Self::new(message), None);
        while let Some((field, data)) = fields.next()? {
            if field == wanted {
                found = Some(data);
            }
        }
        Ok(found)
    }

    /// Steps over fields with this one-byte tag of bytes, and answers them as they stand.
    #[inline]
    pub(crate) fn run(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        while self.rest.first() == Some(&tag) {
            self.rest = &self.rest[1..];
            let len = self.varint()?;
            self.take(len)?;
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        if *first < 0x80 {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for (at, byte) in self.rest.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            if at == 10 || (at == 9 && bits > 1) {
                return Err(Malformed::LongNumber);
            }
            number |= bits << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(Malformed::Truncated)
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Appends a field of bytes under a one-byte tag.
pub(crate) fn append_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    append_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn append_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes that [`append_varint`] takes.
pub(crate) fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}
