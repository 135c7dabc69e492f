//go:build !front

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/tomltext"
)

// template is what -f reads. A flag overrides its key.
type template struct {
	Name    string            `toml:"name"`
	Backend string            `toml:"backend"`
	Size    string            `toml:"size"`
	Region  string            `toml:"region"`
	Image   string            `toml:"image"`
	Disk    string            `toml:"disk"`
	SSH     *bool             `toml:"ssh"`
	For     string            `toml:"for"`
	Setup   string            `toml:"setup"`
	OnStart string            `toml:"on_start"`
	Profile []string          `toml:"profile"`
	Subnet  string            `toml:"subnet"`
	Public  bool              `toml:"public_ip"`
	Tags    map[string]string `toml:"tags"`
}

// readTemplate reads a template file; an unknown key is an error that names its line.
func readTemplate(path string) (template, error) {
	var t template
	b, err := os.ReadFile(path)
	if err != nil {
		return t, api.Errorf(api.CodeUsage, "reading the template: %w", err)
	}
	return t, parseTemplate(b, path, &t)
}

func parseTemplate(b []byte, path string, t *template) error {
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(t); err != nil {
		e := tomltext.Explain(path, err)
		return api.AsError(e).WithHint("a template has the keys name, backend, size, region, image, disk, ssh, for, setup, on_start, profile, subnet, public_ip, tags")
	}
	return nil
}

func (a *app) createCmd() *cobra.Command {
	var t template
	var file, setup string
	var ssh, noSSH, noWait bool
	var tags []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an instance and wait until its shell is ready",
		Example: "  berth create vision\n  berth create vision --backend libvirt --size gpu-1 --profile pytorch,r --tag team=nlp\n" +
			"  berth create -f vision.toml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || (len(args) == 0 && file == "") {
				return exactArgs("NAME")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := createRequest(cmd, args, file, setup, t, tags, noSSH)
			if err != nil {
				return err
			}
			return a.create(cmd, q, noWait)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&t.Backend, "backend", "", "backend (default: defaults.backend of the configuration)")
	f.StringVar(&t.Size, "size", "", "size, as berth sizes lists them")
	f.StringVar(&t.Region, "region", "", "region, where the backend has regions")
	f.StringVar(&t.Image, "image", "", "image, as berth images lists them")
	f.StringVar(&t.Disk, "disk", "", "size of the disk, as 120GB")
	f.BoolVar(&ssh, "ssh", false, "open SSH on the instance to others (fixed at creation)")
	f.BoolVar(&noSSH, "no-ssh", false, "keep SSH closed to others (the default)")
	f.StringVar(&t.For, "for", "", "assign the instance to another user, where the backend can")
	f.StringSliceVar(&t.Profile, "profile", nil, "set-up profiles, as berth profile ls lists them")
	f.StringVar(&t.Subnet, "subnet", "", "network of the backend to put it in")
	f.BoolVar(&t.Public, "public-ip", false, "an address that can be reached from outside, where the backend gives one")
	f.StringVar(&setup, "setup", "", "script to run once on the fresh instance")
	f.StringVar(&t.OnStart, "on-start", "", "script to run at each start of the instance")
	f.StringArrayVar(&tags, "tag", nil, "k=v; may be repeated")
	f.StringVarP(&file, "file", "f", "", "template file (TOML); flags override its keys")
	f.BoolVar(&noWait, "no-wait", false, "return as soon as the creation is under way")
	a.jsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("ssh", "no-ssh")
	a.completeBackend(cmd)
	a.completeProfiles(cmd)
	_ = cmd.RegisterFlagCompletionFunc("subnet", cobra.NoFileCompletions)
	a.completeCatalogue(cmd, "size", sizeNames)
	a.completeCatalogue(cmd, "image", imageNames)
	return cmd
}

