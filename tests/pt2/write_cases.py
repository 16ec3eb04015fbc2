"""Writes the archives of the permanent cases.

    python tests/pt2/write_cases.py DIR [NAME ...]

Of each case of `cases.py`: NAME.pt2 (training IR) and NAME.npz (in*, out*, and mut* if an input is written) as eager PyTorch has
them; where state is written also NAME.state.npz (what the call wrote, by name) and, of a second call that starts from there,
NAME.second.npz and NAME.second.state.npz. Exit status: 0 all written, 1 the training IR of one differs from eager PyTorch.
"""
import argparse
import logging
import pathlib
import re
import sys
import warnings
from unittest import mock

import torch

from harness import compare, export, training_ir
from program import branch, load, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    space = load((pathlib.Path(__file__).parent / "cases.py").read_text(), "cases.py")
    failed = False
    for case in space["Case"].__subclasses__():
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", case.__name__).lower()
        if args.names and name not in args.names:
            continue
        with torch.no_grad(), mock.patch("torch.cond", branch):
            calls = run(case(), case.inputs)
        archive = args.out / f"{name}.pt2"
        export({"Program": case, "inputs": case.inputs}, archive)
        for call, part in zip(calls, ("", ".second")):
            call.save(args.out / f"{name}{part}.npz", args.out / f"{name}{part}.state.npz")
        complaint = compare(True, calls, training_ir({"inputs": case.inputs}, archive))
        failed |= bool(complaint)
        state = f", state {', '.join(sorted(calls[0].wrote_state))}" if calls[0].wrote_state else ""
        print(f"{name:24s} {archive.stat().st_size:6d} bytes{', writes inputs' if calls[0].wrote_inputs else ''}{state}"
              + (f"\n{complaint}" if complaint else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
