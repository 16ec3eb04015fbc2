//! Why a command failed, and the exit code that says so.
//!
//! 0 ok; 1 the model or the comparison is wrong; 2 usage; 3 unsupported; 4 budget; 70 our fault.

use situ::diagnostic::{Diagnostic, Kind};
use situ::pipeline::Error;

/// A failed command.
pub struct Failure {
    pub code: u8,
    /// For stderr, without a final newline.
    pub message: String,
}

impl Failure {
    pub fn wrong(message: impl std::fmt::Display) -> Failure {
        Failure { code: 1, message: format!("error: {message}") }
    }

    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure { code: 2, message: format!("error: {message}") }
    }

    pub fn unsupported(message: impl std::fmt::Display) -> Failure {
        Failure { code: 3, message: format!("unsupported: {message}") }
    }

    pub fn fault(message: impl std::fmt::Display) -> Failure {
        Failure { code: 70, message: format!("internal fault: {message}") }
    }

    /// All diagnostics of a model. What is wrong weighs more than what is unsupported.
    pub fn diagnostics(diagnostics: &[Diagnostic], file: &str, source: &str) -> Failure {
        let invalid = diagnostics.iter().any(|diagnostic| diagnostic.kind == Kind::Invalid);
        let rendered: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(file, source)).collect();
        Failure { code: if invalid { 1 } else { 3 }, message: rendered.join("").trim_end().to_string() }
    }

    pub fn compile(error: Error, file: &str, source: &str) -> Failure {
        match error {
            Error::Invalid(diagnostics) => Failure::diagnostics(&diagnostics, file, source),
            Error::Unsupported(why) => Failure::unsupported(why),
            budget @ Error::Budget { .. } => Failure { code: 4, message: format!("error: {budget}") },
            Error::Fault(fault) => Failure { code: 70, message: fault.to_string() },
        }
    }
}
