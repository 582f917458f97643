import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { plainText, text } from './text.ts'

const name = text(200)
const address = plainText(500, { isMultiline: true })
const isName = (value: string): boolean => name.safeParse(value).success
const storedAs = (value: string): string | undefined => address.safeParse(value).data
const codesOf = (value: string): string =>
  [...value].map((character) => character.codePointAt(0)?.toString(16).padStart(4, '0')).join(' ')

const rangeOf = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => String.fromCodePoint(from + at))

/** What a person does not see, or what changes the order of what is seen. */
const HIDDEN: readonly string[] = [
  ...[...rangeOf(0x00, 0x1f), ...rangeOf(0x7f, 0x9f)].filter((control) => control !== '\n'),
  ...['\u00ad', '\u034f', '\u061c', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u3164', '\uffa0'],
  ...rangeOf(0x180b, 0x180f),
  ...rangeOf(0x200b, 0x200f),
  ...rangeOf(0x2028, 0x202e),
  ...rangeOf(0x2060, 0x206f),
  ...['\u2800', '\u{13441}', '\u{13442}', '\u{1d159}'],
  ...rangeOf(0xfe00, 0xfe0f),
  '\ufeff',
  ...rangeOf(0xfff0, 0xfffd),
  ...rangeOf(0x1bca0, 0x1bca3),
  ...rangeOf(0x1d173, 0x1d17a),
  ...rangeOf(0xe0000, 0xe007f),
  ...rangeOf(0xe0100, 0xe01ef),
]
const MEANINGLESS: readonly string[] = [
  ...['\ud800', '\udbff', '\udc00', '\udfff'],
  ...['\ue000', '\uf8ff', '\u{f0000}', '\u{10fffd}'],
  ...rangeOf(0xfdd0, 0xfdef),
  ...Array.from({ length: 17 }, (_, plane) =>
    [0xfffe, 0xffff].map((end) => String.fromCodePoint(plane * 65_536 + end)),
  ).flat(),
]

describe('text refuses', () => {
  test('every character that is hidden or has no meaning, wherever it stands', () => {
    const accepted = [...HIDDEN, ...MEANINGLESS].flatMap((character) =>
      [`${character}Tea`, `T${character}ea`, `Tea${character}`, character]
        .filter((value) => isName(value) || storedAs(value) !== undefined)
        .map(codesOf),
    )
    expect(accepted).toEqual([])
  })

  test.each([
    ['no character', ''],
    ['a space', ' '],
    ['spaces of any kind', ' \u00a0\u3000\u2003\u1680'],
    ['combining marks alone', '\u0301\u0302'],
    ['a space before it', ' Tea'],
    ['an ideographic space behind it', 'Tea\u3000'],
    ['a line break', 'Tea\nCup'],
    ['what is not in NFC', 'Cafe\u0301'],
    ['more than its length', 'n'.repeat(201)],
    ['more than its length outside the basic plane', '𝔥'.repeat(201)],
    ['a joiner between Latin letters', 'T\u200dea'],
    ['a joiner at the end', 'نمی\u200c'],
    ['a joiner after a space', 'نمی \u200cخواهم'],
    ['two joiners', 'نمی\u200c\u200cخواهم'],
    ['a selector behind a letter', 'T\ufe0fea'],
    ['two selectors', '❤\ufe0f\ufe0f'],
    ['a selector behind a digit', '1\ufe0f'],
  ])('%s', (_name, value) => {
    expect(isName(value)).toBe(false)
  })
})

describe('text takes', () => {
  test.each([
    ['every script', 'Чай 茶 شاي चाय ชา ჩაი 차 τσάι תה'],
    ['a no-break and an ideographic space inside', 'Tea\u00a0N\u3000Cup'],
    ['Persian with its joiner', 'نمی\u200cخواهم'],
    ['Hindi with its joiners', 'क्\u200dष क्\u200cष'],
    ['Malayalam with its joiner', 'ന്\u200dറ'],
    ['emoji of several parts', '👩‍🚀 ❤️ 👩🏽‍🚀'],
    ['an Arabic number sign', '\u0601 12'],
    ['signs and quotes', `O'Neil & Sons; "№ 5" -- $1 %s \\ {{7*7}}`],
    ['200 characters outside the basic plane', '𝔥'.repeat(200)],
    ['one letter', 'x'],
  ])('%s', (_name, value) => {
    expect(isName(value)).toBe(true)
  })
})

describe('an address', () => {
  test.each<[string, string | undefined]>([
    ['Main <b>Street</b> 1', 'Main Street 1'],
    ['<scr<script>ipt>Quay 2', 'Quay 2'],
    ['<img src=x onerror=alert(1)//', 'img src=x onerror=alert(1)//'],
    ['<<img src=x onerror=alert(1)//', 'img src=x onerror=alert(1)//'],
    ['</script Quay 2', '/script Quay 2'],
    ['<!-- Quay 2', '!-- Quay 2'],
    ['<?php Quay 2', '?php Quay 2'],
    ['&ltscript&gtQuay 2', 'scriptQuay 2'],
    ['&LTscript&GT;Quay 2', 'scriptQuay 2'],
    ['&#60script&#0062;Quay 2', 'scriptQuay 2'],
    ['&#x3cscript&#X000003E;Quay 2', 'scriptQuay 2'],
    ['&#x3c;script&#X000003E;Quay 2', 'scriptQuay 2'],
    ['&amp;lt;script&amp;#62;Quay 2', 'scriptQuay 2'],
    ['&#38;amp;lt;Quay 2', 'Quay 2'],
    ['&nvlt;script&nvgt;Quay 2', 'scriptQuay 2'],
    ['&l&lt;t;Quay 2', 'Quay 2'],
    ['&#600; Street &#x3cf; 1', '&#600; Street &#x3cf; 1'],
    ['5 < 6 Street > 4', '5  4'],
    ['5 < 6 Street', '5 < 6 Street'],
    ['AT&T Way 3, Fish &amp; Chips', 'AT&T Way 3, Fish &amp; Chips'],
    ['  Quay 2\n\nGhent \n', 'Quay 2\n\nGhent'],
    // The tag stood between a letter and its accent.
    ['Caf<b>e</b>\u0301 1', 'Café 1'],
    ['<b></b>', undefined],
    ['<b> </b>', undefined],
    ['\u3000\n\u00a0', undefined],
    ['<b>\u0301</b>', undefined],
    ['a\rb', undefined],
    ['Quay 1\r\nHarbour', 'Quay 1\nHarbour'],
    ['a\r\r\nb', undefined],
  ])('%j is stored as %j', (given, stored) => {
    expect(storedAs(given)).toBe(stored)
  })

  test('has 500 characters at most, before its tags are removed', () => {
    expect(storedAs('ä'.repeat(500))).toBe('ä'.repeat(500))
    expect(storedAs('ä'.repeat(501))).toBeUndefined()
    expect(storedAs(`<b>${'ä'.repeat(498)}</b>`)).toBeUndefined()
  })

  /** Pieces that tags, references and hidden text are made of. */
  const piece = fc.constantFrom(
    ...[
      '<',
      '>',
      '<b',
      '</',
      '<!--',
      '&',
      '&lt',
      '&gt;',
      '&amp;',
      '&#60',
      '&#x3',
      'c;',
      'lt;',
      '#',
      ';',
      '/',
      'a',
      ' ',
    ],
    ...['\n', '\u0301', '\u0338', '\u00ad', '\u200d', '\ufffd', '\u3000', 'e', '茶', '\u{e0041}'],
  )
  const pieces = fc.array(piece, { maxLength: 60 }).map((parts) => parts.join(''))
  const anything = fc.oneof(
    pieces,
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.string({ unit: 'grapheme', maxLength: 80 }),
  )

  test('that is stored would be stored again unchanged, and holds no tag', () => {
    fc.assert(
      fc.property(anything, (given) => {
        const stored = storedAs(given)
        if (stored === undefined) return
        expect(storedAs(stored)).toBe(stored)
        expect(stored.normalize('NFC')).toBe(stored)
        expect(stored.trim()).toBe(stored)
        expect(stored).not.toMatch(/<[a-z/!?]|<[^<>]*>|&(lt|gt)|[\p{Cf}\p{Cs}\p{Co}\ufffd]/iu)
        expect([...stored].length).toBeLessThanOrEqual(500)
      }),
      { numRuns: 2_000 },
    )
  })

  test('costs no more than its length, however it is nested', () => {
    const worst = ['<'.repeat(250) + '>'.repeat(250), '&amp;'.repeat(100), '&'.repeat(500), `&#${'0'.repeat(498)}`]
    for (const value of worst) expect(() => storedAs(value)).not.toThrow()
  })

  test('and a name are the same rule: what a name takes and holds no tag, an address stores verbatim', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (value) => {
        fc.pre(isName(value) && !/[<>&]/.test(value))
        expect(storedAs(value)).toBe(value)
      }),
    )
  })
})
