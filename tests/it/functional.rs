//! The functional form: what becomes of views and writes, and that it means the same.

use situ::alias::analyze;
use situ::functional::functionalize;
use situ::ir::{print, verify};

use crate::text::{graph_of, round_trip};

fn functional(text: &str) -> String {
    let graph = graph_of(text);
    let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("a verified graph has a functional form");
    assert_eq!(verify(&pure), []);
    round_trip(&pure);
    print(&pure)
}

#[test]
fn a_write_through_a_view_is_an_update() {
    insta::assert_snapshot!(functional(
        "\
graph update {
  inout %cache: f32[2, 4]
  input %x: f32[4]
  %row = select %cache {axis=0, index=1}
  %other = select %cache {axis=0, index=0}
  %before = relu %other
  copy_ %row, %x
  %after = add %other, %row
  %flat = view %cache {shape=[8]}
  %y = exp %flat
  return %before, %after, %y
}
"
    ));
}

#[test]
fn a_write_of_the_whole_replaces_the_version() {
    insta::assert_snapshot!(functional(
        "\
graph whole {
  input %x: f32[2, 3]
  donate %d: f32[3, 2]
  %h = add %x, 1.0
  %v = t %h
  %r = relu_ %v
  %m = mul_ %h, %h
  %e = exp_ %d
  %w = add %r, %d
  return %w, %m
}
"
    ));
}

#[test]
fn a_fresh_value_may_lie_transposed() {
    insta::assert_snapshot!(functional(
        "\
graph transposed {
  input %x: f32[2, 3]
  %t = t %x
  %h = relu %t
  %back = t %h
  %flat = view %back {shape=[6]}
  %part = slice %flat {axis=0, start=1, end=6, step=2}
  %n = neg_ %part
  return %h, %n
}
"
    ));
}
