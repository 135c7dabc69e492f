package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
)

// headBytes is how much of an image is read to know how large its disk is; headLimit how long that may take.
const (
	headBytes = 512
	headLimit = 5 * time.Second
)

// Virtual is how large the disk of an entry's image is, as its header says: of the file that is here, or of that which
// would be fetched, of which only the header is. It may be unknown (0) where the header has no more to say.
func (c Cache) Virtual(ctx context.Context, e Entry) (int64, error) {
	if f, ok := c.Cached(e); ok {
		return f.Info.VirtualBytes, nil
	}
	if e.Path != "" {
		i, err := Inspect(e.Path)
		if err != nil {
			return 0, api.Errorf(api.CodeFailed, "the image %s: %w", e.Name, err)
		}
		return i.VirtualBytes, nil
	}
	ctx, cancel := context.WithTimeout(ctx, headLimit)
	defer cancel()
	res, cause, end, err := c.get(ctx, e.URL, map[string]string{"Range": "bytes=0-" + strconv.Itoa(headBytes-1)})
	if err != nil {
		return 0, wrapFetch(err, "looking at the image %s at %s", e.Name, e.URL)
	}
	defer end()
	total := res.ContentLength
	switch res.StatusCode {
	case http.StatusOK: // the whole of it is on its way: no more than the header is read
	case http.StatusPartialContent:
		_, n, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
		if total, err = strconv.ParseInt(n, 10, 64); err != nil {
			total = 0
		}
	default:
		return 0, wrapFetch(status(res), "looking at the image %s at %s", e.Name, e.URL)
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, headBytes))
	if err != nil {
		return 0, wrapFetch(cause(err), "looking at the image %s at %s", e.Name, e.URL)
	}
	return virtualOf(head, total)
}

// virtualOf reads the size of the disk from the beginning of an image of total bytes; 0: not known.
func virtualOf(head []byte, total int64) (int64, error) {
	i, err := inspect(bytes.NewReader(head), max(total, int64(len(head))))
	switch {
	case errors.Is(err, io.EOF): // it has a backing file, whose name is farther on: it is refused when it is here
		return 0, nil
	case err != nil:
		return 0, api.Errorf(api.CodeFailed, "the image's header: %w", err)
	case i.Format == "raw" && total <= 0:
		return 0, nil
	}
	return i.VirtualBytes, nil
}
