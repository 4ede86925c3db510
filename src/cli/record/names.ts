/**
 * The names of pods and containers that files of this machine have, without an API.
 *
 *   /var/log/pods/NAMESPACE_POD_UID/CONTAINER              written by the kubelet
 *   /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log     written by the kubelet, a link
 *   /var/lib/docker/containers/ID/config.v2.json           written by Docker
 *   /var/lib/containers/storage/overlay-containers/…       written by Podman
 *
 * A folder is listed when a pod or container is unknown, so new ones are found. In a container that has the
 * PIDs of its host, /proc/1/root is the root of the host.
 */
import { closeSync, fstatSync, opendirSync, openSync, readSync } from 'node:fs';
import { WORKLOAD_NAME as NAME } from '../limits.ts';
import type { Container } from './containers.ts';

/** The names of a container. What no file has is absent. */
export interface Names {
  readonly container_name?: string;
  readonly pod_name?: string;
  readonly pod_namespace?: string;
}

/** Finds the names of a container. They can be found later if `isComplete` is false. */
export type NameLookup = (container: Container) => { readonly names: Names; readonly isComplete: boolean };

/** The roots of the folders. The first one that has a folder is used. */
const ROOTS = ['', '/proc/1/root', '/host'] as const;

/** Listings and readings take at most one tenth of the time, ms. */
const SHARE = 10;
const MIN_PAUSE_MS = 20;
/** The most entries of a folder that are read. */
const MAX_ENTRIES = 16_384;
/** The most names of Docker containers that are kept. */
const MAX_KEPT = 4096;
/** The longest file that is read, in bytes. */
const MAX_FILE_BYTES = 4 << 20;

const POD_FOLDER = /^([^_]+)_([^_]+)_([0-9a-f-]{32,36})$/;
const CONTAINER_LOG = /^[^_]+_[^_]+_(.+)-([0-9a-f]{64})\.log$/;

interface Pod {
  readonly pod_namespace: string;
  readonly pod_name: string;
  /** The folder with its containers. */
  readonly folder: string;
}

/** The names on this machine. `now` returns ms. */
export function nameLookup(roots: readonly string[] = ROOTS, now = () => performance.now()): NameLookup {
  const pods = refreshed(() => podsIn(roots), now);
  const logs = refreshed(() => containersByLog(roots), now);
  const podman = refreshed(() => podmanContainers(roots), now);
  const docker = new Map<string, string>();

  const dockerName = (id: string) => {
    const known = docker.get(id);
    if (known !== undefined) return known;
    const name = nameOf(json(roots, `/var/lib/docker/containers/${id}/config.v2.json`));
    if (docker.size >= MAX_KEPT) docker.clear();
    if (name !== undefined) docker.set(id, name);
    return name;
  };

  return ({ container, pod }) => {
    if (pod === undefined) {
      const name = container === undefined ? undefined : (dockerName(container) ?? podman(container));
      return {
        names: name === undefined ? {} : { container_name: name },
        isComplete: container === undefined || name !== undefined,
      };
    }
    const found = pods(pod);
    const name = container === undefined ? undefined : (logs(container) ?? onlyContainer(found?.folder));
    return {
      names: {
        ...(name !== undefined && { container_name: name }),
        ...(found && { pod_name: found.pod_name, pod_namespace: found.pod_namespace }),
      },
      isComplete: found !== undefined && (container === undefined || name !== undefined),
    };
  };
}

/** Looks up a table by a key. If the key is unknown, reads the table again, but not too often. */
function refreshed<T>(read: () => ReadonlyMap<string, T>, now: () => number): (key: string) => T | undefined {
  let known: ReadonlyMap<string, T> = new Map();
  let notBefore = Number.NEGATIVE_INFINITY;
  return (key) => {
    const begin = now();
    if (!known.has(key) && begin >= notBefore) {
      known = read();
      const end = now();
      notBefore = end + Math.max(MIN_PAUSE_MS, (end - begin) * (SHARE - 1));
    }
    return known.get(key);
  };
}

function podsIn(roots: readonly string[]): ReadonlyMap<string, Pod> {
  const pods = new Map<string, Pod>();
  for (const root of roots) {
    const path = `${root}/var/log/pods`;
    for (const name of entries(path)) {
      const [, namespace = '', pod = '', uid = ''] = POD_FOLDER.exec(name) ?? [];
      if (NAME.test(namespace) && NAME.test(pod))
        pods.set(uid, { pod_namespace: namespace, pod_name: pod, folder: `${path}/${name}` });
    }
    if (pods.size > 0) break;
  }
  return pods;
}

function containersByLog(roots: readonly string[]): ReadonlyMap<string, string> {
  const containers = new Map<string, string>();
  for (const root of roots) {
    for (const file of entries(`${root}/var/log/containers`)) {
      const [, name = '', id = ''] = CONTAINER_LOG.exec(file) ?? [];
      if (NAME.test(name)) containers.set(id, name);
    }
    if (containers.size > 0) break;
  }
  return containers;
}

/** The container of a pod that has only one. */
function onlyContainer(folder: string | undefined): string | undefined {
  const names = folder === undefined ? [] : entries(folder);
  return names.length === 1 && NAME.test(names[0] as string) ? names[0] : undefined;
}

/** Podman has permanent containers and, since containers-storage 1.42, volatile ones in another file. */
function podmanContainers(roots: readonly string[]): ReadonlyMap<string, string> {
  const containers = new Map<string, string>();
  for (const file of ['containers.json', 'volatile-containers.json']) {
    const list = json(roots, `/var/lib/containers/storage/overlay-containers/${file}`);
    if (!Array.isArray(list)) continue;
    for (const each of list.slice(0, MAX_ENTRIES) as readonly { id?: unknown; names?: unknown }[]) {
      const name = Array.isArray(each?.names) ? each.names[0] : undefined;
      if (typeof each?.id === 'string' && typeof name === 'string' && NAME.test(name))
        containers.set(each.id, name);
    }
  }
  return containers;
}

/** The name in Docker's `config.v2.json`, which begins with a slash. */
function nameOf(config: unknown): string | undefined {
  const name = (config as { Name?: unknown } | undefined)?.Name;
  if (typeof name !== 'string') return undefined;
  const plain = name.replace(/^\//, '');
  return NAME.test(plain) ? plain : undefined;
}

/** The names in a folder; none if it cannot be read. */
function entries(path: string): string[] {
  const names: string[] = [];
  try {
    const folder = opendirSync(path);
    try {
      for (let entry = folder.readSync(); entry && names.length < MAX_ENTRIES; entry = folder.readSync())
        names.push(entry.name);
    } finally {
      folder.closeSync();
    }
  } catch {
    // not there, or not allowed
  }
  return names;
}

/** The content of the first file that is valid JSON. */
function json(roots: readonly string[], path: string): unknown {
  for (const root of roots) {
    try {
      const text = fileText(root + path);
      if (text !== undefined) return JSON.parse(text);
    } catch {
      // not there, not allowed, or being written
    }
  }
  return undefined;
}

function fileText(path: string): string | undefined {
  const fd = openSync(path, 'r');
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) return undefined;
    const bytes = Buffer.alloc(stat.size);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(fd);
  }
}
