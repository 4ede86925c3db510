/** Names of pods and containers in folders of a test. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { nameLookup } from '../../../src/cli/record/names.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/record/names');

const ID = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const POD = '8dbd9b2e-1f4c-4ab2-b9a1-0c6a5f7e9d21';
const STATIC = '0b5ec1ab6c4f3a7a0d2f1be4c9d8e7f6';

/** Runs `work` with an empty root folder. */
function withRoot(work: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'tsbpf-names-'));
  try {
    work(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

function write(root: string, path: string, text: string): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
const addPod = (root: string, name: string) =>
  mkdirSync(join(root, 'var/log/pods', name), { recursive: true });
const addDocker = (root: string, id: string, config: string) =>
  write(root, `var/lib/docker/containers/${id}/config.v2.json`, config);

/** A lookup whose clock is advanced by the test. */
function lookup(...roots: string[]) {
  const clock = { ms: 0 };
  return { clock, find: nameLookup(roots, () => clock.ms) };
}

test('the folder of a pod has its namespace and name; one container in it is the container', () =>
  withRoot((root) => {
    addPod(root, `shop_cart-7d9f8b6c5-x2x4q_${POD}/app`);
    addPod(root, `kube-system_kube-proxy-node.1_${STATIC}/a`);
    addPod(root, `kube-system_kube-proxy-node.1_${STATIC}/b`);
    const { find } = lookup(root);
    assert.equal(find({ container: ID, pod: POD }), {
      names: { container_name: 'app', pod_name: 'cart-7d9f8b6c5-x2x4q', pod_namespace: 'shop' },
      isComplete: true,
    });
    assert.equal(find({ pod: STATIC }), {
      names: { pod_name: 'kube-proxy-node.1', pod_namespace: 'kube-system' },
      isComplete: true,
    });
    assert.equal(find({ container: ID, pod: STATIC }).isComplete, false, 'which of the two it is');
  }));

test('the link to its log has the name of a container', () =>
  withRoot((root) => {
    addPod(root, `shop_cart-0_${POD}/app`);
    addPod(root, `shop_cart-0_${POD}/proxy`);
    mkdirSync(join(root, 'var/log/containers'));
    for (const [name, id] of [
      ['app', ID],
      ['istio-proxy', OTHER],
    ])
      symlinkSync(
        `/var/log/pods/x/${name}/0.log`,
        join(root, `var/log/containers/cart-0_shop_${name}-${id}.log`),
      );
    const { find } = lookup(root);
    assert.is(find({ container: ID, pod: POD }).names.container_name, 'app');
    assert.is(find({ container: OTHER, pod: POD }).names.container_name, 'istio-proxy');
  }));

test('a new pod is found, and the folder is not listed all the time', () =>
  withRoot((root) => {
    const { find, clock } = lookup(root);
    assert.equal(find({ pod: POD }), { names: {}, isComplete: false });
    addPod(root, `shop_cart-0_${POD}`);
    assert.equal(find({ pod: POD }).names, {}, 'at the same time');
    clock.ms += 19;
    assert.equal(find({ pod: POD }).names, {});
    clock.ms += 1;
    assert.equal(find({ pod: POD }).names, { pod_name: 'cart-0', pod_namespace: 'shop' });
  }));

test('a removed pod stays known until the folder is listed again', () =>
  withRoot((root) => {
    addPod(root, `shop_cart-0_${POD}`);
    const { find, clock } = lookup(root);
    assert.is(find({ pod: POD }).names.pod_name, 'cart-0');
    rmSync(join(root, 'var/log/pods', `shop_cart-0_${POD}`), { recursive: true });
    clock.ms += 1000;
    assert.is(find({ pod: POD }).names.pod_name, 'cart-0');
    find({ pod: STATIC });
    assert.equal(find({ pod: POD }).names, {});
  }));

test('Docker has the name of a container in its configuration', () =>
  withRoot((root) => {
    const { find } = lookup(root);
    assert.equal(find({ container: ID }), { names: {}, isComplete: false });
    addDocker(root, ID, JSON.stringify({ ID, Name: '/web_1.x', Config: {} }));
    assert.equal(find({ container: ID }), { names: { container_name: 'web_1.x' }, isComplete: true });
    rmSync(join(root, 'var'), { recursive: true });
    assert.is(find({ container: ID }).names.container_name, 'web_1.x', 'also after it is removed');
  }));

test('Podman lists its containers in two files', () =>
  withRoot((root) => {
    const folder = 'var/lib/containers/storage/overlay-containers';
    write(root, `${folder}/containers.json`, JSON.stringify([{ id: ID, names: ['db'] }, null, 7, { id: 7 }]));
    write(root, `${folder}/volatile-containers.json`, JSON.stringify([{ id: OTHER, names: ['job', 'x'] }]));
    const { find } = lookup(root);
    assert.is(find({ container: ID }).names.container_name, 'db');
    assert.is(find({ container: OTHER }).names.container_name, 'job');
  }));

test('the first root that has the folder is used', () =>
  withRoot((root) => {
    const host = join(root, 'host');
    addPod(host, `shop_cart-0_${POD}`);
    addDocker(host, ID, '{"Name":"/web"}');
    const { find } = lookup(join(root, 'nowhere'), host);
    assert.is(find({ pod: POD }).names.pod_name, 'cart-0');
    assert.is(find({ container: ID }).names.container_name, 'web');
  }));

test('outside of containers there is no name to find', () => {
  assert.equal(lookup('/nowhere').find({}), { names: {}, isComplete: true });
});

test('names and files that no runtime writes are ignored', () =>
  withRoot((root) => {
    for (const name of [
      `a_b_c_${POD}`,
      `_cart_${POD}`,
      `shop__${POD}`,
      `shop_ca\nrt_${POD}`,
      `shop_\u001b[31m_${POD}`,
      `shop_${'a'.repeat(200)}\u202e_${POD}`,
      `shop_cart_${POD}x`,
    ])
      addPod(root, name);
    const { find, clock } = lookup(root);
    assert.equal(find({ pod: POD }).names, {});
    for (const config of [
      '',
      '{',
      '[]',
      'null',
      '7',
      '{"Name":7}',
      '{"Name":"/a/b"}',
      '{"Name":"/\\u001b"}',
      `{"Name":"${'a'.repeat(254)}"}`,
      `{"Name":"web","x":"${'a'.repeat(4 << 20)}"}`,
    ]) {
      addDocker(root, ID, config);
      write(root, 'var/lib/containers/storage/overlay-containers/containers.json', config);
      clock.ms += 1000;
      assert.equal(find({ container: ID }).names, {}, config.slice(0, 40));
    }
    rmSync(join(root, `var/lib/docker/containers/${ID}/config.v2.json`));
    mkdirSync(join(root, `var/lib/docker/containers/${ID}/config.v2.json`));
    assert.equal(find({ container: ID }).names, {}, 'a folder');
  }));

test.run();
