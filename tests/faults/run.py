"""Plants faults in a scratch copy of the code, one at a time, and says which test catches each.

    python3 tests/faults/run.py [--only NAME,...] [--scratch DIR] [--write docs/faults.md]
    python3 tests/faults/run.py --check

`faults.toml` beside this file holds the faults: a place in the code, what is wrong there, and the tests that must notice, the
likeliest first. Every fault is a patch of a copy; the repository is not touched. All patches are applied at once, each behind
a switch that the environment sets (`SITU_FAULT=name`), so that one build serves them all. Without a fault every test
named must pass, else nothing would be shown by its failing.

`--check` only asks whether every patch still fits the code, and builds nothing.

Exit status: 0 every fault was caught; 1 one was not, or a test fails without a fault; 2 the table does not fit the code.
Needs cargo, git and Python 3.11; the build takes minutes and goes to `target/faults`.
"""
import argparse, concurrent.futures, json, os, pathlib, shutil, subprocess, sys, tempfile, tomllib

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
    parser.add_argument("--check", action="store_true", help="only ask whether the table fits the code")
    parser.add_argument("--write", type=pathlib.Path, help="write the table to this file")
    options = parser.parse_args()
    repository = pathlib.Path(__file__).resolve().parents[2]
    faults = tomllib.loads((pathlib.Path(__file__).parent / "faults.toml").read_text())["fault"]
    names = [fault["name"] for fault in faults]
    if len(set(names)) != len(names):
        sys.exit("two faults have one name")
    scratch = options.scratch or pathlib.Path(tempfile.mkdtemp(prefix="situ-faults-"))
    scratch.mkdir(parents=True, exist_ok=True)
    copy(repository, scratch)
    misfits = plant(scratch, faults)
    if misfits:
        print("\n".join(misfits), file=sys.stderr)
        sys.exit(2)
    if options.check:
        print(f"{len(faults)} faults fit the code")
        return
    binaries = build(scratch, repository / "target/faults")
    wanted = set(filter(None, options.only.split(","))) or set(names)
    chosen = [fault for fault in faults if fault["name"] in wanted]
    rows, missed = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        tests = sorted({test for fault in chosen for test in fault["tests"]})
        for test, passed in zip(tests, pool.map(lambda test: passes(binaries, scratch, test, ""), tests)):
            if not passed:
                sys.exit(f"{test} fails without a fault")

        def catch(fault):
            return next((test for test in fault["tests"] if not passes(binaries, scratch, test, fault["name"])), None)

        for fault, caught in zip(chosen, pool.map(catch, chosen)):
            if caught is None:
                missed.append(fault["name"])
            binary, _, name = (caught or "").partition(" ")
            shown = f"`{name.removesuffix('::')}` in `{binary}`" if caught else "**nobody**"
            rows.append(f"| {fault['name']} | {fault['what']} | `{fault['file']}` | {fault['by'] if caught else ''} | {shown} |")
            print(rows[-1], flush=True)
    if options.write:
        kinds = sorted({fault["by"] for fault in chosen})
        counts = ", ".join(f"{sum(fault['by'] == kind for fault in chosen)} by {kind}" for kind in kinds)
        head = (
            "# Planted faults\n\n"
            "Mistakes put into a copy of the code one at a time, and the test that notices each.\n"
            "Made by `python3 tests/faults/run.py --write docs/faults.md` from the table beside that script; no trace of them is in the product.\n"
            "Faults in a finished plan (an offset shifted, steps swapped, a tie added) are made by `tests/it/checker.rs` and "
            "`tests/it/bodies/spoiled.rs` instead, thousands of them.\n\n"
            f"{len(chosen)} faults, {len(missed)} missed: {counts}.\n"
            "*Brute force* enumerates; *differential* compares with an interpreter that mutates, or with the same program compiled otherwise; "
            "the *harness* holds kernels to their scalar meaning and their contracts; the *checker* refuses the plan, or fails to refuse one that is spoiled.\n\n"
            "| fault | what is wrong | where | noticed by | test |\n|---|---|---|---|---|\n"
        )
        options.write.write_text(head + "\n".join(rows) + "\n")
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught" + (f"; missed: {', '.join(missed)}" if missed else ""))
    if not options.scratch:
        shutil.rmtree(scratch)
    sys.exit(1 if missed else 0)


main()
