import { expect, test } from '@jest/globals'
import type { ServerInterceptingCallInterface } from '@grpc/grpc-js'
import { limitMessages } from './message_limit.ts'

/** A reader of the library: each byte is a message. */
const callOf = (
  decoder: unknown,
): ServerInterceptingCallInterface & { decoder: { write: (data: Buffer) => unknown } } => ({ decoder }) as never
const reader = () => ({ write: (data: Buffer): number[] => [...data] })

test('a unary call has one message, whether others come with it or later', () => {
  const call = callOf(reader())
  limitMessages({ requestStream: false }, call)
  expect(call.decoder.write(Buffer.alloc(0))).toEqual([])
  expect(call.decoder.write(Buffer.of(7))).toEqual([7])
  expect(() => call.decoder.write(Buffer.of(8))).toThrow('Received a second request message')
  const other = callOf(reader())
  limitMessages({ requestStream: false }, other)
  expect(() => other.decoder.write(Buffer.of(7, 8))).toThrow('Received a second request message')
})

test('a stream of requests has as many as its client sends', () => {
  const call = callOf(reader())
  limitMessages({ requestStream: true }, call)
  expect(call.decoder.write(Buffer.of(7, 8, 9))).toEqual([7, 8, 9])
})

test('a library that reads in another way is not used without the limit', () => {
  for (const decoder of [undefined, {}])
    expect(() => limitMessages({ requestStream: false }, callOf(decoder))).toThrow('reads messages in another way')
})
