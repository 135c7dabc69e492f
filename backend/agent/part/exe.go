package part

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"

	"berth/backend/base/paths"
)

// Command is the command line that makes the program exe play a part of the agent: the small main
// takes the subcommand itself, any other binary of Berth after the word agent.
func Command(exe string, sub ...string) []string {
	if strings.HasPrefix(filepath.Base(exe), "berth-agent") {
		return append([]string{exe}, sub...)
	}
	return append([]string{exe, "agent"}, sub...)
}

// HashOf is the SHA-256 of a program, from its path where that tells.
func HashOf(exe string) string {
	if h := paths.ContentHash(exe); h != "" {
		return h
	}
	f, err := os.Open(exe)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// OwnHash is the SHA-256 of this program, or "".
func OwnHash() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return HashOf(exe)
}
