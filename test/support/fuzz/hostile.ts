// Values that break programs: boundaries of number types, and texts that other layers would interpret.

import type { Dice } from './dice.ts'

/** A mark in hostile input. No answer to a failed call and no log line may hold it. */
export const CANARY = '~cnry-7f3a~'

export const HOSTILE_INTEGERS = [
  ...[0n, 1n, -1n, 99n, 100n, 101n, 127n, 128n, 10_000n, 10_001n, 65_536n],
  ...[2n ** 31n - 1n, 2n ** 31n, -(2n ** 31n), -(2n ** 31n) - 1n, 2n ** 32n - 1n, 2n ** 32n],
  ...[2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, 2n ** 64n - 1n],
] as [bigint, ...bigint[]]

/** Around the years 1, 1970 and 9999, 4714 BC (Postgres's first), and the ends of JavaScript's and of 64 bits. */
export const HOSTILE_SECONDS = [
  ...[0n, -1n, 1n, -62_135_596_800n, -62_135_596_801n, 253_402_300_799n, 253_402_300_800n],
  ...[-210_866_803_200n, -210_866_803_201n, 8_640_000_000_000n, 8_640_000_000_001n, -8_640_000_000_001n],
  ...[2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)],
] as [bigint, ...bigint[]]
export const HOSTILE_NANOS = [0n, -1n, 1n, 999_999_999n, 1_000_000_000n, 2n ** 31n - 1n, -(2n ** 31n)] as const

const TEXTS = [
  ...['', ' ', '\0', '\n', '\t', '\u{85}', '\u{200b}', '\u{202e}', '\u{feff}', '\u{fffd}', '\u{ffff}', '\u{3164}'],
  ...['\u{61c}', '\u{ad}', '\u{e0041}', '\u{1f469}\u{200d}\u{1f680}', 'e\u{301}', '\u{212b}', 'İ', 'ß', '\u{fdfa}'],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'null', 'undefined', 'NaN', 'Infinity'],
  ...["' or 1=1 --", "'; drop table orders; --", '$1', '%s%n%x', '${7*7}', '{{7*7}}', '`id`', '$(id)', '|id', '*', '%'],
  ...[
    '<script>alert(1)</script>',
    '<img src=x onerror=1 //',
    '&lt;b&gt;',
    '&ltb',
    '<<b>b>',
    '../../etc/passwd',
    'file:///',
  ],
  ...[
    '-0',
    '+1',
    '1e3',
    '1e309',
    '0x10',
    '1.005',
    '.5',
    '1.',
    '１２',
    '00',
    '1,5',
    '-1',
    '9'.repeat(78),
    '9'.repeat(400),
  ],
  ...[
    '00000000-0000-0000-0000-000000000000',
    'FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF',
    '{"a":1}',
    '[]',
    '[[[[[[',
    '\\u0000',
  ],
  ...['a'.repeat(64), 'a'.repeat(65), 'a'.repeat(257), 'x'.repeat(5_000), '<'.repeat(2_000), '&#60;'.repeat(90)],
  ...['e\u{301}'.repeat(250), '\u{1f600}'.repeat(500), '\u{1f600}'.repeat(501), ' '.repeat(500), '\u{344}'.repeat(300)],
  ...[CANARY, `'${CANARY}`, `<b>${CANARY}`, `\u{1b}[31m${CANARY}`, `${CANARY}\r\nx: y`, CANARY.repeat(60)],
] as [string, ...string[]]

/** Bytes that are not UTF-8: a lone continuation, an overlong slash, a surrogate, a start without an end. */
const BROKEN_UTF8 = ['80', 'c0af', 'eda080', 'f0288c28', 'f8a1a1a1a1', 'e282', '41ff42'] as [string, ...string[]]

const LONGEST = 40_000

/** The bytes of a string or bytes field. */
export function hostileTextOf(dice: Dice): Buffer {
  const luck = dice.int(100)
  if (luck < 8) return Buffer.from(dice.pick(BROKEN_UTF8), 'hex')
  if (luck < 14) return dice.bytes(dice.int(64))
  if (luck < 16) return Buffer.alloc(LONGEST, dice.pick(TEXTS) || 'x')
  if (luck < 30) return Buffer.from(dice.pick(TEXTS) + dice.pick(TEXTS))
  return Buffer.from(dice.pick(TEXTS))
}
