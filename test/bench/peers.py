# SPDX-License-Identifier: LGPL-2.1-or-later
"""For test/bench/install: RAUC and systemd-sysupdate of Debian 13, in a chroot, put the same image into a slot."""

import glob
import json
import os
import shutil
import subprocess

PACKAGES = ('systemd-container,gpg,libfdisk1,libcurl4t64,libssl3t64,rauc,squashfs-tools,dbus-daemon,bash,dash,coreutils,mount,'
            'util-linux')
INSIDE = ('for d in proc dev sys; do mount --rbind /$d "$0/$d" || exit 1; done; mount -t tmpfs tmpfs "$0/run"; '
          'exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_ESP_PATH=/efi SYSTEMD_RELAX_ESP_CHECKS=1 no_proxy=127.0.0.1 '
          'DBUS_SYSTEM_BUS_ADDRESS=unix:path=/bench/bus chroot "$0" "$@"')
BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/bench/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
'''
# The service does the work; whoever asks waits for it.
RAUC_INSTALL = '''
rm -f /bench/bus
trap 'kill $bus $service 2>/dev/null; wait' EXIT
dbus-daemon --nofork --nopidfile --config-file=/bench/bus.conf & bus=$!
while [ ! -S /bench/bus ]; do sleep 0.01; done
rauc --conf=/bench/system.conf service --override-boot-slot=A >/bench/service.log 2>&1 & service=$!
i=0
until rauc status >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -lt 100 ] || { cat /bench/service.log >&2; exit 1; }
        sleep 0.05
