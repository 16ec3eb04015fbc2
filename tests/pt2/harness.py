"""Random PyTorch programs full of views and in-place writes: eager PyTorch against `situ run` on the exported `.pt2`.

    python tests/pt2/harness.py --situ target/release/situ --count 2000 --seed 1 --out DIR
    python tests/pt2/harness.py --situ none ...      # tests the generator: the loaded training IR in place of situ

Each program is a small module (`generate.py`: 3 to 14 statements of the table in `rows.py` on tensors of a few elements). It
is run in eager PyTorch, exported as training IR, loaded again and run; where that already differs from eager, PyTorch is at
fault and the program is discarded. Then `situ run` gets the archive, and its outputs, its user inputs after the call and its
state after the call must be those of eager: bit for bit with `--math strict` if all statements are exact, else within 1e-5 of
the largest value of the array. If the first call leaves state behind, a second call with new inputs starts from the state that situ wrote.

A failure is minimised and written to DIR/NUMBER: `program.py` (the minimised module, as text), `original.py`, `report.txt`,
`program.pt2`, and for each call `call0.npz` (in*, out*, mut*) and `state0.npz` as eager has them. `--first N --count 1` runs
program N again. Exit status: 0 all equal, 1 any wrong, 2 the harness was called wrongly.
Needs torch and numpy; uses one core.
"""
import argparse
import collections
import logging
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

from generate import Generator
from minimise import minimise
from program import Call, Program, Rejected, branch, distance, run

TOLERANCE = 1e-5
SECONDS = 20
LIMITED = ["sh", "-c", 'ulimit -v 8000000; exec "$0" "$@"']
PACKAGES = f"{pathlib.Path(torch.__file__).parents[1]}/"
OPERATOR = re.compile(r"(?:torch\.ops\.)?((?:aten|higher_order|prims)(?:\.|::)\w+(?:\.\w+)?)")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """`kind` is one of equal, wrong, fault, unsupported, rejected, export, discarded; all but equal say why."""
    kind: str
    why: str = ""


class Unsupported(Exception):
    pass


class Fault(Exception):
    pass


def differences(expected: Call, got: Arrays, state: Arrays, exact: bool) -> list[str]:
    """Where results differ. What the call did not write may be missing."""
    found = []
    unwritten = set(expected.mutated if not expected.wrote_inputs else ()) | (expected.state.keys() - expected.wrote_state)
    for name, want in {**expected.outputs, **expected.mutated, **expected.state}.items():
        have = (state if name in expected.state else got).get(name)
        if have is None:
            if name not in unwritten:
                found.append(f"{name} is missing")
        elif have.dtype != want.dtype or have.shape != want.shape:
            found.append(f"{name} is {have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}")
        elif exact and have.tobytes() != want.tobytes() or not distance(want, have) <= TOLERANCE:
            how = f"by {far:.3g} of its largest value" if (far := distance(want, have)) else "in its bits only"
            found.append(f"{name} differs {how}, expected\n{want}\ngot\n{have}")
    known = {**expected.outputs, **expected.mutated, **expected.state}
    # Results repeat the state, and storages that several buffers share are written whole beside them.
    extra = [name for name in (*got, *state) if name not in known and not name.startswith("state:")]
    return found + [f"{name} is not known" for name in extra if not name.endswith(".storage")]


def export(space: dict, archive: pathlib.Path) -> None:
    """Writes the training IR; what it says of the source names files of PyTorch itself by their place in the package only."""
    with torch.no_grad():
        exported = torch.export.export(space["Program"](), space["inputs"](), strict=False)
        for module in exported.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                if "stack_trace" in node.meta:
                    node.meta["stack_trace"] = (node.meta["stack_trace"] or "").replace(PACKAGES, "")
        torch.export.save(exported, archive)


def training_ir(space: dict, archive: pathlib.Path) -> list[tuple[Arrays, Arrays]]:
    """What the archive gives when PyTorch itself loads and runs it."""
    with torch.no_grad(), mock.patch("torch.cond", branch):
        calls = run(torch.export.load(archive).module(), space["inputs"])
    return [({**c.outputs, **c.mutated}, c.state) for c in calls]


