/**
 * The resource that metrics describe, with the names of OpenTelemetry's semantic conventions: this machine,
 * the service tcpconnlat, and its own container and pod.
 */
import { readFileSync } from 'node:fs';
import { containerOf } from '../record/containers.ts';

export type ResourceAttributes = Record<string, string>;

/** What the attributes are made of; for tests. */
export interface ResourceSources {
  readonly readText?: (path: string) => string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const ARCHITECTURES: { readonly [arch: string]: string } = { x64: 'amd64', arm64: 'arm64' };

/** The attributes of this machine. `version` is that of tcpconnlat. */
export function resourceAttributes(
  host: string,
  version: string,
  { readText = (path) => readFileSync(path, 'utf8'), env = process.env }: ResourceSources = {},
): ResourceAttributes {
  const read = (path: string): string => {
    try {
      return readText(path).trim();
    } catch {
      return '';
    }
  };
  const { container, pod } = ownContainer(read);
  return {
    'service.name': 'tcpconnlat',
    'service.version': version,
    'service.instance.id': host,
    'host.name': host,
    ...known('host.id', read('/etc/machine-id')),
    'host.arch': ARCHITECTURES[process.arch] ?? process.arch,
    'os.type': 'linux',
    ...known('container.id', container),
    ...known('k8s.pod.uid', pod),
    ...known('k8s.pod.name', env.POD_NAME),
    ...known('k8s.namespace.name', env.POD_NAMESPACE),
    ...known('k8s.node.name', env.NODE_NAME),
  };
}

function known(name: string, value: string | undefined): ResourceAttributes {
  return value ? { [name]: value } : {};
}

/**
 * The container and the pod of this process. In a cgroup namespace its cgroup has no name; then the mounts of
 * /etc/hostname and /etc/hosts show them.
 */
function ownContainer(read: (path: string) => string): { container?: string; pod?: string } {
  const mounts = read('/proc/self/mountinfo');
  return {
    container: /\/(?:overlay-)?containers\/([0-9a-f]{64})\//.exec(mounts)?.[1],
    pod: /\/pods\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})\//.exec(mounts)?.[1],
    ...containerOf(read('/proc/self/cgroup').split('\n')[0] ?? ''),
  };
}
