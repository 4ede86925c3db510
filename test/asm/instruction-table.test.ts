import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { instructionTable } from './instruction-table.ts';

const test = suite('asm/instruction-table');

const PAGE = new URL('../../../docs/instructions.md', import.meta.url);

test('docs/instructions.md matches the table (TSBPF_RENEW_GOLDEN=1 renews it)', () => {
  const page = instructionTable();
  if (process.env.TSBPF_RENEW_GOLDEN) writeFileSync(PAGE, page);
  assert.fixture(page, readFileSync(PAGE, 'utf8'));
});

test.run();
