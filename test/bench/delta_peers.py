# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others would make a device download for the same pair of files. For test/bench/delta.

Each technique is a function (files, work) -> Cost; files are the two images or the two UKIs. Times are processor seconds of
the process that does the work, memory is its peak resident set, both as the kernel reports them to whoever waits for it."""

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile


class Failed(Exception):
    pass


class Used:
    """Processor seconds and peak memory of commands that were run one after the other."""

    def __init__(self, seconds=0.0, memory=0):
        self.seconds, self.memory = seconds, memory

    def run(self, *command, stdout=subprocess.DEVNULL):
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as out:
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out if stdout is None else stdout, stderr=errors)
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            if p.returncode != 0:
                raise Failed(f'{" ".join(command[:3])} ...: {errors.read()[-400:].decode(errors="replace").strip()}')
            self.seconds += usage.ru_utime + usage.ru_stime
            self.memory = max(self.memory, usage.ru_maxrss * 1024)
            out.seek(0)
            return out.read().decode()

    def pair(self):
        return [round(self.seconds, 2), self.memory]


def cost(size, requests, encode, decode, note=''):
    return {'bytes': size, 'requests': requests, 'encode': encode.pair(), 'decode': decode.pair(), 'note': note}


class Files:
    """An old and a new file; tool is bench-peers, work a folder that is emptied afterwards."""

    def __init__(self, old, new, tool, work):
        self.old, self.new, self.tool, self.work = old, new, tool, work

    def at(self, name):
        return os.path.join(self.work, name)

    def same(self, name):
        if subprocess.run(['cmp', '-s', self.new, self.at(name)]).returncode != 0:
            raise Failed(f'{name} is not what it should be')


def missing_program(*names):
    for name in names:
        if not shutil.which(name):
            raise Failed(f'{name} is not installed')


# --- whole files ------------------------------------------------------------------------------------------------------


def pieces(f, verb, size, level):
    """What bench-peers makes of them: (what it says, encode, decode)."""
    encode, decode = Used(), Used()
    old = [f.old] if verb != 'pack' else []
    said = json.loads(encode.run(f.tool, verb, f.new, *old, str(size), str(level), f.at('out'), stdout=None))
    decode.run(f.tool, 'unpack', f.at('out'))
    return said, encode, decode


def full_frames(f):
    said, encode, decode = pieces(f, 'pack', 32 << 10, 19)
    return cost(said['bytes'], 1, encode, decode)


def full_long(f):
    encode, decode = Used(), Used()
    encode.run('zstd', '-9', '--long', '-T1', '-q', '-f', f.new, '-o', f.at('out'))
    decode.run('zstd', '-d', '--long', '-q', '-f', f.at('out'), '-o', f.at('back'))
    f.same('back')
    return cost(os.path.getsize(f.at('out')), 1, encode, decode)


# --- blocks and chunks ------------------------------------------------------------------------------------------------


def reuse_bound(f):
    said, encode, decode = pieces(f, 'missing', 256 << 10, 12)
    return cost(said['bytes'], said['runs'], encode, decode, 'no index counted, requests as if one for each row of blocks')


def reuse_rauc(f):
    """An index of one SHA-256 for each block of 4 KiB, which is downloaded; what is missing is read from a squashfs in blocks
    of 128 KiB, each whole, as soon as a block in it is missing."""
    said, encode, decode = pieces(f, 'touched', 128 << 10, 15)
    index = -(-os.path.getsize(f.new) // 4096) * 32
    return cost(said['bytes'] + index, said['runs'] + 1, encode, decode, f'of it index {index / 1e6:.1f} MB')


def casync(f):
    missing_program('casync')
    encode, decode = Used(), Used()
    # It goes by the name: that of a file's index ends in .caibx.
    make = ['casync', 'make', '--chunk-size=65536']
    Used().run(*make, f'--store={f.at("old.castr")}', f.at('old.caibx'), f.old)
    encode.run(*make, f'--store={f.at("new.castr")}', f.at('new.caibx'), f.new)
    # What a device asks for is what stays in the store of the new one.
    size, chunks = os.path.getsize(f.at('new.caibx')), 0
    for folder, _, names in os.walk(f.at('new.castr')):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.exists(path.replace('new.castr', 'old.castr')):
                continue
            size += os.path.getsize(path)
            chunks += 1
    decode.run('casync', 'extract', f'--store={f.at("new.castr")}', f'--seed={f.old}', f.at('new.caibx'), f.at('back'))
    f.same('back')
    return cost(size, chunks + 1, encode, decode)


# --- differences ------------------------------------------------------------------------------------------------------


def xdelta(f):
    missing_program('xdelta3')
    encode, decode = Used(), Used()
    window = str(min(1 << 30, max(1 << 20, os.path.getsize(f.old))))
    encode.run('xdelta3', '-e', '-9', '-S', 'lzma', '-B', window, '-f', '-s', f.old, f.new, f.at('out'))
    decode.run('xdelta3', '-d', '-B', window, '-f', '-s', f.old, f.at('out'), f.at('back'))
    f.same('back')
    return cost(os.path.getsize(f.at('out')), 1, encode, decode)


def patch_from(f):
    encode, decode = Used(), Used()
    encode.run('zstd', '-9', '--long=31', '-T1', '-q', '-f', f'--patch-from={f.old}', f.new, '-o', f.at('out'))
    decode.run('zstd', '-d', '--long=31', '-q', '-f', f'--patch-from={f.old}', f.at('out'), '-o', f.at('back'))
    f.same('back')
    return cost(os.path.getsize(f.at('out')), 1, encode, decode)


# --- the floor --------------------------------------------------------------------------------------------------------


def regular_files(folder):
    """Path: size and inode; a file with several names once."""
    found, seen = {}, set()
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            st = os.lstat(path)
            if stat.S_ISREG(st.st_mode) and st.st_ino not in seen:
                seen.add(st.st_ino)
                found[os.path.relpath(path, folder)] = path
    return found


def masked(path):
    """Without what changes in names from version to version."""
    return re.sub(r'[0-9]+', '#', path)


def digests(files):
    found = {}
    paths = list(files.values())
    for i in range(0, len(paths), 500):
        r = subprocess.run(['sha256sum', '--', *paths[i:i + 500]], capture_output=True, text=True, check=True)
        for path, line in zip(paths[i:i + 500], r.stdout.splitlines()):
            found[path] = line.lstrip('\\')[:64]
    return found


def per_file(f):
    """Each changed file against the one of the same path, or else of the same path without digits in it. Contents only: the
    image's own data is not in it."""
    missing_program('fsck.erofs')
    for side, image in (('old', f.old), ('new', f.new)):
        Used().run('fsck.erofs', f'--extract={f.at(side)}', '--no-preserve', image)
    old, new = regular_files(f.at('old')), regular_files(f.at('new'))
    by_mask = {}
    for path, at in old.items():
        by_mask.setdefault(masked(path), at)
    have = set(digests(old).values())
    lines, new_digests = [], digests(new)
    for path, at in sorted(new.items()):
        if new_digests[at] in have or os.path.getsize(at) == 0:
            continue
        lines.append(f'{at}\t{old.get(path) or by_mask.get(masked(path), "")}\n')
    with open(f.at('list'), 'w', encoding='utf-8') as out:
        out.writelines(lines)
    encode, decode = Used(), Used()
    said = json.loads(encode.run(f.tool, 'patches', f.at('list'), '19', f.at('out'), stdout=None))
    decode.run(f.tool, 'unpatch', f.at('list'), f.at('out'))
    return cost(said['bytes'], 1, encode, decode, f'{said["pieces"]} files; without the image\'s own data')


def one_file(f):
    """The same for a file that is not an image."""
    with open(f.at('list'), 'w', encoding='utf-8') as out:
        out.write(f'{f.new}\t{f.old}\n')
    encode, decode = Used(), Used()
    said = json.loads(encode.run(f.tool, 'patches', f.at('list'), '19', f.at('out'), stdout=None))
    decode.run(f.tool, 'unpatch', f.at('list'), f.at('out'))
    return cost(said['bytes'], 1, encode, decode)


# name: (title, for /usr, for the UKI)
PEERS = {
    'full-long': ('full, zstd -9 --long', full_long, full_long),
    'reuse-bound': ('4 KiB blocks that are missing, zstd -12 in 256 KiB', reuse_bound, reuse_bound),
    'rauc': ('RAUC adaptive, squashfs zstd -15 in 128 KiB', reuse_rauc, reuse_rauc),
    'casync': ('casync, chunks of 64 KiB', casync, casync),
    'xdelta3': ('xdelta3 -9 -S lzma', xdelta, xdelta),
    'patch-from': ('zstd -9 --patch-from, whole image', patch_from, patch_from),
    'floor': ('floor: zstd -19 patch of each file', per_file, one_file),
}
