//! Orders against brute force.
