/**
 * The script of the single executable (executable/build.ts). The command's bundle, the files that it loads
 * later and koffi's library are assets in the executable.
 */
import { basename, join } from 'node:path';
import { getAsset, getRawAsset } from 'node:sea';
import { Script } from 'node:vm';
import { embeddedLibrary } from './embedded-library.ts';
import { type Evaluated, runBundle } from './run-bundle.ts';

/** The names of assets. */
const BUNDLE = 'tcpconnlat.bundle.cjs';
/** The end of the names of V8's code. Some scripts have it, in an executable for the build's processor. */
const CODE = '.code';
const KOFFI = 'koffi.node';

/** What has been loaded, by name. */
const loaded = new Map<string, unknown>();

/** Runs the asset with the name of a file. */
function evaluate(file: string): Evaluated {
  const asset = basename(file);
  const cachedData = bytes(asset + CODE);
  return { value: new Script(text(asset), { filename: file, cachedData }).runInThisContext() };
}

/** Loads koffi, a JSON file of the command (./NAME), or a module of Node. */
function load(name: string): unknown {
  if (!/^\.\/|koffi/.test(name)) return require(name);
  const asset = name.startsWith('./') ? basename(name) : KOFFI;
  if (!loaded.has(asset)) loaded.set(asset, read(asset));
  return loaded.get(asset);
}

function read(asset: string): unknown {
  if (asset === KOFFI) return embeddedLibrary(new Uint8Array(getRawAsset(asset) as ArrayBuffer));
  return JSON.parse(getAsset(asset, 'utf8'));
}

/** The text of a script, which is ASCII: esbuild escapes every other character. */
function text(asset: string): string {
  return Buffer.from(getRawAsset(asset) as ArrayBuffer).toString('latin1');
}

/** The bytes of an asset, if it exists. */
function bytes(asset: string): Buffer | undefined {
  try {
    return Buffer.from(getRawAsset(asset) as ArrayBuffer);
  } catch {
    return undefined;
  }
}

runBundle('tcpconnlat', join(process.execPath, BUNDLE), { evaluate, require: load });
