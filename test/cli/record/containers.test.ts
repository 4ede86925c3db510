import * as assert from 'uvu/assert';
import { type Container, containerOf } from '../../../src/cli/record/containers.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/record/containers');

const ID = '3f4a9c'.padEnd(64, '0123456789abcdef');
const OUTER = 'e'.repeat(64);
const UID = '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21';
const UNDERSCORES = UID.replaceAll('-', '_');
const STATIC = '0b5ec1ab6c4f3a7a0d2f1be4c9d8e7f6';

const forms: readonly (readonly [string, Container])[] = [
  // Docker.
  [`/system.slice/docker-${ID}.scope`, { container: ID }],
  [`/docker/${ID}`, { container: ID }],
  [`/docker/${ID}/init.scope`, { container: ID }],
  [`/system.slice/docker-${ID}.scope/system.slice/nginx.service`, { container: ID }],
  // Kubernetes by systemd: guaranteed, burstable and best-effort pods.
  [
    `/kubepods.slice/kubepods-pod${UNDERSCORES}.slice/cri-containerd-${ID}.scope`,
    { container: ID, pod: UID },
  ],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDERSCORES}.slice/crio-${ID}.scope`,
    { container: ID, pod: UID },
  ],
  [
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UNDERSCORES}.slice/docker-${ID}.scope`,
    { container: ID, pod: UID },
  ],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${STATIC}.slice/cri-containerd-${ID}.scope`,
    { container: ID, pod: STATIC },
  ],
  [
    `/system.slice/containerd.service/kubepods-burstable-pod${UNDERSCORES}.slice:cri-containerd:${ID}`,
    { container: ID, pod: UID },
  ],
  // Kubernetes without systemd.
  [`/kubepods/pod${UID}/${ID}`, { container: ID, pod: UID }],
  [`/kubepods/burstable/pod${UID}/${ID}`, { container: ID, pod: UID }],
  [`/kubepods/besteffort/pod${STATIC}/${ID}`, { container: ID, pod: STATIC }],
  [`/kubepods/burstable/pod${UID}`, { pod: UID }],
  // A cluster in a container.
  [
    `/docker/${OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/` +
      `kubelet-kubepods-besteffort-pod${UNDERSCORES}.slice/cri-containerd-${ID}.scope`,
    { container: ID, pod: UID },
  ],
  // Podman, as root and as a user; conmon is not in the container.
  [`/machine.slice/libpod-${ID}.scope`, { container: ID }],
  [`/machine.slice/libpod-${ID}.scope/container`, { container: ID }],
  [
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
    { container: ID },
  ],
  [`/libpod_parent/libpod-${ID}`, { container: ID }],
  [`/machine.slice/libpod-conmon-${ID}.scope`, {}],
  [`/kubepods.slice/kubepods-pod${UNDERSCORES}.slice/crio-conmon-${ID}.scope`, { pod: UID }],
  [`/machine.slice/machine-libpod_pod_${ID}.slice`, {}],
  // Others.
  [`/system.slice/nerdctl-${ID}.scope`, { container: ID }],
  [`/default/${ID}`, { container: ID }],
  [`/ecs/f1e2d3c4b5a6/${ID}`, { container: ID }],
  // Seen from a cgroup namespace.
  [`/../cri-containerd-${ID}.scope`, { container: ID }],
  // No container.
  ['/', {}],
  ['/init.scope', {}],
  ['/system.slice/ssh.service', {}],
  ['/user.slice/user-0.slice/session-1.scope', {}],
  ['/system.slice/docker.service', {}],
  [`/docker/${ID.slice(1)}`, {}],
  [`/docker/${ID}0`, {}],
  [`/docker/${ID.toUpperCase()}`, {}],
  [`/system.slice/backup-${ID}.service`, {}],
  ['/kubepods.slice/kubepods-podinfo.slice', {}],
  [`/tripod${STATIC}`, {}],
];
for (const [path, expected] of forms)
  test(path.replaceAll(ID, 'ID').replaceAll(OUTER, 'OUTER'), () => {
    assert.equal(containerOf(path), expected);
  });

test.run();
