//! Scales, masks and repeated heads around the products of attention.

use egg::Id;

use super::super::Freedom::{Exact, Fold};
use super::super::{Plans, Rule, guarded, structural};
use super::{both_orders, nodes};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        // The scores get smaller before they are summed, so nothing overflows that did not; the scale ends in the weights.
        guarded(
            "scale-into-projection",
            "(mul (matmul ?x ?y) ?c)",
            "(matmul (mul ?x ?c) ?y)",
            Fold,
            "?c is a constant from 2^-12 to 1, and ?x is a view of a matmul by a weight, with or without a bias",
            |m| m.ty("c").rank() == 0 && m.number("c").is_some_and(is_small) && is_projection(m.egraph, m.id("x"), 8),
        ),
        // The one factor that is left is the product of both, so the terms of the sums keep their range.
        guarded(
            "scale-on-one-side",
            "(matmul (mul ?x ?a) (mul ?y ?b))",
            "(matmul (mul ?x (mul ?a ?b)) ?y)",
            Fold,
            "?a, ?b and their product are constants from 2^-12 to 1",
            |m| {
                let scalars = m.ty("a").rank() == 0 && m.ty("b").rank() == 0 && m.root_ty().dtype.is_float();
                let factors = m.number("a").zip(m.number("b"));
                scalars && factors.is_some_and(|(a, b)| [a, b, a * b].into_iter().all(is_small))
            },
        ),
        structural(
            "permute-repeated",
            "permute(reshape(expand(x))) => reshape(permute(expand(reshape(x))))",
            "the last two axes are swapped; the inner expand leaves out axes of extent 1",
            Exact,
            &[Kind::PERMUTE],
            permute_repeated,
        ),
        structural(
            "matmul-of-merged",
            "matmul(reshape(x), reshape(y)) => reshape(matmul(x, y))",
            "both reshapes merge the same leading axes and keep the last two",
            Exact,
            &[Kind::MATMUL],
            matmul_of_merged,
        ),
    ]
}

fn is_small(c: f64) -> bool {
    (2f64.powi(-12)..=1.0).contains(&c)
}

/// Whether a class is a view of a product by a weight, perhaps with a weight added, at most so many views deep.
fn is_projection(egraph: &Egraph, class: Id, depth: usize) -> bool {
    let product = |class: Id| nodes(egraph, class, Kind::MATMUL).any(|node| egraph[node.children[1]].data.weight);
    let views = [Kind::RESHAPE, Kind::PERMUTE];
    !egraph[class].data.weight
        && (product(class)
            || both_orders(egraph, class, PointFn::Add).any(|(x, b)| egraph[b].data.weight && product(x))
            || depth > 0
                && egraph[class]
                    .iter()
                    .any(|node| views.contains(&node.kind) && is_projection(egraph, node.children[0], depth - 1)))
}

/// Repeated heads with an axis of extent 1 beside them (`repeat_interleave`) are repeated heads.
fn permute_repeated(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let swapped = |rank: usize| (0..rank - 2).chain([rank - 1, rank - 2]).collect::<Vec<usize>>();
    let middle = &ty(egraph, node.children[0]).shape;
    if middle.len() < 3 || !matches!(op_of(egraph, node), Some(Op::Permute { axes }) if axes == swapped(middle.len())) {
        return Plans::new();
    }
    nodes(egraph, node.children[0], Kind::RESHAPE)
        .flat_map(|reshape| {
            let whole = &ty(egraph, reshape.children[0]).shape;
            nodes(egraph, reshape.children[0], Kind::EXPAND).map(move |expand| (whole, expand.children[0]))
        })
        .filter_map(|(whole, x)| {
            let own = &ty(egraph, x).shape;
            let lead = whole.len() - own.len();
            let wide: Vec<usize> = whole.iter().copied().filter(|&extent| extent != 1).collect();
            if wide.len() == whole.len() || wide.len() < 3 || !wide.ends_with(&middle[middle.len() - 2..]) {
                return None;
            }
            let kept: Vec<usize> =
                (lead..whole.len()).filter(|&axis| whole[axis] != 1).map(|axis| own[axis - lead]).collect();
            let axes = swapped(wide.len());
            let narrow = Plan::op(Op::Expand { shape: wide }, [Plan::reshape(Plan::Class(x), &kept)]);
            Some(Plan::reshape(Plan::permute(narrow, &axes), &ty(egraph, class).shape))
        })
        .take(1)
        .collect()
}

/// Heads and batch merged into one axis would have to be copied to be so; the matmul reads them where they are.
fn matmul_of_merged(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (a, b) = (node.children[0], node.children[1]);
    let rank = ty(egraph, a).rank();
    if rank < 3 || ty(egraph, b).rank() != rank {
        return Plans::new();
    }
    // Only what a reshape merges: what it splits is another rule's, which keeps repeated heads apart.
    let merged = |of: Id| {
        let last = ty(egraph, of).shape[rank - 2..].to_vec();
        nodes(egraph, of, Kind::RESHAPE)
            .map(|node| node.children[0])
            .filter(move |&x| ty(egraph, x).rank() > rank && ty(egraph, x).shape.ends_with(&last))
    };
    let batch = |of: Id| &ty(egraph, of).shape[..ty(egraph, of).rank() - 2];
    merged(a)
        .find_map(|x| merged(b).find(|&y| batch(y) == batch(x)).map(|y| (x, y)))
        .map(|(x, y)| {
            let product = Plan::op(Op::MatMul {}, [Plan::Class(x), Plan::Class(y)]);
            Plan::reshape(product, &ty(egraph, class).shape)
        })
        .into_iter()
        .collect()
}
