"""The rules by which a transaction is refused, as countersign.h lists them."""

import pathlib
import re

PLACES = (
    pathlib.Path(__file__).resolve().parents[2] / "include" / "countersign.h",
    pathlib.Path("/usr/include/countersign.h"),
)


def sentence(number):
    """What refused: `ulDeviceError` of C_GetSessionInfo, in words. 0 is no rule."""
    if number == 0:
        return "the boundary does not tell the rule; its log does"
    header = next((place.read_text(encoding="utf-8") for place in PLACES if place.exists()), "")
    name = re.search(rf"^#define (CS_RULE_\w+)\s+{number}UL$", header, re.MULTILINE)
    rule = name and re.search(rf'RULE\({name[1]}, "(.*?)", "(.*?)"\)', header)
    return f"{rule[1]}: {rule[2]}" if rule else f"rule {number}, which this countersign.h does not have"
