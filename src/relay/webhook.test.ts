import { describe, expect, test } from '@jest/globals'
import { isPrivate, parseWebhookUrl } from './webhook.ts'

const production = { isProduction: true, allowPrivate: false }

describe("the receiver's URL", () => {
  test.each([
    ['http://shop.example/hook', 'must be https'],
    ['ftp://shop.example/hook', 'must be https'],
    ['https://user@shop.example/', 'must hold no credentials and no fragment'],
    ['https://user:word@shop.example/', 'must hold no credentials and no fragment'],
    ['https://shop.example/#part', 'must hold no credentials and no fragment'],
    // However an address is written, the URL has it in one form.
    ['https://127.0.0.1/', 'is a private address'],
    ['https://2130706433/', 'is a private address'],
    ['https://0177.0.0.1/', 'is a private address'],
    ['https://0x7f.1/', 'is a private address'],
    ['https://[::1]/', 'is a private address'],
    ['https://[::ffff:10.0.0.1]/', 'is a private address'],
    ['https://169.254.169.254/latest/meta-data', 'is a private address'],
    ['no url', 'Invalid URL'],
  ])('%s is refused in production', (text, words) => {
    expect(() => parseWebhookUrl(text, production)).toThrow(words)
  })

  test.each([
    ['https://shop.example/hook?shop=1', production],
    ['https://93.184.215.14:8443/', production],
    ['https://10.0.0.5/', { isProduction: true, allowPrivate: true }],
    ['http://127.0.0.1:9000/', { isProduction: false, allowPrivate: true }],
  ])('%s is taken under %j', (text, rules) => {
    expect(parseWebhookUrl(text, rules).href).toBe(text)
  })
})

test.each([
  ['0.0.0.0', true],
  ['10.255.255.255', true],
  ['11.0.0.0', false],
  ['100.64.0.1', true],
  ['100.128.0.0', false],
  ['127.0.0.53', true],
  ['169.254.169.254', true],
  ['172.15.255.255', false],
  ['172.16.0.0', true],
  ['172.31.255.255', true],
  ['172.32.0.0', false],
  ['192.168.1.1', true],
  ['198.18.0.1', true],
  ['223.255.255.255', false],
  ['224.0.0.1', true],
  ['255.255.255.255', true],
  ['::', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['::ffff:8.8.8.8', false],
  ['64:ff9b::a00:1', true],
  ['2002:a00:1::', true],
  ['fc00::1', true],
  ['fd12:3456::1', true],
  ['fe80::1', true],
  ['ff02::1', true],
  ['2606:4700::1111', false],
  ['localhost', false],
])('%s is private: %s', (host, is) => {
  expect(isPrivate(host)).toBe(is)
})
