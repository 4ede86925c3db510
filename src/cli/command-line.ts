/**
 * What needs commander: a late part of the bundle (bundle-late.mjs). A command line of switches alone does
 * without (arguments/switches.ts).
 */
export { readArguments } from './arguments.ts';
export { completion } from './completion.ts';
