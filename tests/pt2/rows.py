"""The table of statements: one row an operation, with its weight, how its text is made and whether its result is exact.

`make(s, x, t)` gets the scope, the name of a variable that passes the row's test, and its tensor; it returns the text, or
raises `No` where there is nothing fitting. A text that turns out to raise in eager PyTorch is dropped by the generator, so a
row need not be right always. `exact` is True for statements of which a correct implementation gives the same bits, False for
the others, and "ints" if that depends on there being no float. Adding an operation is adding a row.
"""
from dataclasses import dataclass
from typing import Callable

import torch

from scope import No, Scope, boolean, floats, ints, nonempty, numbers, rank, ranks, spread

VIEW, NEW, WRITE, ASSIGN = "view", "new", "write", "assign"  # ASSIGN: a write that is no expression.


@dataclass(frozen=True)
class Row:
    name: str
    weight: float
    kind: str
    exact: bool | str
    tests: tuple[Callable[[torch.Tensor], bool], ...]
    make: Callable[[Scope, str, torch.Tensor], str]


def views(*rows) -> list[Row]:
    return [Row(name, weight, VIEW, True, tests, make) for name, weight, tests, make in rows]


def news(*rows) -> list[Row]:
    return [Row(name, weight, NEW, exact, tests, make) for name, weight, exact, tests, make in rows]


def writes(*rows, kind=WRITE) -> list[Row]:
    return [Row(name, weight, kind, exact, tests, make) for name, weight, exact, tests, make in rows]


def unfold(s: Scope, x: str, t: torch.Tensor, gapped: bool) -> str:
    d = s.rng.randrange(t.dim())
    size = s.rng.randint(1, max(1, t.shape[d] - 1))
    step = size + s.rng.randint(1, 2) if gapped else s.rng.randint(1, size + 1)
    return f"{x}.unfold({d}, {size}, {step})"


def as_strided(s: Scope, x: str, t: torch.Tensor) -> str:
    room = t.untyped_storage().nbytes() // t.element_size()
    size = [s.rng.randint(1, 4) for _ in range(s.rng.randint(1, 3))]
    stride = [s.rng.randint(1, 5) for _ in size]
    last = sum((n - 1) * k for n, k in zip(size, stride))
    if last >= room:
        raise No
    return f"{x}.as_strided({tuple(size)}, {tuple(stride)}, {s.rng.randint(0, room - 1 - last)})"


def view_dtype(s: Scope, x: str, t: torch.Tensor) -> str:
    to = {torch.float32: ("int32", "int32", "int64"), torch.float64: ("int64", "int32"), torch.int64: ("float64", "int32"), torch.int32: ("float32", "int64")}
    return f"{x}.view(torch.{s.rng.choice(to[t.dtype])})"


def expand(s: Scope, x: str, t: torch.Tensor) -> str:
    sizes = [s.rng.choice([2, 3]) if n == 1 else s.rng.choice([n, -1]) for n in t.shape]
    return f"{x}.expand({s.listed([s.rng.randint(1, 3)] * (t.dim() < 4 and s.chance(0.5)) + sizes)})"


def unflatten(s: Scope, x: str, t: torch.Tensor) -> str:
    d = s.dim(t)
    return f"{x}.unflatten({d}, {tuple(s.factors(t.shape[d], 2))})"


