// Package assets holds what is embedded in Berth: help pages (`berth help TOPIC`, the dashboard's help), the
// API's description, the agents of release builds, and what machines are made from: images, sizes,
// cloud-init templates, set-up profiles. The user's own files of the same formats stand beside config.toml.
package assets
