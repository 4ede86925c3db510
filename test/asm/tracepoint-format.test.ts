import * as assert from 'uvu/assert';
import { NoSuchFieldError } from '../../src/asm/btf.ts';
import {
  formatField,
  parseTracepointFormat,
  TracepointFormatError,
} from '../../src/asm/tracepoint-format.ts';
import { suite } from '../harness.ts';
import { assertLinear } from '../linear.ts';
import { thrown } from '../thrown.ts';
import { STATE_FORMAT } from './fixtures/formats.ts';

const test = suite('asm/tracepoint-format');

const state = parseTracepointFormat('sock', 'inet_sock_set_state', STATE_FORMAT);

test('fields have a name, type, offset and sign', () => {
  assert.is(state.fields.length, 15);
  assert.equal(formatField(state, 'newstate'), {
    name: 'newstate',
    type: 'int',
    offset: 20,
    size: 4,
    signed: true,
    array: false,
  });
  assert.equal(formatField(state, 'daddr_v6'), {
    name: 'daddr_v6',
    type: '__u8[16]',
    offset: 56,
    size: 16,
    signed: false,
    array: true,
  });
  assert.equal(formatField(state, 'skaddr').type, 'const void *');
});

test('declarations of all kinds parse', () => {
  const line = (declaration: string, rest = 'offset:8;\tsize:8;\tsigned:0;') =>
    parseTracepointFormat('c', 't', `name: t\nformat:\n\tfield:${declaration};\t${rest}\n`).fields[0];
  for (const [declaration, name, type, array] of [
    ['char comm[16]', 'comm', 'char[16]', true],
    ['const char * const *argv', 'argv', 'const char * const *', false],
    ['__data_loc char[] filename', 'filename', '__data_loc char[]', false],
    ['struct list_head * head', 'head', 'struct list_head *', false],
    ['char prev_comm[TASK_COMM_LEN]', 'prev_comm', 'char[TASK_COMM_LEN]', true],
    ['u32 grid[2][3]', 'grid', 'u32[2][3]', true],
    ['bool x', 'x', 'bool', false],
  ] as const)
    assert.equal(line(declaration), { name, type, array, offset: 8, size: 8, signed: false }, declaration);
  assert.is(line('int x', 'offset:8;\tsize:4;')?.signed, false, 'old kernels print no sign');
  for (const [declaration, bigEndian] of [
    ['__be16 dport', true],
    ['const __be32 saddr', true],
    ['__be16 ports[2]', undefined],
    ['const __u16 dport', undefined],
  ] as const)
    assert.is(line(declaration)?.bigEndian, bigEndian, declaration);
});

test('a missing field is an error with similar names', () => {
  assert.throws(
    () => formatField(state, 'new_state'),
    (error: unknown) =>
      error instanceof NoSuchFieldError &&
      error.message === "tracepoint sock:inet_sock_set_state has no field 'new_state'; nearest: newstate",
  );
});

test('similar names are fields that programs can read', () => {
  const format = parseTracepointFormat(
    'c',
    't',
    'name: t\n' +
      '\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n' +
      '\tfield:int common_pip;\toffset:8;\tsize:4;\tsigned:1;\n',
  );
  const nearestTo = (wanted: string) => thrown(() => formatField(format, wanted)).message;
  assert.is(nearestTo('common_pi'), "tracepoint c:t has no field 'common_pi'; nearest: common_pip");
  assert.is(nearestTo('common_pids'), "tracepoint c:t has no field 'common_pids'; nearest: common_pip");
  assert.is(formatField(format, 'common_pip').offset, 8, 'byte 8 is the first readable one');
});

test('fields that programs cannot read are refused', () => {
  for (const name of ['common_type', 'common_pid'])
    assert.throws(
      () => formatField(state, name),
      (error: unknown) => error instanceof RangeError && /programs cannot read/.test(error.message),
    );
});

test('an invalid format, or one of another tracepoint, is refused', () => {
  for (const [text, message] of [
    ['', /the format of tracepoint sock:inet_sock_set_state has the name ''/],
    ['name: other\nformat:\n', /has the name 'other'/],
    ['name: inet_sock_set_state\nformat:\n', /has no fields/],
    [
      'name: inet_sock_set_state\nformat:\n\tfield:int x;\toffset:-8;\tsize:4;\n',
      /has an unexpected line: 'field:int x;/,
    ],
  ] as const)
    assert.throws(
      () => parseTracepointFormat('sock', 'inet_sock_set_state', text),
      (error: unknown) => error instanceof TracepointFormatError && message.test(error.message),
    );
});

test('a declaration of any length parses in linear time', () => {
  const format = (size: number) =>
    `name: inet_sock_set_state\n\tfield:${'a'.repeat(size)}!;\toffset:8;\tsize:4;\tsigned:0;\n`;
  const [small, large] = [format(20_000), format(160_000)];
  assertLinear(
    () => parseTracepointFormat('sock', 'inet_sock_set_state', small),
    () => parseTracepointFormat('sock', 'inet_sock_set_state', large),
  );
});

test('fields may have several array dimensions or none', () => {
  const { fields } = parseTracepointFormat(
    'a',
    'b',
    'name: b\n' +
      '\tfield:unsigned char a[2][3];\toffset:8;\tsize:6;\tsigned:0;\n' +
      '\tfield:const char * b;\toffset:16;\tsize:8;\tsigned:0;\n',
  );
  assert.equal(
    fields.map(({ name, type, array }) => [name, type, array]),
    [
      ['a', 'unsigned char[2][3]', true],
      ['b', 'const char *', false],
    ],
  );
});

test.run();
