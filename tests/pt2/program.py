"""A program of the harness: a module as a list of statements, its source text, and the values eager PyTorch gives it.

Names say what a variable is: `x0` a user input, `b0` a buffer, `p0` a parameter, `n0` a submodule, `v0` a value, and `s0` a
storage that exists in `__init__` only, of which buffers and parameters are views.
"""
import linecache
import pathlib
import re
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import torch
from torch import nn

LIMIT = 1e4  # A float beyond this is an explosion: such a program is rejected.
JITTER = 1e-7  # The relative disturbance of each inexact statement by which an ill-conditioned program is found.

PRELUDE = (pathlib.Path(__file__).parent / "prelude.py").read_text().split('"""\n', 1)[1]
NAME = re.compile(r"\b([xbpnsv]\d+)\b")
STATE = re.compile(r"\b([bpn]\d+)\b")


PRELUDE_CODE = compile(PRELUDE, "prelude", "exec")


def prelude() -> dict:
    space: dict = {}
    exec(PRELUDE_CODE, space)
    return space


def load(text: str, file: str) -> dict:
    """Runs the text of a module under a file name that is no path, which is what its archives will name as their source."""
    space: dict = {"__name__": file.removesuffix(".py")}
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), space)
    return space


class Rejected(Exception):
    """The program is no test: eager raises, a value is not finite, explodes, or depends on rounding."""


@dataclass(frozen=True)
class Statement:
    row: str
    text: str
    defines: tuple[str, ...]
    touches: tuple[str, ...]  # What has new values after it: the names it defines, or the target it writes.
    exact: bool

    def uses(self) -> set[str]:
        return set(NAME.findall(self.text))


@dataclass(frozen=True)
class Call:
    """What one call of the module was given and what it left behind."""
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    mutated: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    wrote_inputs: bool
    wrote_state: frozenset[str]

    def save(self, arrays: pathlib.Path, state: pathlib.Path) -> None:
        """in*, out* and (if the call wrote any input) mut* in one file, the state it wrote by its names in the other."""
        np.savez(arrays, **self.inputs, **self.outputs, **(self.mutated if self.wrote_inputs else {}))
        if self.wrote_state:
            np.savez(state, **{name: self.state[name] for name in sorted(self.wrote_state)})


@dataclass(frozen=True)
class Program:
    title: str
    inits: tuple[tuple[str, str], ...]  # name, line of __init__
    inputs: tuple[tuple[str, str], ...]  # name, expression
    statements: tuple[Statement, ...]
    returns: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return all(s.exact for s in self.statements)

    def source(self, jitter: bool = False) -> str:
        body = []
        for s in self.statements:
            body.append(on_self(s.text))
            if jitter and not s.exact:
                body += [f"jitter({on_self(name)})" for name in s.touches]
        returns = ", ".join(map(on_self, self.returns))
        lines = [f'"""{self.title}"""', *PRELUDE.splitlines(), "", "", "class Program(nn.Module):", "    def __init__(self):", "        super().__init__()",
                 "        G.manual_seed(1)", *(f"        {line}" for _, line in self.inits), "",
                 f"    def forward({', '.join(['self', *(name for name, _ in self.inputs)])}):", *(f"        {line}" for line in body),
                 f"        return {returns}", "", "", "def inputs(call=0):", "    G.manual_seed(2 + call)",
                 f"    return ({''.join(e + ', ' for _, e in self.inputs)})", ""]
        return "\n".join(lines)

    def trimmed(self) -> "Program":
        """Without the buffers, parameters and inputs that nothing mentions; at least one input stays."""
        used = set(self.returns).union(*(s.uses() for s in self.statements))
        inits = list(self.inits)
        for i in reversed(range(len(inits))):
            name, _ = inits[i]
            if name in used:
                used |= set(NAME.findall(inits[i][1]))
            else:
                del inits[i]
        inputs = tuple(p for p in self.inputs if p[0] in used) or self.inputs[:1]
        return replace(self, inits=tuple(inits), inputs=inputs)

    def load(self, jitter: bool = False) -> dict:
        space = load(self.source(jitter), "program.py")
        space["jitter"] = disturb
        return space

    def calls(self) -> list[Call]:
        """One call by eager PyTorch, and a second one with new inputs if the first leaves state behind."""
        with torch.no_grad(), mock.patch("torch.cond", branch):
            calls = run(*self.load_pair())
            for call in calls:
                for t in [*call.outputs.values(), *call.mutated.values(), *call.state.values()]:
                    require_moderate(t)
            if not self.exact:
                for a, b in zip(calls, run(*self.load_pair(jitter=True))):
                    for group in ("outputs", "mutated", "state"):
                        for name, t in getattr(a, group).items():
                            other = getattr(b, group)[name]
                            if distance(t, other) > 3e-6:
                                raise Rejected("depends on rounding")
        return calls

    def load_pair(self, jitter: bool = False):
        space = self.load(jitter)
        try:
            return space["Program"](), space["inputs"]
        except Exception as error:  # a candidate of the minimiser need not even come to be
            raise Rejected(f"{type(error).__name__} when made") from error


def on_self(text: str) -> str:
    return STATE.sub(r"self.\1", text)


def branch(predicate, then, otherwise, operands=()):
    """What `torch.cond` means; eager's own would compile the branches first."""
    return then(*operands) if predicate else otherwise(*operands)


def disturb(t: torch.Tensor) -> None:
    if t.is_floating_point():
        t.copy_(t * (1 + JITTER * torch.randn(t.shape, dtype=torch.float64)))


def require_moderate(t: np.ndarray) -> None:
    if t.dtype.kind == "f" and t.size and not (np.abs(t) <= LIMIT).all():
        raise Rejected("not finite or too large")


def distance(expected: np.ndarray, actual: np.ndarray) -> float:
    """The largest difference over the largest expected value."""
    if not expected.size:
        return 0.0
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    difference = float(np.abs(a - b).max())
    return 0.0 if difference == 0 else difference / max(float(np.abs(a).max()), np.finfo(np.float32).tiny)


def array(t: torch.Tensor) -> np.ndarray:
    return t.detach().contiguous().numpy().copy()


def state_of(module: nn.Module) -> dict[str, np.ndarray]:
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: array(t) for name, t in named}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def run(module, inputs) -> list[Call]:
    """Calls a module once, and again if its state changed."""
    calls = []
    while not calls or len(calls) < 2 and calls[0].wrote_state:
        given = inputs(len(calls))
        before, arrays = state_of(module), [array(t) for t in given]
        try:
            result = module(*given)
        except Exception as error:
            raise Rejected(f"raises {type(error).__name__}") from error
        outputs = [t for t in torch.utils._pytree.tree_leaves(result) if torch.is_tensor(t)]
        after, state = [array(t) for t in given], state_of(module)
        calls.append(Call(
            inputs={f"in{i}": a for i, a in enumerate(arrays)},
            outputs={f"out{i}": array(t) for i, t in enumerate(outputs)},
            mutated={f"mut{i}": a for i, a in enumerate(after)},
            state=state,
            wrote_inputs=not all(map(same, arrays, after)),
            wrote_state=frozenset(name for name in state if not same(state[name], before[name])),
        ))
    return calls
