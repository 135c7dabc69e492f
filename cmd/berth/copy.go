package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/transport/filecopy"
)

func (a *app) cpCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cp SRC… DST", Short: "Copy files and folders to an instance, or from one",
		Long: "cp copies files, and folders with all in them, between this computer and an instance, whose side is said as NAME:PATH\n" +
			"(a relative PATH is below the home folder there), or NAME/JOB:PATH for the folder of a job. berth help copy has the rules.\n" +
			"What was interrupted goes on where it was when it is run again.",
		Example:           "  berth cp data.csv vision:\n  berth cp vision:results ./results\n  berth cp vision/14:out .",
		ValidArgsFunction: a.completeSides,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return api.Errorf(api.CodeUsage, "cp takes what is copied, and where to").WithHint("berth cp SRC… DST")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.cp(cmd.Context(), args[:len(args)-1], args[len(args)-1])
		},
	}
	// Fingers that know scp say it.
	cmd.Flags().BoolP("recursive", "r", false, "nothing changes: folders are copied with all in them anyway")
	return cmd
}

// side is one side of a copy: a path here, or on an instance.
type side struct {
	instance string // empty: here
	job      string // whose folder the path is in; may be empty
	path     string
}

// instanceSide is what stands before the colon of an instance's side: a name, BACKEND/NAME, and a job's id behind.
const instanceSide = `^((?:[A-Za-z][A-Za-z0-9-]*/)?[A-Za-z][A-Za-z0-9-]*)(?:/([0-9]+(?:_[0-9]+)?))?$`

// readSide reads an argument of cp. What has no colon before which an instance could stand is a path here.
func readSide(arg string) side {
	head, path, ok := strings.Cut(arg, ":")
	if m := regexp.MustCompile(instanceSide).FindStringSubmatch(head); ok && m != nil {
		return side{instance: m[1], job: m[2], path: path}
	}
	return side{path: arg}
}

// completeSides completes instances, with the colon that makes sides of them, beside files.
func (a *app) completeSides(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	names, d := a.completeNames(-1)(cmd, nil, typed)
	for i, n := range names {
		name, what, _ := strings.Cut(n, "\t")
		names[i] = name + ":\t" + what
	}
	return names, d&^cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (a *app) cp(ctx context.Context, from []string, to string) error {
	dst := readSide(to)
	var sources []side
	for _, arg := range from {
		src := readSide(arg)
		if (src.instance == "") == (dst.instance == "") {
			hint := "a side on an instance is NAME:PATH; from one instance to another, copy by way of this computer"
			if src.instance != "" {
				hint = "a name here that has a colon in it is said as ./" + arg
			}
			return api.Errorf(api.CodeUsage, "%s and %s: exactly one side is on an instance", arg, to).WithHint("%s", hint)
		}
		sources = append(sources, src)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	m := a.newMeter()
	defer m.close()
	return c.WithQuestions(ctx, func(ctx context.Context) error {
		if dst, err = jobSide(ctx, c, dst); err != nil {
			return err
		}
		for _, src := range sources {
			if src, err = jobSide(ctx, c, src); err != nil {
				return err
			}
			err := a.copyOne(ctx, c, m, src, dst, len(sources) > 1)
			if err != nil && len(sources) > 1 && ctx.Err() == nil && api.AsError(err).Code == api.CodeFailed {
				m.problems++ // the others may be there
				m.problem(api.AsError(err).Message)
				continue
			}
			if err != nil {
				return err
			}
		}
		return m.end()
	})
}

// jobSide finds the folder of a job.
func jobSide(ctx context.Context, c *api.WorkspaceClient, s side) (side, error) {
	if s.job == "" {
		return s, nil
	}
	j, err := c.Agent(s.instance).Jobs().Get(ctx, s.job)
	if err == nil && !strings.HasPrefix(s.path, "/") && s.path != "~" && !strings.HasPrefix(s.path, "~/") {
		s.path = j.Workdir + "/" + s.path
	}
	return s, err
}

// copyOne copies one source.
func (a *app) copyOne(ctx context.Context, c *api.WorkspaceClient, m *meter, src, dst side, several bool) error {
	into := several || strings.HasSuffix(dst.path, "/") || dst.path == ""
	name, contents := filecopy.NameOf(src.path)
	q := api.CopyRequest{Send: []byte(src.path), Count: m.live}
	at := src.instance
	if dst.instance != "" {
		q = api.CopyRequest{To: []byte(home(dst.path)), Folder: into, Contents: contents}
		at = dst.instance
	} else {
		q.Send = []byte(home(src.path))
	}
	st, err := c.Agent(at).OpenCopy(ctx, q)
	if err != nil {
		return err
	}
	common := m.common(at)
	var r filecopy.Result
	if dst.instance != "" {
		f := filecopy.Sender{Common: common, Source: src.path, Count: m.live}
		r, err = f.Send(ctx, st)
	} else {
		f := filecopy.Receiver{Common: common, Target: dst.path, Folder: into, Contents: contents, Name: name}
		r, err = f.Receive(ctx, st)
	}
	m.problems += r.Problems
	return err
}

// home is a path of an instance that is said: an empty one is the home folder there.
func home(path string) string {
	if path == "" {
		return "~"
	}
	return path
}

// maxSaid is how many problems are printed: the rest is counted.
const maxSaid = 20

// problem prints what could not be copied.
func (m *meter) problem(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said++; m.said > maxSaid {
		return
	}
	m.clear()
	fmt.Fprintf(m.w, "berth: %s\n", plaintext.Clean(text))
}

// end is the error of a copy that was done but for its problems.
func (m *meter) end() error {
	switch {
	case m.problems == 0:
		return nil
	case m.said > maxSaid:
		return api.Errorf(api.CodeFailed, "%d things were not copied: %d are named above", m.problems, maxSaid)
	case m.problems == 1:
		return api.Errorf(api.CodeFailed, "one thing was not copied")
	}
	return api.Errorf(api.CodeFailed, "%d things were not copied", m.problems)
}
