package cloudinit

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Seed returns the files as an ISO 9660 image labelled cidata, about 400 KB and the agent.
func Seed(c Config) ([]byte, error) {
	files, err := Files(c)
	if err != nil {
		return nil, err
	}
	// The host key is in there: the folder is the user's alone, and goes at once.
	dir, err := os.MkdirTemp("", "berth-seed-")
	if err != nil {
		return nil, fmt.Errorf("making the seed image of %q: %w", c.Hostname, err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "seed.iso")
	var built time.Time
	if c.Agent != nil {
		built = c.Agent.Built
	}
	if err := writeISO(image, filepath.Join(dir, "tree"), files, built); err != nil {
		return nil, fmt.Errorf("making the seed image of %q: %w", c.Hostname, err)
	}
	return os.ReadFile(image)
}

func writeISO(image, tree string, files map[string][]byte, built time.Time) error {
	if err := os.Mkdir(tree, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fs, err := iso9660.Create(file.New(f, false), 1<<20, 0, 2048, tree)
	if err != nil {
		return err
	}
	for name, b := range files {
		file := filepath.Join(tree, name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return err
		}
		if name == agentProgram { // an agent of a development build is as old as its file
			if err := os.Chtimes(file, built, built); err != nil {
				return err
			}
		}
	}
	return fs.Finalize(iso9660.FinalizeOptions{RockRidge: true, VolumeIdentifier: "cidata"})
}
