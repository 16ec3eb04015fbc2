"""Makes a failing program smaller while it still fails in the same way."""
import re
from dataclasses import replace
from typing import Callable, Iterator

from program import NAME, Program, Statement


def without(program: Program, i: int) -> Program:
    """Without statement `i` and without whatever needs what it defines."""
    gone = set(program.statements[i].defines)
    kept: list[Statement] = list(program.statements[:i])
    for s in program.statements[i + 1:]:
        if s.uses() & gone:
            gone |= set(s.defines)
        else:
            kept.append(s)
    return replace(program, statements=tuple(kept), returns=tuple(r for r in program.returns if r not in gone))


def bypassed(program: Program, i: int, by: str) -> Program:
    """Without statement `i`, where the one name it defines now means `by`."""
    name, = program.statements[i].defines
    rename = lambda text: re.sub(rf"\b{name}\b", by, text)
    later = tuple(replace(s, text=rename(s.text), touches=tuple(map(rename, s.touches))) for s in program.statements[i + 1:])
    return replace(program, statements=program.statements[:i] + later, returns=tuple(dict.fromkeys(map(rename, program.returns))))


def smaller_extents(pairs: tuple[tuple[str, str], ...]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Each with one number of one shape made smaller."""
    for i, (name, text) in enumerate(pairs):
        for number in re.finditer(r"(?<=[(\s])[2-9](?=[,)])", text):
            for n in range(1, int(number.group())):
                yield pairs[:i] + ((name, text[:number.start()] + str(n) + text[number.end():]),) + pairs[i + 1:]


def candidates(program: Program) -> Iterator[Program]:
    """Smaller programs, those first that promise most. Not all of them run."""
    for i in reversed(range(len(program.statements))):
        yield without(program, i)
    if len(program.returns) > 1:
        for r in program.returns:
            yield replace(program, returns=tuple(q for q in program.returns if q != r))
    for i, s in enumerate(program.statements):
        if len(s.defines) == 1:
            for name in dict.fromkeys(NAME.findall(s.text)):
                if name not in s.defines and name[0] != "n":
                    yield bypassed(program, i, name)
    yield program.trimmed()
    for inits in smaller_extents(program.inits):
        yield replace(program, inits=inits)
    for inputs in smaller_extents(program.inputs):
        yield replace(program, inputs=inputs)


def size(program: Program) -> tuple[int, ...]:
    numbers = [int(n) for _, text in (*program.inits, *program.inputs) for n in re.findall(r"\b\d+\b", text)]
    return len(program.statements), len(program.returns), len(program.inits) + len(program.inputs), sum(numbers)


def minimise(program: Program, fails: Callable[[Program], bool], most: int = 400) -> Program:
    """Takes the first smaller candidate that still fails, until none does or `most` were tried."""
    tried = 0
    again = True
    while again:
        again = False
        for candidate in candidates(program):
            if not candidate.returns or size(candidate) >= size(program):
                continue
            tried += 1
            if tried > most:
                return program
            if fails(candidate):
                program, again = candidate, True
                break
    return program