VIEWS = views(
    ("view", 5, (), lambda s, x, t: f"{x}.view({s.listed(s.factors(t.numel()))})"),
    ("view_as", 1, (), lambda s, x, t: f"{x}.view_as({s.other(lambda y: y.numel() == t.numel())})"),
    ("reshape", 5, (), lambda s, x, t: f"{x}.reshape({s.listed(s.factors(t.numel()))})"),
    ("permute", 4, (rank(2),), lambda s, x, t: f"{x}.permute({s.listed(s.shuffled(t.dim()))})"),
    ("transpose", 4, (rank(2),), lambda s, x, t: f"{x}.transpose({s.dim(t)}, {s.dim(t)})"),
    ("t", 3, (ranks(0, 2),), lambda s, x, t: f"{x}.t()"),
    ("mT", 2, (rank(2),), lambda s, x, t: f"{x}.mT"),
    ("T", 1, (ranks(2, 2),), lambda s, x, t: f"{x}.T"),
    ("swapaxes", 1, (rank(2),), lambda s, x, t: f"{x}.swapaxes({s.dim(t)}, {s.dim(t)})"),
    ("movedim", 2, (rank(2),), lambda s, x, t: f"{x}.movedim({s.dim(t)}, {s.dim(t)})"),
    ("squeeze", 1, (), lambda s, x, t: f"{x}.squeeze()"),
    ("squeeze dim", 2, (rank(1),), lambda s, x, t: f"{x}.squeeze({s.dim(t)})"),
    ("unsqueeze", 3, (ranks(0, 3),), lambda s, x, t: f"{x}.unsqueeze({s.rng.randint(-t.dim() - 1, t.dim())})"),
    ("expand", 3, (), expand),
    ("expand_as", 1, (), lambda s, x, t: f"{x}.expand_as({s.other(lambda y: s.fits(t.shape, y.shape))})"),
    ("broadcast_to", 1, (), lambda s, x, t: f"torch.broadcast_to({x}, {tuple(s.env[s.other(lambda y: s.fits(t.shape, y.shape))].shape)})"),
    ("index basic", 10, (rank(1),), lambda s, x, t: f"{x}[{s.basic(t)}]"),
    ("select", 3, (rank(1), nonempty), lambda s, x, t: f"{x}.select({(d := s.dim(t))}, {s.rng.randrange(-t.shape[d], t.shape[d])})"),
    ("narrow", 3, (rank(1),), lambda s, x, t: f"{x}.narrow({(d := s.dim(t))}, {(a := s.rng.randint(0, t.shape[d]))}, {s.rng.randint(0, t.shape[d] - a)})"),
    ("split", 2, (rank(1),), lambda s, x, t: f"{x}.split({s.rng.randint(1, 3)}, {s.dim(t)})"),
    ("split sizes", 2, (rank(1),), lambda s, x, t: f"{x}.split([{(d := s.dim(t), a := s.rng.randint(0, t.shape[d]))[1]}, {t.shape[d] - a}], {d})"),
    ("chunk", 2, (rank(1),), lambda s, x, t: f"{x}.chunk({s.rng.randint(1, 4)}, {s.dim(t)})"),
    ("tensor_split", 2, (rank(1),), lambda s, x, t: f"{x}.tensor_split({s.rng.choice(['2', '3', '(1,)', '(1, 3)'])}, {s.dim(t)})"),
    ("unbind", 2, (rank(1),), lambda s, x, t: f"{x}.unbind({s.dim(t)})"),
    ("unfold", 2, (rank(1), nonempty), lambda s, x, t: unfold(s, x, t, False)),
    ("unfold gapped", 3, (rank(1), nonempty), lambda s, x, t: unfold(s, x, t, True)),
    ("diagonal", 3, (rank(2),), lambda s, x, t: f"{x}.diagonal({s.rng.randint(-1, 1)}, {(p := s.shuffled(t.dim()))[0]}, {p[1]})"),
    ("as_strided", 2, (nonempty,), as_strided),
    ("view dtype", 2, (numbers, nonempty), view_dtype),
    ("flatten", 2, (), lambda s, x, t: f"{x}.flatten({s.rng.choice(['', '1', '0, 1', '-2'])})"),
    ("ravel", 1, (), lambda s, x, t: f"{x}.ravel()"),
    ("unflatten", 2, (rank(1),), unflatten),
    ("detach", 1, (), lambda s, x, t: f"{x}.detach()"),
    ("alias", 1, (), lambda s, x, t: f"torch.ops.aten.alias({x})"),
    ("contiguous", 3, (), lambda s, x, t: f"{x}.contiguous()"),
    ("to own dtype", 2, (), lambda s, x, t: f"{x}.to({t.dtype})"),
    ("type_as", 1, (), lambda s, x, t: f"{x}.type_as({s.other()})"),
    ("dropout eval", 1, (floats,), lambda s, x, t: f"F.dropout({x}, 0.5, False)"),
    ("atleast_2d", 1, (ranks(0, 2),), lambda s, x, t: f"torch.atleast_2d({x})"),
)

