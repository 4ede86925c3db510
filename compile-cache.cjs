/**
 * Runs a command's bundle and writes the cache of one of its scripts (the bundle or a late part), which the
 * launcher reads (src/cli/launch.ts):
 *
 *   code      what V8 has compiled from the script by the end of the run
 *   prebuilt  the text for the bundle's parameter of that name; empty for a late part
 *   length    the length of `prebuilt` in 4 bytes, little-endian
 *   copies    the script, and then the above as a whole, each with its bytes in reverse order
 *
 * The launcher compares the copies. A tool that rewrites text in files does not find the text there, so it
 * cannot change both copies alike.
 *
 *   node compile-cache.cjs BUNDLE SCRIPT CACHE PREBUILT [ARGUMENT...]
 *
 * The build runs this for each cache. A fake kernel grants every system call and does nothing, so that the
 * run needs no privileges and does not change the machine. SIGINT ends the trace when it is idle.
 */
const { openSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const ENOENT = 2;
const ENOMEM = 12;
const BPF_MAP_CREATE = 0;
const BPF_MAP_LOOKUP_BATCH = 24;
/** Offset of the number of entries in the attribute of BPF_MAP_LOOKUP_BATCH. */
const BATCH_COUNT = 32;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const PROT_WRITE = 0x2;
const PAGE = 4096;

/** The fake of a C function, by the prototype in `src/loader/koffi.ts`. Most do nothing. */
function functionOf(prototype) {
  const [, name] = /(\w+)\(/.exec(prototype);
  return FUNCTIONS[name] ?? (() => 0);
}

const FUNCTIONS = {
  syscall: (_number, command, attr) => {
    if (command === BPF_MAP_LOOKUP_BATCH) return emptyMap(attr);
    return command === BPF_MAP_CREATE && refusesMaps ? refusedMap() : newDescriptor();
  },
  epoll_create1: newDescriptor,
  fcntl: newDescriptor, // F_DUPFD_CLOEXEC
  send: (_fd, bytes) => bytes.length,
  // Mapping a file fails, so that files are read.
  mmap: (_address, _length, protection) => (protection & PROT_WRITE ? 1n : MAP_FAILED),
};

/** The error of the failed call. */
let errno = ENOENT;
/**
 * Whether the next map is refused. Without it a run with prebuilt programs would not call the builder, and
 * the cache would lack the code for the runs that do.
 */
let refusesMaps = false;

function refusedMap() {
  refusesMaps = false;
  errno = ENOMEM;
  return -1;
}

function newDescriptor() {
  return openSync('/dev/null', 'r');
}

/** The answer to BPF_MAP_LOOKUP_BATCH for a map without entries. */
function emptyMap(attr) {
  attr.fill(0, BATCH_COUNT, BATCH_COUNT + 4);
  errno = ENOENT;
  return -1;
}

/** An empty perf ring. Its first page (`struct perf_event_mmap_page`) has the offset of the data. */
function ring(length) {
  const memory = new ArrayBuffer(length);
  const [dataOffset, dataSize] = [BigInt(PAGE), BigInt(length - PAGE)];
  new BigUint64Array(memory, 1040, 2).set([dataOffset, dataSize]);
  return memory;
}

const koffi = {
  version: '3.0.0',
  load: () => ({ func: functionOf }),
  errno: () => errno,
  address: () => 0n,
  view: (_address, length) => ring(length),
  node: { poll: () => ({ close() {} }) },
};

const [bundle, wanted, cache, prebuiltFile, ...args] = process.argv.slice(2);
const prebuilt = readFileSync(prebuiltFile);
/** The scripts that the run has compiled, by file. */
const scripts = new Map();

function evaluate(file) {
  const script = new Script(readFileSync(file, 'latin1'), { filename: file });
  scripts.set(file, script);
  return script.runInThisContext();
}

/** What the launchers pass to a bundle: scripts, modules of Node, and the fake instead of koffi. */
function load(name) {
  if (name.endsWith('.cjs')) return evaluate(join(bundle, '..', name));
  return name.includes('koffi') ? koffi : require(name);
}

refusesMaps = prebuilt.length > 0;
process.argv = [process.execPath, bundle, ...args];
process.once('exit', () => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(prebuilt.length);
  const code = scripts.get(wanted).createCachedData();
  const content = Buffer.concat([code, prebuilt, length]);
  const copies = [readFileSync(wanted), content].map((bytes) => Buffer.from(bytes).reverse());
  writeFileSync(`${cache}.draft`, Buffer.concat([content, ...copies]));
  renameSync(`${cache}.draft`, cache);
  process.exitCode = 0; // A machine without BTF does not fail the build.
});
setInterval(() => process.emit('SIGINT', 'SIGINT'), 100).unref();
evaluate(bundle)(load, bundle, wanted === bundle ? prebuilt : undefined);
