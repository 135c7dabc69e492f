// Package copy is the part of the agent that sends and takes files: one side of package filecopy for each stream.
package copy

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"

	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/backend/transport/filecopy"
)

// maxCopies is how many copies may be under way.
const maxCopies = 64

type service struct {
	h       *part.Host
	running atomic.Int64
}

// New makes the part that copies files.
func New(h *part.Host) part.Part {
	s := &service{h: h}
	return part.Part{Name: "copies", Routes: []api.Route{{Method: "POST", Path: "/v1/copy",
		Needs:   api.Needs(api.ActionAccess),
		Summary: "Send files to the caller, or take them; a byte stream", Request: api.CopyRequest{}, Stream: "frames",
		Handler: s.handle}, {Method: "POST", Path: "/v1/copy/take", Needs: api.Needs(api.ActionAccess),
		Summary: "Make a folder of its own for a job from one that was sent", Request: api.TakeRequest{},
		Response: api.Taken{}, Handler: s.handleTake}}}
}

func (s *service) handle(w http.ResponseWriter, r *http.Request) {
	var q api.CopyRequest
	s.h.Stream(w, r, &q, func(st *api.Stream) error {
		defer s.running.Add(-1)
		if s.running.Add(1) > maxCopies {
			return api.Errorf(api.CodeRefused, "%d copies run through the agent of this instance already", maxCopies)
		}
		if q.Sent != "" && len(q.To) == 0 {
			to, lock, err := s.sent(r.Context(), q.Sent)
			if err != nil {
				return err
			}
			defer lock.Close()
			q.To = []byte(to)
		}
		if (len(q.Send) > 0) == (len(q.To) > 0) {
			return api.Errorf(api.CodeUsage, "a copy is from here or to here: one of send, to and sent is to be said")
		}
		s.copy(st, q)
		return nil
	})
}

// copy does this side's part. What goes wrong is told the other side.
func (s *service) copy(st *api.Stream, q api.CopyRequest) {
	all := filecopy.Common{Active: s.h.Active}
	var err error
	if len(q.Send) > 0 {
		f := filecopy.Sender{Common: all, Source: s.path(q.Send), Count: q.Count}
		_, err = f.Send(s.h.Context(), st)
	} else {
		f := filecopy.Receiver{Common: all, Target: s.path(q.To), Folder: q.Folder, Contents: q.Contents, Update: q.Update,
			List: q.List, Dry: q.Dry}
		_, err = f.Receive(s.h.Context(), st)
	}
	if err != nil {
		s.h.Log.Info("a copy ended early", "error", err)
	}
}

// path is where a path of a request is. What it ends with stays: "x/." is not "x".
func (s *service) path(b []byte) string {
	p := string(b)
	switch {
	case p == "~" || strings.HasPrefix(p, "~/"):
		return s.h.Home + p[1:]
	case !filepath.IsAbs(p):
		return s.h.Home + "/" + p
	}
	return p
}
