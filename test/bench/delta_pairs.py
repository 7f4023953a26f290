#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pairs of releases that ./dev bench delta measures: real systems of about 280 packages, built by sealab from recipes
written here. Alone: delta_pairs.py FOLDER [PAIR...] makes FOLDER/PAIR/LAYOUT/{old,new}, which are links to releases.

A release that is there already is taken as it is. All are of one image line: same name, ids and salt."""

import json
import os
import shutil
import subprocess
import sys

LAYOUTS = ('plain', 'lz4hc')

RECIPE = '''[Image]
Id=pair
Architecture=amd64
Locale=C.UTF-8

[Archive]
Suites={suites}

[Packages]
Install=systemd systemd-sysv systemd-boot udev kmod dbus libpam-systemd login passwd util-linux procps
Install=network-manager iproute2 iputils-ping netbase ca-certificates openssh-server openssh-client
Install=podman git nginx-light python3 perl vim curl rsync sudo less file man-db bash-completion tmux htop strace gnupg
Install=e2fsprogs dosfstools btrfs-progs cryptsetup-bin lvm2 xz-utils zstd apt {install}
{local}
[Kernel]
Package={kernel}
CommandLine=console=ttyS0

[Usr]
Layout={layout}
'''

SETTING = 'usr/lib/sysctl.d/80-pair.conf'
BASE12, NEW12 = 'bookworm', 'bookworm bookworm-updates bookworm-security'
BASE13, NEW13 = 'trixie', 'trixie trixie-updates trixie-security'


class Failed(Exception):
    pass


def say(text):
    print(f'bench: {text}', file=sys.stderr, flush=True)


class Release:
    """suites; version; like: whose ids.lock it continues; kernel_of, package_of: (release, name) that it takes the kernel or
    one package from; swappiness: the content of the one file of the overlay; install: further packages."""

    def __init__(self, suites, version, like=None, kernel_of=None, package_of=None, swappiness=10, install=''):
        self.suites, self.version, self.like, self.kernel_of = suites, version, like, kernel_of
        self.package_of, self.swappiness, self.install = package_of, swappiness, install


# systemd's tools that the image needs are packages of their own in Debian 13.
IN13 = 'systemd-cryptsetup systemd-repart systemd-resolved'
RELEASES = {
    '12-base': Release(BASE12, 1),
    '12-new': Release(NEW12, 2, like='12-base'),
    '12-new-old-kernel': Release(NEW12, 2, like='12-base', kernel_of='12-base'),
    '12-one-package': Release(BASE12, 2, like='12-base', package_of=('12-new', 'libssl3')),
    '12-one-file': Release(BASE12, 2, like='12-base', swappiness=20),
    '13-base': Release(BASE13, 1, install=IN13),
    '13-new': Release(NEW13, 2, like='13-base', install=IN13),
    '12-to-13': Release(NEW13, 3, like='12-new', install=IN13),
}
# name: (old, new, what it is)
PAIRS = {
    'a': ('12-base', '12-new', 'Debian 12, release to updates and security, with a new kernel'),
    'b': ('12-base', '12-new-old-kernel', 'the same with the same kernel'),
    'c': ('13-base', '13-new', 'Debian 13, release to updates and security'),
    'd': ('12-base', '12-one-package', 'one package changed (libssl3)'),
    'e': ('12-base', '12-one-file', 'one file changed'),
    'f': ('12-new', '12-to-13', 'Debian 12 to 13'),
}


class Builder:
    def __init__(self, folder, sealab, rebuild=False):
        """rebuild: what is there is built once more."""
        self.folder, self.sealab = os.path.realpath(folder), sealab
        self.rebuild, self.built = rebuild, set()
        self.keys = os.path.join(self.folder, 'keys')

    def run(self, *command):
        r = subprocess.run([self.sealab, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if r.returncode != 0:
            raise Failed(f'sealab {" ".join(command)}: {(r.stderr or r.stdout)[-2000:]}')

    def recipe(self, name, layout='plain'):
        return os.path.join(self.folder, 'recipes', f'{name}-{layout}')

    def locked(self, name):
        """Packages of its lock by name; locks it first."""
        self.lock(name)
        with open(os.path.join(self.recipe(name), 'recipe.lock'), encoding='utf-8') as f:
            return {p['name']: p for p in json.load(f)['packages'] if 'image' in p['for']}

    def kernel(self, name):
        """The kernel package that the lock chose, by its full name."""
        found = [n for n in self.locked(name) if n.startswith('linux-image-') and n != 'linux-image-cloud-amd64']
        if len(found) != 1:
            raise Failed(f'{name}: not one kernel but {found}')
        return found[0]

    def package_file(self, name, package):
        """A package of another release's lock, as the store has it."""
        p = self.locked(name)[package]
        store = os.environ.get('SEALAB_STORE') or os.path.join(
            os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'sealab')
        for at in (p['sha256'], os.path.join(p['sha256'][:2], p['sha256'])):
            path = os.path.join(store, 'sha256', at)
            if os.path.exists(path):
                return path, os.path.basename(p['path'])
        raise Failed(f'the store {store} has no {package} of {name}')

    def write_recipe(self, name, layout):
        r, folder = RELEASES[name], self.recipe(name, layout)
        os.makedirs(os.path.dirname(os.path.join(folder, 'files', SETTING)), exist_ok=True)
        local = ''
        if r.package_of:
            path, file = self.package_file(*r.package_of)
            shutil.copy(path, os.path.join(folder, file))
            local = f'LocalDebs={file}\n'
        kernel = self.kernel(r.kernel_of) if r.kernel_of else 'linux-image-cloud-amd64'
        with open(os.path.join(folder, 'recipe.conf'), 'w', encoding='utf-8') as f:
            f.write(RECIPE.format(suites=r.suites, install=r.install, local=local, kernel=kernel, layout=layout))
        with open(os.path.join(folder, 'files', SETTING), 'w', encoding='utf-8') as f:
            f.write(f'vm.swappiness = {r.swappiness}\n')

    def lock(self, name):
        """Locks the plain recipe; the other layouts take its lock."""
        folder = self.recipe(name)
        if os.path.exists(os.path.join(folder, 'recipe.lock')):
            return
        self.write_recipe(name, 'plain')
        if RELEASES[name].like:
            self.release(RELEASES[name].like, 'plain')
            shutil.copy(os.path.join(self.recipe(RELEASES[name].like), 'ids.lock'), folder)
        say(f'locking {name}')
        self.run('lock', folder)

    def release(self, name, layout):
        """The folder of a release, built where it is missing."""
        out = os.path.join(self.folder, 'releases', f'{name}-{layout}')
        made = os.path.join(out, f'pair_{RELEASES[name].version}')
        if os.path.exists(made) and (not self.rebuild or made in self.built):
            return made
        shutil.rmtree(made, ignore_errors=True)
        self.built.add(made)
        self.lock(name)
        if layout != 'plain':
            # The tree and with it the ids are those of the plain one.
            self.release(name, 'plain')
            self.write_recipe(name, layout)
            for file in ('recipe.lock', 'ids.lock'):
                shutil.copy(os.path.join(self.recipe(name), file), self.recipe(name, layout))
        if not os.path.exists(self.keys):
            self.run('keys', 'generate', self.keys)
        say(f'building {name}, {layout}')
        self.run('build', self.recipe(name, layout), '-o', out, '--version', str(RELEASES[name].version), '--keys', self.keys,
                 '--no-disk')
        return made

    def pair(self, pair, layout):
        """(old, new): folders of releases; also links to them in FOLDER/PAIR/LAYOUT."""
        made = []
        for side, name in zip(('old', 'new'), PAIRS[pair]):
            link = os.path.join(self.folder, pair, layout, side)
            release = self.release(name, layout)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if not os.path.lexists(link):
                os.symlink(os.path.relpath(release, os.path.dirname(link)), link)
            made.append(release)
        return made


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    source = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..'))
    builder = Builder(sys.argv[1], os.environ.get('SEALAB') or os.path.join(source, 'build', 'sealab'))
    try:
        for pair in sys.argv[2:] or PAIRS:
            for layout in LAYOUTS:
                print(*builder.pair(pair, layout))
    except Failed as e:
        sys.exit(f'bench: {e}')


if __name__ == '__main__':
    main()
