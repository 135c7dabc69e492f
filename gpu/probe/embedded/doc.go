// Package embedded holds the compressed programs of the GPU probe that release builds of the agent carry; `make
// agents` puts them here. Without the build tag embedprobe there are none.
package embedded
