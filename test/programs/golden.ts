/**
 * Compares long texts with files. To renew the files after an intended change (review the difference):
 *
 *     TSBPF_RENEW_GOLDEN=1 npm test -- programs/
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

/** The files are in test/, while this module runs in build/test/. */
const FOLDER = new URL('../../../test/programs/golden/', import.meta.url);

/** Fails if the text differs from the file. */
export function assertGolden(name: string, text: string): void {
  const file = fileURLToPath(new URL(name, FOLDER));
  if (process.env.TSBPF_RENEW_GOLDEN) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  assert.fixture(text, readFileSync(file, 'utf8'), `${name} differs: see golden.ts`);
}
