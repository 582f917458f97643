// Rules of free text: length in code points, normalization form C, and characters by their Unicode properties. What is
// stored was shown to a person as it is: no character in it is invisible, reorders others or has no meaning.

import { z } from 'zod'

/**
 * Refused by property: controls, format characters, surrogates, private use, noncharacters, line and paragraph
 * separators, and what renderers ignore (Default_Ignorable_Code_Point: fillers, variation selectors, tags, joiners).
 * U+FFFC stands for an object that is not there, U+FFFD for bytes that were not UTF-8. U+2800, U+1D159, U+13441 and U+13442
 * are blanks.
 * Exempt are the format characters that are visible: Arabic, Syriac and Kaithi number signs.
 */
const UNPRINTABLE =
  /[[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\p{Default_Ignorable_Code_Point}\u2800\ufffc\ufffd\u{1d159}\u{13441}\u{13442}]--[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]]/v

/**
 * Joiners that spelling needs: between letters or marks of a script that joins them, such as Persian or Hindi, and in
 * emoji sequences. A selector of emoji style is right after a pictograph only.
 */
const JOINED =
  /(?<=[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Myanmar}])[\u200c\u200d](?=[\p{L}\p{M}])|(?<=\p{Extended_Pictographic}[\ufe0f\p{Emoji_Modifier}]?)\u200d(?=\p{Extended_Pictographic})|(?<=\p{Extended_Pictographic})[\ufe0e\ufe0f]/gv

/** A letter, digit, sign or punctuation mark: a text of spaces and combining marks alone shows nothing. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/v

export type TextOptions = { isMultiline?: boolean }

/** Text of 1 to `max` code points, in NFC, that shows something and does not begin or end with a space. */
export function text(max: number, { isMultiline = false }: TextOptions = {}) {
  return printable(max, { isMultiline }).refine(isTrimmed, 'must not begin or end with a space')
}

const isTrimmed = (value: string): boolean => value.trim() === value

/** The same, where spaces around it may be cut off. */
function printable(max: number, { isMultiline = false }: TextOptions) {
  const isPrintable = (value: string): boolean => {
    const line = isMultiline ? value.replaceAll('\n', ' ') : value
    // Few texts have joiners: those without need one search.
    return !UNPRINTABLE.test(line) || !UNPRINTABLE.test(line.replaceAll(JOINED, ''))
  }
  return (
    z
      .string()
      // A code point has at most two UTF-16 units, so longer values need not be counted.
      .refine((value) => value !== '' && value.length <= 2 * max && Array.from(value).length <= max, {
        error: `must have 1 to ${max} characters`,
        abort: true,
      })
      .refine(isPrintable, { error: 'must not contain control or invisible characters', abort: true })
      .refine((value) => value.normalize('NFC') === value, {
        error: 'must be in Unicode normalization form C',
        abort: true,
      })
      .refine((value) => VISIBLE.test(value), { error: 'must contain a visible character', abort: true })
  )
}

/**
 * Free text without HTML tags. What is stored keeps every rule of text itself. In several lines, the line ends of HTML
 * forms (CR LF) become line feeds.
 */
export const plainText = (max: number, options: TextOptions = {}) =>
  z
    .string()
    .transform((value) => (options.isMultiline === true ? value.replaceAll('\r\n', '\n') : value))
    .pipe(printable(max, options))
    .transform(stripTags)
    .refine((value) => value !== '', { error: 'must contain more than HTML tags', abort: true })
    .pipe(text(max, options))

const TAG = /<[^<>]*>/gu
/** What would open a tag, where its end is missing: the end might come from the page around it. */
const TAG_OPENER = /<(?=[a-z/!?])/giu
/** A reference to a bracket, also without its semicolon and encoded more than once (`&amp;lt;`). */
const REFERENCE =
  /&(?:(?:amp|#0*38(?![0-9])|#x0*26(?![0-9a-f]));?)*(?:nv[lg]t|[lg]t|#0*6[02](?![0-9])|#x0*3[ce](?![0-9a-f]));?/giu

/** Removes tags until none is left, however they are nested or encoded; what remains is trimmed and in NFC. */
function stripTags(value: string): string {
  const stripped = value.replaceAll(TAG, '').replaceAll(REFERENCE, '')
  // Openers last: before, they are a part of tags that have an end.
  const rest = (stripped === value ? stripped.replaceAll(TAG_OPENER, '') : stripped).normalize('NFC').trim()
  return rest === value ? value : stripTags(rest)
}
