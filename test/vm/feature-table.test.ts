import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { withFeatureSection } from './feature-table.ts';

const test = suite('vm/feature-table');

const PAGE = new URL('../../../docs/kernels.md', import.meta.url);

test.skipIf(
  sameOnEveryKernel,
  'the features in docs/kernels.md match the tables (TSBPF_RENEW_GOLDEN=1 renews them)',
  () => {
    const page = readFileSync(PAGE, 'utf8');
    const renewed = withFeatureSection(page);
    if (process.env.TSBPF_RENEW_GOLDEN) writeFileSync(PAGE, renewed);
    assert.fixture(renewed, readFileSync(PAGE, 'utf8'));
  },
);

test.run();
