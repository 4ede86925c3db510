/**
 * Writes V8's code of a bundle for the executable: of all its functions, without running them. So it depends
 * on the bundle and on Node alone, and equal inputs give equal bytes.
 *
 *   node --hash-seed=1 --random-seed=1 compile.cjs BUNDLE CODE
 *
 * V8 rejects code that was compiled under other flags, so the defaults of all flags are set again before it
 * computes their digest.
 */
const { readFileSync, writeFileSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');

/** Compile every function now, and keep the code of functions that do not run. */
const COMPILE = ['--no-lazy', '--no-flush-bytecode'];
const DEFAULTS = ['--lazy', '--flush-bytecode', '--hash-seed=0', '--random-seed=0'];

const [bundle, file] = process.argv.slice(2);
for (const flag of COMPILE) setFlagsFromString(flag);
// V8 puts the name into the code. A part of the path, such as its basename, would contain the whole path.
const script = new Script(readFileSync(bundle, 'latin1'), { filename: 'bundle.cjs' });
for (const flag of DEFAULTS) setFlagsFromString(flag);
writeFileSync(file, script.createCachedData());
