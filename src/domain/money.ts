// Money is integers: fiat in minor units (cents), coins in base units (wei). Never a JavaScript number.

/** Fiat prices have at most two decimals; the catalogue refuses more, so nothing is ever rounded. */
export const FIAT_DECIMALS = 2
const FIAT_PATTERN = /^(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?$/
const COIN_PATTERN = /^(0|[1-9][0-9]{0,77})$/
/** numeric(14,2) of the database. */
export const MAX_FIAT_MINOR = 99_999_999_999_999n
/** numeric(78,0): a 256-bit unsigned integer fits. */
export const MAX_COIN_UNITS = 10n ** 78n - 1n

/** "12.5" -> 1250n; undefined unless a plain decimal with at most two places, no sign, exponent or space. */
export function parseFiat(text: string): bigint | undefined {
  if (!FIAT_PATTERN.test(text)) return undefined
  const [whole = '0', fraction = ''] = text.split('.')
  return BigInt(whole + fraction.padEnd(FIAT_DECIMALS, '0'))
}

/** 1250n -> "12.50". */
export function formatFiat(minor: bigint): string {
  const digits = minor.toString().padStart(FIAT_DECIMALS + 1, '0')
  return `${digits.slice(0, -FIAT_DECIMALS)}.${digits.slice(-FIAT_DECIMALS)}`
}

/** Base units as on the wire: no sign, no leading zero, at most 78 digits. */
export const parseUnits = (text: string): bigint | undefined => (COIN_PATTERN.test(text) ? BigInt(text) : undefined)

/** 1500000000000000000n, 18 -> "1.5". For people only; programs read base units. */
export function formatUnits(units: bigint, decimals: number): string {
  const digits = units.toString().padStart(decimals + 1, '0')
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  const whole = digits.slice(0, digits.length - decimals)
  return fraction === '' ? whole : `${whole}.${fraction}`
}
