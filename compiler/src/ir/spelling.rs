//! How names and numbers are spelled in text; shared by the printer and the parser, so that they are inverse.

use situ_runtime::scalar;

use super::graph::{Graph, ValueId};
use crate::types::DType;

/// The most characters of a name without quotes.
pub const MAX_NAME: usize = 256;

/// The key of a safetensors header that names no array.
pub const METADATA: &str = "__metadata__";

/// Whether a byte may stand inside a word.
pub fn word_rest(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// The name in a value or text token: `%x` and `%"x"` name `x`. Escapes are `\"`, `\\`, `\n` and `\u{hex}`; anything
/// else after a backslash stands for itself.
pub fn unquote(written: &str) -> String {
    let written = written.strip_prefix('%').unwrap_or(written);
    let Some(inner) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return written.to_string();
    };
    let mut name = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            name.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => name.push('\n'),
            Some('u') => {
                let ahead = rest.as_str();
                let code = ahead.strip_prefix('{').and_then(|a| a.split_once('}'));
                match code.and_then(|(hex, after)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after))) {
                    Some((c, after)) => {
                        name.push(c);
                        rest = after.chars();
                    }
                    None => name.push('u'),
                }
            }
            Some(c) => name.push(c),
            None => {}
        }
    }
    name
}

/// Whether `name` can be written without quotes. Names of digits alone are numbers of unnamed values and need quotes.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() < MAX_NAME
        && name.bytes().all(word_rest)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// `name` in quotes, as [`unquote`] reads it.
pub fn quote(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The name of an output that is written without one: the value's own, or `out` and the output's position.
pub fn default_output_name(graph: &Graph, position: usize, value: ValueId) -> String {
    let own = &graph.value(value).name;
    let taken = graph.outputs[..position.min(graph.outputs.len())].iter().any(|output| output.name == *own);
    if own.is_empty() || taken { format!("out{position}") } else { own.clone() }
}

/// A number as the element of a dtype: the bits of the element, or what was expected. Decimal numbers are rounded once,
/// to the dtype; integers must be in range; `0x` gives the bits themselves.
pub fn read_literal(written: &str, dtype: DType) -> Result<u64, String> {
    let refused = || format!("`{written}` is not a number of dtype {dtype}");
    let unsigned = written.strip_prefix('+').unwrap_or(written);
    if let Some(digits) = unsigned.strip_prefix("0x") {
        let bits = u64::from_str_radix(digits, 16).map_err(|_| refused())?;
        let fits = dtype.size() == 8 || bits >> (8 * dtype.size()) == 0;
        return if fits && (dtype != DType::Bool || bits <= 1) { Ok(bits) } else { Err(refused()) };
    }
    match dtype {
        DType::Bool => match unsigned {
            "true" | "1" => Ok(1),
            "false" | "0" => Ok(0),
            _ => Err(format!("`{written}` is neither true nor false")),
        },
        DType::F32 => unsigned.parse::<f32>().map(|x| u64::from(x.to_bits())).map_err(|_| refused()),
        DType::F64 | DType::F16 | DType::BF16 => {
            unsigned.parse::<f64>().map(|x| scalar::encode_float(dtype, x)).map_err(|_| refused())
        }
        _ => {
            let value = unsigned.parse::<i64>().map_err(|_| refused())?;
            let bits = scalar::encode_int(dtype, value);
            if scalar::decode_int(dtype, bits) == value { Ok(bits) } else { Err(refused()) }
        }
    }
}

/// The shortest spelling that [`read_literal`] reads back to the same bits.
pub fn write_literal(dtype: DType, bits: u64) -> String {
    let spelling = match dtype {
        DType::Bool => (if bits != 0 { "true" } else { "false" }).to_string(),
        DType::F64 => format!("{:?}", f64::from_bits(bits)),
        // The decimal digits of an f32 also name the f16 or bf16 it came from: those are sparser.
        DType::F32 | DType::F16 | DType::BF16 => format!("{:?}", scalar::decode_float(dtype, bits) as f32),
        _ => scalar::decode_int(dtype, bits).to_string(),
    };
    // A NaN has more bits than its name says.
    if read_literal(&spelling, dtype) == Ok(bits) { spelling } else { format!("{bits:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_back() {
        for dtype in DType::ALL {
            let wide = if dtype.size() == 8 { u64::MAX } else { (1 << (8 * dtype.size())) - 1 };
            for k in 0..20_000u64 {
                let bits = k.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (k % 64) & wide;
                let bits = if dtype == DType::Bool { bits & 1 } else { bits };
                let spelling = write_literal(dtype, bits);
                assert_eq!(read_literal(&spelling, dtype), Ok(bits), "{dtype} {spelling}");
            }
        }
    }

    #[test]
    fn names_read_back() {
        for name in ["x", "", "a b", "\"q\"", "back\\slash", "tab\tline\n", "/model/Add_1:0", "12", "ünïcode"] {
            assert_eq!(unquote(&quote(name)), name);
        }
    }
}
