/** The guest's two disks: a root file system with programs of the host, and the built project. */
import { createHash } from 'node:crypto';
import {
  copyFile,
  cp,
  mkdir,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, deleteOlder, exists, withScratch } from './cache.ts';
import { PATH, run } from './command.ts';
import { unpack, unpackSystem } from './debian.ts';
import { makeDisk } from './disk.ts';
import type { Processor } from './machine.ts';

/** The project's root, found from test/vm/ and from build/test/vm/. */
export const PROJECT = await projectRoot(fileURLToPath(new URL('.', import.meta.url)));

/** Programs of the host that the guest requires. */
const REQUIRED = ['bash', 'ip', 'node', 'sh', 'ss', 'stdbuf', 'tc'];

/** Files that these programs load at run time, which ldd does not list. */
const COMPANIONS = ['/usr/libexec/coreutils/libstdbuf.so'];

/**
 * tcpconnlat of libbpf-tools, the reference for comparison, with the libraries that Node does not need. They
 * come from packages, because the host may not have them. The folder is the program's LD_LIBRARY_PATH.
 */
const REFERENCE_PACKAGES = ['libbpf-tools', 'libelf1', 'zlib1g'];
const REFERENCE_FILES = ['tcpconnlat', 'libelf.so.1', 'libz.so.1'];
const REFERENCE = '/usr/lib/libbpf-tools';

/**
 * Programs that the guest gets if the host has them; busybox replaces the others. Common programs are
 * included because `env` or `timeout` of busybox would run the `ip` of busybox.
 */
const OPTIONAL = words(`
  bpftool capsh nft nsenter setpriv strace unshare
  cat chmod chown cp cut date dd dmesg echo env expr false find grep head hostname id kill ln ls lsmod mkdir mkfifo
  mknod mktemp mount mv nice nohup od pgrep pkill printf ps pwd readlink realpath rm rmdir sed seq setsid sleep sort
  stat stty sync sysctl tail taskset tee test timeout touch tr true umount uname uniq wc xargs
`);

/** The packages of the arm64 root, and the folders of /usr/share that it does not need. */
const ARM64_PACKAGES = words('bash coreutils iproute2 nodejs procps util-linux');
const UNUSED_SHARE = words('doc icons info locale man perl5 zoneinfo');

/** Folders of the root that are mount points or that programs expect. */
const FOLDERS = words('dev etc home mnt proc root run sys tmp tsbpf var usr/lib/modules');

/** The guest's copy of the project's dependencies: thousands of files that seldom change. */
const PACKAGES = '/usr/lib/node_modules';

/** Symbolic links of Debian's merged /usr. */
const LINKS = ['bin', 'lib', 'lib64', 'sbin'];

const ETC = {
  group: 'root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n',
  hosts: '127.0.0.1 localhost\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
  passwd:
    'root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000:user:/tmp:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n',
};

/** Parts of the project that tests do not need. */
const NOT_IN_GUEST = new Set(['.git', '.ci', 'node_modules']);

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

async function projectRoot(folder: string): Promise<string> {
  if (await exists(join(folder, 'package.json'))) return folder;
  if (dirname(folder) === folder) throw new Error('no package.json above the lab');
  return projectRoot(dirname(folder));
}

/** Debian releases for everything except kernels. Debian 13 is the first with Node 20. */
const DEBIAN = { archive: 'debian', suite: 'bookworm' } as const;
const DEBIAN_ARM64 = { archive: 'debian', suite: 'trixie', processor: 'arm64' } as const;

/**
 * Debian's static busybox, from the cache. The initramfs needs it, and the host may have none or another
 * version.
 */
export async function busybox(processor: Processor): Promise<string> {
  if (processor === 'arm64') {
    const folder = await cached('busybox-arm64', (draft) => unpack(DEBIAN_ARM64, ['busybox-static'], draft));
    return join(folder, 'usr/bin/busybox');
  }
  const folder = await cached('busybox', (draft) => unpack(DEBIAN, ['busybox-static'], draft));
  return join(folder, 'bin/busybox');
}

