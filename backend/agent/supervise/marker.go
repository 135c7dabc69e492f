package supervise

import (
	"encoding/json"
	"fmt"
)

// parseMarker reads a marker; fields that the local backend adds are ignored here.
func parseMarker(b []byte) (Marker, error) {
	var m Marker
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("its marker %s can't be read: %w", MarkerName, err)
	}
	if m.ID == "" || m.Inode == 0 {
		return m, fmt.Errorf("its marker %s names no instance", MarkerName)
	}
	return m, nil
}
