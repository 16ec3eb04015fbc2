//! Kernels with several results.

use super::*;

/// Programs whose point functions end in one kernel, as it is outlined, with the number of results.
#[test]
fn kernels_that_read_the_same_become_one() {
    let cases = [
        // An optimizer's step: moments and parameter in one pass.
        (
            "input %g: f32[8, 16]\n input %m: f32[8, 16]\n input %p: f32[8, 16]\n %a = mul %m, 0.9\n %b = mul %g, 0.1\n \
             %n = add %a, %b\n %u = mul %n, 0.01\n %q = sub %p, %u\n return %n, %q",
            "kernel mul mul add mul sub\n",
            2,
        ),
        // What both compute is computed once, and what only they need is not stored.
        (
            "input %x: f32[8, 16]\n %a = exp %x\n %b = tanh %a\n %c = sqrt %a\n return %b, %c",
            "kernel exp tanh sqrt\n",
            2,
        ),
        // Of two dtypes.
        ("input %x: f32[8, 16]\n %a = relu %x\n %b = gt %x, 0.5\n return %a, %b", "kernel relu gt\n", 2),
    ];
    for (lines, expected, results) in cases {
        let (found, report) = compare(&format!("graph g {{\n {lines}\n}}"), Math::Strict, 0.0);
        assert_eq!(outline(&found), expected, "{lines}");
        let kernel = found.body_insts().next().expect("a kernel").1;
        assert_eq!(kernel.results.len(), results);
        assert!(kernel.rules.contains(&"share-kernel") == report.rules.contains_key("share-kernel"));
    }
}

#[test]
fn kernels_stay_apart() {
    for lines in [
        // What lies between them needs the one and is needed by the other.
        "input %x: f32[8, 16]\n %a = exp %x\n %s = softmax %a {axis=1}\n %b = mul %x, %s\n return %a, %b",
        // Only a row of biases is shared.
        "input %x: f32[64, 16]\n input %y: f32[64, 16]\n input %b: f32[16]\n %c = add %x, %b\n %d = mul %y, %b\n \
         %s = softmax %c {axis=1}\n %t = softmax %d {axis=0}\n return %c, %d, %s, %t",
        // Other domains.
        "input %x: f32[8, 16]\n input %y: f32[4, 8, 16]\n %c = exp %x\n %d = mul %y, %x\n return %c, %d",
    ] {
        let (found, report) = compare(&format!("graph g {{\n {lines}\n}}"), Math::Strict, 0.0);
        let several = found.body_insts().filter(|(_, inst)| inst.results.len() > 1).count();
        assert_eq!((several, report.rules.get("share-kernel")), (0, None), "{}", outline(&found));
    }
}

/// Random programs of point functions and a softmax here and there keep every bit.
#[test]
fn random_programs_keep_their_meaning() {
    let mut state = 11u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % end as u64) as usize
    };
    let mut merged = 0;
    for _ in 0..300 {
        let mut text =
            String::from("graph g {\n input %v0: f32[3, 40]\n input %v1: f32[3, 40]\n input %v2: f32[3, 40]\n");
        let count = 6 + below(24);
        for n in 3..3 + count {
            let near = |below: &mut dyn FnMut(usize) -> usize| n - 1 - below(n.min(6));
            let (a, b) = (near(&mut below), near(&mut below));
            text.push_str(&match below(12) {
                0 | 1 => format!(" %v{n} = relu %v{a}\n"),
                2 => format!(" %v{n} = mul %v{a}, 0.75\n"),
                3 => format!(" %v{n} = softmax %v{a} {{axis=1}}\n"),
                4 | 5 => format!(" %v{n} = mul %v{a}, %v{b}\n"),
                6 => format!(" %v{n} = sub %v{a}, %v{b}\n"),
                7 => format!(" %v{n} = max %v{a}, %v{b}\n"),
                _ => format!(" %v{n} = add %v{a}, %v{b}\n"),
            });
        }
        let outputs: Vec<String> =
            (3..3 + count).filter(|n| n + 1 == 3 + count || below(4) == 0).map(|n| format!("%v{n}")).collect();
        text.push_str(&format!(" return {}\n}}", outputs.join(", ")));
        let (_, report) = compare(&text, Math::Strict, 0.0);
        merged += report.rules.get("share-kernel").copied().unwrap_or(0);
    }
    assert!(merged > 300, "{merged} merges are too few to say anything");
}
