//! Programs with branches and loops, by name: each shows one thing that can go wrong.

pub const PROGRAMS: &[(&str, &str)] = &[
    (
        "swap",
        "\
graph it {
  input %n: i64[]
  input %c: bool[]
  input %x: f32[3, 4]
  input %y: f32[3, 4]
  %a, %b = loop %n, %c (%i, %p = %x, %q = %y) {
    %go = lt %i, 4
    yield %go, %q, %p
  }
  return %a, %b
}
",
    ),
    (
        "results of one step, one of which nobody reads, are not put in the same bytes",
        "\
graph it {
  donate %d: f32[4]
  inout %r: f32[3, 4]
  input %n: i64[]
  input %c: bool[]
  %w, %u = if %c (%b = %d, %s = %r, %k = %n) {
    %t = neg %s
    %p, %q, %e, %f, %g = scan (%i, %a = %k, %z = %b, %v = %s) (%l in %s) (%y = %b, %m = %t) {
      %x, %all, %o = scan (%j, %h = %y) (%mm in %m, %vv in %v) (%yy = %y) {
        %head = slice %vv {axis=0, start=0, end=1}
        %tail = slice %vv {axis=0, start=1, end=4}
        %turned = concat %tail, %head {axis=0}
        %less = sub %turned, %h
        yield %less, %less, %yy
      }
      yield %i, %z, %o, %x, %x
    }
    yield %g, %f
  } else (%b2, %s2, %k2) {
    yield %s2, %s2
  }
  final %r = %u
  return %w
}
",
    ),
    (
        "shift",
        "\
graph it {
  input %n: i64[]
  inout %x: f32[5]
  inout %y: f32[5]
  inout %z: f32[5]
  %a, %b, %d = loop %n, true (%i, %p = %x, %q = %y, %r = %z) {
    %s = add %p, %r
    yield true, %q, %r, %s
  }
  final %x = %a
  final %y = %b
  final %z = %d
  return %a
}
",
    ),
    (
        "a carry is both",
        "\
graph it {
  input %n: i64[]
  input %x: f32[6]
  %a, %b = loop %n, true (%i, %p = %x, %q = %x) {
    %s = add %p, %q
    %t = reciprocal %s
    yield true, %t, %t
  }
  return %a, %b
}
",
    ),
    (
        "a carry passes through",
        "\
graph it {
  input %n: i64[]
  input %x: f32[4]
  donate %y: f32[4]
  %a, %b = loop %n, true (%i, %p = %x, %q = %y) {
    %s = mul %p, %q
    yield true, %s, %q
  }
  return %a, %b
}
",
    ),
    (
        "a carry turns",
        "\
graph it {
  input %n: i64[]
  inout %x: f32[4, 4]
  %a = loop %n, true (%i, %p = %x) {
    %t = permute %p {axes=[1, 0]}
    yield true, %t
  }
  final %x = %a
  return %a
}
",
    ),
    (
        "state turns",
        "\
graph it {
  inout %x: f32[4, 4]
  inout %y: f32[2, 3]
  inout %z: f32[3, 2]
  %t = permute %x {axes=[1, 0]}
  %u = permute %y {axes=[1, 0]}
  %v = permute %z {axes=[1, 0]}
  final %x = %t
  final %y = %v
  final %z = %u
  return %t
}
",
    ),
    (
        "two carries turn",
        "\
graph it {
  input %n: i64[]
  inout %x: f32[3, 5]
  donate %y: f32[5, 3]
  %a, %b = loop %n, true (%i, %p = %x, %q = %y) {
    %t = permute %p {axes=[1, 0]}
    %u = permute %q {axes=[1, 0]}
    yield true, %u, %t
  }
  final %x = %a
  return %a, %b
}
",
    ),
    (
        "a carry is reversed",
        "\
graph it {
  input %n: i64[]
  input %x: f32[7]
  %a = loop %n, true (%i, %p = %x) {
    %t = slice %p {axis=0, start=6, end=-1, step=-1}
    yield true, %t
  }
  return %a
}
",
    ),
    (
        "parts move",
        "\
graph it {
  input %n: i64[]
  inout %x: f32[8]
  %a = loop %n, true (%i, %p = %x) {
    %low = slice %p {axis=0, start=0, end=3}
    %high = slice %p {axis=0, start=3, end=8}
    %t = concat %high, %low {axis=0}
    yield true, %t
  }
  final %x = %a
  return
}
",
    ),
    (
        "dtypes",
        "\
graph it {
  input %n: i64[]
  input %c: bool[3]
  input %x: f64[3]
  input %k: i64[3]
  input %h: f16[3]
  %a, %b, %d, %e = loop %n, true (%i, %p = %x, %q = %k, %r = %c, %s = %h) {
    %x2 = mul %p, 1.5
    %k2 = add %q, %i
    %r2 = not %r
    %f = cast %r {to=f16}
    %s2 = add %s, %f
    yield true, %x2, %k2, %r2, %s2
  }
  return %a, %b, %d, %e
}
",
    ),
    (
        "the condition is carried",
        "\
graph it {
  input %n: i64[]
  input %c: bool[]
  input %x: f32[2]
  %d, %a = loop %n, %c (%i, %go = %c, %p = %x) {
    %t = reciprocal %p
    %odd = not %go
    %u = slice %p {axis=0, start=0, end=1}
    %v = reshape %u {shape=[]}
    %w = lt %v, 3.0
    yield %w, %odd, %t
  }
  return %d, %a
}
",
    ),
    (
        "state in two loops",
        "\
graph it {
  input %n: i64[]
  inout %x: f32[4, 8]
  input %y: f32[4, 8]
  %a = loop %n, true (%i, %p = %x) (%q = %y) {
    %b = loop %i, true (%j, %r = %p) (%s = %q) {
      %t = add %r, %s
      %u = reciprocal %t
      yield true, %u
    }
    yield true, %b
  }
  final %x = %a
  return
}
",
    ),
    (
        "nested with a use between",
        "\
graph it {
  input %n: i64[]
  input %x: f32[4]
  %a, %k = loop %n, true (%i, %p = %x, %count = 0) {
    %b = loop 3, true (%j, %r = %p) (%s = %p, %l = %i) {
      %f = cast %l {to=f32}
      %t = mul %r, 0.5
      %u = add %t, %s
      %v = add %u, %f
      yield true, %v
    }
    %w = sub %b, %p
    %more = add %count, %i
    yield true, %w, %more
  }
  return %a, %k
}
",
    ),
    (
        "a branch in a loop",
        "\
graph it {
  input %n: i64[]
  input %x: f32[4]
  input %m: f32[4]
  %a = loop %n, true (%i, %p = %x) (%q = %m) {
    %even = lt %i, 2
    %b = if %even (%r = %p, %s = %q) {
      %t = add %r, %s
      yield %t
    } else (%r2, %s2) {
      %t2 = reciprocal %s2
      %u = mul %r2, %t2
      yield %u
    }
    yield true, %b
  }
  return %a
}
",
    ),
    (
        "a branch leaves its argument",
        "\
graph it {
  input %c: bool[]
  inout %x: f32[16]
  input %y: f32[16]
  %a = if %c (%p = %x, %q = %y) {
    %t = add %p, %q
    yield %t
  } else (%r, %s) {
    yield %r
  }
  final %x = %a
  return
}
",
    ),
    (
        "a branch swaps",
        "\
graph it {
  input %c: bool[]
  donate %x: f32[16]
  donate %y: f32[16]
  %a, %b = if %c (%p = %x, %q = %y) {
    yield %q, %p
  } else (%r, %s) {
    yield %r, %s
  }
  return %a, %b
}
",
    ),
    (
        "a branch gives one value twice",
        "\
graph it {
  input %c: bool[]
  input %x: f32[5]
  %u = reciprocal %x
  %a, %b, %d = if %c (%p = %u) {
    %t = neg %p
    yield %t, %t, %p
  } else (%r) {
    yield %r, %r, %r
  }
  return %a, %b, %d
}
",
    ),
    (
        "branches of constants",
        "\
graph it {
  input %c: bool[]
  const %w: f32[2, 3] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
  const %v: f32[2, 3] = seeded(normal, seed=3)
  %a, %k = if %c {
    yield %w, 7
  } else {
    yield %v, 9
  }
  return %a, %k
}
",
    ),
    (
        "a branch whose condition is a carry",
        "\
graph it {
  input %n: i64[]
  input %c: bool[]
  input %x: f32[9]
  %d, %a = loop %n, true (%i, %go = %c, %p = %x) {
    %e, %b = if %go (%q = %p, %g = %go) {
      %t = mul %q, 2.0
      %no = not %g
      yield %no, %t
    } else (%r, %h) {
      %u = sub %r, 1.0
      %yes = not %h
      yield %yes, %u
    }
    yield true, %e, %b
  }
  return %d, %a
}
",
    ),
    (
        "a recurrent cell",
        "\
graph it {
  input %xs: f32[7, 2, 8]
  input %h0: f32[2, 16]
  const %w: f32[8, 16] = seeded(normal, std=0.3, seed=1)
  const %r: f32[16, 16] = seeded(normal, std=0.2, seed=2)
  const %b: f32[16] = seeded(normal, seed=3)
  %h, %all = scan (%i, %state = %h0) (%x in %xs) {
    %u = matmul %x, %w
    %v = matmul %state, %r
    %s = add %u, %v
    %t = add %s, %b
    %next = tanh %t
    yield %next, %next
  }
  return %h, %all
}
",
    ),
    (
        "weights inside and outside",
        "\
graph it {
  input %xs: f32[3, 4, 8]
  const %w: f32[8, 8] = seeded(normal, std=0.3, seed=1)
  %p = matmul %xs, %w
  %all = scan (%i) (%x in %p, %y in %xs) (%m = %w) {
    %u = matmul %x, %m
    %v = add %u, %y
    yield %v
  }
  return %all
}
",
    ),
    (
        "several sequences and stacks",
        "\
graph it {
  input %xs: f32[5, 3]
  input %ys: i64[5]
  input %zs: bool[5, 2, 2]
  input %s: f32[3]
  %a, %b, %d, %e: f32[5, 2, 3], %k = scan (%i, %sum = %s, %count = 0) (%x in %xs, %y in %ys, %z in %zs) {
    %f = cast %y {to=f32}
    %t = mul %x, %f
    %u = add %sum, %t
    %more = add %count, %y
    %pair = concat %x, %u {axis=0}
    %two = reshape %pair {shape=[2, 3]}
    %nz = not %z
    yield %u, %more, %nz, %two, %i
  }
  return %a, %b, %d, %e, %k
}
",
    ),
    (
        "strided operands",
        "\
graph it {
  input %n: i64[]
  input %x: f32[6, 4]
  input %y: f32[4, 6]
  %xt = permute %x {axes=[1, 0]}
  %even = slice %y {axis=1, start=0, end=6, step=2}
  %odd = slice %y {axis=1, start=5, end=-1, step=-2}
  %one = select %x {axis=0, index=2}
  %wide = expand %one {shape=[4, 4]}
  %a, %b = scan (%i, %p = %even) (%r in %xt, %s in %wide) (%o = %odd) {
    %m = add %p, %o
    %t = sum %r
    %u = mul %m, %t
    %v = add %s, %t
    yield %u, %v
  }
  %d = loop %n, true (%j, %q = %xt) (%w = %y) {
    %z = sub %w, %q
    yield true, %z
  }
  return %a, %b, %d
}
",
    ),
    (
        "nobody asks",
        "\
graph it {
  input %n: i64[]
  input %x: f32[4]
  input %y: f32[4]
  %a, %b = loop %n, true (%i, %p = %x, %q = %y) {
    %t = add %p, %q
    %u = mul %q, 0.5
    yield true, %t, %u
  }
  %d, %e, %f = scan (%j, %r = %a) (%s in %y) {
    %g = add %r, %s
    yield %g, %s, %g
  }
  return %e
}
",
    ),
    (
        "results go into a larger value",
        "\
graph it {
  input %n: i64[]
  input %x: f32[2, 3]
  input %y: f32[4, 3]
  %a = loop %n, true (%i, %p = %x) {
    %t = reciprocal %p
    yield true, %t
  }
  %b = scan (%j) (%s in %y) {
    %g = neg %s
    yield %g
  }
  %e = reciprocal %y
  %d = concat %a, %b, %e {axis=0}
  %f = permute %b {axes=[1, 0]}
  %h = concat %f, %f {axis=0}
  return %d, %h
}
",
    ),
    (
        "an element is a part",
        "\
graph it {
  input %x: f32[4, 6]
  %b, %d = scan (%j) (%s in %x) {
    %l = slice %s {axis=0, start=0, end=2}
    %r = slice %s {axis=0, start=2, end=6}
    %m = reciprocal %l
    %n = cumulative %r {function=sum, axis=0, exclusive=false, reverse=false}
    %o = concat %n, %m {axis=0}
    yield %o, %s
  }
  return %b, %d
}
",
    ),
    (
        "a cache grows",
        "\
graph it {
  inout %cache: f32[2, 8, 4]
  input %xs: f32[3, 2, 1, 4]
  input %at: i64[3, 1, 1]
  %t = permute %cache {axes=[1, 0, 2]}
  %last = scan (%i, %c = %t) (%x in %xs, %p in %at) {
    %y = reshape %x {shape=[1, 2, 4]}
    %u = scatter_nd %c, %p, %y {function=assign}
    yield %u
  }
  %back = permute %last {axes=[1, 0, 2]}
  %s = abs %back
  final %cache = %back
  return %s
}
",
    ),
    (
        "a cache at a place",
        "\
graph it {
  inout %cache: f32[2, 8, 4]
  inout %length: i64[]
  input %xs: f32[3, 2, 1, 4]
  %last, %now, %sums = scan (%i, %c = %cache, %at = %length) (%x in %xs) {
    %in = rem %at, 8
    %u = dynamic_update %c, %x, %in {axes=[1]}
    %next = add %at, 1
    %half = rem %in, 5
    %block = dynamic_slice %u, %half, %half {axes=[1, 2], sizes=[4, 0]}
    %four = dynamic_slice %u, %half {axes=[1], sizes=[4]}
    %s = reduce %four {function=amax, axes=[0, 1], keepdim=false}
    yield %u, %next, %s
  }
  final %cache = %last
  final %length = %now
  return %sums
}
",
    ),
    (
        "nothing at all",
        "\
graph it {
  input %n: i64[]
  input %x: f32[0, 4]
  input %y: f32[3]
  %a, %b = loop %n, true (%i, %p = %x, %q = %y) {
    %t = reciprocal %p
    %u = reciprocal %q
    yield true, %t, %u
  }
  %d, %e = scan (%j, %r = %y) (%s in %x) {
    %g = add %r, 1.0
    yield %g, %s
  }
  %f, %h = scan (%k, %v = %y) {trips=0} {
    %w = add %v, 1.0
    yield %w, %w
  }
  return %a, %b, %d, %e, %f, %h
}
",
    ),
    (
        "four deep",
        "\
graph it {
  input %n: i64[]
  input %c: bool[]
  input %x: f32[2, 3]
  const %w: f32[3, 3] = seeded(normal, std=0.4, seed=5)
  %a = loop %n, %c (%i, %p = %x) {
    %b = scan (%j, %q = %p) (%ik = %i) {trips=2} {
      %d = if true (%r = %q, %ii = %ik, %jj = %j) {
        %small = lt %jj, %ii
        %e = if %small (%s = %r) {
          %f = matmul %s, %w
          yield %f
        } else (%s2) {
          %g = add %s2, 1.0
          yield %g
        }
        yield %e
      } else (%r2, %i2, %j2) {
        yield %r2
      }
      yield %d
    }
    yield true, %b
  }
  return %a
}
",
    ),
    (
        "a value lives across",
        "\
graph it {
  input %n: i64[]
  input %x: f32[64]
  %e = reciprocal %x
  %a = loop %n, true (%i, %p = %e) (%q = %e) {
    %t = sub %p, %q
    %u = add %t, 1.0
    yield true, %u
  }
  %b = add %a, %e
  return %b
}
",
    ),
    (
        "an argument is an initial value",
        "\
graph it {
  input %n: i64[]
  donate %x: f32[64]
  %a = loop %n, true (%i, %p = %x) (%q = %x) {
    %t = mul %p, %q
    yield true, %t
  }
  return %a
}
",
    ),
    (
        "a body that is walked twice, and what goes around has a name outside",
        "\
graph it {
  input %x: f32[4]
  %h = neg %x
  add_ %h, 1.0
  %a = loop 3, true (%i, %p = %h) {
    %u = mul %p, 0.5
    yield true, %u
  }
  relu_ %a
  return %a
}
",
    ),
    (
        "the same in a scan",
        "\
graph it {
  donate %h: f32[4]
  input %s: f32[3, 4]
  add_ %h, 1.0
  %a = scan (%i, %p = %h) (%e in %s) {
    %u = add %p, %e
    yield %u
  }
  relu_ %a
  return %a
}
",
    ),
];