WRITES = writes(
    ("add_", 6, True, (numbers,), lambda s, x, t: f"{x}.add_({s.operand(t)})"),
    ("add_ alpha", 2, False, (floats,), lambda s, x, t: f"{x}.add_({s.operand(t)}, alpha={s.scalar(t)})"),
    ("sub_", 3, True, (numbers,), lambda s, x, t: f"{x}.sub_({s.operand(t)})"),
    ("mul_", 6, True, (numbers,), lambda s, x, t: f"{x}.mul_({s.operand(t)})"),
    ("div_", 2, False, (floats,), lambda s, x, t: f"{x}.div_({s.rng.choice(['2', '-1.5', '3'])})"),
    ("div_ tensor", 2, False, (floats,), lambda s, x, t: f"{x}.div_({s.operand(t, scalars=0)}.abs() + 0.5)"),
    ("relu_", 3, True, (numbers,), lambda s, x, t: f"{x}.relu_()"),
    ("relu inplace", 1, True, (numbers,), lambda s, x, t: f"F.relu({x}, inplace=True)"),
    ("leaky_relu inplace", 1, True, (floats,), lambda s, x, t: f"F.leaky_relu({x}, 0.25, inplace=True)"),
    ("clamp_", 2, True, (numbers,), lambda s, x, t: f"{x}.clamp_({s.rng.choice(['-1, 1', 'min=0', 'max=2', '-3, 0'])})"),
    ("neg_", 2, True, (numbers,), lambda s, x, t: f"{x}.neg_()"),
    ("abs_", 1, True, (numbers,), lambda s, x, t: f"{x}.abs_()"),
    ("sigmoid_", 2, False, (floats,), lambda s, x, t: f"{x}.sigmoid_()"),
    ("tanh_", 2, False, (floats,), lambda s, x, t: f"{x}.tanh_()"),
    ("sin_", 1, False, (floats,), lambda s, x, t: f"{x}.sin_()"),
    ("exp_", 1, False, (floats,), lambda s, x, t: f"{x}.exp_()"),
    ("pow_", 1, False, (floats,), lambda s, x, t: f"{x}.pow_(2)"),
    ("logical_not_", 1, True, (), lambda s, x, t: f"{x}.logical_not_()"),
    ("gt_", 1, True, (), lambda s, x, t: f"{x}.gt_({s.operand(t)})"),
    ("copy_", 8, True, (), lambda s, x, t: f"{x}.copy_({s.operand(t, scalars=0)})"),
    ("copy_ of itself", 4, True, (rank(1),), lambda s, x, t: f"{x}.copy_({s.itself(x, t)})"),
    ("copy_ shifted", 2, True, (rank(1),), lambda s, x, t: f"{x}[1:].copy_({x}[:-1])"),
    ("add_ shifted", 2, True, (rank(1), numbers), lambda s, x, t: f"{x}[::2].add_({x}[1::2])"),
    ("masked_fill_", 3, True, (), lambda s, x, t: f"{x}.masked_fill_({s.mask(t)}, {s.scalar(t)})"),
    ("index_put_", 3, True, (rank(1), nonempty), lambda s, x, t: f"{x}.index_put_(({(i := s.index(t.shape[0]))},), {s.like(s.shape(f'{x}[{i}]'), t.dtype)})"),
    ("index_put_ accumulate", 2, "ints", (rank(1), nonempty, numbers), lambda s, x, t: f"{x}.index_put_(({(i := s.index(t.shape[0], unique=False))},), {s.like(s.shape(f'{x}[{i}]'), t.dtype)}, accumulate=True)"),
    ("index_put_ pairs", 1, True, (rank(2), nonempty), lambda s, x, t: f"{x}.index_put_(({(i := s.index(t.shape[0], 1 + (min(t.shape[:2]) > 1)))}, {s.index(t.shape[1], 1 + (min(t.shape[:2]) > 1))}), {s.like((1 + (min(t.shape[:2]) > 1), *t.shape[2:]), t.dtype)})"),
    ("index_put_ mask", 1, True, (rank(1),), lambda s, x, t: f"{x}.index_put_(({s.mask(t)},), torch.tensor({s.scalar(t)}, dtype={t.dtype}))"),
    ("index_add_", 3, "ints", (rank(1), nonempty, numbers), lambda s, x, t: f"{x}.index_add_({(d := s.dim(t))}, {(i := s.index(t.shape[d], unique=False))}, {s.like(s.resized(t, d, i), t.dtype)})"),
    ("index_copy_", 3, True, (rank(1), nonempty), lambda s, x, t: f"{x}.index_copy_({(d := s.dim(t))}, {(i := s.index(t.shape[d]))}, {s.like(s.resized(t, d, i), t.dtype)})"),
    ("index_fill_", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}.index_fill_({(d := s.dim(t))}, {s.index(t.shape[d], unique=False)}, {s.scalar(t)})"),
    ("scatter_", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}.scatter_({(d := s.dim(t))}, torch.tensor({s.places(t, d)}), {s.like(t.shape, t.dtype)})"),
    ("scatter_ value", 1, True, (rank(1), nonempty), lambda s, x, t: f"{x}.scatter_({(d := s.dim(t))}, torch.tensor({s.places(t, d)}), {s.scalar(t)})"),
    ("scatter_add_", 2, "ints", (rank(1), nonempty, numbers), lambda s, x, t: f"{x}.scatter_add_({(d := s.dim(t))}, torch.tensor({s.places(t, d, unique=False)}), {s.like(t.shape, t.dtype)})"),
    ("addcmul_", 2, False, (floats,), lambda s, x, t: f"{x}.addcmul_({s.operand(t, scalars=0, dtype=t.dtype)}, {s.operand(t, scalars=0, dtype=t.dtype)}, value={s.scalar(t)})"),
    ("addcdiv_", 1, False, (floats,), lambda s, x, t: f"{x}.addcdiv_({s.operand(t, scalars=0, dtype=t.dtype)}, {s.operand(t, scalars=0, dtype=t.dtype)}.abs() + 0.5)"),
    ("lerp_", 2, False, (floats,), lambda s, x, t: f"{x}.lerp_({s.like(t.shape, t.dtype)}, {s.rng.choice(['0.25', '0.75'])})"),
    ("cumsum_", 1, "ints", (rank(1), numbers), lambda s, x, t: f"{x}.cumsum_({s.dim(t)})"),
    ("tril_", 1, True, (rank(2),), lambda s, x, t: f"{x}.{s.rng.choice(['tril_', 'triu_'])}({s.rng.randint(-1, 1)})"),
    ("addmm_", 1, False, (ranks(2, 2), floats, nonempty), lambda s, x, t: f"{x}.addmm_({s.like((t.shape[0], 3), t.dtype)}, {s.like((3, t.shape[1]), t.dtype)})"),
    ("unsqueeze_", 0.5, True, (ranks(0, 3),), lambda s, x, t: f"{s.private(x)}.unsqueeze_({s.rng.randint(0, t.dim())})"),
    ("transpose_", 0.5, True, (rank(2),), lambda s, x, t: f"{s.private(x)}.transpose_(0, 1)"),
) + writes(
    ("fill_", 2, True, (), lambda s, x, t: f"{x}.fill_({s.scalar(t)})"),
    ("zero_", 2, True, (), lambda s, x, t: f"{x}.zero_()"),
) + writes(
    ("iadd", 2, True, (numbers,), lambda s, x, t: f"{x} += {s.operand(t)}"),
    ("imul", 2, True, (numbers,), lambda s, x, t: f"{x} *= {s.operand(t)}"),
    ("set basic", 6, True, (rank(1),), lambda s, x, t: f"{x}[{(i := s.basic(t))}] = {s.operand(s.eval(f'{x}[{i}]'))}"),
    ("set basic iadd", 3, True, (rank(1), numbers), lambda s, x, t: f"{x}[{(i := s.basic(t))}] += {s.operand(s.eval(f'{x}[{i}]'))}"),
    ("set all", 1, True, (), lambda s, x, t: f"{x}[...] = {s.operand(t)}"),
    ("set rows by mask", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}[torch.tensor({[s.chance(0.5) for _ in range(t.shape[0])]})] = {s.scalar(t) if s.chance(0.5) else s.like(t.shape[1:], t.dtype)}"),
    ("set mask", 3, True, (rank(1),), lambda s, x, t: f"{x}[{s.mask(t)}] = {s.scalar(t)}"),
    ("set list", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}[{(i := s.index_list(t.shape[0]))}] = {s.operand(s.eval(f'{x}[{i}]'), dtype=t.dtype)}"),
    ("set column list", 2, True, (rank(2), nonempty), lambda s, x, t: f"{x}[:, {(i := s.index_list(t.shape[1]))}] = {s.operand(s.eval(f'{x}[:, {i}]'), dtype=t.dtype)}"),
    ("set tensor and slice", 2, True, (rank(2), nonempty), lambda s, x, t: f"{x}[{(i := s.index(t.shape[0]) + ', ' + s.slice(t.shape[1]))}] = {s.operand(s.eval(f'{x}[{i}]'), dtype=t.dtype)}"),
    ("set int and list", 1, True, (rank(2), nonempty), lambda s, x, t: f"{x}[{s.rng.randrange(t.shape[0])}, {(i := s.index_list(t.shape[1]))}] = {s.scalar(t)}"),
    ("loop rows", 1, True, (rank(1), numbers), lambda s, x, t: f"for i in range({t.shape[0]}): {x}[i].mul_({s.scalar(t)}).add_(i)"),
    ("loop sums", 1, True, (rank(1), numbers), lambda s, x, t: f"for i in range(1, {t.shape[0]}): {x}[i].add_({x}[i - 1])"),
    ("loop unbind", 1, True, (rank(1), numbers, nonempty), lambda s, x, t: f"for r in {x}.unbind({s.dim(t)}): r.{s.rng.choice(['neg_()', 'add_(1)', 'mul_(2)', 'relu_()'])}"),
    ("loop windows", 1, True, (rank(1), numbers), lambda s, x, t: f"for i in range(0, {t.shape[0]} - 1): {x}[i:i + 2].mul_({s.rng.choice(['2', '-1'])})"),
    ("loop split", 1, True, (rank(1),), lambda s, x, t: f"for a, c in zip({x}.split(1), {s.like(t.shape, t.dtype)}.split(1)): a.copy_(c)"),
    kind=ASSIGN)


