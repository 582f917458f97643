// Four projects, by suffix and by folder; test/run.ts runs them in this order. A unit test touches nothing outside
// its process; the others find Postgres and Temporal running (test/support/setup.mjs).

const common = {
  roots: ['<rootDir>/src', '<rootDir>/test', '<rootDir>/tools', '<rootDir>/bench'],
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  moduleFileExtensions: ['ts', 'js', 'mjs', 'json'],
  transform: { '\\.ts$': '@swc/jest' },
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.data'],
}

const withServers = (displayName, testMatch) => ({
  ...common,
  displayName,
  testMatch,
  globalSetup: '<rootDir>/test/support/setup.mjs',
  globalTeardown: '<rootDir>/test/support/teardown.mjs',
})

export default {
  // The longest one test may take; those of test/e2e and test/replay name their own. Long, as machines that run tests
  // are shared: it costs time only where a test hangs.
  testTimeout: 300_000,
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['**/*.test.{ts,mjs}'],
      testPathIgnorePatterns: ['/node_modules/', '\\.int\\.test\\.ts$', '<rootDir>/test/(e2e|replay)/'],
    },
    withServers('integration', ['**/*.int.test.ts']),
    withServers('replay', ['<rootDir>/test/replay/**/*.test.ts']),
    withServers('e2e', ['<rootDir>/test/e2e/**/*.test.ts']),
  ],
}
