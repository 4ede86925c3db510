/** deploy/Containerfile: its syntax, and the files that it copies. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { executableName } from '../../executable/build.ts';
import { PLATFORMS } from '../../executable/contents.ts';
import { noDownloads, suite } from '../harness.ts';
import { DEPLOY, importPackage } from './packages.ts';

const test = suite('deploy/containerfile', { seconds: 120 });

type Validate = (text: string) => readonly { readonly message: string; readonly severity: number }[];

async function problems(text: string): Promise<string[]> {
  const { validate } = await importPackage<{ validate: Validate }>('dockerfile-utils/lib/main.js');
  return validate(text).map(({ message }) => message);
}

const text = await readFile(join(DEPLOY, 'Containerfile'), 'utf8');

test.skipIf(noDownloads, 'it has no syntax error', async () => {
  assert.equal(await problems(text), []);
  assert.ok((await problems(text.replace('ENTRYPOINT [', 'ENTRYPONT ['))).length > 0);
});

test('it copies an executable, the licenses, and nothing else', () => {
  const [executable = '', ...others] = [...text.matchAll(/^COPY (dist\S+)/gm)].map(([, path]) => path);
  assert.match(executable, /^dist\/executable\/\$\{EXECUTABLE\}$/);
  assert.equal(others, ['dist/executable/LICENSES.txt']);
});

test('it names the executable of each platform', () => {
  for (const platform of PLATFORMS) assert.match(text, `EXECUTABLE=${executableName(platform)}\n`);
});

test('the context contains the executables only', async () => {
  assert.is(await readFile(join(DEPLOY, 'Containerfile.dockerignore'), 'utf8'), '*\n!dist/executable\n');
});

test.run();