def matrices(s: Scope, x: str, t: torch.Tensor, form: str) -> str:
    return form.format(x=x, y=s.like((t.shape[-1], s.rng.randint(1, 4)), t.dtype))


def reduced(s: Scope, x: str, t: torch.Tensor, *names: str) -> str:
    where = s.rng.choice(["", f"{s.dim(t)}", f"{s.dim(t)}, keepdim=True", f"{tuple(s.shuffled(t.dim())[:2])}"]) if t.dim() else ""
    return f"{x}.{s.rng.choice(names)}({where})"


def concatenated(s: Scope, x: str, t: torch.Tensor) -> str:
    d = s.rng.randrange(t.dim())
    parts = [x] + [s.like((*t.shape[:d], s.rng.randint(1, 3), *t.shape[d + 1:]), t.dtype) for _ in range(s.rng.randint(1, 2))]
    return f"torch.cat([{', '.join(s.rng.sample(parts, len(parts)))}], {d})"


def batch_norm(s: Scope, x: str, t: torch.Tensor, training: bool) -> str:
    mean, var, weight = (s.declare("b", f"{make}({t.shape[1]})") for make in ("normal", "positive", "normal"))
    return f"F.batch_norm({x}, {mean}, {var}, {weight}, None, {training}, 0.1)"


