package ssh

import (
	"encoding/json"

	"berth/backend/transport/wire"
)

// parseSize reads a Resize frame; a terminal has at least one cell.
func parseSize(p []byte) (wire.Size, error) {
	var z wire.Size
	if err := json.Unmarshal(p, &z); err != nil {
		return z, err
	}
	z.Rows, z.Cols = max(z.Rows, 1), max(z.Cols, 1)
	return z, nil
}
