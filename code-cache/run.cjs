/**
 * Runs a command's bundle under a fake kernel, and writes V8's code of the functions that it called.
 *
 *   node --hash-seed=1 --random-seed=1 run.cjs BUNDLE FOLDER <RUNS
 *
 * `RUNS`, a JSON text on stdin, has the `runs` and the `names` of the scripts in stack traces, by file
 * (code-cache/make.mjs). The code of each script, the bundle or a late part, becomes a file in FOLDER with the
 * name of the script and the ending `.code`.
 *
 * Equal scripts, names, runs and versions of Node give equal bytes on every machine of one architecture: V8's
 * seeds are fixed, and the command sees the fake kernel and no other file, variable, user or time. The fake kernel grants every system call and does nothing, so a run needs no
 * privileges and does not change the machine. SIGINT ends a run when it waits.
 */
const { constants, readFileSync, writeFileSync } = require('node:fs');
const { basename, join } = require('node:path');
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');

const ENOENT = 2;
const BPF_MAP_LOOKUP_BATCH = 24;
/** Offset of the number of entries in the attribute of BPF_MAP_LOOKUP_BATCH. */
const BATCH_COUNT = 32;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const PROT_WRITE = 0x2;
const PAGE = 4096;

/** The number of the next descriptor. */
let next = 3;
const newDescriptor = () => next++;

// --- C functions ---------------------------------------------------------------------------------

/** The fake of a C function, by the prototype in `src/loader/koffi.ts`. Most do nothing. */
function functionOf(prototype) {
  const [, name] = /(\w+)\(/.exec(prototype);
  return FUNCTIONS[name] ?? (() => 0);
}

const FUNCTIONS = {
  // seccomp(2) has numbers only; bpf(2) and perf_event_open(2) have an attribute.
  syscall: (_number, command, attr) => {
    if (typeof command === 'number' && typeof attr === 'number') return 0;
    if (command === BPF_MAP_LOOKUP_BATCH) return emptyMap(attr);
    return newDescriptor();
  },
  epoll_create1: newDescriptor,
  fcntl: newDescriptor, // F_DUPFD_CLOEXEC
  send: (_fd, bytes) => bytes.length,
  // Mapping a file fails, so that files are read.
  mmap: (_address, _length, protection) => (protection & PROT_WRITE ? 1n : MAP_FAILED),
};

/** The error of the failed call. */
let errno = ENOENT;
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

// --- files ---------------------------------------------------------------------------------------

/** The files of the fake kernel: bytes by path. */
let files = new Map();
/** Open files, by descriptor. */
const opened = new Map();

/** What the command gets as `node:fs`. Standard input and output are pipes. */
const fs = {
  constants,
  openSync(path) {
    const bytes = /^\/(dev\/null|proc\/self\/fd\/[12])$/.test(path) ? Buffer.alloc(0) : files.get(path);
    if (!bytes) throw missing('open', path);
    const fd = newDescriptor();
    opened.set(fd, { bytes, position: 0 });
    return fd;
  },
  closeSync: (fd) => void opened.delete(fd),
  readSync(fd, target, offset = 0, length = target.length - offset, position = undefined) {
    const file = opened.get(fd);
    const from = position ?? file.position;
    const size = file.bytes.copy(target, offset, from, Math.min(file.bytes.length, from + length));
    if (typeof position !== 'number') file.position += size;
    return size;
  },
  fstatSync: (fd) => statOf(opened.get(fd)?.bytes),
  readFileSync(path, options) {
    const bytes = files.get(path);
    if (!bytes) throw missing('open', path);
    return options ? bytes.toString(options.encoding ?? options) : bytes;
  },
  writeSync: (_fd, bytes) => bytes.length,
  statSync: (path) => {
    throw missing('stat', path);
  },
  statfsSync: (path) => {
    throw missing('statfs', path);
  },
  readdirSync: (path) => {
    throw missing('scandir', path);
  },
  mkdirSync: (path) => {
    throw missing('mkdir', path);
  },
  readlinkSync: (path) => {
    throw missing('readlink', path);
  },
};

function missing(syscall, path) {
  const message = `ENOENT: no such file or directory, ${syscall} '${path}'`;
  return Object.assign(new Error(message), { errno: -ENOENT, code: 'ENOENT', syscall, path });
}

/** The state of a file of root, or without `bytes` of a pipe. */
function statOf(bytes) {
  return {
    ...{ dev: 1, ino: 1, uid: 0, gid: 0, rdev: 0, size: bytes?.length ?? 0, mode: 0o100644 },
    isFile: () => bytes !== undefined,
    isFIFO: () => bytes === undefined,
    isCharacterDevice: () => false,
    isSocket: () => false,
    isDirectory: () => false,
  };
}

// --- runs ----------------------------------------------------------------------------------------

const [bundle, folder] = process.argv.slice(2);
const { runs, names } = JSON.parse(readFileSync(0, 'utf8'));
/** The scripts that the runs have used, by name. */
const scripts = new Map();

/**
 * Runs a script. V8 puts its name into the code. That is why all of it comes from outside: of a part of a
 * path, V8 would write the whole path.
 */
function evaluate(name) {
  if (!scripts.has(name)) {
    const text = readFileSync(join(bundle, '..', name), 'latin1');
    scripts.set(name, new Script(text, { filename: names[name] ?? 'script.cjs' }));
  }
  return scripts.get(name).runInThisContext();
}

/** What the launchers pass to a bundle: scripts, modules of Node, and the fakes. */
function load(name) {
  if (name.endsWith('.cjs')) return evaluate(basename(name));
  if (name === 'node:fs') return fs;
  return name.includes('koffi') ? koffi : require(name);
}

/** Replaces what tells processes and machines apart. Timers never fire, and no time passes. */
function isolate() {
  const never = { ref: () => never, unref: () => never };
  globalThis.setTimeout = globalThis.setInterval = () => never;
  globalThis.clearTimeout = globalThis.clearInterval = () => {};
  globalThis.performance = { now: () => 0 };
  Date.now = () => 0;
  process.uptime = () => 0;
  process.execPath = '/node';
  process.getuid = process.geteuid = process.getgid = process.getegid = () => 0;
  process.getgroups = () => [0];
  for (const name of Object.keys(process.env)) delete process.env[name];
}

function start({ kernel, args, prebuilt }) {
  files = new Map(Object.entries(kernel).map(([path, bytes]) => [path, Buffer.from(bytes, 'base64')]));
  files.set(process.execPath, Buffer.alloc(PAGE));
  process.argv = [process.execPath, bundle, ...args];
  evaluate(basename(bundle))(load, '/command.cjs', prebuilt && Buffer.from(prebuilt));
}

/** Writes V8's code. V8 rejects code of other flags, so those for this process are set to their defaults. */
function finish() {
  for (const flag of ['--flush-bytecode', '--hash-seed=0', '--random-seed=0']) setFlagsFromString(flag);
  for (const [name, script] of scripts)
    writeFileSync(join(folder, `${name}.code`), script.createCachedData());
  process.exitCode = 0; // also after runs that print errors
}

setFlagsFromString('--no-flush-bytecode'); // keep the code of functions however long ago they ran
isolate();
let waits = false;
// The event loop is empty: a run waits for signals, or has ended.
process.on('beforeExit', () => {
  if (waits) {
    waits = false;
    process.emit('SIGINT', 'SIGINT');
    setImmediate(() => {}); // another turn
    return;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal);
  const run = runs.shift();
  if (!run) {
    finish();
    return;
  }
  waits = true;
  start(run);
  setImmediate(() => {});
});
