/**
 * Which container and which pod of Kubernetes a cgroup belongs to, by the names that runtimes give to cgroups.
 *
 *   /system.slice/docker-ID.scope, /docker/ID                                          Docker by systemd, and by itself
 *   /kubepods.slice/…/kubepods-burstable-podUID.slice/cri-containerd-ID.scope          containerd under Kubernetes; crio-ID.scope
 *   /kubepods/burstable/podUID/ID                                                      without systemd
 *   /system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID
 *   /machine.slice/libpod-ID.scope/container                                           Podman
 *
 * An ID is 64 hexadecimal digits, whatever the runtime. Systemd takes a dash for a level, so the dashes of a pod's uid are
 * underscores there; the uid of a static pod is 32 digits without any.
 */
import { CgroupPaths } from '../../loader/cgroup-paths.ts';
import type { Kernel } from '../../loader/kernel.ts';

/** Where a process runs; empty outside of containers. */
export interface Container {
  /** 64 hexadecimal digits. */
  readonly container?: string;
  /** The uid of its pod, with dashes where it has any. */
  readonly pod?: string;
}

/** Conmon watches a container from a cgroup that is named after it, and outside of it. */
const CONTAINER = /^(?:.*[-:])?(?<!conmon-)([0-9a-f]{64})(?:\.scope)?$/;
const POD = /(?:^|-)pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?=$|:)/;

/** The innermost container of a cgroup's path, and the pod around it. */
export function containerOf(path: string): Container {
  const names = path.split('/').reverse();
  const container = first(names, CONTAINER);
  const pod = first(names, POD)?.replaceAll('_', '-');
  return { ...(container && { container }), ...(pod && { pod }) };
}

function first(names: readonly string[], pattern: RegExp): string | undefined {
  for (const name of names) {
    const [, id] = pattern.exec(name) ?? [];
    if (id !== undefined) return id;
  }
  return undefined;
}

/** What tells the container of a process by the id of its cgroup and its number. */
export type Containers = (cgroup: bigint, pid: number) => Container;

const NONE: Container = {};

/** The containers of this machine. `complain` is told where they can't be seen. */
export function containers(kernel: Kernel, complain: (text: string) => void): Containers {
  const paths = new CgroupPaths(kernel);
  if (!paths.mounted) complain('no cgroups are mounted here: containers cannot be told');
  return (cgroup, pid) => {
    for (const path of paths.of(cgroup, pid)) {
      const found = containerOf(path);
      if (found.container ?? found.pod) return found;
    }
    return NONE;
  };
}
