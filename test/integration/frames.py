#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""frames.py INDEX PACK: the image out of a pack, by what sealab-repository(5) says and by others' decoders."""

import hashlib
import lzma
import subprocess
import sys

RAW = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]


def read_index(index):
    """[(bytes of the image, bytes in the pack, whether it is LZMA, SHA-256)]"""
    at = 8

    def number():
        nonlocal at
        n = shift = 0
        while True:
            n |= (index[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if index[at - 1] < 128:
                return n

    assert index[:8] == b"SEALABF2"
    left, count, l = number(), number(), []
    for _ in range(count):
        size, packed = min(4096 * number(), left), number()
        l.append((size, packed >> 1, packed & 1 == 1, index[at:at + 32]))
        at, left = at + 32, left - size
    assert left == 0 and at == len(index)
    return l


def unpack(index, pack):
    at = 0
    for size, packed, is_lzma, digest in read_index(index):
        frame = pack[at:at + packed]
        if is_lzma:
            content = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=RAW).decompress(frame, size)
        else:
            content = subprocess.run(["zstd", "-dcq"], input=frame, stdout=subprocess.PIPE, check=True).stdout
        assert len(content) == size and hashlib.sha256(content).digest() == digest
        yield content
        at += packed
    assert at == len(pack)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as f:
        index = f.read()
    with open(sys.argv[2], "rb") as f:
        for content in unpack(index, f.read()):
            sys.stdout.buffer.write(content)
