// Languages of the payment page: which one a request gets, and its texts.

import { GERMAN } from './message/de.ts'
import { ENGLISH, type MessageKey, type Messages } from './message/en.ts'

export const LANGUAGES = { en: ENGLISH, de: GERMAN } as const satisfies Record<string, Messages>
export type Language = keyof typeof LANGUAGES
const DEFAULT_LANGUAGE: Language = 'en'
/** A longer header is cut: browsers send a handful of languages. */
const MAX_WISHES = 20

const isLanguage = (text: string): text is Language => Object.hasOwn(LANGUAGES, text)

/** The language asked for by `?lang=`, else the best of the Accept-Language header, else English. */
export function languageOf(asked: string | undefined, accepted = ''): Language {
  if (asked !== undefined && isLanguage(asked)) return asked
  const wishes = accepted
    .split(',', MAX_WISHES)
    .map((wish) => {
      const [tag = '', ...parameters] = wish.trim().toLowerCase().split(';')
      const quality = parameters.map((each) => /^\s*q=([\d.]+)\s*$/.exec(each)?.[1]).find((each) => each !== undefined)
      return { language: tag.split('-')[0] ?? '', quality: Number(quality ?? '1') }
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((one, other) => other.quality - one.quality)
  return wishes.map(({ language }) => language).find(isLanguage) ?? DEFAULT_LANGUAGE
}

export type Say = (key: MessageKey, values?: Readonly<Record<string, string>>) => string

/** Texts of a language. A placeholder without a value stays visible. */
export const createSay =
  (language: Language): Say =>
  (key, values = {}) =>
    LANGUAGES[language][key].replace(/\{(\w+)\}/g, (placeholder, name: string) => values[name] ?? placeholder)
