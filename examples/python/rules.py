"""The rules that can refuse a transaction, as countersign.h lists them."""

import pathlib
import re

PLACES = (
    pathlib.Path(__file__).resolve().parents[2] / "include" / "countersign.h",
    pathlib.Path("/usr/include/countersign.h"),
)


def sentence(number):
    """The rule that refused, in words, from `ulDeviceError` of C_GetSessionInfo. 0 means no rule."""
    if number == 0:
        return "the module gives no rule number; look in the log of the boundary"
    header = next((place.read_text(encoding="utf-8") for place in PLACES if place.exists()), "")
    name = re.search(rf"^#define (CS_RULE_\w+)\s+{number}UL$", header, re.MULTILINE)
    rule = name and re.search(rf'RULE\({name[1]}, "(.*?)", "(.*?)"\)', header)
    return f"{rule[1]}: {rule[2]}" if rule else f"rule {number}, which is newer than this countersign.h"
