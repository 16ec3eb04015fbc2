//! Instances as CSV, in the columns of MiniMalloc: `id,lower,upper,size[,offset]`.
//!
//! An id is any text, given once. Lifetimes are half-open. A filled offset is where the buffer is and stays.

use std::collections::BTreeSet;

use super::{Interval, PackError};
use crate::diagnostic::{Diagnostic, Span};

/// The columns, each once, in any order; only the last may be missing.
const COLUMNS: [&str; 5] = ["id", "lower", "upper", "size", "offset"];

const OFFSET: usize = 4;

/// An instance with all that is needed to write it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Row>,
    /// In which field of a row the offset is; in a new one if there was none.
    offset_at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    fields: Vec<String>,
    interval: Interval,
    span: Span,
}

/// Reads an instance; all mistakes, each with its line, up to 20.
pub fn read(text: &str) -> Result<Table, Vec<Diagnostic>> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = text.len() - body.len();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body.as_bytes());
    let mut records = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let start = skipped + reader.position().byte() as usize;
        match reader.read_record(&mut record) {
            Ok(true) => records.push((span(text, start), record.iter().map(str::to_string).collect::<Vec<_>>())),
            Ok(false) => break,
            Err(error) => return Err(vec![Diagnostic::at(span(text, start), error.to_string())]),
        }
    }
    let mut records = records.into_iter();
    let (header_span, mut header) = records.next().unwrap_or_default();
    let places = columns(&header, header_span).map_err(|diagnostic| vec![diagnostic])?;
    let width = header.len();
    let offset_at = places[OFFSET].unwrap_or(width);
    if offset_at == width {
        header.push(COLUMNS[OFFSET].to_string());
    }
    let mut table = Table { header, rows: Vec::new(), offset_at };
    let mut mistakes = Vec::new();
    let mut ids = BTreeSet::new();
    for (span, fields) in records {
        match interval(&fields, width, &places) {
            Ok((id, _)) if !ids.insert(id.to_string()) => {
                mistakes.push(Diagnostic::at(span, format!("id {id:?} is given twice")));
            }
            Ok((_, interval)) => table.rows.push(Row { fields, interval, span }),
            Err(message) => mistakes.push(Diagnostic::at(span, message)),
        }
        if mistakes.len() == 20 {
            break;
        }
    }
    if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
}

/// The line, or lines, of the record that begins at or after `start`.
fn span(text: &str, start: usize) -> Span {
    let rest = text.get(start..).unwrap_or("");
    let start = start + (rest.len() - rest.trim_start_matches(['\r', '\n']).len());
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    Span { start, end: start + line.len() }
}

/// In which field each column is.
fn columns(header: &[String], span: Span) -> Result<[Option<usize>; 5], Diagnostic> {
    let mut places = [None; 5];
    let expected = "the columns are id,lower,upper,size and, if offsets are given, offset";
    for (at, name) in header.iter().enumerate() {
        let Some(column) = COLUMNS.iter().position(|column| *column == name.trim()) else {
            return Err(Diagnostic::at(span, format!("there is no column {name:?}")).with_note(expected));
        };
        if places[column].replace(at).is_some() {
            return Err(Diagnostic::at(span, format!("column {name:?} is there twice")).with_note(expected));
        }
    }
    for (column, place) in COLUMNS.iter().zip(places) {
        if place.is_none() && *column != COLUMNS[OFFSET] {
            return Err(Diagnostic::at(span, format!("column {column:?} is missing")).with_note(expected));
        }
    }
    Ok(places)
}

/// The id and the interval of a row.
fn interval<'r>(
    fields: &'r [String],
    width: usize,
    places: &[Option<usize>; 5],
) -> Result<(&'r str, Interval), String> {
    if fields.len() != width {
        return Err(format!("found {} fields, expected {width}", fields.len()));
    }
    let field = |column: usize| places[column].map_or("", |at| fields[at].trim());
    let number = |column: usize| -> Result<u64, String> {
        let text = field(column);
        let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("");
        digits.parse().map_err(|_| format!("{}: found {text:?}, expected a whole number, 0 or more", COLUMNS[column]))
    };
    let time = |column: usize| {
        usize::try_from(number(column)?)
            .map_err(|_| format!("{}: found {:?}, which is too late", COLUMNS[column], field(column)))
    };
    let (lower, upper, size) = (time(1)?, time(2)?, number(3)?);
    if upper < lower {
        return Err(format!("the lifetime ends at {upper}, before it begins at {lower}"));
    }
    let offset = if field(OFFSET).is_empty() { None } else { Some(number(OFFSET)?) };
    let id = places[0].map_or("", |at| &fields[at]);
    Ok((id, Interval { lower, upper, size, offset }))
}

impl Table {
    pub fn intervals(&self) -> Vec<Interval> {
        self.rows.iter().map(|row| row.interval).collect()
    }

    /// What the packer refused, as the reader of the file sees it.
    pub fn refused(&self, error: PackError) -> Diagnostic {
        match error {
            PackError::TooLarge => Diagnostic::invalid("", "sizes and offsets together exceed 2^62 bytes"),
            PackError::Overlap(first, second) => {
                let (first, second) = (&self.rows[first], &self.rows[second]);
                let said = |row: &Row| {
                    let Interval { lower, upper, size, offset } = row.interval;
                    let offset = offset.unwrap_or(0);
                    format!("at {lower}..{upper} in bytes {offset}..{}", offset.saturating_add(size))
                };
                Diagnostic::at(second.span, "the given offsets make two buffers overlap")
                    .with_note(format!("this one is {}", said(second)))
                    .with_note(format!("{:?} is {}", first.fields.join(","), said(first)))
            }
        }
    }

    /// The same rows with these offsets.
    pub fn write(&self, offsets: &[u64]) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut write = |fields: &[String]| writer.write_record(fields).expect("memory can be written");
        write(&self.header);
        for (row, offset) in self.rows.iter().zip(offsets) {
            let mut fields = row.fields.clone();
            fields.resize(self.header.len(), String::new());
            fields[self.offset_at] = offset.to_string();
            write(&fields);
        }
        writer.into_inner().expect("memory can be written")
    }
}
