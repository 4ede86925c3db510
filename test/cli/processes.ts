/** Inspects processes of the commands: their ports and signal handlers. */
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The TCP ports that a process listens on, in the form of `/proc/net/tcp`: `0100007F:240D` is 127.0.0.1:9229,
 * Node's debugger.
 */
export function listeningOn(pid: number): string[] {
  const sockets = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed meanwhile
    }
  });
  const LISTEN = '0A';
  return ['tcp', 'tcp6'].flatMap((file) =>
    readFileSync(`/proc/${pid}/net/${file}`, 'latin1')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode = '']) => state === LISTEN && sockets.includes(inode))
      .map(([, address = '']) => address),
  );
}

/** Whether a process has a handler for a signal number. */
export function catches(pid: number, signal: number): boolean {
  const mask = /^SigCgt:\t([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0';
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

/** Sends signals in turn until the process exits. Returns their number. */
export async function floodWith(signals: readonly NodeJS.Signals[], child: ChildProcess): Promise<number> {
  let sent = 0;
  while (child.exitCode === null && child.signalCode === null) {
    child.kill(signals[sent % signals.length]);
    sent += 1;
    await sleep(1);
  }
  return sent;
}
