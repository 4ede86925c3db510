/** The script and the style of a report's page, which the build bundles (build.mjs). */
import type { PageAssets } from './html.ts';

/** Defined by the bundler. */
declare const __REPORT_PAGE__: PageAssets | undefined;

/** @throws {Error} outside of the bundle. */
export function pageAssets(): PageAssets {
  if (typeof __REPORT_PAGE__ === 'undefined')
    throw new Error('a report needs the bundled command, because the build makes its page');
  return __REPORT_PAGE__;
}
