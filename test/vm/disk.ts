/** Creates disk images from folders, without mounting them. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './command.ts';

/** Space for metadata. */
const OVERHEAD = 1.1;
const SLACK_BYTES = 4 << 20;
const BLOCK = 4096;

/**
 * Creates an ext4 image with the content of a folder, without a journal because it is only mounted read-only.
 */
export async function makeDisk(folder: string, image: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(entries.map(async (entry) => (await lstat(join(folder, entry))).size));
  const bytes =
    sizes.reduce((sum, size) => sum + Math.ceil(size / BLOCK) * BLOCK + 256, 0) * OVERHEAD + SLACK_BYTES;
  const options = [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-m',
    '0',
    '-b',
    String(BLOCK),
    '-N',
    String(entries.length + 64),
  ];
  await run('mke2fs', [
    ...options,
    ...['-O', '^has_journal', '-E', 'root_owner=0:0', '-d', folder],
    ...[image, `${Math.ceil(bytes / 1024)}k`],
  ]);
}