// createRequest puts the template and the flags together.
func createRequest(cmd *cobra.Command, args []string, file, setup string, flags template, tags []string,
	noSSH bool) (api.CreateRequest, error) {
	var q api.CreateRequest
	var t template
	if file != "" {
		var err error
		if t, err = readTemplate(file); err != nil {
			return q, err
		}
	}
	over := func(name string, dst *string, v string) {
		if cmd.Flags().Changed(name) {
			*dst = v
		}
	}
	over("backend", &t.Backend, flags.Backend)
	over("size", &t.Size, flags.Size)
	over("region", &t.Region, flags.Region)
	over("image", &t.Image, flags.Image)
	over("disk", &t.Disk, flags.Disk)
	over("for", &t.For, flags.For)
	over("subnet", &t.Subnet, flags.Subnet)
	over("on-start", &t.OnStart, flags.OnStart)
	if cmd.Flags().Changed("profile") {
		t.Profile = flags.Profile
	}
	if cmd.Flags().Changed("public-ip") {
		t.Public = flags.Public
	}
	if len(args) > 0 {
		t.Name = args[0]
	}
	if setup == "" {
		setup = t.Setup
	}
	var err error
	if q.Setup, err = readScript(setup, "the set-up script"); err != nil {
		return q, err
	}
	if q.OnStart, err = readScript(t.OnStart, "the start script"); err != nil {
		return q, err
	}
	if cmd.Flags().Changed("ssh") || noSSH {
		v := !noSSH
		t.SSH = &v
	}
	if t.Disk != "" {
		n, err := humanize.ParseBytes(t.Disk)
		if err != nil || n == 0 || n > 1<<50 {
			return q, api.Errorf(api.CodeUsage, "--disk %q is not a size", t.Disk).WithHint("write it as 120GB")
		}
		q.DiskBytes = int64(n)
	}
	if t.Tags == nil {
		t.Tags = map[string]string{}
	}
	for _, kv := range tags {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return q, api.Errorf(api.CodeUsage, "--tag %q is not k=v", kv)
		}
		t.Tags[k] = v
	}
	q.Name, q.Backend, q.Size, q.Region, q.Image, q.SSH, q.For, q.Tags = t.Name, t.Backend, t.Size, t.Region, t.Image,
		t.SSH, t.For, t.Tags
	q.Profiles, q.Subnet, q.PublicIP = t.Profile, t.Subnet, t.Public
	return q, nil
}

func (a *app) create(cmd *cobra.Command, q api.CreateRequest, noWait bool) error {
	ctx := cmd.Context()
	c, err := a.client()
	if err != nil {
		return err
	}
	began := time.Now()
	a.defaults(&q)
	q.RequestID = requestID()
	op, err := again(ctx, func() (api.Operation, error) { return c.Create(ctx, q) })
	if err != nil {
		return err
	}
	return a.finishNew(cmd, c, op, noWait, began)
}

// defaults fills what the call leaves out from this call's configuration: the daemon may have been
// started under another.
func (a *app) defaults(q *api.CreateRequest) {
	if q.From != "" {
		return // a clone is as its original
	}
	d := a.conf.Defaults
	if q.Backend == "" {
		q.Backend = d.Backend
	}
	if q.Backend == d.Backend {
		if q.Size == "" {
			q.Size = d.Size
		}
		if q.Image == "" {
			q.Image = d.Image
		}
	}
	if q.Backend == "local" {
		q.Share = a.conf.Backend.Local.Share
	}
}

// finishNew waits for a new instance and prints it.
func (a *app) finishNew(cmd *cobra.Command, c *api.WorkspaceClient, op api.Operation, noWait bool,
	began time.Time) error {
	ctx := cmd.Context()
	if !noWait {
		var err error
		if op, err = a.waitAsked(ctx, c, op); err != nil {
			return err
		}
	}
	in, err := c.Instance(ctx, op.InstanceID)
	if err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	if a.json {
		return a.printJSON(in)
	}
	a.warnings(&op)
	if noWait {
		fmt.Fprintf(a.err, "%s is %s; look at it with: berth show %s\n", in.Name, in.State, in.Name)
		return nil
	}
	fmt.Fprintf(a.err, "%s is %s after %s; its shell: berth ssh %s\n", in.Name, in.State, seconds(time.Since(began)),
		in.Name)
	if ag := in.Agent; ag != nil && in.Adopted && ag.AfterReboot != "" {
		fmt.Fprintf(a.err, "After a reboot: %s.\n", plaintext.Text(ag.AfterReboot))
	}
	if ag := in.Agent; ag != nil && ag.State == "unavailable" {
		fmt.Fprintf(a.err, "No agent runs there (%s): exec and ssh go over plain SSH; terminals do not outlive the connection.\n", plaintext.Text(ag.Reason))
	}
	return nil
}
