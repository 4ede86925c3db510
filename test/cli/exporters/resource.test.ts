import * as assert from 'uvu/assert';
import { resourceAttributes } from '../../../src/cli/exporters/resource.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/exporters/resource');

const ID = '0123456789abcdef'.repeat(4);
const UID = '12345678-1234-1234-1234-123456789abc';

function attributes(files: Record<string, string>, env: Record<string, string> = {}): Record<string, string> {
  const readText = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  return resourceAttributes('node-1', '1.2.3', { readText, env });
}

test('a machine has its name, id and architecture', () => {
  const found = attributes({ '/etc/machine-id': 'abc\n' });
  assert.equal(found, {
    ...{ 'service.name': 'tcpconnlat', 'service.version': '1.2.3', 'service.instance.id': 'node-1' },
    ...{ 'host.name': 'node-1', 'host.id': 'abc', 'os.type': 'linux' },
    'host.arch': process.arch === 'x64' ? 'amd64' : process.arch,
  });
});

for (const [title, files] of [
  ['a cgroup', { '/proc/self/cgroup': `0::/system.slice/docker-${ID}.scope\n` }],
  ['cgroups of version 1', { '/proc/self/cgroup': `12:cpu:/docker/${ID}\n0::/\n` }],
  [
    'the mounts of Docker',
    {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': `500 499 8:1 /var/lib/docker/containers/${ID}/hostname /etc/hostname rw - ext4 a rw\n`,
    },
  ],
  [
    'the mounts of Podman',
    {
      '/proc/self/mountinfo': `1 2 0:1 /containers/storage/overlay-containers/${ID}/userdata/hosts /etc/hosts rw - x x rw\n`,
    },
  ],
] as const)
  test(`the container is known from ${title}`, () => {
    assert.is(attributes(files)['container.id'], ID);
  });

test('the pod is known from its mounts, and the rest from the environment', () => {
  const mounts = `1 2 8:1 /var/lib/kubelet/pods/${UID}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n`;
  const env = { POD_NAME: 'agent-x', POD_NAMESPACE: 'monitoring', NODE_NAME: 'node-7' };
  const found = attributes({ '/proc/self/mountinfo': mounts }, env);
  assert.is(found['k8s.pod.uid'], UID);
  assert.is(found['k8s.pod.name'], 'agent-x');
  assert.is(found['k8s.namespace.name'], 'monitoring');
  assert.is(found['k8s.node.name'], 'node-7');
});

test.run();
