/** Programs of the host, run to their end. */
import { spawn } from 'node:child_process';

/** A user's PATH may lack the administrator's programs, of which mke2fs needs no privilege at all. */
export const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

/**
 * Runs a program and returns what it printed on stdout, as bytes. Throws with its stderr if it can't be started or
 * fails. `input` goes to its stdin.
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
  child.stdin.on('error', () => {}); // a program that stops reading says why in its exit status
  child.stdin.end(input);
  const how = await new Promise<number | string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  if (how !== 0)
    throw new Error(`${program} ${args.join(' ')}: ended with ${how}\n${Buffer.concat(err)}`.trimEnd());
  return Buffer.concat(out);
}
