// Package engine runs the container of a job, through the Docker API: Docker and Podman speak it. It is a program of
// its own, cmd/berth-engine, since its client is large beside the agent; package container is what it and the agent
// know of each other.
//
// Read run.go for the life of a container, from its image to its removal, and what happens when this program is killed
// in between. find.go finds the engine, image.go pulls, registry.go has the user's credentials, create.go says what a
// container gets, devices.go how it gets its GPUs, log.go copies what it prints, told.go passes signals on.
package engine
