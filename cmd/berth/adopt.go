//go:build !front

package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/transport/sshconfig"
)

func (a *app) adoptCmd() *cobra.Command {
	var q api.AdoptRequest
	var hostKeys []string
	cmd := &cobra.Command{
		Use:   "adopt NAME user@host[:port] | adopt NAME --local",
		Short: "Take in a machine that already exists",
		Long: "adopt takes in a machine as your own ssh would reach it (~/.ssh/config, ssh-agent, known_hosts all count), or with --local this very\n" +
			"host with your own home. Berth puts its agent there and nothing else; berth rm only forgets the machine and removes the agent.",
		Example: "  berth adopt gpu1 alice@gpu1.example.org\n  berth adopt gpu1 gpu1 --host-key SHA256:…\n  berth adopt here --local",
		Args: func(cmd *cobra.Command, args []string) error {
			if q.Local {
				return exactArgs("NAME")(cmd, args)
			}
			return exactArgs("NAME", "user@host[:port]")(cmd, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 || q.Local {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return hostsFor(typed, sshconfig.Names("")), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name, q.HostKey = args[0], strings.Join(hostKeys, ",")
			if !q.Local {
				q.Target = args[1]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if ssh := a.conf.Backend.SSH; !q.Local {
				q.Share = cmp.Or(q.Share, ssh.Share)
				if ssh.Transport != "own" {
					q.Transport = cmp.Or(q.Transport, ssh.Transport)
				}
			}
			began := time.Now()
			q.RequestID = requestID()
			op, err := again(cmd.Context(), func() (api.Operation, error) { return c.Adopt(cmd.Context(), q) })
			if err != nil {
				return err
			}
			return a.finishNew(cmd, c, op, false, began)
		},
	}
	cmd.Flags().BoolVar(&q.Local, "local", false, "this very host, with your own home")
	cmd.Flags().StringSliceVar(&hostKeys, "host-key", nil,
		"the machine's host key, as SHA256:…, so that nothing is asked; may be repeated, for jump hosts")
	cmd.Flags().StringVar(&q.Share, "share", "", "a folder on the machine that is shared with others")
	cmd.Flags().StringVar(&q.Transport, "transport", "",
		"openssh: reach it through your own ssh program (GSSAPI, PKCS#11, odd configurations)")
	a.jsonFlag(cmd)
	return cmd
}

// hostsFor are the hosts that complete what was typed of user@host.
func hostsFor(typed string, hosts []string) []string {
	user := typed[:strings.LastIndexByte(typed, '@')+1]
	var out []string
	for _, h := range hosts {
		if strings.HasPrefix(user+h, typed) {
			out = append(out, user+h)
		}
	}
	return out
}
