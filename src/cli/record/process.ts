/**
 * What /proc knows about a process: executable, parent and command line. The process may have exited.
 *
 * Source: man 5 proc_pid_exe, proc_pid_stat, proc_pid_comm, proc_pid_cmdline.
 */
import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { bytesText } from '../../asm/layout/text.ts';
import { MAX_CMDLINE_BYTES } from '../limits.ts';
import { threadNameText } from '../thread-name.ts';

/** Facts about a process. What is not known is absent. A byte that is not UTF-8 is `\xNN`, as in `comm`. */
export interface ProcessFacts {
  /** The path of the executable, in its own mount namespace. The kernel appends ` (deleted)`. */
  readonly exe?: string;
  readonly ppid?: number;
  /** The name of the parent. */
  readonly parent?: string;
  /** The arguments, with spaces between them. */
  readonly cmdline?: string;
}

/** A clock tick of /proc (`USER_HZ`), in ns. */
const TICK_NS = 10_000_000n;

export interface ProcessQuery {
  readonly pid: number;
  /** When the process started, in ns of the boot clock: another process with its PID has no facts. */
  readonly startNs?: bigint | undefined;
  readonly commandLine: boolean;
}

const buffer = Buffer.allocUnsafe(MAX_CMDLINE_BYTES);

/** Reads the facts about a process. `proc` is the directory of the file system. */
export function processFacts({ pid, startNs, commandLine }: ProcessQuery, proc = '/proc'): ProcessFacts {
  const folder = `${proc}/${pid}`;
  const exe = linkOf(`${folder}/exe`);
  const cmdline = commandLine ? joined(fileOf(`${folder}/cmdline`)) : undefined;
  // The last file of a process that exits. If it is of this process, so were the others.
  const stat = statOf(folder);
  if (stat === undefined || (startNs !== undefined && startNs / TICK_NS !== stat.startTicks)) return {};
  const { ppid } = stat;
  const parent = ppid === 0 ? undefined : fileOf(`${proc}/${ppid}/comm`)?.replace(/\n$/, '');
  return {
    ...(exe !== undefined && { exe }),
    ppid,
    ...(parent && { parent }),
    ...(cmdline && { cmdline }),
  };
}

/** The name in parentheses may contain parentheses and spaces. */
function statOf(folder: string): { readonly ppid: number; readonly startTicks: bigint } | undefined {
  const text = fileOf(`${folder}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' '); // from the third field on
  const [ppid, start] = [fields[1] ?? '', fields[19] ?? ''];
  return /^\d+$/.test(ppid) && /^\d+$/.test(start)
    ? { ppid: Number(ppid), startTicks: BigInt(start) }
    : undefined;
}

function joined(cmdline: string | undefined): string | undefined {
  return cmdline?.replace(/\0+$/, '').replaceAll('\0', ' ');
}

function textOf(bytes: Uint8Array): string {
  return threadNameText(bytesText(bytes));
}

function linkOf(path: string): string | undefined {
  try {
    return textOf(readlinkSync(path, 'buffer'));
  } catch {
    return undefined; // a kernel thread, an exited process, or one of another user
  }
}

/** The first `MAX_CMDLINE_BYTES` bytes of a file. */
function fileOf(path: string): string | undefined {
  try {
    const fd = openSync(path, 'r');
    try {
      return textOf(buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0)));
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
