/**
 * Programs that rewrite the destination of connects, as those of Cilium do for services
 * (BPF_CGROUP_INET4_CONNECT and BPF_CGROUP_INET6_CONNECT).
 *
 * Source: include/uapi/linux/bpf.h (`struct bpf_sock_addr`, `enum bpf_attach_type`).
 */
import * as insn from '../../src/asm/constructors.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { u32 } from '../../src/asm/layout.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { parseAddress } from '../../src/cli/address.ts';
import { Attr, Command, Descriptor } from '../../src/loader/bpf.ts';
import { openCgroup } from '../../src/loader/cgroup.ts';
import type { Kernel } from '../../src/loader/kernel.ts';
import { loadRaw } from './raw-load.ts';

const CGROUP_SOCK_ADDR = 18;
/** `enum bpf_attach_type`. */
const ATTACH = { 4: 10, 6: 11 } as const;
/** Offsets in `struct bpf_sock_addr`. */
const At = { ip4: 4, ip6: 8, port: 24 } as const;
const ALLOW = 1;
const DENY = 0;

/** What to do with connects to an address: deny them, or connect elsewhere. */
export interface Rewrite {
  readonly from: string;
  readonly to?: { readonly address: string; readonly port: number };
}

/** The programs, attached to a cgroup until `close`. */
export class ConnectPrograms {
  readonly #owned: readonly Descriptor[];

  constructor(kernel: Kernel, cgroup: string, rewrites: readonly Rewrite[]) {
    const { syscalls } = kernel;
    const folder = openCgroup(kernel, cgroup);
    const owned: Descriptor[] = [];
    for (const family of [4, 6] as const) {
      const type = { type: CGROUP_SOCK_ADDR, expectedAttachType: ATTACH[family] };
      const program = loadRaw(kernel, items(family, rewrites), type);
      if (!program) throw new Error(`the kernel refuses the program for IPv${family}`);
      const link = new Attr(syscalls, 32)
        .u32(0, program.fd)
        .u32(4, folder.fd)
        .u32(8, ATTACH[family])
        .send(Command.linkCreate);
      program.close();
      if (link < 0) throw new Error(`the link to ${cgroup}: errno ${-link}`);
      owned.push(new Descriptor(syscalls, link, 'the link'));
    }
    folder.close();
    this.#owned = owned;
  }

  close(): void {
    for (const each of this.#owned) each.close();
  }
}

function items(family: 4 | 6, rewrites: readonly Rewrite[]): Item[] {
  return [
    ...rewrites.flatMap(({ from, to }, i) => {
      const next = `next${i}`;
      const wanted = words(family, from);
      if (wanted.length === 0) return [];
      return [
        ...wanted.flatMap(([offset, word]) => [insn.ldx(u32, r2, r1, offset), insn.jne32(r2, word, next)]),
        ...(to
          ? [
              ...words(family, to.address).flatMap(([offset, word]) => [
                insn.mov32(r2, word),
                insn.stx(u32, r1, offset, r2),
              ]),
              insn.mov32(r2, swapped(to.port)),
              insn.stx(u32, r1, At.port, r2),
            ]
          : []),
        insn.mov(r0, to ? ALLOW : DENY),
        insn.exit(),
        insn.label(next),
      ];
    }),
    insn.mov(r0, ALLOW),
    insn.exit(),
  ];
}

/** The words of an address in the context, as the program reads them; none for the other family. */
function words(family: 4 | 6, address: string): [offset: number, word: number][] {
  const bytes = parseAddress(address) as Uint8Array;
  if (bytes.length !== (family === 4 ? 4 : 16)) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: bytes.length / 4 }, (_, i) => [
    (family === 4 ? At.ip4 : At.ip6) + 4 * i,
    view.getInt32(4 * i, true),
  ]);
}

/** A port in network order. */
function swapped(port: number): number {
  return ((port & 0xff) << 8) | (port >> 8);
}
