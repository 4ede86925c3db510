import * as assert from 'uvu/assert';
import {
  call,
  callSubprogram,
  gotol,
  ja,
  jeq,
  loadFunction,
  loadMap,
  loadMapValue,
} from '../../src/asm/constructors.ts';
import { decode } from '../../src/asm/decode.ts';
import { disassemble, instructionText } from '../../src/asm/disassemble.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { byConstructor, bytesOf, PSEUDO, SAMPLES } from './fixtures/instructions.ts';

const test = suite('asm/disassemble');

const attempts = { kind: 'map', name: 'attempts' } as MapSpec;

for (const [name, samples] of byConstructor(SAMPLES.filter(({ kernel }) => kernel !== undefined)))
  test(`${name} prints as in the verifier's log`, () => {
    assert.equal(
      samples.flatMap(({ bytes }) => decode(bytes).map(disassemble)),
      samples.map(({ kernel }) => kernel),
    );
  });

for (const { call, bytes, text } of PSEUDO)
  test(`${call} prints as in bpftool: ${text}`, () => {
    assert.equal(decode(bytes).map(disassemble), [text]);
  });

test('a far jump shows its distance', () => {
  assert.is(disassemble(jeq(r0, 39, 32767)), '(15) if r0 == 0x27 goto pc+32767');
  assert.is(disassemble(jeq(r0, r1, -32768)), '(1d) if r0 == r1 goto pc-32768');
  assert.is(disassemble(ja(-3)), '(05) goto pc-3');
  assert.is(disassemble(gotol(40000)), '(06) gotol pc+40000');
});

test('an unassembled jump shows its label', () => {
  assert.is(disassemble(jeq(r0, 39, 'out')), '(15) if r0 == 0x27 goto out');
  assert.is(disassemble(ja('out')), '(05) goto out');
  assert.is(disassemble(callSubprogram('f')), '(85) call f');
  assert.is(disassemble(loadFunction(r1, 'f')), '(18) r1 = subprog[f]');
});

test("a map reference shows the map's name", () => {
  assert.is(disassemble(loadMap(r1, attempts)), '(18) r1 = map[attempts]');
  assert.is(disassemble(loadMapValue(r1, attempts, 8)), '(18) r1 = map[attempts][0]+8');
});

test('a helper shows its name, if it has one', () => {
  assert.is(disassemble(call(mapLookupElem)), '(85) call bpf_map_lookup_elem#1');
  assert.is(disassemble(call(211)), '(85) call bpf_cgrp_storage_delete#211');
  assert.is(disassemble(call(212)), '(85) call unknown#212');
});

test('instructionText() omits the opcode', () => {
  assert.is(instructionText(jeq(r0, 39, 2)), 'if r0 == 0x27 goto pc+2');
});

test('unknown forms print as in the kernel', () => {
  const nothing = { dst: 0, src: 0, off: 7, imm: 0 };
  for (const [opcode, text] of [
    [0xff, 'BUG_ff'],
    [0x07, 'BUG_07'],
    [0x00, 'BUG_ld_00'],
    [0x99, 'BUG_ldx_99'],
    [0xa2, 'BUG_st_a2'],
    [0xcb, 'BUG_cb'],
  ] as const)
    assert.is(disassemble({ opcode, ...nothing }), text);
});

test('a one-digit opcode prints as two digits', () => {
  assert.equal(decode(bytesOf('0700000005000000')).map(disassemble), ['(07) r0 += 5']);
});

test.run();
