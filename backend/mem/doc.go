// Package mem is a backend in memory, for the tests of everything above backends. It behaves as a cloud
// does: a machine passes through creating and starting, lists are complete, tokens are remembered. A
// Hook may delay, fail or falsify every call, so that tests see a provider that fails, hangs, answers late
// or lies. It passes backendtest.
package mem
