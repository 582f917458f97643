import { expect, test } from '@jest/globals'
import { MAX_NODES, parseNodeUrls } from './node_url.ts'

const urls = (count: number): string => Array.from({ length: count }, (_, at) => `https://node-${at}.example`).join(',')

test.each([
  ['http://127.0.0.1:8545', ['http://127.0.0.1:8545']],
  ['https://a.example/key, https://b.example', ['https://a.example/key', 'https://b.example']],
  ['https://user:p%2Cw@a.example', ['https://user:p%2Cw@a.example']],
  [urls(MAX_NODES), urls(MAX_NODES).split(',')],
])('«%s» is a list of nodes', (list, expected) => {
  expect(parseNodeUrls(list)).toEqual(expected)
})

test.each([
  ['', 'nothing'],
  ['https://a.example,', 'an empty entry'],
  ['https://a.example,https://a.example', 'a node twice'],
  ['https://a.example,HTTPS://A.example/', 'a node twice in two spellings'],
  ['ftp://a.example', 'another protocol'],
  ['a.example:8545', 'no protocol'],
  ['https://user:p%w@a.example', 'a % that escapes nothing'],
  [urls(MAX_NODES + 1), 'too many'],
])('«%s» is no list of nodes: %s', (list) => {
  expect(parseNodeUrls(list)).toBeUndefined()
})
