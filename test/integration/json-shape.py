#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# json-shape.py NAME MANUAL-PAGE < DOCUMENT: is the document of the shape that the page gives under NAME? In its section JSON
# each shape is a line "NAME:" and JSON whose values are "text", "number", "flag", the name of another shape, or an array or
# object of such; a member whose name ends in "?" may be null. Every member must be there, and no other.

import json, re, sys


def shapes_of(page):
    section = re.search(r"^\.Sh JSON$(.*?)^\.Sh ", open(page).read(), re.M | re.S)[1]
    block = re.search(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", section, re.M | re.S)[1].replace("\\e", "\\")
    parts = re.split(r"^([a-z-]+):$", block, flags=re.M)
    return {name: json.loads(text) for name, text in zip(parts[1::2], parts[2::2])}


def complaints(shapes, shape, value, where):
    kinds = {"text": str, "number": int, "flag": bool}
    if isinstance(shape, str) and shape in kinds:
        right = isinstance(value, kinds[shape]) and (shape == "flag" or not isinstance(value, bool))
        return [] if right else [f"{where}: {json.dumps(value)} is no {shape}"]
    if isinstance(shape, str):
        return complaints(shapes, shapes[shape], value, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: {json.dumps(value)} is no list"]
        return [c for i, v in enumerate(value) for c in complaints(shapes, shape[0], v, f"{where}[{i}]")]
    if not isinstance(value, dict):
        return [f"{where}: {json.dumps(value)} is no object"]
    members = {k.rstrip("?"): (v, k.endswith("?")) for k, v in shape.items()}
    found = [f"{where}: {k} is not documented" for k in value if k not in members]
    found += [f"{where}: {k} is missing" for k in members if k not in value]
    for k, (v, nullable) in members.items():
        if k in value and not (nullable and value[k] is None):
            found += complaints(shapes, v, value[k], f"{where}.{k}")
    return found


def main():
    shapes = shapes_of(sys.argv[2])
    found = complaints(shapes, shapes[sys.argv[1]], json.load(sys.stdin), sys.argv[1])
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(1 if found else 0)


main()
