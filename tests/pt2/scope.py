"""What a row of the table may use to make its text: the variables there are, and choices among them.

All choices come from one seeded generator. The sizes are small: up to 4 dimensions (rarely 5, by `unfold`) of extents 0 to 6.
"""
import random
from typing import Callable

import torch

Test = Callable[[torch.Tensor], bool]


class No(Exception):
    """There is nothing of the kind a row asks for."""


def rank(least: int) -> Test:
    return ranks(least, 9)


def ranks(least: int, most: int) -> Test:
    return lambda t: least <= t.dim() <= most


def floats(t: torch.Tensor) -> bool:
    return t.is_floating_point()


def boolean(t: torch.Tensor) -> bool:
    return t.dtype == torch.bool


def numbers(t: torch.Tensor) -> bool:
    return not boolean(t)


def ints(t: torch.Tensor) -> bool:
    return numbers(t) and not floats(t)


def i64(t: torch.Tensor) -> bool:
    return t.dtype == torch.int64


def nonempty(t: torch.Tensor) -> bool:
    return t.numel() > 0


def spread(t: torch.Tensor) -> bool:
    """Along every axis elements differ: where they do not, a variance is zero, and what eager computes in its place is noise."""
    return all(n < 2 or bool((t.double().std(d) > 1e-2).all()) for d, n in enumerate(t.shape))


def own(t: torch.Tensor) -> bool:
    """Whether no two elements are one place in memory."""
    places = torch.zeros((), dtype=torch.int64)
    for n, stride in zip(t.shape, t.stride()):
        places = places[..., None] + torch.arange(n) * stride
    return len(set(places.flatten().tolist())) == t.numel()


