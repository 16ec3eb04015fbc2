//! Graph to text.
