/**
 * Runs a command's bundle and writes the code that V8 has compiled by then, followed by what the launcher
 * compares (src/cli/launch.ts): the bundle and the code, each with its bytes in reverse order. A tool that
 * rewrites text in files does not find the text there, so it cannot change both copies alike.
 *
 *   node compile-cache.cjs BUNDLE CACHE [ARGUMENT...]
 *
 * The build runs this for each command. A fake kernel grants every system call and does nothing, so that the
 * run needs no privileges and does not change the machine. SIGINT ends the trace when it is idle.
 */
const { openSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');

const ENOENT = 2;
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
  syscall: (_number, command, attr) => (command === BPF_MAP_LOOKUP_BATCH ? emptyMap(attr) : newDescriptor()),
  epoll_create1: newDescriptor,
  fcntl: newDescriptor, // F_DUPFD_CLOEXEC
  send: (_fd, bytes) => bytes.length,
  // Mapping a file fails, so that files are read.
  mmap: (_address, _length, protection) => (protection & PROT_WRITE ? 1n : MAP_FAILED),
};

function newDescriptor() {
  return openSync('/dev/null', 'r');
}

/** The answer to BPF_MAP_LOOKUP_BATCH for a map without entries. */
function emptyMap(attr) {
  attr.fill(0, BATCH_COUNT, BATCH_COUNT + 4);
  return -1; // ENOENT
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
  errno: () => ENOENT,
  address: () => 0n,
  view: (_address, length) => ring(length),
  node: { poll: () => ({ close() {} }) },
};

const [bundle, cache, ...args] = process.argv.slice(2);
const text = readFileSync(bundle);
const script = new Script(text.toString('latin1'), { filename: bundle });
process.argv = [process.execPath, bundle, ...args];
process.once('exit', () => {
  const code = script.createCachedData();
  const copies = [text, code].map((bytes) => Buffer.from(bytes).reverse());
  writeFileSync(`${cache}.draft`, Buffer.concat([code, ...copies]));
  renameSync(`${cache}.draft`, cache);
  process.exitCode = 0; // A machine without BTF does not fail the build.
});
setInterval(() => process.emit('SIGINT', 'SIGINT'), 100).unref();
script.runInThisContext()((name) => (name.includes('koffi') ? koffi : require(name)), bundle);