def situ(command: list[str], folder: pathlib.Path, calls: list[Call]) -> list[tuple[Arrays, Arrays]]:
    results = []
    for i in range(len(calls)):
        if i and not state.exists():
            break
        output, state = folder / f"got{i}.npz", folder / f"got_state{i}.npz"
        files = ["--input-npz", folder / f"call{i}.npz", "--output", output, "--state-out", state]
        files += ["--state-in", folder / f"got_state{i - 1}.npz"] if i else []
        try:
            done = subprocess.run([*LIMITED, command[0], "run", folder / "program.pt2", *command[1:], *files],
                                  capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Fault(f"call {i}: no answer in {SECONDS} s")
        if done.returncode == 3:
            raise Unsupported(done.stderr)
        if done.returncode:
            raise Fault(f"call {i}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        results.append(tuple(dict(np.load(f)) if f.exists() else {} for f in (output, state)))
    return results


def judge(program: Program, command: list[str], folder: pathlib.Path) -> Outcome:
    for old in folder.iterdir():
        old.unlink()
    try:
        calls = program.calls()
    except Rejected as error:
        return Outcome("rejected", str(error))
    try:
        export(program.load(), folder / "program.pt2")
    except Exception as error:
        return Outcome("export", f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error).strip() else ''}")
    for i, call in enumerate(calls):
        call.save(folder / f"call{i}.npz", folder / f"state{i}.npz")
    try:
        reference = training_ir(program.load(), folder / "program.pt2")
    except Exception as error:
        complaint = f"the training IR raises {type(error).__name__}: {str(error)[:300]}"
    else:
        complaint = compare(program.exact, calls, reference)
    if command[0] == "none":
        return Outcome("wrong", complaint) if complaint else Outcome("equal")
    if complaint:
        return Outcome("discarded", complaint)
    try:
        complaint = compare(program.exact, calls, situ([*command, *(["--math", "strict"] if program.exact else [])], folder, calls))
    except Unsupported as error:
        return Outcome("unsupported", str(error))
    except Fault as error:
        return Outcome("fault", str(error))
    return Outcome("wrong", complaint) if complaint else Outcome("equal")


def compare(exact: bool, calls: list[Call], results: list[tuple[Arrays, Arrays]]) -> str:
    found = [f"call {i}: {text}" for i, (call, got) in enumerate(zip(calls, results)) for text in differences(call, *got, exact)]
    if len(calls) != len(results):
        found.append(f"{len(results)} calls for {len(calls)}: the state changed in one only")
    return "\n".join(found)


def record(out: pathlib.Path, number: int, original: Program, outcome: Outcome, command: list[str], work: pathlib.Path) -> None:
    """Minimises a failure and writes all that is needed to look into it."""
    small = minimise(original, lambda p: judge(p, command, work).kind == outcome.kind)
    final = judge(small, command, work)
    folder = out / f"{number:05d}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work, folder)
    (folder / "program.py").write_text(small.source())
    (folder / "original.py").write_text(original.source())
    (folder / "report.txt").write_text(f"{final.kind}, {'exact' if small.exact else 'inexact'}\n{final.why}\n")
    print(f"\nprogram {number}: {final.kind}\n" + re.sub(r"(?s)\A.*?class Program", "class Program", small.source()) + final.why[:1500], flush=True)


def table(title: str, counter: collections.Counter, most: int = 40) -> None:
    if counter:
        print(f"\n{title}")
        for text, n in counter.most_common(most):
            print(f"  {n:6d}  {text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--situ", required=True, help="path of the binary, or none")
    parser.add_argument("--options", type=shlex.split, default=[], help="more options of situ run, in one argument")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where failures go")
    parser.add_argument("--keep", action="store_true", help="also write the programs that are equal")
    parser.add_argument("--rows", action="store_true", help="print how often each statement is in a compared program")
    args = parser.parse_args()
    if args.situ != "none" and not pathlib.Path(args.situ).is_file():
        parser.error(f"no such file: {args.situ}")
    command = [args.situ, *args.options]
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    kinds, operators, reasons, rows, lengths, began = *(collections.Counter() for _ in range(5)), time.time()
    exact = twice = 0
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        for number in range(args.first, args.first + args.count):
            try:
                program = Generator(args.seed, number).generate()
            except Rejected as error:
                outcome = Outcome("rejected", str(error))
            else:
                outcome = judge(program, command, work)
            kinds[outcome.kind] += 1
            if outcome.kind in ("wrong", "fault"):
                record(args.out, number, program, outcome, command, work)
            elif outcome.kind == "unsupported":
                operators.update(set(OPERATOR.findall(outcome.why)) or {outcome.why.strip()[:120]})
            elif outcome.kind != "equal":
                reasons[f"{outcome.kind}: {outcome.why.splitlines()[0][:150]}"] += 1
            if outcome.kind in ("equal", "wrong"):
                rows.update(s.row for s in program.statements)
                lengths[len(program.statements)] += 1
                exact += program.exact
                twice += (work / "state1.npz").exists()
            if args.keep and outcome.kind == "equal":
                folder = args.out / f"equal{number:05d}"
                shutil.copytree(work, folder, dirs_exist_ok=True)
                (folder / "program.py").write_text(program.source())
    seconds = time.time() - began
    table("why programs were not compared", reasons)
    table("operators without support, by programs", operators)
    if args.rows:
        table("statements in compared programs", rows, 1000)
        print("\nprograms by number of statements: " + ", ".join(f"{k}: {lengths[k]}" for k in sorted(lengths)))
    wrong = kinds["wrong"] + kinds["fault"]
    compared = kinds["equal"] + kinds["wrong"]
    print(f"\n{args.count} programs in {seconds:.0f} s: {compared} compared ({exact} exact, {twice} called twice), {kinds['equal']} equal, "
          f"{kinds['wrong']} wrong, {kinds['fault']} faults; {kinds['unsupported']} unsupported, {kinds['rejected']} rejected, "
          f"{kinds['export']} not exported, {kinds['discarded']} discarded")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
