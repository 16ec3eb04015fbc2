"""Makes a random program: statement by statement, each tried in eager PyTorch as it is written.

A statement that raises, gives a value that is not finite or too large, or reads what it overwrites in an order PyTorch does not
promise, is dropped, and the values are computed again from the start.
"""
import copy
import random
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn

from program import LIMIT, NAME, Program, Rejected, Statement, branch, prelude
from rows import ASSIGN, NEW, ROWS, TARGETS_MAY_OVERLAP, VIEW, WRITE, Row
from scope import No, Scope, own

LEAST, MOST = 3, 14  # statements
ELEMENTS = 400  # of a tensor
KINDS = {VIEW: 36, WRITE: 26, ASSIGN: 10, NEW: 28}
MAKERS = {"f32": ("normal", []), "f64": ("normal", ["dtype=torch.float64"]), "i64": ("whole", []),
          "i32": ("whole", ["dtype=torch.int32"]), "bool": ("truth", [])}
DTYPES = ["f32"] * 7 + ["f64", "i64", "i64", "i32", "bool"]


class Failed(Exception):
    """The statement cannot be part of the program."""


# Inputs with strides of their own; parts of a larger storage are left to `cases.py`, as windows of them depend on the order of a write.
TURNED = ["{}.mT", "{}.transpose(0, -1)", "{}.movedim(0, -1)"]


