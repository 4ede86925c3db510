import * as assert from 'uvu/assert';
import { allOrNothing, Resources } from '../../src/loader/resources.ts';
import { suite } from '../harness.ts';

const test = suite('loader/resources');

function recorder(): { closed: string[]; named(name: string, error?: string): { close(): void } } {
  const closed: string[] = [];
  return {
    closed,
    named: (name, error) => ({
      close() {
        closed.push(name);
        if (error) throw new Error(error);
      },
    }),
  };
}

test('resources are closed in reverse order, once', () => {
  const { closed, named } = recorder();
  const resources = new Resources();
  for (const name of ['map', 'program', 'link']) resources.add(named(name));
  resources.close();
  resources.close();
  assert.equal(closed, ['link', 'program', 'map']);
});

test('all resources are closed if one throws, and its error is thrown', () => {
  const { closed, named } = recorder();
  const resources = new Resources();
  resources.add(named('map'));
  resources.add(named('program', 'stuck'));
  resources.add(named('link'));
  assert.throws(() => resources.close(), 'stuck');
  assert.equal(closed, ['link', 'program', 'map']);
});

test('several errors are thrown as an AggregateError', () => {
  const { named } = recorder();
  const resources = new Resources();
  resources.add(named('map', 'one'));
  resources.add(named('program', 'two'));
  assert.throws(
    () => resources.close(),
    (error: unknown) => error instanceof AggregateError && error.errors.length === 2,
  );
});

test('if build succeeds, its resources stay open', () => {
  const { closed, named } = recorder();
  const kept = allOrNothing((resources) => resources.add(named('map')));
  assert.equal(closed, []);
  kept.close();
  assert.equal(closed, ['map']);
});

test('if build fails, its resources are closed and its error is thrown', () => {
  const { closed, named } = recorder();
  const build = () =>
    allOrNothing((resources) => {
      resources.add(named('map', 'on closing'));
      resources.add(named('program'));
      throw new Error('on building');
    });
  assert.throws(build, 'on building');
  assert.equal(closed, ['program', 'map']);
});

test.run();
