import { describe, expect, test } from '@jest/globals'
import { ENGLISH, type MessageKey } from './message/en.ts'
import { createSay, LANGUAGES, languageOf, type Language } from './pay_language.ts'

const KEYS = Object.keys(ENGLISH) as MessageKey[]
const placeholdersOf = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(([each]) => each).toSorted()
/** A repeated placeholder in one language need not be repeated in another. */
const distinct = (words: string[]): string[] => [...new Set(words)]

describe.each(Object.keys(LANGUAGES) as Language[])('the language %s', (language) => {
  const messages = LANGUAGES[language]

  test('has a text for every key, and no other keys', () => {
    expect(Object.keys(messages).toSorted()).toEqual(KEYS.toSorted())
    expect(Object.values(messages).filter((text) => text.trim() === '')).toEqual([])
  })

  test.each(KEYS)('has the placeholders of English in %s', (key) => {
    expect(distinct(placeholdersOf(messages[key]))).toEqual(distinct(placeholdersOf(ENGLISH[key])))
  })

  test('has no text of another language', () => {
    const copied = KEYS.filter((key) => language !== 'en' && messages[key] === ENGLISH[key])
    expect(copied).toEqual([])
  })
})

test.each<[string | undefined, string | undefined, Language]>([
  [undefined, undefined, 'en'],
  ['de', 'en', 'de'],
  ['xx', 'de', 'de'],
  ['__proto__', undefined, 'en'],
  [undefined, 'de-DE,de;q=0.9,en;q=0.8', 'de'],
  [undefined, 'fr-FR, en;q=0.4, de;q=0.6', 'de'],
  [undefined, 'de;q=0, en', 'en'],
  [undefined, 'fr', 'en'],
  [undefined, ';;;,,q=,*', 'en'],
])('?lang=%s with Accept-Language %s is answered in %s', (asked, accepted, expected) => {
  expect(languageOf(asked, accepted)).toBe(expected)
})

test('values are put in place of their names', () => {
  expect(createSay('en')('stage.partial.title', { missing: '1 ETH' })).toBe('Underpaid: 1 ETH missing')
})
