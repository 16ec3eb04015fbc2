//! Blocks of networks as exporters write them.

use super::*;

#[test]
fn a_transformer_block_of_primitives() {
    let text = block(2);
    let (found, report) = compare(&text, Math::Default, 1e-5);
    assert_eq!(report.kernels_after, 18, "{}", outline(&found));
    for rule in ["layer-norm", "softmax", "gelu-halved-last", "fuse"] {
        assert!(report.rules.contains_key(rule), "{rule} is not in {:?}", report.rules);
    }
}

/// Layers of a GPT, softmax, layer norm and gelu taken apart.
pub fn block(layers: usize) -> String {
    let mut text = String::from("graph gpt {\n input %x0: f32[1, 16, 32]\n");
    for l in 0..layers {
        for (name, ty) in [
            ("wqkv", "f32[32, 96]"),
            ("bqkv", "f32[96]"),
            ("wo", "f32[32, 32]"),
            ("bo", "f32[32]"),
            ("g1", "f32[32]"),
            ("n1", "f32[32]"),
            ("g2", "f32[32]"),
            ("n2", "f32[32]"),
            ("w1", "f32[32, 128]"),
            ("b1", "f32[128]"),
            ("w2", "f32[128, 32]"),
            ("b2", "f32[32]"),
        ] {
            text.push_str(&format!(
                " const %{name}_{l}: {ty} = seeded(normal, std=0.2, seed={})\n",
                l * 31 + name.len()
            ));
        }
    }
    for l in 0..layers {
        let norm = |tag: &str, x: &str, g: &str, n: &str| {
            format!(
                " %m{tag} = reduce %{x} {{function=mean, axes=[2], keepdim=true}}\n %d{tag} = sub %{x}, %m{tag}\n \
                 %q{tag} = pow %d{tag}, 2.0\n %v{tag} = reduce %q{tag} {{function=mean, axes=[2], keepdim=true}}\n \
                 %e{tag} = add %v{tag}, 1e-5\n %s{tag} = sqrt %e{tag}\n %n{tag} = div %d{tag}, %s{tag}\n \
                 %g{tag} = mul %n{tag}, %{g}\n %ln{tag} = add %g{tag}, %{n}\n"
            )
        };
        let (a, b) = (format!("{l}a"), format!("{l}b"));
        text.push_str(&norm(&a, &format!("x{l}"), &format!("g1_{l}"), &format!("n1_{l}")));
        text.push_str(&format!(
            " %qkv{l} = matmul %ln{a}, %wqkv_{l}\n %qkvb{l} = add %qkv{l}, %bqkv_{l}\n \
             %q{l}, %k{l}, %v{l} = split %qkvb{l} {{axis=2, sizes=[32, 32, 32]}}\n \
             %qr{l} = reshape %q{l} {{shape=[1, 16, 4, 8]}}\n %kr{l} = reshape %k{l} {{shape=[1, 16, 4, 8]}}\n \
             %vr{l} = reshape %v{l} {{shape=[1, 16, 4, 8]}}\n %qt{l} = permute %qr{l} {{axes=[0, 2, 1, 3]}}\n \
             %kt{l} = permute %kr{l} {{axes=[0, 2, 3, 1]}}\n %vt{l} = permute %vr{l} {{axes=[0, 2, 1, 3]}}\n \
             %sc{l} = matmul %qt{l}, %kt{l}\n %sd{l} = div %sc{l}, 2.8284271247461903\n \
             %mx{l} = reduce %sd{l} {{function=amax, axes=[3], keepdim=true}}\n %sm{l} = sub %sd{l}, %mx{l}\n \
             %ex{l} = exp %sm{l}\n %su{l} = reduce %ex{l} {{function=sum, axes=[3], keepdim=true}}\n \
             %pr{l} = div %ex{l}, %su{l}\n %at{l} = matmul %pr{l}, %vt{l}\n \
             %ap{l} = permute %at{l} {{axes=[0, 2, 1, 3]}}\n %ar{l} = reshape %ap{l} {{shape=[1, 16, 32]}}\n \
             %o{l} = matmul %ar{l}, %wo_{l}\n %ob{l} = add %o{l}, %bo_{l}\n %y{l} = add %x{l}, %ob{l}\n"
        ));
        text.push_str(&norm(&b, &format!("y{l}"), &format!("g2_{l}"), &format!("n2_{l}")));
        text.push_str(&format!(
            " %h{l} = matmul %ln{b}, %w1_{l}\n %hb{l} = add %h{l}, %b1_{l}\n %hd{l} = div %hb{l}, 1.4142135623730951\n \
             %he{l} = erf %hd{l}\n %hf{l} = add %he{l}, 1.0\n %hg{l} = mul %hb{l}, %hf{l}\n %hh{l} = mul %hg{l}, 0.5\n \
             %p{l} = matmul %hh{l}, %w2_{l}\n %pb{l} = add %p{l}, %b2_{l}\n %x{} = add %y{l}, %pb{l}\n",
            l + 1
        ));
    }
    text.push_str(&format!(" return %x{layers}\n}}\n"));
    text
}

