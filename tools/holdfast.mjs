#!/usr/bin/env node
// `npx holdfast ...`: the command line, with the set-up it needs before it.

process.argv.splice(2, 0, 'cli')
await import('./setup.mjs')
