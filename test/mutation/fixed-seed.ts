/**
 * Imported before a test file: gives property tests the same cases in every run, so that the result for a
 * mutant is reproducible.
 */
import { configureGlobal } from 'fast-check';

configureGlobal({ seed: 1 });
