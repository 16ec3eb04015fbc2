//! The protobuf wire format, read in place.
//!
//! A message is a list of fields; a field is a number, a wire type and a payload that borrows from the file. Every length is
//! checked against what is left of the enclosing message, so reading never leaves it and always ends. The bytes are hostile
//! until proven otherwise; [`Budget`] bounds how deep messages nest and how many are made into structures, because a
//! message of two bytes becomes a structure of a hundred.

/// What is wrong with the bytes, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

pub type Read<T> = Result<T, Malformed>;

pub fn malformed<T>(message: impl Into<String>) -> Read<T> {
    Err(Malformed(message.into()))
}

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    pub number: u32,
    pub payload: Payload<'a>,
}

impl<'a> Field<'a> {
    fn expected<T>(&self, expected: &str) -> Read<T> {
        malformed(format!("field {} should be {expected}", self.number))
    }

    pub fn bytes(&self) -> Read<&'a [u8]> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => self.expected("a message or a string"),
        }
    }

    pub fn text(&self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).or_else(|_| malformed(format!("field {} is not UTF-8", self.number)))
    }

    pub fn int(&self) -> Read<i64> {
        match self.payload {
            Payload::Varint(value) => Ok(value as i64),
            _ => self.expected("an integer"),
        }
    }

    pub fn float(&self) -> Read<f32> {
        match self.payload {
            Payload::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => self.expected("a float"),
        }
    }

    /// Appends the integers of a repeated field, packed or not.
    pub fn extend_ints(&self, out: &mut Vec<i64>) -> Read<()> {
        match self.payload {
            Payload::Varint(value) => out.push(value as i64),
            Payload::Bytes(mut rest) => {
                while !rest.is_empty() {
                    out.push(varint(&mut rest)? as i64);
                }
            }
            _ => return self.expected("integers"),
        }
        Ok(())
    }

    /// Appends the floats of a repeated field, packed or not.
    pub fn extend_floats(&self, out: &mut Vec<f32>) -> Read<()> {
        match self.payload {
            Payload::Fixed32(bits) => out.push(f32::from_bits(bits)),
            Payload::Bytes(bytes) if bytes.len() % 4 == 0 => {
                out.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
            _ => return self.expected("floats"),
        }
        Ok(())
    }

    /// Appends the doubles of a repeated field, packed or not.
    pub fn extend_doubles(&self, out: &mut Vec<f64>) -> Read<()> {
        match self.payload {
            Payload::Fixed64(bits) => out.push(f64::from_bits(bits)),
            Payload::Bytes(bytes) if bytes.len() % 8 == 0 => out.extend(
                bytes.chunks_exact(8).map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])),
            ),
            _ => return self.expected("doubles"),
        }
        Ok(())
    }
}

/// The fields of one message, in order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// The next field, or `None` at the end of the message.
    pub fn next(&mut self) -> Read<Option<Field<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let Some(number) = number else { return malformed(format!("{} is not a field number", key >> 3)) };
        let payload = match key & 7 {
            0 => Payload::Varint(varint(&mut self.rest)?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = varint(&mut self.rest)?;
                Payload::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            wire => return malformed(format!("field {number} has wire type {wire}, which is not in use")),
        };
        Ok(Some(Field { number, payload }))
    }

    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => malformed(format!("a field of {len} bytes stands where {} are left", self.rest.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}

fn varint(rest: &mut &[u8]) -> Read<u64> {
    let mut value = 0u64;
    for (i, &byte) in rest.iter().enumerate().take(10) {
        // The tenth byte holds the last bit.
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }
    if rest.len() < 10 { malformed("a number is cut off") } else { malformed("a number has more than 64 bits") }
}

/// How much may still be read.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Messages, names and other parts that become structures.
    pub parts: usize,
    /// Levels of nesting.
    pub depth: usize,
}

impl Budget {
    /// Real models have up to some hundred thousand nodes and nest three or four levels.
    pub const MODEL: Budget = Budget { parts: 1 << 23, depth: 24 };

    pub fn part(&mut self) -> Read<()> {
        match self.parts.checked_sub(1) {
            Some(left) => {
                self.parts = left;
                Ok(())
            }
            None => malformed(format!("the model has more than {} parts", Budget::MODEL.parts)),
        }
    }

    /// Runs `read` one level deeper.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Budget) -> Read<T>) -> Read<T> {
        if self.depth == 0 {
            return malformed(format!("graphs nest deeper than {} levels", Budget::MODEL.depth));
        }
        self.depth -= 1;
        let result = read(self);
        self.depth += 1;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let mut fields = Fields::of(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1D, 0, 0, 0x80, 0x3F]);
        assert_eq!(fields.next(), Ok(Some(Field { number: 1, payload: Payload::Varint(150) })));
        assert_eq!(fields.next().unwrap().unwrap().text(), Ok("hi"));
        assert_eq!(fields.next().unwrap().unwrap().float(), Ok(1.0));
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn lies_are_refused() {
        assert!(Fields::of(&[0x12, 0x7F, 0]).next().is_err(), "length beyond the end");
        assert!(Fields::of(&[0x08, 0x80]).next().is_err(), "number cut off");
        assert!(Fields::of(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).next().is_err());
        assert!(Fields::of(&[0x0B]).next().is_err(), "group");
        assert!(Fields::of(&[0x00, 0x00]).next().is_err(), "field zero");
    }
}
