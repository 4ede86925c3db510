/**
 * The script of the single executable (executable/build.ts). The command's bundle, the files that it loads
 * later and koffi's library are assets in the executable.
 */
import { basename, join } from 'node:path';
import { getAsset, getRawAsset } from 'node:sea';
import { Script } from 'node:vm';
import { embeddedLibrary } from './embedded-library.ts';
import { asBundle, type Bundle, runBundle } from './run-bundle.ts';

/** The names of assets. */
const BUNDLE = 'tcpconnlat.bundle.cjs';
/** V8's code of the bundle; only for the processor that the executable was built on. */
const CODE = 'tcpconnlat.code';
const KOFFI = 'koffi.node';

type Module = { exports: unknown };
type Wrapper = (exports: unknown, require: typeof load, module: Module, file: string) => void;

const file = join(process.execPath, BUNDLE);
/** What has been loaded, by name. */
const loaded = new Map<string, unknown>();

function compile(): Bundle {
  const script = new Script(text(BUNDLE), { filename: file, cachedData: bytes(CODE) });
  return asBundle(script.runInThisContext(), file);
}

/** Replaces `require` in the bundle: koffi, files of the command (./NAME), or a module of Node. */
function load(name: string): unknown {
  if (!/^\.\/|koffi/.test(name)) return require(name);
  const asset = name.startsWith('./') ? basename(name) : KOFFI;
  if (!loaded.has(asset)) loaded.set(asset, read(asset));
  return loaded.get(asset);
}

function read(asset: string): unknown {
  if (asset === KOFFI) return embeddedLibrary(new Uint8Array(getRawAsset(asset) as ArrayBuffer));
  if (asset.endsWith('.json')) return JSON.parse(getAsset(asset, 'utf8'));
  const path = join(process.execPath, asset);
  const wrapper = `(function (exports, require, module, __filename) {${text(asset)}\n})`;
  const script = new Script(wrapper, { filename: path });
  const module: Module = { exports: {} };
  (script.runInThisContext() as Wrapper)(module.exports, load, module, path);
  return module.exports;
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

runBundle('tcpconnlat', file, load, compile);