class Scope:
    def __init__(self, rng: random.Random, env: dict[str, torch.Tensor], declare: Callable[[str, str], str]):
        self.rng, self.env, self.declare = rng, env, declare

    # ---- choices ----
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def other(self, *tests: Test) -> str:
        """A variable that passes the tests, a recent one more often."""
        names = [name for name, t in self.env.items() if isinstance(t, torch.Tensor) and all(test(t) for test in tests)]
        if not names:
            raise No
        return self.rng.choice(names[-4:] if self.chance(0.4) else names)

    def dim(self, t: torch.Tensor) -> int:
        if not t.dim():
            raise No
        return self.rng.randrange(-t.dim(), t.dim())

    def shuffled(self, n: int) -> list[int]:
        return self.rng.sample(range(n), n)

    def factors(self, n: int, most: int = 4) -> list[int]:
        """Extents whose product is `n`, one of them possibly written -1."""
        sizes = []
        for _ in range(self.rng.randint(0, most - 1)):
            k = self.rng.choice([k for k in range(1, 7) if n % k == 0])
            sizes.append(k)
            n //= k
        sizes.append(n)
        self.rng.shuffle(sizes)
        if n and self.chance(0.25):
            sizes[self.rng.randrange(len(sizes))] = -1
        return sizes

    @staticmethod
    def listed(sizes: list[int]) -> str:
        return ", ".join(map(str, sizes))

    def scalar(self, t: torch.Tensor) -> str:
        if boolean(t):
            return self.rng.choice(["True", "False"])
        return self.rng.choice(["2", "-1", "3", "1"] if ints(t) else ["0.5", "-1.5", "2", "3.0", "0.1", "-1"])

    # ---- operands ----
    @staticmethod
    def fits(shape, onto) -> bool:
        """Whether `shape` broadcasts to `onto`."""
        return len(shape) <= len(onto) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(onto)))

    def operand(self, t: torch.Tensor, scalars: float = 0.25, both: bool = False, dtype: torch.dtype | None = None) -> str:
        """Something to combine with `t` or to store into it: a scalar, a tensor that broadcasts, or part of a larger one."""
        if self.chance(scalars):
            return self.scalar(t)
        right = lambda y: (dtype is None or y.dtype == dtype) and (numbers(y) or boolean(t) or self.chance(0.2))
        fits = lambda y: right(y) and (self.fits(y.shape, t.shape) or both and self.fits(t.shape, y.shape))
        try:
            if self.chance(0.75):
                return self.other(fits)
        except No:
            pass
        return self.like(t.shape, dtype or t.dtype)

    def like(self, shape, dtype: torch.dtype) -> str:
        """A tensor of just this shape and dtype, made of a variable if one is large enough."""
        shape = tuple(shape)
        count = torch.Size(shape).numel()
        try:
            name = self.other(lambda y: y.dtype == dtype and y.numel() >= count or y.numel() >= count and self.chance(0.1))
        except No:
            return f"torch.arange({count}, dtype={dtype}).reshape({shape})"
        y = self.env[name]
        text = name
        if y.shape != shape:
            text += ("" if y.dim() == 1 else ".reshape(-1)" if self.chance(0.7) else ".flatten()") + ("" if y.numel() == count else f"[:{count}]")
            text += "" if len(shape) == 1 else f".reshape({shape})" if self.chance(0.5) else f".view({shape})"
        return text + ("" if y.dtype == dtype else f".to({dtype})")

    def mask(self, t: torch.Tensor) -> str:
        try:
            if self.chance(0.4):
                return self.other(boolean, lambda y: self.fits(y.shape, t.shape))
        except No:
            pass
        return f"({self.other(lambda y: y.shape == t.shape)} {self.rng.choice(['>', '<'])} {self.rng.choice(['0', '1', '0.5'])})"

    def itself(self, x: str, t: torch.Tensor) -> str:
        """The same elements elsewhere, by a copy or by a view that overlaps its destination."""
        d = self.rng.randrange(t.dim())
        forms = [f"{x}.flip({d})", f"{x}.roll(1, {d})", f"{x}.clone()", f"{x}", f"{x}.narrow({d}, 0, 1)", f"{x} * 2", f"{x}.sum({d}, keepdim=True)"]
        if t.dim() > 1 and t.shape[0] == t.shape[1]:
            forms += [f"{x}.transpose(0, 1)"] * 3
        return self.rng.choice(forms)

    def distinct(self, x: str) -> str:
        """`x` if no two of its elements are equal, so that an order of them is unique."""
        if len(set(self.env[x].flatten().tolist())) != self.env[x].numel():
            raise No
        return x

    def private(self, x: str) -> str:
        """`x` if it is a value known under this name only, so that its shape may be changed in place."""
        if x[0] != "v" or sum(t is self.env[x] for t in self.env.values()) > 1:
            raise No
        return x

    # ---- indices ----
    def slice(self, n: int) -> str:
        if not n or self.chance(0.25):
            return ":"
        a = self.rng.randrange(n)
        b = self.rng.randint(a + (self.chance(0.9)), n)
        text = f"{self.rng.choice([a, a - n]) if a else self.rng.choice(['', 0])}:{self.rng.choice([b, b - n]) if b < n else self.rng.choice(['', n, n + 3])}"
        return text + self.rng.choice(["", "", ":2", ":3"])

    def basic(self, t: torch.Tensor) -> str:
        """Slices, integers, `None` and `...`: an index that gives a view."""
        items = []
        for n in t.shape[:self.rng.randint(1, t.dim())]:
            items.append(str(self.rng.randrange(-n, n)) if n and self.chance(0.3) else self.slice(n))
        if self.chance(0.15) and t.dim() < 4:
            items.insert(self.rng.randint(0, len(items)), "None")
        if self.chance(0.1):
            items.insert(0 if t.dim() == len(items) else len(items), "...")
        return ", ".join(items)

    def indices(self, n: int, count: int | None = None, unique: bool = True) -> list[int]:
        count = self.rng.randint(1, n if unique else n + 1) if count is None else count
        return self.rng.sample(range(n), count) if unique else [self.rng.randrange(n) for _ in range(count)]

    def index_list(self, n: int) -> str:
        return str(self.indices(n))

    def index(self, n: int, count: int | None = None, unique: bool = True) -> str:
        """A vector of indices below `n`: a literal, a range, or (where they may repeat) computed from an integer variable."""
        if not n:
            raise No
        if not unique and count is None and self.chance(0.4):
            try:
                return f"({self.other(i64, ranks(1, 1), nonempty, lambda y: y.numel() < 7)} % {n})"
            except No:
                pass
        if count is None and self.chance(0.2):
            return f"torch.arange({self.rng.randint(1, n)})"
        return f"torch.tensor({self.indices(n, count, unique)})"

    def places(self, t: torch.Tensor, d: int, unique: bool = True) -> str:
        """Nested lists of indices along dimension `d`, of the shape of `t` or less."""
        shape = [self.rng.randint(1, n) for n in t.shape]
        rows = [torch.tensor(self.indices(t.shape[d], shape[d], unique)) for _ in range(torch.Size(shape).numel() // shape[d])]
        d %= t.dim()
        rest = shape[:d] + shape[d + 1:]
        return str(torch.stack(rows).reshape(*rest, shape[d]).movedim(-1, d).tolist())

    def literal(self) -> str:
        row = lambda: [self.rng.randint(-5, 5) for _ in range(3)]
        values = self.rng.choice([row(), [row(), row()]])
        return f"{values}, dtype=torch.{self.rng.choice(['float32', 'int64', 'int32'])}"

    # ---- what a text gives ----
    def eval(self, text: str) -> torch.Tensor:
        return eval(text, {"torch": torch}, self.env)

    def shape(self, text: str) -> tuple[int, ...]:
        return tuple(self.eval(text).shape)

    def resized(self, t: torch.Tensor, d: int, index: str) -> list[int]:
        """The shape of `t` with as many elements along `d` as `index` has."""
        shape = list(t.shape)
        shape[d] = self.eval(index).numel()
        return shape
