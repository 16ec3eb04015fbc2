"""Plants faults in a scratch copy of the code, one at a time, and says which test catches each.

    python3 tests/faults/run.py [--only NAME,...] [--scratch DIR] [--write docs/faults.md]

`faults.toml` beside this file holds the faults: a place in the code, what is wrong there, and the tests that must notice, the
likeliest first. Every fault is a patch of a copy; the repository is not touched. All patches are applied at once, each behind
a switch that the environment sets (`SITU_FAULT=name`), so that one build serves them all. Without a fault every test
named must pass, else nothing would be shown by its failing.

Exit status: 0 every fault was caught; 1 one was not, or a test fails without a fault; 2 the table does not fit the code.
Needs cargo, git and Python 3.11; the build takes minutes and goes to `target/faults`.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, tempfile, tomllib

SWITCH = '''//! Which planted fault is switched on; exists in scratch copies only.

/// Whether the fault called `name` is switched on.
pub fn on(name: &str) -> bool {
    static NAME: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("SITU_FAULT").unwrap_or_default());
    *NAME == name
}
'''
SECONDS = 600


def copy(repository, scratch):
    """The tracked files, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (repository / name).is_file():
            shutil.copyfile(repository / name, target)


def plant(scratch, faults):
    """Applies every patch behind its switch. Returns what does not fit."""
    (scratch / "runtime/src/fault.rs").write_text(SWITCH)
    library = scratch / "runtime/src/lib.rs"
    lines = library.read_text().splitlines(keepends=True)
    first = next(at for at, line in enumerate(lines) if line.startswith(("mod ", "pub mod ", "pub(crate) mod ")))
    library.write_text("".join(lines[:first] + ["pub mod fault;\n"] + lines[first:]))
    misfits = []
    for fault in faults:
        path = scratch / fault["file"]
        text = path.read_text() if path.is_file() else ""
        found = text.count(fault["find"])
        if found != 1:
            misfits.append(f"{fault['name']}: {fault['file']} holds {found} times what is to be replaced, not once")
            continue
        home = "crate" if fault["file"].startswith("runtime/") else "situ_runtime"
        path.write_text(text.replace(fault["find"], fault["replace"].replace("FAULT", f'{home}::fault::on("{fault["name"]}")')))
    return misfits


def build(scratch, target):
    """Builds the tests; returns the test binaries by package."""
    command = ["cargo", "test", "--no-run", "--message-format=json", "-p", "situ_runtime", "-p", "situ", "-p", "tests", "--lib", "--test", "it"]
    done = subprocess.run(command, cwd=scratch, stdout=subprocess.PIPE, env=os.environ | {"CARGO_TARGET_DIR": str(target)})
    if done.returncode:
        sys.exit("the scratch copy does not build")
    binaries = {}
    for line in done.stdout.decode().splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("profile", {}).get("test"):
            binaries[message["target"]["name"]] = message["executable"]
    return binaries


def passes(binaries, scratch, test, fault):
    """Whether `package::filter` passes with a fault switched on; a hang does not."""
    package, _, name = test.partition(" ")
    folder = {"situ_runtime": "runtime", "situ": "compiler", "it": "tests"}[package]
    environment = os.environ | {"SITU_FAULT": fault, "INSTA_UPDATE": "no", "RUST_BACKTRACE": "0"}
    command = [binaries[package], name, "--quiet"]
    try:
        done = subprocess.run(command, cwd=scratch / folder, env=environment, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    if b"running 0 tests" in done.stdout:
        sys.exit(f"there is no test {test}")
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of faults, with commas")
    parser.add_argument("--scratch", type=pathlib.Path, help="where to put the copy (default: a temporary folder)")
    parser.add_argument("--write", type=pathlib.Path, help="write the table to this file")
    options = parser.parse_args()
    repository = pathlib.Path(__file__).resolve().parents[2]
    faults = tomllib.loads((pathlib.Path(__file__).parent / "faults.toml").read_text())["fault"]
    names = [fault["name"] for fault in faults]
    if len(set(names)) != len(names):
        sys.exit("two faults have one name")
    scratch = options.scratch or pathlib.Path(tempfile.mkdtemp(prefix="situ-faults-"))
    copy(repository, scratch)
    misfits = plant(scratch, faults)
    if misfits:
        print("\n".join(misfits), file=sys.stderr)
        sys.exit(2)
    binaries = build(scratch, repository / "target/faults")
    wanted = set(filter(None, options.only.split(","))) or set(names)
    chosen = [fault for fault in faults if fault["name"] in wanted]
    for test in sorted({test for fault in chosen for test in fault["tests"]}):
        if not passes(binaries, scratch, test, ""):
            sys.exit(f"{test} fails without a fault")
    rows, missed = [], []
    for fault in chosen:
        caught = next((test for test in fault["tests"] if not passes(binaries, scratch, test, fault["name"])), None)
        if caught is None:
            missed.append(fault["name"])
        shown = f"`{caught.partition(' ')[2]}`" if caught else "**nobody**"
        rows.append(f"| {fault['name']} | {fault['what']} | `{fault['file']}` | {fault['by'] if caught else ''} | {shown} |")
        print(rows[-1], flush=True)
    if options.write:
        head = (
            "# Planted faults\n\nMistakes put into a copy of the code one at a time, and the test that notices. Made by\n"
            "`python3 tests/faults/run.py --write docs/faults.md`; faults in a finished plan (an offset shifted, a step swapped, a tie added)\n"
            "are made by `tests/it/checker.rs` instead, thousands of them, and the checker refuses each.\n\n"
            "| fault | what is wrong | where | caught by | test |\n|---|---|---|---|---|\n"
        )
        options.write.write_text(head + "\n".join(rows) + "\n")
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught" + (f"; missed: {', '.join(missed)}" if missed else ""))
    if not options.scratch:
        shutil.rmtree(scratch)
    sys.exit(1 if missed else 0)


main()