/// A projection between reshapes, as exporters write it, and the residual after them: the reshapes meet below the sums.
#[test]
fn reshapes_do_not_stand_between_a_matmul_and_its_epilogue() {
    let text = "graph g {\n input %x: f32[1, 16, 32]\n input %r: f32[1, 16, 24]\n input %b: f32[24]\n \
        const %w: f32[32, 24] = seeded(normal, std=0.2, seed=1)\n %v = reshape %x {shape=[16, 32]}\n %m = matmul %v, %w\n \
        %a = add %m, %b\n %u = reshape %a {shape=[1, 16, 24]}\n %s = add %u, %r\n %t = relu %s\n return %t\n}";
    let (found, _) = compare(text, Math::Default, 1e-6);
    let kernels: Vec<String> =
        outline(&found).lines().filter(|line| line.starts_with("kernel")).map(String::from).collect();
    assert_eq!(kernels, ["kernel matmul add add relu"]);
}

/// Grouped-query attention: the repeated heads are read where they are, nothing copies them.
#[test]
fn repeated_heads_are_not_copied() {
    let text = "graph g {\n input %q: f32[1, 6, 4, 8]\n input %k: f32[1, 2, 5, 8]\n %u = unsqueeze %k {axes=[2]}\n \
        %e = expand %u {shape=[1, 2, 3, 5, 8]}\n %f = reshape %e {shape=[1, 6, 5, 8]}\n \
        %t = permute %f {axes=[0, 1, 3, 2]}\n %s = matmul %q, %t\n %h = mul %s, 0.25\n %p = softmax %h {axis=3}\n \
        return %p\n}";
    let (found, report) = compare(text, Math::Default, 1e-6);
    assert!(report.rules.contains_key("matmul-repeated"), "{report:?}");
    assert_eq!(report.kernels_after, 2, "{}", outline(&found));
}

/// The same functions in the spellings of several exporters.
#[test]
fn spellings_of_one_function_are_one_kernel() {
    let cases = [
        ("gelu", "%a = div %x, 1.4142135\n %b = erf %a\n %c = add %b, 1.0\n %d = mul %x, %c\n %r = mul %d, 0.5"),
        ("gelu", "%h = mul 0.5, %x\n %a = mul %x, 0.70710677\n %b = erf %a\n %c = add 1.0, %b\n %r = mul %c, %h"),
        (
            "gelu_tanh",
            "%p = pow %x, 3.0\n %q = mul %p, 0.044715\n %s = add %x, %q\n %t = mul %s, 0.7978846\n %u = tanh %t\n \
             %v = add %u, 1.0\n %h = mul %x, 0.5\n %r = mul %h, %v",
        ),
        ("silu", "%n = neg %x\n %e = exp %n\n %a = add %e, 1.0\n %s = div 1.0, %a\n %r = mul %s, %x"),
        (
            "softmax",
            "%m = reduce %x {function=amax, axes=[1], keepdim=true}\n %d = sub %x, %m\n %e = exp %d\n \
             %s = reduce %e {function=sum, axes=[1], keepdim=true}\n %r = div %e, %s",
        ),
        (
            "layer_norm",
            "%m = reduce %x {function=mean, axes=[1], keepdim=true}\n %d = sub %x, %m\n %q = pow %d, 2.0\n \
             %v = reduce %q {function=mean, axes=[1], keepdim=true}\n %e = add %v, 1e-5\n %s = sqrt %e\n %r = div %d, %s",
        ),
        (
            "rms_norm",
            "%q = pow %x, 2.0\n %v = reduce %q {function=mean, axes=[1], keepdim=true}\n %e = add %v, 1e-6\n \
             %s = sqrt %e\n %i = reciprocal %s\n %r = mul %x, %i",
        ),
    ];
    for (op, lines) in cases {
        let text = format!("graph g {{\n input %x: f32[8, 16]\n {lines}\n return %r\n}}");
        let (found, _) = compare(&text, Math::Default, 1e-5);
        assert_eq!(outline(&found), format!("kernel {op}\n"), "{text}");
    }
}
