// Package backendtest is the suite that every backend must pass: each promise of backend.Backend as a
// test. A backend's own test fills a Suite and calls Run.
//
// The Test… methods are found by reflection, so that a new test reaches every backend at once. Tests of
// what a backend can't do (by its capabilities) check instead that it says ErrUnsupported.
package backendtest
