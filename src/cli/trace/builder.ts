/** The builder of the programs and what else needs it: a late part of the bundle (bundle-late.mjs). */
export { tcpconnlat } from '../../programs/tcpconnlat.ts';
export { adviceUnderLockdown } from './lockdown.ts';
