/** What the kernel allows for maps of special types, for the messages of calls that it refuses. */
import { storageOf } from '../../asm/local-storage.ts';
import { type MapSpec, MapType } from '../../asm/map.ts';
import { isBloomFilter, isKeyless } from '../../asm/queue.ts';
import { Errno } from '../errno.ts';

/** Returns why a map of this type refuses a command of bpf(2), and what to do instead. */
export function typeHint(spec: MapSpec, command: string, errno: number): string | undefined {
  const isListing = command === 'BPF_MAP_GET_NEXT_KEY';
  if (isKeyless(spec)) return keylessHint(spec);
  if (spec.type === MapType.stackTrace && command === 'BPF_MAP_UPDATE_ELEM')
    return 'only programs add stacks, with b.stackId';
  const storage = storageOf(spec);
  if (storage && isListing) return 'the kernel does not list the values of a storage map; look up each owner';
  const isWrongKey = errno === Errno.EBADF || errno === Errno.EINVAL || errno === Errno.ENOTSOCK;
  return storage && isWrongKey ? `the key must be ${storage.descriptor}` : undefined;
}

/** The methods for a map without keys. */
export function keylessHint(spec: MapSpec): string {
  return isBloomFilter(spec)
    ? 'a bloom filter has no keys; use add and has'
    : 'a queue or stack has no keys; use push, pop and peek';
}
