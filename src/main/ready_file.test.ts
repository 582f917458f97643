import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { exportOf } from './ready_file.ts'

test.each(['/tmp/data/ready.json', '/tmp/my data/ready.json', "/tmp/it's $HOME/`x`/ready.json"])(
  'the command that selects %s works when it is copied into a shell',
  (path) => {
    const shell = `${exportOf(path)}; printf %s "$HOLDFAST_READY_FILE"`
    expect(execFileSync('/bin/sh', ['-c', shell], { encoding: 'utf8' })).toBe(path)
  },
)
