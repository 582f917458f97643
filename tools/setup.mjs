#!/usr/bin/env node
// The first step of every command in the README, in plain JavaScript for any Node from 20 on: it installs, obtains the
// servers, then continues on the pinned Node. An older Node cannot load the other modules, so the version is checked
// before they are imported.

const MIN_NODE_MAJOR = 20

if (Number(process.versions.node.split('.')[0]) < MIN_NODE_MAJOR) {
  console.error(
    `holdfast: this needs Node ${MIN_NODE_MAJOR} or newer, and found ${process.versions.node} at ${process.execPath}.\n` +
      'Install a current Node (https://nodejs.org) and run the same command again.',
  )
  process.exit(1)
}

if (process.platform === 'win32') {
  console.error('holdfast: this runs on Linux and macOS. On Windows, use it inside WSL (https://aka.ms/wsl).')
  process.exit(1)
}

const { main } = await import('./setup/main.mjs')
process.exitCode = await main(process.argv.slice(2))
