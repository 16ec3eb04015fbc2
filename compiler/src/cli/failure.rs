//! Why a command failed, and the exit code that says so.
//!
//! 0 ok; 1 the model or the comparison is wrong; 2 usage; 3 unsupported; 4 more memory than the budget or the machine has;
//! 70 our fault.

use situ::diagnostic::{Diagnostic, Kind};
use situ::pipeline::Error;
use situ_runtime::session::SessionError;

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

    pub fn budget(message: impl std::fmt::Display) -> Failure {
        Failure { code: 4, message: format!("error: {message}") }
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

    /// Why there is no session for a program that was loaded or compiled.
    pub fn session(error: SessionError) -> Failure {
        match error {
            SessionError::OutOfMemory(_) => Failure::budget(error),
            SessionError::Refused(_) => Failure::wrong(error),
            other => Failure::fault(other),
        }
    }

    pub fn compile(error: Error, file: &str, source: &str) -> Failure {
        match error {
            Error::Invalid(diagnostics) => Failure::diagnostics(&diagnostics, file, source),
            Error::Unsupported(why) => Failure::unsupported(why),
            budget @ (Error::Budget { .. } | Error::OutOfMemory(_)) => Failure::budget(budget),
            Error::Fault(fault) => Failure { code: 70, message: fault.to_string() },
        }
    }
}