/** Copies the reference tool into the root. */
async function addReference(root: string): Promise<void> {
  const folder = await cached('libbpf-tools', (draft) => unpack(DEBIAN, REFERENCE_PACKAGES, draft));
  const files = (await readdir(folder, { recursive: true })).sort();
  await mkdir(join(root, REFERENCE));
  for (const name of REFERENCE_FILES) {
    const file = files.find((path) => basename(path) === name);
    if (!file) throw new Error(`${REFERENCE_PACKAGES.join(', ')}: no file ${name} in these packages`);
    await copyFile(join(folder, file), join(root, REFERENCE, name)); // follows symbolic links
  }
}

async function which(program: string): Promise<string | undefined> {
  for (const folder of PATH.split(':')) {
    if (folder && (await exists(join(folder, program)))) return realpath(join(folder, program));
  }
  return undefined;
}

/** The shared libraries of a program, including its interpreter; none for a static program. */
async function libraries(program: string): Promise<string[]> {
  const text = await run('ldd', [program]).then(String, (error: Error) => {
    if (error.message.includes('not a dynamic executable')) return '';
    throw error;
  });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] as string);
}

async function programs(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of [...REQUIRED, ...OPTIONAL]) {
    const path = name === 'node' ? process.execPath : await which(name);
    if (path) found.set(name, path);
    else if (REQUIRED.includes(name)) throw new Error(`the guests of the lab need ${name}: install it`);
  }
  return found;
}

/** The root disk of a machine, rebuilt when its content changes. */
export function rootDisk(processor: Processor): Promise<string> {
  return processor === 'x64' ? rootOfHost() : rootOfPackages();
}

/** Made from programs of the host and the project's dependencies. The cache key includes this file. */
async function rootOfHost(): Promise<string> {
  const chosen = await programs();
  const key = createHash('sha256').update(await readFile(join(PROJECT, 'test/vm/image.ts')));
  key.update(await readFile(join(PROJECT, 'package-lock.json')));
  for (const path of chosen.values()) {
    const { size, mtimeMs } = await stat(path);
    key.update(`${path} ${size} ${mtimeMs}\n`);
  }
  const folder = await cached(`root/${key.digest('hex').slice(0, 16)}`, (draft) => makeRoot(chosen, draft));
  await deleteOlder(folder);
  return join(folder, 'root.ext4');
}

/** Made from Debian's arm64 packages, which the host cannot run, and the project's dependencies. */
async function rootOfPackages(): Promise<string> {
  const key = createHash('sha256').update(await readFile(join(PROJECT, 'test/vm/image.ts')));
  key.update(await readFile(join(PROJECT, 'package-lock.json')));
  const name = `root-arm64/${key.digest('hex').slice(0, 16)}`;
  const folder = await cached(name, async (draft) => {
    const root = join(draft, 'root');
    await makeFolders(root);
    const system = await cached('system-arm64', (tree) => unpackSystem(DEBIAN_ARM64, ARM64_PACKAGES, tree));
    await cp(join(system, 'usr'), join(root, 'usr'), { recursive: true, verbatimSymlinks: true });
    for (const name of UNUSED_SHARE)
      await rm(join(root, 'usr/share', name), { recursive: true, force: true });
    await addRuntimePackages(root);
    await addKoffi(root, 'linux-arm64');
    await addBusybox(join(root, 'usr/bin'), join(root, 'usr/sbin'), 'arm64');
    await makeDisk(root, join(draft, 'root.ext4'));
    await rm(root, { recursive: true });
  });
  await deleteOlder(folder);
  return join(folder, 'root.ext4');
}

/** The native code of koffi for another platform, in the project's version. */
async function addKoffi(root: string, platform: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(PROJECT, 'node_modules/koffi/package.json'), 'utf8'));
  const name = `@koromix/koffi-${platform}`;
  const target = join(root, PACKAGES, name);
  await mkdir(target, { recursive: true });
  await withScratch(async (scratch) => {
    const wanted = `${name}@${manifest.optionalDependencies[name]}`;
    await run('npm', ['pack', '--silent', '--pack-destination', scratch, wanted], { cwd: scratch });
    const [file] = await readdir(scratch);
    if (!file) throw new Error(`npm did not pack ${wanted}`);
    await run('tar', ['-xzf', join(scratch, file), '--strip-components=1', '-C', target]);
  });
}

