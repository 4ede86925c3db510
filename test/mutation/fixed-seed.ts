/** Imported before a test file: gives all property tests the same cases on every run, so that a mutant's fate is no chance. */
import { configureGlobal } from 'fast-check';

configureGlobal({ seed: 1 });
