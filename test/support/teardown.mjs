/** Jest's globalTeardown: stops what setup.mjs started. */
export default async function teardown() {
  await globalThis.stopTestServers?.()
}
