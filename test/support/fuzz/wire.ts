// An encoder of the protobuf wire format that can also write invalid messages.

export const WIRE = { varint: 0, fixed64: 1, bytes: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const
export type Wire = (typeof WIRE)[keyof typeof WIRE]

/** Base-128, of the 64 bits in two's complement. */
export function varint(value: bigint): Buffer {
  let rest = BigInt.asUintN(64, value)
  const out: number[] = []
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    out.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return Buffer.from(out)
}

export const tag = (number: number, wire: number): Buffer => varint((BigInt(number) << 3n) | BigInt(wire))

export const varintField = (number: number, value: bigint): Buffer =>
  Buffer.concat([tag(number, WIRE.varint), varint(value)])

/** A string, bytes, a message or packed numbers. `claimed` lies about the length. */
export const bytesField = (number: number, value: Uint8Array, claimed = BigInt(value.length)): Buffer =>
  Buffer.concat([tag(number, WIRE.bytes), varint(claimed), value])

/** A field of this wire type, whatever its declared type is. */
export function anyField(number: number, wire: Wire, payload: Buffer): Buffer {
  switch (wire) {
    case WIRE.varint:
      return varintField(number, BigInt(payload[0] ?? 1))
    case WIRE.fixed64:
      return Buffer.concat([tag(number, wire), Buffer.alloc(8, payload)])
    case WIRE.fixed32:
      return Buffer.concat([tag(number, wire), Buffer.alloc(4, payload)])
    case WIRE.bytes:
      return bytesField(number, payload)
    case WIRE.startGroup:
      return Buffer.concat([tag(number, wire), varintField(1, 1n), tag(number, WIRE.endGroup)])
    case WIRE.endGroup:
      return tag(number, wire)
  }
}

/** A gRPC message: one byte for the compression, four for the length. */
export function framed(message: Buffer, { flag = 0, length = message.length } = {}): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt8(flag, 0)
  head.writeUInt32BE(length >>> 0, 1)
  return Buffer.concat([head, message])
}