async function makeFolders(root: string): Promise<void> {
  for (const name of FOLDERS) await mkdir(join(root, name), { recursive: true });
  for (const name of LINKS) {
    await mkdir(join(root, 'usr', name), { recursive: true });
    await symlink(`usr/${name}`, join(root, name));
  }
  for (const [name, text] of Object.entries(ETC)) await writeFile(join(root, 'etc', name), text);
}

async function makeRoot(chosen: ReadonlyMap<string, string>, folder: string): Promise<void> {
  const root = join(folder, 'root');
  await makeFolders(root);
  for (const [name, path] of chosen) {
    await copyFile(path, join(root, 'usr/bin', name));
    for (const library of await libraries(path)) {
      const place = join(root, library.startsWith('/usr/') ? library : `/usr${library}`);
      await mkdir(dirname(place), { recursive: true });
      await copyFile(library, place);
    }
  }
  await addRuntimePackages(root);
  for (const path of COMPANIONS) {
    if (!(await exists(path))) throw new Error(`the guests of the lab need ${path}: install it`);
    await mkdir(dirname(join(root, path)), { recursive: true });
    await copyFile(path, join(root, path));
  }
  await addReference(root);
  await addBusybox(join(root, 'usr/bin'), join(root, 'usr/sbin'), 'x64');
  await makeDisk(root, join(folder, 'root.ext4'));
  await rm(root, { recursive: true });
}

/** Links every missing command to busybox. The kernel calls /sbin/modprobe by its path. */
async function addBusybox(bin: string, sbin: string, processor: Processor): Promise<void> {
  await copyFile(await busybox(processor), join(bin, 'busybox'));
  const taken = new Set(await readdir(bin));
  for (const applet of (await run(await busybox('x64'), ['--list'])).toString().split('\n').filter(Boolean)) {
    if (!taken.has(applet)) await symlink('busybox', join(bin, applet));
  }
  await symlink('../bin/busybox', join(sbin, 'modprobe'));
}

async function addRuntimePackages(root: string): Promise<void> {
  for (const name of await runtimePackages()) {
    await cp(join(PROJECT, 'node_modules', name), join(root, PACKAGES, name), { recursive: true });
  }
}

/** The packages that the built project and its tests need at run time. */
async function runtimePackages(): Promise<string[]> {
  const found = new Set<string>();
  const visit = async (name: string): Promise<void> => {
    const manifest = join(PROJECT, 'node_modules', name, 'package.json');
    if (found.has(name) || !(await exists(manifest))) return; // missing packages belong to other platforms
    found.add(name);
    const { dependencies, optionalDependencies } = JSON.parse(await readFile(manifest, 'utf8'));
    for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) await visit(next);
  };
  const { dependencies } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8'));
  for (const name of [...Object.keys(dependencies), 'uvu', 'fast-check']) await visit(name);
  return [...found];
}

/** Creates a disk with the current build of the project, and its executable for arm64, while `use` runs. */
export function withProjectDisk<T>(use: (image: string) => Promise<T>): Promise<T> {
  return withScratch(async (scratch) => {
    const stage = join(scratch, 'stage');
    await stageProject(stage);
    const image = join(scratch, 'project.ext4');
    await makeDisk(stage, image);
    return use(image);
  });
}

async function stageProject(stage: string): Promise<void> {
  const names = (await readdir(PROJECT)).filter((name) => !NOT_IN_GUEST.has(name) && !name.endsWith('.tgz'));
  const filter = (file: string): boolean => !file.endsWith('/tcpconnlat-linux-x64'); // large, and runs here
  for (const name of names) await cp(join(PROJECT, name), join(stage, name), { recursive: true, filter });
  await symlink(PACKAGES, join(stage, 'node_modules'));
  const conformance = process.env.TSBPF_CONFORMANCE || join(PROJECT, '../shared/conformance');
  if (await exists(conformance))
    await cp(conformance, join(stage, 'conformance'), { recursive: true, dereference: true });
}
