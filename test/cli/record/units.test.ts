import * as assert from 'uvu/assert';
import { type Units, unitsOf } from '../../../src/cli/record/units.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/record/units');

const ID = '3f4a9c'.padEnd(64, '0123456789abcdef');

const forms: readonly (readonly [string, Units])[] = [
  // Services, instances of templates, and other types.
  ['/system.slice/nginx.service', { unit: 'nginx.service' }],
  ['/system.slice/nginx.service/worker/1', { unit: 'nginx.service' }],
  ['/system.slice/system-getty.slice/getty@tty1.service', { unit: 'getty@tty1.service' }],
  [
    '/system.slice/system-postgresql.slice/postgresql@15-main.service',
    { unit: 'postgresql@15-main.service' },
  ],
  [
    '/system.slice/system-backup\\x2drun.slice/backup-run@a\\x2db.service',
    { unit: 'backup-run@a\\x2db.service' },
  ],
  ['/system.slice/var-lib-a.mount', { unit: 'var-lib-a.mount' }],
  ['/system.slice/dbus.socket', { unit: 'dbus.socket' }],
  ['/init.scope', { unit: 'init.scope' }],
  ['/web.slice/web-front.slice/web-front-eu.slice/a:b_c.service', { unit: 'a:b_c.service' }],
  // A file of the kernel could have the name, so systemd escapes it.
  ['/system.slice/_cgroup.service', { unit: 'cgroup.service' }],
  ['/system.slice/__a.service', { unit: '_a.service' }],
  // Logins and the systemd of users.
  ['/user.slice/user-0.slice/session-1.scope', { unit: 'session-1.scope' }],
  ['/user.slice/user-1000.slice/user@1000.service', { unit: 'user@1000.service' }],
  [
    '/user.slice/user-1000.slice/user@1000.service/init.scope',
    { unit: 'user@1000.service', user_unit: 'init.scope' },
  ],
  [
    '/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-a\\x2db-77.scope',
    { unit: 'user@1000.service', user_unit: 'app-gnome-a\\x2db-77.scope' },
  ],
  [
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
    { unit: 'user@1000.service', user_unit: `libpod-${ID}.scope` },
  ],
  ['/user.slice/user-1000.slice/user@1000.service/app.slice', { unit: 'user@1000.service' }],
  ['/user.slice/user-1000.slice/user@root.service/app.slice/a.service', { unit: 'user@root.service' }],
  // Containers and virtual machines: the unit of the host.
  [`/system.slice/docker-${ID}.scope`, { unit: `docker-${ID}.scope` }],
  [`/system.slice/docker-${ID}.scope/system.slice/cron.service`, { unit: `docker-${ID}.scope` }],
  [`/machine.slice/libpod-${ID}.scope/container`, { unit: `libpod-${ID}.scope` }],
  [
    '/machine.slice/systemd-nspawn@web.service/payload/system.slice/a.service',
    { unit: 'systemd-nspawn@web.service' },
  ],
  [
    '/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator',
    { unit: 'machine-qemu\\x2d1\\x2dvm.scope' },
  ],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8dbd9b2e_1f4c_4ab2_b9a1_0c6a5f7e9d21.slice/cri-containerd-${ID}.scope`,
    { unit: `cri-containerd-${ID}.scope` },
  ],
  [
    `/system.slice/containerd.service/kubepods-pod${ID.slice(32)}.slice:cri-containerd:${ID}`,
    { unit: 'containerd.service' },
  ],
  // Seen from a cgroup namespace.
  ['/../../system.slice/ssh.service', { unit: 'ssh.service' }],
  [`/../cri-containerd-${ID}.scope`, { unit: `cri-containerd-${ID}.scope` }],
  // No unit.
  ['/', {}],
  ['', {}],
  ['/..', {}],
  ['/system.slice', {}],
  ['/a.slice/b.slice', {}],
  [`/docker/${ID}`, {}],
  [`/docker/${ID}/system.slice/cron.service`, {}],
  ['/kubepods/burstable/pod8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21', {}],
  ['/system.slice/nginx', {}],
  ['/system.slice/.service', {}],
  ['/system.slice/a b.service', {}],
  ['/system.slice/\u001b[31m.service', {}],
  ['/system.slice/b\u00fccher.service', {}],
  [`/system.slice/${'a'.repeat(248)}.service`, {}],
  [`/system.slice/${'a'.repeat(247)}.service`, { unit: `${'a'.repeat(247)}.service` }],
  ['/system.slice/a.timer', {}],
];
for (const [path, expected] of forms)
  test(JSON.stringify(path.replaceAll(ID, 'ID')).slice(0, 120), () => {
    assert.equal(unitsOf(path), expected);
  });

test.run();
