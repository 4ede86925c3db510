/**
 * The container and the Kubernetes pod that a cgroup belongs to, from the names that container runtimes give
 * to cgroups.
 *
 *   /system.slice/docker-ID.scope, /docker/ID                                   Docker with systemd, without
 *   /kubepods.slice/…/kubepods-burstable-podUID.slice/cri-containerd-ID.scope   Kubernetes; or crio-ID.scope
 *   /kubepods/burstable/podUID/ID                                               Kubernetes without systemd
 *   /system.slice/containerd.service/kubepods-podUID.slice:cri-containerd:ID
 *   /machine.slice/libpod-ID.scope/container                                    Podman
 *
 * Every runtime uses IDs of 64 hexadecimal digits. To systemd a dash separates levels, so the dashes of a pod
 * uid become underscores there. The uid of a static pod is 32 digits without dashes.
 */

/** The container of a process; empty outside of containers. */
export interface Container {
  /** 64 hexadecimal digits. */
  readonly container?: string;
  /** The uid of its pod, with dashes where it has any. */
  readonly pod?: string;
}

/**
 * Excludes conmon, which monitors a container from a cgroup of its own that contains the ID of the container.
 */
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
