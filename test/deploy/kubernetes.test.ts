/**
 * The manifests of deploy/kubernetes: valid by the schemas of Kubernetes and of the Prometheus Operator,
 * without unknown fields, consistent with each other, and with least privileges.
 */
import { spawnSync } from 'node:child_process';
import { readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { noDownloads, suite } from '../harness.ts';
import { withScratch } from '../vm/cache.ts';
import { PROJECT } from '../vm/image.ts';
import { DEPLOY, deployPackages, importPackage } from './packages.ts';

const test = suite('deploy/kubernetes', { seconds: 120 });

const FOLDER = join(DEPLOY, 'kubernetes');

/** A manifest, as far as these tests look into it. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: its type depends on the kind
  readonly spec?: any;
}

interface Kustomization {
  readonly resources: readonly string[];
  readonly images: readonly { readonly name: string }[];
}

/** Where the packages have a kind. */
function modelOf({ apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>): string {
  const packageName = apiVersion.includes('coreos.com')
    ? '@kubernetes-models/prometheus-operator'
    : 'kubernetes-models';
  return `${packageName}/${apiVersion}/${kind}`;
}

async function parseYaml(file: string): Promise<unknown> {
  const { parse } = await importPackage<{ parse: (text: string, options: object) => unknown }>(
    'yaml/dist/index.js',
  );
  return parse(await readFile(join(FOLDER, file), 'utf8'), { strict: true, uniqueKeys: true });
}

const KUSTOMIZATION = 'kustomization.yaml';

async function manifests(): Promise<Map<string, Manifest>> {
  const files = (await readdir(FOLDER)).filter((file) => file !== KUSTOMIZATION).sort();
  const parsed = files.map(async (file) => [file, await parseYaml(file)] as [string, Manifest]);
  return new Map(await Promise.all(parsed));
}

async function manifest(kind: string): Promise<Manifest> {
  const found = [...(await manifests()).values()].find((each) => each.kind === kind);
  if (!found) throw new Error(`no ${kind}`);
  return found;
}

/** The message of the schema's errors; empty if there are none. */
async function schemaError(value: Manifest): Promise<string> {
  type Model = new (data: unknown) => { validate(): void };
  const models = await importPackage<Record<string, Model>>(`${modelOf(value)}.js`);
  const KindModel = models[value.kind];
  if (!KindModel) throw new Error(`no schema of ${value.kind}`);
  try {
    new KindModel(value).validate();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * The errors of tsc for manifests as literals of their types. The schemas accept fields that they do not
 * know; types do not.
 */
async function typeErrors(values: readonly Manifest[]): Promise<string> {
  const packages = await deployPackages();
  return withScratch(async (scratch) => {
    await symlink(join(packages, 'node_modules'), join(scratch, 'node_modules'));
    await writeFile(join(scratch, 'package.json'), '{ "type": "module" }');
    const lines = values.flatMap((value, i) => [
      `import type { I${value.kind} as T${i} } from '${modelOf(value)}';`,
      `export const value${i}: T${i} = ${JSON.stringify(value)};`,
    ]);
    await writeFile(join(scratch, 'manifests.ts'), lines.join('\n'));
    const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc');
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false', '--target', 'es2022'];
    const modules = ['--module', 'nodenext', '--types', ''];
    const words = [tsc, ...options, ...modules, 'manifests.ts'];
    return spawnSync(process.execPath, words, { cwd: scratch, encoding: 'utf8' }).stdout;
  });
}

test.skipIf(noDownloads, 'every manifest is valid by its schema', async () => {
  for (const [file, value] of await manifests()) assert.is(await schemaError(value), '', file);
});

test.skipIf(noDownloads, 'no manifest has an unknown field', async () => {
  assert.is(await typeErrors([...(await manifests()).values()]), '');
});

test.skipIf(noDownloads, 'a wrong type and an unknown field are found', async () => {
  const good = await manifest('DaemonSet');
  const wrong = structuredClone(good);
  wrong.spec.template.spec.hostPID = 'yes';
  assert.match(await schemaError(wrong), /hostPID must be boolean/);
  const unknown = structuredClone(good);
  unknown.spec.template.spec.containers[0].securityContext.readOnly = true;
  assert.match(await typeErrors([unknown]), /"readOnly"' does not exist in type/);
});

test.skipIf(
  noDownloads,
  'the kustomization lists every manifest, and its image is the one in use',
  async () => {
    const { resources, images } = (await parseYaml(KUSTOMIZATION)) as Kustomization;
    assert.equal([...resources].sort(), [...(await manifests()).keys()]);
    const { image } = (await manifest('DaemonSet')).spec.template.spec.containers[0];
    assert.is(images[0]?.name, image.split(':')[0]);
  },
);

test.skipIf(noDownloads, 'selectors, namespaces and ports agree', async () => {
  const kinds = ['DaemonSet', 'Service', 'ServiceMonitor', 'NetworkPolicy'];
  const found = (await Promise.all(kinds.map(manifest))) as [Manifest, Manifest, Manifest, Manifest];
  const [set, service, monitor, policy] = found;
  const labels = set.spec.template.metadata.labels;
  assert.equal(set.spec.selector.matchLabels, labels);
  assert.equal(service.spec.selector, labels);
  assert.equal(monitor.spec.selector.matchLabels, labels);
  assert.equal(policy.spec.podSelector.matchLabels, labels);
  const { name } = (await manifest('Namespace')).metadata;
  for (const each of [set, service, monitor, policy]) assert.is(each.metadata.namespace, name);
  const { args, ports, readinessProbe, livenessProbe } = set.spec.template.spec.containers[0];
  const [port] = ports;
  assert.ok(args.includes(`--listen=:${port.containerPort}`));
  const [{ port: number, targetPort }] = service.spec.ports;
  assert.equal([number, targetPort], [port.containerPort, port.name]);
  assert.is(monitor.spec.endpoints[0].port, service.spec.ports[0].name);
  assert.is(policy.spec.ingress[0].ports[0].port, port.name);
  for (const { httpGet } of [readinessProbe, livenessProbe])
    assert.equal(httpGet, { path: '/healthz', port: port.name });
});

test.skipIf(
  noDownloads,
  'the pod has two capabilities, writes only to a volume, and talks to no API',
  async () => {
    const { spec } = (await manifest('DaemonSet')).spec.template;
    assert.is(spec.automountServiceAccountToken, false);
    assert.is(spec.hostNetwork, undefined);
    assert.is(spec.hostIPC, undefined);
    const [{ securityContext, volumeMounts }] = spec.containers;
    assert.is(securityContext.privileged, false);
    assert.is(securityContext.allowPrivilegeEscalation, false);
    assert.is(securityContext.readOnlyRootFilesystem, true);
    assert.equal(securityContext.capabilities, { drop: ['ALL'], add: ['BPF', 'PERFMON'] });
    assert.equal(securityContext.seccompProfile, { type: 'RuntimeDefault' });
    const writable = volumeMounts.filter(({ readOnly }: { readOnly?: boolean }) => !readOnly);
    assert.equal(
      writable.map(({ name }: { name: string }) => name),
      ['tmp'],
    );
    const tmp = spec.volumes.find(({ name }: { name: string }) => name === 'tmp');
    assert.equal(Object.keys(tmp), ['name', 'emptyDir']);
  },
);

test.run();
