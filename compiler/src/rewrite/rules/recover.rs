//! Functions that exporters take apart, recognised from their primitives.

use super::Rule;

pub(super) fn rules() -> Vec<Rule> {
    Vec::new()
}
