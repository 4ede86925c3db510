import * as assert from 'uvu/assert';
import { bytesOfHex } from '../../../src/cli/tsbpf/hexadecimal.ts';
import { suite } from '../../harness.ts';
import { assertLinear } from '../../linear.ts';

const test = suite('cli/tsbpf/hexadecimal');

const read = (text: string): string | undefined => {
  const bytes = bytesOfHex(Buffer.from(text, 'latin1'));
  return bytes && Buffer.from(bytes).toString('hex');
};

for (const [text, bytes] of [
  ['95', '95'],
  ['aB cD\n', 'abcd'],
  ['0x95, 0x00,0x0a', '95000a'],
  ['0x950000', '950000'],
  ['b7:00\t00\r\n\xa000', 'b7000000'],
  ['00x1', '01'],
  ['', undefined],
  [' \n', undefined],
  ['9', undefined],
  ['950', undefined],
  ['xyz', undefined],
  ['95 x0', undefined],
  ['\x95', undefined],
] as const)
  test(`${JSON.stringify(text)} is ${bytes ?? 'not hexadecimal'}`, () => {
    assert.is(read(text), bytes);
  });

test('parsing takes linear time', () => {
  const text = (size: number) => Buffer.from('0x95, '.repeat(size));
  const [small, large] = [text(50_000), text(400_000)];
  assertLinear(
    () => bytesOfHex(small),
    () => bytesOfHex(large),
  );
});

test.run();
