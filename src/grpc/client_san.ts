// Binding of machine principals to client certificates (mutual TLS). A token says that a watcher or service calls; its
// certificate must say so too, by a URI among its subject alternative names. That a certificate was presented proves
// nothing: its authority also signs those of other machines.

import type { PeerCertificate } from 'node:tls'
import { z } from 'zod'
import type { Principal } from '../domain/access.ts'
import { MACHINE_PATTERN } from '../domain/identifier.ts'

/** Subject of a machine -> the URI that its certificate must have. A subject without an entry needs no certificate. */
export type ClientSans = ReadonlyMap<string, string>

const FILE = z.strictObject({
  clients: z
    .array(z.strictObject({ subject: z.string().regex(MACHINE_PATTERN), uri: z.url().max(2_048) }))
    .min(1)
    .max(1_000),
})

/** Reads `{"clients":[{"subject","uri"}]}`. Throws an Error that says what is wrong, for the start of a process. */
export function parseClientSans(json: string): ClientSans {
  const { clients } = FILE.parse(JSON.parse(json))
  const sans = new Map(clients.map(({ subject, uri }) => [subject, uri]))
  if (sans.size < clients.length) throw new Error('a subject is given twice')
  return sans
}

/**
 * Does the call come from the client that this principal is bound to? Yes for people, and for machines without an entry.
 * @param certificate verified by TLS; undefined if none was presented or its authority is not ours
 */
export function hasBoundSan(
  sans: ClientSans | undefined,
  principal: Principal,
  certificate: Pick<PeerCertificate, 'subjectaltname'> | undefined,
): boolean {
  const uri = principal.userId === undefined ? sans?.get(principal.subject) : undefined
  return uri === undefined || urisOf(certificate?.subjectaltname ?? '').includes(uri)
}

/**
 * The URIs in Node's text form, `DNS:a, URI:b`. Node writes a value that contains a comma, a quote or a control
 * character as a JSON string, so that no value can look like several.
 */
export function urisOf(subjectAltName: string): string[] {
  const entries = subjectAltName.match(/[^,\s"][^,"]*(?:"(?:[^"\\]|\\.)*")?/g) ?? []
  return entries.flatMap((entry) => {
    if (!entry.startsWith('URI:')) return []
    const value = entry.slice('URI:'.length)
    return value.includes('"') ? [] : [value]
  })
}
