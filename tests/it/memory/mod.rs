//! Order, ties, plans and reports on small kernel graphs.

mod graphs;
mod order;
mod reasons;
mod ties;
