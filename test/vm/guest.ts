/** Boots a kernel under QEMU, runs one command in it as root, and returns its output and exit status. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { exists, withScratch } from './cache.ts';
import { cpio, PLAIN, PROGRAM } from './cpio.ts';
import { PROJECT } from './image.ts';
import type { Kernel } from './kernel.ts';
import { MACHINES } from './machine.ts';

/** A guest to boot. */
export interface Guest {
  readonly kernel: Kernel;
  readonly rootDisk: string;
  readonly projectDisk: string;
  /** Added to the kernel's command line: `ipv6.disable=1`. */
  readonly kernelArguments?: string;
  /** Whether its clock counts instructions, 1 ns each, so that times repeat. Slower, with one CPU. */
  readonly counting?: boolean;
}

/** A command to run in the guest. */
export interface Job {
  /** A script for sh, run in the project's folder. */
  readonly script: string;
  /** Time limit; the guest is killed after it. */
  readonly seconds: number;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/**
 * The result of a job. `status` 0 means success; `failure` explains a status that the guest did not report.
 */
export interface Outcome {
  readonly status: number;
  readonly failure?: string;
  /** The complete output of the kernel's console. */
  readonly console: string;
}

/** Exit statuses for failures of the guest, as in timeout(1) and env(1). */
const TIMED_OUT = 124;
const NO_STATUS = 125;

const PORTS = ['out', 'err', 'status'] as const;
type Port = (typeof PORTS)[number];

/** Listens for QEMU on a port's socket. */
async function listen(path: string, onData: (chunk: Buffer) => void): Promise<Server> {
  const server = createServer((socket) => socket.on('data', onData).on('error', () => {}));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return server;
}

/** Resolves when all data of the server's connections has been read. */
async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}

/** The frequency of this machine's time stamp counter, if known, which saves the guest from measuring it. */
async function tscKhz(): Promise<number | undefined> {
  // With frequency scaling, /proc/cpuinfo shows the current clock instead of the counter's frequency.
  if (await exists('/sys/devices/system/cpu/cpu0/cpufreq')) return undefined;
  const megahertz = (await readFile('/proc/cpuinfo', 'utf8')).match(/^cpu MHz\s*: ([\d.]+)/m)?.[1];
  return megahertz ? Math.round(Number(megahertz) * 1000) : undefined;
}

async function kernelArguments({ kernel, kernelArguments = '', counting }: Guest): Promise<string> {
  const khz = kernel.processor === 'x64' && !counting ? await tscKhz() : undefined;
  return `${MACHINES[kernel.processor].kernelArguments}${khz ? ` tsc_early_khz=${khz}` : ''} ${kernelArguments}`.trimEnd();
}

/** The initramfs of one run: the kernel's own, followed by the scripts and the job. */
async function initramfs(kernel: Kernel, script: string): Promise<Buffer> {
  const scriptOf = (name: string): Promise<Buffer> => readFile(join(PROJECT, 'test/vm', name));
  const run = cpio([
    { path: 'init', mode: PROGRAM, data: await scriptOf('init.sh') },
    { path: 'guest.sh', mode: PLAIN, data: await scriptOf('guest.sh') },
    { path: 'job.sh', mode: PLAIN, data: Buffer.from(script) },
  ]);
  return Buffer.concat([await readFile(kernel.initramfs), run]);
}

/**
 * Emulation by default. TSBPF_VM_KVM selects KVM; a working /dev/kvm is not enough, because it may still fail
 * to boot a stock kernel.
 */
const acceleration = process.env.TSBPF_VM_KVM ? 'kvm' : 'board';

async function qemuArguments(guest: Guest, script: string, scratch: string): Promise<string[]> {
  const { kernel } = guest;
  const initrd = join(scratch, 'initramfs');
  await writeFile(initrd, await initramfs(kernel, script));
  const disks = [guest.rootDisk, kernel.modules, guest.projectDisk];
  return [
    ...MACHINES[kernel.processor][guest.counting ? 'counting' : acceleration],
    ...['-smp', guest.counting ? '1' : '2', '-m', '1G'],
    ...['-nodefaults', '-no-user-config', '-nographic', '-no-reboot'],
    ...['-kernel', kernel.vmlinux, '-initrd', initrd, '-append', await kernelArguments(guest)],
    ...disks.flatMap((file) => ['-drive', `file=${file},format=raw,if=virtio,readonly=on,file.locking=off`]),
    ...['-chardev', `file,id=console,path=${join(scratch, 'console')}`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci'],
    ...PORTS.flatMap((port) => [
      ...['-chardev', `socket,id=${port},path=${join(scratch, port)}`],
      ...['-device', `virtserialport,chardev=${port},name=${port}`],
    ]),
  ];
}

async function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ? `killed by ${signal}` : `exit status ${code}`));
  });
}

/** Boots the guest, runs the job, and waits until QEMU has exited. QEMU never outlives the call. */
export function runInGuest(guest: Guest, job: Job): Promise<Outcome> {
  return withScratch((scratch) => boot(guest, job, scratch));
}

/** `scratch` holds the sockets of the ports and the console's output. */
async function boot(guest: Guest, job: Job, scratch: string): Promise<Outcome> {
  let status = '';
  const sinks: Record<Port, (chunk: Buffer) => void> = {
    out: (chunk) => job.stdout.write(chunk),
    err: (chunk) => job.stderr.write(chunk),
    status: (chunk) => {
      status += chunk;
    },
  };
  const servers = await Promise.all(PORTS.map((port) => listen(join(scratch, port), sinks[port])));

  let warnings = '';
  let late = false;
  const options = await qemuArguments(guest, job.script, scratch);
  // setpriv ends QEMU with this process, even after SIGKILL.
  const qemu = ['--pdeathsig', 'KILL', MACHINES[guest.kernel.processor].qemu, ...options];
  const child = spawn('setpriv', qemu, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.on('data', (chunk: Buffer) => {
    warnings += chunk;
  });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', kill);
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, job.seconds * 1000);
  const how = await ended(child);
  clearTimeout(timer);
  process.off('exit', kill);
  await Promise.all(servers.map(closed));

  const console = await readFile(join(scratch, 'console'), 'utf8').catch(() => '');
  const reported = status.match(/^exit (\d+)$/m)?.[1];
  if (reported !== undefined) return { status: Number(reported), console };
  if (late) return { status: TIMED_OUT, failure: `not done after ${job.seconds} s: killed`, console };
  const failure = `the guest reported no exit status; QEMU: ${how}${warnings ? `\n${warnings.trimEnd()}` : ''}`;
  return { status: NO_STATUS, failure, console };
}
