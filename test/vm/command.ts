/** Runs programs of the host. */
import { spawn } from 'node:child_process';

/** The PATH of a user may lack the administrator's programs, such as mke2fs, which needs no privileges. */
export const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

/**
 * Runs a program and returns its stdout as bytes. `input` is its stdin. Throws with its stderr if it cannot
 * be started or fails.
 */
export async function run(
  program: string,
  args: readonly string[],
  { input, env, cwd }: { input?: Uint8Array; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Buffer> {
  const child = spawn(program, args, { cwd, env: { ...process.env, PATH, ...env }, stdio: 'pipe' });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin.on('error', () => {}); // the exit status tells why a program stopped reading
  child.stdin.end(input);
  const how = await new Promise<number | string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  if (how !== 0)
    throw new Error(`${program} ${args.join(' ')}: ended with ${how}\n${Buffer.concat(err)}`.trimEnd());
  return Buffer.concat(out);
}
