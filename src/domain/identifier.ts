// Names that cross processes: one rule for configuration, reports and the database, whose CHECKs repeat it. A name that
// one of them takes and another refuses stops a shop with nothing to show why.

/** `ethereum`, `eth_mainnet`, `sepolia-2`. The database: the constraints named `…_network_shape`. */
export const NETWORK_PATTERN = /^[a-z0-9][a-z0-9_-]{0,31}$/
export const NETWORK_RULE =
  'must be 1 to 32 lower-case letters, digits, underscores or dashes, and begin with a letter or digit'

/** A watcher or a service: in tokens, report sources and the audit. The database: `payment_report_source_shape`. */
export const MACHINE_PATTERN = /^[a-z0-9-]{1,63}$/
export const MACHINE_RULE = 'must be 1 to 63 lower-case letters, digits or dashes'

/** What Temporal takes as a build id, and every tool as an argument. */
export const BUILD_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const BUILD_ID_RULE =
  'must be 1 to 63 letters, digits, dots, underscores or dashes, and begin with a letter or digit'

/** As Postgres and every answer write a UUID. */
export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