def module(s: Scope, x: str, text: str) -> str:
    return f"{s.declare('n', f'filled({text})')}({x})"


def condition(s: Scope, x: str, t: torch.Tensor) -> str:
    bodies = ["a.clone().mul_(2)", "a.clone().add_(1)", "a.clone().neg_().add_(a)", "a * 2", "a.clone().copy_(a * 3)", "a.clone().relu_()", "a - 1"]
    then, otherwise = s.rng.sample(bodies, 2)
    return f"torch.cond({s.other(floats, nonempty)}.sum() > 0.05, lambda a: {then}, lambda a: {otherwise}, ({x},))"


def pad(s: Scope, x: str, t: torch.Tensor) -> str:
    amounts = s.listed([s.rng.randint(0, 2) for _ in range(2 * s.rng.randint(1, t.dim()))])
    return f"F.pad({x}, ({amounts}), value={s.scalar(t)})"


f32 = lambda t: t.dtype == torch.float32
channels = lambda t: 2 <= t.dim() <= 4 and f32(t) and t.shape[1] > 0 and t.numel() // t.shape[1] > 1

NEWS = news(
    ("clone", 6, True, (), lambda s, x, t: f"{x}.clone()"),
    ("clone contiguous", 2, True, (), lambda s, x, t: f"{x}.clone(memory_format=torch.contiguous_format)"),
    ("clone channels_last", 1, True, (ranks(4, 4),), lambda s, x, t: f"{x}.clone(memory_format=torch.channels_last)"),
    ("add", 5, True, (numbers,), lambda s, x, t: f"{x} + {s.operand(t, both=True)}"),
    ("sub", 3, True, (numbers,), lambda s, x, t: f"{x} - {s.operand(t, both=True)}"),
    ("mul", 5, True, (), lambda s, x, t: f"{x} * {s.operand(t, both=True)}"),
    ("rsub", 1, True, (numbers,), lambda s, x, t: f"{s.rng.choice(['1', '2.5'])} - {x}"),
    ("div", 2, False, (numbers,), lambda s, x, t: f"{x} / ({s.operand(t, scalars=0, both=True)}.abs() + 0.5)"),
    ("floor_divide", 1, "ints", (ints,), lambda s, x, t: f"{x} // {s.rng.choice(['2', '3', '-2'])}"),
    ("remainder", 1, "ints", (ints,), lambda s, x, t: f"{x} % {s.rng.choice(['2', '3', '5'])}"),
    ("maximum", 2, True, (), lambda s, x, t: f"torch.{s.rng.choice(['maximum', 'minimum'])}({x}, {s.operand(t, scalars=0, both=True)})"),
    ("compare", 3, True, (), lambda s, x, t: f"{x} {s.rng.choice(['>', '<', '>=', '<=', '==', '!='])} {s.operand(t, both=True)}"),
    ("logic", 1, True, (boolean,), lambda s, x, t: f"{x} {s.rng.choice(['&', '|', '^'])} {s.mask(t)}"),
    ("unary exact", 3, True, (numbers,), lambda s, x, t: f"{x}.{s.rng.choice(['neg', 'abs', 'relu', 'sign', 'logical_not'])}()"),
    ("unary", 4, False, (floats,), lambda s, x, t: f"{x}.{s.rng.choice(['sin', 'cos', 'tanh', 'sigmoid', 'exp', 'square', 'erf', 'expm1', 'atan'])}()"),
    ("activation", 2, False, (floats,), lambda s, x, t: f"F.{s.rng.choice(['gelu', 'silu', 'softplus', 'hardswish', 'elu', 'mish', 'leaky_relu'])}({x})"),
    ("log", 1, False, (floats,), lambda s, x, t: f"({x}.abs() + 0.5).{s.rng.choice(['log', 'sqrt', 'rsqrt', 'reciprocal', 'log1p'])}()"),
    ("to dtype", 4, True, (), lambda s, x, t: f"{x}.to(torch.{s.rng.choice(['float32', 'float64', 'int64', 'int32', 'bool'])})"),
    ("where", 3, True, (), lambda s, x, t: f"torch.where({s.mask(t)}, {x}, {s.operand(t)})"),
    ("cat", 3, True, (rank(1),), concatenated),
    ("stack", 2, True, (ranks(0, 3),), lambda s, x, t: f"torch.stack([{x}, {s.like(t.shape, t.dtype)}], {s.rng.randint(0, t.dim())})"),
    ("pad", 2, True, (rank(1), numbers), pad),
    ("gather", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}.gather({(d := s.dim(t))}, torch.tensor({s.places(t, d, unique=False)}))"),
    ("index_select", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}.index_select({(d := s.dim(t))}, {s.index(t.shape[d], unique=False)})"),
    ("index list", 2, True, (rank(1), nonempty), lambda s, x, t: f"{x}[{s.index_list(t.shape[0])}]"),
    ("index tensor", 2, True, (rank(2), nonempty), lambda s, x, t: f"{x}[{s.slice(t.shape[0])}, {s.index(t.shape[1], unique=False)}]"),
    ("embedding", 1, True, (ranks(2, 2), floats, nonempty), lambda s, x, t: f"F.embedding({s.index(t.shape[0], unique=False)}, {x})"),
    ("sort", 1, True, (rank(1),), lambda s, x, t: f"{x}.sort(dim={s.dim(t)}, stable=True, descending={s.chance(0.5)})"),
    ("topk", 1, True, (rank(1), nonempty), lambda s, x, t: f"{s.distinct(x)}.topk({s.rng.randint(1, t.shape[-1])})"),
    ("flip", 2, True, (rank(1),), lambda s, x, t: f"{x}.flip({s.dim(t)})"),
    ("roll", 2, True, (rank(1),), lambda s, x, t: f"{x}.roll({s.rng.randint(-2, 3)}, {s.dim(t)})"),
    ("tril", 1, True, (rank(2),), lambda s, x, t: f"{x}.{s.rng.choice(['tril', 'triu'])}({s.rng.randint(-1, 1)})"),
    ("repeat", 1, True, (ranks(1, 3),), lambda s, x, t: f"{x}.repeat({s.listed([s.rng.randint(1, 2) for _ in range(t.dim())])})"),
    ("repeat_interleave", 1, True, (rank(1),), lambda s, x, t: f"{x}.repeat_interleave(2, {s.dim(t)})"),
    ("new_zeros", 2, True, (), lambda s, x, t: f"{x}.new_zeros({tuple(t.shape)})"),
    ("empty_like copy_", 2, True, (), lambda s, x, t: f"torch.empty_like({x}).copy_({s.operand(t, scalars=0)})"),
    ("full_like", 1, True, (), lambda s, x, t: f"torch.full_like({x}, {s.scalar(t)})"),
    ("arange", 1, True, (), lambda s, x, t: f"torch.arange({s.rng.randint(1, 8)}, dtype={t.dtype})"),
    ("constant", 1, True, (), lambda s, x, t: f"torch.tensor({s.literal()})"),
    ("sum", 4, "ints", (), lambda s, x, t: reduced(s, x, t, "sum")),
    ("mean", 3, False, (floats, nonempty), lambda s, x, t: reduced(s, x, t, "mean")),
    ("amax", 2, True, (numbers, nonempty), lambda s, x, t: reduced(s, x, t, "amax", "amin")),
    ("max dim", 1, True, (rank(1), numbers, nonempty), lambda s, x, t: f"{s.distinct(x)}.{s.rng.choice(['max', 'min'])}({s.dim(t)})"),
    ("argmax", 1, True, (rank(1), numbers, nonempty), lambda s, x, t: f"{s.distinct(x)}.{s.rng.choice(['argmax', 'argmin', 'argsort'])}({s.dim(t)})"),
    ("prod", 1, "ints", (rank(1),), lambda s, x, t: f"{x}.prod({s.dim(t)})"),
    ("any", 2, True, (rank(1),), lambda s, x, t: f"({x} > 0).{s.rng.choice(['any', 'all', 'sum'])}({s.dim(t)})"),
    ("cumsum", 2, "ints", (rank(1),), lambda s, x, t: f"{x}.{s.rng.choice(['cumsum', 'cumsum', 'cumprod'])}({s.dim(t)})"),
    ("var", 2, False, (floats, rank(1), nonempty, spread), lambda s, x, t: f"{x}.{s.rng.choice(['var', 'std'])}({s.dim(t)}, unbiased={s.chance(0.5)})"),
    ("norm", 1, False, (floats, rank(1), nonempty), lambda s, x, t: f"{x}.norm({s.rng.choice(['', 'dim=0', '1, dim=-1'])})"),
    ("logsumexp", 1, False, (floats, rank(1), nonempty), lambda s, x, t: f"{x}.logsumexp({s.dim(t)})"),
    ("matmul", 4, False, (rank(1), floats), lambda s, x, t: matrices(s, x, t, "{x} @ {y}")),
    ("mm", 2, False, (ranks(2, 2), floats), lambda s, x, t: matrices(s, x, t, "torch.mm({x}, {y})")),
    ("bmm", 2, False, (ranks(3, 3), floats), lambda s, x, t: f"torch.bmm({x}, {s.like((t.shape[0], t.shape[2], 2), t.dtype)})"),
    ("matmul transposed", 1, False, (rank(2), floats), lambda s, x, t: f"{x} @ {x}.mT"),
    ("linear", 2, False, (rank(1), floats, nonempty), lambda s, x, t: f"F.linear({x}, {s.like((3, t.shape[-1]), t.dtype)}, {s.like((3,), t.dtype)})"),
    ("addmm", 1, False, (ranks(2, 2), floats, nonempty), lambda s, x, t: f"torch.addmm({s.like((2,), t.dtype)}, {x}, {s.like((t.shape[1], 2), t.dtype)}, alpha=0.5)"),
    ("einsum", 1, False, (ranks(2, 2), floats), lambda s, x, t: matrices(s, x, t, "torch.einsum('ij,jk->ki', {x}, {y})")),
    ("dot", 1, False, (ranks(1, 1), floats), lambda s, x, t: f"torch.dot({x}, {s.like(t.shape, t.dtype)})"),
    ("outer", 1, True, (ranks(1, 1), floats), lambda s, x, t: f"torch.outer({x}, {s.like((3,), t.dtype)})"),
    ("softmax", 2, False, (floats, rank(1)), lambda s, x, t: f"F.{s.rng.choice(['softmax', 'log_softmax'])}({x}, {s.dim(t)})"),
    ("layer_norm", 2, False, (floats, rank(1), nonempty, spread), lambda s, x, t: f"F.layer_norm({x}, {tuple(t.shape[-1:])}, {s.like(t.shape[-1:], t.dtype)})"),
    ("group_norm", 1, False, (channels, rank(3), spread), lambda s, x, t: f"F.group_norm({x}, 1)"),
    ("batch_norm eval", 2, False, (channels,), lambda s, x, t: batch_norm(s, x, t, False)),
    ("batch_norm train", 4, False, (channels, spread), lambda s, x, t: batch_norm(s, x, t, True)),
    ("BatchNorm module", 2, False, (channels, spread), lambda s, x, t: module(s, x, f"nn.BatchNorm{max(1, t.dim() - 2)}d({t.shape[1]})")),
    ("Linear module", 1, False, (rank(1), f32, nonempty), lambda s, x, t: module(s, x, f"nn.Linear({t.shape[-1]}, 3)")),
    ("conv1d", 1, False, (ranks(3, 3), f32, nonempty), lambda s, x, t: f"F.conv1d({x}, {s.like((2, t.shape[1], 2), t.dtype)}, padding=1)"),
    ("conv2d", 1, False, (ranks(4, 4), f32, nonempty), lambda s, x, t: f"F.conv2d({x}, {s.like((2, t.shape[1], 2, 2), t.dtype)}, padding=1)"),
    ("max_pool", 1, True, (ranks(3, 3), f32, nonempty), lambda s, x, t: f"F.max_pool1d({x}, 2)"),
    ("cond", 1, True, (numbers,), condition),
)

ROWS = {VIEW: VIEWS, NEW: NEWS, WRITE: [r for r in WRITES if r.kind == WRITE], ASSIGN: [r for r in WRITES if r.kind == ASSIGN]}
TARGETS_MAY_OVERLAP = {"fill_", "zero_"}