done
rauc install /bench/bundle.raucb >/bench/install.log 2>&1; status=$?
[ $status = 0 ] || cat /bench/install.log /bench/service.log >&2
exit $status
'''


def run(*command, **more):
    r = subprocess.run(command, capture_output=True, text=True, **more)
    if r.returncode != 0:
        raise RuntimeError(f'{" ".join(command[:4])} ...: {(r.stdout + r.stderr)[-800:]}')
    return r.stdout


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)


class Root:
    """The chroot. Raises OSError or RuntimeError where it cannot be made."""

    def __init__(self, build, work):
        archive = os.path.join(build, 'peers-root.tar')
        if os.getuid() != 0:
            raise RuntimeError('the peers need root')
        if not os.path.exists(archive):
            uri = run('sh', '-c', "apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' | "
                      "awk '$2 == \"main\" && $1 ~ /debian\\/?$/ { print $1; exit }'").strip()
            run('mmdebstrap', '--quiet', '--format=tar', '--variant=extract', '--include=' + PACKAGES,
                '--aptopt=Acquire::Check-Valid-Until "false"', 'trixie', archive + '.part',
                f'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} trixie main')
            os.rename(archive + '.part', archive)
        self.path = os.path.join(work, 'peers')
        os.makedirs(self.path)
        run('tar', '-C', self.path, '-xf', archive, '--exclude=./dev/*')
        # No maintainer script has run.
        for name, text in (('passwd', 'root:x:0:0::/root:/bin/sh\n'), ('group', 'root:x:0:\n')):
            if not os.path.exists(os.path.join(self.path, 'etc', name)):
                write(os.path.join(self.path, 'etc', name), text)
        for folder in ('proc', 'dev', 'sys', 'run', 'efi/EFI/Linux', 'bench'):
            os.makedirs(os.path.join(self.path, folder), exist_ok=True)

    def command(self, *argv):
        return ['unshare', '--mount', 'sh', '-c', INSIDE, self.path, *argv]

    def file(self, name):
        return os.path.join(self.path, name)

    def version(self, *argv):
        return run(*self.command(*argv, '--version')).split('\n')[0]


class Rauc:
    """One image in a signed bundle of the plain format (squashfs, zstd): this kernel may have no dm-verity for the other."""

    def __init__(self, root, image):
        self.root, self.loops = root, []
        bench = root.file('bench')
        run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=bench', '-keyout', bench + '/key.pem',
            '-out', bench + '/cert.pem')
        os.makedirs(bench + '/content', exist_ok=True)
        shutil.copy(image, bench + '/content/usr.img')
        write(bench + '/content/manifest.raucm', '[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n'
              '[image.rootfs]\nfilename=usr.img\n')
        run(*root.command('rauc', '--cert=/bench/cert.pem', '--key=/bench/key.pem', '--keyring=/bench/cert.pem', 'bundle',
                          '--mksquashfs-args=-comp zstd -Xcompression-level 9', '/bench/content', '/bench/bundle.raucb'))
        write(bench + '/bus.conf', BUS)
        write(bench + '/install', RAUC_INSTALL)
        self.bundle_size = os.path.getsize(bench + '/bundle.raucb')

    def prepare(self, disk, slots):
        """slots: (offset, size) of A and B on the disk."""
        self.done()
        for offset, size in slots:
            self.loops.append(run('losetup', '--find', '--show', '--offset', str(offset), '--sizelimit', str(size), disk).strip())
        a, b = self.loops
        write(self.root.file('bench/system.conf'),
              '[system]\ncompatible=bench\nbootloader=noop\nbundle-formats=plain verity\ndata-directory=/bench/data\n'
              f'[keyring]\npath=/bench/cert.pem\n[slot.rootfs.0]\ndevice={a}\ntype=raw\nbootname=A\n'
              f'[slot.rootfs.1]\ndevice={b}\ntype=raw\nbootname=B\n')
        shutil.rmtree(self.root.file('bench/data'), ignore_errors=True)
        os.makedirs(self.root.file('bench/data'))

    def command(self):
        return self.root.command('sh', '/bench/install')

    def done(self):
        for loop in self.loops:
            subprocess.run(['losetup', '-d', loop], capture_output=True)
        self.loops = []


class Sysupdate:
    """What "sealab publish --sysupdate-layout" writes, over HTTP, with its manifest's signature checked."""

    PARTITIONS = (('10-verity-sig', '.usr-verity-sig.raw.xz', '_verity_sig', 'usr-verity-sig'),
                  ('20-verity', '.usr-verity.raw.xz', '_verity', 'usr-verity'), ('30-usr', '.usr.raw.xz', '', 'usr'))

    def __init__(self, root, publish, web, product):
        """publish(web, secret key): writes the layout."""
        self.root = root
        home, secret = root.file('bench/gpg'), root.file('bench/secret')
        os.makedirs(home, mode=0o700)
        gpg = ['gpg', '--homedir', home, '--batch', '--quiet']
        run(*gpg, '--passphrase', '', '--quick-generate-key', 'bench <bench@example.org>', 'ed25519', 'sign', 'never')
        for option, path in (('--export-secret-keys', secret), ('--export', root.file('usr/lib/systemd/import-pubring.gpg'))):
            with open(path, 'wb') as f:
                subprocess.run([*gpg, option], stdout=f, check=True)
        run('gpgconf', '--homedir', home, '--kill', 'all')
        publish(web, secret)
        self.product = product
        write(root.file('usr/lib/os-release'), f'ID=bench\nIMAGE_ID={product}\nIMAGE_VERSION=0\n')

    def prepare(self, url):
        for name, ending, label, kind in self.PARTITIONS:
            write(self.root.file(f'etc/sysupdate.d/{name}.transfer'),
                  f'[Transfer]\nProtectVersion=%A\nVerify=yes\n[Source]\nType=url-file\nPath={url}\n'
                  f'MatchPattern={self.product}_@v_@u{ending}\n[Target]\nType=partition\nPath=/disk.img\n'
                  f'MatchPattern={self.product}_@v{label}\nMatchPartitionType={kind}\nPartitionFlags=0x1000000000000000\nInstancesMax=2\n')
        write(self.root.file('etc/sysupdate.d/90-uki.transfer'),
              f'[Transfer]\nProtectVersion=%A\nVerify=yes\n[Source]\nType=url-file\nPath={url}\nMatchPattern={self.product}_@v.efi\n'
              f'[Target]\nType=regular-file\nPath=/EFI/Linux\nPathRelativeTo=boot\nMatchPattern={self.product}_@v+@l-@d.efi '
              f'{self.product}_@v.efi\nMode=0644\nTriesLeft=3\nTriesDone=0\nInstancesMax=2\n')
        for entry in glob.glob(self.root.file('efi/EFI/Linux/*')):
            os.unlink(entry)

    def command(self):
        return self.root.command('/usr/lib/systemd/systemd-sysupdate', 'update')


TYPES = {'usr': '8484680c-9521-48c6-9c11-b0720656f69e', 'usr-verity': '77ff5f63-e7b6-4633-acf4-1565b864c0e6'}


def slots_of(disk, kind='usr'):
    """(offset, size) of the two partitions of this kind, in the table's order."""
    table = json.loads(run('sfdisk', '-J', disk))['partitiontable']
    size = table.get('sectorsize', 512)
    return [(p['start'] * size, p['size'] * size) for p in table['partitions'] if p['type'].lower() == TYPES[kind]]
