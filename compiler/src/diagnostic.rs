//! Diagnostics: what the user did wrong, where, what was found and what was expected.
//!
//! A [`Diagnostic`] is the user's mistake, a [`Fault`] is ours. Messages are lower case, without a full stop, and name
//! the thing. Both print deterministically, without colour, so that they can be committed.

/// A place in a source text, in bytes, half-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// What kind of mistake; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The model is wrong (exit 1).
    Invalid,
    /// The model may be right, but uses something that is not supported (exit 3).
    Unsupported,
}

/// One mistake of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub kind: Kind,
    /// Where in the source text, when there is one.
    pub span: Option<Span>,
    /// Where in words, for sources that are not text (a node's name).
    pub place: String,
    pub message: String,
    /// More facts, a line each.
    pub notes: Vec<String>,
}

impl Diagnostic {
    pub fn invalid(place: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { kind: Kind::Invalid, span: None, place: place.into(), message: message.into(), notes: Vec::new() }
    }

    pub fn unsupported(place: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { kind: Kind::Unsupported, ..Diagnostic::invalid(place, message) }
    }

    pub fn at(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(span), ..Diagnostic::invalid("", message) }
    }

    pub fn with_note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// The diagnostic as a person sees it: place, message, the line with a caret, notes.
    pub fn render(&self, file: &str, source: &str) -> String {
        let label = match self.kind {
            Kind::Invalid => "error",
            Kind::Unsupported => "unsupported",
        };
        let mut text = match self.span {
            None if self.place.is_empty() => format!("{label}: {}\n", self.message),
            None => format!("{label}: {}: {}\n", self.place, self.message),
            Some(span) => {
                let start = floor_char(source, span.start.min(source.len()));
                let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
                let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
                let line = source[..start].matches('\n').count() + 1;
                let column = source[line_start..start].chars().count() + 1;
                let end = floor_char(source, span.end.clamp(start, line_end));
                let width = source[start..end].chars().count().clamp(1, 120);
                let shown: String = source[line_start..line_end].chars().take(240).collect();
                format!(
                    "{label}: {}\n --> {file}:{line}:{column}\n  | {shown}\n  | {}{}\n",
                    self.message,
                    " ".repeat((column - 1).min(240)),
                    "^".repeat(width),
                )
            }
        };
        for note in &self.notes {
            text.push_str(&format!("  = {note}\n"));
        }
        text
    }
}

fn floor_char(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Something only a mistake of ours can cause; names the stage and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub stage: &'static str,
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "internal fault in {}: {}", self.stage, self.message)
    }
}

impl std::error::Error for Fault {}
