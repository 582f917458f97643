import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { Webhook } from 'standardwebhooks'
import { createWebhookSigner, loadWebhookSecrets, type WebhookMessage } from './webhook.ts'

const secretOf = (bytes = 32): string => `whsec_${randomBytes(bytes).toString('base64')}`

const message = (): WebhookMessage => ({
  id: 'webhook_1',
  timestampS: BigInt(Math.floor(Date.now() / 1_000)),
  body: Buffer.from('{"type":"order.status_changed","data":{"text":"Straße ✓"}}'),
})
const headersOf = ({ id, timestampS }: WebhookMessage, signature: string): Record<string, string> => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestampS),
  'webhook-signature': signature,
})

describe('a signature', () => {
  test("is right by the scheme's own library, under the old secret and the new one", () => {
    const [newer, older] = [secretOf(), secretOf(64)]
    const sent = message()
    const signature = createWebhookSigner(loadWebhookSecrets(`${newer}\n${older}\n`, 'production'))(sent)
    for (const secret of [newer, older]) {
      const verified = new Webhook(secret).verify(sent.body.toString(), headersOf(sent, signature))
      expect(verified).toEqual(JSON.parse(sent.body.toString()))
    }
    expect(() => new Webhook(secretOf()).verify(sent.body.toString(), headersOf(sent, signature))).toThrow(
      'No matching signature found',
    )
  })

  test('covers id, time and every byte of the body', () => {
    const secret = secretOf()
    // Of one byte a character: a changed one is still text that the library can read.
    const sent = { ...message(), body: Buffer.from('{"type":"order.status_changed","data":{"text":"Strasse"}}') }
    const signature = createWebhookSigner(loadWebhookSecrets(secret, 'production'))(sent)
    const isRight = (changed: Partial<WebhookMessage>): boolean => {
      const got = { ...sent, ...changed }
      try {
        new Webhook(secret).verify(got.body.toString('latin1'), headersOf(got, signature))
        return true
      } catch {
        return false
      }
    }
    expect(isRight({})).toBe(true)
    expect(isRight({ id: 'webhook_2' })).toBe(false)
    expect(isRight({ timestampS: sent.timestampS + 1n })).toBe(false)
    for (let at = 0; at < sent.body.length; at += 1) {
      const body = Buffer.from(sent.body)
      body.writeUInt8(body.readUInt8(at) ^ 1, at)
      expect(isRight({ body })).toBe(false)
    }
  })
})

describe('a file of secrets', () => {
  test.each([
    ['nothing', '', 'one to 4 are needed'],
    ['five', Array.from({ length: 5 }, () => secretOf()).join('\n'), 'one to 4 are needed'],
    ['no prefix', randomBytes(32).toString('base64'), 'webhook secret 1 does not begin with whsec_'],
    ['a short one', `${secretOf()}\n${secretOf(31)}`, 'webhook secret 2 has fewer than 32 bytes'],
    ['a long one', secretOf(65), 'webhook secret 1 has more than 64 bytes'],
    ['another alphabet', `whsec_${'-'.repeat(44)}`, 'webhook secret 1 is not plain base64'],
    [
      'a development value',
      `whsec_${Buffer.from('development-'.padEnd(32, 'x')).toString('base64')}`,
      'webhook secret 1 is a development value: create another one for production',
    ],
  ])('with %s is refused, without a word of its content', (_what, text, words) => {
    const load = () => loadWebhookSecrets(text, 'production')
    expect(load).toThrow(words)
    for (const line of text.split('\n').filter((part) => part.length > 8)) {
      try {
        load()
      } catch (error) {
        expect(String(error)).not.toContain(line.slice(6))
      }
    }
  })
})
