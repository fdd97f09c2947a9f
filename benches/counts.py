"""Reads the counts that benches/counts.sh made, and compares them with the record.

Low-R grinding (RFC 6979 with a counter) depends on chance. A signature takes two tries on average, so a run with few inputs may be
some per cent cheaper or dearer. callgrind knows the number of tries, and each figure is adjusted to two tries for each signature.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

MAY_GROW = 1.10

HEAD = """\
# Instructions of one signature by the number of inputs, written by `bash benches/counts.sh --record`. Keys, codes and nonces
# are fixed, the module sees every input for the first time, and the ledger is in memory. `raw` is only a signature hash, a
# signature and its verification for each input.
"""


def executable() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "counts":
            print(message["executable"])


def counted(file: Path) -> tuple[int, int, int]:
    """All instructions; the calls of libsecp256k1's ECDSA signing function, and its instructions with all it calls."""
    names: dict[str, str] = {}
    total = calls = cost = 0
    callee, pending = "", 0
    for line in file.read_text().splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.split("=", 1)[1].partition(" ")
            names.setdefault(number, name)
            if line.startswith("cfn="):
                callee = names[number]
        elif line.startswith("calls="):
            pending = int(line.split("=")[1].split()[0])
        elif line.startswith("totals:"):
            total = int(line.split()[1])
        elif pending and re.match(r"[+*\d-]", line):
            if re.fullmatch(r"rustsecp256k1_v\d+_\d+_\d+_ecdsa_sign", callee):
                calls, cost = calls + pending, cost + int(line.split()[1])
            pending = 0
    return total, calls, cost


def evened(name: str, file: Path) -> int:
    """The count with two tries for each ECDSA signature."""
    total, tries, cost = counted(file)
    inputs = int(name.rsplit("-", 1)[1])
    return total if tries == 0 else round(total + (2 * inputs - tries) * cost / tries)


def compare(folder: Path, record: Path, is_recording: bool) -> bool:
    names = (folder / "names").read_text().split()
    files = [folder / f"counted.{number}" for number in range(1, len(names) + 1)]
    measured = {name: evened(name, file) for name, file in zip(names, files)}
    scripts = list(dict.fromkeys(name.rsplit("-", 1)[0] for name in names))
    recorded = tomllib.loads(record.read_text()) if record.exists() and not is_recording else {}
    print(f"{'script type':24} {'inputs':>6} {'an input':>12} {'to raw':>7} {'all':>15} {'recorded':>15} {'growth':>8}")
    grown = []
    for script in scripts:
        for inputs in ("1", "100", "1000"):
            name = f"{script}-{inputs}"
            if name not in measured:
                continue
            count, before = measured[name], recorded.get(script, {}).get(inputs)
            kind = "raw-schnorr" if script.startswith(("tr", "raw-schnorr")) else "raw-ecdsa"
            ratio = count / measured[f"{kind}-{inputs}"]
            growth = count / before if before else None
            shown = f"{growth - 1:+8.1%}" if growth else f"{'none':>8}"
            print(f"{script:24} {inputs:>6} {count / int(inputs):>12,.0f} {ratio:>7.2f} {count:>15,} {before or 0:>15,} {shown}")
            if not is_recording and (growth is None or growth > MAY_GROW):
                grown.append(name)
    if is_recording:
        tables = (
            f"\n[{script}]\n" + "".join(f"{n} = {measured[f'{script}-{n}']}\n" for n in (1, 100, 1000) if f"{script}-{n}" in measured)
            for script in scripts
        )
        record.write_text(HEAD + "".join(tables))
    for name in grown:
        print(f"error: {name} has grown by more than a tenth, or has no record", file=sys.stderr)
    if grown:
        print("next: find out why; where it has to be so, run bash benches/counts.sh --record", file=sys.stderr)
    return not grown


def main() -> None:
    match sys.argv[1:]:
        case ["executable"]:
            executable()
        case ["compare", folder, record, *options]:
            sys.exit(0 if compare(Path(folder), Path(record), options == ["--record"]) else 1)
        case _:
            sys.exit("counts.py executable | counts.py compare FOLDER RECORD [--record]")


main()
