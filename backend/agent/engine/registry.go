package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	oras "oras.land/oras-go/v2/registry/remote/credentials"
)

// credentials are those of the user's own configuration: files of Docker's form, which Podman has, too. They may name
// helpers, which are run.
type credentials []string

// credentialFiles are where they usually are.
func credentialFiles(getenv func(string) string) (out credentials) {
	add := func(dir string, names ...string) {
		if dir != "" {
			out = append(out, filepath.Join(append([]string{dir}, names...)...))
		}
	}
	add(getenv("REGISTRY_AUTH_FILE"))
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(getenv("HOME"), ".docker", "config.json")
	}
	add(getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(getenv("HOME"), ".config", "containers", "auth.json")
	}
	return out
}

// hub is Docker's own registry, which has several names.
const hub = "docker.io"

// header is what a pull says of who pulls; "": nobody is known there. The first file that has somebody counts.
func (c credentials) header(ctx context.Context, domain string) (string, error) {
	names := []string{domain}
	if domain == hub {
		names = []string{"https://index.docker.io/v1/", hub, "index.docker.io"}
	}
	var errs []error
	for _, path := range c {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		store, err := oras.NewStore(path, oras.StoreOptions{})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		for _, name := range names {
			cred, err := store.Get(ctx, name)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
				continue
			}
			if cred.Username == "" && cred.RefreshToken == "" && cred.AccessToken == "" {
				continue
			}
			return authconfig.Encode(registry.AuthConfig{Username: cred.Username, Password: cred.Password,
				IdentityToken: cred.RefreshToken, RegistryToken: cred.AccessToken, ServerAddress: names[0]})
		}
	}
	return "", errors.Join(errs...)
}
