/**
 * Prepares a kernel for booting: its uncompressed image, a disk of its modules, and the modules that mount
 * disks.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { cached, exists } from './cache.ts';
import { run } from './command.ts';
import { type CpioEntry, cpio, FOLDER, PLAIN, PROGRAM } from './cpio.ts';
import { unpackKernel } from './debian.ts';
import { makeDisk } from './disk.ts';
import { busybox } from './image.ts';
import type { Processor } from './machine.ts';
import { KERNELS, type KernelSource, nameOf } from './matrix.ts';

/** A kernel's files in the cache. */
export interface Kernel {
  readonly processor: Processor;
  /** The output of `uname -r`. */
  readonly release: string;
  readonly vmlinux: string;
  /** A disk with /lib/modules/RELEASE at its root. */
  readonly modules: string;
  readonly initramfs: string;
}

/** Modules that the initramfs needs before it can mount disks. Some kernels have them built in. */
const EARLY_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_console'];

/** Finds a kernel in the cache, or downloads and prepares it. Throws if it is not available. */
export async function kernelOf(name: string): Promise<Kernel> {
  const source = KERNELS.find((kernel) => nameOf(kernel) === name);
  if (!source) throw new Error(`no kernel ${name} in the lab: it has ${KERNELS.map(nameOf).join(', ')}`);
  const folder = await cached(`kernels/${name}`, (draft) => prepare(source, draft));
  const release = (await readFile(join(folder, 'release'), 'utf8')).trim();
  const file = (name: string): string => join(folder, name);
  return {
    processor: source.processor ?? 'x64',
    release,
    vmlinux: file('vmlinux'),
    modules: file('modules.ext4'),
    initramfs: file('initramfs'),
  };
}

async function prepare(source: KernelSource, folder: string): Promise<void> {
  const tree = join(folder, 'tree');
  const { release } = await unpackKernel(source, tree);
  // Old packages have /lib/modules and /boot, newer ones everything in /usr/lib/modules.
  const unpacked = await firstOf(join(tree, 'usr/lib/modules', release), join(tree, 'lib/modules', release));
  const image = await firstOf(join(unpacked, 'vmlinuz'), join(tree, 'boot', `vmlinuz-${release}`));
  await writeFile(join(folder, 'vmlinux'), await bootable(await readFile(image)));
  await rm(image);
  await decompressModules(unpacked);

  const root = join(folder, 'root');
  const modules = join(root, 'lib/modules', release); // the path that depmod expects
  await mkdir(dirname(modules), { recursive: true });
  await rename(unpacked, modules);
  await run(await busybox('x64'), ['depmod', '-b', root, release]);
  await writeFile(join(folder, 'initramfs'), await initramfs(modules, source.processor));
  await makeDisk(dirname(modules), join(folder, 'modules.ext4'));
  await writeFile(join(folder, 'release'), `${release}\n`);
  await rm(tree, { recursive: true });
  await rm(root, { recursive: true });
}

async function firstOf(...paths: readonly string[]): Promise<string> {
  for (const path of paths) if (await exists(path)) return path;
  throw new Error(`the package has none of ${paths.join(', ')}`);
}

/** "ARM\x64", at byte 56 of an image that boots uncompressed (Documentation/arch/arm64/booting.rst). */
const ARM64_MAGIC = 0x644d5241;

/** A boot image without its decompressor, which is slow under emulation. */
async function bootable(image: Buffer): Promise<Buffer> {
  return image.readUInt32LE(56) === ARM64_MAGIC ? image : decompress(payloadOf(image));
}

/**
 * The compressed kernel in a boot image (Documentation/arch/x86/boot.rst: payload_offset and payload_length).
 */
function payloadOf(image: Buffer): Buffer {
  const setupSectors = image.readUInt8(0x1f1) || 4;
  const start = (setupSectors + 1) * 512 + image.readUInt32LE(0x248);
  return image.subarray(start, start + image.readUInt32LE(0x24c));
}

/** Magic numbers of compressed kernels, and the programs that decompress them. */
const COMPRESSIONS = [
  { magic: '28b52ffd', program: 'zstd' },
  { magic: '02214c18', program: 'lz4' },
  { magic: 'fd377a58', program: 'xz' },
  { magic: '1f8b08', program: 'gzip' },
];

async function decompress(payload: Buffer): Promise<Buffer> {
  const found = COMPRESSIONS.find(({ magic }) => payload.toString('hex', 0, magic.length / 2) === magic);
  if (!found) throw new Error(`unknown compression of a kernel: ${payload.toString('hex', 0, 4)}...`);
  // The last four bytes are the decompressed size, which is not part of the compressed data.
  return run(found.program, ['-dc'], { input: payload.subarray(0, -4) });
}

/** Decompresses modules, because the guest's small modprobe cannot read all formats. */
async function decompressModules(folder: string): Promise<void> {
  const files = await readdir(folder, { recursive: true });
  const compressed = files.filter((file) => file.endsWith('.ko.xz')).map((file) => join(folder, file));
  for (let at = 0; at < compressed.length; at += 500) {
    await run('xz', ['-d', ...compressed.slice(at, at + 500)]);
  }
}

/** The modules to load for `names`, each after its dependencies. */
export function loadOrder(modulesDep: string, names: readonly string[]): string[] {
  const needs = new Map<string, string[]>();
  for (const line of modulesDep.split('\n')) {
    const [path, rest = ''] = line.split(':');
    if (path) needs.set(path, rest.trim().split(/\s+/).filter(Boolean));
  }
  const order = new Set<string>();
  const visit = (path: string): void => {
    for (const need of needs.get(path) ?? []) visit(need);
    order.add(path);
  };
  for (const name of names) {
    // Modules that are not listed are built in.
    const path = [...needs.keys()].find((key) => basename(key, '.ko').replaceAll('-', '_') === name);
    if (path) visit(path);
  }
  return [...order];
}

/** A root with only busybox, the modules for disks, and the init script. */
async function initramfs(modules: string, processor: Processor = 'x64'): Promise<Buffer> {
  const early = loadOrder(await readFile(join(modules, 'modules.dep'), 'utf8'), EARLY_MODULES);
  const entries: CpioEntry[] = ['bin', 'dev', 'modules', 'proc', 'root', 'sys'].map((path) => ({
    path,
    mode: FOLDER,
  }));
  entries.push({ path: 'bin/busybox', mode: PROGRAM, data: await readFile(await busybox(processor)) });
  for (const [index, path] of early.entries()) {
    const name = `modules/${String(index).padStart(2, '0')}-${basename(path)}`;
    entries.push({ path: name, mode: PLAIN, data: await readFile(join(modules, path)) });
  }
  return cpio(entries);
}
