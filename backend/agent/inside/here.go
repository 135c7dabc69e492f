package inside

import (
	"cmp"
	"context"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend/api"
)

// Is reports whether this runs on an instance, under its agent.
func Is() bool { return filepath.IsAbs(os.Getenv(api.AgentVariable)) }

// Name is what the instance is called that this runs on.
func Name() string {
	host, _ := os.Hostname()
	return cmp.Or(os.Getenv("BERTH_INSTANCE"), host, "this instance")
}

// Client returns a client of the agent of the instance that this runs on. Close it after use.
func Client() *api.AgentClient {
	name, socket := "", os.Getenv(api.AgentVariable)
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return &api.AgentClient{Home: api.NewHome(api.InsideID, name), Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, api.Errorf(api.CodeUnreachable, "the agent of this instance, at %s, does not answer: %w", socket, err)
		}
		return c, nil
	}}
}

// Place has a job that is submitted on its instance run where this does: in the same folder, with the environment that
// is active here.
func Place(q *api.JobRequest) error {
	dir, err := os.Getwd()
	if err != nil {
		return api.Errorf(api.CodeFailed, "finding the folder that this runs in: %w", err).WithHint("--workdir names another")
	}
	switch {
	case q.Workdir == "":
		q.Workdir = dir
	case q.Workdir != "~" && !strings.HasPrefix(q.Workdir, "~/") && !filepath.IsAbs(q.Workdir):
		q.Workdir = filepath.Join(dir, q.Workdir)
	}
	if q.Conda == "" && q.Venv == "" && q.Image == "" { // an image has its own
		q.Conda, q.Venv = activeEnvironment(os.Getenv)
	}
	return nil
}

// activeEnvironment is the folder of the conda environment or of the virtual environment that is active: of both, the
// one whose programs come first.
func activeEnvironment(getenv func(string) string) (conda, venv string) {
	conda, venv = getenv("CONDA_PREFIX"), getenv("VIRTUAL_ENV")
	if conda == "" || venv == "" {
		return conda, venv
	}
	path := filepath.SplitList(getenv("PATH"))
	at := func(env string) int { return slices.Index(path, filepath.Join(env, "bin")) }
	if c := at(conda); c >= 0 && (at(venv) < 0 || c < at(venv)) {
		return conda, ""
	}
	return "", venv
}
