/**
 * Runs a command's bundle under a fake kernel, and writes V8's code of the functions that it called.
 *
 *   node OPTION... run.cjs BUNDLE FOLDER <RUNS
 *
 * `RUNS`, a JSON text on stdin, has the `runs`, the `names` of the scripts in stack traces, by file, and V8's
 * `flags` during the runs and afterwards (code-cache/make.mjs, which knows the options, too). The code of each
 * script, the bundle or a late part, becomes a file in FOLDER with the name of the script and the ending
 * `.code`.
 *
 * Equal scripts, names, runs and versions of Node give equal bytes on every machine of one architecture: V8's
 * seeds are fixed, and the command sees the fake kernel and no other file, variable, user or time. The fake
 * kernel grants every system call and does nothing, so a run needs no privileges and does not change the
 * machine. SIGINT ends a run when it waits.
 */
const { constants, readFileSync, writeFileSync } = require('node:fs');
const { basename, dirname, join } = require('node:path');
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

/** The files: bytes by path. Those of the fake kernel change with each run. */
let files = new Map();
/** The files that runs have written, such as programs that later runs load. */
const written = new Map();
const folders = new Set(['/var/cache']);
/** Open files and folders, by descriptor. */
const opened = new Map();

/** What the command gets as `node:fs`. Everything belongs to root; standard input and output are pipes. */
const fs = {
  constants,
  openSync(name, flags = 0) {
    const path = pathOf(name);
    if (flags & constants.O_CREAT) written.set(path, Buffer.alloc(0));
    const isOutput = /^\/(dev\/null|proc\/self\/fd\/[12])$/.test(path);
    if (!isOutput && !folders.has(path) && !bytesAt(path)) throw missing('open', path);
    const fd = newDescriptor();
    opened.set(fd, { path, position: 0 });
    return fd;
  },
  closeSync: (fd) => void opened.delete(fd),
  readSync(fd, target, offset = 0, length = target.length - offset, position = undefined) {
    const file = opened.get(fd);
    const from = position ?? file.position;
    const size = bytesAt(file.path).copy(target, offset, from, from + length);
    if (typeof position !== 'number') file.position += size;
    return size;
  },
  writeSync(fd, bytes, offset = 0) {
    const { path } = opened.get(fd) ?? {};
    if (written.has(path)) written.set(path, Buffer.concat([written.get(path), bytes.subarray(offset)]));
    return bytes.length - offset;
  },
  fstatSync: (fd) => statOf(opened.get(fd)?.path),
  statSync(name) {
    if (!bytesAt(pathOf(name))) throw missing('stat', name);
    return statOf(pathOf(name));
  },
  readFileSync(path, options) {
    const bytes = bytesAt(path);
    if (!bytes) throw missing('open', path);
    return options ? bytes.toString(options.encoding ?? options) : bytes;
  },
  readdirSync(name) {
    const path = pathOf(name);
    if (!folders.has(path)) throw missing('scandir', path);
    return [...written.keys()].filter((file) => dirname(file) === path).map((file) => basename(file));
  },
  mkdirSync: (path) => void folders.add(path),
  renameSync(from, to) {
    written.set(pathOf(to), written.get(pathOf(from)));
    written.delete(pathOf(from));
  },
  statfsSync: (path) => {
    throw missing('statfs', path);
  },
  readlinkSync: (path) => {
    throw missing('readlink', path);
  },
};

/** The path of an open folder that is named by its descriptor, or of a file in it. */
function pathOf(name) {
  return name.replace(/^\/proc\/self\/fd\/(\d+)/, (path, fd) => opened.get(Number(fd))?.path ?? path);
}

function bytesAt(path) {
  return files.get(path) ?? written.get(path);
}

function missing(syscall, path) {
  const message = `ENOENT: no such file or directory, ${syscall} '${path}'`;
  return Object.assign(new Error(message), { errno: -ENOENT, code: 'ENOENT', syscall, path });
}

/** The state of a file or folder; without `path` of a pipe. */
function statOf(path) {
  const isFolder = folders.has(path);
  const type = isFolder ? constants.S_IFDIR : path === undefined ? constants.S_IFIFO : constants.S_IFREG;
  return {
    ...{ dev: 1, ino: 1, uid: 0, gid: 0, rdev: 0, size: bytesAt(path)?.length ?? 0, mtimeMs: 0 },
    mode: type | (isFolder ? 0o700 : 0o600),
    isFile: () => type === constants.S_IFREG,
    isFIFO: () => type === constants.S_IFIFO,
    isDirectory: () => isFolder,
    isCharacterDevice: () => false,
    isSocket: () => false,
  };
}

// --- runs ----------------------------------------------------------------------------------------

const [bundle, folder] = process.argv.slice(2);
const { runs, names, flags } = JSON.parse(readFileSync(0, 'utf8'));
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
  Object.defineProperty(process, 'pid', { value: 2 });
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

/** Writes V8's code. */
function finish() {
  for (const flag of flags.after) setFlagsFromString(flag);
  for (const [name, script] of scripts)
    writeFileSync(join(folder, `${name}.code`), script.createCachedData());
  process.exitCode = 0; // also after runs that print errors
}

for (const flag of flags.during) setFlagsFromString(flag);
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