class Generator:
    def __init__(self, seed: int, number: int):
        self.title = f"Program {number} of seed {seed}."
        self.rng = random.Random(f"{seed}:{number}")
        self.inits: list[tuple[str, str]] = []
        self.inputs: list[tuple[str, str]] = []
        self.statements: list[Statement] = []
        self.count = {"x": 0, "b": 0, "p": 0, "n": 0, "s": 0, "v": 0}
        self.base = [self.extent() for _ in range(self.rng.choice([1, 2, 2, 2, 3, 3, 3, 4, 4]))]

    def fresh(self, letter: str) -> str:
        self.count[letter] += 1
        return f"{letter}{self.count[letter] - 1}"

    # ---- what the program starts from ----
    def extent(self) -> int:
        return self.rng.choice([0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6]) if self.rng.random() < 0.5 else self.rng.randint(2, 6)

    def shape(self) -> list[int]:
        """Mostly a relative of the program's base shape, so that operands fit each other."""
        if self.rng.random() < 0.06:
            return []
        if self.rng.random() < 0.15:
            return [self.extent() for _ in range(self.rng.randint(1, 3))]
        shape = list(self.base)
        if self.rng.random() < 0.25:
            shape = shape[self.rng.randrange(len(shape)):]
        if self.rng.random() < 0.2:
            self.rng.shuffle(shape)
        return [1 if self.rng.random() < 0.1 else n for n in shape]

    def fill(self, shape: list[int], dtype: str | None = None) -> str:
        dtype = dtype or self.rng.choice(DTYPES)
        maker, given = MAKERS[dtype]
        return f"{maker}({', '.join([*map(str, shape), *given])})"

    def holder(self, text: str, lasting: float = 0.9) -> None:
        """A parameter or a buffer, which is persistent with probability `lasting`."""
        if self.rng.random() < 0.35 and "whole" not in text and "truth" not in text:
            name = self.fresh("p")
            self.inits.append((name, f"self.{name} = nn.Parameter({text})"))
        else:
            name = self.fresh("b")
            self.inits.append((name, f'self.register_buffer("{name}", {text}{", persistent=False" if self.rng.random() > lasting else ""})'))

    def start(self) -> None:
        for _ in range(self.rng.choice([1, 1, 2, 2, 3])):
            text = self.rng.choice(["{}"] * 6 + TURNED).format(self.fill(self.shape()))
            try:
                eval(text, prelude())
            except Exception:
                continue
            self.inputs.append((self.fresh("x"), text))
        if not self.inputs:
            self.inputs.append((self.fresh("x"), self.fill(self.shape())))
        for _ in range(self.rng.choice([0, 1, 1, 2])):
            shape = self.shape()
            view = self.rng.choice(["{}"] * 4 + ["{}.t()", "{}.mT", "{}[::2]", "{}[1:]", "{}[..., ::2]", "{}.flatten()[1:]", "{}.movedim(0, -1)"])
            text = view.format(self.fill(shape))
            try:
                if not eval(text, prelude()).numel() and view != "{}":
                    continue  # `torch.export.save` cannot write an empty view of a storage.
            except Exception:
                continue
            self.holder(text)
        if self.rng.random() < 0.3:
            shared = self.fresh("s")
            self.inits.append((shared, f"{shared} = {self.fill([self.rng.randint(3, 6), self.rng.randint(3, 6)], 'f32')}"))
            for view in self.rng.sample(["{}", "{}", "{}.t()", "{}[1:3, ::2]", "{}[0]", "{}[:, 1]", "{}.view(-1)", "{}[1:]", "{}.diagonal()", "{}[:, None]"], 2):
                self.holder(view.format(shared), lasting=1)  # An archive forgets that a non-persistent one shares.


    # ---- the values of the variables ----
    def environment(self) -> dict:
        """Runs what there is of the program, and gives every variable its value."""
        space = prelude()
        space["G"].manual_seed(1)
        space["self"] = module = nn.Module()
        for _, line in self.inits:
            exec(line, space)
        env = {name: getattr(module, name) for name, _ in self.inits if name[0] != "s"}
        space["G"].manual_seed(2)
        for name, text in self.inputs:
            env[name] = eval(text, space)
        for s in self.statements:
            exec(s.text, {"torch": torch, "F": F}, env)
        return env

    def program(self) -> Program:
        values = [name for name, t in self.env.items() if name[0] != "n"]
        last = [s.defines or s.touches for s in self.statements[-2:]]
        chosen = {self.rng.choice(names) for names in last} | set(self.rng.sample(values, min(len(values), self.rng.randint(0, 3))))
        order = self.rng.sample(sorted(chosen), len(chosen))
        return Program(self.title, tuple(self.inits), tuple(self.inputs), tuple(self.statements), tuple(order))

    def generate(self) -> Program:
        with torch.no_grad(), mock.patch("torch.cond", branch):
            self.start()
            self.env = self.environment()
            want = self.rng.randint(LEAST, MOST)
            for _ in range(20 * want):
                if len(self.statements) == want:
                    break
                self.step()
            if len(self.statements) < LEAST:
                raise Rejected("too few statements")
            return self.program()

    # ---- one statement ----
    def step(self) -> None:
        kind = self.rng.choices(list(KINDS), KINDS.values())[0]
        row = self.rng.choices(ROWS[kind], [r.weight for r in ROWS[kind]])[0]
        inits, count, statements = list(self.inits), dict(self.count), list(self.statements)
        try:
            self.attempt(row)
        except No:
            self.inits, self.count = inits, count
        except Exception:
            # It may have written something before it was found unfit.
            self.inits, self.count, self.statements = inits, count, statements
            self.env = self.environment()

    def declare(self, letter: str, text: str) -> str:
        name = self.fresh(letter)
        line = f"self.{name} = {text}" if letter == "n" else f'self.register_buffer("{name}", {text})'
        space = prelude()
        space["self"] = module = nn.Module()
        exec(line, space)
        self.inits.append((name, line))
        self.env[name] = getattr(module, name)
        return name

    def attempt(self, row: Row) -> None:
        scope = Scope(self.rng, self.env, self.declare)
        writing = row.kind in (WRITE, ASSIGN)
        tests = row.tests + ((own,) if writing and row.name not in TARGETS_MAY_OVERLAP else ())
        x = scope.other(*tests)
        declared = len(self.inits)
        text = row.make(scope, x, self.env[x])
        if len(self.inits) > declared:  # The values of what is new are not those it had while it was declared.
            self.env = self.environment()
        if writing and not self.ordered(text, x):
            raise Failed
        defines: tuple[str, ...] = ()
        if row.kind == ASSIGN:
            self.execute(text, self.env)
        elif row.kind == WRITE and self.rng.random() < 0.7:
            self.execute(text, self.env)
        else:
            result = eval(text, {"torch": torch, "F": F}, self.env)
            parts = list(result) if isinstance(result, (tuple, list)) else [result]
            if not parts:
                raise Failed
            if len(parts) > 4 or not isinstance(result, torch.Tensor) and self.rng.random() < 0.3:
                i = self.rng.randrange(len(parts))
                text, parts = f"{text}[{i}]", [parts[i]]
                defines = (self.fresh("v"),)
                text = f"{defines[0]} = {text}"
            else:
                defines = tuple(self.fresh("v") for _ in parts)
                text = f"{', '.join(defines)}{',' if len(parts) == 1 and not isinstance(result, torch.Tensor) else ''} = {text}"
            if any(t.numel() > ELEMENTS or t.dim() > 5 for t in parts):
                raise Failed
            self.env.update(zip(defines, parts))
        touches = (x,) if writing else defines
        floating = any(self.env[name].is_floating_point() for name in (x, *touches))
        # A sum may stand in the source of a write, and is exact of integers alone.
        exact = not floating if row.exact == "ints" or ".sum(" in text else bool(row.exact)
        self.check()
        self.statements.append(Statement(row.name, text, defines, touches, exact))

    @staticmethod
    def execute(text: str, env: dict) -> None:
        exec(text, {"torch": torch, "F": F}, env)

    def check(self) -> None:
        for t in self.env.values():
            if isinstance(t, torch.Tensor) and t.is_floating_point() and not bool((t.abs() <= LIMIT).all()):
                raise Failed

    def ordered(self, text: str, x: str) -> bool:
        """Whether the write gives the same when its operands are copied first, as it must to be defined at all."""
        place = lambda name: self.env[name].untyped_storage().data_ptr()
        start = text.index(x) + len(x)
        tensors = [name for name in NAME.findall(text[start:]) if isinstance(self.env[name], torch.Tensor)]
        if not any(place(name) == place(x) for name in tensors):
            return True
        detached = {name: t.detach() if isinstance(t, torch.Tensor) else t for name, t in self.env.items()}
        plain, copied = copy.deepcopy(detached), copy.deepcopy(detached)
        self.execute(text, plain)
        self.execute(text[:start] + NAME.sub(r"\1.clone()", text[start:]), copied)
        return all(torch.equal(plain[name], copied[name]) for name in self.env if isinstance(self.env[name], torch.Tensor))
