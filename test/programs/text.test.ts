/** Listings of the tool's programs are valid program texts: they assemble to the same bytes. */
import { readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { parseProgram } from '../../src/asm/text/parse.ts';
import { suite } from '../harness.ts';

const test = suite('programs/text');

const FOLDER = new URL('../../../test/programs/golden/', import.meta.url);

/** The bytes in a listing, in hexadecimal. */
function bytesIn(listing: string): string {
  return [...listing.matchAll(/^ *\d+: ((?:[0-9a-f]{2} ?){8})/gm)]
    .map(([, bytes]) => bytes)
    .join('')
    .replaceAll(' ', '');
}

for (const file of readdirSync(FOLDER))
  test(`the listing golden/${file} assembles to its bytes`, () => {
    const [maps = '', ...programs] = readFileSync(new URL(file, FOLDER), 'utf8').split(/^program .*$/m);
    assert.ok(programs.length > 0);
    const { maps: declared } = parseProgram(maps);
    for (const listing of programs) {
      const { bytes } = assemble(parseProgram(listing, file, declared).items);
      assert.ok(bytes.length > 0);
      assert.is(Buffer.from(bytes).toString('hex'), bytesIn(listing));
    }
  });

test.run();
