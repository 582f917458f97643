#!/usr/bin/env node
// `npx holdfast ...`: runs the set-up, then the command line.

process.argv.splice(2, 0, 'cli')
await import('./setup.mjs')
