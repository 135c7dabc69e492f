// Package attention finds what wants somebody's attention in the figures of a host: rules (rules.go, from
// assets/attention.toml) over what each sample shows (observe.go), with hysteresis, so that a figure at its
// limit does not begin and end a finding again and again (engine.go).
package attention
