// Package profile composes set-up profiles: what an instance gets, as data. The built-in ones are TOML files
// under assets/profiles; the user's stand in the folder profiles beside the configuration, and replace
// built-in ones of the same name.
//
// Start with load.go (reading), then compose.go (names to the steps of a plan); lint.go says what is wrong
// with a profile.
package profile
