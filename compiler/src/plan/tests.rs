//! Plans of small graphs: independent checks.
