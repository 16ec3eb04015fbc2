//! Order, ties, plans and reports on small kernel graphs.

mod choice;
mod exact;
mod graphs;
mod order;
mod random;
mod reasons;
mod ties;
mod zoo;
